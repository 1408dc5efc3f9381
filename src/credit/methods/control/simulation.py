"""The simulated controller with what is wanted of it: its end, teaching signals, or what teaches the feedback weights.

Three ways lead to the same numbers, up to rounding: step by step (`control.controller.simulate`), for every frame,
activation and device; and compiled loops, of which one is made for small nets, one for wide ones, and one for what
teaches the feedback weights.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from credit.methods.control.controller import Controller, Snapshot, simulate
from credit.methods.control.frame import Deviation
from credit.methods.control.loops import grouped, small, wide
from credit.methods.control.loops.arrays import Noise, Result, Task, possible, prepare
from credit.methods.control.loops.step import Flags
from credit.methods.control.teaching import TimeSum, teaching
from credit.nets.differences import RULES
from credit.numerics.stack import member
from credit.numerics.trees import Params

END, TEACHING, FEEDBACK = range(3)  # what to sum


@dataclass(frozen=True)
class Simulation:
    """Dynamics from the feedforward state of `frame` towards `goal`, the output target in the frame, (M, B, n_L).

    feedback: Q_i (M, n_i, n_L). engine: "plain", "small", "large", "grouped", which is "large" but for what teaches the
    feedback weights, or "auto", the fastest that can do it.
    """

    frame: Deviation
    feedback: Sequence[Tensor]
    goal: Tensor
    controller: Controller
    noise: Noise | None = None
    engine: str = "auto"

    def snapshots(self) -> Iterator[Snapshot]:
        """Point by point, the initial state first."""
        noise = self.noise
        if noise is not None:
            noise = [xi * member(gain, xi) for xi, gain in zip(noise.of_members(self.goal), noise.gains, strict=True)]
        return simulate(self.frame, self.feedback, self.goal, self.controller, noise)

    def last(self) -> Snapshot:
        """The last point."""
        if self._engine() == "plain":
            return deque(self.snapshots(), maxlen=1).pop()
        return self._run(END)

    def taught(self, params: Params, rule: str, keep: Tensor | None = None) -> tuple[TimeSum, Snapshot]:
        """Teaching signals times rates, summed over time, and the last point; only samples in keep (M, B) count.

        With `keep`, the last point of the others is undefined.
        """
        total = TimeSum(params, self.frame)
        if self._engine() != "plain":
            result = self._run(TEACHING, RULES[rule], keep)
            total.signals, total.crossed = result.signals, result.sums
            return total, result
        snapshots = self.snapshots()
        last = next(snapshots)  # the feedforward state: nothing to learn
        for last in snapshots:
            signals = [
                teaching(rule, self.frame, i, base, soma - base)
                for i, (base, soma) in enumerate(zip(last.basal, last.somatic, strict=True))
            ]
            rates = last.rates
            if keep is not None:
                mask = keep.unsqueeze(-1)
                signals = [torch.where(mask, s, 0.0) for s in signals]
                rates = [torch.where(mask, r, 0.0) for r in rates]
            total.add(signals, rates)
        return total, last

    def correlated(self) -> list[Tensor]:
        """Sum over t and samples of v_i^a[t] u[t+1]^T, (M, n_i, n_L) by layer."""
        engine = self._engine()
        if engine == "grouped" or (self.engine == "auto" and engine != "plain" and grouped.pays(self.feedback)):
            arrays = prepare(self.frame, self.feedback, self.goal, self.controller, None, None)
            arrays = replace(arrays, flags=Flags.of(self.controller, self.noise is not None))
            sums = grouped.correlated(arrays, self.noise, self.controller.steps)
            return sums if self.goal.ndim > 2 else [one.squeeze(0) for one in sums]
        if engine != "plain":
            return self._run(FEEDBACK).sums
        sums = [torch.zeros_like(q) for q in self.feedback]
        apical: list[Tensor] | None = None
        for snapshot in self.snapshots():
            if apical is not None:
                sums = [one + v.mT @ snapshot.control for one, v in zip(sums, apical, strict=True)]
            apical = snapshot.apical
        return sums

    def _engine(self) -> str:
        if self.engine != "auto":
            return self.engine
        if not possible(self.frame):
            return "plain"
        return "small" if small.pays(self.frame.weights, self.feedback) else "large"

    def _run(self, collect: int, rule: int = 0, keep: Tensor | None = None) -> Result:
        arrays = prepare(self.frame, self.feedback, self.goal, self.controller, self.noise, keep)
        task = Task(self.controller.steps, collect, rule)
        result = (small if self._engine() == "small" else wide).run(arrays, task)
        return result if self.goal.ndim > 2 else result.unstacked()
