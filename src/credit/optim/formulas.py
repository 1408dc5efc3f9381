"""The formulas of the optimisers: which state they keep, their coefficients, and the update in torch operations.

A *coefficient* is computed for all P parameters and M members at once from the hyperparameters `h`, (P, M)
each, the step counts `t`, (P, 1), and the rates `lr`, (P, M). They are numpy arrays or torch tensors: one
formula serves both. An update gets the parameter p, its gradient g, its state, and the coefficients, which
broadcast against p, in the order of `credit.optim.loops`; it changes p and the state in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from credit.optim.config import some


@dataclass(frozen=True)
class Formula:
    """One way to turn gradients into steps.

    slots: names of the state, each a tensor (M, ...) per parameter. coefficients: (h, t, lr) -> list of what follows
    scale, l2 and shrink, which all formulas share. compiled: its loop in `credit.optim.loops`, or None.
    add_product: the update by the gradient a b, (p, *state, a, b, coefficients), where the product can be added to
    the state as it is made, or None; without decay. steady: the coefficients do not depend on t.
    """

    slots: tuple[str, ...]
    coefficients: Callable[[dict[str, Any], Any, Any], list]
    update: Callable[[Tensor, Tensor, Sequence[Tensor], Sequence[Tensor]], None]
    compiled: str | None
    add_product: Callable[..., None] | None = None
    steady: bool = False


def formula(hyper: dict[str, Any]) -> Formula:
    """The formula for checked hyperparameters."""
    kind = hyper["name"]
    if kind == "adam":
        return Formula(("m", "v"), _adam_coefficients, _adam, "adam")
    if kind == "rmsprop":
        slots = (
            "square",
            *(["mean"] if hyper["centered"] else []),
            *(["v"] if some(hyper["momentum"]) else []),
        )
        update = _rmsprop(hyper["centered"], some(hyper["momentum"]))
        return Formula(slots, _rmsprop_coefficients, update, None)
    if not some(hyper["momentum"]):
        return Formula((), lambda h, t, lr: [lr], _sgd, "sgd", steady=True)
    coefficients = _momentum_coefficients(hyper["nesterov"], hyper["lr_in_velocity"])
    add_product = None if hyper["nesterov"] else _momentum_by_product
    steady = not some(hyper["dampening"])
    return Formula(("v",), coefficients, _momentum, "momentum", add_product, steady)


def decay(h: dict[str, Any], lr: Any, decoupled: bool) -> tuple[Any, Any]:
    """(l2, shrink): g += l2 p, and p is multiplied by `shrink` before the step."""
    if decoupled:
        return 0.0, 1 - lr * h["weight_decay"] - h["decay_unscaled"]
    return h["weight_decay"], 1 - h["decay_unscaled"]


def _sgd(p: Tensor, g: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]) -> None:
    p.sub_(g * c[0])


def _momentum_coefficients(nesterov: bool, lr_in_velocity: bool) -> Callable:
    """[direct, mu, keep, out] of v ← mu v + keep g, p ← p - direct g - out v.

    torch's first velocity is the gradient itself, without dampening.
    """

    def coefficients(h: dict[str, Any], t: Any, lr: Any) -> list:
        mu = h["momentum"]
        keep = 1 - h["dampening"] * (t > 1) * (mu > 0)
        direct, out = (lr, mu) if nesterov else (0.0, 1.0)
        if lr_in_velocity:
            return [direct, mu, keep * lr, out]
        return [direct, mu, keep, out * lr]

    return coefficients


def _momentum(p: Tensor, g: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]) -> None:
    (v,), (direct, mu, keep, out) = state, c
    v.mul_(mu).add_(g * keep)
    p.sub_(g * direct + v * out)


def _momentum_by_product(p: Tensor, v: Tensor, a: Tensor, b: Tensor, c: Sequence[float]) -> None:
    _, mu, keep, out = c
    p.sub_(v.addmm_(a, b, beta=mu, alpha=keep), alpha=out)


def _adam_coefficients(h: dict[str, Any], t: Any, lr: Any) -> list:
    """[1 - β1, β2, 1 - β2, 1 / sqrt(1 - β2^t), eps, lr / (1 - β1^t)]."""
    b1, b2 = h["beta1"], h["beta2"]
    return [1 - b1, b2, 1 - b2, (1 - b2**t) ** -0.5, h["eps"], lr / (1 - b1**t)]


def _adam(p: Tensor, g: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]) -> None:
    (m, v), (new1, keep2, new2, unbias, eps, step) = state, c
    m.lerp_(g, new1.expand_as(m))
    v.mul_(keep2).add_(g.square().mul_(new2))
    p.sub_(m.div(v.sqrt().mul_(unbias).add_(eps)).mul_(step))


def _rmsprop_coefficients(h: dict[str, Any], t: Any, lr: Any) -> list:
    """[alpha, 1 - alpha, eps, mu, lr]."""
    return [h["alpha"], 1 - h["alpha"], h["eps"], h["momentum"], lr]


def _rmsprop(centered: bool, has_momentum: bool) -> Callable:
    def update(p: Tensor, g: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]) -> None:
        square, alpha, new, eps, mu, lr = state[0], *c
        square.mul_(alpha).add_(g.square().mul_(new))
        variance = square
        if centered:
            state[1].lerp_(g, new.expand_as(g))
            variance = square - state[1].square()
        step = g / variance.sqrt().add_(eps)
        if has_momentum:
            step = state[-1].mul_(mu).add_(step)
        p.sub_(step * lr)

    return update
