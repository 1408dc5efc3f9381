"""Sums of products of samples side by side: against sums in float64, and the same bits for every width of registers."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from credit.numerics import tiles
from credit.numerics.tiles import SIDE

SHAPES = [(10, 10, 32), (7, 3, 5), (4, 17, 2), (1, 21, 9), (5, 5, 1), (3, 2, 0)]


def arrays(rows, columns, count, kind, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, n, SIDE)).astype(kind) for n in (rows, columns))


def close(ours, exact, kind):
    return np.abs(ours - exact).max() < (2e-13 if kind == np.float64 else 2e-4)  # sums of up to 1000 products


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "columns", "count"), SHAPES)
def test_products_are_added_subtracted_shared_and_summed(rows, columns, count, kind):
    a, b = arrays(rows, columns, count, kind)
    exact = np.einsum("krs,kcs->rcs", a.astype(float), b)
    out = np.ones((rows, columns, SIDE), kind)
    shape, at_out = (rows, columns, count), (0, columns, 1)
    left, right = (a.reshape(-1), (0, 1, rows)), (b.reshape(-1), (0, 1, columns))
    tiles.add_products(shape, out.reshape(-1), at_out, *left, *right)
    assert close(out, exact + 1, kind)
    tiles.subtract_products(shape, out.reshape(-1), at_out, *left, *right)
    assert close(out, np.ones_like(exact), kind)
    shared = np.ascontiguousarray(b[..., 0])
    tiles.add_shared(shape, out.reshape(-1), at_out, *left, shared.reshape(-1), right[1])
    assert close(out, 1 + np.einsum("krs,kc->rcs", a.astype(float), shared), kind)
    total, both = np.ones((rows, columns), kind), [np.concatenate([x, 2 * x]).reshape(-1) for x in (a, b)]
    tiles.add_summed(
        (rows, columns, count),
        total.reshape(-1),
        (0, columns, 1),
        both[0],
        (0, 1, rows, count * rows),
        both[1],
        (0, 1, columns, count * columns),
    )
    assert close(total, 1 + 5 * exact.sum(-1), kind)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("folded", [False, True])
def test_every_width_of_registers_and_tile_gives_the_same_bits(kind, folded):
    rows, columns, count = 2, 3, 40
    a, b = (x.reshape(-1) for x in arrays(rows, columns, count, kind))
    found = []
    for bytes_, shape in ((64, (2, 3)), (32, (2, 3)), (16, (1, 1))):
        operation = tiles.tile(*shape, folded=folded, bytes_=bytes_)

        @numba.njit
        def run(a, b, out, operation=operation, high=shape[0], wide=shape[1]):
            for r in range(0, rows, high):
                for c in range(0, columns, wide):
                    at_out, at_a, at_b = (
                        (r * columns + c, columns, 1),
                        (r, 1, rows, 20 * rows),
                        (c, 1, columns, 20 * columns),
                    )
                    operation(out, at_out, a, at_a, b, at_b, 20)

        out = np.zeros(rows * columns * (1 if folded else SIDE), kind)
        run(a, b, out)
        found.append(out)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.abs(found[0]).max() > 1


def test_memory_is_cut_where_a_line_of_the_cache_begins():
    for kind in (np.float32, np.float64):
        memory = np.zeros(200, kind)
        for skip in range(4):
            cut = memory[skip:]
            assert (cut.ctypes.data + tiles.aligned(cut) * cut.itemsize) % tiles.ALIGN == 0
            part, end = tiles.next_part(cut, 3, 2)
            assert (part.shape, end) == ((2 * SIDE,), 3 + 2 * SIDE)
