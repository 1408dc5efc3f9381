"""Fast forms of a rule's passes: what `Method.fast` returns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from credit.nets.base import Batch
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
    alone: whether it takes single ones too, then with K = 1; where `at_once` is 1 it does.
    """

    run: Callable[[Params, OptimizerLike, dict[str, Any], Batch, Rand], Result]
    at_once: int = 1
    alone: bool = False

    def __call__(self, params: Params, opt: OptimizerLike, state: dict[str, Any], batch: Batch, rand: Rand) -> Result:
        return self.run(params, opt, state, batch, rand)


@functools.cache
def has_last_word(kind: type, form: str, replaced: frozenset[str]) -> bool:
    """Whether the class from which `kind` has the function `form` also decides on all that this stands in for.

    replaced: the names of that. A class that inherits `form` and gives one of them a meaning of its own says no.
    """
    order = kind.__mro__
    at = next(i for i, c in enumerate(order) if form in vars(c))
    return not any(replaced & vars(c).keys() for c in order[:at])
