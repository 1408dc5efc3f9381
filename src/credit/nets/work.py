"""How much work a run is, from its settings: arithmetic and memory traffic of updates. Loads no torch.

Rules whose update is another amount of work than backpropagation's say so in `credit.costs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from credit.nets.geometry import activities, multiply_adds, parameter_shapes


@dataclass(frozen=True)
class Work:
    """operations: floating-point, of one update of all members. bytes: that it moves at least when nothing stays in a
    cache. calls: of small operations, in those of an update by backpropagation. seconds: CPU time that the whole run
    takes beyond its updates, in loops that none of these numbers describes."""

    operations: float
    bytes: float
    calls: float = 1.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """What the work of a run depends on: settings `net` of its net, `shape` of an input sample, outputs, `hyper` of its
    learning rule, samples of an epoch and of a mini-batch, epochs, nets side by side, and bytes of a number."""

    net: Mapping[str, Any]
    shape: tuple[int, ...]
    n_out: int
    hyper: Mapping[str, Any]
    samples: int
    batch_size: int
    epochs: int
    members: int
    itemsize: int

    @property
    def units(self) -> int:
        """Units of the dense layers, the output's included."""
        return sum(self.net.get("hidden_sizes", ())) + self.n_out

    def backpropagation(self, factor: float = 1.0, seconds: float = 0.0) -> Work:
        """`factor` times the work of backpropagation, and `seconds`.

        Two operations for each multiply-add, in both passes and for the gradient. Weights are read in both passes,
        their gradient is written and read, the step reads and writes them; activities are written, and read for the
        derivative and for the gradient, errors are written and read.
        """
        weights = sum(map(math.prod, parameter_shapes(self.net, self.shape, self.n_out).values()))
        numbers = 6 * weights + 5 * self.batch_size * activities(self.net, self.shape, self.n_out)
        operations = 6 * multiply_adds(self.net, self.shape, self.n_out) * self.batch_size
        whole = self.members * factor
        return Work(whole * operations, whole * self.itemsize * numbers, factor, seconds)


def times(factor: float) -> Callable[[Run], Work]:
    """The formula of a rule whose update is `factor` times the work of backpropagation."""
    return lambda run: run.backpropagation(factor)
