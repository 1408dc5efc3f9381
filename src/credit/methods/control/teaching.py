"""From controlled states to gradients of the forward weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit.methods.control.frame import Deviation
from credit.methods.control.steady import Settled
from credit.numerics.trees import Params


def teaching(rule: str, frame: Deviation, i: int, base: Tensor, shift: Tensor) -> Tensor:
    """What layer i shall add to its rate (or voltage), (M, B, n_i), by one of the three published rules.

    nonlinear_difference: phi(base + shift) - phi(base). voltage_difference: shift. derivative_matrix: phi' * shift,
    with phi' of the feedforward state.
    """
    if rule == "nonlinear_difference":
        return frame.step(i, base, shift)
    return shift if rule == "voltage_difference" else frame.slopes[i] * shift


def presynaptic(frame: Deviation, i: int, rates: Sequence[Tensor]) -> Tensor:
    """Absolute rates (M, B, n_{i-1}) below layer i; rates (M, B, n_i) by layer, in the frame."""
    return frame.input if i == 0 else frame.absolute_rate(i - 1, rates[i - 1])


def outer(params: Params, i: int, signal: Tensor, rate: Tensor) -> dict[str, Tensor]:
    """{"weight": sum over samples of signal rate^T, "bias": sum of signal}; signal (M, B, n), rate (M, B, n_below)."""
    gradient = {"weight": signal.mT @ rate}
    if "bias" in params[str(i)]:
        gradient["bias"] = signal.sum(-2)
    return gradient


def state_gradients(params: Params, rule: str, state: Settled) -> tuple[Params, list[Tensor]]:
    """Gradients of a controlled state, and the teaching signals (M, B, n_i): -2 / B sum of teaching x presynaptic rate.

    The factor 2 is published: it mimics the gradient of a squared difference.
    """
    gradients: Params = {}
    signals = []
    for i, (base, shift) in enumerate(zip(state.base, state.shift, strict=True)):
        signal = teaching(rule, state.frame, i, base, shift)
        signals.append(signal)
        gradients[str(i)] = outer(params, i, signal * (-2 / signal.shape[-2]), presynaptic(state.frame, i, state.rates))
    return gradients, signals


class TimeSum:
    """Sum over time and samples of teaching signal x presynaptic rate, without storing the run."""

    def __init__(self, params: Params, frame: Deviation) -> None:
        self.params, self.frame = params, frame
        self.signals = [torch.zeros_like(v) for v in frame.act]
        self.crossed = [torch.zeros_like(w) for w in frame.weights[1:]]

    def add(self, signals: Sequence[Tensor], rates: Sequence[Tensor]) -> None:
        """One time point, (M, B, n_i) by layer; rates in the frame. The clamped input needs no product here."""
        for total, signal in zip(self.signals, signals, strict=True):
            total.add_(signal)
        for total, signal, rate in zip(self.crossed, signals[1:], rates[:-1], strict=True):
            (total.addmm_ if total.ndim == 2 else total.baddbmm_)(signal.mT, rate)

    def gradients(self, factor: float) -> Params:
        """The sum times `factor`, in the structure of the parameters."""
        result: Params = {}
        for i, (signal, rest) in enumerate(zip(self.signals, self.frame.rest, strict=True)):
            signal = signal * factor
            weight = 0.0 if rest is None else signal.mT @ rest
            result[str(i)] = {"weight": weight + factor * self.crossed[i - 1] if i > 0 else weight}
            if "bias" in self.params[str(i)]:
                result[str(i)]["bias"] = signal.sum(-2)
        return result
