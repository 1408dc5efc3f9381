"""The linear recursion in the space of the output: compiled for the CPU, and in torch for every device.

`credit.methods.control.linearised` says where it comes from. x_i = J_i dv_i (dv_i: deviation of the somatic voltage),
u_int, u and the filtered control q are vectors of size n_L; noise seen by the output, J_i xi_i, is filtered as q is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit.methods.control.controller import Controller
from credit.methods.control.loops.step import Flags, settings, step
from credit.numerics.compiled import compiled
from credit.numerics.stack import member
from credit.numerics.threads import as_array, share


class Linear(NamedTuple):
    """A linear run, in tensors or, for the loop, their memory. Correlations are of every sample there.

    control_sum: of the applied control, (M, B, n_L). filters: its k-fold filtered values at the end, k = 1 ... L,
    (M, B, L, n_L). output, control: change of the output, and control, at the end, (M, B, n_L). controls:
    u[1], ..., u[T-1] (M, B, T - 1, n_L). correlation: sum over time and samples of q[t] u[t+1]^T, (M, n_L, n_L).
    """

    control_sum: Any
    filters: Any
    output: Any
    control: Any
    controls: Any
    correlation: Any


@compiled
def _loop(first, last, gains, goal, noise, settings, flags, steps, recorded, out):
    """Samples first to last - 1, counted through all members. gains: M_i^T (M, B, L, n_L, n_L); noise: J_i xi_i, scaled
    (M, B, L, T - 1, n_L), empty without; recorded: whether controls and correlations are wanted. out: a `Linear`."""
    totals, filters, outputs, ends, controls, correlations = out
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
                integral[k], applied[k], control[k] = step(
                    error, integral[k], control[k], alpha, k_p, dt, flags.integral_leaks, flags.proactive
                )
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
        return stepwise(gains, goal, controller, noise, recorded)
    members, batch, n = goal.shape
    layers, steps, dtype = len(gains), controller.steps, as_array(goal).dtype
    shapes = ((n,), (layers, n), (n,), (n,), (steps - 1, n if recorded else 0), (n, n))
    out = Linear(*(goal.new_empty(members, batch, *shape) for shape in shapes))
    share(
        _loop, members * batch, as_array(torch.stack([g.mT for g in gains], 2)), as_array(goal),
        np.zeros((0, 0, 0, 0, 0), dtype) if noise is None else as_array(noise), settings(controller, members, dtype),
        Flags.of(controller, noise is not None), steps, recorded, Linear(*(t.numpy() for t in out)),
    )  # fmt: skip
    return out._replace(correlation=out.correlation.sum(1))


@dataclass
class State:
    """x_i, u_int, u and q, each (M, B, n_L, k) with k columns."""

    x: list[Tensor]
    integral: Tensor
    control: Tensor
    filtered: Tensor

    def step(
        self, gains: Sequence[Tensor], controller: Controller, goal: Tensor, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        """One Euler step towards `goal` (M, B, n_L, k); returns the control that was applied, of the same shape.

        gains: M_i (M, B, n_L, n_L). noise: filtered, by layer, (M, B, n_L, k).
        """
        c, before = controller, self.x
        self.integral, self.control, applied = c.step(goal - before[-1], self.integral, self.control)
        self.filtered = blended(self.filtered, applied, member(c.apical_gain, applied))
        self.x = []
        for i, gain in enumerate(gains):
            aim = gain @ self.filtered
            if i > 0:
                aim = aim + (self.x if c.instant else before)[i - 1]
            if noise is not None:
                aim = aim + noise[i]
            self.x.append(blended(before[i], aim, member(c.soma_gain, applied)))
        return applied


def stepwise(
    gains: Sequence[Tensor], goal: Tensor, controller: Controller, noise: Tensor | None, recorded: bool
) -> Linear:
    """`linear_run` on every device: gains (M, B, n_L, n_L) by layer, goal (M, B, n_L), noise (M, B, L, T - 1, n_L)."""
    goal = goal.unsqueeze(-1)
    zero, layers = torch.zeros_like(goal), range(len(gains))
    soma, apical = member(controller.soma_gain, goal), member(controller.apical_gain, goal)
    state, total = State([zero] * len(gains), zero, zero, zero), zero
    disturbed, filters = [zero] * len(gains), [zero] * len(gains)
    controls, correlation = [], goal.new_zeros(*goal.shape[:1], *goal.shape[2:3] * 2)
    for t in range(controller.steps - 1):
        q = state.filtered.squeeze(-1)
        if noise is not None:
            disturbed = [disturbed[i] - apical * disturbed[i] + noise[..., i, t, :].unsqueeze(-1) for i in layers]
        chained = state.step(gains, controller, goal, None if noise is None else disturbed)
        total = total + chained
        if recorded:
            controls.append(state.control.squeeze(-1))
            correlation = correlation + q.mT @ controls[-1]
        for i in layers:
            filters[i] = chained = blended(filters[i], chained, soma)
    every = torch.stack(controls, -2) if recorded else goal.new_empty(*goal.shape[:2], 0, goal.shape[2])
    columns = (total, torch.stack(filters, 2), state.x[-1], state.control)
    return Linear(*(t.squeeze(-1) for t in columns), every, correlation)


def blended(state: Tensor, aim: Tensor, gain: float | Tensor) -> Tensor:
    """state + gain (aim - state), of any shape."""
    return state + gain * (aim - state)
