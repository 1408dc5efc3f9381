"""Update loops compiled for the CPU: one pass over the memory of a parameter, its gradient and its state.

Arrays: p, g and the state (M, size); table (K, P, M) holds the K coefficients that `credit.optim.formulas`
names, for all P parameters; j is this parameter's row. Coefficients have the dtype of the arrays. Products and
sums are neither contracted nor reordered, so that results do not depend on the CPU's vector width.
"""

from __future__ import annotations

import numpy as np

from credit.numerics.compiled import compiled


@compiled
def sgd(p, g, table, j):
    """Plain gradient descent."""
    for i in range(p.shape[0]):
        scale, l2, shrink, direct = table[0, j, i], table[1, j, i], table[2, j, i], table[3, j, i]
        for k in range(p.shape[1]):
            p[i, k] = p[i, k] * shrink - direct * (g[i, k] * scale + p[i, k] * l2)


@compiled
def momentum(p, g, v, table, j):
    """Gradient descent with a velocity v."""
    for i in range(p.shape[0]):
        scale, l2, shrink, direct = table[0, j, i], table[1, j, i], table[2, j, i], table[3, j, i]
        mu, keep, out = table[4, j, i], table[5, j, i], table[6, j, i]
        for k in range(p.shape[1]):
            gradient = g[i, k] * scale + p[i, k] * l2
            velocity = v[i, k] * mu + gradient * keep
            v[i, k] = velocity
            p[i, k] = p[i, k] * shrink - (direct * gradient + out * velocity)


@compiled
def adam(p, g, m, v, table, j):
    """Adam with first moment m and second moment v."""
    for i in range(p.shape[0]):
        scale, l2, shrink = table[0, j, i], table[1, j, i], table[2, j, i]
        new1, keep2, new2 = table[3, j, i], table[4, j, i], table[5, j, i]
        unbias, eps, step = table[6, j, i], table[7, j, i], table[8, j, i]
        for k in range(p.shape[1]):
            gradient = g[i, k] * scale + p[i, k] * l2
            first = m[i, k] + (gradient - m[i, k]) * new1
            second = v[i, k] * keep2 + gradient * gradient * new2
            m[i, k] = first
            v[i, k] = second
            p[i, k] = p[i, k] * shrink - step * (first / (np.sqrt(second) * unbias + eps))
