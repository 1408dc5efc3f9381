"""How well learned feedback matches the transposed Jacobian of its block (Ernoult et al. 2022, Theorem 4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.methods.base import forward
from credit.methods.targets.chain import Link, links
from credit.methods.targets.rule import TargetPropagation
from credit.nets.base import Batch
from credit.probes.base import Moment

EXACT = 256  # units of a block's output up to which the whole Jacobian is visited


@dataclass(frozen=True)
class JacobianMismatch:
    """jacobian_mismatch, ||J_G - J_F^T|| / ||J_F|| at the activities of a mini-batch, of every block with feedback.

    Norms are over all entries, the root of means over samples. samples: the first so many of the mini-batch. draws:
    random directions of the output for Hutchinson's estimate, where it has more than 256 units; smaller ones are exact.
    Weights are those after the step.
    """

    metrics: ClassVar[tuple[str, ...]] = ("jacobian_mismatch",)

    samples: Annotated[int, "> 0"] = 8
    draws: Annotated[int, "> 0"] = 32

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("jacobian_mismatch", layer, values (M,))]; nothing for rules without layer-wise feedback."""
        if not isinstance(moment.method, TargetPropagation):
            return []
        axis = len(moment.net.lead(moment.params))
        batch = Batch(*(t.narrow(axis, 0, min(self.samples, t.shape[axis])) for t in (moment.batch.x, moment.batch.y)))
        run = forward(moment.net, moment.after, batch, moment.rand)
        chain = links(moment.net, moment.after, run.trace, moment.method.feedback.collisions)
        rows = []
        for i, link in chain.items():
            own, wrong, whole = moment.state_after["feedback"][str(i)], 0.0, 0.0
            for v in self._directions(link, moment, i):
                there, exact = mapped(link, own, v)
                wrong, whole = wrong + _square(there - exact, axis), whole + _square(exact, axis)
            rows.append(("jacobian_mismatch", str(i + 1), (wrong / whole).sqrt().reshape(-1)))
        return rows

    def _directions(self, link: Link, moment: Moment, block: int) -> Iterator[Tensor]:
        """Of the block's output: every unit, or random ones, (M, B, ...)."""
        out = link.trace.out
        units = math.prod(out.shape[link.axis + 1 :])
        if units > EXACT:
            rand = moment.net.rand(moment.params, moment.rand)
            for _ in range(self.draws):
                yield rand.normal(f"jacobian_mismatch.{block}", tuple(out.shape[link.axis :])).to(out)
            return
        for unit in range(units):
            v = torch.zeros_like(out).flatten(link.axis + 1)
            v[..., unit] = 1
            yield v.reshape(out.shape)


def mapped(link: Link, own: dict[str, Tensor], v: Tensor) -> tuple[Tensor, Tensor]:
    """(J_G v, J_F^T v), (M, B, ...) each, for a direction v of the block's output (M, B, ...)."""
    there = link.feedback.differential(own, link.trace.out, link.route, link.trace, v)
    _, exact = link.layer.backward(link.trace, v)
    return there.reshape(link.below.shape), exact.reshape(link.below.shape)


def _square(x: Tensor, axis: int) -> Tensor:
    """Sum over all axes but that of the stack, (M,), in float64."""
    return x.double().square().sum(tuple(range(axis, x.ndim)))


part = JacobianMismatch
