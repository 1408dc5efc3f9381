"""Hyperparameter searches of experiments: over a grid, or over trials that a sampler draws. Loads no torch, no Optuna.

A search names what it tries as `vary`, a grid, every point of which is trained; or as `space`, of which a sampler draws
trials, one after another, each with what the earlier ones gave in mind.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from credit.config import hyperparameters
from credit.config.files import overlay
from credit.config.parts import METHODS
from credit.config.space import OPTUNA, SAMPLERS, ends, problems
from credit.dag.checks import PartChecker, layer_problems, unvaried
from credit.errors import ConfigError, one_of
from credit.optim import config as optimizer_config
from credit.provenance.spec import put

if TYPE_CHECKING:
    from credit.config.fields import Field
    from credit.dag.targets import Workflow

DEFAULTS = {"seeds": [1000], "epochs": 5, "criterion": {"metric": "validation_loss", "select": "last"}}
SAMPLER = {"sampler": "tpe", "seed": 0, "parallel": 1}  # defaults of a search over a space; trials has none
OF_A_SPACE = (*SAMPLER, "trials")
SEEDS = 2**32  # of the samplers' generator
CORNERS = 256  # combinations of values that are checked together before any job


def resolved(given: dict[str, Any] | None, run: dict[str, Any], checker: PartChecker) -> dict[str, Any] | None:
    """The search with its defaults; `task` is the run's own, with what the search changes laid over it."""
    if not given:
        return None
    sampled = given.get("space") is not None
    search = overlay(DEFAULTS, SAMPLER if sampled else {}, {"splits": run["train"]["evaluate"]["splits"]}, given)
    checker.problems += [f"{checker.where}: {problem}" for problem in _sampler_problems(search, sampled)]
    others = set() if sampled else {"space", *OF_A_SPACE}  # `space: null` takes an inherited one away, with its keys
    search = {key: value for key, value in search.items() if value is not None and key not in others}
    task = run["task"]
    return search | {
        "task": checker.part("tasks", overlay(task, given["task"]), "search.task") if "task" in given else task
    }


def _sampler_problems(search: Mapping[str, Any], sampled: bool) -> Iterator[str]:
    if not sampled:
        for key in (key for key in OF_A_SPACE if key in search and "space" not in search):
            yield f"search.{key} = {search[key]!r}; belongs to a search.space, and there is none"
        return
    if search.get("vary") is not None:
        yield "search.vary and search.space; must be one of them, a grid or a space: vary: null takes the grid away"
    if not search["space"]:
        yield "search.space = {}; names nothing to search"
    if search["sampler"] not in SAMPLERS:
        yield one_of("search.sampler", search["sampler"], SAMPLERS)
    if search["seed"] >= SEEDS:
        yield f"search.seed = {search['seed']}; must be below {SEEDS}"
    if "trials" not in search:
        yield "search.trials is missing; must be how many trials are drawn of search.space, at least 1"
    elif search["parallel"] > search["trials"]:
        yield f"search.parallel = {search['parallel']}; must be at most the {search['trials']} trials"


def spec_part(search: Mapping[str, Any]) -> dict[str, Any]:
    """What the spec of a search says of the points that it tries."""
    if "space" not in search:
        return {"vary": search["vary"]}
    drawn = {key: search[key] for key in ("trials", "seed", "parallel", "space")}
    return {"vary": {}, "sampler": {"name": search["sampler"], "optuna": OPTUNA, **drawn}}


def step_of(spec: Mapping[str, Any]) -> tuple[str, str]:
    """(step of envs/STEP.yaml, script) of a training job or a search."""
    return ("search", "sample") if spec.get("sampler") else ("train", spec["kind"])


# ---- what a space may hold


def check_space(search: dict[str, Any] | None, run: Mapping[str, Any], checker: PartChecker, key: str) -> None:
    """Everything that may be drawn must be what the learning rule or the optimiser takes.

    Numbers get the types of their settings.
    """
    if not search or "space" not in search or checker.problems:
        return
    where = f"{checker.where}: {key}: search.space"
    for path in run["vary"].keys() & search["space"].keys():
        checker.problems.append(f"{checker.where}: {key}: vary and search.space both name {path}; keep one of them")
    space = {}
    for path in sorted(search["space"]):
        entry = search["space"][path]
        wrong = [f"{where}: {path} = {_written(entry)}; {problem}" for problem in problems(entry)]
        wrong = wrong or list(_setting_problems(run, path, entry, where))
        checker.problems += wrong
        space[path] = entry if wrong else _typed(run, path, entry)
    search["space"] = space
    if checker.problems:
        return
    apart = [path for path in space if not _stacks(run, path, space[path])]
    if search["parallel"] > 1 and apart:
        checker.problems.append(
            f"{checker.where}: {key}: search.parallel = {search['parallel']}; must be 1: {apart[0]} cannot differ "
            "between networks that are trained side by side"
        )
    checker.problems += dict.fromkeys(_corner_problems(run, space, where))


def _written(entry: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in entry.items()) + "}"


def _field(run: Mapping[str, Any], path: str) -> Field | None:
    """The hyperparameter at a path `hyper.…`; None for one that is not there."""
    known, field = hyperparameters.fields(METHODS.module(run["rule"]["name"])), None
    for name in path.removeprefix("hyper.").split("."):
        field = known.get(name)
        known = field.group.fields if field is not None and field.group else {}
    return field


def _is_whole(run: Mapping[str, Any], path: str) -> bool:
    """Whether the numbers of a setting are whole."""
    if not path.startswith("hyper."):
        return False
    kinds = {one.kind for one in _field(run, path).types if not one.repeated}
    return "int" in kinds and "float" not in kinds


def _stacks(run: Mapping[str, Any], path: str, entry: Mapping[str, Any]) -> bool:
    """Whether networks that are trained side by side may differ in a setting."""
    numbers = all(isinstance(value, float) for value in ends(entry))
    return numbers and not unvaried(METHODS.module(run["rule"]["name"]), path)


def _typed(run: Mapping[str, Any], path: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry in one form: numbers of the type that their setting has."""
    whole = _is_whole(run, path)
    number = int if whole else float
    if "choices" in entry:
        fraction = path.startswith("train.") or any(one.kind == "float" for one in _field(run, path).types)
        return {"choices": [float(v) if fraction and type(v) is int else v for v in entry["choices"]]}
    return {"low": number(entry["low"]), "high": number(entry["high"]), "log": bool(entry.get("log")), "whole": whole}


def _setting_problems(run: Mapping[str, Any], path: str, entry: Mapping[str, Any], where: str) -> Iterator[str]:
    """What is wrong with the first value of an entry that is wrong by itself."""
    part = next((part for part in ("hyper", "train.optimizer") if path.startswith(f"{part}.")), None)
    module = METHODS.module(run["rule"]["name"])
    if part is None:
        yield f"{where}: {path}; must be hyper.NAME or train.optimizer.NAME"
        return
    if part == "train.optimizer" and unvaried(module, path):
        yield f"{where}: {path}; cannot be searched, make it several methods"
        return
    values = ends(entry)
    if part == "hyper" and "low" in entry and (field := _field(run, path)) and _is_whole(run, path):
        if fraction := [value for value in values if not float(value).is_integer()]:
            yield f"{where}: {path} = {fraction[0]}; must be {field.describe()}"
            return
        values = [int(value) for value in values]
    for value in values:
        try:
            _check(run, {path: value}, where)
        except ConfigError as error:
            yield from str(error).splitlines()
            return


def _check(run: Mapping[str, Any], at: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The rule with the values `at` put into it; raises ConfigError for what it or the optimiser does not take."""
    rule, optimizer = {k: v for k, v in run["rule"].items() if k != "name"}, {"lr": 1.0, **run["train"]["optimizer"]}
    for path, value in at.items():
        part = "hyper" if path.startswith("hyper.") else "train.optimizer"
        name, place = path.removeprefix(f"{part}."), f"{where}: {part}"
        if part == "hyper":
            rule = put(rule, name, value, place)
        else:
            optimizer = put(optimizer, name, value, place)
    if any(path.startswith("hyper.") for path in at):
        rule = hyperparameters.check(METHODS.module(run["rule"]["name"]), rule, f"{where}: hyper")
    if any(not path.startswith("hyper.") for path in at):
        optimizer_config.check(optimizer, f"{where}: train.optimizer")
        if wrong := list(layer_problems(optimizer, run["net"])):
            raise ConfigError("\n".join(f"{where}: {problem}" for problem in wrong))
    return rule


def _corner_problems(run: Mapping[str, Any], space: Mapping[str, Any], where: str) -> Iterator[str]:
    """What is wrong with values together: of up to `CORNERS` combinations of ends and choices."""
    module = METHODS.module(run["rule"]["name"])
    corners = itertools.product(*(ends(entry) for entry in space.values()))
    for values in itertools.islice(corners, CORNERS):
        at = dict(zip(space, values, strict=True))
        try:
            rule = _check(run, at, where)
        except ConfigError as error:
            yield from str(error).splitlines()
            continue
        for problem in hyperparameters.exclusions(module, rule, run["net"]):
            yield f"{where}: {problem}"


# ---- before jobs


def sampled_cells(workflow: Workflow) -> list[str]:
    """Cells whose search draws its trials, as `PAPER/EXPERIMENT/DATASET/METHOD`."""
    return [
        f"{key}/{dataset}/{method}"
        for key, experiment in workflow.defined.items()
        for dataset in experiment.body["datasets"]
        for method in experiment.body["methods"]
        if (search := experiment.cell(dataset, method).search) and "space" in search
    ]


def missing_package(specs: Iterable[Mapping[str, Any]]) -> str:
    """Why the searches among these jobs cannot draw their trials here, in one line; nothing where they can."""
    for spec in specs:
        if spec.get("sampler"):
            import importlib.metadata  # planning does without

            try:
                found = importlib.metadata.version("optuna")
            except importlib.metadata.PackageNotFoundError:
                found = None
            if found != OPTUNA:
                cell = "/".join(spec[key] for key in ("paper", "experiment", "dataset", "method"))
                there = f"this environment has {found}" if found else "it is not installed"
                return (
                    f"{cell}: search.sampler = {spec['sampler']['name']!r}; needs the package optuna {OPTUNA}, "
                    f"{there}: pip install optuna=={OPTUNA}"
                )
    return ""
