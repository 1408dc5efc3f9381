"""A figure as a page for a browser: at a size at which it can be read, with its numbers below it."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from credit.analysis.pages import LARGEST, Sheet, columns_of, page, records, said
from credit.figures.style import SETTINGS, settings

WIDE, NARROW = 126, 100  # pixels an inch of a figure, at which its text of 8 points is as large as that of a page
IMAGE = 0.7  # of a page, what the picture may take
NUMBERS = {
    "panel": "panel", "title": "title", "series": "series", "drawn": "what is drawn", "line": "line",
    "x_axis": "x axis", "x": "x", "x_name": "x is", "x_lower": "x from", "x_upper": "x to", "y_axis": "y axis",
    "y": "y", "y_name": "y is", "lower": "from", "upper": "to", "band": "what from … to means", "n": "runs",
    "colour_axis": "colour axis", "colour": "colour",
}  # fmt: skip


def figure_page(figure: Figure, numbers: pd.DataFrame, title: str, scale: str = "paper", file: str = "") -> str:
    """The figure and its numbers, see `credit.figures.numbers`. file: where all of them are."""
    picture = _picture(figure)
    wide, narrow = (round(figure.get_figwidth() * dots) for dots in (WIDE, NARROW))
    above = (
        f'<div class="figure" tabindex="0" role="region" aria-label="figure"><img id="figure" alt="{escape(title)}" '
        f'style="width: max(min(100%, {wide}px), {narrow}px)" src="data:image/png;base64,{picture}"></div>\n'
        '<p><button type="button" class="plain" data-fits="figure" aria-pressed="false">as wide as the window</button>'
        "</p>\n"
    )
    columns = columns_of(numbers, NUMBERS)
    sheet = Sheet(columns, records(numbers, (c.key for c in columns)), "Plotted numbers", Path(file).name)
    return page(title, [sheet], above, said("", scale))


def _picture(figure: Figure) -> str:
    """PNG in base64, with as many dots an inch as a page can hold."""
    dots = SETTINGS["savefig.dpi"]
    while True:
        file = io.BytesIO()
        with settings():
            figure.savefig(file, format="png", dpi=dots, metadata={"Software": None})
        text = base64.b64encode(file.getvalue()).decode()
        if len(text) <= IMAGE * LARGEST or dots < 50:
            return text
        dots *= 0.8
