"""The linear feedback phase of DFC in groups of SIDE samples, side by side in memory and in vector registers.

The same as `credit.methods.control.feedback.correlated` with projected noise, with its names: for a layer, J (n, K) of
a sample, gains M = J Q, the root C of J J^T, noise zeta (T, K) within what J sees and Y (n, K) beside it, later
controls w (T, K) with the root L of w^T w. Nothing that is as large as a batch goes through memory: a group stays in
the second-level cache from the product that makes its Jacobians to the one that sums them up.

All arrays are flat, and numbers in them SIDE numbers, one for each sample of the group (`credit.numerics.tiles`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from credit.methods.control.loops.draws import whole
from credit.methods.control.loops.jacobians import NEAR, chain
from credit.numerics.compiled import compiled
from credit.numerics.normal_loops import STATE
from credit.numerics.tiles import (
    ALIGN,
    SIDE,
    TILE,
    add_products,
    add_shared,
    add_summed,
    aligned,
    next_part,
    subtract_products,
)
from credit.numerics.views import part

RANK_FLOOR = 1e-12  # as in `credit.numerics.seen_noise`
TINY = 2.2250738585072014e-308
BLIND = 2 * TINY**0.5


class Net(NamedTuple):
    """Of all layers one after the other: weights, (n_i, n_{i-1}) each, from the second layer on (M, n), slopes
    (M, B, N), feedback (M, N, K); sizes (L,)."""

    weights: np.ndarray
    slopes: np.ndarray
    feedback: np.ndarray
    sizes: np.ndarray


class Group(NamedTuple):
    """Memory of a group. x: J (n, K) and after it Y (n, K) of every hidden layer; within: zeta (L, T, K), of the output
    layer all of its noise; gains (L, K, K); roots: noise gain times C, (H, K, K); overlap: J Y^T, (H, K, K); inner
    (2, K, K): what weighs the rows of J and Y; controls, filtered, later (T + 1, K); state (2 L + 4, K); products
    (K, K); wide: float64, all C, L and another (H + 2, K, K), w (T, K), and 1 / the diagonals of the roots (L, K)."""

    x: np.ndarray
    within: np.ndarray
    gains: np.ndarray
    roots: np.ndarray
    overlap: np.ndarray
    inner: np.ndarray
    controls: np.ndarray
    filtered: np.ndarray
    later: np.ndarray
    state: np.ndarray
    products: np.ndarray
    wide: np.ndarray


@compiled
def loop(first, last, net, within, rest, factors, settings, steps, sums, correlations):
    """Groups first to last - 1, counted through all members, of the sums over samples: (M, groups, N, K) of xi^T w and
    (M, groups, K, K) of q u^T. within, rest: `Draws` of all and of hidden layers. factors (M, L): noise gains.
    settings: see `loops.step.settings`."""
    layers, k = net.sizes.shape[0], correlations.shape[2]
    units, kk, t = net.sizes[: layers - 1].sum(), k * k, steps - 1
    near = 2 * units * k + layers * t * k + (3 * layers + 1) * kk + 3 * (t + 1) * k + (2 * layers + 4) * k
    wide = (layers + 1) * kk + t * k + layers * k
    memory = np.empty(near * SIDE + ALIGN, sums.dtype)
    exact = np.empty(wide * SIDE + ALIGN, np.float64)
    state = np.empty(STATE, np.uint32)
    for index in range(first, last):
        m, g = divmod(index, sums.shape[1])
        out = sums[m, g].reshape(sums.shape[2] * k)
        _one(m, g, net, within, rest, factors[m], settings[m], steps, (memory, exact, state), out, correlations[m, g])


@compiled
def _one(m, g, net, within, rest, factors, settings, steps, room, sums, correlation):
    """One group; sums (N K,). room: memory for its numbers, for those of float64, and the state of its generator."""
    memory, exact, state = room
    layers, k, t = net.sizes.shape[0], correlation.shape[0], steps - 1
    units, kk = net.sizes[: layers - 1].sum(), k * k
    hidden = layers - 1
    count = min(SIDE, net.slopes.shape[1] - g * SIDE)
    x, at = next_part(memory, aligned(memory), 2 * units * k)
    drawn, at = next_part(memory, at, layers * t * k)
    gains, at = next_part(memory, at, layers * kk)
    roots, at = next_part(memory, at, hidden * kk)
    overlap, at = next_part(memory, at, hidden * kk)
    inner, at = next_part(memory, at, 2 * kk)
    controls, at = next_part(memory, at, (t + 1) * k)
    filtered, at = next_part(memory, at, (t + 1) * k)
    later, at = next_part(memory, at, (t + 1) * k)
    vectors, at = next_part(memory, at, (2 * layers + 4) * k)
    products, at = next_part(memory, at, kk)
    wide, at = next_part(exact, aligned(exact), (layers + 1) * kk + t * k + layers * k)
    group = Group(x, drawn, gains, roots, overlap, inner, controls, filtered, later, vectors, products, wide)
    start = 0
    for i in range(layers):
        whole(within, i, m, g, state, part(drawn, i * t * k * SIDE, t * k * SIDE))
        if i < hidden:
            n = net.sizes[i]
            whole(rest, i, m, g, state, part(x, (start + n * k) * SIDE, n * k * SIDE))
            start += 2 * n * k
    if count < SIDE:  # without noise of the output, a sample that is not there never moves
        for j in range(hidden * t * k, layers * t * k):
            for w in range(count, SIDE):
                drawn[j * SIDE + w] = 0
    chain(net.weights[m], net.slopes[m], net.sizes, g * SIDE, count, k, x)
    slope = net.slopes[m, g * SIDE : g * SIDE + count, units:]
    feedback = net.feedback[m].reshape(net.feedback.shape[1] * k)
    _respond(count, net.sizes, slope, feedback, factors, settings, steps, group, sums, correlation)


@compiled
def _respond(count, sizes, slope_out, feedback, factors, settings, steps, group, sums, correlation):
    """Sums over the `count` samples of a group, into sums (N, K), xi^T w of all layers, and correlation (K, K), q u^T.

    sizes: of the layers (L,). slope_out (count, K). feedback: all Q (N, K). factors: noise gains (L,). settings: see
    `loops.step.settings`.
    """
    layers, k = sizes.shape[0], correlation.shape[0]
    hidden, kk, start, at = layers - 1, k * k, 0, 0
    sums[:] = 0
    correlation[:] = 0
    for i in range(hidden):
        n = sizes[i]
        _gather(
            n, k, part(group.x, at * SIDE, 2 * n * k * SIDE), part(feedback, start * k, n * k), i, factors[i], group
        )
        start += n
        at += 2 * n * k
    for j in range(k):
        for c in range(k):
            one, value = part(group.gains, ((hidden * k + j) * k + c) * SIDE, SIDE), feedback[(start + j) * k + c]
            one[:] = 0
            for w in range(count):
                one[w] = slope_out[w, j] * value
    _run(count, layers, k, slope_out, factors, settings, steps, group)
    _correlate(count, k, steps, group, correlation)
    _look_back(k, steps, settings[4], hidden, group)
    start, at = 0, 0
    for i in range(hidden):
        n = sizes[i]
        _weigh(i, k, steps, hidden, group)
        add_summed((n, k, k), sums, (start * k, k, 1), group.x, (at, k, 1, n * k), group.inner, (0, 1, k, kk))
        start += n
        at += 2 * n * k
    _cross(hidden, k, steps, group)
    for j in range(kk):
        one = part(group.products, j * SIDE, SIDE)
        for w in range(count):
            sums[start * k + j] += one[w]


@compiled
def _gather(n, k, x, feedback, i, factor, group):
    """J Q, the root of J J^T and J Y^T of hidden layer i, with x = (J, Y)."""
    kk, kind = k * k, x.dtype.type
    gains, overlap = part(group.gains, i * kk * SIDE, kk * SIDE), part(group.overlap, i * kk * SIDE, kk * SIDE)
    gram = group.products
    gains[:] = 0
    overlap[:] = 0
    gram[:] = 0
    near = max(1, NEAR // (k * SIDE * x.itemsize))
    for a in range(0, n, near):
        units, y = min(near, n - a), n * k + a * k
        add_shared((k, k, units), gains, (0, k, 1), x, (a * k, 1, k), feedback, (a * k, 1, k))
        for r in range(0, k, TILE):  # the lower triangle
            rows = min(TILE, k - r)
            add_products((rows, r + rows, units), gram, (r * k, k, 1), x, (a * k + r, 1, k), x, (a * k, 1, k))
        add_products((k, k, units), overlap, (0, k, 1), x, (a * k, 1, k), x, (y, 1, k))
    root, inverse = part(group.wide, i * kk * SIDE, kk * SIDE), _inverse(i, k, group)
    for j in range(kk * SIDE):
        root[j] = gram[j]
    _cholesky(root, k, inverse)
    scaled = part(group.roots, i * kk * SIDE, kk * SIDE)
    for j in range(kk * SIDE):
        scaled[j] = kind(factor) * kind(root[j])


@compiled
def _inverse(i, k, group):
    """1 / the diagonal of a root, (K,), of hidden layer i, or after those of L."""
    return part(group.wide, group.wide.shape[0] - (i + 1) * k * SIDE, k * SIDE)


@compiled
def _cholesky(a, k, inverse):
    """The root in place of the lower triangle of a (K, K) float64, zeros above, and 1 / its diagonal."""
    row = k * SIDE
    for w in range(SIDE):
        mean = 0.0
        for j in range(k):
            mean += a[(j * k + j) * SIDE + w]
        for j in range(k):
            a[(j * k + j) * SIDE + w] += RANK_FLOOR * mean / k + TINY
    for j in range(k):
        d = j * k + j
        subtract_products((k - j, 1, j), a, (d, k, 1), a, (j * k, k, 1), a, (j * k, 0, 1))
        diagonal, one = part(a, d * SIDE, SIDE), part(inverse, j * SIDE, SIDE)
        for w in range(SIDE):
            diagonal[w] = np.sqrt(diagonal[w])
        for w in range(SIDE):  # of what J does not see at all, beyond the range of float32: times J, 0
            one[w] = 1.0 / diagonal[w] if diagonal[w] > BLIND else 0.0
        for r in range(j + 1, k):
            below = part(a, r * row + j * SIDE, SIDE)
            for w in range(SIDE):
                below[w] *= one[w]
        above = part(a, (d + 1) * SIDE, (k - 1 - j) * SIDE)
        above[:] = 0


@compiled
def _run(count, layers, k, slope_out, factors, settings, steps, group):
    """The recursion in time; controls[t] = u[t+1], filtered[t] = q[t]."""
    alpha, k_p, dt, soma, apical = settings[0], settings[1], settings[2], settings[3], settings[4]
    row, hidden, t_end = k * SIDE, layers - 1, steps - 1
    state = group.state
    state[:] = 0
    integral, aim = part(state, 2 * layers * row, row), part(state, (2 * layers + 1) * row, row)
    slopes, before = part(state, (2 * layers + 2) * row, row), part(state, (2 * layers + 3) * row, row)
    output = part(state, hidden * row, row)
    for j in range(k):
        for w in range(count):
            slopes[j * SIDE + w] = factors[hidden] * slope_out[w, j]
    first = part(group.filtered, 0, row)
    first[:] = 0
    for t in range(t_end):
        control, q, filtered = (
            part(group.controls, t * row, row), part(group.filtered, t * row, row),
            part(group.filtered, (t + 1) * row, row),
        )  # fmt: skip
        for j in range(row):
            integral[j] += dt * (-output[j] - alpha * before[j])
            control[j] = integral[j] - k_p * output[j]
            filtered[j] = q[j] + apical * (before[j] - q[j])
        for i in range(layers):
            here, noise = part(state, i * row, row), part(state, (layers + i) * row, row)
            drawn = (i * t_end + t) * k
            for j in range(row):
                noise[j] -= apical * noise[j]
            if i < hidden:
                for r in range(0, k, TILE):
                    rows = min(TILE, k - r)
                    add_products(
                        (rows, 1, r + rows),
                        noise,
                        (r, 1, 0),
                        group.roots,
                        ((i * k + r) * k, k, 1),
                        group.within,
                        (drawn, 0, 1),
                    )
            else:
                xi = part(group.within, drawn * SIDE, row)
                for j in range(row):
                    noise[j] += slopes[j] * xi[j]
            if i == 0:
                for j in range(row):
                    aim[j] = noise[j]
            else:
                below = part(state, (i - 1) * row, row)
                for j in range(row):
                    aim[j] = noise[j] + below[j]
            add_products((k, 1, k), aim, (0, 1, 0), group.gains, (i * k * k, k, 1), group.filtered, ((t + 1) * k, 0, 1))
            for j in range(row):
                here[j] += soma * (aim[j] - here[j])
        for j in range(row):
            before[j] = control[j]


@compiled
def _correlate(count, k, steps, group, correlation):
    """The sum of q[t] u[t+1]^T."""
    group.products[:] = 0
    add_products((k, k, steps - 1), group.products, (0, k, 1), group.filtered, (0, 1, k), group.controls, (0, 1, k))
    for j in range(k):
        for c in range(k):
            one = part(group.products, (j * k + c) * SIDE, SIDE)
            for w in range(count):
                correlation[j, c] += one[w]


@compiled
def _look_back(k, steps, apical, hidden, group):
    """w, and L^T for the rows of Y."""
    row, kk = k * SIDE, k * k
    keep = group.later.dtype.type(1) - apical
    gram = part(group.wide, hidden * kk * SIDE, kk * SIDE)
    wide = part(group.wide, (hidden + 2) * kk * SIDE, (steps - 1) * row)
    last = part(group.later, (steps - 2) * row, row)
    last[:] = 0
    for t in range(steps - 3, -1, -1):
        now, after = part(group.later, t * row, row), part(group.later, (t + 1) * row, row)
        control = part(group.controls, (t + 1) * row, row)
        for j in range(row):
            now[j] = control[j] + keep * after[j]
    for j in range((steps - 1) * row):
        wide[j] = group.later[j]
    gram[:] = 0
    for r in range(0, k, TILE):
        rows = min(TILE, k - r)
        add_products((rows, r + rows, steps - 1), gram, (r * k, k, 1), wide, (r, 1, k), wide, (0, 1, k))
    _cholesky(gram, k, _inverse(hidden, k, group))
    outer = part(group.inner, kk * SIDE, kk * SIDE)
    for j in range(k):
        for c in range(k):
            source, out = part(gram, (c * k + j) * SIDE, SIDE), part(outer, (j * k + c) * SIDE, SIDE)
            for w in range(SIDE):
                out[w] = source[w]


@compiled
def _cross(i, k, steps, group):
    """zeta^T w of layer i, into products."""
    group.products[:] = 0
    drawn = i * (steps - 1) * k
    add_products((k, k, steps - 1), group.products, (0, k, 1), group.within, (drawn, 1, k), group.later, (0, 1, k))


@compiled
def _weigh(i, k, steps, hidden, group):
    """C^-T (zeta^T w - C^-1 J Y^T L^T) of hidden layer i, for the rows of J."""
    row, kk = k * SIDE, k * k
    root, gram = part(group.wide, i * kk * SIDE, kk * SIDE), part(group.wide, hidden * kk * SIDE, kk * SIDE)
    work, inverse = part(group.wide, (hidden + 1) * kk * SIDE, kk * SIDE), _inverse(i, k, group)
    overlap = np.empty(kk * SIDE, np.float64)
    given = part(group.overlap, i * kk * SIDE, kk * SIDE)
    for j in range(kk * SIDE):
        overlap[j] = given[j]
    for a in range(k):
        subtract_products((1, k, a), overlap, (a * k, 0, 1), root, (a * k, 0, 1), overlap, (0, 1, k))
        _times(k, part(overlap, a * row, row), part(inverse, a * SIDE, SIDE))
    _cross(i, k, steps, group)
    for j in range(kk * SIDE):
        work[j] = group.products[j]
    subtract_products((k, k, k), work, (0, k, 1), overlap, (0, k, 1), gram, (0, k, 1))
    for a in range(k - 1, -1, -1):
        subtract_products(
            (1, k, k - 1 - a), work, (a * k, 0, 1), root, ((a + 1) * k + a, 0, k), work, ((a + 1) * k, 1, k)
        )
        _times(k, part(work, a * row, row), part(inverse, a * SIDE, SIDE))
    for j in range(kk * SIDE):
        group.inner[j] = work[j]


@compiled
def _times(k, values, factor):
    """values (K,) times one number."""
    for j in range(k):
        one = part(values, j * SIDE, SIDE)
        for w in range(SIDE):
            one[w] *= factor[w]
