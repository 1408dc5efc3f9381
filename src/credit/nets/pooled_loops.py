"""Compiled passes over pooled maps, channels last: maps (B, H W, C), windows (B, h w, C)."""

from __future__ import annotations

import numpy as np

from credit.numerics.compiled import compiled


@compiled
def pooled(maps, bias, width, windows, size, stride, padding, top, index):
    """top: the largest of every window, the bias (C,) added; index: its place, the first of equals.

    maps: rows of `width`; windows: their number along rows and columns. What is not a number wins.
    """
    height = maps.shape[1] // width
    for b in range(maps.shape[0]):
        for i in range(windows[0]):
            for j in range(windows[1]):
                cell = i * windows[1] + j
                for c in range(maps.shape[2]):
                    top[b, cell, c] = -np.inf
                    index[b, cell, c] = max(0, i * stride - padding) * width + max(0, j * stride - padding)
                for row in range(max(0, i * stride - padding), min(height, i * stride - padding + size)):
                    for column in range(max(0, j * stride - padding), min(width, j * stride - padding + size)):
                        k = row * width + column
                        for c in range(maps.shape[2]):
                            value, best = maps[b, k, c], top[b, cell, c]
                            larger = value > best or value != value
                            top[b, cell, c] = value if larger else best
                            index[b, cell, c] = np.int32(k) if larger else index[b, cell, c]
                for c in range(maps.shape[2]):
                    top[b, cell, c] += bias[c]


@compiled
def unpooled(values, index, out):
    """The adjoint of pooling: values of the windows added up at the places `index` of maps that are 0 elsewhere."""
    for b in range(values.shape[0]):
        for k in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[b, k, c] = 0
        for k in range(values.shape[1]):
            for c in range(values.shape[2]):
                out[b, index[b, k, c], c] += values[b, k, c]
