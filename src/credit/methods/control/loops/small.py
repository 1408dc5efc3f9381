"""The simulated controller for nets of tens of units, compiled: nothing but arithmetic between two time points.

Samples are taken in groups of LANES; every voltage of a group lies side by side in memory, so that one instruction
serves several samples, and the whole state of a group stays in the fastest cache. Groups are independent, and sums are
formed in a fixed order, so that results depend neither on the CPU's vector width nor on threads.
"""

from __future__ import annotations

import numpy as np
import torch

from credit.methods.control.loops.arrays import Arrays, Result
from credit.methods.control.rates import rates, signals
from credit.numerics.compiled import compiled
from credit.numerics.threads import as_array, share

LANES = 32


@compiled
def _load(source, first, count, keep, out):
    """out[j, lane] = source[first + lane, j]; zero for lanes that are not kept or not there."""
    out[:] = 0
    for w in range(count):
        if keep[first + w]:
            for j in range(source.shape[1]):
                out[j, w] = source[first + w, j]


@compiled
def _store(state, first, count, out):
    """The reverse of `_load`."""
    for w in range(count):
        for j in range(out.shape[1]):
            out[first + w, j] = state[j, w]


@compiled
def _disturb(noise, gain, first, count, keep, out):
    """out[j, lane] += gain noise[first + lane, j], where the lane is kept."""
    for w in range(count):
        if keep[first + w]:
            for j in range(noise.shape[1]):
                out[j, w] += gain * noise[first + w, j]


@compiled
def _apply(matrix, vectors, out):
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
def _outer(left, right, out):
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
def _fold(lanes, out):
    """out[k] = sum over lanes."""
    for k in range(out.shape[0]):
        total = lanes[k, 0]
        for w in range(1, LANES):
            total += lanes[k, w]
        out[k] = total


@compiled
def _control(target, output, integral, control, applied, alpha, k_p, dt, integral_leaks, proactive):
    """One step of the controller; flat arrays."""
    for k in range(target.shape[0]):
        error = target[k] - output[k]
        leaking = integral[k] if integral_leaks else control[k]
        integral[k] += dt * (error - alpha * leaking)
        new = integral[k] + k_p * error
        applied[k] = new if proactive else control[k]
        control[k] = new


@compiled
def _blend(state, aim, gain):
    """state += gain (aim - state); flat arrays."""
    for k in range(state.shape[0]):
        state[k] += gain * (aim[k] - state[k])


@compiled
def _blend_sum(state, aim, other, gain):
    """state += gain (aim + other - state); flat arrays."""
    for k in range(state.shape[0]):
        state[k] += gain * (aim[k] + other[k] - state[k])


@compiled
def _subtract(a, b, out):
    """out = a - b; flat arrays."""
    for k in range(out.shape[0]):
        out[k] = a[k] - b[k]


@compiled
def _add(total, values):
    """total += values; flat arrays."""
    for k in range(total.shape[0]):
        total[k] += values[k]


@compiled
def loop(
    first, last, at, kinds, leaks, weights, feedback, pre, act, slope, goal, noise, whose, gains, keep, settings, flags,
    steps, rule, constants, end, control_end, totals, sums,
):  # fmt: skip
    """Groups first to last - 1, counted through all members.

    at: first unit of every layer, and their number N. weights: (M, n_i, n_{i-1}) by layer, the first is unused.
    feedback: all Q_i (M, N, n_L). pre, act, slope: (M, B, N); goal (M, B, n_L). noise: standard normal
    (S, T - 1, B, n_i) by layer, empty without; whose: that of each member (M,); gains: its factors (M, L). keep:
    samples that count (M, B). settings: alpha, k_p, dt, somatic and apical gain (M, 5). flags: instant transmission,
    proactive, leak of the integral, filtered apical voltage, and what to sum: 0 nothing, 1 teaching, 2 apical voltage
    times next control.
    end: apical, basal, somatic voltages and rates at the end (4, M, B, N), control_end (M, B, n_L). totals: summed
    teaching signals (M, B, N). sums: (M, groups, size), signals times rates below layer by layer, or apical voltages
    times control.
    """
    instant, proactive, integral_leaks, filtered, collect = flags
    layers, units, groups = kinds.shape[0], pre.shape[2], sums.shape[1]
    state = np.empty((10, units, LANES), pre.dtype)
    v0, r0, slopes, apical, basal = state[0], state[1], state[2], state[3], state[4]
    soma, rate, drive, signal, total = state[5], state[6], state[7], state[8], state[9]
    flat = state.reshape(10, units * LANES)
    v0s, r0s, slopess, apicals, basals = flat[0], flat[1], flat[2], flat[3], flat[4]
    somas, rates_, drives, signals_, totals_ = flat[5], flat[6], flat[7], flat[8], flat[9]
    outputs = np.empty((4, goal.shape[2], LANES), pre.dtype)
    target, control, integral, applied = outputs[0], outputs[1], outputs[2], outputs[3]
    gathered = np.empty((sums.shape[2], LANES), pre.dtype)
    noisy = noise[0].shape[0] > 0
    for group in range(first, last):
        m, g = divmod(group, groups)
        start = g * LANES
        count = min(LANES, pre.shape[1] - start)
        alpha, k_p, dt, soma_gain, apical_gain = settings[m]
        state[:] = 0
        outputs[:] = 0
        gathered[:] = 0
        _load(pre[m], start, count, keep[m], v0)
        _load(act[m], start, count, keep[m], r0)
        _load(slope[m], start, count, keep[m], slopes)
        _load(goal[m], start, count, keep[m], target)
        for t in range(steps - 1):
            _control(
                target.reshape(-1), rates_[at[layers - 1] * LANES :], integral.reshape(-1), control.reshape(-1),
                applied.reshape(-1), alpha, k_p, dt, integral_leaks, proactive,
            )  # fmt: skip
            if collect == 2:
                _outer(apical, control, gathered)
            if filtered:
                _apply(feedback[m], applied, drive)
                _blend(apicals, drives, apical_gain)
            else:
                _apply(feedback[m], applied, apical)
            if noisy:
                for i in range(layers):
                    _disturb(noise[i][whose[m], t], gains[m, i], start, count, keep[m], apical[at[i] :])
            for step in range(layers):
                i = step if instant else layers - 1 - step  # downwards, the rates below are those of before
                if i > 0:
                    _apply(weights[i][m], rate[at[i - 1] : at[i]], basal[at[i] : at[i + 1]])
                a, b = at[i] * LANES, at[i + 1] * LANES
                _blend_sum(somas[a:b], apicals[a:b], basals[a:b], soma_gain)
                rates(kinds[i], leaks[i], somas[a:b], v0s[a:b], r0s[a:b], slopess[a:b], rates_[a:b], constants)
            if collect == 1:
                _subtract(somas, basals, drives)
                done = 0
                for i in range(layers):
                    a, b = at[i] * LANES, at[i + 1] * LANES
                    signals(
                        rule, kinds[i], leaks[i], basals[a:b], drives[a:b], v0s[a:b], r0s[a:b], slopess[a:b],
                        signals_[a:b], constants,
                    )  # fmt: skip
                    if i > 0:
                        _outer(signal[at[i] : at[i + 1]], rate[at[i - 1] : at[i]], gathered[done:])
                        done += (at[i + 1] - at[i]) * (at[i] - at[i - 1])
                _add(totals_, signals_)
        for kind, values in enumerate((apical, basal, soma, rate)):
            _store(values, start, count, end[kind, m])
        _store(control, start, count, control_end[m])
        _store(total, start, count, totals[m])
        _fold(gathered, sums[m, g])


def run(a: Arrays, rule: int, collect: int) -> Result:
    """The simulation; what `rule` and `collect` mean is said in `loop`."""
    sizes = [v.shape[-1] for v in a.pre]
    members, batch, n_out = a.goal.shape
    shapes = {0: [], 1: list(zip(sizes[1:], sizes[:-1], strict=True)), 2: [(n, n_out) for n in sizes]}[collect]
    lengths = [n * k for n, k in shapes]
    groups = -(-batch // LANES)
    end = a.goal.new_empty(4, members, batch, sum(sizes))
    control, total = torch.empty_like(a.goal), torch.empty_like(end[0])
    sums = a.goal.new_empty(members, groups, sum(lengths))
    share(
        loop, members * groups, np.cumsum([0, *sizes]), a.kinds, a.leaks, tuple(map(as_array, a.weights)),
        *(as_array(torch.cat(x, axis)) for x, axis in ((a.feedback, -2), (a.pre, -1), (a.act, -1), (a.slopes, -1))),
        as_array(a.goal), tuple(a.noise), a.whose, a.gains, a.keep, a.settings,
        (a.instant, a.proactive, a.integral_leaks, a.filtered, collect), a.steps, rule, a.constants, end.numpy(),
        control.numpy(), total.numpy(), sums.numpy(),
    )  # fmt: skip
    summed = sums.sum(1).split(lengths, -1) if collect else []
    blocks = [s.unflatten(-1, shape) for s, shape in zip(summed, shapes, strict=True)]
    apical, basal, soma, rate = (list(x.split(sizes, -1)) for x in end)
    return Result(apical, basal, soma, rate, control, list(total.split(sizes, -1)), blocks)
