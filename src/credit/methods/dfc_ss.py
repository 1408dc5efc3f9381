"""DFC-SS: Deep Feedback Control, learning from the end of the simulation (Meulemans et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from credit.methods.base import Step
from credit.methods.control import linearised as reduced
from credit.methods.control.frame import Deviation
from credit.methods.control.rule import counts
from credit.methods.control.simulated import Dynamic
from credit.methods.control.steady import Settled, newton
from credit.methods.control.teaching import state_gradients
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class DFCSS(Dynamic):
    """Teaching signals from the voltages, controls and rates at the last time point of the simulation.

    newton_steps: iterations of the form "newton". form: "simulation", as published; "newton": the steady state itself,
    by iterations from the linear solution. It equals the simulation once that has settled, and is compared with it on
    the first mini-batch of every epoch (simulation_difference, relative); it has no noise. "linearised": the dynamics
    to first order around the feedforward state, compared in the same way, for the same dynamics as in
    `credit.methods.dfc`; it need not have settled.
    """

    excludes: ClassVar[str] = "credit.methods.control.exclusive.of_dfc_ss"

    form: Literal["simulation", "newton", "linearised"] = "simulation"
    newton_steps: Annotated[int, ">= 0"] = 2

    def _respond(self, params: Params, frame: Deviation, feedback: list[Tensor], delta: Tensor, rand: Rand) -> Step:
        state, good, sums = self._state(frame, feedback, delta, rand)
        settled = state if self.include_non_converged else state.where(good)
        gradients, signals = state_gradients(params, self.learning_rule, settled)
        info = {"control": settled.control, "teaching": signals, "settled": settled, "simulated": state}
        return Step(gradients, info | {"converged": good, "sums": sums})

    def _state(
        self, frame: Deviation, feedback: list[Tensor], delta: Tensor, rand: Rand
    ) -> tuple[Settled, Tensor, dict[str, Tensor]]:
        if self.form == "simulation":
            run = self.simulation(frame, feedback, delta, self.draw_noise(frame, rand))
            state, sums = self.settle(frame, run.last()), {}
        elif self.form == "linearised":
            course, sums = reduced.run(frame, feedback, delta, self.constants()), {}
            state = reduced.linear_state(frame, course)
        else:
            leak = self.constants().steady_leak()
            state, singular = newton(frame, feedback, delta, leak, self.newton_steps, self.solver)
            sums = counts(singular=singular)
        error = frame.goal(delta) - state.rates[-1]
        good, bad = self.judge(frame, delta, error, state.control)
        return state, good, sums | counts(converged=good, diverged=bad, not_converged=~(good | bad))


part = DFCSS
