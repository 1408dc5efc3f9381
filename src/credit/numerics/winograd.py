"""Convolutions of stride 1 in fewer multiplications: minimal filtering (Winograd 1980; Lavin & Gray, CVPR 2016).

m x m pixels of a correlation with a k x k kernel are polynomial products, made from their values at n = m + k - 1
points in each direction: n² multiplications instead of m² k². With d a window of the input, g the kernel, y the
output and z what the output's gradient is, all of one tile and one pair of channels,

    y = A' [(G g G') (D d D')] A       adjoint in d: D' [(G g G') (A z A')] D       in g: G' [(D d D') (A z A')] G

with the inner product elementwise and ' the transpose. All are exact; rounding grows with n: at n = 8 it is twenty
times that of the plain sum in the mean, 3e-6 in single precision.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

POINTS = (0, 1, -1, 2, Fraction(-1, 2), -2, Fraction(1, 2))  # and infinity; their order keeps rounding small
LARGEST = len(POINTS) + 1  # points
RUN = 512  # numbers that a compiled loop takes at once, see `winograd_loops`
TILE = 4  # outputs of a tile in each direction


@functools.cache
def _loops():
    """The module of loops, loaded when the first runs."""
    from credit.numerics import winograd_loops

    return winograd_loops


@functools.cache
def values(n: int, length: int) -> np.ndarray:
    """(n, length): what turns `length` coefficients into values at n points, of which infinity is the last."""
    finite = [[float(Fraction(p) ** j) for j in range(length)] for p in POINTS[: n - 1]]
    return np.array([*finite, [float(j == length - 1) for j in range(length)]])


@functools.cache
def interpolation(n: int) -> np.ndarray:
    """(n, n), the transposed inverse of `values(n, n)`, without rounding but the last."""
    rows = [[Fraction(p) ** j for j in range(n)] for p in POINTS[: n - 1]]
    rows.append([Fraction(int(j == n - 1)) for j in range(n)])
    rows = [[*row, *(Fraction(int(i == j)) for j in range(n))] for i, row in enumerate(rows)]
    for i in range(n):
        pivot = next(j for j in range(i, n) if rows[j][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for j in range(n):
            if j != i:
                rows[j] = [x - rows[j][i] * y for x, y in zip(rows[j], rows[i], strict=True)]
    return np.array([[float(x) for x in row[n:]] for row in rows]).T


class Side:
    """Windows of maps and their values at the points, in both directions; windows outside the maps read zeros."""

    def __init__(self, matrix: np.ndarray, tiles: tuple[int, int], step: int, offset: int, dtype: torch.dtype) -> None:
        self.geometry = (*tiles, step, offset)
        kind = torch.empty(0, dtype=dtype).numpy().dtype
        self.forth, self.back = _terms(matrix.astype(kind)), _terms(matrix.T.astype(kind))

    def values(self, maps: np.ndarray, width: int, out: Tensor) -> Tensor:
        """Maps (B, H W, C) -> (n², T, C), T tiles of all maps."""
        _loops().to_tiles(maps, width, *self.forth, *self.geometry, _group(out.shape[1], out.shape[2]), out.numpy())
        return out

    def maps(self, values: Tensor, width: int, out: np.ndarray) -> np.ndarray:
        """The adjoint of `values`: (n², T, C) -> (B, H W, C)."""
        _loops().from_tiles(values.numpy(), width, *self.back, *self.geometry, _group(*values.shape[1:]), out)
        return out


def _group(tiles: int, channels: int) -> int:
    """Tiles to be taken at once, a divisor of their number."""
    return math.gcd(tiles, max(1, 2 ** math.floor(math.log2(max(1, RUN / channels)))))


def _terms(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every row the number of pairs of terms, their places and factors; a single one is paired with 0."""
    found = [np.flatnonzero(row) for row in matrix]
    pairs = np.array([-(-len(f) // 2) for f in found])
    places, factors = (np.zeros((len(matrix), 2 * max(pairs)), t) for t in (np.int64, matrix.dtype))
    for i, f in enumerate(found):
        places[i, : len(f)], factors[i, : len(f)] = f, matrix[i, f]
        places[i, len(f) :] = f[-1]
    return pairs, places, factors


@dataclass(frozen=True)
class Winograd:
    """Correlations of maps (H, W) with k x k kernels, stride 1; see the module's docstring.

    sides: (H, W) of the input. padding: zeros around it. dtype: of all arrays.
    """

    sides: tuple[int, int]
    kernel: int
    padding: int
    dtype: torch.dtype

    @property
    def sides_out(self) -> tuple[int, int]:
        """(H, W) of the output."""
        h, w = (n + 2 * self.padding - self.kernel + 1 for n in self.sides)
        return h, w

    @property
    def tile(self) -> int:
        """Outputs of a tile in each direction."""
        return min(TILE, LARGEST + 1 - self.kernel, max(self.sides_out))

    @property
    def points(self) -> int:
        """Points in each direction."""
        return self.tile + self.kernel - 1

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles of a map, down and across."""
        h, w = (-(-n // self.tile) for n in self.sides_out)
        return h, w

    @functools.cached_property
    def input(self) -> Side:
        """Of the input, d."""
        return Side(interpolation(self.points), self.tiles, self.tile, self.padding, self.dtype)

    @functools.cached_property
    def output(self) -> Side:
        """Of the output's gradient z; its adjoint gives the output."""
        return Side(values(self.points, self.tile), self.tiles, self.tile, 0, self.dtype)

    @functools.cached_property
    def _kernel(self) -> Tensor:
        once = values(self.points, self.kernel)
        return torch.from_numpy(np.kron(once, once)).to(self.dtype)  # (n², k²)

    def values(self, weight: Tensor) -> Tensor:
        """Weights (C_out, C_in, k, k) -> (n², C_out, C_in)."""
        return (self._kernel @ weight.reshape(-1, self.kernel**2).T).view(-1, *weight.shape[:2])

    def weights(self, values: Tensor) -> Tensor:
        """The adjoint of `values`: (n², C_out, C_in) -> (C_out, C_in, k, k)."""
        flat = (
            self._kernel.T @ values.flatten(1)
        ).T.contiguous()  # the product of the transposed takes four times as long
        return flat.view(*values.shape[1:], self.kernel, self.kernel)


def possible(sides: Sequence[int], kernel: int, stride: int) -> bool:
    """Whether `Winograd` does a convolution with fewer multiplications."""
    return stride == 1 and 3 <= kernel < LARGEST and min(sides) >= 1
