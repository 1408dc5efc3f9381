"""Figure 4a of the DI paper: MNIST classified online."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from credit.figures import style
from credit.figures.di._training import training_curves
from credit.figures.options import FigureOptions


@dataclass(frozen=True)
class Options(FigureOptions):
    """metric: of the whole net."""

    metric_options: ClassVar[tuple[str, ...]] = ("metric",)

    metric: str = "test_error"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Test error [%] against the number of samples seen, one panel per data set.

    table: tidy, errors as fractions, one sample an update. options: see `Options`.
    Bands: 95 % t intervals of the mean, or the range of fewer than five runs.
    """
    return training_curves(table, style.chosen(options, Options), "fig4a", "samples")
