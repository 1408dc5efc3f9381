"""What DFC and DFC-SS share: the simulated controller, convergence, and the inspection of the time step."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch import Tensor

from credit.methods.base import Batch, State
from credit.methods.control import feedback as learning
from credit.methods.control.controller import Controller, Snapshot, converged
from credit.methods.control.frame import Deviation
from credit.methods.control.loops.arrays import Noise
from credit.methods.control.rule import DeepFeedbackControl
from credit.methods.control.settings import Dynamics
from credit.methods.control.simulation import Simulation
from credit.methods.control.steady import Settled
from credit.nets.base import Net
from credit.numerics.rand import Rand, as_rand
from credit.numerics.trees import Params
from credit.optim.clipping import difference


@dataclass(frozen=True)
class Dynamic(DeepFeedbackControl):
    """A controller that is simulated.

    controller: constants of its dynamics, see `Dynamics`. epsilon: a sample has converged when the residual of the
    steady state is small and the error has fallen below epsilon^2 of its start. include_non_converged: whether other
    samples teach. efficient: judge and add up as the official memory-saving controller does, quirks included. noise: of
    the apical voltages in the forward phase.
    """

    controller: Dynamics = Dynamics()
    epsilon: Annotated[float, "> 0"] = 0.5
    include_non_converged: bool = True
    efficient: bool = False
    noise: Annotated[float, ">= 0"] = 0.0

    def constants(self) -> Controller:
        """The constants of the dynamics."""
        return self.controller.constants(self.alpha)

    def draw_noise(self, frame: Deviation, rand: Rand) -> Noise | None:
        """Noise of the apical voltages, from the streams apical_noise.0, ...; None without noise."""
        if np.max(self.noise) == 0:
            return None
        draws = learning.draw(
            as_rand(rand, frame.act[-1], frame.members), "apical_noise", frame, self.controller.time_points - 1
        )
        return Noise(draws, [self.constants().noise_gain(self.noise)] * len(frame))

    def simulation(
        self, frame: Deviation, feedback: list[Tensor], delta: Tensor, noise: Noise | None = None
    ) -> Simulation:
        """The dynamics towards a target at the distance `delta` (M, B, n_L) from the feedforward output."""
        return Simulation(frame, feedback, frame.goal(delta), self.constants(), noise)

    def judge(self, frame: Deviation, delta: Tensor, error: Tensor, control: Tensor) -> tuple[Tensor, Tensor]:
        """(converged, diverged) of every sample, bool (M, B)."""
        start = delta
        if self.efficient and self.controller.instant:
            # Published quirk: the first error is measured from the output of the batch's first sample.
            start = delta + frame.act[-1] - frame.act[-1][..., :1, :]
        return converged(error, control, frame.act[-1], start, self.constants().steady_leak(), self.epsilon)

    def settle(self, frame: Deviation, last: Snapshot) -> Settled:
        """The state at the end of a simulation, with the base recomputed from the rates, as published."""
        shift = [v - b for v, b in zip(last.somatic, last.basal, strict=True)]
        base = last.basal
        if not self.controller.instant:
            base = base[:1] + [frame.basal(i, last.rates[i - 1]) for i in range(1, len(frame))]
        return Settled(frame, list(base), shift, last.rates, last.control)

    # ---- once an epoch

    def inspect(
        self, net: Net, params: Params, state: State, batch: Batch, rand: Rand, function: str, epoch: int
    ) -> dict[str, Tensor]:
        """Before `update` spectral_radius (M,), but for the form "newton", and `compare` for all but "simulation".

        Raises ConfigError in the first epoch where dt is too long for all.
        """
        found = super().inspect(net, params, state, batch, rand, function, epoch)
        if function == "update" and self.form != "newton":
            found |= self.radius(net, params, state, batch, epoch, self.constants(), "controller")
        if function == "update" and self.form != "simulation":
            found |= self.compare(net, params, state, batch, rand)
        return found

    def compare(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> dict[str, Tensor]:
        """{"simulation_difference": relative difference of the gradients from those of the simulation, (M,)}."""
        simulation = dataclasses.replace(self, form="simulation")
        pair = [rule.gradients(net, params, state, batch, rand).gradients for rule in (self, simulation)]
        return {"simulation_difference": difference(*pair, net.stacked(params))}
