"""Hyperparameters of stacks: one number for all members, or one for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from credit.config.fields import PerMember
from credit.numerics.devices import on

Number = float | Sequence[float]  # for all members, or one for each


def member(value: Number, like: Tensor) -> float | Tensor:
    """A hyperparameter ready to be combined with `like` (M, ...): per-member values get trailing axes.

    Raises ConfigError where there are other than M of them.
    """
    if isinstance(value, (int, float)):
        return value
    check(value, like.shape[0] if like.ndim else 0)
    return on(value, like).reshape(-1, *([1] * (like.ndim - 1)))


def scaled(tensor: Tensor, factor: Number) -> Tensor:
    """`tensor` (M, ...) times a hyperparameter that may differ between members."""
    return tensor * member(factor, tensor)


def combine(f: Callable[..., float], *values: Number) -> Number:
    """f of hyperparameters, member by member where one of them has a value for each.

    Raises ConfigError where two of them have different numbers of values.
    """
    lists = [v for v in values if not isinstance(v, (int, float))]
    if not lists:
        return f(*values)
    for other in lists:
        check(other, len(lists[0]))
    spread = [[v] * len(lists[0]) if isinstance(v, (int, float)) else v for v in values]
    result = PerMember(f(*one) for one in zip(*spread, strict=True))
    result.option = getattr(lists[0], "option", result.option)
    return result


def table(values: Sequence[Number], members: int, dtype) -> np.ndarray:
    """Hyperparameters of all members, (M, n) for n values. Raises ConfigError where one has other than M values."""
    for value in values:
        if not isinstance(value, (int, float)):
            check(value, members)
    return np.stack([np.broadcast_to(np.asarray(v, dtype), members) for v in values], -1)


def check(value: Sequence[float], members: int) -> None:
    """Raises ConfigError where a hyperparameter that differs between members has not one value for each."""
    (value if isinstance(value, PerMember) else PerMember(value)).check(members)
