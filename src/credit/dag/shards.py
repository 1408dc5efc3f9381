"""Which file holds a shard where the settings cut runs short: no longer run is replaced by a shorter one.

A complete run that is there serves for a shorter one, and tables take from it what was chosen. Where a longer one is
there that is not what would be made now, a shorter one is made beside it, as `shardS.short.jsonl`. Loads no torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from credit.dag.start import Place
from credit.errors import ConfigError
from credit.provenance.spec import digest

if TYPE_CHECKING:
    from credit.dag.targets import Workflow

SHORT = ".short"


class Served(NamedTuple):
    """name: of the shard in its file's name, `0` or `0.short`. by: the workflow whose spec it is of."""

    name: str
    by: Workflow


class Shards:
    """The shards of a workflow."""

    def __init__(self, workflow: Workflow):
        self.workflow = workflow
        self._served: dict[tuple[Place, int], Served] = {}
        self._agreed: dict[Place, bool] = {}

    def __call__(self, place: Place, shard: int) -> Served:
        """What holds a shard of a cell."""
        if not self.workflow.settings.cuts:
            return Served(str(shard), self.workflow)
        if (place, shard) not in self._served:
            self._served[place, shard] = self._find(place, shard)
        return self._served[place, shard]

    def named(self, place: Place, name: str) -> tuple[int, Workflow]:
        """Number of the shard of this name, and the workflow that would make it. Raises ConfigError for others."""
        shard = int(name.removesuffix(SHORT))
        served = self(place, shard)
        if name == served.name:
            return shard, served.by
        where = f"{'/'.join(place)}/shard{name}"
        if name.endswith(SHORT):
            raise ConfigError(f"{where}: no run is cut short beside a longer one; name shard{served.name}")
        raise ConfigError(
            f"{where}: is longer than what the settings ask for (seeds, epochs), and is not replaced by a shorter run; "
            f"that is shard{served.name}"
        )

    def _find(self, place: Place, shard: int) -> Served:
        workflow, whole = self.workflow, self.workflow.whole
        if not workflow.experiment(place[0]).shard_seeds(shard):  # a run that is there started from it
            return Served(str(shard), whole)
        header = workflow.present[workflow.shard_path(place, str(shard))]
        if header is None or header.spec == digest(workflow.own_spec(place, shard)):
            return Served(str(shard), workflow)
        if self._complete(place, shard) and self._agree(place) and self._started(place, shard):
            return Served(str(shard), whole)
        return Served(f"{shard}{SHORT}" if self._cut(place, shard) else str(shard), workflow)

    def _complete(self, place: Place, shard: int) -> bool:
        """Whether the run that is there is the one that would be made without limits on seeds and epochs."""
        workflow, whole = self.workflow, self.workflow.whole
        header = workflow.present[workflow.shard_path(place, str(shard))]
        seeds = whole.experiment(place[0]).shard_seeds(shard)
        covers = set(workflow.experiment(place[0]).shard_seeds(shard)) <= set(seeds)
        return header is not None and covers and header.spec == digest(whole.own_spec(place, shard))

    def _agree(self, place: Place) -> bool:
        """Whether all shards of a cell may serve as they are: others start from weights of the same training only."""
        mine, longest = (w.cell(*place) for w in (self.workflow, self.workflow.whole))
        if "weights" not in mine.keep or mine.run["train"]["epochs"] == longest.run["train"]["epochs"]:
            return True
        if place not in self._agreed:
            experiment = self.workflow.experiment(place[0])
            self._agreed[place] = all(self._complete(place, s) for s in experiment.shards_of(range(experiment.seeds)))
        return self._agreed[place]

    def _started(self, place: Place, shard: int) -> bool:
        """Whether the complete run finds what it started from, as it was."""
        whole = self.workflow.whole
        if (source := whole.cell(*place).source) is None:
            return True
        seeds = whole.experiment(place[0]).shard_seeds(shard)
        needed = whole.experiment(source.place[0]).shards_of(source.seeds(seeds))
        served = [self(source.place, number) for number in needed]
        return all(
            name == str(number) and by.own_spec(source.place, number) == whole.own_spec(source.place, number)
            for number, (name, by) in zip(needed, served, strict=True)
        )

    def _cut(self, place: Place, shard: int) -> bool:
        """Whether the run that is there has more seeds or epochs than the settings leave of this one."""
        workflow, whole = self.workflow, self.workflow.whole
        header = workflow.present[workflow.shard_path(place, str(shard))]
        experiment = workflow.experiment(place[0])
        uncut = experiment.under(replace(whole.settings, seeds_per_job=None))
        seeds = len(experiment.shard_seeds(shard))
        most = max(len(e.shard_seeds(shard)) for e in (uncut, whole.experiment(place[0])))
        epochs, longest = (w.cell(*place).run["train"]["epochs"] for w in (workflow, whole))
        return header.seeds > seeds < most or header.epochs > epochs < longest


def selection(workflow: Workflow, key: str) -> dict[str, Any]:
    """{"select": what an experiment's table takes of longer runs}; nothing where the settings cut none short."""
    if not workflow.settings.cuts:
        return {}
    mine, whole = workflow.experiment(key), workflow.whole.experiment(key)
    cells = [(dataset, method) for dataset in mine.datasets for method in mine.methods]
    shortened = any(mine.cell(*c).run["train"] != whole.cell(*c).run["train"] for c in cells)
    chosen = {"seeds": mine.seeds} if mine.seeds < whole.seeds else {}
    chosen |= {"epochs": workflow.settings.epochs} if shortened else {}
    return {"select": chosen} if chosen else {}
