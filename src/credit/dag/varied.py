"""Settings that a named run has otherwise than the experiments' files: `set: [WHERE:]PATH=VALUE`, one or a list.

    dfc_ssa:hyper.alpha=0.01                                    of a method, wherever it is run
    dfc/student_teacher:train.epochs=50                         of an experiment, all its methods
    dfc/student_teacher/dfc_ssa:net.hidden_sizes=[20, 20]       of a method there
    dfc/benchmarks/mnist/dfc_ssa:train.optimizer={name: sgd, lr: 0.1}    of a method on one data set
    train.epochs=5                                              of all that is run, beside targets of theirs

A value replaces what the files say at its path. Loads no torch.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from credit.config import hyperparameters
from credit.config.files import check_schema, number, overlay
from credit.config.parts import METHODS
from credit.errors import ConfigError, nearest, one_of

if TYPE_CHECKING:
    from credit.dag.artefacts import Artefact
    from credit.dag.experiment import Experiment
    from credit.dag.settings import Settings

ROOTS = ("hyper", "net", "task", "train", "search", "vary", "probes")  # what a path may begin with
OF_GRIDS = re.compile(r"(vary|search\.(?:vary|space))\.(.+)")  # whose keys have dots themselves
SET_BY = "; it is set by "
OF_ONE = ", in every experiment; PAPER/NAME in its WHERE makes it a setting of one"
FORM = "must be [WHERE:]PATH=VALUE, such as dfc_ssa:hyper.alpha=0.01"


@dataclass(frozen=True)
class Setting:
    """One setting. text: as it was given. where: METHOD, PAPER/NAME, PAPER/NAME/METHOD, PAPER/NAME/DATASET/METHOD, or
    "" for all that is run. path: keys that lead to it."""

    text: str
    where: str
    path: tuple[str, ...]
    value: Any

    def names(self, key: str, dataset: str, method: str) -> bool:
        """Whether it is of a cell of the experiment `key`, PAPER/NAME; one without `where` is of all."""
        return self.where in ("", method, key, f"{key}/{method}", f"{key}/{dataset}/{method}")


def read(given: Any, schema: Path, where: str) -> tuple[Setting, ...]:
    """Settings of the key `set`: a text, or a list of texts. schema: of experiments, which says what types values have.

    Raises ConfigError, naming `where`, for others.
    """
    texts = [given] if isinstance(given, str) else given or []
    found = tuple(_read(text, schema, f"{where}: set = {text!r}") for text in texts)
    for i, one in enumerate(found):
        if any(one.where == other.where and one.path == other.path for other in found[:i]):
            raise ConfigError(f"{where}: set = {one.text!r}: {'.'.join(one.path)} is set twice; keep one of them")
    return found


def _read(text: str, schema: Path, where: str) -> Setting:
    left, equals, value = text.partition("=")
    place, _, path = (part.strip() for part in left.rpartition(":"))
    if not equals or not path or any(not key for key in path.split(".")):
        raise ConfigError(f"{where}: {FORM}")
    root = path.partition(".")[0]
    if root not in ROOTS:
        raise ConfigError(f"{one_of(f'{where}: PATH', root, ROOTS)}; {FORM}")
    if root == path and root in ("hyper", "net", "task", "train"):
        raise ConfigError(f"{where}: names no setting of {root}; {FORM}")
    grid = OF_GRIDS.fullmatch(path)
    keys = (*grid[1].split("."), grid[2]) if grid else tuple(path.split("."))
    content = check_schema(_nested(keys, _value(value.strip(), where)), schema, where, part="method")
    return Setting(text, place, keys, functools.reduce(getitem, keys, content))


class _Values(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, within lists and mappings too; YAML 1.1 wants 1.0e-3, and 1.0e+3."""


_POWER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Values.add_implicit_resolver("tag:yaml.org,2002:float", _POWER, list("-+.0123456789"))


def _value(text: str, where: str) -> Any:
    """A value as YAML has it; 1e-3 is a number here."""
    if (found := number(text)) is not None:
        return found
    try:
        return yaml.load(text, Loader=_Values)
    except yaml.YAMLError:
        raise ConfigError(f"{where}: {text} is no value; lists and mappings are written [1, 2], {{a: 1}}") from None


# ---- whether they fit the experiments


def check(settings: Settings, everything: Mapping[str, Experiment], where: str = "config") -> None:
    """Raise ConfigError, one line, for a setting that names nothing, or a hyperparameter that its methods do not have.

    What else is wrong with it shows when cells are resolved.
    """
    for one in settings.varied:
        place = f"{where}: set = {one.text!r}"
        if problem := _misplaced(one, everything):
            raise ConfigError(f"{place}: {problem}")
        cells = [(e, m) for e in everything.values() for m in e.body["methods"] if any(of(e, m, one))]
        if not cells:
            raise ConfigError(f"{place}: varies nothing that is run; methods, datasets and experiments leave it out")
        if one.path[0] == "hyper":
            _check_hyper(one, {m: (e.body["methods"][m] or {}).get("rule", m) for e, m in cells}, place)


def _misplaced(one: Setting, everything: Mapping[str, Experiment]) -> str:
    """What is wrong with the place of a setting."""
    parts = one.where.split("/") if one.where else []
    if len(parts) == 1:
        methods = {m for e in everything.values() for m in e.body["methods"]}
        return "" if parts[0] in methods else f"{one_of('METHOD', parts[0], methods)}, or an experiment, PAPER/NAME"
    if len(parts) > 4:
        return "WHERE must be METHOD or PAPER/NAME[[/DATASET]/METHOD]"
    key = "/".join(parts[:2])
    if parts and key not in everything:
        return one_of("experiment", key, everything)
    for kind, name in (("methods", parts[-1]), ("datasets", parts[-2])) if len(parts) > 2 else ():
        if name not in everything[key].body[kind] and (kind == "methods" or len(parts) == 4):
            return one_of(f"{kind} of {key}", name, everything[key].body[kind])
    return ""


def _check_hyper(one: Setting, rules: Mapping[str, str], place: str) -> None:
    """rules: {method: its learning rule} of the methods that a setting of `hyper` is of."""
    name = one.path[1]
    known = {m: hyperparameters.fields(METHODS.module(r)) for m, r in rules.items() if r in METHODS.names()}
    lacking = [method for method, fields in known.items() if name not in fields]
    having = [method for method in known if method not in lacking]
    if lacking and having:
        which = (
            f"{', '.join(lacking[:5])}{' and others' if len(lacking) > 5 else ''} {'have' if lacking[1:] else 'has'}"
        )
        raise ConfigError(f"{place}: {which} no hyperparameter {name!r}; name the method: {having[0]}:{_short(one)}")
    if lacking:
        fields = sorted({field for method in lacking for field in known[method]})
        close = nearest(name, fields)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        names = f"must be one of: {', '.join(fields)}" if fields else "there is none"
        raise ConfigError(f"{place}: {', '.join(lacking[:5])}: no hyperparameter {name!r}{hint}; {names}")


def _short(one: Setting) -> str:
    return one.text.removeprefix(f"{one.where}:") if one.where else one.text


def _nested(path: tuple[str, ...], value: Any) -> Any:
    return {path[0]: _nested(path[1:], value)} if path else value


# ---- which cells they are of


def of(experiment: Experiment, method: str, one: Setting) -> Iterator[str]:
    """Data sets of an experiment on which a setting is of a method. All are there that are named; else what is run."""
    wanted = experiment.settings.experiments
    if wanted is not None and not {experiment.key, experiment.name} & {*wanted}:
        return
    for dataset in experiment.body["datasets"]:
        run = dataset in experiment.datasets and method in experiment.methods
        if one.names(experiment.key, dataset, method) and (one.where or run):
            yield dataset


def of_cell(experiment: Experiment, dataset: str, method: str) -> list[Setting]:
    """Settings that vary a cell, in their order."""
    return [one for one in experiment.settings.varied if dataset in of(experiment, method, one)]


def of_experiment(experiment: Experiment) -> list[tuple[str, str]]:
    """(where in it, PATH=VALUE) of what varies the cells of an experiment that are run; however that was said."""
    found = [one for cell in varied_cells(experiment) for one in of_cell(experiment, *cell)]
    return list(dict.fromkeys((one.where.removeprefix(experiment.key).removeprefix("/"), _short(one)) for one in found))


def varied_cells(experiment: Experiment) -> list[tuple[str, str]]:
    """(data set, method) of the cells that are run and varied."""
    cells = [(dataset, method) for dataset in experiment.datasets for method in experiment.methods]
    return [cell for cell in cells if of_cell(experiment, *cell)] if experiment.settings.varied else []


# ---- what is said of it


def marked(artefact: Artefact, experiments: Mapping[str, Experiment]) -> dict[str, list[str]]:
    """{"varied": settings that vary what a figure or table shows}; {} where none does. One that is not of all of its
    experiments says which it is of."""
    keys: dict[tuple[str, str], list[str]] = {}
    for key in artefact.experiments:
        for one in of_experiment(experiments[key]):
            keys.setdefault(one, []).append(key)
    found = [
        f"{place}:{short}".removeprefix(":")
        for (where, short), of_ in keys.items()
        for place in ([where] if of_ == [*artefact.experiments] else [f"{key}/{where}".rstrip("/") for key in of_])
    ]
    return {"varied": found} if found else {}


def title(artefact: Artefact, experiments: Mapping[str, Experiment]) -> str:
    """Title of a figure or table, with what is varied in it."""
    own, found = artefact.entry.get("title", artefact.name), marked(artefact, experiments)
    return f"{own} (varied: {', '.join(found['varied'])})" if found else own


def in_tables(tables: Mapping[str, Artefact], experiments: Mapping[str, Experiment]) -> dict[str, list]:
    """{"varied": [table, data set, method] of which no number is one of the published settings}; {} for none."""
    found = [
        [name, *cell] for name, table in tables.items() for key in table.experiments
        for cell in varied_cells(experiments[key])
    ]  # fmt: skip
    return {"varied": found} if found else {}


# ---- what they do to a cell


def laid(parts: Mapping[str, Any], rule: str, settings: Iterable[Setting]) -> dict[str, Any]:
    """{"hyper", "net", "task", ...: content} of a cell with its settings. rule: its learning rule."""
    found = dict(parts)
    for one in settings:
        path, value = one.path, one.value
        if path[0] == "hyper" and len(path) == 2 and rule in METHODS.names():
            spelled = hyperparameters.spelled(METHODS.module(rule), {path[1]: value})[path[1]]
            if spelled is not value and isinstance(spelled, Mapping):  # `feedback=zeros` says what its main field is
                found = overlay(found, {"hyper": {path[1]: spelled}})
                continue
        found = _put(found, path, value)
    return found


def _put(settings: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(path) == 1:
        return {**settings, path[0]: value}
    inner = settings.get(path[0])
    return {**settings, path[0]: _put(inner if isinstance(inner, Mapping) else {}, path[1:], value)}


def with_setting(problem: str, settings: Iterable[Setting]) -> str:
    """A problem of a cell with the setting that it is about."""
    for one in settings:
        keys = ".".join(one.path)
        if re.search(rf"\b{re.escape(keys)}\b|= {re.escape(repr(one.path[-1]))}", problem):
            return f"{problem}{SET_BY}{one.text}{'' if '/' in one.where else OF_ONE}"
    return problem


def foremost(problems: Iterable[str]) -> list[str]:
    """Problems, the first alone of those that one setting causes, in many cells."""
    first = {
        problem.rpartition(SET_BY)[2] if SET_BY in problem else problem: problem for problem in reversed([*problems])
    }
    return [*reversed(first.values())]
