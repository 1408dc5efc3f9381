"""Figure 4b of the DI paper: an MNIST autoencoder from small random and from orthogonal weights."""

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

    metric: str = "test_mse"


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Mean squared error per pixel of the test images against the number of mini-batches, one panel per init.

    table: tidy, one data set for each initialisation. options: see `Options`.
    Bands: 95 % t intervals of the mean, or the range of fewer than five runs.
    """
    return training_curves(table, style.chosen(options, Options), "fig4b", "mini-batches")
