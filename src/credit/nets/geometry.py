"""Sizes of convolutional nets, from their settings: windows, images that fit, multiply-adds. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Layer:
    """Weights of one layer without the stack axis, the positions at which they are applied, and the numbers that a
    sample's pass keeps of it; `place`: BLOCK, or BLOCK.PART within a stage."""

    place: str
    weight: tuple[int, ...]
    bias: bool
    positions: int
    kept: int


def layers(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> list[Layer]:
    """Layers of `net`, the settings of a spec. shape_in: (n,) or (C, H, W), flattened where a dense layer is first."""
    if net.get("kind") == "resnet":
        return list(_residual(net, tuple(shape_in), n_out))
    weights, shape = [], tuple(shape_in)
    for channels, (inner, after) in zip(net.get("channels", ()), conv_sides(net, shape[1:])):
        size = kernel_window(net["kernel"])[0]
        positions = math.prod(inner)
        weights.append(((channels, shape[0], size, size), positions, channels * (positions + math.prod(after))))
        shape = (channels, *after)
    n = math.prod(shape)
    for width in (*net.get("hidden_sizes", ()), n_out):
        weights.append(((width, n), 1, width))
        n = width
    bias = net.get("bias", True)
    biases = [bias] * len(weights) if isinstance(bias, bool) else list(bias)
    return [
        Layer(str(i), weight, has_bias, positions, kept)
        for i, ((weight, positions, kept), has_bias) in enumerate(zip(weights, biases))
    ]


def _residual(net: Mapping[str, Any], shape_in: tuple[int, ...], n_out: int) -> Iterator[Layer]:
    """Of `credit.nets.resnet`."""
    channels, image = shape_in[0], list(shape_in[1:])

    def layer(place: str, width: int, size: int) -> Layer:
        positions = math.prod(image)
        return Layer(place, (width, channels, size, size), False, positions, 2 * width * positions)

    yield layer("0", net["channels"][0], 3)
    channels = net["channels"][0]
    for stage, (width, count) in enumerate(zip(net["channels"], net["blocks"]), 1):
        for unit in range(count):
            stride = 2 if unit == 0 and stage > 1 else 1
            image = sides(image, (3, stride, 1))
            yield layer(f"{stage}.{unit}.conv1", width, 3)
            before, channels = channels, width
            yield layer(f"{stage}.{unit}.conv2", width, 3)
            if stride != 1 or before != width:
                channels = before
                yield layer(f"{stage}.{unit}.shortcut", width, 1)
                channels = width
    yield Layer(str(len(net["channels"]) + 1), (n_out, channels), net.get("bias", True), 1, n_out)


def by(lengths: Sequence[int]) -> str:
    """Sides of an image as text."""
    return " x ".join(map(str, lengths))


def image_problems(net: Mapping[str, Any], image: Sequence[int]) -> Iterator[str]:
    """A conv net's windows must fit the images (channels, height, width) of its data set."""
    if net["kind"] != "conv":
        return
    before = image[1:]
    for i, (inner, after) in enumerate(conv_sides(net, before)):
        if min(*inner, *after) < 1:
            yield (
                f"net.kernel = {net['kernel']}, net.pool = {net['pool']}; conv block {i} does not fit images of "
                f"{by(image[1:])} pixels{f', {by(before)} before that block' if i else ''}"
            )
            return
        before = after


def multiply_adds(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> float:
    """Multiply-adds of one forward pass of one sample through `net`, see `layers`."""
    return float(sum(math.prod(layer.weight) * layer.positions for layer in layers(net, shape_in, n_out)))


def activities(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> int:
    """Numbers that one sample's forward pass keeps: the input, convolutions before and after pooling, dense layers."""
    return math.prod(shape_in) + sum(layer.kept for layer in layers(net, shape_in, n_out))


def parameter_shapes(net: Mapping[str, Any], shape_in: Sequence[int], n_out: int) -> dict[str, tuple[int, ...]]:
    """{"PLACE.weight" or "PLACE.bias": shape without the stack axis} of `net`, see `layers`."""
    found = {}
    for layer in layers(net, shape_in, n_out):
        found[f"{layer.place}.weight"] = layer.weight
        if layer.bias:
            found[f"{layer.place}.bias"] = layer.weight[:1]
    return found
