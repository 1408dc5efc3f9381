"""Changes of firing rates, compiled for the CPU: one pass over memory, without cancellation.

With P / Q = tanh x the addition theorem gives tanh(v + x) - tanh v = P (1 - r^2) / (Q + r P), r = tanh v: one division
in place of two tanh. P and Q are the seventh convergent of the continued fraction of tanh (Lambert 1768), exact to
rounding for |x| <= 1/2, where deviations live. Longer ones take the two tanh.

Arrays are flat, contiguous, of one length and dtype; `constants` are CONSTANTS in that dtype.
"""

from __future__ import annotations

import numpy as np

from credit.methods._dfc_frame import Deviation
from credit.nets.activations import Activation, LeakyReLU, Linear, ReLU, Tanh
from credit.optim._compiled import compiled

LINEAR, TANH, RELU, LEAKY = range(4)
DIFFERENCE, VOLTAGE, DERIVATIVE = range(3)
RULES = {"nonlinear_difference": DIFFERENCE, "voltage_difference": VOLTAGE, "derivative_matrix": DERIVATIVE}
# P = x (1 + s (p1 + s (p2 + s p3))), Q = 1 + s (q1 + s (q2 + s q3)), s = x^2
CONSTANTS = np.array([0, 0.5, 1, 17325 / 135135, 378 / 135135, 1 / 135135, 62370 / 135135, 3150 / 135135, 28 / 135135])


def code(phi: Activation) -> int | None:
    """The number of an activation in this module; None: it has no compiled form."""
    kinds = {Linear: LINEAR, Tanh: TANH, ReLU: RELU, LeakyReLU: LEAKY}
    return next((number for kind, number in kinds.items() if isinstance(phi, kind)), None)


def codes(frame: Deviation) -> np.ndarray:
    """The numbers of all activations of a frame, -1 for one without a compiled form."""
    return np.array([-1 if code(phi) is None else code(phi) for phi in frame.phi])


def leaks(frame: Deviation, dtype) -> np.ndarray:
    """Slopes of the layers below zero (leaky relu), 0 for other activations."""
    return np.array([phi.slope if isinstance(phi, LeakyReLU) else 0.0 for phi in frame.phi], dtype=dtype)


@compiled
def _large(x, constants):
    """Whether an element lies outside of the range of the fraction, or is not a number."""
    small, half = True, constants[1]
    for j in range(x.shape[0]):
        small &= abs(x[j]) <= half
    return not small


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
def signals(rule, code, leak, base, soma, pre, act, slope, out, constants):
    """out = what a layer shall add to its rate, see `credit.methods._dfc_gradients.teaching`; shift = soma - base."""
    zero, one = constants[0], constants[2]
    if rule == 1 or code == 0:
        for j in range(base.shape[0]):
            out[j] = soma[j] - base[j]
    elif rule == 2:
        for j in range(base.shape[0]):
            out[j] = slope[j] * (soma[j] - base[j])
    elif code == 1:
        if _large(base, constants) or _large(soma, constants):
            for j in range(base.shape[0]):
                a = pre[j] + base[j]
                h = soma[j] - base[j]
                out[j] = np.tanh(h) * (one - np.tanh(a) * np.tanh(a + h))
            return
        p1, p2, p3, q1, q2, q3 = constants[3], constants[4], constants[5], constants[6], constants[7], constants[8]
        for j in range(base.shape[0]):
            b, r = base[j], act[j]
            h = soma[j] - b
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
            a = pre[j] + base[j]
            h = soma[j] - base[j]
            lifted = h + min(a, zero)
            floor = -max(a, zero)
            rectified = floor if lifted < floor else lifted
            out[j] = leak * h + (one - leak) * rectified
