"""The files of the workflow, what each is made from, and the spec of every job. Loads no torch.

The Snakefile's rules ask this module; `credit plan`, `why` and `verify` ask it too, so that they speak of exactly
what Snakemake would run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from credit.config.formats import FORMATS
from credit.config.parts import code_roots
from credit.dag import varied
from credit.dag.artefacts import CURVES, Artefact, artefacts
from credit.dag.endings import FILES
from credit.dag.experiment import Cell, Experiment, Job
from credit.dag.loading import checked_artefacts, load_experiments, narrowed
from credit.dag.present import Present
from credit.dag.searches import step_of
from credit.dag.settings import Settings, settings
from credit.dag.shards import Shards, selection
from credit.dag.start import Place, check_seeds, check_sources, starting, upstream_only
from credit.data import catalog
from credit.data.supplied import stamp
from credit.errors import ConfigError, one_of
from credit.provenance import snapshot as provenance
from credit.provenance.kept import ENDS
from credit.provenance.spec import VERSION, canonical_json, digest

LAYOUT = ("rows", "columns")  # options of a table that its numbers do not depend on
SHARD = re.compile(rf"runs/([^/]+)/([^/]+)/([^/]+)/([^/]+)/(?:shard(\d+(?:\.short)?)\.{ENDS}|choice\.json)$")


class Workflow:
    """Everything that the configuration asks for.

    config: content of config/config.yaml with overrides. root: the repository. folder: of the configuration
    (root/config). job: within a job of a call that has checked figures and tables. Raises ConfigError, all problems.
    """

    def __init__(self, config: Mapping[str, Any], root: Path, folder: Path | None = None, job: bool = False):
        self.root, self.folder = root, folder or root / "config"
        schemas = root / "workflow" / "schemas"
        self.settings: Settings = settings(config, schemas / "config.schema.yaml", "config/config.yaml or --config")
        catalog.use(self.folder / "datasets.yaml", Path(self.settings.data_folder, "raw"))
        everything = load_experiments(self.folder / "experiments", self.settings, schemas / "experiment.schema.yaml")
        self.experiments: dict[str, Experiment] = narrowed(everything, self.settings)
        catalog.load()
        for name in self.settings.allow_unverified:
            catalog.raw_hash(name, self.settings.allow_unverified)
        self._digests: dict[tuple, dict[str, str]] = {}
        self._envs: dict[str, str] = {}
        self._trained: dict[Place, dict[str, str]] = {}
        self._collected: dict[str, dict[str, Any]] = {}
        self.present, self.shards = Present(), Shards(self)
        self._others: dict[tuple, Workflow] = {self.settings.limits: self}
        self.defined = self._known = everything  # whatever the settings leave of it
        check_sources(everything, self.cell)
        check_seeds(self.experiments, everything, self.cell)
        self._known = self.experiments | upstream_only(self.experiments, everything)  # those are inputs, no results
        self.figures: dict[str, Artefact] = artefacts("figures", everything, self.experiments)
        self.tables: dict[str, Artefact] = artefacts("tables", everything, self.experiments)
        self._artefact_specs: dict[tuple[str, str], dict[str, Any]] = {
            (a.kind, a.name): self._checked_spec(a) for a in (*self.figures.values(), *self.tables.values())
        }
        if not job:
            checked_artefacts(everything, self.settings, root, self.folder)
        self._fidelity_spec = self._judged()
        provenance.remember()

    # ---- files

    @property
    def results(self) -> str:
        """Folder of all results at this scale."""
        return self.settings.root

    def run_path(self, job: Job) -> str:
        """Result of a training job."""
        place = (f"{job.paper}/{job.experiment}", job.dataset, job.method)
        return self.shard_path(place, self.shards(place, job.shard).name)

    def shard_path(self, place: Place, name: str) -> str:
        """Result of the shard of this name."""
        return f"{self.results}/runs/{'/'.join(place)}/shard{name}.jsonl"

    @property
    def whole(self) -> Workflow:
        """The same without limits on seeds and epochs; it knows runs and searches only."""
        return self.under(seeds=None, epochs=None)

    def under(self, **limits: Any) -> Workflow:
        """The same with other `seeds`, `epochs` or `seeds_per_job`; it knows runs and searches only."""
        changed = replace(self.settings, **limits)
        if changed.limits not in self._others:
            other = self._others[changed.limits] = copy(self)
            other.settings = changed
            other._known = {key: experiment.under(changed) for key, experiment in self._known.items()}
            other._trained, other._collected, other.shards = {}, {}, Shards(other)
        return self._others[changed.limits]

    def runs(self, key: str) -> list[str]:
        """Results of all training jobs of an experiment."""
        return [self.run_path(job) for job in self.experiment(key).jobs()]

    def weights_paths(self, place: Place, seeds: Sequence[int]) -> list[str]:
        """Kept weights that runs of a cell with these seeds start from."""
        source = self.cell(*place).source
        if source is None:
            return []
        (key, dataset, method), upstream = source.place, self.experiment(source.place[0])
        shards = upstream.shards_of(source.seeds(tuple(seeds)))
        jobs = [Job(*key.split("/"), dataset, method, shard, upstream.shard_seeds(shard)) for shard in shards]
        return [f"{self.run_path(job).removesuffix('.jsonl')}.safetensors" for job in jobs]

    def started_from(self) -> dict[str, Place]:
        """{kept weights: their cell} of everything that the chosen runs and searches start from."""
        found: dict[str, Place] = {}
        for key, experiment in self.experiments.items():
            for dataset, method, source in starting(experiment):
                if dataset in experiment.datasets and method in experiment.methods:
                    search = self.cell(key, dataset, method).search or {"seeds": ()}
                    seeds = [*range(experiment.seeds), *search["seeds"]]
                    found |= dict.fromkeys(self.weights_paths((key, dataset, method), seeds), source.place)
        return found

    @cached_property
    def keeping(self) -> dict[tuple[str, ...], list[str]]:
        """{what they keep: cells, as `PAPER/EXPERIMENT/DATASET/METHOD`} of those that keep anything."""
        cells: dict[tuple[str, ...], list[str]] = {}
        for key, experiment in self._known.items():
            for dataset in experiment.body["datasets"]:
                for method in experiment.body["methods"]:
                    cells.setdefault(experiment.keep(dataset, method), []).append(f"{key}/{dataset}/{method}")
        return {kinds: names for kinds, names in cells.items() if kinds}

    def data_path(self, dataset: str) -> str:
        """Prepared data set; both scales share it."""
        return f"{self.settings.data_folder}/{dataset}.npz"

    def artefact_paths(self, paper: str | None = None) -> list[str]:
        """Files of all figures and tables, of one paper or of all."""
        made = [(kind, one) for kind in FILES for one in getattr(self, kind).values() if paper in (None, one.paper)]
        found = [f"{self.results}/{kind}/{one.name}.{end}" for kind, one in made for end in FILES[kind]]
        raw = [f"{self.results}/tables/{key}.csv" for key, e in self.experiments.items() if paper in (None, e.paper)]
        return found + raw

    @cached_property
    def papers(self) -> tuple[str, ...]:
        """Papers that have experiments, figures or tables."""
        owners = (*self.experiments.values(), *self.figures.values(), *self.tables.values())
        return tuple(dict.fromkeys(owner.paper for owner in owners))

    def experiment(self, key: str) -> Experiment:
        """The experiment `PAPER/NAME`: a chosen one, or one from whose weights a chosen one starts."""
        if key not in self._known:
            raise ConfigError(one_of("experiment", key, self.experiments))
        return self._known[key]

    @property
    def asks_for_gpu(self) -> bool:
        """Whether an experiment asks for a GPU by its `resources`."""
        return any(experiment.resource("gpu", 0) for experiment in self._known.values())

    def published(self) -> list[str]:
        """Files of published numbers."""
        return sorted(f"config/published/{path.name}" for path in (self.folder / "published").glob("*.csv"))

    def given(self, names: Sequence[str]) -> list[str]:
        """Where files of the configuration are, as inputs of jobs. names: `config/…`."""
        if Path("config").resolve() == self.folder.resolve():
            return list(names)
        return [str(self.folder.resolve() / name.removeprefix("config/")) for name in names]

    # ---- specs

    def cell(self, key: str, dataset: str, method: str) -> Cell:
        """The resolved cell of an experiment."""
        return self.experiment(key).cell(dataset, method)

    def script(self, name: str) -> Path:
        """A script of workflow/scripts."""
        return self.root / "workflow" / "scripts" / f"{name}.py"

    def digests(self, step: str, *roots: str) -> dict[str, str]:
        """{"code", "env"} of a job: everything that its roots import, and the environment of its step."""
        place = (step, *roots)
        if place not in self._digests:
            self._digests[place] = {"code": provenance.code_digest(*roots), "env": self._env(step)}
        return self._digests[place]

    def _env(self, step: str) -> str:
        if step not in self._envs:
            self._envs[step] = provenance.env_digest(self.root / "envs" / f"{step}.yaml")
        return self._envs[step]

    def _cell_digests(self, place: tuple[str, str, str], spec: dict[str, Any]) -> dict[str, str]:
        """Digests of a cell's training jobs, or of its search; they are the same for every shard."""
        step, script = step_of(spec)
        if (script, *place) not in self._digests:
            self._digests[(script, *place)] = self.digests(step, *code_roots(spec, self.script(script)))
        return self._digests[(script, *place)]

    def train_spec(self, key: str, dataset: str, method: str, shard: int | str) -> dict[str, Any]:
        """Spec of a training job. shard: its number, or the name that its file has."""
        place = (key, dataset, method)
        served = self.shards(place, shard) if isinstance(shard, int) else None
        number, owner = (shard, served.by) if served else self.shards.named(place, shard)
        return owner.own_spec(place, number)

    def own_spec(self, place: Place, shard: int) -> dict[str, Any]:
        """Spec of a training job under these very settings, whatever is there."""
        experiment = self.experiment(place[0])
        if not (seeds := experiment.shard_seeds(shard)):
            raise ConfigError(f"{place[0]}: shard {shard} holds no seed; there are {experiment.seeds} seeds")
        return self.spec_of(place, seeds)

    def spec_of(self, place: Place, seeds: tuple[int, ...]) -> dict[str, Any]:
        """Spec of a training job with these seeds."""
        cell = self.cell(*place)
        return {**cell.train_spec(seeds), **self._start_spec(cell, seeds), **self._trained_with(*place)}

    def start_paths(self, place: Place, shard: str) -> list[str]:
        """Kept weights that the shard of this name starts from."""
        number, owner = self.shards.named(place, shard)
        return owner.weights_paths(place, owner.experiment(place[0]).shard_seeds(number))

    def _start_spec(self, cell: Cell, seeds: Sequence[int]) -> dict[str, Any]:
        """{"start": what runs with these seeds start from}: the cell, the seeds of its shards, and its whole spec."""
        if cell.source is None:
            return {}
        place = (key, dataset, method) = cell.source.place
        shards = self.experiment(key).shards_of(cell.source.seeds(tuple(seeds)))
        owners = [self.shards(place, shard).by for shard in shards]
        first = owners[0] if owners else self
        spec = {**first.cell(*place).train_spec(()), **first._trained_with(*place)}
        return {
            "start": {
                "experiment": key, "dataset": dataset, "method": method, "seed": cell.source.seed,
                "runs": [list(by.experiment(key).shard_seeds(shard)) for by, shard in zip(owners, shards, strict=True)],
                "spec": {k: v for k, v in spec.items() if k != "seeds"},
            }
        }  # fmt: skip

    def _trained_with(self, key: str, dataset: str, method: str) -> dict[str, str]:
        """Digests of a cell's training jobs, and of the search that chooses their settings."""
        place = (key, dataset, method)
        if place not in self._trained:
            cell = self.cell(*place)
            search = {"search": digest(self.search_spec(*place))} if cell.search else {}
            self._trained[place] = self._cell_digests(place, cell.train_spec(())) | search
        return self._trained[place]

    def search_spec(self, key: str, dataset: str, method: str) -> dict[str, Any]:
        """Spec of a hyperparameter search."""
        cell = self.cell(key, dataset, method)
        spec = cell.search_spec()
        return {**spec, **self._start_spec(cell, spec["seeds"]), **self._cell_digests((key, dataset, method), spec)}

    def collect_spec(self, key: str) -> dict[str, Any]:
        """Spec of the table that gathers an experiment's runs.

        `inputs` stands for the specs of all runs. Without it, a table would pass as up to date when a run below it is
        missing because its job failed: Snakemake does not look for the inputs of what it takes for finished.
        """
        if key not in self._collected:
            self._collected[key] = self._collect_spec(key)
        return self._collected[key]

    def _collect_spec(self, key: str) -> dict[str, Any]:
        experiment = self.experiment(key)
        cells = [(dataset, method) for dataset in experiment.datasets for method in experiment.methods]
        seeds = range(experiment.seeds)
        below = [
            {**cell.train_spec(()), **self._start_spec(cell, seeds), **self._trained_with(key, *c)}
            for cell, c in ((self.cell(key, *c), c) for c in cells)
        ]
        return {
            "version": VERSION, "kind": "collect", "paper": experiment.paper, "experiment": experiment.name,
            "inputs": digest([below, experiment.seeds, experiment.seeds_per_job]),
            **selection(self, key), **self.digests("analyse", str(self.script("collect"))),
        }  # fmt: skip

    def artefact_spec(self, kind: str, name: str) -> dict[str, Any]:
        """Spec of a figure or a summary table."""
        return self._artefact_specs[kind, name]

    def _checked_spec(self, artefact: Artefact) -> dict[str, Any]:
        """Spec of an artefact. Raises ConfigError for a module that cannot be read and a caption that is not there."""
        where = f"{artefact.path}: {artefact.kind}s.{artefact.name.rpartition('/')[2]}"
        reports = self.root / "workflow" / "report"
        if not (reports / artefact.caption).is_file():
            known = [p.name for p in reports.glob("*.rst")]
            raise ConfigError(one_of(f"{where}.caption", artefact.caption, known))
        references = artefact.entry.get("references", ())
        curves = [p.name for p in (self.folder / CURVES).glob("*.csv")] if references else []
        for name in references:
            if artefact.kind != "figure" and "fit" not in artefact.entry.get("options", {}):
                held = "other tables are held against config/published"
                raise ConfigError(f"{where}.references: of figures, and of tables with a fit; {held}")
            if name not in curves:
                raise ConfigError(one_of(f"{where}.references", name, curves))
        try:
            spec = self._artefact_spec(artefact)
            canonical_json(spec)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
        return spec

    def _artefact_spec(self, artefact: Artefact) -> dict[str, Any]:
        kind, name = artefact.kind, artefact.name
        short = name.rpartition("/")[2]
        script, modules = "summarise", ()
        spec = {
            "version": VERSION, "kind": kind, "paper": artefact.paper, "name": name,
            "options": artefact.entry.get("options", {}),
            "experiments": list(artefact.experiments), "artefact": name,
            "inputs": digest([self.collect_spec(key) for key in artefact.experiments]),
            "methods": list(dict.fromkeys(m for e in artefact.experiments for m in self.experiments[e].methods)),
            "scale": self.settings.scale, **varied.marked(artefact, self.experiments),
        }  # fmt: skip
        references = {name: file_digest(self.folder.parent / name) for name in artefact.references}
        if kind == "table":  # what numbers it holds, not how it is called and laid out
            spec["options"] = {k: v for k, v in spec["options"].items() if k not in LAYOUT}
            spec |= {"references": references} if references else {}
        else:
            spec |= {"title": varied.title(artefact, self.experiments), "rules": self._rules(artefact)}
            spec["references"] = references
            spec["module"] = artefact.entry.get("module", f"credit.figures.{artefact.paper}.{short}")
            script, modules = "plot", (spec["module"],)
        return {**spec, **self.digests("analyse", str(self.script(script)), *modules)}

    def readable_spec(self, name: str) -> dict[str, Any]:
        """Spec of a summary table as a table for people."""
        artefact = self.tables[name]
        return {
            "version": VERSION, "kind": "readable", "paper": artefact.paper, "name": name,
            "title": varied.title(artefact, self.experiments), "options": artefact.entry.get("options", {}),
            "rules": self._rules(artefact), "scale": self.settings.scale,
            "inputs": digest(self.artefact_spec("table", name)),
            **self.digests("analyse", str(self.script("typeset"))),
        }  # fmt: skip

    def _rules(self, artefact: Artefact) -> dict[str, str]:
        """{method: learning rule}, by which figures choose colours."""
        bodies = [self.experiments[e].body["methods"] for e in artefact.experiments]
        return {name: (entry or {}).get("rule", name) for body in bodies for name, entry in body.items()}

    def fidelity_spec(self) -> dict[str, Any]:
        """Spec of the table that holds reproduced against published numbers."""
        return self._fidelity_spec

    def _judged(self) -> dict[str, Any]:
        more = self.digests("analyse", str(self.script("fidelity"))) | varied.in_tables(self.tables, self.experiments)
        below = digest([self.artefact_spec("table", name) for name in self.tables])
        return {"version": VERSION, "kind": "fidelity", "scale": self.settings.scale, "inputs": below, **more}

    def fetch_spec(self, dataset: str) -> dict[str, Any]:
        """Spec of a download. Neither mirror nor code enters: checksums decide what arrived.

        Of files that the user supplies it holds sizes and dates, so that a replaced one is fetched, and hashed, again.
        """
        spec = catalog.fetch_spec(dataset, self.settings.allow_unverified)
        raw = Path(self.settings.data_folder, "raw", dataset)
        supplied = stamp(catalog.load()[dataset], raw, self.settings.user_files, self.settings.mirror)
        return {**spec, "supplied": supplied} if supplied else spec

    def prepare_spec(self, dataset: str) -> dict[str, Any]:
        """Spec of a data set's preparation."""
        spec = catalog.prepare_spec(dataset, self.settings.allow_unverified)
        reader = FORMATS.module(spec["dataset"]["format"])
        return {**spec, **self.digests("fetch", str(self.script("prepare")), reader)}

    def run_spec(self, path: str) -> dict[str, Any]:
        """The present spec of a result file, from its path. Raises ConfigError for other paths."""
        found = SHARD.search(str(path))
        if not found:
            raise ConfigError(f"{path}: not the path of a run (…/runs/PAPER/EXPERIMENT/DATASET/METHOD/shardS.jsonl)")
        paper, experiment, dataset, method, shard = found.groups()
        key = f"{paper}/{experiment}"
        if shard is None:
            return self.search_spec(key, dataset, method)
        return self.train_spec(key, dataset, method, shard)


def file_digest(path: Path) -> str:
    """First 16 hex digits of the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def as_param(spec: Mapping[str, Any]) -> str:
    """A spec as the one param of a Snakemake job."""
    return canonical_json(spec)
