"""Passes over value nodes, compiled: flat arrays (n,), whatever the shape of the layer is.

The activation is a number of `KINDS`; slope: of a leaky relu.
"""

from __future__ import annotations

import numpy as np

from credit.nets import activations
from credit.numerics.compiled import compiled
from credit.numerics.elementwise import sigmoid_of, tanh_of

LINEAR, RELU, LEAKY, SIGMOID, TANH = range(5)
KINDS = {
    activations.Linear: LINEAR,
    activations.ReLU: RELU,
    activations.LeakyReLU: LEAKY,
    activations.Sigmoid: SIGMOID,
    activations.Tanh: TANH,
}
PORTION = 4096  # numbers that are still in the cache when their squares are added


def kind_of(phi: activations.Activation) -> tuple[int, float] | None:
    """(kind, slope) of an activation, None of one that is not among `KINDS`."""
    kind = KINDS.get(type(phi))
    return None if kind is None else (kind, phi.slope if kind == LEAKY else 0.0)


@compiled
def activate(x, out, kind, slope):
    """out = f(x)."""
    if kind == LINEAR:
        out[:] = x
    elif kind == RELU:
        zero = x.dtype.type(0)
        for i in range(x.size):
            out[i] = zero if x[i] <= zero else x[i]  # NaN stays
    elif kind == LEAKY:
        for i in range(x.size):
            out[i] = x[i] if x[i] > 0 else slope * x[i]
    elif kind == SIGMOID:
        for i in range(x.size):
            out[i] = sigmoid_of(x[i])
    else:
        for i in range(x.size):
            out[i] = tanh_of(x[i])


@compiled
def errors(x, mu, out):
    """out = x - mu; returns the sum of its squares."""
    for i in range(x.size):
        out[i] = x[i] - mu[i]
    return np.float64(np.dot(out, out))


@compiled
def errors_in_place(x, mu):
    """mu <- x - mu; returns the sum of its squares."""
    total = 0.0
    for start in range(0, x.size, PORTION):
        a, b = x[start : start + PORTION], mu[start : start + PORTION]
        for i in range(a.size):
            b[i] = a[i] - b[i]
        total += np.float64(np.dot(b, b))
    return total


@compiled
def move(x, h, eps, up, rate, kind, slope):
    """x <- x - rate (eps - f'(x) up), h <- f(x); h is f of the old x beforehand."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if kind == LINEAR:
        for i in range(x.size):
            new = x[i] - rate * (eps[i] - up[i])
            x[i] = new
            h[i] = new
    elif kind == RELU:
        for i in range(x.size):
            new = x[i] - rate * (eps[i] - (up[i] if x[i] > zero else zero))
            x[i] = new
            h[i] = zero if new <= zero else new
    elif kind == LEAKY:
        for i in range(x.size):
            new = x[i] - rate * (eps[i] - (up[i] if x[i] > zero else slope * up[i]))
            x[i] = new
            h[i] = new if new > zero else slope * new
    elif kind == SIGMOID:
        for i in range(x.size):
            new = x[i] - rate * (eps[i] - (h[i] - h[i] * h[i]) * up[i])
            x[i] = new
            h[i] = sigmoid_of(new)
    else:
        for i in range(x.size):
            new = x[i] - rate * (eps[i] - (one - h[i] * h[i]) * up[i])
            x[i] = new
            h[i] = tanh_of(new)
