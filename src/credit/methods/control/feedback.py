"""Learning of the feedback weights Q: noise in the network, and what the controller does against it.

All three rules give a gradient to descend, (M, n_i, n_L) by layer. With the output target equal to the feedforward
output, the controller only counters the noise, and descending `controller_rule` is the anti-Hebbian rule
-v_i^a u^T - beta Q_i, which drives Q towards a damped pseudoinverse of the Jacobian (Meulemans et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit.methods.control import seen
from credit.methods.control.controller import Controller
from credit.methods.control.frame import Deviation
from credit.methods.control.linearised import gains_of
from credit.methods.control.loops.arrays import Noise
from credit.methods.control.loops.recursion import linear_run
from credit.methods.control.noise import LayerNoise
from credit.methods.control.simulation import Simulation
from credit.methods.control.steady import linear_control
from credit.nets.jacobian import chain
from credit.numerics.blocks import Numbers
from credit.numerics.rand import Rand
from credit.numerics.seen_noise import Later
from credit.numerics.stack import Number, combine, member

SIGMA_FLOOR = 0.01  # published: the gradient is divided by max(sigma, 0.01)^2


def controller_rule(
    frame: Deviation,
    feedback: Sequence[Tensor],
    controller: Controller,
    sigmas: Sequence[Number],
    draws: Sequence[Tensor | Numbers],
) -> list[Tensor]:
    """G_i = 1 / (s^2 (T-1) B) sum over t and samples of v_i^a[t] u[t+1]^T, of the noisy dynamics with target r_L.

    sigmas: of the noise by layer. draws: standard normal, (M, T-1, B, n_i) by layer, see `Noise`.
    s = max(sigmas[0], 0.01). The apical voltage is paired with the next control, which is the first to contain its
    effect on the error.
    """
    noise = Noise(draws, [controller.noise_gain(s) for s in sigmas])
    goal = frame.goal(torch.zeros_like(frame.act[-1]))
    return _averaged(Simulation(frame, feedback, goal, controller, noise).correlated(), frame, controller, sigmas)


def linear_rule(
    frame: Deviation,
    feedback: Sequence[Tensor],
    controller: Controller,
    sigmas: Sequence[Number],
    noise: Sequence[LayerNoise],
) -> list[Tensor]:
    """`controller_rule` to first order in the noise (see `control.noise`): gradients (M, n_i, n_L) by layer."""
    form = seen.correlated if seen.possible(frame, controller, noise) else correlated
    sums = form(frame, feedback, controller, [controller.noise_gain(s) for s in sigmas], noise)
    return _averaged(sums, frame, controller, sigmas)


def correlated(
    frame: Deviation,
    feedback: Sequence[Tensor],
    controller: Controller,
    factors: Sequence[Number],
    noise: Sequence[LayerNoise],
) -> list[Tensor]:
    """Sum over t and samples of v_i^a[t] u[t+1]^T to first order in the noise, (M, n_i, n_L) by layer.

    What `credit.methods.control.simulation.Simulation.correlated` gives for the target r_L, with instant transmission.
    factors: of the noise by layer. `credit.methods.control.seen` is its fast form for wide nets.

    The filtered noise is n_i[t+1] = (1 - g) n_i[t] + s xi_i[t] and the apical voltage Q_i q + n_i, q the filtered
    control. Only J_i n_i acts on the output, and the filter commutes with J_i; likewise

        sum_t n_i[t] u[t+1]^T = s sum_t xi_i[t] w[t]^T,    w[t] = u[t+2] + (1 - g) w[t+1],

    so that the noise is touched by two matrix products, and by nothing else.
    """
    stacked = frame.act[0].ndim > 2
    weights, slopes, feedback = (
        [t if stacked else t.unsqueeze(0) for t in tensors] for tensors in (frame.weights, frame.slopes, feedback)
    )
    jacobian = chain(weights, slopes)
    gains = gains_of(jacobian, feedback)
    sources = [xi.source(j) for xi, j in zip(noise, jacobian, strict=True)]
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


def _averaged(
    sums: Sequence[Tensor], frame: Deviation, controller: Controller, sigmas: Sequence[Number]
) -> list[Tensor]:
    count = frame.act[-1].shape[-2] * (controller.steps - 1)
    return [g / (_floor(sigmas[0], g) * count) for g in sums]


def forward_rule(frame: Deviation, sigma: Number, draws: Sequence[Tensor]) -> list[Tensor]:
    """G_i = -1 / (s^2 B) sum of eps_i e^T: one noisy forward pass, e its output minus the noiseless one.

    draws: standard normal, (M, B, n_i) by layer. The official code calls it special_controller.
    """
    noise = [xi * member(sigma, xi) for xi in draws]
    change = noisy_output(frame, noise) - frame.start_rate(len(frame) - 1)
    batch = change.shape[-2]
    return [-(eps.mT @ change) / (_floor(sigma, change) * batch) for eps in noise]


def steady_rule(
    frame: Deviation, feedback: Sequence[Tensor], sigma: Number, leak: Number, draws: Sequence[Tensor]
) -> list[Tensor]:
    """G_i = 1 / (s^2 B) sum of (Q_i u) u^T, with u the linear steady state for a noisy output as the target.

    draws: standard normal, (M, B, n_i) by layer. The official code calls it old_learning_rule.
    """
    change = noisy_output(frame, [xi * member(sigma, xi) for xi in draws]) - frame.start_rate(len(frame) - 1)
    control, _ = linear_control(frame, frame.slopes, feedback, change, leak)
    batch = change.shape[-2]
    return [(control @ q.mT).mT @ control / (_floor(sigma, control) * batch) for q in feedback]


def noisy_output(frame: Deviation, noise: Sequence[Tensor]) -> Tensor:
    """Output rate (M, B, n_L), in the frame, of a forward pass with `noise` (M, B, n_i) on every pre-activation."""
    rate = frame.rate(0, frame.voltage(0) + noise[0])
    for i in range(1, len(frame)):
        rate = frame.rate(i, frame.basal(i, rate) + noise[i])
    return rate


def squared_norm(feedback: Sequence[Tensor]) -> Tensor:
    """||Q||_F^2 over all layers, (M,), or () for a single net."""
    return sum(q.square().sum((-2, -1)) for q in feedback)


def _floor(sigma: Number, like: Tensor) -> float | Tensor:
    return member(combine(lambda s: max(s, SIGMA_FLOOR) ** 2, sigma), like)


def draw(rand: Rand, name: str, frame: Deviation, steps: int | None = None) -> list[Tensor]:
    """Standard normal noise by layer from the streams NAME.0, NAME.1, ...: (M, B, n_i), or (M, steps, B, n_i)."""
    lead = () if steps is None else (steps,)
    return [rand.normal(f"{name}.{i}", (*lead, *pre.shape[-2:])).to(pre.dtype) for i, pre in enumerate(frame.pre)]
