"""Changes of activities with their pre-activations, compiled for the CPU: one pass, without cancellation.

The fast forms of `credit.nets.activations.difference`.

With P / Q = tanh x the addition theorem gives tanh(v + x) - tanh v = P (1 - r^2) / (Q + r P), r = tanh v: one division
in place of two tanh. P and Q are the seventh convergent of the continued fraction of tanh (Lambert 1768), exact to
rounding for |x| <= 1/2, where deviations live. Longer ones take the two tanh.

Arrays are flat, contiguous, of one length and dtype; `constants` are CONSTANTS in that dtype.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from credit.nets.activations import Activation, LeakyReLU, Linear, ReLU, Tanh
from credit.numerics.compiled import compiled
from credit.numerics.memory import in_memory

LINEAR, TANH, RELU, LEAKY = range(4)
DIFFERENCE, VOLTAGE, DERIVATIVE = range(3)
RULES = {"nonlinear_difference": DIFFERENCE, "voltage_difference": VOLTAGE, "derivative_matrix": DERIVATIVE}
# P = x (1 + s (p1 + s (p2 + s p3))), Q = 1 + s (q1 + s (q2 + s q3)), s = x^2
CONSTANTS = np.array([0, 0.5, 1, 17325 / 135135, 378 / 135135, 1 / 135135, 62370 / 135135, 3150 / 135135, 28 / 135135])

_BY_TYPE = {torch.float32: CONSTANTS.astype(np.float32), torch.float64: CONSTANTS.astype(np.float64)}


def code(phi: Activation) -> int | None:
    """The number of an activation in this module; None: it has no compiled form."""
    kinds = {Linear: LINEAR, Tanh: TANH, ReLU: RELU, LeakyReLU: LEAKY}
    return next((number for kind, number in kinds.items() if isinstance(phi, kind)), None)


@compiled
def _large(x, constants):
    """Whether an element lies outside of the range of the fraction, or is not a number."""
    small, half = True, constants[1]
    for j in range(x.shape[0]):
        small &= abs(x[j]) <= half
    return not small


def slope_below(phi: Activation) -> float:
    """The slope below zero of a leaky relu, 0 for other activations."""
    return phi.slope if isinstance(phi, LeakyReLU) else 0.0


def constants(like: Tensor) -> np.ndarray:
    """CONSTANTS, (9,), in the precision of a tensor of any shape."""
    return _BY_TYPE[like.dtype]


@compiled
def each_row(kind, leak, x, pre, act, slope, out, constants):
    """`rates` of every row; arrays (rows, n)."""
    for k in range(x.shape[0]):
        rates(kind, leak, x[k], pre[k], act[k], slope[k], out[k], constants)


@compiled
def each_row_signals(rule, kind, leak, base, shift, pre, act, slope, out, constants):
    """`signals` of every row; arrays (rows, n)."""
    for k in range(base.shape[0]):
        signals(rule, kind, leak, base[k], shift[k], pre[k], act[k], slope[k], out[k], constants)


@compiled
def rates(code, leak, x, pre, act, slope, out, constants):
    """out = phi(pre + x) - phi(pre); act = phi(pre), slope = phi'(pre)."""
    zero, one = constants[0], constants[2]
    if code == 0:
        for j in range(x.shape[0]):
            out[j] = x[j]
    elif code == 1:
        if _large(x, constants):
            for j in range(x.shape[0]):
                out[j] = np.tanh(x[j]) * (one - act[j] * np.tanh(pre[j] + x[j]))
            return
        p1, p2, p3, q1, q2, q3 = constants[3], constants[4], constants[5], constants[6], constants[7], constants[8]
        for j in range(x.shape[0]):
            s = x[j] * x[j]
            p = x[j] * (one + s * (p1 + s * (p2 + s * p3)))
            q = one + s * (q1 + s * (q2 + s * q3))
            out[j] = p * slope[j] / (q + act[j] * p)
    else:
        for j in range(x.shape[0]):
            lifted = x[j] + min(pre[j], zero)
            floor = -max(pre[j], zero)
            rectified = floor if lifted < floor else lifted
            out[j] = leak * x[j] + (one - leak) * rectified


@compiled
def signals(rule, code, leak, base, shift, pre, act, slope, out, constants):
    """out = what a layer shall add to its rate, see `credit.methods.control.teaching.teaching`."""
    zero, one = constants[0], constants[2]
    if rule == 1 or code == 0:
        for j in range(base.shape[0]):
            out[j] = shift[j]
    elif rule == 2:
        for j in range(base.shape[0]):
            out[j] = slope[j] * shift[j]
    elif code == 1:
        if _large(base, constants) or _large(shift, constants):
            for j in range(base.shape[0]):
                a = pre[j] + base[j]
                out[j] = np.tanh(shift[j]) * (one - np.tanh(a) * np.tanh(a + shift[j]))
            return
        p1, p2, p3, q1, q2, q3 = constants[3], constants[4], constants[5], constants[6], constants[7], constants[8]
        for j in range(base.shape[0]):
            b, h, r = base[j], shift[j], act[j]
            s = b * b
            p = b * (one + s * (p1 + s * (p2 + s * p3)))
            q = one + s * (q1 + s * (q2 + s * q3))
            s = h * h
            ph = h * (one + s * (p1 + s * (p2 + s * p3)))
            qh = one + s * (q1 + s * (q2 + s * q3))
            d = q + r * p  # the rate at the base is (r q + p) / d, its slope slope (q^2 - p^2) / d^2
            out[j] = ph * slope[j] * (q * q - p * p) / (d * (qh * d + (r * q + p) * ph))
    else:
        for j in range(base.shape[0]):
            a, h = pre[j] + base[j], shift[j]
            lifted = h + min(a, zero)
            floor = -max(a, zero)
            rectified = floor if lifted < floor else lifted
            out[j] = leak * h + (one - leak) * rectified


def change(phi: Activation, x: Tensor, pre: Tensor, act: Tensor, slope: Tensor) -> Tensor:
    """phi(pre + x) - phi(pre), any shape, where `possible`; act = phi(pre), slope = phi'(pre)."""
    out = torch.empty_like(x)
    each_row(code(phi), _below(phi, x), *map(_rows, (x, pre, act, slope, out)), constants(x))
    return out


def step(phi: Activation, base: Tensor, shift: Tensor, pre: Tensor, act: Tensor, slope: Tensor) -> Tensor:
    """phi(pre + base + shift) - phi(pre + base), any shape, where `possible`; act, slope: see `change`."""
    out = torch.empty_like(shift)
    rows = map(_rows, (base, shift, pre, act, slope, out))
    each_row_signals(DIFFERENCE, code(phi), _below(phi, shift), *rows, constants(shift))
    return out


def push(response: Tensor, drive: Tensor, slope: Tensor) -> None:
    """response = (response + drive) * slope in place: (M, B, k, n), (M, k, n), (M, B, n)."""
    n = response.shape[-1]
    arrays = (response.numpy().reshape(-1, *response.shape[-3:]), drive.numpy().reshape(-1, *drive.shape[-2:]))
    _push(*arrays, slope.numpy().reshape(-1, slope.shape[-2], n))


@compiled
def _push(response, drive, slope):
    for m in range(response.shape[0]):
        for b in range(response.shape[1]):
            s = slope[m, b]
            for k in range(response.shape[2]):
                x, q = response[m, b, k], drive[m, k]
                for j in range(x.shape[0]):
                    x[j] = (x[j] + q[j]) * s[j]


def possible(phi: Activation, pre: Tensor, *others: Tensor) -> bool:
    """Whether `change` and `step` can be used: of an activation that they know, on arrays of any shape, one for all."""
    return code(phi) is not None and all(t.shape == pre.shape for t in others) and in_memory(pre, *others)


def _below(phi: Activation, like: Tensor):
    return constants(like).dtype.type(slope_below(phi))


def _rows(tensor: Tensor) -> np.ndarray:
    return tensor.numpy().reshape(-1, tensor.shape[-1])
