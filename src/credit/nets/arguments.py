"""Arguments of the functions that make nets, checked. Loads no torch."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

from credit.errors import ConfigError
from credit.nets.names import activation


def count(value: Any, where: str, least: int = 1) -> int:
    """A whole number. where: what the message of an error begins with. Raises ConfigError for others."""
    whole = isinstance(value, numbers.Integral) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < least:
        raise ConfigError(f"{where} = {value!r}; must be an integer >= {least}")
    return int(value)


def counts(values: Any, where: str, least: int = 1, at_least: int = 0, what: str = "integers") -> list[int]:
    """Whole numbers, no fewer than `at_least`. what: they are, for messages. Raises ConfigError for others."""
    wrong = f"{where} = {values!r}; must be a list of {what} >= {least}" + (
        f", at least {at_least}" if at_least else ""
    )
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigError(wrong)
    found = list(values)
    try:
        found = [count(value, where, least) for value in found]
    except (ConfigError, TypeError):
        raise ConfigError(wrong) from None
    if len(found) < at_least:
        raise ConfigError(wrong)
    return found


def each(value: Any, n: int, kind: type, where: str, of: str) -> list[Any]:
    """One value for each of n `of`, of a single one or of a list. Raises ConfigError for another number, or kind."""
    values = [value] * n if isinstance(value, kind) else value
    if isinstance(values, Sequence) and not isinstance(values, str):
        values = list(values)
        if len(values) == n and all(isinstance(one, kind) for one in values):
            return values
    one = {bool: "true, false", str: "one name"}[kind]
    raise ConfigError(f"{where} = {value!r}; must be {one}, or one value for each of {n} {of}")


def layer_activations(hidden: Any, output: Any, n: int, of: str) -> list[str]:
    """Names of the activations of n hidden `of`, and of the output. hidden: one name or one for each.

    Raises ConfigError as `each`, and for a name that is no activation's, also where n is 0.
    """
    found = [*each(hidden, n, str, "hidden", of), output]
    for name in [*found[:-1], *([hidden] if isinstance(hidden, str) else [])]:
        activation(name, "hidden")
    activation(output, "output")
    return found


def window(value: Any, where: str) -> tuple[int, ...]:
    """Size of a window, or (size, stride, padding), the last two optional. Raises ConfigError for others."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (count(value, where),)
    if not 1 <= len(value) <= 3:
        raise ConfigError(f"{where} = {value!r}; must be one integer > 0 or (size, stride, padding)")
    return tuple(count(one, where, least) for one, least in zip(value, (1, 1, 0)))


def pooling(value: Any) -> tuple[int, ...]:
    """As `window`, of pooling, of which every window holds a part of the image. Raises ConfigError for others."""
    found = window(value, "pool")
    if len(found) == 3 and 2 * found[2] > found[0]:
        raise ConfigError(f"pool = {value!r}; must be (size, stride, padding) with padding at most half the size")
    return found


def image_shape(value: Any) -> tuple[int, int, int]:
    """(C, H, W). Raises ConfigError for others."""
    found = tuple(counts(value, "shape_in"))
    if len(found) != 3:
        raise ConfigError(f"shape_in = {value!r}; must be (channels, height, width)")
    return found
