"""When the learner may ask a learning rule for a fast form of a pass, and for which mini-batches it keeps one."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from credit.methods.base import Method, State
from credit.methods.fast import Fast, has_last_word
from credit.nets.base import Batch, Net
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike


def ask(
    method: Method, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, batch_size: int,
    function: str = "update",
) -> Fast | None:  # fmt: skip
    """`method.fast(...)`, but None for a rule that inherits it and changes what it stands in for."""
    if not may_inherit(type(method), function):
        return None
    return method.fast(net, params, opt, state, batch, batch_size, function=function)


@functools.cache
def may_inherit(kind: type, function: str) -> bool:
    """Whether the class that defines `fast` also decides on all that its fast form replaces.

    That is the pass's function, `gradients`, and every private function of that class. Other functions are hooks,
    which a fast form calls.
    """
    owner = next(c for c in kind.__mro__ if "fast" in vars(c))
    private = {n for n in dir(owner) if n[0] == "_" and n[:2] != "__"}
    return has_last_word(kind, "fast", frozenset({function, "gradients"} | private))


def batch_kind(batch: Batch) -> tuple[Any, ...]:
    """What tells mini-batches apart that need a fast form each: shapes, types, weights, divisor, and what is shared."""
    given = batch.distinct  # what they share need not be laid out for each to tell
    x: Tensor = given.x
    shared = batch.whose is not None
    return x.shape, x.dtype, given.y.shape, given.y.dtype, given.weights is None, batch.divisor, shared
