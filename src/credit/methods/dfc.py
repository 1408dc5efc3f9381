"""DFC: Deep Feedback Control, learning all along the simulation (Meulemans et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from credit.methods.base import Step
from credit.methods.control import linearised as reduced
from credit.methods.control.frame import Deviation
from credit.methods.control.rule import counts
from credit.methods.control.simulated import Dynamic
from credit.methods.control.simulation import Simulation
from credit.methods.control.steady import Settled
from credit.methods.control.teaching import outer, state_gradients
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.clipping import added, clip_each, scaled_all


@dataclass(frozen=True)
class DFC(Dynamic):
    """Average over the time points t of the teaching signals phi(v_i[t]) - phi(v_i^b[t]) times the rates below.

    form: "simulation", as published; "linearised": the dynamics to first order around the feedforward state. It
    differs from the simulation by the order of the output error, is compared with it on the first mini-batch of every
    epoch (simulation_difference, relative), and needs instant transmission, no apical filter, no noise, and
    not `efficient`.
    """

    excludes: ClassVar[str] = "credit.methods.control.exclusive.of_dfc"

    form: Literal["simulation", "linearised"] = "simulation"

    def _respond(self, params: Params, frame: Deviation, feedback: list[Tensor], delta: Tensor, rand: Rand) -> Step:
        if self.form != "simulation":
            return self._linear(params, frame, feedback, delta)
        run = self.simulation(frame, feedback, delta, self.draw_noise(frame, rand))
        if self.efficient:
            return self._efficient(params, frame, delta, run)
        total, last = run.taught(params, self.learning_rule)
        good, bad = self.judge(frame, delta, run.goal - last.rates[-1], last.control)
        if not self.include_non_converged and not bool(good.all()):
            # Who has converged is known at the end only: run again without the others.
            total, _ = run.taught(params, self.learning_rule, good)
        gradients = total.gradients(-2 / (delta.shape[-2] * self.controller.time_points))
        return self._step(gradients, total.signals, self.settle(frame, last), good, bad)

    def _efficient(self, params: Params, frame: Deviation, delta: Tensor, run: Simulation) -> Step:
        """Published quirks: the mean is over T - 1 points, the running sum is clipped at every point, and a sample is
        left out while it diverges instead of when it has not converged in the end."""
        stacked, total, teaching_sum = delta.ndim > 2, {}, [0.0] * len(frame)
        points = self.controller.time_points - 1
        snapshots = run.snapshots()
        next(snapshots)
        for last in snapshots:
            state = self.settle(frame, last)
            good, bad = self.judge(frame, delta, frame.goal(delta) - last.rates[-1], last.control)
            taught = state
            if not self.include_non_converged:
                taught = replace(state, shift=[torch.where(bad.unsqueeze(-1), 0.0, s) for s in state.shift])
            gradients, signals = state_gradients(params, self.learning_rule, taught)
            total = clip_each(added(total, scaled_all(gradients, 1 / points)), self.clip_norm, stacked)
            teaching_sum = [a + b for a, b in zip(teaching_sum, signals, strict=True)]
        return self._step(total, teaching_sum, state, good, bad)

    def _linear(self, params: Params, frame: Deviation, feedback: list[Tensor], delta: Tensor) -> Step:
        controller = self.constants()
        course = reduced.run(frame, feedback, delta, controller)
        good, bad = self.judge(frame, delta, course.error, course.control)
        signals = reduced.lagged_shift(course, controller, feedback)
        if self.learning_rule != "voltage_difference":
            signals = [slope * signal for slope, signal in zip(frame.slopes, signals, strict=True)]
        if not self.include_non_converged:
            signals = [torch.where(good.unsqueeze(-1), s, 0.0) for s in signals]
        factor = -2 / (delta.shape[-2] * self.controller.time_points)
        gradients = {
            str(i): outer(params, i, signal * factor, rate)
            for i, (signal, rate) in enumerate(zip(signals, frame.rest, strict=True))
        }
        return self._step(gradients, signals, reduced.linear_state(frame, course), good, bad)

    def _step(self, gradients: Params, signals, state: Settled, good: Tensor, bad: Tensor) -> Step:
        """signals: teaching signals summed over time; state: the end, with all samples."""
        settled = state if self.include_non_converged else state.where(good)
        teach = [s / self.controller.time_points for s in signals]
        info = {"control": settled.control, "teaching": teach, "settled": settled, "simulated": state}
        found = counts(converged=good, diverged=bad, not_converged=~(good | bad))
        return Step(gradients, info | {"converged": good, "sums": found})


part = DFC
