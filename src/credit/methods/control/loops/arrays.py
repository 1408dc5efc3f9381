"""A simulation as the compiled loops take it, and what they return: everything with the stack axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit.methods.control.controller import Controller, Snapshot
from credit.methods.control.frame import Deviation
from credit.methods.control.loops.step import Flags, settings
from credit.nets import differences
from credit.numerics.blocks import Numbers, over_time
from credit.numerics.stack import Number, table


@dataclass(frozen=True)
class Noise:
    """Of the apical voltages. draws: standard normal, by layer, tensors (M, T - 1, B, n_i) or numbers (T - 1, n_i) of
    every sample; gains: their factors by layer.

    whose: (M,), the index of each member's draws where members share tensors, which are then fewer; None: its own.
    """

    draws: Sequence[Tensor | Numbers]
    gains: Sequence[Number]
    whose: Tensor | None = None

    def of_members(self, like: Tensor) -> list[Tensor]:
        """Draws of every member, (M, T - 1, B, n_i) by layer, with dtype and device of `like`."""
        draws, whose = self.of_seeds(like)
        return draws if whose is None else [xi[whose] for xi in draws]

    def of_seeds(self, like: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Draws (S, T - 1, B, n_i) by layer, as few as there are different ones, and whose they are, as `whose`."""
        if not any(isinstance(xi, Numbers) for xi in self.draws):
            return list(self.draws), self.whose
        draws, whose = zip(*(xi.distinct(like.dtype, like.device) for xi in self.draws), strict=True)
        return [xi.transpose(-2, -3) for xi in draws], whose[0]

    def numbers(self) -> list[Numbers]:
        """By layer, numbers (T - 1, n_i) of every sample."""
        return [
            xi if isinstance(xi, Numbers) else over_time(xi if self.whose is None else xi[self.whose])
            for xi in self.draws
        ]


class Disturbance(NamedTuple):
    """`Noise` for loops. draws: by layer (S, T - 1, B, n_i), empty without noise; whose (M,); gains (M, L)."""

    draws: tuple[np.ndarray, ...]
    whose: np.ndarray
    gains: np.ndarray


class Task(NamedTuple):
    """steps: stored points. collect: nothing, teaching signals, or apical voltage times next control; rule: which
    signals; both as numbers, see `control.simulation` and `nets.differences`."""

    steps: int
    collect: int
    rule: int


@dataclass(frozen=True)
class Arrays:
    """By layer: kinds, leaks, weights, ..., slopes. goal (M, B, n_L). keep: samples that count, (M, B)."""

    kinds: np.ndarray
    leaks: np.ndarray
    weights: list[Tensor]
    feedback: list[Tensor]
    pre: list[Tensor]
    act: list[Tensor]
    slopes: list[Tensor]
    goal: Tensor
    noise: Disturbance
    keep: np.ndarray
    settings: np.ndarray
    flags: Flags
    constants: np.ndarray

    def rows(self) -> Tensor:
        """All feedback weights, (M, N, n_L)."""
        return torch.cat(self.feedback, -2)

    def kept_goal(self) -> Tensor:
        """The goal (M, B, n_L), zero for samples that are not kept: in deviations they then stay where they are."""
        return torch.where(torch.from_numpy(self.keep).unsqueeze(-1), self.goal, 0.0)


@dataclass(frozen=True)
class Result(Snapshot):
    """The end, (M, B, n_i) by layer; summed teaching signals by layer, and sums of products."""

    signals: list[Tensor]
    sums: list[Tensor]

    def unstacked(self) -> Result:
        """The same without the stack axis."""
        lists = (self.apical, self.basal, self.somatic, self.rates, [self.control], self.signals, self.sums)
        apical, basal, somatic, rates, (control,), signals, sums = ([x.squeeze(0) for x in xs] for xs in lists)
        return Result(apical, basal, somatic, rates, control, signals, sums)


def possible(frame: Deviation) -> bool:
    """Whether the compiled loops can run this: deviations in memory of the CPU, activations that they know."""
    return type(frame) is Deviation and all(
        differences.possible(phi, v) for phi, v in zip(frame.phi, frame.act, strict=True)
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

    dtype, (goal,) = goal.detach().numpy().dtype, lift([goal])
    members, layers = goal.shape[0], len(frame)
    draws, whose = [goal.new_zeros(0, 0, 0, 0)] * layers, None
    if noise is not None:
        draws, whose = noise.of_seeds(goal)
        draws = lift(draws)
    gains = table([0.0] * layers if noise is None else noise.gains, members, dtype)
    return Arrays(
        np.array([differences.code(phi) for phi in frame.phi]),
        np.array([differences.slope_below(phi) for phi in frame.phi], dtype),
        *(lift(t) for t in (frame.weights, feedback, frame.pre, frame.act, frame.slopes)), goal,
        Disturbance(tuple(x.numpy() for x in draws), np.arange(members) if whose is None else whose.numpy(), gains),
        np.ones(goal.shape[:2], bool) if keep is None else lift([keep])[0].numpy(),
        settings(controller, members, dtype), Flags.of(controller, noise is not None), differences.constants(goal),
    )  # fmt: skip
