"""The loops of `credit.methods.inversion.dynamics`, compiled for the CPU: one sample of one member after another.

For nets of tens of units, where a step costs less than calling a tensor operation. Inner loops run along
contiguous memory and add in a fixed order, so that results depend neither on vector width nor on threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from credit.numerics.compiled import compiled
from credit.numerics.stack import table
from credit.numerics.threads import as_array, share

LIMIT = 1280  # units of all samples together: beyond, vectorised tensor operations are faster


def pays(delta: Tensor, units: int) -> bool:
    """Whether the compiled loop is the faster one for signals like delta (M, batch, n) and `units` lower units."""
    small = delta.shape[0] * delta.shape[1] * units <= LIMIT * torch.get_num_threads()
    return delta.device.type == "cpu" and delta.dtype in (torch.float32, torch.float64) and small


def two_loops(weight, feedback, leak, delta, dt: float, steps: int, tanh: bool) -> Tensor:
    """r (M, B, n_low) after `steps` steps of DI; arguments as in `run_loop`, all with the stack axis."""
    members, batch, _ = delta.shape
    out, kind = delta.new_zeros(members, batch, weight.shape[-1]), delta.numpy().dtype.type
    leaks = table([leak], members, kind)[:, 0]
    arrays = (as_array(weight.mT), as_array(feedback.mT), leaks, as_array(delta), out.numpy())
    share(_two_loops, members * batch, *arrays, kind(dt), steps, tanh)
    return out


def single_loop(weights, feedback, leak, delta, dt: float, steps: int, slopes: Sequence[Tensor] | None):
    """r_1, ..., r_k, (M, B, n_l), after `steps` steps of SDI; arguments as in `run_chain`, all with the stack axis."""
    members, batch, _ = delta.shape
    sizes = [w.shape[-1] for w in weights]
    offsets = np.cumsum([0, *sizes])
    out, kind = delta.new_zeros(members, batch, offsets[-1]), delta.numpy().dtype.type  # numbers of one precision
    factors = out if slopes is None else 1 / torch.cat(list(slopes), -1)
    ups = tuple(as_array(w.mT) for w in weights)
    leaks = table([leak], members, kind)[:, 0]
    arrays = (ups, as_array(feedback.mT), leaks, as_array(delta), as_array(factors), out.numpy())
    share(_single_loop, members * batch, *arrays, offsets, kind(dt), steps, slopes is None)
    return list(out.split(sizes, -1))


@compiled
def _tanh(x):
    """tanh; its series where four terms are exact to rounding, several times as fast and where regressions live."""
    if abs(x) < 0.015:
        s = x * x
        return x - x * s * (1 / 3 - s * (2 / 15 - s * (17 / 315)))
    return np.tanh(x)


@compiled
def _two_loops(first, last, up, down, leak, delta, out, dt, steps, tanh):
    """Samples first to last - 1, counted through all members. up (M, n_low, n_up), down (M, n_up, n_low)."""
    n_low, n_up = up.shape[1:]
    u, du, dr = np.empty_like(delta[0, 0]), np.empty_like(delta[0, 0]), np.empty_like(out[0, 0])
    for sample in range(first, last):
        m, b = divmod(sample, delta.shape[1])
        r = out[m, b]
        u[:] = 0
        for _ in range(steps):
            for i in range(n_up):
                du[i] = -leak[m] * u[i] - delta[m, b, i]
            for j in range(n_low):
                signal = _tanh(r[j]) if tanh else r[j]
                for i in range(n_up):
                    du[i] += up[m, j, i] * signal
            changed = False
            for i in range(n_up):
                new = u[i] + dt * du[i]
                changed |= new != u[i]
                u[i] = new
            for j in range(n_low):
                dr[j] = -r[j]
            for i in range(n_up):
                for j in range(n_low):
                    dr[j] += down[m, i, j] * u[i]
            for j in range(n_low):
                new = r[j] + dt * dr[j]
                changed |= new != r[j]
                r[j] = new
            if not changed:
                break


@compiled
def _single_loop(first, last, ups, down, leak, delta, factors, out, offsets, dt, steps, tanh):
    """As `_two_loops`; ups: (M, n_l, n_{l+1}) each; the r_l lie one after another in out, at `offsets`."""
    n_out, layers = delta.shape[2], len(ups)
    u, du, dr = np.empty_like(delta[0, 0]), np.empty_like(delta[0, 0]), np.empty_like(out[0, 0])
    for sample in range(first, last):
        m, b = divmod(sample, delta.shape[1])
        r = out[m, b]
        u[:] = 0
        for _ in range(steps):
            changed = False
            for j in range(offsets[1]):
                dr[j] = -r[j]
            for i in range(n_out):
                for j in range(offsets[1]):
                    dr[j] += down[m, i, j] * u[i]
            for i in range(n_out):
                du[i] = -leak[m] * u[i] - delta[m, b, i]
            for k in range(layers):
                start, stop = offsets[k], offsets[k + 1]
                for j in range(start, stop):
                    new = r[j] + dt * dr[j]
                    changed |= new != r[j]
                    r[j] = new
                last_layer = k == layers - 1
                if not last_layer:
                    for i in range(stop, offsets[k + 2]):
                        dr[i] = -r[i]
                for j in range(start, stop):
                    signal = _tanh(r[j]) if tanh else r[j] * factors[m, b, j]
                    row = ups[k][m, j - start]
                    if last_layer:
                        for i in range(n_out):
                            du[i] += row[i] * signal
                    else:
                        for i in range(row.shape[0]):
                            dr[stop + i] += row[i] * signal
            for i in range(n_out):
                new = u[i] + dt * du[i]
                changed |= new != u[i]
                u[i] = new
            if not changed:
                break
