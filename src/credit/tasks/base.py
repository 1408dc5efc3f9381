"""Where data comes from, and the shape of the loop over it.

A task's configuration is a frozen dataclass (`part` of its module) with a method `build(context) -> task`. A task
owns its loop: it hands batches to a *learner*, which the training loop supplies:

    learner.update(batch)                   one update of all members of the stack
    learner.visit(order, take, batch_size)  mini-batches of the samples `order` (M, n); take: (M, k) -> x, y
    learner.predict(x)                      outputs of all members, (M, B, n_out)
    learner.note(rows)                      record what the task measured, [(metric, layer, values (M,))]

How many mini-batches of a visit are taken at once is the learner's business.

Supervised tasks share the loop below; interactive ones (control, conditioning) write their own `epoch` and
`evaluate`, and keep their environments in `state_dict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from credit.numerics.rand import Rand


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


class Task:
    """What the training loop needs of a task, besides `shape_in` and `n_out`."""

    def epoch(self, learner, rand: Rand) -> None:
        """Hand the learner one epoch of experience."""
        raise NotImplementedError

    def evaluate(self, learner, loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{metric: values (M,)} without learning."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        """Tensors and plain values that a resumed run needs; nothing unless the task remembers something."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Continue from `state_dict`."""
