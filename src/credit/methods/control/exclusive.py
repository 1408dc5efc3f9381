"""Settings of DFC that exclude each other; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from credit.nets.suited import activations, by_jacobian

Values = Mapping[str, Any]


def shared(values: Values, net: Values | None) -> Iterator[str]:
    """Of all rules: forms of the feedback phase, and the solver for the output of the net."""
    yield from by_jacobian(values, net)
    learns = values["feedback"]
    plain = (learns["instant_transmission"] or learns["instant_system"]) and not values["absolute"]
    if learns["form"] != "simulation" and not (plain and learns["rule"] == "controller"):
        yield (
            f"feedback.form = {learns['form']!r}; needs feedback.rule 'controller', feedback.instant_transmission and "
            "absolute false"
        )
    if values["freeze_feedback_after"] is not None and not values["train_feedback"]:
        yield f"freeze_feedback_after = {values['freeze_feedback_after']}; needs train_feedback true"
    yield from _without_effect(learns)
    if net is not None and "step" in (*activations(net, "hidden"), *activations(net, "output")):
        for key, form in (("form", values.get("form", "simulation")), ("feedback.form", learns["form"])):
            if form != "simulation":
                yield f"{key} = {form!r}; needs activations that are continuous, not 'step'"
    if net is not None and values["solver"] == "woodbury" and not (net["output"] == "linear" and net["hidden_sizes"]):
        yield "solver = 'woodbury'; needs a net with hidden layers and net.output 'linear'"


def _without_effect(learns: Values) -> Iterator[str]:
    if learns["rule"] != "controller" and learns["sigma_output"] is not None:
        yield f"feedback.sigma_output = {learns['sigma_output']}; needs feedback.rule 'controller'"
    if learns["homeostatic_norm"] is not None and not learns["homeostatic"]:
        yield f"feedback.homeostatic_norm = {learns['homeostatic_norm']}; needs feedback.homeostatic true"
    if len(learns["betas"]) != 2:
        yield f"feedback.betas = {list(learns['betas'])}; needs two values"


def of_dfc(values: Values, net: Values | None) -> Iterator[str]:
    """Of `dfc`."""
    yield from shared(values, net)
    yield from _linearised(values)
    if values["form"] == "linearised" and values["efficient"]:
        yield "form = 'linearised'; needs efficient false, whose sums over time are the simulation's"


def of_dfc_ss(values: Values, net: Values | None) -> Iterator[str]:
    """Of `dfc_ss`."""
    yield from shared(values, net)
    yield from _linearised(values)
    if values["form"] == "newton" and _some(values["noise"]):
        yield "form = 'newton'; needs noise 0, the steady state has none"


def _linearised(values: Values) -> Iterator[str]:
    dynamics = values["controller"]
    instant = dynamics["instant_transmission"] or dynamics["instant_system"]
    plain = instant and dynamics["tau_apical"] is None and not _some(values["noise"]) and not values["absolute"]
    if values["form"] == "linearised" and not (plain and dynamics["leak"] == "control"):
        yield (
            "form = 'linearised'; needs noise 0, absolute false, and of the controller instant_transmission, "
            "tau_apical null and leak 'control'"
        )


def _some(value: Any) -> bool:
    """Whether a number, or one of several, differs from 0."""
    return any(value) if isinstance(value, (list, tuple)) else bool(value)
