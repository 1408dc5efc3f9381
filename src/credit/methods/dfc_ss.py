"""DFC-SS: Deep Feedback Control, learning from the end of the simulation (Meulemans et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from credit.methods._dfc import counts
from credit.methods._dfc_dynamic import Dynamic
from credit.methods._dfc_frame import Deviation
from credit.methods._dfc_gradients import state_gradients
from credit.methods._dfc_steady import Settled, newton
from credit.methods.base import Batch, State, Step
from credit.nets.base import Net, Params
from credit.rand import Rand


@dataclass(frozen=True)
class DFCSS(Dynamic):
    """Teaching signals from the voltages, controls and rates at the last time point of the simulation.

    form: "simulation", as published; "newton" or "chord": the steady state itself, by newton_steps iterations from
    the linear solution, with the matrix of every iterate or of the first. They equal the simulation once it has
    settled, and are compared with it on the first mini-batch of every epoch (simulation_difference, relative).
    """

    cost: ClassVar[float] = 60.0

    form: Literal["simulation", "newton", "chord"] = "simulation"
    newton_steps: Annotated[int, ">= 0"] = 2

    def _respond(self, params: Params, frame: Deviation, feedback: list[Tensor], delta: Tensor, rand: Rand) -> Step:
        state, good, sums = self._state(frame, feedback, delta, rand)
        settled = state if self.include_non_converged else state.where(good)
        gradients, signals = state_gradients(
            params, frame, self.learning_rule, settled.base, settled.shift, settled.rates
        )
        info = {"control": settled.control, "teaching": signals, "settled": settled, "simulated": state}
        return Step(gradients, info | {"converged": good, "sums": sums})

    def _state(
        self, frame: Deviation, feedback: list[Tensor], delta: Tensor, rand: Rand
    ) -> tuple[Settled, Tensor, dict[str, Tensor]]:
        if self.form == "simulation":
            run = self.simulation(frame, feedback, delta, self.draw_noise(frame, rand))
            state, sums = self.settle(frame, run.last()), {}
        else:
            leak, chord = self.controller().steady_leak(), self.form == "chord"
            state, singular = newton(frame, feedback, delta, leak, self.newton_steps, chord, self.solver)
            sums = counts(singular=singular)
        error = frame.goal(delta) - state.rates[-1]
        good, bad = self.judge(frame, delta, error, state.control)
        return state, good, sums | counts(converged=good, diverged=bad, not_converged=~(good | bad))

    def _inspect(self, net: Net, params: Params, opt, state: State, batch: Batch, rand: Rand) -> dict[str, Tensor]:
        if self.form == "simulation":
            return super()._inspect(net, params, opt, state, batch, rand)
        return self.compare(net, params, state, batch, rand)


part = DFCSS
