"""The simulated controller in the feedback phase: groups of SIDE samples, side by side in registers.

A group goes through all time points before the next one begins, so that its voltages stay in the second-level cache,
and its noise is drawn a few points ahead, into the memory in which the apical voltages of these points are then
gathered. The clamped input drives layer 1 with the same voltage all the time, which in deviations is zero.

Arrays of a group are flat, and numbers in them SIDE numbers, one for each sample (`credit.numerics.tiles`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit.methods.control.loops.arrays import Arrays, Noise
from credit.methods.control.loops.draws import draws_of, proceed_by
from credit.methods.control.loops.step import step
from credit.nets.differences import rates
from credit.numerics.compiled import compiled
from credit.numerics.normal_loops import STATE, begin
from credit.numerics.stack import table
from credit.numerics.threads import as_array, share
from credit.numerics.tiles import ALIGN, SIDE, add_shared, add_summed, aligned, next_part
from credit.numerics.views import part

AHEAD = 8  # time points whose noise is drawn at once: SIDE numbers a unit then fill whole rounds of the generators
WIDEST = 64  # outputs


class Net(NamedTuple):
    """By layer: kinds, leaks, sizes; weights, (n_i, n_{i-1}) each, one after the other from the second layer on (M, n);
    all Q (M, N, K)."""

    kinds: np.ndarray
    leaks: np.ndarray
    sizes: np.ndarray
    weights: np.ndarray
    feedback: np.ndarray


class Start(NamedTuple):
    """The feedforward state of all layers, (M, B, N), and the goal (M, B, K)."""

    pre: np.ndarray
    act: np.ndarray
    slope: np.ndarray
    goal: np.ndarray


class Group(NamedTuple):
    """Memory of a group, of all N units one after the other. pre, act, slope, soma, rate, drive (N,); ahead: noise
    and then apical voltages, by layer (AHEAD, n_i); before: the apical voltage now (N,); outputs: integral, control,
    applied, goal (4, K); controls (AHEAD, K): after each of the apical voltages."""

    pre: np.ndarray
    act: np.ndarray
    slope: np.ndarray
    soma: np.ndarray
    rate: np.ndarray
    drive: np.ndarray
    ahead: np.ndarray
    before: np.ndarray
    outputs: np.ndarray
    controls: np.ndarray


def pays(feedback: Sequence[Tensor]) -> bool:
    """Whether this is the faster loop: Q_i (M, n_i, n_L) with few outputs, since sums over samples are made by each."""
    return feedback[-1].shape[-1] <= WIDEST


@compiled
def _loop(first, last, net, start, draws, gains, settings, flags, steps, constants, sums):
    """Groups first to last - 1, counted through all members, of sums (M, groups, N, K). gains (M, L): of the noise."""
    k, units = start.goal.shape[2], net.sizes.sum()
    memory = np.empty(((7 + AHEAD) * units + (4 + AHEAD) * k) * SIDE + ALIGN, sums.dtype)
    states = np.empty((net.sizes.shape[0], STATE), np.uint32)
    for index in range(first, last):
        m, g = divmod(index, sums.shape[1])
        out = sums[m, g].reshape(units * k)
        _one(m, g, net, start, draws, gains[m], settings[m], flags, steps, constants, (memory, states), out)


@compiled
def _one(m, g, net, start, draws, gains, settings, flags, steps, constants, room, sums):
    """One group. room: memory for its numbers, and the states of its generators."""
    memory, states = room
    k, units, layers = start.goal.shape[2], net.sizes.sum(), net.sizes.shape[0]
    pre, at = next_part(memory, aligned(memory), units)
    act, at = next_part(memory, at, units)
    slope, at = next_part(memory, at, units)
    soma, at = next_part(memory, at, units)
    rate, at = next_part(memory, at, units)
    drive, at = next_part(memory, at, units)
    before, at = next_part(memory, at, units)
    ahead, at = next_part(memory, at, AHEAD * units)
    outputs, at = next_part(memory, at, 4 * k)
    controls, at = next_part(memory, at, AHEAD * k)
    group = Group(pre, act, slope, soma, rate, drive, ahead, before, outputs, controls)
    count = min(SIDE, start.goal.shape[1] - g * SIDE)
    first = g * SIDE
    for i in range(layers):
        if draws.keyed[i]:
            begin(draws.keys[i, m], g, states[i])
    _lanes(start.pre[m], first, count, pre)
    _lanes(start.act[m], first, count, act)
    _lanes(start.slope[m], first, count, slope)
    soma[:] = 0
    rate[:] = 0
    before[:] = 0
    outputs[:] = 0
    sums[:] = 0
    _lanes(start.goal[m], first, count, part(outputs, 3 * k * SIDE, k * SIDE))
    feedback = net.feedback[m].reshape(units * k)
    for t in range(steps - 1):
        slot = t % AHEAD
        _control(k, units, settings, flags, group)
        if t > 0:
            now = part(controls, (t - 1) % AHEAD * k * SIDE, k * SIDE)
            for j in range(k * SIDE):
                now[j] = outputs[k * SIDE + j]
        if slot == 0:
            if t > 0:
                _gather(k, net.sizes, group, sums)
            controls[:] = 0
            _draw(m, g, t, count, net.sizes, draws, states, group)
        _advance(m, k, slot, net, feedback, gains, settings, flags, constants, group)
    _gather(k, net.sizes, group, sums)


@compiled
def _lanes(source, first, count, out):
    """out (n,): of rows first to first + count - 1 of source (B, n), zero for samples that are not there."""
    for u in range(source.shape[1]):
        one = part(out, u * SIDE, SIDE)
        for w in range(count):
            one[w] = source[first + w, u]
        for w in range(count, SIDE):
            one[w] = 0


@compiled
def _control(k, units, settings, flags, group):
    """One step of the controller."""
    alpha, k_p, dt = settings[0], settings[1], settings[2]
    row = k * SIDE
    output = part(group.rate, (units - k) * SIDE, row)
    integral, control = part(group.outputs, 0, row), part(group.outputs, row, row)
    applied, goal = part(group.outputs, 2 * row, row), part(group.outputs, 3 * row, row)
    for j in range(row):
        integral[j], applied[j], control[j] = step(
            goal[j] - output[j], integral[j], control[j], alpha, k_p, dt, flags.integral_leaks, flags.proactive
        )


@compiled
def _draw(m, g, t, count, sizes, draws, states, group):
    """The noise of the next AHEAD time points; none for samples that are not there, or where the layer has none."""
    start = 0
    for i in range(sizes.shape[0]):
        n = sizes[i] * SIDE
        out = part(group.ahead, start, AHEAD * n)
        proceed_by(draws, i, m, g, t * n, states[i], out)
        if count < SIDE:
            for j in range(AHEAD * sizes[i]):
                for w in range(count, SIDE):
                    out[j * SIDE + w] = 0
        start += AHEAD * n


@compiled
def _gather(k, sizes, group, sums):
    """sums (N, K) += apical voltages times the control after each, of the last AHEAD points."""
    ahead, unit = 0, 0
    half = AHEAD // 2
    for i in range(sizes.shape[0]):
        n = sizes[i]
        add_summed(
            (n, k, half),
            sums,
            (unit * k, k, 1),
            group.ahead,
            (ahead, 1, n, half * n),
            group.controls,
            (0, 1, k, half * k),
        )
        unit += n
        ahead += AHEAD * n


@compiled
def _advance(m, k, slot, net, feedback, gains, settings, flags, constants, group):
    """Voltages and rates of all layers one step further; downwards where transmission is not instant, so that the rates
    below are those of before."""
    layers = net.sizes.shape[0]
    ends, weights, upper = net.sizes.cumsum(), net.weights[m], np.zeros(layers + 1, np.int64)
    for i in range(1, layers):
        upper[i + 1] = upper[i] + net.sizes[i] * net.sizes[i - 1]
    for j in range(layers):
        i = j if flags.instant else layers - 1 - j
        n = net.sizes[i]
        unit = ends[i] - n
        size, at = n * SIDE, unit * SIDE
        drive, before = part(group.drive, at, size), part(group.before, at, size)
        apical = part(group.ahead, AHEAD * at + slot * size, size)
        soma, rate = part(group.soma, at, size), part(group.rate, at, size)
        drive[:] = 0
        add_shared((1, n, k), drive, (0, 0, 1), group.outputs, (2 * k, 0, 1), feedback, (unit * k, k, 1))
        _filter(drive, before, apical, settings[4], gains[i])
        drive[:] = 0
        if i > 0:
            below = net.sizes[i - 1]
            add_shared((1, n, below), drive, (0, 0, 1), group.rate, (unit - below, 0, 1), weights, (upper[i], below, 1))
        for k_ in range(size):
            soma[k_] += settings[3] * (apical[k_] + drive[k_] - soma[k_])
        rates(
            net.kinds[i], net.leaks[i], soma, part(group.pre, at, size), part(group.act, at, size),
            part(group.slope, at, size), rate, constants,
        )  # fmt: skip


@compiled
def _filter(drive, before, apical, apical_gain, gain):
    """before + apical_gain (drive - before) + gain noise, in the place of the noise and of before."""
    for j in range(drive.shape[0]):
        value = before[j] + apical_gain * (drive[j] - before[j]) + gain * apical[j]
        apical[j] = value
        before[j] = value


def correlated(a: Arrays, noise: Noise | None, steps: int) -> list[Tensor]:
    """Sum over t and samples of v_i^a[t] u[t+1]^T, (M, n_i, K) by layer; steps: stored time points."""
    members, batch, k = a.goal.shape
    sizes = [q.shape[-2] for q in a.feedback]
    groups, rows = -(-batch // SIDE), as_array(a.rows())
    sums = a.goal.new_empty(members, groups, sum(sizes), k)
    gains = np.zeros((members, len(sizes)), rows.dtype) if noise is None else table(noise.gains, members, rows.dtype)
    upper = [a.goal.new_empty(members, 0), *(w.flatten(1) for w in a.weights[1:])]
    net = Net(a.kinds, a.leaks, np.array(sizes), as_array(torch.cat(upper, -1)), rows)
    start = Start(*(as_array(torch.cat(x, -1)) for x in (a.pre, a.act, a.slopes)), as_array(a.goal))
    numbers = [None] * len(sizes) if noise is None else noise.numbers()
    share(
        _loop, members * groups, net, start, draws_of(numbers, members, a.goal.dtype), gains, a.settings, a.flags,
        steps, a.constants, sums.numpy(),
    )  # fmt: skip
    return list(sums.sum(1).split(sizes, -2))
