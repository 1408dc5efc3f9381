"""The simulated controller for nets of tens of units, compiled: nothing but arithmetic between two time points.

Samples are taken in groups of LANES; every voltage of a group lies side by side in memory (see `numerics.lanes`), and
the whole state of a group stays in the fastest cache. Groups are independent, and sums are formed in a fixed order, so
that results depend neither on the CPU's vector width nor on threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit.methods.control.loops.arrays import Arrays, Result, Task
from credit.methods.control.loops.step import step
from credit.nets.differences import rates, signals
from credit.numerics.compiled import compiled
from credit.numerics.lanes import (
    LANES,
    add,
    add_scaled,
    apply,
    blend,
    blend_sum,
    fold,
    load,
    outer,
    store,
    subtract,
)  # fmt: skip
from credit.numerics.threads import as_array, share

SMALL = 6000  # products per sample and step, up to which this is the faster loop


class Net(NamedTuple):
    """at: first unit of every layer, and their number N. kinds, leaks: of activations, see `nets.differences`.
    weights: (M, n_i, n_{i-1}) by layer, the first is unused. feedback: all Q_i, (M, N, n_L)."""

    at: np.ndarray
    kinds: np.ndarray
    leaks: np.ndarray
    weights: tuple[np.ndarray, ...]
    feedback: np.ndarray


class Start(NamedTuple):
    """The feedforward state of all layers, (M, B, N), and the goal (M, B, n_L)."""

    pre: np.ndarray
    act: np.ndarray
    slope: np.ndarray
    goal: np.ndarray


class Out(NamedTuple):
    """end: apical, basal, somatic voltages and rates at the end, (4, M, B, N), control (M, B, n_L). totals: summed
    teaching signals, (M, B, N). sums: (M, groups, size), signals times rates below layer by layer, or apical voltages
    times control."""

    end: np.ndarray
    control: np.ndarray
    totals: np.ndarray
    sums: np.ndarray


def pays(weights: Sequence[Tensor], feedback: Sequence[Tensor]) -> bool:
    """Whether this loop is faster than that for wide nets; W_i (M, n_i, n_{i-1}) and Q_i (M, n_i, n_L) by layer."""
    return sum(t.shape[-2] * t.shape[-1] for t in [*weights[1:], *feedback]) <= SMALL


@compiled
def _loop(first, last, net, begin, keep, noise, settings, flags, task, constants, out):
    """Groups first to last - 1, counted through all members; see `loops.arrays` for the arguments."""
    at, kinds, leaks, weights, feedback = net
    pre, act, slope, goal = begin
    end, control_end, totals, sums = out
    draws, whose, gains = noise
    steps, collect, rule = task
    layers, units, groups = kinds.shape[0], pre.shape[2], sums.shape[1]
    state = np.empty((10, units, LANES), pre.dtype)
    v0, r0, slopes, apical, basal = state[0], state[1], state[2], state[3], state[4]
    soma, rate, drive, signal, total = state[5], state[6], state[7], state[8], state[9]
    flat = state.reshape(10, units * LANES)
    v0s, r0s, slopess, apicals, basals = flat[0], flat[1], flat[2], flat[3], flat[4]
    somas, rates_, drives, signals_, totals_ = flat[5], flat[6], flat[7], flat[8], flat[9]
    outputs = np.empty((4, goal.shape[2], LANES), pre.dtype)
    target, control, applied = outputs[0], outputs[1], outputs[2]
    flat = outputs.reshape(4, goal.shape[2] * LANES)
    targets, controls, applieds, integrals = flat[0], flat[1], flat[2], flat[3]
    gathered = np.empty((sums.shape[2], LANES), pre.dtype)
    noisy, top = draws[0].shape[0] > 0, at[layers - 1] * LANES
    for group in range(first, last):
        m, g = divmod(group, groups)
        start = g * LANES
        count = min(LANES, pre.shape[1] - start)
        alpha, k_p, dt, soma_gain, apical_gain = settings[m]
        state[:] = 0
        outputs[:] = 0
        gathered[:] = 0
        load(pre[m], start, count, keep[m], v0)
        load(act[m], start, count, keep[m], r0)
        load(slope[m], start, count, keep[m], slopes)
        load(goal[m], start, count, keep[m], target)
        for t in range(steps - 1):
            for k in range(targets.shape[0]):
                error = targets[k] - rates_[top + k]
                integrals[k], applieds[k], controls[k] = step(
                    error, integrals[k], controls[k], alpha, k_p, dt, flags.integral_leaks, flags.proactive
                )
            if collect == 2:
                outer(apical, control, gathered)
            if flags.filtered:
                apply(feedback[m], applied, drive)
                blend(apicals, drives, apical_gain)
            else:
                apply(feedback[m], applied, apical)
            if noisy:
                for i in range(layers):
                    add_scaled(draws[i][whose[m], t], gains[m, i], start, count, keep[m], apical[at[i] :])
            for k in range(layers):
                i = k if flags.instant else layers - 1 - k  # downwards, the rates below are those of before
                if i > 0:
                    apply(weights[i][m], rate[at[i - 1] : at[i]], basal[at[i] : at[i + 1]])
                a, b = at[i] * LANES, at[i + 1] * LANES
                blend_sum(somas[a:b], apicals[a:b], basals[a:b], soma_gain)
                rates(kinds[i], leaks[i], somas[a:b], v0s[a:b], r0s[a:b], slopess[a:b], rates_[a:b], constants)
            if collect == 1:
                subtract(somas, basals, drives)
                done = 0
                for i in range(layers):
                    a, b = at[i] * LANES, at[i + 1] * LANES
                    signals(
                        rule, kinds[i], leaks[i], basals[a:b], drives[a:b], v0s[a:b], r0s[a:b], slopess[a:b],
                        signals_[a:b], constants,
                    )  # fmt: skip
                    if i > 0:
                        outer(signal[at[i] : at[i + 1]], rate[at[i - 1] : at[i]], gathered[done:])
                        done += (at[i + 1] - at[i]) * (at[i] - at[i - 1])
                add(totals_, signals_)
        for kind, values in enumerate((apical, basal, soma, rate)):
            store(values, start, count, end[kind, m])
        store(control, start, count, control_end[m])
        store(total, start, count, totals[m])
        fold(gathered, sums[m, g])


def run(a: Arrays, task: Task) -> Result:
    """The simulation."""
    sizes = [v.shape[-1] for v in a.pre]
    members, batch, n_out = a.goal.shape
    shapes = {0: [], 1: list(zip(sizes[1:], sizes[:-1], strict=True)), 2: [(n, n_out) for n in sizes]}[task.collect]
    lengths = [n * k for n, k in shapes]
    groups = -(-batch // LANES)
    end = a.goal.new_empty(4, members, batch, sum(sizes))
    control, total = torch.empty_like(a.goal), torch.empty_like(end[0])
    sums = a.goal.new_empty(members, groups, sum(lengths))
    rows = as_array(a.rows())
    net = Net(np.cumsum([0, *sizes]), a.kinds, a.leaks, tuple(map(as_array, a.weights)), rows)
    begin = Start(*(as_array(torch.cat(x, -1)) for x in (a.pre, a.act, a.slopes)), as_array(a.goal))
    out = Out(*(t.numpy() for t in (end, control, total, sums)))
    share(_loop, members * groups, net, begin, a.keep, a.noise, a.settings, a.flags, task, a.constants, out)
    summed = sums.sum(1).split(lengths, -1) if task.collect else []
    blocks = [s.unflatten(-1, shape) for s, shape in zip(summed, shapes, strict=True)]
    apical, basal, soma, rate = (list(x.split(sizes, -1)) for x in end)
    return Result(apical, basal, soma, rate, control, list(total.split(sizes, -1)), blocks)
