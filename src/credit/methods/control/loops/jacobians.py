"""Jacobians of the output with respect to all layers, for a group of SIDE samples side by side.

J (n, K) of a layer is that of `credit.nets.jacobian`, transposed; arrays are flat, and numbers in them SIDE numbers.
"""

from __future__ import annotations

import numpy as np

from credit.numerics.compiled import compiled
from credit.numerics.tiles import SIDE, add_shared
from credit.numerics.views import part

NEAR = 2**15  # bytes of the first-level cache for the units of a product


@compiled
def chain(weights, slopes, sizes, first, count, k, x):
    """J of all hidden layers into x, from the highest down, each followed by as much room; samples `first` on.

    weights (n,): (n_i, n_{i-1}) each, one after the other from the second layer on. slopes (B, N). sizes (L,).
    """
    hidden = sizes.shape[0] - 1
    end, above, unit, weight = x.shape[0] // SIDE, 0, slopes.shape[1] - k, weights.shape[0]
    for i in range(hidden - 1, -1, -1):
        n, higher = sizes[i], sizes[i + 1]
        start = end - 2 * n * k
        unit -= n
        weight -= higher * n
        out = part(x, start * SIDE, n * k * SIDE)
        if i == hidden - 1:
            _top(first, count, part(weights, weight, higher * n), slopes[:, slopes.shape[1] - k :], out)
        else:
            out[:] = 0
            near = max(1, NEAR // (k * SIDE * x.itemsize))
            for a in range(0, higher, near):
                rows = min(near, higher - a)
                add_shared((k, n, rows), out, (0, 1, k), x, (above + a * k, 1, k), weights, (weight + a * n, 1, n))
        _scale(first, count, k, slopes[:, unit : unit + n], out)
        end, above = start, start


@compiled
def _top(first, count, weight, slope, x):
    """J (n, K) = W_L^T times the slopes (B, K) of the output; weight (K n,)."""
    n_out = slope.shape[1]
    n = weight.shape[0] // n_out
    above = np.zeros((n_out, SIDE), x.dtype)
    for w in range(count):
        for j in range(n_out):
            above[j, w] = slope[first + w, j]
    flat = above.reshape(n_out * SIDE)
    for u in range(n):
        for j in range(n_out):
            out, factor = part(x, (u * n_out + j) * SIDE, SIDE), part(flat, j * SIDE, SIDE)
            value = weight[j * n + u]
            for w in range(SIDE):
                out[w] = value * factor[w]


@compiled
def _scale(first, count, k, slope, x):
    """J (n, K) times the slopes (B, n) of samples `first` on."""
    below = np.zeros(SIDE, x.dtype)
    for u in range(slope.shape[1]):
        for w in range(count):
            below[w] = slope[first + w, u]
        for j in range(k):
            one = part(x, (u * k + j) * SIDE, SIDE)
            for w in range(SIDE):
                one[w] *= below[w]
