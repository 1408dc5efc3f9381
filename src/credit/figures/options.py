"""What a figure can be told, read from its module's source: neither the configuration nor this loads matplotlib.

A module of a figure declares its options in a frozen dataclass `Options`, which inherits those of every figure.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from credit.config import hyperparameters
from credit.errors import ConfigError, one_of


@dataclass(frozen=True)
class FigureOptions:
    """Options of every figure.

    where: {column: value, or list of values} of the rows to draw.

    What a figure says of its options, so that they are checked before any job: metric_options, method_options,
    dataset_options, layer_options and column_options name metrics, methods, data sets, layers and varied settings;
    together, options that go with each other; entries, {option: class of its module} of lists of settings of that
    class, which says the same of its fields; keyed_by, {option: `dataset`, `method` or `experiment`} of those that may
    be mappings from names; lengths, {option: how many values, or which option has as many} of lists, or of each list
    of a mapping, which may be empty where they are if left out; shows, metrics that it draws whatever the options say;
    numbers, mappings whose values are numbers; grids, it tells the values of a varied setting apart, of the one that
    the first of column_options names, or of all where it has none; one_dataset, it draws a single one.
    """

    metric_options: ClassVar[tuple[str, ...]] = ()
    method_options: ClassVar[tuple[str, ...]] = ()
    dataset_options: ClassVar[tuple[str, ...]] = ()
    layer_options: ClassVar[tuple[str, ...]] = ()
    column_options: ClassVar[tuple[str, ...]] = ()
    together: ClassVar[tuple[str, ...]] = ()
    entries: ClassVar[dict[str, str]] = {}
    keyed_by: ClassVar[dict[str, str]] = {}
    lengths: ClassVar[dict[str, int | str]] = {}
    numbers: ClassVar[tuple[str, ...]] = ()
    shows: ClassVar[tuple[str, ...]] = ()
    grids: ClassVar[bool] = False
    one_dataset: ClassVar[bool] = False

    where: dict = field(default_factory=dict)


@functools.cache
def modules() -> tuple[str, ...]:
    """Dotted names of all figures."""
    paths = hyperparameters.PACKAGE.glob("figures/*/*.py")
    return tuple(sorted(f"credit.figures.{p.parent.name}.{p.stem}" for p in paths if not p.stem.startswith("_")))


def check(module: str, options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options of the figure in `module` (dotted name) with defaults filled in, each of its declared type.

    where: what the message of an error begins with. Raises ConfigError with a line for every problem.
    """
    if not any(isinstance(node, ast.FunctionDef) and node.name == "draw" for node in source(module).body):
        raise ConfigError(f"{module}: has no function draw(table, options), which makes it a figure")
    found = _checked(module, options, where, "Options")
    for option, kind in declared(module)["entries"].items():
        found[option] = [_checked(module, e, f"{where}.{option}[{i}]", kind) for i, e in enumerate(found[option])]
    given = [option for option in declared(module)["together"] if found[option] is not None]
    if given and len(given) < len(declared(module)["together"]):
        missing = [option for option in declared(module)["together"] if option not in given]
        raise ConfigError(f"{where}.{missing[0]} is missing; it goes with {given[0]} = {found[given[0]]!r}")
    return found


def _checked(module: str, given: Mapping[str, Any], where: str, name: str) -> dict[str, Any]:
    known = hyperparameters.fields(module, name=name)
    if unknown := [key for key in given if key not in known]:
        raise ConfigError("\n".join(one_of(f"{where}: key", key, known) for key in unknown))
    found = hyperparameters.check(module, given, where, name=name)
    problems = list(_of_other_length(module, found, where, name))
    for option in declared(module, name).get("numbers", ()):
        for key, one in found[option].items():
            if isinstance(one, bool) or not isinstance(one, (int, float)) or not math.isfinite(one):
                problems.append(f"{where}.{option}.{key} = {one!r}; must be a finite number")
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _of_other_length(module: str, found: Mapping[str, Any], where: str, name: str) -> Iterator[str]:
    defaults = hyperparameters.fields(module, name=name)
    for option, wanted in declared(module, name).get("lengths", {}).items():
        value, count = found[option], wanted if isinstance(wanted, int) else len(found[wanted])
        lists = value if isinstance(value, Mapping) else {"": value}
        for key, one in lists.items():
            allowed = not one and not defaults[option].default
            if not allowed and (not isinstance(one, (list, tuple)) or len(one) != count):
                written = list(one) if isinstance(one, tuple) else one
                of = "" if isinstance(wanted, int) else f", as many as {wanted}"
                yield f"{where}.{option}{'.' * bool(key)}{key} = {written!r}; must be a list of {count}{of}"


def source(module: str) -> ast.Module:
    """The parsed file of a figure."""
    return hyperparameters.part_of(module, hyperparameters.PACKAGE, "Options").tree


def declared(module: str, name: str = "Options") -> Mapping[str, Any]:
    """What the figure says of its options, see `FigureOptions`, or the class of an entry of its fields."""
    return hyperparameters.constants(module, name=name)
