"""Checks of figures and tables before any job: what they promise must be there when all has run. Loads no pandas.

Held against the experiments as they are configured, whatever a command line leaves out of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from credit.analysis.values import Value, values
from credit.dag import events, fits, published
from credit.dag.checks import RECORDED
from credit.dag.experiment import Cell, Experiment
from credit.dag.recorded import by_output, fields_of, filled, recorded, recorded_some
from credit.dag.start import task_shape
from credit.errors import ConfigError, one_of
from credit.figures import options as figure_options
from credit.nets.names import n_blocks
from credit.provenance.spec import column

TEXT = ("paper", "experiment", "dataset", "method", "metric", "layer")


class Row(NamedTuple):
    """A cell as a table knows it. used: it is run, unless the command line narrows. vary: {column: its values}."""

    experiment: Experiment
    dataset: str
    method: str
    used: bool
    vary: Mapping[str, Sequence[Any]]

    def has(self, name: str, wanted: Sequence[Any]) -> bool:
        """Whether some of its rows have one of the wanted values in a column."""
        e = self.experiment
        known = {"paper": e.paper, "experiment": e.name, "dataset": self.dataset, "method": self.method}
        if name in known:
            return known[name] in wanted
        if name == "seed":
            return any(isinstance(seed, int) and 0 <= seed < e.body["seeds"] for seed in wanted)
        return any(v in wanted for v in self.vary[name]) if name in self.vary else name in RECORDED

    @property
    def cell(self) -> Cell:
        """The cell, resolved."""
        return self.experiment.cell(self.dataset, self.method)


def check(everything: Mapping[str, Experiment], root: Path, folder: Path) -> None:
    """Raise ConfigError with all problems of all figures and tables, and of the files that they are held against.

    root: of the repository. folder: of its configuration.
    """
    found: list[str] = []
    for key, experiment in everything.items():
        for kind, problems in (("figures", _figure), ("tables", _table)):
            for name, entry in experiment.body.get(kind, {}).items():
                needed = [everything[n] for n in entry.get("experiments", [key]) if n in everything]
                place = f"{experiment.path}: {kind}.{name}"
                found += problems(place, name, entry, experiment, needed) if needed else ()
                found += _of_runs(place, entry, needed, folder) if needed else ()
    found += published.problems(everything, root, folder) if not found else ()
    if found:
        raise ConfigError("\n".join(dict.fromkeys(found)))


def rows(experiments: Iterable[Experiment]) -> list[Row]:
    """All cells of some experiments, also those that are not run at this scale."""
    return [
        Row(e, dataset, method, dataset in used["datasets"] and method in used["methods"], _varied(e, dataset, method))
        for e in experiments
        for used in [{kind: e.body.get(f"use_{kind}", e.body[kind]) for kind in ("datasets", "methods")}]
        for dataset in e.body["datasets"]
        for method in e.body["methods"]
    ]


def _varied(experiment: Experiment, dataset: str, method: str) -> dict[str, Sequence[Any]]:
    return {column(path): grid for path, grid in experiment.cell(dataset, method).run["vary"].items()}


# ---- figures


def _figure(
    place: str, name: str, entry: Mapping[str, Any], owner: Experiment, needed: Sequence[Experiment]
) -> Iterator[str]:
    module = entry.get("module", f"credit.figures.{owner.paper}.{name}")
    if module not in figure_options.modules():
        yield one_of(f"{place}.module", module, figure_options.modules())
        return
    try:
        options = figure_options.check(module, entry.get("options", {}), f"{place}.options")
    except ConfigError as error:
        yield from str(error).splitlines() if str(error).startswith(place) else [f"{place}: {error}"]
        return
    says, place = figure_options.declared(module), f"{place}.options"
    chosen, problems = _selected(rows(needed), options["where"], place)
    yield from problems
    chosen = [row for row in chosen if row.used]
    if problems:
        return
    yield from _named(options, says, place, needed)
    for option, kind in says["entries"].items():
        for i, one in enumerate(options[option]):
            here = f"{place}.{option}[{i}]"
            yield from _named(one, figure_options.declared(module, kind), here, needed)
            yield from _shown(one, figure_options.declared(module, kind), here, chosen)
            yield from _layers(one, figure_options.declared(module, kind), here, chosen)
    yield from _layers(options, says, place, chosen)
    named = [option for option in says["metric_options"] if options[option] not in (None, "", (), [])]
    for option in says["metric_options"] if not (named or says["shows"]) else ():
        yield f"{place}.{option} = {options[option]!r}; must name at least one metric"
    columns = {name for row in chosen for name in row.vary}
    for option in says["column_options"]:
        if options[option] is not None and options[option] not in columns:
            yield one_of(f"{place}.{option}", options[option], columns)
    if says["column_options"] or not says["grids"]:
        told = [options[option] for option in says["column_options"] if options[option]]
        yield from _grids(chosen, options["where"], place, told[0] if told and says["grids"] else None)
    datasets = list(dict.fromkeys(row.dataset for row in chosen))
    if says["one_dataset"] and len(datasets) > 1:
        names = ", ".join(datasets)
        yield f"{place}.where leaves the data sets {names}; the figure draws one, choose it by where.dataset"
    known = _recorded(chosen)
    if known is not None:
        yield from _drawn(module, options, entry.get("options", {}), place, known)


def _drawn(module: str, options: Mapping, given: Mapping, place: str, known: Collection[str]) -> Iterator[str]:
    """Every metric that the file names must be recorded, and one at least of those that a figure shows by itself."""
    says = figure_options.declared(module)
    named = [(f"{place}.{option}", options[option], option in given) for option in says["metric_options"]]
    for option, kind in says["entries"].items():
        if not options[option]:
            yield f"{place}.{option} = []; must hold at least one"
        for field in figure_options.declared(module, kind).get("metric_options", ()):
            named += [(f"{place}.{option}[{i}].{field}", one[field], True) for i, one in enumerate(options[option])]
    unsaid = [*says["shows"]]
    for where, value, said in named:
        for metric in value if isinstance(value, (list, tuple)) else [value] if value else []:
            if said and not recorded(metric, known):
                yield one_of(where, metric, known)
            unsaid += [] if said else [metric]
    said = any(value for _, value, said in named if said)
    if unsaid and not said and not any(recorded(m, known) or recorded_some(m, known) for m in unsaid):
        yield f"{place.removesuffix('.options')}: draws {', '.join(unsaid)}; no run records any of them"


def _named(options: Mapping, says: Mapping, place: str, needed: Sequence[Experiment]) -> Iterator[str]:
    """Options that name methods, data sets or experiments."""
    known = {"dataset": {d for e in needed for d in e.names["datasets"]}, "experiment": {e.name for e in needed}}
    known["method"] = {m for e in needed for m in e.names["methods"]}
    for kind in ("method", "dataset"):
        for option in says.get(f"{kind}_options", ()):
            for name in _flat(options[option]):
                if name not in known[kind]:
                    yield one_of(f"{place}.{option}", name, known[kind])
    for option, kind in says.get("keyed_by", {}).items():
        for key in options[option] if isinstance(options[option], Mapping) else ():
            if key not in known[kind]:
                yield one_of(f"{place}.{option}: {kind}", key, known[kind])


def _flat(value: Any) -> list[Any]:
    """One value, those of a list, or of a list of lists; none for null."""
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in _flat(part)]
    return [] if value is None else [value]


def _shown(entry: Mapping, says: Mapping, place: str, chosen: list[Row]) -> Iterator[str]:
    """What an entry shows beside its metrics, where all its settings are given, must be recorded by its methods."""
    methods = {m for option in says.get("method_options", ()) for m in _flat(entry[option])}
    known = _recorded([row for row in chosen if row.method in methods or not methods])
    for template in says.get("shows", ()):
        given = {key: entry[key] for key in fields_of(template)}
        metrics = [] if None in given.values() else filled(template, given)
        for metric in metrics if known else ():
            if not recorded(metric, known):
                yield one_of(f"{place}: metric", metric, known)
                return


def _layers(options: Mapping, says: Mapping, place: str, rows: list[Row]) -> Iterator[str]:
    """Numbers of layers, also as keys of a mapping, which the nets must have."""
    metrics = [m for option in says.get("metric_options", ()) for m in _flat(options[option])]
    for option in says.get("layer_options", ()):
        for layer in options[option] if isinstance(options[option], Mapping) else _flat(options[option]):
            yield from _layer(str(layer), rows, f"{place}.{option}", metrics)


def _of_the_whole_net(metric: str, cell: Cell) -> bool:
    """Whether the runs of a cell record a metric for the whole net alone, neither by layer nor by output."""
    return cell.in_parts is not None and not recorded(metric, cell.in_parts)


def _layer(layer: str, rows: list[Row], place: str, metrics: Sequence[str] = ()) -> Iterator[str]:
    """A layer that no net has, or of which the metrics, if any are given, are recorded by none."""
    if layer and metrics and all(_of_the_whole_net(m, row.cell) for m in metrics for row in rows):
        yield f"{place} = {layer!r}; {', '.join(metrics)} is recorded for the whole net alone, must be ''"
        return
    runs = [row.cell.run for row in rows if row.cell.run.get("net")]
    outputs = any(set(metrics) & by_output(run) for run in runs)
    counts = [task_shape(run)[1] if outputs else n_blocks(run["net"]) for run in runs]
    if counts and layer.isdigit() and int(layer) > max(counts):
        yield f"{place} = {layer!r}; no net has more than {max(counts)} {'outputs' if outputs else 'layers'}"


# ---- tables


def _table(
    place: str, name: str, entry: Mapping[str, Any], owner: Experiment, needed: Sequence[Experiment]
) -> Iterator[str]:
    options, place = entry.get("options", {}), f"{place}.options"
    down, across = options.get("rows", "method"), options.get("columns", "dataset")
    if down == across:
        yield f"{place}: rows and columns are both {down!r}; must be two of: method, dataset, metric"
    chosen, problems = _selected(rows(needed), options.get("where", {}), place)
    yield from problems
    if problems:
        return
    labels: dict[tuple[str, str, str], str] = {}
    for i, given in enumerate(options.get("values") or [{}]):
        here = f"{place}.values[{i}]" if "values" in options else place
        try:
            wanted = values({**options, "values": [given]})
        except ConfigError as error:
            yield f"{place.removesuffix('.options')}: {error}"
            continue
        for value in wanted:
            yield from _value(value, chosen, options.get("where", {}), here, labels)


def _value(value: Value, chosen: list[Row], where: Mapping, place: str, labels: dict) -> Iterator[str]:
    mine, problems = _selected(chosen, value.where, place, used=False)
    yield from problems
    if problems:
        return
    yield from _of_a_grid(value, mine, place)
    yield from _grids(mine, {**where, **value.where}, place, value.column)
    name = f"{value.label}_*" if value.each else value.label
    for row in mine:
        if labels.setdefault((row.dataset, row.method, name), place) != place:
            which = f"{row.method} on {row.dataset} is called {value.label!r}"
            yield f"{place}: another value of {which}; give each a `name`"
            break
    known = _recorded([row for row in mine if row.used] or mine)
    for key, metric in (("metric", value.metric), ("validation", value.chooser), ("by", value.scorer.metric)):
        if known is not None and not recorded(metric, known):
            yield one_of(f"{place}.{key}", metric, known)
            return
    given = {**where, **value.where}
    for key, layers in (("layer", [value.layer]), ("where.layer", _flat(given.get("layer", "")))):
        if "" not in layers:
            yield from _layer(layers[0], mine, f"{place}.{key}", [value.metric])
    if value.epoch is not None:
        yield from _epoch(value.epoch, mine, f"{place}.epoch")
    most = max(_most(value.metric, row.cell) for row in mine) if value.window > 1 else math.inf
    if value.window > most and _full_length(mine):
        yield f"{place}.window = {value.window}; no run records {value.metric} more than {most:g} times"


def _of_a_grid(value: Value, rows: list[Row], place: str) -> Iterator[str]:
    """A column that no run varies, and a method to compare with that is not there."""
    columns = {name for row in rows for name in row.vary}
    if value.column and value.column not in columns:
        yield one_of(f"{place}.{'best' if value.best else 'each'}", value.column, columns)
    methods = {row.method for row in rows}
    if value.minus and (value.minus not in methods or len(methods) < 2):
        yield one_of(f"{place}.minus", value.minus, methods) + ", and another one to hold against it"


def _most(metric: str, cell: Cell) -> float:
    """How often a run may record a metric; no limit where probes do, or evaluations within an epoch."""
    run, evaluate = cell.run, cell.run["train"]["evaluate"]
    if not _of_the_whole_net(metric, cell) or evaluate.get("unit", "epoch") != "epoch":
        return math.inf
    return run["train"]["epochs"] + 1  # before the first epoch too


def _full_length(rows: list[Row]) -> bool:
    """Whether runs have all their epochs: what is asked of them is written for these."""
    settings = rows[0].experiment.settings
    return settings.scale == "paper" and settings.epochs is None


def _epoch(epoch: float, rows: list[Row], place: str) -> Iterator[str]:
    longest = max(row.cell.run["train"]["epochs"] for row in rows)
    if epoch > longest and _full_length(rows):
        yield f"{place} = {epoch}; no run has more than {longest} epochs"


# ---- both


def _of_runs(place: str, entry: Mapping[str, Any], needed: Sequence[Experiment], folder: Path) -> Iterator[str]:
    """What `credit.dag.events` and `credit.dag.fits` say of the runs that are left, and a grid among events."""
    options = entry.get("options", {})
    if "events" not in options and "fit" not in options:
        return
    chosen, _ = _selected(rows(needed), options.get("where", {}), f"{place}.options")
    runs = [(row.experiment, row.dataset, row.method) for row in chosen]
    if "events" in options:
        yield from events.problems(options, runs, f"{place}.options")
        yield from _grids(chosen, options.get("where", {}), f"{place}.options")
    if "fit" in options:
        yield from fits.problems(entry, folder, runs, place)


def _selected(rows: list[Row], where: Mapping[str, Any], place: str, used: bool = True) -> tuple[list[Row], list[str]]:
    """The cells of which conditions leave something, and what is wrong with the conditions.

    used: whether one of them must be run at this scale.
    """
    problems: list[str] = []
    columns = {*RECORDED, *(name for row in rows for name in row.vary)}
    left = rows
    for name, wanted in where.items():
        if name not in columns:
            return [], [one_of(f"{place}.where", name, columns)]
        wanted = wanted if isinstance(wanted, list) else [wanted]
        problems += _unknown(rows, name, wanted, f"{place}.where.{name}")
        left = [row for row in left if row.has(name, wanted)]
    if not problems and not any(row.used or not used for row in left):
        problems = [f"{place}.where = {dict(where)!r}; leaves no run"]
    return left, problems


def _unknown(rows: list[Row], name: str, wanted: Sequence[Any], place: str) -> Iterator[str]:
    """Names that no scale knows, and values that no run has."""
    kinds = {"dataset": "datasets", "method": "methods"}
    for one in wanted:
        if name in TEXT and not isinstance(one, str):
            yield f"{place} = {one!r}; must be text, {str(one)!r}"
        elif name in kinds:
            known = {n for row in rows for n in row.experiment.names[kinds[name]]}
            if one not in known:
                yield one_of(place, one, known)
        elif not any(row.has(name, [one]) for row in rows):
            yield f"{place} = {one!r}; no run has this value"
        elif name == "epoch" and isinstance(one, (int, float)):
            yield from _epoch(one, rows, place)
        elif name == "layer":
            yield from _layer(one, rows, place)


def _grids(rows: list[Row], where: Mapping[str, Any], place: str, but: str | None = None) -> Iterator[str]:
    """A mean over different settings means nothing: of each varied setting one value may be left, of all but one."""
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        key = row.experiment.key
        if seen.setdefault((row.dataset, row.method), key) != key:
            found = f"{row.method} on {row.dataset} is of {seen[row.dataset, row.method]} and of {key}"
            yield f"{place}: {found}; choose one by where.experiment"
            return
        for name, grid in row.vary.items():
            if name == but:
                continue
            wanted = where.get(name, list(grid))
            left = [v for v in grid if v in (wanted if isinstance(wanted, list) else [wanted])]
            if len(left) > 1:
                some = ", ".join(f"{v:g}" for v in left[:5])
                found = f"{row.method} on {row.dataset} has several values of {name} ({some})"
                yield f"{place}: {found}; choose one by where.{name}"
                return


def _recorded(rows: Iterable[Row]) -> frozenset[str] | None:
    """Metrics that some of the cells record; None where that is not known."""
    found = {row.cell.metrics for row in rows}
    return None if None in found else frozenset().union(*found)
