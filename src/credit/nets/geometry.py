"""Sizes of convolutional nets, from their settings: windows, images that fit, multiply-adds. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Window = tuple[int, int, int]  # size, distance of neighbours, padding


def kernel_window(kernel: int | Sequence[int]) -> Window:
    """Of a convolution: its size, or [size, stride, padding], the last two optional (1, 0)."""
    return _window(kernel, 1)


def pool_window(pool: int | Sequence[int] | None) -> Window:
    """Of the pooling: its size, or [size, stride, padding], the last two optional (size, 0); None changes nothing."""
    size = 1 if pool is None else pool
    return _window(size, size if isinstance(size, int) else size[0])


def _window(given: int | Sequence[int], stride: int) -> Window:
    given = (given,) if isinstance(given, int) else tuple(given)
    size, stride, padding = given + (0, stride, 0)[len(given) :]
    return size, stride, padding


def sides(lengths: Sequence[int], window: Window) -> list[int]:
    """How many windows fit along each of an image's sides."""
    size, stride, padding = window
    return [(n + 2 * padding - size) // stride + 1 for n in lengths]


def conv_sides(net: Mapping[str, Any], image: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Height and width after the convolution, and after the pooling, of every convolution of `net`, the settings of a
    spec; image: (height, width)."""
    for _ in net.get("channels", ()):
        inner = sides(image, kernel_window(net["kernel"]))
        image = sides(inner, pool_window(net.get("pool")))
        yield inner, image


def image_problems(net: Mapping[str, Any], image: Sequence[int]) -> Iterator[str]:
    """A conv net's windows must fit the images (channels, height, width) of its data set."""
    if net["kind"] != "conv":
        return
    before = image[1:]
    for i, (inner, after) in enumerate(conv_sides(net, before)):
        if min(*inner, *after) < 1:
            yield (
                f"net.kernel = {net['kernel']}, net.pool = {net['pool']}; conv block {i} does not fit images of "
                f"{' x '.join(map(str, before))} pixels"
            )
            return
        before = after


def multiply_adds(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> float:
    """Multiply-adds of one forward pass of one sample through `net`, the settings of a spec.

    shape_in: (n,) or (C, H, W), flattened where the net begins with a dense layer.
    """
    total, shape = 0.0, tuple(shape_in)
    for channels, (inner, after) in zip(net.get("channels", ()), conv_sides(net, shape[1:])):
        total += channels * math.prod(inner) * shape[0] * kernel_window(net["kernel"])[0] ** 2
        shape = (channels, *after)
    n = math.prod(shape)
    for width in (*net.get("hidden_sizes", ()), n_out):
        total += n * width
        n = width
    return total


def activities(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> int:
    """Numbers that one sample's forward pass keeps: the input, convolutions before and after pooling, dense layers.

    net, shape_in: as for `multiply_adds`.
    """
    both = zip(net.get("channels", ()), conv_sides(net, shape_in[1:]))
    images = sum(channels * (math.prod(inner) + math.prod(after)) for channels, (inner, after) in both)
    return math.prod(shape_in) + images + sum(net.get("hidden_sizes", ())) + n_out


def parameter_shapes(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> dict[str, tuple[int, ...]]:
    """{"BLOCK.weight" or "BLOCK.bias": shape without the stack axis} of `net`, the settings of a spec.

    shape_in: (n,) or (C, H, W), flattened where the net begins with a dense layer.
    """
    weights, shape = [], tuple(shape_in)
    for channels, (_, after) in zip(net.get("channels", ()), conv_sides(net, shape[1:])):
        size = kernel_window(net["kernel"])[0]
        weights.append((channels, shape[0], size, size))
        shape = (channels, *after)
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
