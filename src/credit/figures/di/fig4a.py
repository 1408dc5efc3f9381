"""Figure 4a of the DI paper: MNIST classified online."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from credit.figures import style
from credit.figures.di._training import training_curves


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Test error [%] against the number of samples seen, one panel per data set.

    table: tidy, errors as fractions, one sample an update. options: metric (test_error); where.
    Bands: 95 % t intervals of the mean, or the range of fewer than five runs.
    """
    return training_curves(table, options, "fig4a", "test_error", "samples")
