"""Initial values of parameters.

With n_in = fan-in and n_out = fan-out of the weight (a convolution's are its channels times k²):

    ================  =====================================================================================
    xavier_normal     N(0, gain² 2 / (n_in + n_out))
    xavier_uniform    U(±gain sqrt(6 / (n_in + n_out)))
    teacher           xavier_normal with gain 3, for the random teacher nets of DFC
    orthogonal        gain × (semi-)orthogonal: Q of the QR decomposition of a Gaussian, R's diagonal positive
    orthogonal_fan    orthogonal with gain × sqrt(6 / (n_in + n_out)), what DFC calls "orthogonal"
    he_uniform        U(±gain sqrt(6 / n_in))
    he_normal         N(0, gain² 2 / n_in)
    lecun_normal      N(0, gain² / n_in)
    nok               U(±gain / sqrt(n_in)), named as in PEPITA
    positive_uniform  U(0, gain / sqrt(n_in)), called "rnd" in PEPITA
    torch_default     U(±1 / sqrt(n_in)) for weights and biases, as torch.nn.Linear and Conv2d draw them
    uniform           U(±scale)
    normal            N(0, std²)
    folded_normal     |N(mean, std²)|, mean 0 unless given
    zeros, ones       constant
    given             the option `values`, rows of a dense weight, the same for all members
    ================  =====================================================================================

Biases are zero in all schemes but `torch_default`, and where a scheme has the option `bias`: U(±bias).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets.names import layer_options
from credit.numerics.rand import Rand

Scheme = str | Mapping[str, Any]  # of the module's table


def init(
    scheme: str | Mapping[str, object],
    shape: Sequence[int],
    rand: Rand,
    name: str,
    gain: float = 1.0,
    fan_from: Sequence[int] | None = None,
) -> Tensor:
    """One parameter, (M, *shape) or `shape` for a single net, drawn from the stream `name`.

    scheme: a name of the module's table, or {"name": …, option: number} with `gain`, `scale`, `mean` or `std`.
    shape: of one member, (n_out, n_in), (C_out, C_in, k, k), or (n,) for a bias. gain: multiplies the result.
    fan_from: shape of the weight that gives the fans, for biases. Raises ConfigError for an unknown scheme.
    """
    kind, options = layer_options(scheme)
    shape, width = tuple(shape), options.pop("bias")
    if len(shape) < 2 and kind != "torch_default":
        return _uniform(rand, name, shape, width) if width else _constant(rand, shape, 0.0)
    weight = tuple(fan_from or shape)
    if len(weight) < 2:
        raise ValueError(f"{name}: {kind} needs the shape of a weight to know the fan-in, got {weight}")
    return _DRAW[kind](rand, name, shape, *fans(weight), **options) * gain


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan-in, fan-out) of a weight of shape (n_out, n_in) or (C_out, C_in, *window)."""
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _constant(rand: Rand, shape: tuple[int, ...], value: float) -> Tensor:
    shape = (len(rand.seeds), *shape) if rand.stacked else shape
    return torch.full(shape, value, dtype=rand.dtype, device=rand.device)


def _normal(rand: Rand, name: str, shape: tuple[int, ...], std: float) -> Tensor:
    return rand.normal(name, shape) * std


def _uniform(rand: Rand, name: str, shape: tuple[int, ...], half_width: float) -> Tensor:
    return rand.uniform(name, shape, -half_width, half_width)


def _orthogonal(rand: Rand, name: str, shape: tuple[int, ...], gain: float) -> Tensor:
    rows, columns = shape[0], math.prod(shape[1:])
    gaussian = rand.normal(name, (max(rows, columns), min(rows, columns)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on the CPU and one thread, so that devices and machines agree
    try:
        q, r = torch.linalg.qr(gaussian.cpu())
    finally:
        torch.set_num_threads(threads)
    # QR leaves the signs of R's diagonal open; fixing them makes Q uniform over orthogonal matrices.
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    q = q.mT if rows < columns else q
    return q.reshape(*q.shape[:-2], *shape).to(rand.device) * gain


def _given(rand: Rand, name: str, shape: tuple[int, ...], values: Sequence[Sequence[float]]) -> Tensor:
    found = (len(values), len(values[0]))
    if found != shape:
        raise ConfigError(f"init.values: {found[0]} rows of {found[1]} numbers; {name} has shape {list(shape)}")
    weight = torch.tensor([list(row) for row in values], dtype=rand.dtype, device=rand.device)
    return weight.expand(len(rand.seeds), *shape).clone() if rand.stacked else weight


_DRAW = {
    "given": lambda r, s, shape, i, o, values: _given(r, s, shape, values),
    "xavier_normal": lambda r, s, shape, i, o, gain: _normal(r, s, shape, gain * math.sqrt(2 / (i + o))),
    "xavier_uniform": lambda r, s, shape, i, o, gain: _uniform(r, s, shape, gain * math.sqrt(6 / (i + o))),
    "teacher": lambda r, s, shape, i, o: _normal(r, s, shape, 3 * math.sqrt(2 / (i + o))),
    "orthogonal": lambda r, s, shape, i, o, gain: _orthogonal(r, s, shape, gain),
    "orthogonal_fan": lambda r, s, shape, i, o, gain: _orthogonal(r, s, shape, gain * math.sqrt(6 / (i + o))),
    "he_uniform": lambda r, s, shape, i, o, gain: _uniform(r, s, shape, gain * math.sqrt(6 / i)),
    "he_normal": lambda r, s, shape, i, o, gain: _normal(r, s, shape, gain * math.sqrt(2 / i)),
    "lecun_normal": lambda r, s, shape, i, o, gain: _normal(r, s, shape, gain / math.sqrt(i)),
    "nok": lambda r, s, shape, i, o, gain: _uniform(r, s, shape, gain / math.sqrt(i)),
    "positive_uniform": lambda r, s, shape, i, o, gain: r.uniform(s, shape, 0.0, gain / math.sqrt(i)),
    "torch_default": lambda r, s, shape, i, o: _uniform(r, s, shape, 1 / math.sqrt(i)),
    "uniform": lambda r, s, shape, i, o, scale: _uniform(r, s, shape, scale),
    "normal": lambda r, s, shape, i, o, std: _normal(r, s, shape, std),
    "folded_normal": lambda r, s, shape, i, o, mean, std: (_normal(r, s, shape, std) + mean).abs(),
    "zeros": lambda r, s, shape, i, o: _constant(r, shape, 0.0),
    "ones": lambda r, s, shape, i, o: _constant(r, shape, 1.0),
}
