"""Feedback of a residual stage: its basic blocks turned round, with weights of their own, in reverse order.

Of a block relu(conv2(relu(conv1(x))) + shortcut(x)) it is, with T1, T2, S transposed convolutions of fresh weights,

    a = relu(y)      h = relu(T2(a))      T1(h) + S(a)          S the identity where the shortcut is

Not affine in its weights, and no adjoint even with those of the stage. Source: Ernoult et al. (ICML 2022) and its code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from credit.nets.base import Block, BlockTrace
from credit.nets.conv import Conv
from credit.nets.feedback import Collisions, FeedbackBlock, FeedbackReadout
from credit.nets.resnet import RELU, Readout, Stage

Cache = list[tuple[Tensor, ...]]  # of every basic block, the lowest first: y, a, T2(a), h


@dataclass(frozen=True)
class FeedbackStage:
    """Weights (M, C_out, C_in, k, k) are shaped and named as the stage's."""

    affine: ClassVar[bool] = False
    dense: ClassVar[bool] = False

    layer: Stage

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, without the stack axis."""
        return self.layer.shapes()

    def copied(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """The stage's weights (M, ...) as feedback weights, views."""
        return dict(params)

    def route(self, trace: BlockTrace) -> None:
        """A stage has no pooling."""
        return

    def __call__(self, params: dict[str, Tensor], y: Tensor, route: None, trace: BlockTrace) -> Tensor:
        """G(y), shaped as the stage's input (M, B, C, H, W)."""
        return self.run(params, y)[0]

    def run(self, params: dict[str, Tensor], y: Tensor) -> tuple[Tensor, Cache]:
        """G(y) for y (M, B, C, H, W), and what `backward` needs."""
        cache: Cache = []
        for i in reversed(range(self.layer.count)):
            weights, convs = self.layer.weights(params, i), self.layer.units[i].convolutions
            a = RELU.value(y)
            u = _transposed(convs["conv2"], weights["conv2"], a)
            h = RELU.value(u)
            out = _transposed(convs["conv1"], weights["conv1"], h)
            cache.append((y, a, u, h))
            y = out + (_transposed(convs["shortcut"], weights["shortcut"], a) if "shortcut" in convs else a)
        return y, cache[::-1]

    def differential(self, params: dict[str, Tensor], y: Tensor, route: None, trace: BlockTrace, v: Tensor) -> Tensor:
        """J_G v, shaped as the stage's input: how G changes at y in the direction v, both (M, B, C, H, W)."""
        cache = self.run(params, y)[1]
        for i in reversed(range(self.layer.count)):
            weights, convs = self.layer.weights(params, i), self.layer.units[i].convolutions
            below, a, u, h = cache[i]
            moved = RELU.backward(v, below, a)
            inner = RELU.backward(_transposed(convs["conv2"], weights["conv2"], moved), u, h)
            side = _transposed(convs["shortcut"], weights["shortcut"], moved) if "shortcut" in convs else moved
            v = _transposed(convs["conv1"], weights["conv1"], inner) + side
        return v

    def backward(self, params: dict[str, Tensor], cache: Cache, grad: Tensor) -> dict[str, Tensor]:
        """Gradient at G(y) (M, B, C, H, W) -> of the parameters, summed over the batch."""
        gradients: dict[str, Tensor] = {}
        for i, (y, a, u, h) in enumerate(cache):
            weights, convs = self.layer.weights(params, i), self.layer.units[i].convolutions
            gradients[f"{i}.conv1.weight"] = _correlation(convs["conv1"], grad, h)
            inner = RELU.backward(convs["conv1"].linear({"weight": weights["conv1"]}, grad), u, h)
            gradients[f"{i}.conv2.weight"] = _correlation(convs["conv2"], inner, a)
            above = convs["conv2"].linear({"weight": weights["conv2"]}, inner)
            if "shortcut" in convs:
                gradients[f"{i}.shortcut.weight"] = _correlation(convs["shortcut"], grad, a)
                above = above + convs["shortcut"].linear({"weight": weights["shortcut"]}, grad)
            else:
                above = above + grad
            grad = RELU.backward(above, y, a)
        return gradients


def feedback_of(block: Block, collisions: Collisions = "overwrite") -> FeedbackBlock | FeedbackStage:
    """The feedback block of a layer or a stage."""
    if isinstance(block, Stage):
        return FeedbackStage(block)
    return (FeedbackReadout if isinstance(block, Readout) else FeedbackBlock)(block, collisions)


def _transposed(conv: Conv, weight: Tensor, rates: Tensor) -> Tensor:
    """T(rates), shaped as the convolution's input."""
    return conv.pull(weight, rates, BlockTrace(rates, rates, rates, rates))


def _correlation(conv: Conv, output: Tensor, rates: Tensor) -> Tensor:
    """Gradient of the sum of output * T(rates) with respect to the weight of the transposed convolution T."""
    return conv.weight_gradient(BlockTrace(output, output, output, output), rates)["weight"]
