"""Published values in figures: where they are drawn, and as what."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from credit.analysis.tables import IDENTITY, RECORD
from credit.figures.numbers import tell

READ_OFF = "published, read off the figure"
PUBLISHED = {"marker": "d", "linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 1.0}


def published(references: pd.DataFrame | None, **of: str) -> pd.DataFrame:
    """Published values with these entries in their columns; none where the figure has no references."""
    if references is None:
        return pd.DataFrame(columns=[*IDENTITY, *RECORD])
    for column, value in of.items():
        references = references[references[column] == value]
    return references


def draw_published(axes, x, y, series: str, label: str = READ_OFF, **look: Any) -> None:
    """Published values as points. series: whose they are; label: what they are; look: what differs from PUBLISHED."""
    tell(axes.plot(x, y, **{**PUBLISHED, **look}, label=label), series=series, drawn=label)


def published_handle(label: str = READ_OFF) -> Line2D:
    """Legend entry of published values; what they are drawn as has the same label."""
    return Line2D([], [], **PUBLISHED, color="#444444", label=label)
