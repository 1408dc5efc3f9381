"""The recursion of `credit.methods.control.linearised` compiled for the CPU, and the feedback phase linearised with it.

In the feedback phase the filtered noise is n_i[t+1] = (1 - g) n_i[t] + s xi_i[t] and the apical voltage Q_i q + n_i,
q the filtered control. Only J_i n_i acts on the output, and the filter commutes with J_i; likewise

    sum_t n_i[t] u[t+1]^T = s sum_t xi_i[t] w[t]^T,    w[t] = u[t+2] + (1 - g) w[t+1],

so that the noise is touched by two matrix products, and by nothing else: see `credit.methods.control.noise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from credit.methods.control.controller import Controller
from credit.methods.control.frame import Deviation
from credit.methods.control.noise import Later, Source
from credit.nets.jacobian import chain
from credit.numerics.compiled import compiled
from credit.numerics.stack import Number, member, table
from credit.numerics.threads import as_array, share


@dataclass(frozen=True)
class Linear:
    """A linear run: sum of the applied control; its k-fold filtered values at the end, k = 1 ... L, each (M, B, n_L);
    change of the output and control at the end; every control u[1], ..., u[T-1] (M, B, T - 1, n_L); sum over time and
    samples of q[t] u[t+1]^T (M, n_L, n_L)."""

    control_sum: Tensor
    filters: list[Tensor]
    output: Tensor
    control: Tensor
    controls: Tensor
    correlation: Tensor


@compiled
def _loop(
    first, last, gains, goal, noise, settings, flags, steps, totals, filters, outputs, ends, controls, correlations
):
    """Samples first to last - 1, counted through all members. gains: M_i^T (M, B, L, n_L, n_L); noise: J_i xi_i, scaled
    (M, B, L, T - 1, n_L), empty without; settings: alpha, k_p, dt, somatic and apical gain (M, 5); flags: proactive,
    and whether controls and correlations are wanted. The rest is a `Linear`, filled sample by sample."""
    proactive, integral_leaks, recorded = flags
    layers, n = gains.shape[2], goal.shape[2]
    noisy = noise.shape[0] > 0
    x, disturbed = np.empty((layers, n), goal.dtype), np.empty((layers, n), goal.dtype)
    vectors = np.empty((5, n), goal.dtype)
    integral, control, applied, q, aim = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4]
    for sample in range(first, last):
        m, b = divmod(sample, goal.shape[1])
        alpha, k_p, dt, soma_gain, apical_gain = settings[m]
        target, total, chained, correlation = goal[m, b], totals[m, b], filters[m, b], correlations[m, b]
        x[:] = 0
        disturbed[:] = 0
        vectors[:] = 0
        total[:] = 0
        chained[:] = 0
        correlation[:] = 0
        for t in range(steps - 1):
            for k in range(n):
                error = target[k] - x[layers - 1, k]
                leaking = integral[k] if integral_leaks else control[k]
                integral[k] += dt * (error - alpha * leaking)
                new = integral[k] + k_p * error
                applied[k] = new if proactive else control[k]
                control[k] = new
            if recorded:
                for j in range(n):
                    controls[m, b, t, j] = control[j]
                    row = correlation[j]
                    for k in range(n):
                        row[k] += q[j] * control[k]
            for k in range(n):
                q[k] += apical_gain * (applied[k] - q[k])
                total[k] += applied[k]
                aim[k] = applied[k]
            for i in range(layers):
                z = chained[i]
                for k in range(n):
                    z[k] += soma_gain * (aim[k] - z[k])
                    aim[k] = z[k]
            for i in range(layers):
                here = x[i]
                aim[:] = 0
                if i > 0:
                    aim[:] = x[i - 1]
                for j in range(n):
                    weight, row = q[j], gains[m, b, i, j]
                    for k in range(n):
                        aim[k] += weight * row[k]
                if noisy:
                    state, xi = disturbed[i], noise[m, b, i, t]
                    for k in range(n):
                        state[k] += xi[k] - apical_gain * state[k]
                        aim[k] += state[k]
                for k in range(n):
                    here[k] += soma_gain * (aim[k] - here[k])
        outputs[m, b] = x[layers - 1]
        ends[m, b] = control


def linear_run(
    gains: Sequence[Tensor], goal: Tensor, controller: Controller, noise: Tensor | None = None, recorded: bool = False
) -> Linear:
    """The recursion for M_i (M, B, n_L, n_L) by layer towards goal (M, B, n_L), with instant transmission.

    noise: J_i xi_i times the factor of the noise, (M, B, L, T - 1, n_L). recorded: whether controls and correlation
    are wanted; they are empty without.
    """
    if goal.device.type != "cpu":
        return _stepwise(gains, goal, controller, noise, recorded)
    c, (members, batch, n) = controller, goal.shape
    layers, steps = len(gains), c.steps
    dtype = as_array(goal).dtype
    settings = table((c.alpha, c.k_p, c.dt, c.soma_gain, c.apical_gain), members, dtype)
    total, output, end = (torch.empty_like(goal) for _ in range(3))
    filters = goal.new_empty(members, batch, layers, n)
    controls = goal.new_empty(members, batch, steps - 1, n if recorded else 0)
    correlation = goal.new_empty(members, batch, n, n)
    share(
        _loop, members * batch, as_array(torch.stack([g.mT for g in gains], 2)), as_array(goal),
        np.zeros((0, 0, 0, 0, 0), dtype) if noise is None else as_array(noise), settings,
        (c.proactive, c.leak != "control", recorded), steps,
        *(t.numpy() for t in (total, filters, output, end, controls, correlation)),
    )  # fmt: skip
    return Linear(total, list(filters.unbind(2)), output, end, controls, correlation.sum(1))


def _stepwise(
    gains: Sequence[Tensor], goal: Tensor, controller: Controller, noise: Tensor | None, recorded: bool
) -> Linear:
    """`linear_run` on every device."""
    zero = torch.zeros_like(goal)
    soma, apical = member(controller.soma_gain, goal), member(controller.apical_gain, goal)
    integral = control = q = total = zero
    x, disturbed, filters = [zero] * len(gains), [zero] * len(gains), [zero] * len(gains)
    controls, correlation = [], goal.new_zeros(*goal.shape[:1], *goal.shape[-1:], *goal.shape[-1:])
    for t in range(controller.steps - 1):
        integral, new = controller.next_control(goal - x[-1], integral, control)
        applied, control = new if controller.proactive else control, new
        if recorded:
            controls.append(control)
            correlation = correlation + q.mT @ control
        q, total, chained = q + apical * (applied - q), total + applied, applied
        for i, gain in enumerate(gains):
            filters[i] = chained = filters[i] + soma * (chained - filters[i])
            aim = (gain @ q.unsqueeze(-1)).squeeze(-1) + (x[i - 1] if i > 0 else 0.0)
            if noise is not None:
                disturbed[i] = disturbed[i] - apical * disturbed[i] + noise[..., i, t, :]
                aim = aim + disturbed[i]
            x[i] = x[i] + soma * (aim - x[i])
    every = torch.stack(controls, -2) if recorded else goal.new_empty(*goal.shape[:-1], 0, goal.shape[-1])
    return Linear(total, filters, x[-1], control, every, correlation)


def correlated(
    frame: Deviation,
    feedback: Sequence[Tensor],
    controller: Controller,
    factors: Sequence[Number],
    noise: Sequence[Callable[[Tensor], Source]],
) -> list[Tensor]:
    """Sum over t and samples of v_i^a[t] u[t+1]^T to first order in the noise, (M, n_i, n_L) by layer.

    What `credit.methods.control.simulation.Simulation.correlated` gives for the target r_L, with instant transmission.
    factors: of the noise by layer. noise: by layer, made from the Jacobian (M, B, n_L, n_i).
    """
    stacked = frame.act[0].ndim > 2
    weights, slopes, feedback = (
        [t if stacked else t.unsqueeze(0) for t in tensors] for tensors in (frame.weights, frame.slopes, feedback)
    )
    jacobian = chain(weights, slopes)
    gains = [(j.flatten(-3, -2) @ q).unflatten(-2, j.shape[-3:-1]) for j, q in zip(jacobian, feedback, strict=True)]
    sources = [make(j) for make, j in zip(noise, jacobian, strict=True)]
    seen = [source.seen() * member(s, gains[0]) for source, s in zip(sources, factors, strict=True)]
    run = linear_run(gains, torch.zeros_like(slopes[-1]), controller, torch.stack(seen, 2), recorded=True)
    later = Later(_later(run.controls, member(controller.apical_gain, run.controls[:, :, 0])))
    result = [
        q @ run.correlation + member(s, q) * source.collected(later)
        for q, source, s in zip(feedback, sources, factors, strict=True)
    ]
    return result if stacked else [g.squeeze(0) for g in result]


def _later(controls: Tensor, gain: float | Tensor) -> Tensor:
    """w[t] = u[t+2] + (1 - gain) w[t+1] in the place of t, 0 for the last; controls: u[t+1], (M, B, T - 1, n_L)."""
    result, now = torch.zeros_like(controls), torch.zeros_like(controls[:, :, 0])
    for t in range(controls.shape[2] - 2, -1, -1):
        now = controls[:, :, t + 1] + (1 - gain) * now
        result[:, :, t] = now
    return result
