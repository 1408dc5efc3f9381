"""A simulation as the compiled loops take it, and what they return: everything with the stack axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from credit.methods.control import rates as elementwise
from credit.methods.control.controller import Controller
from credit.methods.control.frame import Deviation
from credit.numerics.stack import Number, table


@dataclass(frozen=True)
class Noise:
    """Of the apical voltages. draws: standard normal, (M, T - 1, B, n_i) by layer; gains: their factors by layer.

    whose: (M,), the index of each member's draws where members share them, which are then fewer; None: its own.
    """

    draws: Sequence[Tensor]
    gains: Sequence[Number]
    whose: Tensor | None = None

    def of_members(self) -> list[Tensor]:
        """Draws of every member, by layer."""
        return list(self.draws) if self.whose is None else [xi[self.whose.to(xi.device)] for xi in self.draws]


@dataclass(frozen=True)
class Arrays:
    """See `credit.methods.control.loops.small.loop`."""

    kinds: np.ndarray
    leaks: np.ndarray
    weights: list[Tensor]
    feedback: list[Tensor]
    pre: list[Tensor]
    act: list[Tensor]
    slopes: list[Tensor]
    goal: Tensor
    noise: list[np.ndarray]
    whose: np.ndarray
    gains: np.ndarray
    keep: np.ndarray
    settings: np.ndarray
    constants: np.ndarray
    instant: bool
    proactive: bool
    integral_leaks: bool
    filtered: bool
    steps: int

    def kept_goal(self) -> Tensor:
        """The goal, zero for samples that are not kept: in deviations they then stay where they are."""
        return torch.where(torch.from_numpy(self.keep).unsqueeze(-1), self.goal, 0.0)


@dataclass(frozen=True)
class Result:
    """The end by layer (M, B, n_i), control (M, B, n_L), summed teaching signals by layer, and sums of products."""

    apical: list[Tensor]
    basal: list[Tensor]
    somatic: list[Tensor]
    rates: list[Tensor]
    control: Tensor
    signals: list[Tensor]
    sums: list[Tensor]

    def unstacked(self) -> Result:
        """The same without the stack axis."""
        lists = (self.apical, self.basal, self.somatic, self.rates, self.signals, self.sums)
        apical, basal, somatic, rates, signals, sums = ([x.squeeze(0) for x in xs] for xs in lists)
        return Result(apical, basal, somatic, rates, self.control.squeeze(0), signals, sums)


def compilable(frame: Deviation) -> bool:
    """Whether the compiled loops can run this: deviations in memory of the CPU, activations that they know."""
    return type(frame) is Deviation and all(
        elementwise.fits(phi, v) for phi, v in zip(frame.phi, frame.act, strict=True)
    )


def prepare(
    frame: Deviation,
    feedback: Sequence[Tensor],
    goal: Tensor,
    controller: Controller,
    noise: Noise | None,
    keep: Tensor | None,
) -> Arrays:
    """goal (M, B, n_L) or (B, n_L); keep: samples that count, bool (M, B)."""
    stacked = goal.ndim > 2

    def lift(tensors: Sequence[Tensor]) -> list[Tensor]:
        return [(t if stacked else t.unsqueeze(0)).detach().contiguous() for t in tensors]

    dtype = goal.detach().numpy().dtype
    goal, first = lift([goal])[0], lift(frame.act[:1])[0]
    members, layers = goal.shape[0], len(frame)
    c = controller
    settings = (c.alpha, c.k_p, c.dt, c.soma_gain, c.apical_gain)
    draws = [np.zeros((0, 0, 0, 0), dtype)] * layers if noise is None else [x.numpy() for x in lift(noise.draws)]
    whose = np.arange(members) if noise is None or noise.whose is None else noise.whose.numpy()
    return Arrays(
        np.array([elementwise.code(phi) for phi in frame.phi]),
        np.array([elementwise.slope_below(phi) for phi in frame.phi], dtype),
        lift(frame.weights), lift(feedback), lift(frame.pre),
        lift(frame.act), lift(frame.slopes), goal, draws, whose,
        table([0.0] * layers if noise is None else noise.gains, members, dtype),
        np.ones(first.shape[:2], bool) if keep is None else lift([keep])[0].numpy(), table(settings, members, dtype),
        elementwise.constants(goal), c.instant, c.proactive, c.leak != "control",
        c.tau_apical is not None or noise is not None, c.steps,
    )  # fmt: skip
