"""DFC-SSA: Deep Feedback Control with the steady state computed analytically (Meulemans et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.base import Step
from credit.methods.control.frame import Deviation
from credit.methods.control.rule import DeepFeedbackControl, counts
from credit.methods.control.steady import feedforward_rates, linear_control, spread_control
from credit.methods.control.teaching import state_gradients
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class DFCSSA(DeepFeedbackControl):
    """u = (J Q + alpha I)^-1 delta for every sample, then one forward pass with Q_i u added to every voltage.

    initial_activations: presynaptic rates of the feedforward pass instead of the perturbed one. A sample whose
    matrix is singular teaches nothing and is counted (samples_singular).
    """

    initial_activations: bool = False

    def _respond(self, params: Params, frame: Deviation, feedback: list[Tensor], delta: Tensor, rand: Rand) -> Step:
        control, singular = linear_control(frame, frame.slopes, feedback, delta, self.alpha, self.solver)
        settle = feedforward_rates if self.initial_activations else spread_control
        settled = settle(frame, feedback, control)
        gradients, signals = state_gradients(params, self.learning_rule, settled)
        info = {"control": control, "teaching": signals, "settled": settled, "simulated": settled}
        return Step(gradients, info | {"sums": counts(singular=singular)})


part = DFCSSA
