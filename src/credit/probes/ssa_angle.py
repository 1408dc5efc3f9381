"""How far a simulated controller is from its analytic steady state, DFC-SSA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.control.steady import Settled, linear_control, spread_control
from credit.methods.control.teaching import state_gradients
from credit.numerics.trees import Params
from credit.probes.angles import update_angles
from credit.probes.base import Moment


def analytic_state(moment: Moment) -> Settled:
    """The perturbed forward pass with the analytic control of the mini-batch."""
    settled, rule = moment.info["settled"], moment.method
    feedback = [moment.state["feedback"][str(i)] for i in range(len(moment.net))]
    frame = settled.frame
    control, _ = linear_control(frame, frame.slopes, feedback, moment.info["delta"], rule.alpha, rule.solver)
    return spread_control(frame, feedback, control)


def ssa_reference(moment: Moment, analytic: Settled) -> Params:
    """The reference of the published angle: analytic shifts, but the presynaptic rates of the simulation; unclipped."""
    settled = moment.info["settled"]
    frame, rates = settled.frame, settled.rates
    base = [frame.voltage(0)] + [frame.basal(i, rates[i - 1]) for i in range(1, len(rates))]
    state = Settled(frame, base, analytic.shift, rates, analytic.control)
    return state_gradients(moment.params, moment.method.learning_rule, state)[0]


@dataclass(frozen=True)
class SSAAngle:
    """angle_ssa: of the update with DFC-SSA's, degrees, by layer and for the whole net. distance_ssa: batch mean of
    |r_L - r_L^ssa| / |r_L^- - r_L^ssa|, r_L at the end of the simulation and r_L^- without feedback.
    """

    metrics: ClassVar[tuple[str, ...]] = ("angle_ssa", "distance_ssa")
    needs: ClassVar[str] = "credit.methods.control.rule.DeepFeedbackControl"

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, layer, values (M,))]. Raises ConfigError for a learning rule without controller."""
        if "settled" not in moment.info:
            raise ConfigError("probe ssa_angle needs a method of the DFC family, measured on its update")
        analytic = analytic_state(moment)
        stacked = moment.net.stacked(moment.params)
        angles = update_angles(moment.info["gradients"], ssa_reference(moment, analytic), stacked)
        rows = [("angle_ssa", layer, torch.atleast_1d(value)) for layer, value in angles.items()]
        settled, norm = moment.info["settled"], torch.linalg.vector_norm
        start = settled.frame.start_rate(len(moment.net) - 1)
        distance = norm(settled.rates[-1] - analytic.rates[-1], dim=-1) / norm(start - analytic.rates[-1], dim=-1)
        return [*rows, ("distance_ssa", "", torch.atleast_1d(distance.mean(-1)))]


part = SSAAngle
