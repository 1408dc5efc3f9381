"""Compiled passes over pooled activities, channels last: maps (B, H W, C), windows (B, h w, C)."""

from __future__ import annotations

import numpy as np

from credit.numerics.compiled import compiled


@compiled
def last_writers(index, places, last, writes):
    """writes: 1 where no later window has the same place `index`, else 0. last: memory (places, C)."""
    for b in range(index.shape[0]):
        for k in range(places):
            for c in range(index.shape[2]):
                last[k, c] = -1
        for k in range(index.shape[1]):
            for c in range(index.shape[2]):
                last[index[b, k, c], c] = k
        for k in range(index.shape[1]):
            for c in range(index.shape[2]):
                writes[b, k, c] = last[index[b, k, c], c] == k


@compiled
def scattered(values, index, writes, out):
    """`values` of the windows at the places `index` of `out`, which is left as it is elsewhere."""
    for b in range(values.shape[0]):
        for k in range(values.shape[1]):
            for c in range(values.shape[2]):
                if writes[b, k, c]:
                    out[b, index[b, k, c], c] = values[b, k, c]


@compiled
def elu_moved(y, dy, rates, index, writes, out):
    """elu(y + dy) - rates of the windows at the places `index` of `out`."""
    zero = y.dtype.type(0)
    for b in range(y.shape[0]):
        for k in range(y.shape[1]):
            for c in range(y.shape[2]):
                if writes[b, k, c]:
                    value = y[b, k, c] + dy[b, k, c]
                    value = np.expm1(value) if value < zero else value
                    out[b, index[b, k, c], c] = value - rates[b, k, c]


@compiled
def elu_pooled_twice(pre, change, clean, out, width, windows, size, stride, padding, best, place):
    """out = U elu(elu(top)) - clean, top the largest of pre + change in every window, U its place, the last stays.

    pre, change, clean, out: maps of rows of `width`; windows: their number along rows and columns; best, place: memory
    (C,). A monotone activation may follow the pooling: a window then takes one exponential, not one for each pixel.
    """
    zero, height = pre.dtype.type(0), pre.shape[1] // width
    for b in range(pre.shape[0]):
        for k in range(pre.shape[1]):
            for c in range(pre.shape[2]):
                out[b, k, c] = -clean[b, k, c]
        for i in range(windows[0]):
            for j in range(windows[1]):
                for c in range(pre.shape[2]):
                    best[c] = -np.inf
                    place[c] = max(0, i * stride - padding) * width + max(0, j * stride - padding)
                for row in range(max(0, i * stride - padding), min(height, i * stride - padding + size)):
                    for column in range(max(0, j * stride - padding), min(width, j * stride - padding + size)):
                        k = row * width + column
                        for c in range(pre.shape[2]):
                            value = pre[b, k, c] + change[b, k, c]
                            larger = value > best[c]
                            best[c] = value if larger else best[c]
                            place[c] = np.int32(k) if larger else place[c]
                for c in range(pre.shape[2]):
                    rate = best[c]
                    rate = np.expm1(np.expm1(rate)) if rate < zero else rate
                    out[b, place[c], c] = rate - clean[b, place[c], c]
