"""The feedback controller and the network dynamics that it drives, step by step.

In units of the controller's time constant, with e = r* - r_L, layer by layer (Euler steps of length dt):

    u_int' = e - alpha u          u = u_int + k_p e
    tau_apical va_i' = -va_i + Q_i u + noise          tau v_i' = -v_i + (W_i r_{i-1} + b_i) + va_i

Source: Meulemans et al. 2021 and its official code, whose leak acts on u (the paper's acts on u_int).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from credit.methods.control.frame import Deviation
from credit.numerics.stack import Number, combine, member

RESIDUAL_CONVERGED = 1e-5  # of the steady state's equation, relative to the norm of the output
RESIDUAL_DIVERGED = 1.0


@dataclass(frozen=True)
class Controller:
    """Constants of the dynamics. Every number may be one per member, but `steps`.

    alpha: leak. k_p: proportional gain. dt: time step. steps: stored points, so steps - 1 Euler steps. tau: time
    constant of the somatic voltage, never below dt. tau_apical: of the apical voltage; None is dt, which makes
    va_i = Q_i u. instant_transmission: layers are updated one after the other, each with the new rates of the one
    below; otherwise all at once. instant_system: the somatic voltage follows without delay (and transmission is
    instant). proactive: the network sees the new control in the same step. leak: on "control" or on "integral".
    """

    alpha: Number
    k_p: Number
    dt: Number
    steps: int
    tau: Number
    tau_apical: Number | None = None
    instant_transmission: bool = True
    instant_system: bool = False
    proactive: bool = False
    leak: str = "control"

    @property
    def instant(self) -> bool:
        """Whether transmission is instant."""
        return self.instant_transmission or self.instant_system

    @property
    def soma_gain(self) -> Number:
        """dt / tau, at most 1."""
        return 1.0 if self.instant_system else combine(lambda dt, tau: min(1.0, dt / tau), self.dt, self.tau)

    @property
    def apical_gain(self) -> Number:
        """dt / tau_apical."""
        return 1.0 if self.tau_apical is None else combine(lambda dt, tau: dt / tau, self.dt, self.tau_apical)

    def noise_gain(self, sigma: Number) -> Number:
        """sigma sqrt(dt) / tau_apical, the factor on standard normal draws."""
        tau = self.dt if self.tau_apical is None else self.tau_apical
        return combine(lambda s, dt, t: s * math.sqrt(dt) / t, sigma, self.dt, tau)

    def step(self, error: Tensor, integral: Tensor, control: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(u_int, u, control that the network sees) one step further; all (M, B, n_L), or with columns at the end."""
        leaking = control if self.leak == "control" else integral
        integral = integral + member(self.dt, error) * (error - member(self.alpha, error) * leaking)
        new = integral + member(self.k_p, error) * error
        return integral, new, new if self.proactive else control

    def steady_leak(self) -> Number:
        """The leak a of the steady state e = a u."""
        if self.leak == "control":
            return self.alpha
        return combine(lambda alpha, k_p: alpha / (1 + alpha * k_p), self.alpha, self.k_p)


@dataclass(frozen=True)
class Snapshot:
    """One point in time, in the frame of the simulation: lists by layer of (M, B, n_i), control (M, B, n_L)."""

    apical: list[Tensor]
    basal: list[Tensor]
    somatic: list[Tensor]
    rates: list[Tensor]
    control: Tensor


def simulate(
    frame: Deviation,
    feedback: Sequence[Tensor],
    goal: Tensor,
    controller: Controller,
    noise: Sequence[Tensor] | None = None,
) -> Iterator[Snapshot]:
    """Run the dynamics from the feedforward state; yields `steps` snapshots, the initial state first.

    feedback: Q_i (M, n_i, n_L). goal: output target in the frame. noise: increments of the apical voltages,
    (M, steps - 1, B, n_i) by layer, already scaled by `Controller.noise_gain`.
    """
    layers = range(len(frame))
    rows = torch.cat(list(feedback), -2).mT  # one product with u serves all layers
    sizes = [q.shape[-2] for q in feedback]
    soma, apical_gain = member(controller.soma_gain, goal), member(controller.apical_gain, goal)
    filtered = controller.tau_apical is not None or noise is not None
    somatic = [frame.voltage(i) for i in layers]
    rates = [frame.start_rate(i) for i in layers]
    basal, apical = list(somatic), [torch.zeros_like(v) for v in somatic]
    integral = control = torch.zeros_like(goal)
    yield Snapshot(apical, basal, somatic, rates, control)
    for t in range(controller.steps - 1):
        integral, control, applied = controller.step(goal - rates[-1], integral, control)
        drive = (applied @ rows).split(sizes, -1)
        if filtered:
            apical = [_toward(v, q, apical_gain) for v, q in zip(apical, drive, strict=True)]
            if noise is not None:
                apical = [v + xi.select(-3, t) for v, xi in zip(apical, noise, strict=True)]
        else:
            apical = list(drive)
        below, before = None, rates
        basal, somatic, rates = basal[:1], list(somatic), []
        for i in layers:
            if i > 0:
                basal.append(frame.basal(i, below if controller.instant else before[i - 1]))
            somatic[i] = _toward(somatic[i], apical[i] + basal[i], soma)
            below = frame.rate(i, somatic[i])
            rates.append(below)
        yield Snapshot(apical, basal, somatic, rates, control)


def converged(
    error: Tensor, control: Tensor, output: Tensor, start_error: Tensor, alpha: Number, epsilon: Number
) -> tuple[Tensor, Tensor]:
    """(converged, diverged) of every sample, bool (M, B); a sample that is not a number is neither.

    error, control: at the last step, (M, B, n_L). output: r_L of the feedforward state, by whose norm the residual
    e - alpha u is divided, as published. start_error: the error before any control.
    """
    norm = torch.linalg.vector_norm
    residual = norm(error - member(alpha, error) * control, dim=-1) / norm(output, dim=-1)
    fraction = combine(lambda e: e * e, epsilon)
    below = norm(error, dim=-1) < member(fraction, residual) * norm(start_error, dim=-1)
    return (residual < RESIDUAL_CONVERGED) & below, residual > RESIDUAL_DIVERGED


def _toward(state: Tensor, aim: Tensor, gain: float | Tensor) -> Tensor:
    """state + gain (aim - state)."""
    return aim if isinstance(gain, float) and gain == 1.0 else torch.lerp(state, aim, gain)
