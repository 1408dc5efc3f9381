"""Experiments: YAML files -> checked, resolved runs. Loads no torch, so that the Snakefile can use it.

An experiment names data sets and methods; every pair is a *cell*, trained from several seeds. What a cell does is
laid together from the experiment's defaults, then the data set's entry, then the method's, then the method's
entry for that data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from credit.config.files import check_schema, overlay
from credit.config.sets import Sets, leaves, with_origin
from credit.config.space import searched
from credit.dag import extended, keeping, searches, varied
from credit.dag.checks import PartChecker, by_layer
from credit.dag.recorded import in_parts, metrics
from credit.dag.runs import KINDS
from credit.dag.settings import Settings
from credit.dag.spelling import Spelling
from credit.dag.start import Source, source
from credit.data import catalog
from credit.data.entry import Entry
from credit.errors import ConfigError, one_of
from credit.optim import config as optimizer_config
from credit.provenance.spec import VERSION, digest

FOLDER = "is a folder of results, by which their paths are understood; choose another name"
RUN_KEYS = ("net", "task", "train", "probes", "vary", "search")
UNREAD = "unread"  # stands for the checksum of files that are not there
TRAIN_DEFAULTS = {
    "epochs": 1, "dtype": "float32", "threads": 1, "optimizer": {"name": "sgd"},
    "evaluate": {"every": 1, "splits": ["validation", "test"]},
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One training job: a shard of a cell, that is a range of consecutive seeds."""

    paper: str
    experiment: str
    dataset: str
    method: str
    shard: int
    seeds: tuple[int, ...]


class Experiment:
    """One file of `config/experiments/PAPER/NAME.yaml` at one scale, narrowed by the settings.

    names: {"datasets" | "methods": all that the file names, at whichever scale}. kept: its `state` of another process,
    which stands for what it would read.
    """

    def __init__(self, path: Path, settings: Settings, schema: Path, sets: Sets, kept: tuple | None = None):
        self.path, self.paper, self.name, self.settings = path, path.parent.name, path.stem, settings
        self._cells: dict[tuple[str, str], Cell] = {}
        if kept:
            self.body, self._origins, self.names, cells = kept
            self._cells = {place: Cell.kept(state) for place, state in cells.items()}
            return
        content = extended.read(path, lambda whole, file: check_schema(whole, schema, str(file)))
        body = {k: v for k, v in content.items() if k != "quick"}
        quick = content.get("quick") or {} if settings.scale == "quick" else {}
        spelling = Spelling(body, quick)
        body = spelling.layer(body)
        if quick:
            body = check_schema(overlay(body, spelling.layer(quick)), schema, f"{path}: with its quick section")
        self.body, self._origins = sets.expand(body, str(path), spelling.at)
        layers = (content, content.get("quick") or {})
        self.names = {kind: {n for layer in layers for n in _named(layer, kind)} for kind in ("datasets", "methods")}
        for kind, name in ((kind, name) for kind in self.names for name in KINDS if name in self.names[kind]):
            raise ConfigError(f"{path}: {kind}.{name}: {name} {FOLDER}")

    @property
    def key(self) -> str:
        return f"{self.paper}/{self.name}"

    @property
    def state(self) -> tuple:
        """What it was read and resolved to, of plain values; without cells on the user's own data."""
        plain = {place: cell for place, cell in self._cells.items() if not cell.data or not _own(cell.data)}
        return self.body, self._origins, self.names, {place: cell.state for place, cell in plain.items()}

    def under(self, settings: Settings) -> Experiment:
        """The same experiment under other settings of the same scale."""
        other = copy(self)
        other.settings, other._cells = settings, {}
        for derived in ("datasets", "methods", "seeds", "seeds_per_job"):
            other.__dict__.pop(derived, None)
        return other

    def _narrowed(self, kind: str, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        defined = tuple(self.body[kind])
        used = tuple(self.body.get(f"use_{kind}", defined))
        for name in used:
            if name not in defined:
                raise ConfigError(f"{self.path}: {one_of(f'use_{kind}', name, defined)}")
        if kind == "datasets" and wanted is None and self.settings.user_files is None:
            used = tuple(name for name in used if not self._supplied(name))
        return used if wanted is None else tuple(n for n in (defined if kind == "methods" else used) if n in wanted)

    def _supplied(self, dataset: str) -> bool:
        """Whether the user must supply the files of a data set, whose place the catalogue does not know."""
        entry = catalog.load().get((self.body["datasets"][dataset] or {}).get("data"))
        return entry is not None and entry.source == "user" and entry.own is None

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """Data sets that are run, in the order of the file; those whose files the user must supply where the settings
        say where these are, or name the data set."""
        return self._narrowed("datasets", self.settings.datasets)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Methods that are run, in the order of the file; those that the settings name also where they are not used."""
        return self._narrowed("methods", self.settings.methods)

    @cached_property
    def seeds(self) -> int:
        """Number of seeds; they are 0, 1, 2, ..."""
        return self.settings.seeds or self.body["seeds"]

    @cached_property
    def seeds_per_job(self) -> int:
        """Seeds in a shard."""
        size = self.settings.seeds_per_job or self.body.get("seeds_per_job", 1)
        return self.seeds if size == "all" else size

    def shard_seeds(self, shard: int) -> tuple[int, ...]:
        """Seeds of a shard: a fixed range, so that more seeds add shards and leave complete ones alone."""
        first = shard * self.seeds_per_job
        return tuple(range(first, min(first + self.seeds_per_job, self.seeds)))

    def jobs(self) -> Iterator[Job]:
        """Every training job, ordered by data set, method and shard."""
        shards = range(-(-self.seeds // self.seeds_per_job))
        for dataset in self.datasets:
            for method in self.methods:
                for shard in shards:
                    yield Job(self.paper, self.name, dataset, method, shard, self.shard_seeds(shard))

    def cell(self, dataset: str, method: str) -> Cell:
        """The resolved run of a method on a data set, resolved once. Raises ConfigError naming file and key."""
        if (dataset, method) not in self._cells:
            self._cells[dataset, method] = Cell.resolve(self, dataset, method)
        return self._cells[dataset, method]

    def origins(self, dataset: str, method: str) -> dict[str, str]:
        """{hyper.SETTING or optimizer.SETTING: the set that it is from} of a cell; later layers have the last word."""
        cell = ((), ("datasets", dataset), ("methods", method), ("methods", method, "datasets", dataset))
        found: dict[str, str | None] = {}
        for place in ((*layer, *end) for end in (("train", "optimizer"), ("hyper",)) for layer in cell):
            settings: Any = self.body
            for key in place:
                settings = (settings or {}).get(key)
            found |= {f"{place[-1]}.{k}": self._origins.get(place, {}).get(k) for k in leaves(settings or {})}
        return {k: name for k, name in found.items() if name}

    def layers(self, dataset: str, method: str) -> list[dict[str, Any]]:
        """What is laid together for a cell: the experiment, the data set, the method, the method on that data set."""
        entry, own = self.body["datasets"][dataset] or {}, self.body["methods"][method] or {}
        return [self.body, entry, own, (own.get("datasets") or {}).get(dataset) or {}]

    def keep(self, dataset: str, method: str) -> tuple[str, ...]:
        """What the jobs of a cell keep beside their results, see `credit.provenance.kept`."""
        layers = self.layers(dataset, method)
        own, added = _layered("keep", layers) or (), self.settings.keep
        return keeping.together(own, added, _layered("task", layers) if added else {}) if own or added else ()

    def source(self, dataset: str, method: str) -> Source | None:
        """The cell from whose final weights a cell starts."""
        return source(_layered("start", self.layers(dataset, method)), (self.key, dataset, method))

    def shards_of(self, seeds: Iterable[int]) -> list[int]:
        """Shards that hold these seeds, in order."""
        return sorted({seed // self.seeds_per_job for seed in seeds})

    def check(self) -> None:
        """Resolve every cell, also those that the settings leave out; raise ConfigError with all problems."""
        problems = [
            f"{self.path}: {one_of(f'methods.{method}.datasets', name, self.body['datasets'])}"
            for method, own in self.body["methods"].items()
            for name in (own or {}).get("datasets") or {}
            if name not in self.body["datasets"]
        ]
        for dataset in self.body["datasets"]:
            for method in self.body["methods"]:
                try:
                    self.cell(dataset, method)
                except ConfigError as error:
                    problems += [line for line in str(error).splitlines() if line not in problems]
        if problems:
            raise ConfigError("\n".join(varied.foremost(problems)))

    def resource(self, name: str, default: int) -> int:
        """A resource of this experiment's training jobs."""
        return self.body.get("resources", {}).get(name, default)


@dataclass(frozen=True)
class Cell:
    """What one method does on one data set, resolved: everything of a spec but seeds and digests."""

    run: dict[str, Any]
    search: dict[str, Any] | None
    data: str | None
    keep: tuple[str, ...] = ()
    source: Source | None = None

    @classmethod
    def resolve(cls, experiment: Experiment, dataset: str, method: str) -> Cell:
        body, where = experiment.body, str(experiment.path)
        if dataset not in body["datasets"]:
            raise ConfigError(f"{where}: {one_of('data set', dataset, body['datasets'])}")
        if method not in body["methods"]:
            raise ConfigError(f"{where}: {one_of('method', method, body['methods'])}")
        layers = experiment.layers(dataset, method)
        entry, own = layers[1:3]
        rule, settings = own.get("rule", method), varied.of_cell(experiment, dataset, method)
        parts = {key: _layered(key, layers) for key in RUN_KEYS}
        parts = varied.laid(parts | {"hyper": overlay(own.get("hyper"), layers[3].get("hyper"))}, rule, settings)
        hyper = parts["hyper"]
        if "name" in hyper:
            place = f"{where}: methods.{method}.hyper.name = {hyper['name']!r}"
            raise ConfigError(f"{place}: no such hyperparameter; `rule` names the learning rule of a method")
        checker = PartChecker(where)
        resolved = {
            "rule": checker.part(
                "methods", {"name": rule, **hyper}, f"methods.{method}.hyper", label=f"methods.{method}"
            ),
            "net": checker.part("nets", parts["net"] or {}, "net", "kind"),
            "task": checker.part("tasks", parts["task"] or {}, "task"),
            "probes": [
                checker.part("probes", {"every": 0, "on": "update", **p}, f"probes[{i}]", "probe", ("every", "on"))
                for i, p in enumerate(parts["probes"] or [])
            ],
            "train": _shortened(overlay(TRAIN_DEFAULTS, parts["train"]), experiment.settings.epochs),
            "vary": parts["vary"] or {},
        }  # fmt: skip
        if not checker.problems:
            grids = [*resolved["vary"], *searched(parts["search"])]
            train = resolved["train"]
            resolved["train"] = train | {"optimizer": by_layer(train["optimizer"], resolved["net"], grids)}
        search = searches.resolved(parts["search"], resolved, checker)
        checker.cadence(resolved, "probes")
        checker.capable(resolved["rule"], resolved["net"], f"methods.{method}")
        checker.optimizer(resolved, search, f"methods.{method}")
        checker.criterion(resolved, search, f"methods.{method}")
        for place, grid in (("vary", resolved["vary"]), ("search.vary", (search or {}).get("vary", {}))):
            checker.varied(resolved, grid, f"methods.{method}: {place}")
        searches.check_space(search, resolved, checker, f"methods.{method}")
        data = entry.get("data")
        accepted = data and catalog.usable(data, experiment.settings.allow_unverified)
        checker.agree(resolved, search, accepted or None, f"methods.{method}")
        if experiment.settings.epochs is None:  # else less may be learned than is meant
            checker.begins(resolved)
        kept = keeping.problems(_layered("keep", layers) or (), resolved["task"]) if not checker.problems else ()
        checker.problems += [f"{where}: methods.{method}: {problem}" for problem in kept]
        if data and data not in catalog.load():
            checker.problems.append(f"{where}: {one_of(f'datasets.{dataset}.data', data, catalog.load())}")
        origins = experiment.origins(dataset, method) if checker.problems else {}
        checker.problems = [varied.with_setting(with_origin(p, origins), settings) for p in checker.problems]
        checker.finish()
        resolved["train"] |= {"optimizer": optimizer_config.typed(resolved["train"]["optimizer"])}
        run = {
            "version": VERSION, "paper": experiment.paper, "experiment": experiment.name, "dataset": dataset,
            "method": method, **resolved,
            "data": data and _declared(accepted or catalog.load()[data]),
        }  # fmt: skip
        return cls(run, search or None, data, experiment.keep(dataset, method), experiment.source(dataset, method))

    @property
    def state(self) -> tuple:
        """All of it, of plain values."""
        source = self.source and (self.source.place, self.source.seed)
        return self.run, self.search, self.data, self.keep, source

    @classmethod
    def kept(cls, state: tuple) -> Cell:
        """The cell of a `state`."""
        return cls(*state[:-1], source=state[-1] and Source(*state[-1]))

    @cached_property
    def metrics(self) -> frozenset[str] | None:
        """What its runs record, see `credit.dag.recorded.metrics`."""
        return metrics(self.run)

    @cached_property
    def in_parts(self) -> frozenset[str] | None:
        """What it may record by layer or output, see `credit.dag.recorded.in_parts`."""
        return in_parts(self.run)

    def train_spec(self, seeds: tuple[int, ...]) -> dict[str, Any]:
        """Spec of a training job, without digests.

        `searched` names the settings that come from the choice.json of a search.
        """
        found = {"searched": sorted(searched(self.search))} if self.search else {}
        return {"kind": "train", **self.run, **found, "seeds": list(seeds)}

    def search_spec(self) -> dict[str, Any]:
        """Spec of the search, without digests: the run at its own length, a grid as members of one stack."""
        if self.search is None:
            raise ConfigError(f"{self.run['experiment']}/{self.run['method']} has no search")
        train = overlay(
            self.run["train"], {"epochs": self.search["epochs"], "evaluate": {"splits": self.search["splits"]}}
        )
        return {
            "kind": "search", **self.run, **searches.spec_part(self.search), "task": self.search["task"],
            "train": train, "probes": [], "seeds": self.search["seeds"], "criterion": self.search["criterion"],
        }  # fmt: skip


def _own(dataset: str) -> bool:
    """Whether the user supplies the files of a data set."""
    return catalog.load()[dataset].source == "user"


def _named(layer: Mapping[str, Any], kind: str) -> Iterable[str]:
    """Names of data sets or methods; none where a quick section that is not read at this scale is no mapping."""
    given = layer.get(kind)
    return given if isinstance(given, Mapping) else ()


@cache  # many cells use a data set
def _declared(accepted: Entry) -> dict[str, Any]:
    """What a spec says of the original data that its run uses. The user's own may not be there: unread."""
    if accepted.own is not None and not accepted.classes:
        unread = {"sha256": UNREAD, "verified": True, "format": accepted.format, "declared": UNREAD}
        return {"name": accepted.name, **unread}
    return {
        "name": accepted.name, "sha256": accepted.raw_hash(), "verified": accepted.verified,
        "format": accepted.format, "declared": digest(accepted.spec(urls=False)),
    }  # fmt: skip


def _shortened(train: dict[str, Any], longest: int | None) -> dict[str, Any]:
    """`train` with no more epochs than the settings allow."""
    return train if longest is None else train | {"epochs": min(train["epochs"], longest)}


def _layered(key: str, layers: list[dict[str, Any]]) -> Any:
    """The value of `key` in the layers, mappings merged, an explicit null switching it off."""
    value: Any = None
    for layer in layers:
        if key in layer:
            new = layer[key]
            value = overlay(value, new) if isinstance(value, dict) and isinstance(new, dict) else new
    return value
