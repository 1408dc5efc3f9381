"""What the settings of a net can lack for a learning rule; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from credit.nets.names import n_blocks


def hidden(net: Mapping[str, Any] | None) -> Iterator[str]:
    """Hidden layers, where the settings of a net are given."""
    if net is not None and n_blocks(net) < 2:
        yield f"net.hidden_sizes = {list(net['hidden_sizes'])}; needs hidden layers"


def no_dropout(net: Mapping[str, Any] | None) -> Iterator[str]:
    """keep = 1, where the settings of a net are given."""
    if net is not None and net.get("keep", 1) != 1:
        yield f"net.keep = {net['keep']}; needs 1, the rule is not defined with dropout"


def unmixed(net: Mapping[str, Any] | None) -> Iterator[str]:
    """Units with a slope of their own, which softmax has not, where the settings of a net are given."""
    for key in ("hidden", "output") if net is not None else ():
        if "softmax" in activations(net, key):
            yield f"net.{key} = 'softmax'; needs another activation, whose units have a slope each"


def activations(net: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Names that the settings of a net give as `key`, "hidden" or "output"."""
    given = net.get(key, ())
    return (given,) if isinstance(given, str) else tuple(given)


def by_jacobian(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """A net whose Jacobian is a product of weights and slopes."""
    yield from no_dropout(net)
    yield from unmixed(net)


def linear(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """A net of linear layers alone, without dropout, where its settings are given."""
    yield from no_dropout(net)
    keys = () if net is None else ("hidden", "output") if n_blocks(net) > 1 else ("output",)
    for key in keys:
        for other in sorted({*activations(net, key)} - {"linear"}):
            yield f"net.{key} = {other!r}; needs 'linear', errors come back through pseudo-inverses of the weights"


def lists(group: Mapping[str, Any], place: str, keys: Sequence[str], net: Mapping[str, Any] | None) -> Iterator[str]:
    """One value for each block but one, where a hyperparameter of `keys` is a list. place: name of their group."""
    blocks = 0 if net is None else n_blocks(net) - 1
    for key in keys if blocks else ():
        value = group[key]
        if isinstance(value, (list, tuple)) and len(value) != blocks:
            allowed = f"one value, or one for each of {blocks} layers with feedback, for all members"
            yield f"{place}.{key} = {list(value)}; needs {allowed}"


def layer_masks(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """A dense net for dropout masks that are multiplied onto the deltas of units."""
    if net is not None and values["masks"] == "after_sweep" and net["kind"] != "dense" and net.get("keep", 1) < 1:
        yield "masks = 'after_sweep'; needs a dense net, or net.keep 1"
