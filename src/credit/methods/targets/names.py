"""Names of initial feedback of target propagation, and what excludes each other; free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from credit.nets import names, suited
from credit.nets.geometry import pool_window

LACKS = "has no fused form; needs pooling, elu and, where windows overlap, collisions = 'overwrite'"
SYMMETRIC = "symmetric"  # a copy of the forward weights, transposed; biases 0


def options(scheme: str | Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Name and complete options of a scheme. Raises ConfigError beginning with `where` for one that is wrong."""
    return names.options(scheme, where, {SYMMETRIC: {}})


def exclusive(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Settings that do not fit the net."""
    yield from suited.no_dropout(net)
    yield from suited.hidden(net)
    learns = values["feedback"]
    if learns["tied"] and options(learns["init"], "feedback.init")[0] != SYMMETRIC:
        yield f"feedback.tied = True; needs feedback.init {SYMMETRIC!r}, the weights are copies"
    yield from suited.lists(learns, "feedback", ("iterations", "sigma", "lr"), net)


def with_products(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """The same of a rule whose products may be of low precision, in fused iterations alone."""
    yield from exclusive(values, net)
    if values["products"] == "full":
        return
    if net is not None and net["kind"] != "conv":
        yield f"products = {values['products']!r}; needs a conv net"
    elif net is not None:
        for i in _without_fused_form(values["feedback"]["collisions"], net):
            yield f"products = {values['products']!r}; block {i} {LACKS}"
    if values["feedback"]["samples"] != 1:
        yield f"products = {values['products']!r}; needs feedback.samples = 1, see `credit.methods.targets.fused`"


def _without_fused_form(collisions: str, net: Mapping[str, Any]) -> Iterator[int]:
    """Convolutions with feedback that `credit.methods.targets.fused.possible` says no to. net: of a configuration; one
    that has been built says nothing of its pooling, and is looked at block by block."""
    if "pool" not in net:
        return
    hidden, (size, stride, _) = net["hidden"], pool_window(net["pool"])
    for i in range(1, len(net["channels"])):
        elu = (hidden if isinstance(hidden, str) else hidden[i]) == "elu"
        if net["pool"] is None or not elu or (stride < size and collisions != "overwrite"):
            yield i


def parallel(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """The same of the parallel form, which takes one step."""
    yield from exclusive(values, net)
    if values["feedback"]["iterations"] != 1:
        yield f"feedback.iterations = {values['feedback']['iterations']}; must be 1, see samples"
