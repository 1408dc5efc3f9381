"""Small products for many samples at once, for compiled loops: a value of LANES samples lies side by side in memory.

One instruction then serves several samples. Arrays are (units, LANES); sums are formed in a fixed order. At the end,
arithmetic of flat arrays, such as these have when they are reshaped.
"""

from __future__ import annotations

from credit.numerics.compiled import compiled

LANES = 32


@compiled
def load(source, first, count, keep, out):
    """out[j, lane] = source[first + lane, j]; zero for lanes that are not kept or not there."""
    out[:] = 0
    for w in range(count):
        if keep[first + w]:
            for j in range(source.shape[1]):
                out[j, w] = source[first + w, j]


@compiled
def store(state, first, count, out):
    """The reverse of `load`."""
    for w in range(count):
        for j in range(out.shape[1]):
            out[first + w, j] = state[j, w]


@compiled
def add_scaled(source, gain, first, count, keep, out):
    """out[j, lane] += gain source[first + lane, j], where the lane is kept."""
    for w in range(count):
        if keep[first + w]:
            for j in range(source.shape[1]):
                out[j, w] += gain * source[first + w, j]


@compiled
def apply(matrix, vectors, out):
    """out = matrix vectors for all lanes; four columns at a time."""
    rows, columns = matrix.shape
    fours = columns - columns % 4
    for j in range(rows):
        row = out[j]
        row[:] = 0
        for k in range(0, fours, 4):
            a, b, c, d = matrix[j, k], matrix[j, k + 1], matrix[j, k + 2], matrix[j, k + 3]
            x, y, z, u = vectors[k], vectors[k + 1], vectors[k + 2], vectors[k + 3]
            for w in range(LANES):
                row[w] += (a * x[w] + b * y[w]) + (c * z[w] + d * u[w])
        for k in range(fours, columns):
            a, x = matrix[j, k], vectors[k]
            for w in range(LANES):
                row[w] += a * x[w]


@compiled
def outer(left, right, out):
    """out += left right^T, lane by lane; out (rows of left, rows of right, LANES) as (rows, LANES)."""
    k = 0
    for j in range(left.shape[0]):
        x = left[j]
        for i in range(right.shape[0]):
            y, total = right[i], out[k]
            for w in range(LANES):
                total[w] += x[w] * y[w]
            k += 1


@compiled
def fold(lanes, out):
    """out[k] = sum over lanes."""
    for k in range(out.shape[0]):
        total = lanes[k, 0]
        for w in range(1, LANES):
            total += lanes[k, w]
        out[k] = total


@compiled
def blend(state, aim, gain):
    """state += gain (aim - state)."""
    for k in range(state.shape[0]):
        state[k] += gain * (aim[k] - state[k])


@compiled
def blend_sum(state, aim, other, gain):
    """state += gain (aim + other - state)."""
    for k in range(state.shape[0]):
        state[k] += gain * (aim[k] + other[k] - state[k])


@compiled
def subtract(a, b, out):
    """out = a - b."""
    for k in range(out.shape[0]):
        out[k] = a[k] - b[k]


@compiled
def add(total, values):
    """total += values."""
    for k in range(total.shape[0]):
        total[k] += values[k]
