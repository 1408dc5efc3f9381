"""Sizes of convolutional nets, from their settings: windows, images that fit, multiply-adds. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def image_problems(net: Mapping[str, Any], image: Sequence[int]) -> Iterator[str]:
    """A conv net's windows must fit the images (channels, height, width) of its data set."""
    if net["kind"] != "conv":
        return
    side = list(image[1:])
    size, stride, padding = pool_window(net["pool"])
    for i in range(len(net["channels"])):
        before = side
        side = [(n + 2 * net["padding"] - net["kernel"]) // net["stride"] + 1 for n in side]
        side = [(n + 2 * padding - size) // stride + 1 if n > 0 else 0 for n in side]
        if min(side) < 1:
            yield (
                f"net.kernel = {net['kernel']}, net.pool = {net['pool']}; conv block {i} does not fit images of "
                f"{' x '.join(map(str, before))} pixels"
            )
            return


def pool_window(pool: Sequence[int] | None) -> tuple[int, int, int]:
    """Size, stride and padding of the pooling; 1, 1, 0 changes nothing."""
    if pool is None:
        return 1, 1, 0
    size, stride, padding = (*pool, *(pool[0], 0)[len(pool) - 1 :])
    return size, stride, padding


def multiply_adds(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> float:
    """Multiply-adds of one forward pass of one sample through `net`, the settings of a spec.

    shape_in: (n,) or (C, H, W), flattened where the net begins with a dense layer.
    """
    total, shape = 0.0, tuple(shape_in)
    for channels in net.get("channels", ()):
        k = net["kernel"]
        side = [_windows(n, k, net["stride"], net["padding"]) for n in shape[1:]]
        total += channels * math.prod(side) * shape[0] * k * k
        if net.get("pool"):
            window, stride, padding = pool_window(net["pool"])
            side = [_windows(n, window, stride, padding) for n in side]
        shape = (channels, *side)
    n = math.prod(shape)
    for width in (*net.get("hidden_sizes", ()), n_out):
        total += n * width
        n = width
    return total


def parameter_shapes(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> dict[str, tuple[int, ...]]:
    """{"BLOCK.weight" or "BLOCK.bias": shape without the stack axis} of `net`, the settings of a spec.

    shape_in: (n,) or (C, H, W), flattened where the net begins with a dense layer.
    """
    weights, shape = [], tuple(shape_in)
    for channels in net.get("channels", ()):
        weights.append((channels, shape[0], net["kernel"], net["kernel"]))
        shape = (channels, *_sides(net, shape[1:]))
    n = math.prod(shape)
    for width in (*net.get("hidden_sizes", ()), n_out):
        weights.append((width, n))
        n = width
    bias = net.get("bias", True)
    biases = [bias] * len(weights) if isinstance(bias, bool) else list(bias)
    found = {}
    for i, (weight, has_bias) in enumerate(zip(weights, biases)):
        found |= {f"{i}.weight": weight} | ({f"{i}.bias": weight[:1]} if has_bias else {})
    return found


def _sides(net: Mapping[str, Any], sides: Sequence[int]) -> list[int]:
    """Height and width of what a convolution of `net`, and its pooling, make of an image."""
    after = [_windows(n, net["kernel"], net["stride"], net["padding"]) for n in sides]
    if not net.get("pool"):
        return after
    window, stride, padding = pool_window(net["pool"])
    return [_windows(n, window, stride, padding) for n in after]


def _windows(n: int, window: int, stride: int, padding: int) -> int:
    return (n + 2 * padding - window) // stride + 1
