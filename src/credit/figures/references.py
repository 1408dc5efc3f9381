"""Published values in figures: where they are drawn, and as what."""

from __future__ import annotations

import pandas as pd
from matplotlib.lines import Line2D

from credit.analysis.tables import IDENTITY, RECORD

READ_OFF = "published, read off the figure"
PUBLISHED = {"marker": "d", "linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 1.0}


def published(references: pd.DataFrame | None, **of: str) -> pd.DataFrame:
    """Published values with these entries in their columns; none where the figure has no references."""
    if references is None:
        return pd.DataFrame(columns=[*IDENTITY, *RECORD])
    for column, value in of.items():
        references = references[references[column] == value]
    return references


def published_handle(label: str = READ_OFF) -> Line2D:
    """Legend entry of published values; what they are drawn as has the same label."""
    return Line2D([], [], **PUBLISHED, color="#444444", label=label)
