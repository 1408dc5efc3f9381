"""Figure 4b of the DI paper: an MNIST autoencoder from small random and from orthogonal weights."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from credit.figures import style
from credit.figures.di._training import training_curves


@style.styled
def draw(table: pd.DataFrame, options: dict[str, Any]) -> Figure:
    """Mean squared error per pixel of the test images against the number of mini-batches, one panel per init.

    table: tidy, one data set for each initialisation. options: metric (test_mse); where.
    Bands: 95 % t intervals of the mean, or the range of fewer than five runs.
    """
    return training_curves(table, options, "fig4b", "test_mse", "mini-batches")
