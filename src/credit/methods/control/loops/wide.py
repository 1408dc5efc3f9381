"""The simulated controller for wide nets on the CPU: matrix products, and everything between them in one pass.

The clamped input drives layer 1 with the same voltage all the time, which in deviations is zero: its product, the
largest of most nets, is not needed. An output feedback Q_L that is the identity needs none either.
"""

from __future__ import annotations

import numpy as np
import torch

from credit.methods.control.loops.arrays import Arrays, Result, Task
from credit.methods.control.loops.step import step
from credit.nets.differences import rates, signals
from credit.numerics.compiled import compiled
from credit.numerics.lanes import add, blend, blend_sum, subtract
from credit.numerics.threads import share


@compiled
def _control(first, last, target, output, integral, control, applied, settings, integral_leaks, proactive):
    """One step of the controller for the samples first to last - 1, counted through all members."""
    for sample in range(first, last):
        m, b = divmod(sample, target.shape[1])
        alpha, k_p, dt = settings[m, 0], settings[m, 1], settings[m, 2]
        aim, rate, total, u, seen = target[m, b], output[m, b], integral[m, b], control[m, b], applied[m, b]
        for k in range(aim.shape[0]):
            error = aim[k] - rate[k]
            total[k], seen[k], u[k] = step(error, total[k], u[k], alpha, k_p, dt, integral_leaks, proactive)


@compiled
def _advance(first, last, t, layer, state, noise, keep, settings, filtered, task, constants):
    """Voltages and rates of a layer one step further; its teaching signals and their sum on request.

    Plain tuples: this is called for every layer at every time point, and named ones are slower to hand over. layer:
    activation, see `nets.differences`, and feedforward state (M, B, n). state: Q u, which without a filter is the
    apical voltage, then voltages, rates, teaching signals and their sum, (M, B, n). noise: the layer's part of a
    `Disturbance`. task: what to collect, and the number of the learning rule.
    """
    kind, leak, pre, act, slope = layer
    drive, apical, basal, soma, rate, signal, total = state
    draws, whose, gains = noise
    collect, rule = task
    shift = np.empty(soma.shape[2], soma.dtype)
    for sample in range(first, last):
        m, b = divmod(sample, soma.shape[1])
        va, vb, v = apical[m, b], basal[m, b], soma[m, b]
        if filtered:
            blend(va, drive[m, b], settings[m, 4])
        if draws.shape[0] > 0 and keep[m, b]:
            xi, gain = draws[whose[m], t, b], gains[m]
            for j in range(v.shape[0]):
                va[j] += gain * xi[j]
        blend_sum(v, va, vb, settings[m, 3])
        rates(kind, leak, v, pre[m, b], act[m, b], slope[m, b], rate[m, b], constants)
        if collect == 1:
            one = signal[m, b]
            subtract(v, vb, shift)
            signals(rule, kind, leak, vb, shift, pre[m, b], act[m, b], slope[m, b], one, constants)
            add(total[m, b], one)


def run(a: Arrays, task: Task) -> Result:
    """The simulation."""
    layers, samples = range(len(a.pre)), a.goal.shape[0] * a.goal.shape[1]
    goal = a.kept_goal()
    integral, control, applied = (torch.zeros_like(goal) for _ in range(3))
    apical, basal, soma, rate, signal, total = ([torch.zeros_like(v) for v in a.pre] for _ in range(6))
    drive = [torch.empty_like(v) for v in a.pre] if a.flags.filtered else apical
    rows = [q.mT.contiguous() for q in a.feedback]
    identity = torch.equal(a.feedback[-1], torch.eye(goal.shape[-1], dtype=goal.dtype).expand_as(a.feedback[-1]))
    if identity:
        rows.pop()
    below = {0: [], 1: a.weights[1:], 2: a.feedback}[task.collect]
    sums = [torch.zeros_like(q) for q in below]
    views = [
        (
            (int(a.kinds[i]), a.leaks[i], *(x[i].numpy() for x in (a.pre, a.act, a.slopes))),
            tuple(x[i].numpy() for x in (drive, apical, basal, soma, rate, signal, total)),
            (a.noise.draws[i], a.noise.whose, np.ascontiguousarray(a.noise.gains[:, i])), a.keep, a.settings,
            a.flags.filtered, (task.collect, task.rule), a.constants,
        )
        for i in layers
    ]  # fmt: skip
    controller = [x.numpy() for x in (goal, rate[-1], integral, control, applied)]
    for t in range(task.steps - 1):
        share(_control, samples, *controller, a.settings, a.flags.integral_leaks, a.flags.proactive)
        if task.collect == 2:
            for one, v in zip(sums, apical, strict=True):
                one.baddbmm_(v.mT, control)
        for q, out in zip(rows, drive, strict=False):
            torch.bmm(applied, q, out=out)
        if identity:
            drive[-1].copy_(applied)
        for i in layers if a.flags.instant else reversed(layers):  # downwards, the rates below are those of before
            if i > 0:
                torch.bmm(rate[i - 1], a.weights[i].mT, out=basal[i])
            share(_advance, samples, t, *views[i])
        if task.collect == 1:
            for i, one in enumerate(sums):
                one.baddbmm_(signal[i + 1].mT, rate[i])
    return Result(apical, basal, soma, rate, control, total, sums)
