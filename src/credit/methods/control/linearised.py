"""The dynamics linearised around the feedforward state, in the space of the output.

With M_i = J_i Q_i and x_i = J_i dv_i (dv_i: deviation of the somatic voltage), J_i W_i D_{i-1} = J_{i-1} gives, with
a = dt / tau and instant transmission,

    x_i[t+1] = (1 - a) x_i[t] + a (M_i u + x_{i-1}[t+1]),    change of the output = x_L,

L vectors of size n_L a sample instead of all units. The recursion decides about the stability of the time step, and
replaces the simulation with an error of first order in the output error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from credit.methods.control.controller import Controller
from credit.methods.control.frame import Deviation
from credit.methods.control.loops.recursion import State, linear_run
from credit.methods.control.steady import Settled
from credit.nets.jacobian import chain
from credit.numerics.finite import finite_parts
from credit.numerics.stack import combine, member

LARGE = 1000  # unknowns
ROUNDS, SLACK = 300, 0.01


def layer_gains(frame: Deviation, feedback: Sequence[Tensor]) -> list[Tensor]:
    """M_i = J_i Q_i, (M, B, n_L, n_L) by layer, at the feedforward state."""
    return gains_of(chain(frame.weights, frame.slopes), feedback)


def gains_of(jacobian: Sequence[Tensor], feedback: Sequence[Tensor]) -> list[Tensor]:
    """J_i Q_i, (M, B, n_L, n_L) by layer, of J_i (M, B, n_L, n_i) and Q_i (M, n_i, n_L)."""
    return [(j.flatten(-3, -2) @ q).unflatten(-2, j.shape[-3:-1]) for j, q in zip(jacobian, feedback, strict=True)]


def spectral_radius(gains: Sequence[Tensor], controller: Controller) -> Tensor:
    """Largest absolute eigenvalue of the linear recursion, (M, B); above 1 the simulation blows up.

    inf for samples whose gains are not finite. With more than LARGE unknowns, eigenvalues would take minutes; it is
    then how much a random state grows in a step, good to SLACK, and 1 where it is within SLACK of 1.
    """
    n, count = gains[0].shape[-1], len(gains) + 3
    finite, gains = finite_parts(torch.stack(gains))
    finite, gains = finite.all(0)[..., 0, 0], list(gains)
    if count * n > LARGE:
        growth = _growth(gains, controller)
        return torch.where(finite, torch.where((growth - 1).abs() < SLACK, 1.0, growth), torch.inf)
    eye = torch.eye(count * n, dtype=gains[0].dtype, device=gains[0].device)
    parts = [p.expand(*gains[0].shape[:-2], n, count * n) for p in eye.split(n)]
    state = State(list(parts[:-3]), *parts[-3:])
    state.step(gains, controller, torch.zeros_like(parts[0]))
    matrix = torch.cat([*state.x, state.integral, state.control, state.filtered], -2)
    radius = torch.linalg.eigvals(matrix).abs().amax(-1)
    return torch.where(finite, radius, torch.inf)


def _growth(gains: Sequence[Tensor], controller: Controller) -> Tensor:
    """Mean growth per step of a random state over ROUNDS steps, after as many to forget where it began, (M, B)."""
    generator = torch.Generator().manual_seed(0)
    shape, like = (*gains[0].shape[:-1], 1), gains[0]
    *x, integral, control, filtered = (
        torch.randn(shape, generator=generator, dtype=like.dtype).to(like.device) for _ in range(len(gains) + 3)
    )
    state, total = State(x, integral, control, filtered), torch.zeros(shape[:-2], dtype=like.dtype, device=like.device)
    for t in range(2 * ROUNDS):
        state.step(gains, controller, torch.zeros_like(filtered))
        parts = [*state.x, state.integral, state.control, state.filtered]
        norm = torch.linalg.vector_norm(torch.cat(parts, -2), dim=(-2, -1))
        *x, integral, control, filtered = (p / norm[..., None, None] for p in parts)
        state = State(x, integral, control, filtered)
        if t >= ROUNDS:
            total += norm.log()
    return (total / ROUNDS).exp()


@dataclass(frozen=True)
class Course:
    """A linear run: sum over time of the applied control, and dv_i (M, B, n_i), error and control at the end."""

    control_sum: Tensor
    voltages: list[Tensor]
    error: Tensor
    control: Tensor


def run(frame: Deviation, feedback: Sequence[Tensor], delta: Tensor, controller: Controller) -> Course:
    """The linearised simulation with feedback (M, n_i, n_L), its target delta (M, B, n_L) from the output."""
    lift = (lambda t: t) if delta.ndim > 2 else (lambda t: t.unsqueeze(0))
    lower = (lambda t: t) if delta.ndim > 2 else (lambda t: t.squeeze(0))
    done = linear_run([lift(gain) for gain in layer_gains(frame, feedback)], lift(delta), controller)
    voltages = _respond(frame, feedback, [lower(z) for z in done.filters.unbind(2)])
    return Course(lower(done.control_sum), voltages, delta - lower(done.output), lower(done.control))


def lagged_shift(course: Course, controller: Controller, feedback: Sequence[Tensor]) -> list[Tensor]:
    """Sum over time of v_i - v_i^b = Q_i sum u - (1/a - 1) dv_i[T-1], (M, B, n_i) by layer.

    An identity of the Euler scheme with instant transmission and without apical filter, exact also for the nonlinear
    dynamics.
    """
    lag = member(combine(lambda a: 1 / a - 1, controller.soma_gain), course.control)
    return [course.control_sum @ q.mT - lag * v for q, v in zip(feedback, course.voltages, strict=True)]


def linear_state(frame: Deviation, course: Course) -> Settled:
    """The end of a linear run as a state: base W_i D_{i-1} dv_{i-1}, shift, rates D_i dv_i (deviation frame only)."""
    rates = [s * v for s, v in zip(frame.slopes, course.voltages, strict=True)]
    base = [torch.zeros_like(rates[0])] + [rates[i - 1] @ frame.weights[i].mT for i in range(1, len(rates))]
    shift = [v - b for v, b in zip(course.voltages, base, strict=True)]
    return Settled(frame, base, shift, rates, course.control)


def _respond(frame: Deviation, feedback: Sequence[Tensor], filtered: Sequence[Tensor]) -> list[Tensor]:
    """dv_i = sum_{j<=i} (W_i D_{i-1} ... W_{j+1} D_j) Q_j z_{i-j+1}, z_k = filtered[k-1] (M, B, n_L)."""
    level = [z @ feedback[0].mT for z in filtered]
    result = [level[0]]
    for i in range(1, len(feedback)):
        level = [
            z @ feedback[i].mT + (frame.slopes[i - 1] * below) @ frame.weights[i].mT
            for z, below in zip(filtered, level[1:], strict=False)
        ]
        result.append(level[0])
    return result
