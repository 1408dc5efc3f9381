"""How much of a job's work is done, by what the job says of itself (`credit.watching.live`). Loads no torch.

Work is what `credit.dag.cost` estimates, in seconds of CPU time: the start, then the epochs of every phase. What the
job would cost less without pre-training is pre-training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from credit.dag.cost import START, job_cost, of_a_batch, updates_of_a_pass
from credit.watching.live import Live

PRETRAINING = "pretrain_epochs"  # hyperparameter of every rule that has a phase before the one that is recorded


@dataclass(frozen=True)
class Work:
    """The work of one job, from its spec."""

    spec: Mapping[str, Any]

    @cached_property
    def seconds(self) -> float:
        """All of it."""
        return job_cost(self.spec).seconds

    @cached_property
    def once(self) -> float:
        """Seconds of one training: a search that draws its trials consists of several, other jobs of one."""
        return job_cost(of_a_batch(self.spec)).seconds

    @cached_property
    def before(self) -> float:
        """Seconds of a training that are pre-training."""
        one = of_a_batch(self.spec)
        if not one["rule"].get(PRETRAINING):
            return 0.0
        return max(self.once - job_cost({**one, "rule": {**one["rule"], PRETRAINING: 0}}).seconds, 0.0)

    @cached_property
    def updates(self) -> int:
        """Mini-batches of a pass."""
        return max(updates_of_a_pass(self.spec), 1)

    def done(self, live: Live) -> float:
        """Seconds of work that lie behind a training, those before it was interrupted included."""
        return min(self._at(live.trial, live.phases, live.position, self.within(live)), self.seconds)

    def done_before(self, live: Live) -> float:
        """Seconds of work that a checkpoint has saved this process."""
        begun = live.first_trial, *live.begun
        return self._at(live.first_trial, live.phases, live.begun, 0.0) if any(begun) else 0.0

    def within(self, live: Live) -> float:
        """Part of the present epoch that is done, 0 to 1."""
        if live.position[0] >= len(live.phases):
            return 0.0
        passes = live.phases[live.position[0]][2]
        return (live.turn + min(live.batch / self.updates, 1.0)) / passes

    def _at(self, trial: int, phases: Sequence[Sequence[Any]], position: Sequence[int], within: float) -> float:
        at, epoch = position
        shares = self._shares(phases)
        batches = trial / self.spec["sampler"]["parallel"] if self.spec.get("sampler") else 0.0
        behind = batches * (self.once - START) + sum(shares[:at])
        if at < len(phases):
            behind += shares[at] * min((epoch + within) / max(phases[at][1], 1), 1.0)
        return START + behind

    def _shares(self, phases: Sequence[Sequence[Any]]) -> list[float]:
        """Seconds of each phase: of those that are recorded, and of the others, by the number of their passes."""
        sums = {recorded: sum(n * k for _, n, k, r in phases if r == recorded) for recorded in (True, False)}
        whole = {False: self.before, True: max(self.once - START - self.before, 0.0)}
        return [whole[r] * n * k / sums[r] if sums[r] else 0.0 for _, n, k, r in phases]
