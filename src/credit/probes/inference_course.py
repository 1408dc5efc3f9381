"""Where the value nodes of predictive coding are at every iteration of inference, in tiny nets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.energy.relaxation import relax
from credit.probes.base import Moment

MOST = 64  # nodes


@dataclass(frozen=True)
class InferenceCourse:
    """Inference once more, with the weights from before the update: the nodes of the first sample of the mini-batch.

    Metric node_LAYER_UNIT, both counted from 1, where "layer" is t0, t1, ..., the iteration: x before its step, at t0
    the feed-forward pass. For dense nets of at most 64 value nodes, whose weights learn at the last iteration.
    Source: Song et al. (2024), released code: reversal_task, reason-simple-inference.
    """

    metrics: ClassVar[tuple[str, ...]] = ("node_*",)
    needs: ClassVar[str] = "credit.methods.pc.PC"
    nets: ClassVar[tuple[str, ...]] = ("dense",)

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("node_LAYER_UNIT", iteration, values (M,))]. Raises ConfigError for a net or a rule that it is not for."""
        rule, net, params = moment.method, moment.net, moment.params
        if getattr(rule, "weight_updates", None) != "last" or rule.closed_form == "yes":
            raise ConfigError("probe inference_course: needs pc with weight_updates: last, and a loop, not closed_form")
        nodes = sum(block.n_out for block in net.blocks[:-1])
        if nodes > MOST:
            raise ConfigError(f"probe inference_course: the net has {nodes} value nodes; must be at most {MOST}")
        options = rule.inference, rule.energy_coefficient, rule.nodes == "before", rule.stop_below
        return [
            (f"node_{layer}_{unit}", f"t{t}", torch.atleast_1d(value))
            for t, now in enumerate(relax(net, params, moment.batch, rule.steps, *options))
            for layer, x in enumerate(now.now.x, 1)
            for unit, value in enumerate(x[..., 0, :].unbind(-1), 1)
        ]


part = InferenceCourse
