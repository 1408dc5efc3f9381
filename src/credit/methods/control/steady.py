"""The steady state of the controlled network: the linear solution, its nonlinear refinement, and what both need.

At the fixed point e = alpha u, and r_L(u) - r* + alpha u = 0, where r_L(u) is a forward pass with Q_i u added to
every pre-activation. To first order around the feedforward state u = (J Q + alpha I)^-1 delta, with delta = r* - r_L.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from credit.methods.control.frame import Deviation
from credit.nets import differences
from credit.nets.activations import Linear
from credit.numerics.chunks import chunks
from credit.numerics.damped import multiple_of_identity, solve_each
from credit.numerics.memory import in_memory
from credit.numerics.stack import Number, member


@dataclass(frozen=True)
class Settled:
    """A controlled state in a frame: base voltage, shift by the controller, rate of every layer, and the control.

    The somatic voltage is base + shift. All (M, B, n_i); control (M, B, n_L).
    """

    frame: Deviation
    base: list[Tensor]
    shift: list[Tensor]
    rates: list[Tensor]
    control: Tensor

    def voltages(self) -> list[Tensor]:
        """Absolute somatic voltages, (M, B, n_i) by layer."""
        sums = zip(self.base, self.shift, strict=True)
        return [self.frame.absolute_voltage(i, base + shift) for i, (base, shift) in enumerate(sums)]

    def absolute_rates(self) -> list[Tensor]:
        """Absolute rates, (M, B, n_i) by layer."""
        return [self.frame.absolute_rate(i, rate) for i, rate in enumerate(self.rates)]

    def where(self, keep: Tensor) -> Settled:
        """The same with samples outside of `keep` (bool (M, B)) reset to the feedforward state."""
        mask = keep.unsqueeze(-1)
        frame, layers = self.frame, range(len(self.rates))
        return Settled(
            frame,
            [torch.where(mask, self.base[i], frame.voltage(i)) for i in layers],
            [torch.where(mask, self.shift[i], 0.0) for i in layers],
            [torch.where(mask, self.rates[i], frame.start_rate(i)) for i in layers],
            torch.where(mask, self.control, 0.0),
        )


def spread_control(frame: Deviation, feedback: Sequence[Tensor], control: Tensor) -> Settled:
    """The forward pass in which Q_i u is added to every pre-activation; Q_i (M, n_i, n_L), control u (M, B, n_L)."""
    base, shift, rates = [], [], []
    for i, q in enumerate(feedback):
        base.append(frame.basal(i, rates[-1]) if i > 0 else frame.voltage(0))
        shift.append(control @ q.mT)
        rates.append(frame.rate(i, base[i] + shift[i]))
    return Settled(frame, base, shift, rates, control)


def feedforward_rates(frame: Deviation, feedback: Sequence[Tensor], control: Tensor) -> Settled:
    """As `spread_control`, Q_i (M, n_i, n_L), but every layer sees the rates of the feedforward pass below it."""
    layers = range(len(feedback))
    base = [frame.voltage(i) for i in layers]
    return Settled(frame, base, [control @ q.mT for q in feedback], [frame.start_rate(i) for i in layers], control)


def linear_control(
    frame: Deviation,
    slopes: Sequence[Tensor],
    feedback: Sequence[Tensor],
    delta: Tensor,
    leak: Number,
    solver: str = "auto",
) -> tuple[Tensor, Tensor]:
    """(u, singular): u (M, B, n_L) solves (J Q + leak I) u = delta; `singular` marks samples without a solution.

    slopes: phi' of every layer, which make J. A singular sample gets u = 0 and disturbs no other. solver: "direct",
    "woodbury" (linear output only; n_{L-1} equations instead of n_L), or "auto", the one with fewer equations.
    """
    if solver == "auto":
        narrower = len(feedback) > 1 and feedback[-2].shape[-2] < delta.shape[-1]
        solver = "woodbury" if narrower and isinstance(frame.phi[-1], Linear) else "direct"
    if solver == "woodbury":
        return _woodbury(frame, slopes, feedback, delta, leak)

    def solve(part: slice) -> tuple[Tensor, Tensor]:
        matrix = loop_gain(frame, [s[..., part, :] for s in slopes], feedback)
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        diagonal.add_(member(leak, diagonal))
        return solve_each(matrix, delta[..., part, :])

    return _joined([solve(part) for part in chunks(delta, delta.shape[-1] * _widest(feedback))])


def _joined(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.cat([u for u, _ in parts], -2), torch.cat([singular for _, singular in parts], -1)


def _widest(feedback: Sequence[Tensor]) -> int:
    return max(q.shape[-2] for q in feedback)


def loop_gain(frame: Deviation, slopes: Sequence[Tensor], feedback: Sequence[Tensor]) -> Tensor:
    """J Q (M, B, n_L, n_L), a new tensor: the columns of Q are carried forward, J itself is never formed."""
    return carry(frame, slopes, feedback, len(feedback) - 1).mT


def carry(frame: Deviation, slopes: Sequence[Tensor], drive: Sequence[Tensor], last: int) -> Tensor:
    """R^T (M, B, k, n_last) with R_0 = D_0 Q_0 and R_i = D_i (Q_i + W_i R_{i-1}), D_i = diag(slopes_i).

    drive: Q_i (M, n_i, k). It is the response of the rates of layer `last` to the k columns of the drive.
    """
    response = drive[0].mT.contiguous().unsqueeze(-3) * slopes[0].unsqueeze(-2)
    for i in range(1, last + 1):
        shape = response.shape[-3:-1]
        response = (response.flatten(-3, -2) @ frame.weights[i].mT).unflatten(-2, shape)
        pushed = drive[i].mT.contiguous()
        if isinstance(frame.phi[i], Linear):
            response.add_(pushed.unsqueeze(-3))
        elif in_memory(response, pushed, slopes[i]):
            differences.push(response, pushed, slopes[i])
        else:
            response.add_(pushed.unsqueeze(-3)).mul_(slopes[i].unsqueeze(-2))
    return response


def _woodbury(
    frame: Deviation, slopes: Sequence[Tensor], feedback: Sequence[Tensor], delta: Tensor, leak: Number
) -> tuple[Tensor, Tensor]:
    """J Q + leak I = K + W R with K = Q_L + leak I, the same for all samples, and R (n_{L-1}, n_L).

    u = K^-1 (delta - W (I + R K^-1 W)^-1 R K^-1 delta). Where K is singular, the direct solution is taken.
    """
    last = len(feedback) - 1
    weight = frame.weights[last]
    outer = feedback[last].clone()
    diagonal = outer.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(member(leak, diagonal))
    scale = multiple_of_identity(outer)
    if scale is None:
        factors, pivots, info = torch.linalg.lu_factor_ex(outer)
        if bool((info != 0).any()):
            return linear_control(frame, slopes, feedback, delta, leak, "direct")
        k_delta = torch.linalg.lu_solve(factors, pivots, delta.mT).mT
        k_weight = torch.linalg.lu_solve(factors, pivots, weight)
    else:
        k_delta, k_weight = delta / scale, weight / scale
    through = [q @ k_weight for q in feedback[:-1]]

    def solve(part: slice) -> tuple[Tensor, Tensor]:
        local, right = [s[..., part, :] for s in slopes], k_delta[..., part, :]
        inner = carry(frame, local, through, last - 1).mT
        inner.diagonal(dim1=-2, dim2=-1).add_(1)
        response = 0.0  # R K^-1 delta
        for i, q in enumerate(feedback[:-1]):
            below = response @ frame.weights[i].mT if i else 0.0
            response = local[i] * (right @ q.mT + below)
        solution, singular = solve_each(inner, response)
        return torch.where(singular.unsqueeze(-1), 0.0, right - solution @ k_weight.mT), singular

    return _joined([solve(part) for part in chunks(delta, weight.shape[-1] * _widest(feedback[:-1]))])


def newton(
    frame: Deviation,
    feedback: Sequence[Tensor],
    delta: Tensor,
    leak: Number,
    iterations: int,
    solver: str = "auto",
) -> tuple[Settled, Tensor]:
    """The nonlinear steady state, r_L(u) - r* + leak u = 0, from the linear one by `iterations` Newton steps.

    delta (M, B, n_L). Returns the state and which samples are singular, bool (M, B).
    """
    control, singular = linear_control(frame, frame.slopes, feedback, delta, leak, solver)
    goal = frame.goal(delta)
    settled = spread_control(frame, feedback, control)
    for _ in range(iterations):
        slopes = slopes_at(frame, settled.voltages())
        miss = goal - settled.rates[-1] - member(leak, control) * control
        step, bad = linear_control(frame, slopes, feedback, miss, leak, solver)
        singular = singular | bad
        control = control + step
        settled = spread_control(frame, feedback, control)
    return settled, singular


def slopes_at(frame: Deviation, voltages: Sequence[Tensor]) -> list[Tensor]:
    """phi' at absolute voltages, (M, B, n_i) by layer."""
    return [phi.derivative(v, phi.value(v)) for phi, v in zip(frame.phi, voltages, strict=True)]
