"""What activities that settle need of a net, and of their own settings; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from credit.nets import suited

ORDER = ("reset", "predict", "learn")


def exclusive(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Actions in another order than theirs, or without learning; a net without the one f of all layers."""
    actions = list(values["actions"])
    if "learn" not in actions or actions != [action for action in ORDER if action in actions]:
        yield f"actions = {actions}; needs 'learn', and before it 'reset', 'predict', both in this order, or neither"
    yield from layers(net)


def with_negative_phase(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """The same of a rule whose negative phase is what it predicts."""
    yield from exclusive(values, net)
    if values["negative_phase"] and "predict" not in values["actions"]:
        yield "negative_phase = True; needs the action 'predict', which is that phase"


def of_pc_coded(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """The same of a rule that counts how often it has cut its rate."""
    yield from exclusive(values, net)
    if values["least_discounts"] and values["inference"]["discount"] is None:
        yield f"least_discounts = {values['least_discounts']}; needs inference.discount"


def of_almeida_pineda(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """The same of a rule that may ask for the gradient of its fixed point, which it has to reach first."""
    yield from exclusive(values, net)
    if values["adjoint"] == "exact" and "predict" not in values["actions"]:
        yield "adjoint = 'exact'; needs the action 'predict', by which the activities settle"


def layers(net: Mapping[str, Any] | None) -> Iterator[str]:
    """A net of hidden layers with one activation f, a linear output and no dropout, where its settings are given."""
    yield from suited.no_dropout(net)
    yield from suited.hidden(net)
    yield from suited.unmixed(net)
    if net is not None and len(set(suited.activations(net, "hidden"))) > 1:
        yield f"net.hidden = {list(net['hidden'])}; needs one activation for all hidden layers"
    if net is not None and suited.activations(net, "output") != ("linear",):
        yield f"net.output = {net['output']!r}; needs 'linear', an output is clamped as it is"
