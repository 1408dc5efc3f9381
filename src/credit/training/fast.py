"""When the learner may ask a learning rule for a fast form of a pass, and for which mini-batches it keeps one."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from credit.methods.base import Method, State
from credit.methods.fast import Fast
from credit.nets.base import Batch, Net
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike


def ask(
    method: Method, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, batch_size: int,
    function: str = "update",
) -> Fast | None:  # fmt: skip
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
