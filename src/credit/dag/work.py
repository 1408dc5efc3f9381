"""How much of a job's work is done, by what the job says of itself (`credit.watching.live`). Loads no torch.

Work is what `credit.dag.cost` estimates, in seconds of CPU time: the start, then the epochs of every phase. What the
job would cost less without pre-training is pre-training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from credit.dag.cost import START, job_cost, updates_of_a_pass
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
    def before(self) -> float:
        """Seconds of it that are pre-training."""
        rule = self.spec["rule"]
        if not rule.get(PRETRAINING):
            return 0.0
        return max(self.seconds - job_cost({**self.spec, "rule": {**rule, PRETRAINING: 0}}).seconds, 0.0)

    @cached_property
    def updates(self) -> int:
        """Mini-batches of a pass."""
        return max(updates_of_a_pass(self.spec), 1)

    def done(self, live: Live) -> float:
        """Seconds of work that lie behind a training, those before it was interrupted included."""
        return self._at(live.phases, live.position, self.within(live))

    def done_before(self, live: Live) -> float:
        """Seconds of work that a checkpoint has saved this process."""
        return self._at(live.phases, live.begun, 0.0) if any(live.begun) else 0.0

    def within(self, live: Live) -> float:
        """Part of the present epoch that is done, 0 to 1."""
        if live.position[0] >= len(live.phases):
            return 0.0
        passes = live.phases[live.position[0]][2]
        return (live.turn + min(live.batch / self.updates, 1.0)) / passes

    def _at(self, phases: Sequence[Sequence[Any]], position: Sequence[int], within: float) -> float:
        at, epoch = position
        shares = self._shares(phases)
        behind = sum(shares[:at])
        if at < len(phases):
            behind += shares[at] * min((epoch + within) / max(phases[at][1], 1), 1.0)
        return START + behind

    def _shares(self, phases: Sequence[Sequence[Any]]) -> list[float]:
        """Seconds of each phase: of those that are recorded, and of the others, by the number of their passes."""
        sums = {recorded: sum(n * k for _, n, k, r in phases if r == recorded) for recorded in (True, False)}
        whole = {False: self.before, True: max(self.seconds - START - self.before, 0.0)}
        return [whole[r] * n * k / sums[r] if sums[r] else 0.0 for _, n, k, r in phases]
