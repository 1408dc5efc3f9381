"""Views into flat arrays in compiled loops."""

from __future__ import annotations

import numpy as np
import pytest

from credit.numerics.compiled import compiled
from credit.numerics.views import matrix, part


@compiled
def copied(array, start, rows, columns, out):
    """The same numbers by both views."""
    block = matrix(array, start, rows, columns)
    for i in range(rows):
        row = part(array, start + i * columns, columns)
        for j in range(columns):
            out[0, i, j] = block[i, j]
            out[1, i, j] = row[j]
    block[rows - 1, columns - 1] = -1
    return np.dot(block, block.T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("start", "rows", "columns"), [(0, 1, 1), (3, 2, 4), (5, 4, 2), (1, 1, 10)])
def test_views_are_slices_of_the_array_itself(dtype, start, rows, columns):
    array = np.arange(20, dtype=dtype)
    expected, out = array[start : start + rows * columns].reshape(rows, columns).copy(), np.empty((2, rows, columns))
    product = copied(array, start, rows, columns, out)
    assert np.array_equal(out[0], expected)
    assert np.array_equal(out[1], expected)
    expected[-1, -1] = -1
    assert array[start + rows * columns - 1] == -1
    assert np.array_equal(product, expected @ expected.T)
