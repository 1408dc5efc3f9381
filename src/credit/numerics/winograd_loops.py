"""Compiled passes of `credit.numerics.winograd`: maps (B, H W, C), tiles (n², T, C).

A matrix is given by its rows: `pairs` of terms, their `places` and `factors`. A `group` of tiles, a divisor of T, is
taken at once: a loop over few channels costs more in starting than in arithmetic.
"""

from __future__ import annotations

import numpy as np

from credit.numerics.compiled import compiled


@compiled
def _weighted(given, base, stride, pairs, places, factors, a, out, o):
    """out[o] = row a of a matrix times the rows base, base + stride, ... of `given`; in one pass, unless it is long."""
    p, q = base + stride * places[a, 0], base + stride * places[a, 1]
    f, g = factors[a, 0], factors[a, 1]
    if pairs[a] == 1:
        for c in range(out.shape[1]):
            out[o, c] = f * given[p, c] + g * given[q, c]
        return
    r, s = base + stride * places[a, 2], base + stride * places[a, 3]
    h, i = factors[a, 2], factors[a, 3]
    if pairs[a] == 2:
        for c in range(out.shape[1]):
            out[o, c] = f * given[p, c] + g * given[q, c] + h * given[r, c] + i * given[s, c]
        return
    u, v = base + stride * places[a, 4], base + stride * places[a, 5]
    j, k = factors[a, 4], factors[a, 5]
    for c in range(out.shape[1]):
        total = f * given[p, c] + g * given[q, c] + h * given[r, c] + i * given[s, c]
        out[o, c] = total + j * given[u, c] + k * given[v, c]
    for m in range(6, 2 * pairs[a], 2):
        p, q = base + stride * places[a, m], base + stride * places[a, m + 1]
        f, g = factors[a, m], factors[a, m + 1]
        for c in range(out.shape[1]):
            out[o, c] += f * given[p, c] + g * given[q, c]


@compiled
def to_tiles(maps, width, pairs, places, factors, down, across, step, offset, group, tiles):
    """tiles = M d M' of the windows d at distance `step`, the first `offset` pixels outside; M (n, s)."""
    channels, height, n, size = maps.shape[2], maps.shape[1] // width, pairs.shape[0], places.max() + 1
    groups, length = tiles.shape[1] // group, group * channels
    out = tiles.reshape(n * n * groups, length)
    window, half = np.empty(size * size * length, maps.dtype), np.empty(n * size * length, maps.dtype)
    pixels, rows = window.reshape(size * size * group, channels), window.reshape(size, size * length)
    halves, given = half.reshape(n, size * length), half.reshape(n * size, length)
    for first in range(groups):
        for g in range(group):
            t = first * group + g
            b, i, j = t // (down * across), t // across % down, t % across
            for p in range(size):
                row = i * step - offset + p
                for q in range(size):
                    column, at = j * step - offset + q, (p * size + q) * group + g
                    if 0 <= row < height and 0 <= column < width:
                        k = row * width + column
                        for c in range(channels):
                            pixels[at, c] = maps[b, k, c]
                    else:
                        for c in range(channels):
                            pixels[at, c] = 0
        for a in range(n):
            _weighted(rows, 0, 1, pairs, places, factors, a, halves, a)
        for a in range(n):
            for e in range(n):
                _weighted(given, a * size, 1, pairs, places, factors, e, out, (a * n + e) * groups + first)


@compiled
def from_tiles(tiles, width, pairs, places, factors, down, across, step, offset, group, maps):
    """Adjoint of `to_tiles`: maps = sum of M' z M at the windows; pairs, places, factors of M', (s, n)."""
    channels, height, size, n = maps.shape[2], maps.shape[1] // width, pairs.shape[0], places.max() + 1
    groups, length = tiles.shape[1] // group, group * channels
    given = tiles.reshape(n * n * groups, length)
    window, half = np.empty(size * size * length, maps.dtype), np.empty(n * size * length, maps.dtype)
    pixels, rows = window.reshape(size * size * group, channels), window.reshape(size, size * length)
    halves, out = half.reshape(n, size * length), half.reshape(n * size, length)
    maps[:] = 0
    for first in range(groups):
        for a in range(n):
            for e in range(size):
                _weighted(given, a * n * groups + first, groups, pairs, places, factors, e, out, a * size + e)
        for p in range(size):
            _weighted(halves, 0, 1, pairs, places, factors, p, rows, p)
        for g in range(group):
            t = first * group + g
            b, i, j = t // (down * across), t // across % down, t % across
            for p in range(size):
                row = i * step - offset + p
                for q in range(size):
                    column, at = j * step - offset + q, (p * size + q) * group + g
                    if 0 <= row < height and 0 <= column < width:
                        k = row * width + column
                        for c in range(channels):
                            maps[b, k, c] += pixels[at, c]
