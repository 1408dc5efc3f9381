"""Minimal filtering against torch's convolutions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from credit.numerics.winograd import Winograd, possible

CASES = [
    ((16, 16), 3, 1),
    ((4, 4), 3, 1),
    ((2, 2), 3, 1),
    ((1, 1), 3, 1),
    ((7, 5), 3, 0),
    ((9, 14), 5, 2),
    ((6, 6), 7, 3),
]


@pytest.mark.parametrize(("sides", "kernel", "padding"), CASES)
def test_a_convolution_and_its_adjoints(sides, kernel, padding):
    tiled = Winograd(sides, kernel, padding, torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *sides, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 3, kernel, kernel, generator=generator, dtype=torch.float64)
    plain = F.conv2d(x, weight, padding=padding)
    z = torch.randn(plain.shape, generator=generator, dtype=torch.float64)
    assert plain.shape[2:] == tiled.sides_out
    d, a, g = tiles(tiled.input, x), tiles(tiled.output, z), tiled.values(weight)
    close(maps(tiled.output, d @ g.mT, plain.shape), plain)
    close(maps(tiled.input, a @ g, x.shape), torch.nn.grad.conv2d_input(x.shape, weight, z, padding=padding))
    close(tiled.weights(a.mT @ d), torch.nn.grad.conv2d_weight(x, weight.shape, z, padding=padding))


def tiles(side, maps):
    flat = maps.permute(0, 2, 3, 1).flatten(1, 2).contiguous()
    down, across = side.geometry[:2]
    out = torch.empty(len(side.forth[0]) ** 2, len(maps) * down * across, maps.shape[1], dtype=maps.dtype)
    return side.values(flat.numpy(), maps.shape[3], out)


def maps(side, values, shape):
    n, c, h, w = shape
    out = torch.empty(n, h * w, c, dtype=values.dtype)
    side.maps(values, w, out.numpy())
    return out.unflatten(1, (h, w)).permute(0, 3, 1, 2)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_what_it_can_do():
    assert possible((4, 4), 3, 1) and possible((4, 4), 7, 1)
    assert not possible((4, 4), 3, 2) and not possible((4, 4), 1, 1) and not possible((20, 20), 9, 1)
