"""What an update costs in arithmetic, counted while it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from credit.methods.base import Method, method
from credit.numerics.rand import Rand
from credit.numerics.trees import clone
from credit.probes.base import Moment


@dataclass(frozen=True)
class UpdateWork:
    """update_work: multiply-adds of an update on the mini-batch, in those of an update by `reference` with `hyper`.

    reference: the learning rule that is the unit. hyper: its hyperparameters.

    Products and convolutions of torch are counted, in the plain form of a rule; pointwise passes and compiled loops are
    not. The update is done on copies, with draws of its own.
    """

    metrics: ClassVar[tuple[str, ...]] = ("update_work",)
    uses: ClassVar[dict[str, str]] = {"reference": "methods"}  # fields that name parts, for the code digest

    reference: str = "bp"
    hyper: dict = field(default_factory=dict)

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("update_work", "", values (M,))], the same for all members."""
        ours, theirs = (operations(rule, moment) for rule in (moment.method, method(self.reference, **self.hyper)))
        return [("update_work", "", torch.full((max(moment.net.members(moment.params), 1),), ours / theirs))]


def operations(rule: Method, moment: Moment) -> int:
    """Floating-point operations of one update of all members by `rule`."""
    net, params, given = moment.net, clone(moment.params), moment.rand
    rand = Rand(given.seeds if given.stacked else given.seeds[0], given.device, given.dtype)
    state = clone(moment.state) if rule == moment.method else rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.0})
    with FlopCounterMode(display=False) as counter:
        rule.update(net, params, opt, state, moment.batch, rand)
    return counter.get_total_flops()


part = UpdateWork
