"""Stability of the dynamics of dynamic inversion, and feedback that is made stable.

One layer pair has the system matrix M = [[-I, B], [W, -leak I]]. It is stable where lambda_max, the largest real part
of its eigenvalues, is negative. Everything here works on the eigenvalues mu of the smaller product of W and B:
(lambda + 1)(lambda + leak) = mu, and -1 or -leak for the units that one layer has more than the other.
Shapes: W (M, n_up, n_low), B (M, n_low, n_up), the stack axis M is optional; results (M,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.inversion.operators import expands, loop_product
from credit.numerics.devices import on
from credit.numerics.linalg import eigenvalues
from credit.numerics.stack import Number, member

GROWTH = 1e6  # of the states over all steps; more means that the dynamics runs away


def lambda_max(weight: Tensor, feedback: Tensor, leak: Number) -> Tensor:
    """Largest real part of the eigenvalues of M, (M,); NaN for a member that is not finite."""
    mu = eigenvalues(loop_product(weight, feedback))
    alpha = _leak(leak, mu)
    top = (torch.sqrt((1 - alpha) ** 2 + 4 * mu).real - (1 + alpha)).amax(-1) / 2
    n_up, n_low = weight.shape[-2:]
    if n_up == n_low:
        return top
    surplus = -alpha.squeeze(-1) if n_up > n_low else -1.0  # of the units that one layer has more than the other
    return torch.maximum(top, surplus * torch.ones_like(top))


def surely_stable(weight: Tensor, feedback: Tensor, leak: Number) -> Tensor:
    """A sufficient condition for lambda_max <= 0 that needs no eigenvalues, bool (M,).

    Re mu is at most the largest eigenvalue of the symmetric part H of the product, |Im mu| at most the spectral norm
    s of the rest, and mu is stable where (Im mu)² < (1 + leak)² (leak - Re mu): leak I - H - (s / (1 + leak))² I must
    be positive definite.
    """
    product = loop_product(weight, feedback)
    alpha = _leak(leak, product)
    skew = torch.linalg.matrix_norm(product - product.mT) ** 2 / 8  # (norm of the skew part)² / 2 bounds s²
    alpha = alpha.expand(*product.shape[:-2], 1)
    margin = alpha - skew.unsqueeze(-1) / (1 + alpha) ** 2
    identity = torch.eye(product.shape[-1], dtype=product.dtype, device=product.device)
    test = margin.unsqueeze(-1) * identity - (product + product.mT) / 2
    return torch.linalg.cholesky_ex(test).info == 0


def rounding(weight: Tensor, feedback: Tensor) -> Tensor:
    """How far rounding can move a lambda_max that is 0, (M,), as it is for singular weights without leak."""
    size = torch.linalg.matrix_norm(weight) * torch.linalg.matrix_norm(feedback)
    return min(weight.shape[-2:]) * torch.finfo(weight.dtype).eps * size.clamp(min=1)


def step_radius(weights: Sequence[Tensor], feedback: Tensor, leak: Number, dt: float) -> Tensor:
    """Spectral radius of one Euler step of linear dynamics, (M,): above 1 the states grow, whatever lambda_max says.

    weights: one of a layer pair, or the chain W_1, ..., W_k of the single loop.
    """
    if len(weights) == 1:
        mu, rest = eigenvalues(loop_product(weights[0], feedback)), expands(weights[0])
    else:
        mu, rest = eigenvalues(chain_product(weights, feedback)), False
    alpha = _leak(leak, mu).expand((*mu.shape[:-1], 1)).to(mu.dtype).expand(mu.shape)
    radius = eigenvalues(_step_matrix(mu, alpha, dt, len(weights))).abs().amax((-2, -1))
    idle = (1 - dt * alpha[..., 0].real).abs() if rest else torch.full_like(radius, abs(1 - dt))
    return torch.maximum(radius, idle)


def chain_product(weights: Sequence[Tensor], feedback: Tensor) -> Tensor:
    """W_k ... W_1 B of the single loop, (M, n_out, n_out)."""
    product = feedback
    for weight in weights:
        product = weight @ product
    return product


def chain_lambda_max(weights: Sequence[Tensor], feedback: Tensor, leak: Number) -> Tensor:
    """Largest real part of the eigenvalues of the single loop's system matrix, (M,): (l + 1)^k (l + leak) = mu."""
    mu = eigenvalues(chain_product(weights, feedback))
    alpha = _leak(leak, mu).to(mu.dtype).expand(mu.shape)
    k = len(weights)
    system = torch.zeros(*mu.shape, k + 1, k + 1, dtype=mu.dtype, device=mu.device)
    for row in range(k):
        system[..., row, row] = -1
        system[..., row, row - 1] = 1  # row 0: the controller, which comes last
    system[..., k, k - 1], system[..., k, k] = mu, -alpha
    return eigenvalues(system).real.amax((-2, -1))


@dataclass(frozen=True)
class Descent:
    """Settings of `stabilize`: step length, and how many steps at least and at most. target: where to stop."""

    lr: float = 0.05
    steps: int = 200
    min_steps: int = 10
    target: float = -0.01


def stabilize(weight: Tensor, feedback: Tensor, leak: Number, descent: Descent) -> tuple[Tensor, Tensor]:
    """Feedback moved down the gradient of lambda_max, a new tensor, and the lambda_max reached, (M,).

    The published descent of the "smoothed" spectral abscissa solves two Lyapunov equations a step, with the abscissa
    itself as the shift; what comes of them is the gradient of lambda_max, which the top eigenvectors of the product
    give directly. Where the floor -leak of an expanding layer is the top eigenvalue, no direction lowers it: the
    descent stops there, while the published one goes on along rounding errors. Members are descended one by one, in
    float64 on the CPU.
    """
    stacked = weight.ndim == 3
    w = weight.detach().to("cpu", torch.float64).numpy()
    b = feedback.detach().to("cpu", torch.float64).numpy().copy()
    w, b = (w, b) if stacked else (w[None], b[None])
    leaks = np.broadcast_to(np.asarray(leak, dtype=np.float64), (len(w),))
    reached = np.array([_descend(w[m], b[m], float(leaks[m]), descent) for m in range(len(w))])
    result, values = torch.from_numpy(b).to(feedback), torch.from_numpy(reached).to(feedback)
    return (result, values) if stacked else (result[0], values[0])


def _descend(w: np.ndarray, b: np.ndarray, leak: float, descent: Descent) -> float:
    """Descend one member, changing `b`; returns its lambda_max. Stops at once where something is not finite."""
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        return float("nan")
    k = 0
    top, gradient = _top(w, b, leak)
    while k < descent.min_steps or (top > descent.target and k < descent.steps):
        if gradient is None:
            break
        b -= descent.lr * gradient
        k += 1
        top, gradient = _top(w, b, leak)
    return top


def _top(w: np.ndarray, b: np.ndarray, leak: float) -> tuple[float, np.ndarray | None]:
    """lambda_max and its gradient with respect to B, normalised as in the published code; None without a gradient."""
    n_up, n_low = w.shape
    mu, right = np.linalg.eig(b @ w if n_up > n_low else w @ b)
    root = np.sqrt((1 - leak) ** 2 + 4 * mu.astype(complex))
    k = int(np.argmax(root.real))
    value = (root[k] - (1 + leak)) / 2
    floor = -leak if n_up > n_low else -1.0 if n_up < n_low else -np.inf
    if value.real <= floor:
        return floor, None
    unit = np.zeros(len(mu), dtype=complex)
    unit[k] = 1
    # Row k of the inverse of the right eigenvectors is the left one, scaled so that their product is 1.
    left, rho = np.linalg.lstsq(right.T.astype(complex), unit, rcond=None)[0], right[:, k]
    outer = np.outer(left, w @ rho) if n_up > n_low else np.outer(w.T @ left, rho)
    gradient = (outer / root[k]).real
    return float(value.real), gradient if np.isfinite(gradient).all() else None


def _leak(leak: Number, like: Tensor) -> Tensor:
    """The leak with a trailing axis, (M, 1) or (1,), real."""
    real = like.real if like.is_complex() else like
    value = on(member(leak, real), real)
    return value.reshape(-1, 1) if value.ndim else value.reshape(1)


def _step_matrix(mu: Tensor, alpha: Tensor, dt: float, k: int) -> Tensor:
    """One Euler step of the mode mu, (..., k + 1, k + 1), in the order of updates of the published code."""
    size = (*mu.shape, k + 1, k + 1)
    states = torch.eye(k + 1, dtype=mu.dtype, device=mu.device).expand(size).clone()  # rows: lower units, controller
    order = [k, 0] if k == 1 else [*range(k), k]
    for row in order:
        decay = alpha if row == k else torch.ones_like(alpha)
        source = states[..., row - 1, :] * (mu if row == k else torch.ones_like(mu)).unsqueeze(-1)
        states[..., row, :] = states[..., row, :] * (1 - dt * decay).unsqueeze(-1) + dt * source
    return states


def check_growth(rule: str, place: str, radius: float, steps: int, dt: float) -> None:
    """Raise ConfigError when states that grow by `radius` a step run away within all steps."""
    if radius > 1 and steps * np.log(radius) > np.log(GROWTH):
        raise ConfigError(
            f"{rule}: the dynamics of block {place} grows by a factor {radius:.4g} a step, for {steps} steps; "
            f"it needs a dt below {dt}, a larger leak, or other feedback (neg_transpose, optimized)"
        )
