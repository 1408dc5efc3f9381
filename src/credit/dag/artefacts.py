"""Figures and tables: their names, files and captions. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

CURVES = "config/published/curves"


@dataclass(frozen=True)
class Artefact:
    """A figure or a table. name: `fig3` or `dfc/fig3`, its path below figures/ or tables/ without ending.

    path: the experiment's file that asks for it.
    """

    kind: str
    name: str
    paper: str
    entry: dict[str, Any]
    experiments: tuple[str, ...]
    path: Path

    @property
    def caption(self) -> str:
        """Its caption's file in workflow/report."""
        return self.entry.get("caption", f"{self.kind}.rst")

    @property
    def references(self) -> list[str]:
        """Published curves that the figure lays over its own."""
        return [f"{CURVES}/{name}" for name in self.entry.get("references", ())]
