"""The dynamics of dynamic inversion, for a given number of Euler steps.

Two loops (DI), controller u above and r below, both from 0, drive delta, feedback B:

    u <- u + dt (-leak u + W g(r) - delta)
    r <- r + dt (-r + B u)                       with the u of the same step

Single loop (SDI) over a chain r_1, ..., r_k, u with one feedback matrix B from u to r_1:

    r_1 <- r_1 + dt (-r_1 + B u)
    r_l <- r_l + dt (-r_l + W_{l-1} g(r_{l-1}))  with the r_{l-1} of the same step
    u   <- u + dt (-leak u + W_k g(r_k) - delta)

Signals are (M, batch, n), weights (M, n_up, n_low); the stack axis M is optional. Source: Podlaski & Machens 2020
with the update order of their code, on which finite-time values depend.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit.methods.inversion import loops as compiled
from credit.methods.inversion.operators import expands, loop_product
from credit.numerics.devices import on
from credit.numerics.stack import Number, member

CHECK_EVERY = 25  # steps between looks whether a fixed point is reached


def gain(product: Tensor, leak: Number, dt: float, steps: int) -> Tensor:
    """f(K) with r = B f(K) delta = f(K) B delta after `steps` steps of linear dynamics, (M, d, d). K: `loop_product`.

    In the coordinates of K a step is z <- A z + C delta, A = [[a, dt K], [dt a, 1 - dt + dt² K]], a = 1 - dt leak,
    C = -dt [1, dt]. Powers of A and their sum S_n C are doubled: S_2n = S_n + A^n S_n, log2(steps) times.
    """
    if steps == 0:
        return torch.zeros_like(product)
    d = product.shape[-1]
    identity = torch.eye(d, dtype=product.dtype, device=product.device).expand_as(product)
    keep = 1 - dt * on(member(leak, product), product)
    upper = torch.cat([keep * identity, dt * product], -1)
    power = torch.cat([upper, dt * upper + torch.cat([torch.zeros_like(product), (1 - dt) * identity], -1)], -2)
    total = torch.cat([-dt * identity, -(dt**2) * identity], -2)
    for bit in bin(steps)[3:]:
        total = total + power @ total
        power = power @ power
        if bit == "1":  # one more step: A^n C and A^n A from what the parts of A and C share
            both = power[..., :d] + dt * power[..., d:]
            total = total - dt * both
            power = torch.cat([keep * both, dt * (both @ product) + (1 - dt) * power[..., d:]], -1)
    return total[..., d:, :]


def run_linear(weight: Tensor, feedback: Tensor, leak: Number, delta: Tensor, dt: float, steps: int) -> Tensor:
    """r after `steps` steps of linear dynamics, (M, batch, n_low), by doubling or by the loop, whichever is cheaper."""
    d, batch = min(weight.shape[-2:]), delta.shape[-2]
    doubling = 12 * d**3 * steps.bit_length()  # multiplications, against those of the loop
    if doubling > 2 * steps * batch * weight.shape[-1] * weight.shape[-2]:
        return run_loop(weight, feedback, leak, delta, dt, steps, "linear")
    f = gain(loop_product(weight, feedback), leak, dt, steps)
    if expands(weight):
        return (f @ (feedback @ delta.mT)).mT
    return (feedback @ (f @ delta.mT)).mT


def run_loop(
    weight: Tensor, feedback: Tensor, leak: Number, delta: Tensor, dt: float, steps: int, dynamics: str
) -> Tensor:
    """r after `steps` steps with g = identity ("linear") or g = tanh, (M, batch, n_low), step by step."""
    if delta.ndim == 2:
        return run_loop(weight[None], feedback[None], leak, delta[None], dt, steps, dynamics)[0]
    if compiled.pays(delta, weight.shape[-1]):
        return compiled.two_loops(weight, feedback, leak, delta, dt, steps, dynamics == "tanh")
    up, down, drive = dt * weight.mT, dt * feedback.mT, -dt * delta
    keep = 1 - dt * on(leak, delta).reshape(-1, 1, 1)
    u, r = torch.zeros_like(delta), delta.new_zeros(*delta.shape[:-1], weight.shape[-1])
    for step in range(steps):
        below = torch.tanh(r) if dynamics == "tanh" else r
        new_u = torch.baddbmm(torch.addcmul(drive, u, keep.expand_as(u)), below, up)
        new_r = torch.baddbmm(r, new_u, down, beta=1 - dt)
        if step % CHECK_EVERY == 0 and torch.equal(new_u, u) and torch.equal(new_r, r):
            break
        u, r = new_u, new_r
    return r


def run_chain(
    weights: Sequence[Tensor],
    feedback: Tensor,
    leak: Number,
    delta: Tensor,
    dt: float,
    steps: int,
    slopes: Sequence[Tensor] | None,
) -> list[Tensor]:
    """[r_1, ..., r_k] of the single loop after `steps` steps, (M, batch, n_l). weights: W_1, ..., W_k.

    slopes: None for g = tanh; otherwise g(r_l) = r_l / slopes[l], ones for linear dynamics.
    """
    if delta.ndim == 2:
        slopes = None if slopes is None else [s[None] for s in slopes]
        stacked = run_chain([w[None] for w in weights], feedback[None], leak, delta[None], dt, steps, slopes)
        return [r[0] for r in stacked]
    sizes = [w.shape[-1] for w in weights]
    if compiled.pays(delta, sum(sizes)):
        return compiled.single_loop(weights, feedback, leak, delta, dt, steps, slopes)
    ups, down, drive = [dt * w.mT for w in weights], dt * feedback.mT, -dt * delta
    keep = 1 - dt * on(leak, delta).reshape(-1, 1, 1)
    factors = None if slopes is None else [1 / s for s in slopes]
    u, r = torch.zeros_like(delta), [delta.new_zeros(*delta.shape[:-1], n) for n in sizes]
    for step in range(steps):
        was = (u, *r)
        r = list(r)
        signal, onto = u, down
        for k in range(len(r)):
            r[k] = torch.baddbmm(r[k], signal, onto, beta=1 - dt)
            signal, onto = torch.tanh(r[k]) if factors is None else r[k] * factors[k], ups[k]
        u = torch.baddbmm(torch.addcmul(drive, u, keep.expand_as(u)), signal, onto)
        if step % CHECK_EVERY == 0 and all(torch.equal(a, b) for a, b in zip(was, (u, *r), strict=True)):
            break
    return r
