"""Names of initial feedback of dynamic inversion with their options, and what excludes each other; free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from credit.nets import names, suited

COPIES = ("transpose", "neg_transpose", "pseudoinverse", "neg_pseudoinverse", "sign", "neg_sign")  # of the weights
FLAT = ("relu", "relu_closed")  # activations with slope 0 over a whole range
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {} for name in COPIES},
    "random": {"scale": 0.5},
    "optimized": {"scale": 0.01, "leak": 0.0},
}


def options(scheme: str | Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Name and complete options of a scheme. Raises ConfigError beginning with `where` for one that is wrong."""
    return names.options(scheme, where, OPTIONS, lists=("leak",))


def exclusive(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Leaks of the initial feedback that do not fit the net, and limits of the descent."""
    if values["ssa_min_steps"] > values["ssa_steps"]:
        yield f"ssa_min_steps = {values['ssa_min_steps']}; must be at most ssa_steps = {values['ssa_steps']}"
    name, given = options(values["feedback"], "feedback")
    leak = given.get("leak")
    blocks = 0 if net is None else names.n_blocks(net) - 1
    if name == "optimized" and isinstance(leak, (list, tuple)) and len(leak) < blocks:
        yield f"feedback.leak = {list(leak)}; must hold one number for each block but the first, {blocks}"


def of_di(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Of `di`."""
    yield from exclusive(values, net)
    yield from suited.hidden(net)


def of_sdi(values: Mapping[str, Any], net: Mapping[str, Any] | None) -> Iterator[str]:
    """Of `sdi`."""
    yield from of_di(values, net)
    if net is not None and values["dynamics"] == "linearized":
        used = suited.activations(net, "hidden")
        yield from (f"dynamics = 'linearized'; divides by the slope, which is 0 for {h}" for h in used if h in FLAT)
        if "softmax" in used:
            yield "dynamics = 'linearized'; divides by the slope of every unit, which softmax has not"
