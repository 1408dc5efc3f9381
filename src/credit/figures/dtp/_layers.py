"""What the figures of target propagation share: a colour and a marker for each layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib
import pandas as pd
from matplotlib.lines import Line2D

from credit.errors import ConfigError
from credit.figures.looks import SOLID, Style

MARKERS = "os^vPX<>ph"  # no diamonds, which are published values


def layer_looks(labels: Sequence[str]) -> list[Style]:
    """Styles of layers from the input up: colours that stay ordered for every eye and in grey, and markers."""
    shades = matplotlib.colormaps["viridis"]
    last = max(len(labels) - 1, 1)
    return [
        Style(label, matplotlib.colors.to_hex(shades(0.9 * k / last)), MARKERS[k % len(MARKERS)], SOLID)
        for k, label in enumerate(labels)
    ]


def layer_handles(looks: Iterable[Style]) -> list[Line2D]:
    """Legend entries of layers that are drawn as bars or points."""
    return [Line2D([], [], color=s.colour, marker=s.marker, ls="none", ms=6, label=s.label) for s in looks]


def only_dataset(rows: pd.DataFrame, figure: str) -> str:
    """The data set of the rows. Raises ConfigError where there are several."""
    found = sorted(set(rows["dataset"]))
    if len(found) > 1:
        raise ConfigError(f"{figure}: draws one data set, found {', '.join(found)}; set options.where.dataset")
    return found[0]
