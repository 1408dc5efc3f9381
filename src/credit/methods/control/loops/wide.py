"""The simulated controller for wide nets on the CPU: matrix products, and everything between them in one pass.

The clamped input drives layer 1 with the same voltage all the time, which in deviations is zero: its product, the
largest of most nets, is not needed. An output feedback Q_L that is the identity needs none either.
"""

from __future__ import annotations

import numpy as np
import torch

from credit.methods.control.loops.arrays import Arrays, Result
from credit.methods.control.rates import rates, signals
from credit.numerics.compiled import compiled
from credit.numerics.threads import share


@compiled
def _control(first, last, target, output, integral, control, applied, settings, integral_leaks, proactive):
    """One step of the controller for the samples first to last - 1, counted through all members."""
    for sample in range(first, last):
        m, b = divmod(sample, target.shape[1])
        alpha, k_p, dt = settings[m, 0], settings[m, 1], settings[m, 2]
        for k in range(target.shape[2]):
            error = target[m, b, k] - output[m, b, k]
            leaking = integral[m, b, k] if integral_leaks else control[m, b, k]
            integral[m, b, k] += dt * (error - alpha * leaking)
            new = integral[m, b, k] + k_p * error
            applied[m, b, k] = new if proactive else control[m, b, k]
            control[m, b, k] = new


@compiled
def _advance(
    first, last, i, t, kind, leak, rule, collect, filtered, drive, noise, whose, gains, keep, apical, basal, soma, pre,
    act, slope, rate, signal, total, settings, constants,
):  # fmt: skip
    """Voltages and rates of layer i one step further; its teaching signals and their sum on request.

    Without a filter, drive is the apical voltage. noise: standard normal (S, T - 1, B, n_i), empty without;
    whose: that of each member, (M,).
    """
    shift = np.empty(soma.shape[2], soma.dtype)
    for sample in range(first, last):
        m, b = divmod(sample, soma.shape[1])
        va, vb, v = apical[m, b], basal[m, b], soma[m, b]
        if filtered:
            aim, gain = drive[m, b], settings[m, 4]
            for j in range(v.shape[0]):
                va[j] += gain * (aim[j] - va[j])
        if noise.shape[0] > 0 and keep[m, b]:
            xi, gain = noise[whose[m], t, b], gains[m, i]
            for j in range(v.shape[0]):
                va[j] += gain * xi[j]
        gain = settings[m, 3]
        for j in range(v.shape[0]):
            v[j] += gain * (va[j] + vb[j] - v[j])
        rates(kind, leak, v, pre[m, b], act[m, b], slope[m, b], rate[m, b], constants)
        if collect == 1:
            one, sums = signal[m, b], total[m, b]
            for j in range(v.shape[0]):
                shift[j] = v[j] - vb[j]
            signals(rule, kind, leak, vb, shift, pre[m, b], act[m, b], slope[m, b], one, constants)
            for j in range(v.shape[0]):
                sums[j] += one[j]


def run(a: Arrays, rule: int, collect: int) -> Result:
    """The simulation; what `rule` and `collect` mean is said in `credit.methods.control.loops.small.loop`."""
    layers, samples = range(len(a.pre)), a.goal.shape[0] * a.goal.shape[1]
    goal = a.kept_goal()
    integral, control, applied = (torch.zeros_like(goal) for _ in range(3))
    apical, basal, soma, rate, signal, total = ([torch.zeros_like(v) for v in a.pre] for _ in range(6))
    drive = [torch.empty_like(v) for v in a.pre] if a.filtered else apical
    rows = [q.mT.contiguous() for q in a.feedback]
    identity = torch.equal(a.feedback[-1], torch.eye(goal.shape[-1], dtype=goal.dtype).expand_as(a.feedback[-1]))
    if identity:
        rows.pop()
    below = {0: [], 1: a.weights[1:], 2: a.feedback}[collect]
    sums = [torch.zeros_like(q) for q in below]
    views = [
        (
            int(a.kinds[i]), a.leaks[i], rule, collect, a.filtered, drive[i].numpy(), a.noise[i], a.whose, a.gains,
            a.keep,
            *(x[i].numpy() for x in (apical, basal, soma, a.pre, a.act, a.slopes, rate, signal, total)), a.settings,
            a.constants,
        )
        for i in layers
    ]  # fmt: skip
    controller = [x.numpy() for x in (goal, rate[-1], integral, control, applied)]
    for t in range(a.steps - 1):
        share(_control, samples, *controller, a.settings, a.integral_leaks, a.proactive)
        if collect == 2:
            for one, v in zip(sums, apical, strict=True):
                one.baddbmm_(v.mT, control)
        for q, out in zip(rows, drive, strict=False):
            torch.bmm(applied, q, out=out)
        if identity:
            drive[-1].copy_(applied)
        for i in layers if a.instant else reversed(layers):  # downwards, the rates below are those of before
            if i > 0:
                torch.bmm(rate[i - 1], a.weights[i].mT, out=basal[i])
            share(_advance, samples, i, t, *views[i])
        if collect == 1:
            for i, one in enumerate(sums):
                one.baddbmm_(signal[i + 1].mT, rate[i])
    return Result(apical, basal, soma, rate, control, total, sums)
