"""Where data comes from, and the shape of the loop over it.

A task's configuration is a frozen dataclass (`part` of its module) with a method `build(context) -> task`. A task
owns its loop: it hands batches to a *learner*, which the training loop supplies. How many mini-batches of a visit are
taken at once is the learner's business.

Supervised tasks share the loop below; interactive ones (control, conditioning) write their own `epoch` and
`evaluate`, and keep their environments in `state_dict`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from credit.nets.base import Batch, Net
from credit.nets.losses import Loss
from credit.numerics.rand import Rand
from credit.numerics.trees import Params

Take = Callable[[Tensor], tuple[Tensor, ...]]  # indices (M, k) -> x and y (M, k, ...), and weights where there are any


@dataclass(frozen=True)
class Context:
    """What a task is built from.

    data: the prepared data set, for tasks that read one; declared: what the spec says of it ("name", "verified").
    """

    rand: Rand
    members: int
    device: torch.device
    dtype: torch.dtype
    data: Path | None = None
    declared: dict | None = None


@runtime_checkable
class Learner(Protocol):
    """What a task may ask of what it trains, a stack of M members; `credit.training.learner` is one."""

    net: Net
    params: Params  # as they are now: to be read

    def update(self, batch: Batch, learns: Tensor | None = None) -> None:
        """One mini-batch of all members: x (M, B, ...), y (M, B) or (M, B, n_out).

        learns (M,) bool: who learns from it; the others stay as they are.
        """

    def visit(self, order: Tensor, take: Take, batch_size: int, whose: Tensor | None = None) -> None:
        """Mini-batches of the samples `order` (M, n), the last of which may be smaller.

        take: indices (M, k) -> x (M, k, ...), y (M, k, ...) and, if any, weights (M, k, n_out) of the output errors.
        whose: which of S orders a member has, (M,), where members share their samples (see `credit.nets.base.Batch`);
        then order and all that is taken are (S, ...).
        """

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (M, B, n_out) of all members; x (M or 1, B, ...)."""

    def note(self, rows: list[tuple[str, str, Tensor]]) -> None:
        """Record what the task measured: (metric, layer, values (M,)); layer "" is the whole net."""


class Task:
    """What the training loop needs of a task, besides `shape_in` and `n_out`.

    prepared: digest of the arrays of the prepared data set that it reads, None where it reads none.
    """

    prepared: str | None = None

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """Hand the learner one epoch of experience."""
        raise NotImplementedError

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{metric: values (M,)} without learning."""
        raise NotImplementedError

    def predictions(self, learner: Learner) -> dict[str, dict[str, Tensor]]:
        """{split: {"outputs": (M, N, n_out), ...}} of the samples that a net is tested with; nothing without any.

        Beside them "targets": classes (N,), or (M, N) where members have their own, or values (M, N, n_out); they are
        left out where they are the data set's images. "index": (M, N), where members have a selection of the data set's
        samples.
        """
        return {}

    def state_dict(self) -> dict:
        """Tensors and plain values that a resumed run needs; nothing unless the task remembers something."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Continue from `state_dict`."""
