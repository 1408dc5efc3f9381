"""Figures and tables: their names, files and captions, and of which of them something is left. Loads no torch."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit.dag.experiment import Experiment
from credit.errors import ConfigError, one_of

CURVES = "published/curves"  # below config/


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
        return [f"config/{CURVES}/{name}" for name in self.entry.get("references", ())]


def artefacts(kind: str, everything: Mapping[str, Experiment], chosen: Container[str]) -> dict[str, Artefact]:
    """{name: artefact} of all `figures` or `tables`, each made of those of its experiments that are chosen.

    One is left out where none of its experiments is. Raises ConfigError for two of one name and for an experiment that
    does not exist.
    """
    found: dict[str, Artefact] = {}
    for key, experiment in everything.items():
        for short, entry in experiment.body.get(kind, {}).items():
            where = f"{experiment.path}: {kind}.{short}"
            plain = kind == "figures" and experiment.paper == "cross"
            name = short if plain else f"{experiment.paper}/{short}"
            needed = tuple(entry.get("experiments", [key]))
            for other in needed:
                if other not in everything:
                    raise ConfigError(one_of(f"{where}.experiments", other, everything))
            if name in found:
                raise ConfigError(f"{where}: another {kind[:-1]} has this name, in {found[name].path}")
            if kind == "tables" and (records := f"{experiment.paper}/{short}") in everything:
                raise ConfigError(f"{where}: another table has this name, that of the records of {records}")
            present = tuple(n for n in needed if n in chosen)
            found[name] = Artefact(kind[:-1], name, experiment.paper, entry, present, experiment.path)
    return {name: artefact for name, artefact in found.items() if artefact.experiments}
