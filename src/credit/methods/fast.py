"""Fast forms of a rule's passes: what `Method.fast` returns, and when the learner may ask for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from credit.nets.base import Batch, Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike

Result = tuple[Params, OptimizerLike, dict[str, Any], dict[str, Any]]  # params, opt, state, info


@dataclass(frozen=True)
class Fast:
    """One function of a rule for mini-batches that nothing measures: the same numbers but for rounding.

    run: called as (params, opt, state, batch, rand) with whatever these are by then; it may keep memory between calls,
    but nothing that the result depends on. Returns what the function returns, with info reduced to what the loop
    reads: "loss" (M,), "sums" and "means" {metric: (M,)}.
    at_once: mini-batches that it takes in one call. Where that is more than 1, it is called with 2 to `at_once` of
    them, x (M, K batch_size, ...), of which the last may be smaller; "loss" and every one of "means" is then (K, M).
    """

    run: Callable[[Params, OptimizerLike, dict[str, Any], Batch, Rand], Result]
    at_once: int = 1

    def __call__(self, params: Params, opt: OptimizerLike, state: dict[str, Any], batch: Batch, rand: Rand) -> Result:
        return self.run(params, opt, state, batch, rand)


def ask(method, net: Net, params: Params, opt: OptimizerLike, state: dict[str, Any], batch: Batch, batch_size: int,
        function: str = "update") -> Fast | None:  # fmt: skip
    """`method.fast(...)`, but None for a rule that inherits it and changes what it stands in for."""
    if not has_last_word(type(method), function):
        return None
    return method.fast(net, params, opt, state, batch, batch_size, function=function)


@functools.cache
def has_last_word(kind: type, function: str) -> bool:
    """Whether the class that defines `fast` also decides on all that its fast form replaces.

    That is the pass's function, `gradients`, and every private function of that class. Other functions are hooks,
    which a fast form calls.
    """
    order = kind.__mro__
    at = next(i for i, c in enumerate(order) if "fast" in vars(c))
    replaced = {function, "gradients"} | {n for n in dir(order[at]) if n[0] == "_" and n[:2] != "__"}
    return not any(replaced & vars(c).keys() for c in order[:at])


def batch_kind(batch: Batch) -> tuple[Any, ...]:
    """What tells mini-batches apart that need a fast form each: shapes, types, weights, divisor."""
    x: Tensor = batch.x
    return x.shape, x.dtype, batch.y.shape, batch.y.dtype, batch.weights is None, batch.divisor
