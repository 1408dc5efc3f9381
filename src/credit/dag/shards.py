"""Which file holds a shard: settings let no longer run be replaced by a shorter one.

A run that is there, and that other settings would make now, serves for a shorter one; tables take from it what was
chosen. Where a longer one is there that cannot serve, a shorter one is made beside it, as `shardS.short.jsonl`. Loads
no torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from credit.dag.present import Header
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
        self._agreed: dict[tuple[Place, int], bool] = {}

    def __call__(self, place: Place, shard: int) -> Served:
        """What holds a shard of a cell."""
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
        mine = self.workflow.experiment(place[0]).shard_seeds(shard)
        header = self.workflow.present[self.workflow.shard_path(place, str(shard))]
        longer = header.seeds > len(mine) or header.first == mine[0]
        what = "is longer than what the settings ask for (seeds, epochs)" if longer else "holds other seeds"
        raise ConfigError(f"{where}: {what}, and is not replaced by a shorter run; that is shard{served.name}")

    def _find(self, place: Place, shard: int) -> Served:
        workflow, name = self.workflow, str(shard)
        header = workflow.present[workflow.shard_path(place, name)]
        if not (seeds := workflow.experiment(place[0]).shard_seeds(shard)):  # a run that is there started from it
            return Served(name, (header and self._maker(place, shard, header)) or workflow.whole)
        if header is None:
            return Served(name, workflow)
        epochs = workflow.cell(*place).run["train"]["epochs"]
        # A plain call asks no more of the others: a spec costs more than a header that is remembered.
        loses = header.seeds > len(seeds) or header.epochs > epochs
        loses = loses or (header.seeds == len(seeds) and header.first != seeds[0])
        if not (loses or workflow.settings.cuts) or header.spec == digest(workflow.own_spec(place, shard)):
            return Served(name, workflow)
        maker = self._maker(place, shard, header)
        if maker and self._serves(place, shard, maker):
            return Served(name, maker)
        stays = (maker and loses) or self._cut(place, shard, header)
        return Served(f"{shard}{SHORT}" if stays else name, workflow)

    def _maker(self, place: Place, shard: int, header: Header) -> Workflow | None:
        """The workflow that would make now, with other seeds and epochs, the run that is there; None where none would.

        It is the one without limits, where that makes it; else one with the same size of shards, before other sizes.
        """
        whole, size = self.workflow.whole, self.workflow.settings.seeds_per_job
        seeds, longest = header.first + header.seeds, whole.cell(*place).run["train"]["epochs"]
        epochs = None if header.epochs == longest else header.epochs
        other = header.first // shard if shard else header.seeds
        limits = [{}, {"seeds": seeds, "epochs": epochs, "seeds_per_job": size}]
        limits += [{"seeds": seeds, "epochs": epochs, "seeds_per_job": other}] if other else []
        for each in limits if header.epochs <= longest else ():
            maker = whole.under(**each)
            made = maker.experiment(place[0]).shard_seeds(shard)
            if made != tuple(range(header.first, seeds)):
                continue
            if header.spec == digest(maker.own_spec(place, shard)):
                return maker
        return None

    def _serves(self, place: Place, shard: int, maker: Workflow) -> bool:
        """Whether a longer run holds all that is asked for, and nothing that other shards hold."""
        mine, longer = (set(w.experiment(place[0]).shard_seeds(shard)) for w in (self.workflow, maker))
        epochs, longest = (w.cell(*place).run["train"]["epochs"] for w in (self.workflow, maker))
        same_size = maker.settings.seeds_per_job == self.workflow.settings.seeds_per_job
        covers = same_size and mine <= longer and epochs <= longest
        return covers and self._agree(place, maker) and self._started(place, shard, maker)

    def _agree(self, place: Place, maker: Workflow) -> bool:
        """Whether all shards of a cell may serve as they are: others start from weights of the same training only."""
        epochs, longest = (w.cell(*place).run["train"]["epochs"] for w in (self.workflow, maker))
        if "weights" not in self.workflow.cell(*place).keep or epochs == longest:
            return True
        if (place, longest) not in self._agreed:
            experiment = self.workflow.experiment(place[0])
            shards = experiment.shards_of(range(experiment.seeds))
            self._agreed[place, longest] = all(self._covered(place, s, longest) for s in shards)
        return self._agreed[place, longest]

    def _covered(self, place: Place, shard: int, epochs: int) -> bool:
        """Whether a run of so many epochs is there that holds the seeds of a shard and would be made now."""
        header = self.workflow.present[self.workflow.shard_path(place, str(shard))]
        if header is None or header.epochs != epochs or not (maker := self._maker(place, shard, header)):
            return False
        return {*self.workflow.experiment(place[0]).shard_seeds(shard)} <= {
            *maker.experiment(place[0]).shard_seeds(shard)
        }

    def _started(self, place: Place, shard: int, maker: Workflow) -> bool:
        """Whether a longer run finds what it started from, as it was."""
        if (source := maker.cell(*place).source) is None:
            return True
        upstream, seeds = source.place, maker.experiment(place[0]).shard_seeds(shard)
        for number in maker.experiment(upstream[0]).shards_of(source.seeds(seeds)):
            mine, theirs = self(upstream, number), maker.shards(upstream, number)
            if mine.name != theirs.name or not mine.by.experiment(upstream[0]).shard_seeds(number):
                return False
            if mine.by.own_spec(upstream, number) != theirs.by.own_spec(upstream, number):
                return False
        return True

    def _cut(self, place: Place, shard: int, header: Header) -> bool:
        """Whether the run that is there has more seeds or epochs than the settings leave of this one."""
        workflow, whole = self.workflow, self.workflow.whole
        experiment = workflow.experiment(place[0])
        uncut = experiment.under(replace(whole.settings, seeds_per_job=None))
        seeds = len(experiment.shard_seeds(shard))
        most = max(len(e.shard_seeds(shard)) for e in (uncut, whole.experiment(place[0])))
        epochs, longest = (w.cell(*place).run["train"]["epochs"] for w in (workflow, whole))
        return header.seeds > seeds < most or header.epochs > epochs < longest


def selection(workflow: Workflow, key: str) -> dict[str, Any]:
    """{"select": what an experiment's table takes of runs, which may be longer}."""
    mine, whole = workflow.experiment(key), workflow.whole.experiment(key)
    cells = [(dataset, method) for dataset in mine.datasets for method in mine.methods]
    shortened = workflow.settings.epochs is not None and any(
        mine.cell(*c).run["train"] != whole.cell(*c).run["train"] for c in cells
    )
    return {"select": {"seeds": mine.seeds, **({"epochs": workflow.settings.epochs} if shortened else {})}}
