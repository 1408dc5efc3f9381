"""Settings of DFC that exclude each other; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from credit.nets.suited import no_dropout

Values = Mapping[str, Any]


def shared(values: Values, net: Values | None) -> Iterator[str]:
    """Of all rules: forms of the feedback phase, and the solver for the output of the net."""
    yield from no_dropout(net)
    learns = values["feedback"]
    plain = (learns["instant_transmission"] or learns["instant_system"]) and not values["absolute"]
    if learns["form"] != "simulation" and not (plain and learns["rule"] == "controller"):
        yield (
            f"feedback.form = {learns['form']!r}; needs feedback.rule 'controller', feedback.instant_transmission and "
            "absolute false"
        )
    if net is not None and values["solver"] == "woodbury" and not (net["output"] == "linear" and net["hidden_sizes"]):
        yield "solver = 'woodbury'; needs a net with hidden layers and net.output 'linear'"


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
