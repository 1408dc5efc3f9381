"""Parts that are found by name: one file of a package is one part, and the file name is the part's name.

Nothing is imported until it is asked for. Therefore no part is in another part's import closure, and adding
one changes no existing module (see `credit.provenance.snapshot`). Standard library only: the Snakefile uses it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from credit.errors import ConfigError, one_of


@functools.cache  # a Snakefile with thousands of jobs asks thousands of times
def _found(package: str, others: tuple[str, ...]) -> tuple[str, ...]:
    spec = importlib.util.find_spec(package)
    files = (p for folder in spec.submodule_search_locations for p in Path(folder).glob("*.py"))
    return tuple(sorted(p.stem for p in files if p.stem not in others and not p.stem.startswith("_")))


@dataclass(frozen=True)
class Registry:
    """The parts in `package`: every module directly in it but `others` and its `__init__`."""

    package: str
    kind: str
    parts: tuple[str, ...] | None = None  # a closed list, for packages whose other modules are no parts
    others: tuple[str, ...] = ("base",)  # modules that are no parts

    def names(self) -> tuple[str, ...]:
        """Names of all parts, sorted."""
        return self.parts or _found(self.package, self.others)

    def module(self, name: str) -> str:
        """Dotted module name of the part `name`. Raises ConfigError for a name that does not exist."""
        if name not in self.names():
            raise ConfigError(one_of(self.kind, name, self.names()))
        return f"{self.package}.{name}"

    def load(self, name: str):
        """Import the part `name` and return its module."""
        return importlib.import_module(self.module(name))
