"""What the controller of Deep Feedback Control does with single samples, point by point in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import forward
from credit.methods.control.controller import simulate
from credit.methods.control.frame import Deviation
from credit.methods.control.simulated import Dynamic
from credit.numerics.stack import scaled
from credit.probes.base import Moment


@dataclass(frozen=True)
class ControllerCourse:
    """The noiseless forward-phase simulation of the first `samples` of the mini-batch, with the weights from before it.

    samples: how many. For sample s, counted from 1, and the first output unit: course_output_s and course_control_s,
    where "layer" is the time point, and course_target_s. Source: Meulemans et al. (NeurIPS 2021), Figure 1D.
    """

    metrics: ClassVar[tuple[str, ...]] = ("course_output_*", "course_control_*", "course_target_*")
    needs: ClassVar[str] = "credit.methods.control.simulated.Dynamic"

    samples: Annotated[int, "> 0"] = 3

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, time point, values (M,))]. Raises ConfigError when the controller is not simulated."""
        rule, net, params = moment.method, moment.net, moment.params
        if not isinstance(rule, Dynamic):
            raise ConfigError("probe controller_course needs a simulated controller, that of dfc or dfc_ss")
        # The loss is a mean over the whole mini-batch: its size scales the target of every sample.
        error = forward(net, params, moment.batch, moment.rand).error[:, : self.samples]
        delta = -scaled(error, rule.target_stepsize)
        frame = Deviation(net, params, net.forward(params, moment.batch.x[:, : self.samples]))
        feedback = rule.feedback_weights(net, params, moment.state)
        last = len(net) - 1
        rows = self._rows("target", "", frame.absolute_rate(last, delta))
        for t, point in enumerate(simulate(frame, feedback, frame.goal(delta), rule.constants())):
            rows += self._rows("output", str(t), frame.absolute_rate(last, point.rates[-1]))
            rows += self._rows("control", str(t), point.control)
        return rows

    @staticmethod
    def _rows(name: str, time: str, values: Tensor) -> list[tuple[str, str, Tensor]]:
        """Of each sample, the first unit of values (M, samples, n_L)."""
        return [(f"course_{name}_{s + 1}", time, torch.clone(v)) for s, v in enumerate(values[..., 0].unbind(-1))]


part = ControllerCourse
