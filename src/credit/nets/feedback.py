"""Feedback blocks: layers of a net turned round, with weights of their own.

A layer computes s = pool(phi(W x + b)); its feedback block G maps the space of s back to that of x:

    G(y) = T_Q rho(U y) + c        U: unpooling by given indices; rho: the layer's own phi, not its inverse;
                                   T_Q: the transposed map of the layer with weights Q; c: its bias

Source: Ernoult et al. (ICML 2022), "Towards Scaling Difference Target Propagation by Learning Backprop Targets", and
its official code, which makes a ConvTranspose2d of a Conv2d, a Linear of a Linear and a MaxUnpool2d of a MaxPool2d.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from credit.nets.base import BlockTrace, Layer

Collisions = Literal["overwrite", "add"]
NOT_ZERO_AT_ZERO = ("sigmoid", "softmax")  # activations that do not commute with unpooling


@dataclass(frozen=True)
class FeedbackBlock:
    """The feedback block of a layer.

    Weights are shaped as torch's Linear and ConvTranspose2d have them: (M, n_in, n_out) or, as those of the layer,
    (M, C_out, C_in, k, k), so that `credit.nets.base.init_block` draws them with torch's fans; biases (M, n_in) or
    (M, C_in), where the layer has one.
    collisions: what unpooling does where overlapping windows have the same largest activity: "overwrite", the last
    window's value stays (torch's MaxUnpool2d on the CPU); "add", the adjoint of pooling.
    """

    affine: ClassVar[bool] = True  # in its parameters

    layer: Layer
    collisions: Collisions = "overwrite"

    @property
    def dense(self) -> bool:
        """Whether the layer is fully connected."""
        return len(self.layer.shapes()["weight"]) == 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, without the stack axis."""
        weight = self.layer.shapes()["weight"]
        bias = {"bias": (weight[1],)} if self.layer.bias else {}
        return {"weight": weight[::-1] if self.dense else weight, **bias}

    def transposed(self, weight: Tensor) -> Tensor:
        """The layer's weight (M, ...) in the shape of the feedback weight, a view: with it T is the layer's adjoint."""
        return weight.mT if self.dense else weight

    def copied(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """The layer's weight (M, ...) as feedback weight, see `transposed`; no bias."""
        return {"weight": self.transposed(params["weight"])}

    def route(self, trace: BlockTrace) -> Tensor | None:
        """Where pooled activities came from, (M, B, C, h, w), flat over height x width; None without pooling."""
        pool = getattr(self.layer, "pool", None)
        if pool is None:
            return None
        return pool.index(trace.act) if trace.index is None else trace.index

    def rates(self, y: Tensor, route: Tensor | None) -> Tensor:
        """rho(U y) for y (M, B, ...) shaped as the layer's output: (M, B, n_out) or (M, B, C_out, H, W)."""
        phi = self.layer.phi
        if route is None:
            return phi.value(y)
        pool, sides, add = self.layer.pool, self.layer.shape_pre[1:], self.collisions == "add"
        if add or self.layer.activation in NOT_ZERO_AT_ZERO:
            return phi.value(pool.unpooled(y, route, sides, add))
        return pool.unpooled(phi.value(y), route, sides, add)  # the same, with fewer exponentials

    def linear(self, weight: Tensor, rates: Tensor, trace: BlockTrace) -> Tensor:
        """T_Q of rates (M, B, ...), shaped as the layer's input. trace: of the layer, for the shape of its input."""
        return self.layer.pull(weight.mT if self.dense else weight, rates, trace)

    def __call__(self, params: dict[str, Tensor], y: Tensor, route: Tensor | None, trace: BlockTrace) -> Tensor:
        """G(y), shaped as the layer's input (M, B, ...)."""
        out = self.linear(params["weight"], self.rates(y, route), trace)
        return out + self.broadcast(params["bias"]) if "bias" in params else out

    def differential(
        self, params: dict[str, Tensor], y: Tensor, route: Tensor | None, trace: BlockTrace, v: Tensor
    ) -> Tensor:
        """J_G v, shaped as the layer's input: how G changes at y in the direction v, both (M, B, ...)."""
        phi = self.layer.phi
        if route is None:
            spread, moved = y, v
        else:
            pool, sides, add = self.layer.pool, self.layer.shape_pre[1:], self.collisions == "add"
            spread, moved = (pool.unpooled(x, route, sides, add) for x in (y, v))
        return self.linear(params["weight"], phi.backward(moved, spread, phi.value(spread)), trace)

    def broadcast(self, bias: Tensor) -> Tensor:
        """The bias (M, n) with axes for samples and positions."""
        return bias.unsqueeze(-2) if self.dense else bias[..., None, :, None, None]

    def correlation(self, output: Tensor, rates: Tensor, trace: BlockTrace) -> Tensor:
        """Gradient of the sum of output * T_Q rates with respect to Q, summed over the batch.

        output (M, B, ...) is shaped as the layer's input, rates as those of `rates`.
        """
        gradient = self.layer.weight_gradient(replace(trace, input=output), rates)["weight"]
        return gradient.mT if self.dense else gradient


@dataclass(frozen=True)
class FeedbackReadout(FeedbackBlock):
    """Of the mean over positions and a dense layer: Q y + c at every position; not divided by their number.

    Weight (M, C, n_out), bias (M, C). With the transposed forward weight it is the adjoint times the number of
    positions, as published.
    """

    @property
    def dense(self) -> bool:
        return False

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, without the stack axis."""
        n_out, channels = self.layer.shapes()["weight"]
        return {"weight": (channels, n_out)} | ({"bias": (channels,)} if self.layer.bias else {})

    def transposed(self, weight: Tensor) -> Tensor:
        """The layer's weight (M, n_out, C) in the shape of the feedback weight, a view."""
        return weight.mT

    def linear(self, weight: Tensor, rates: Tensor, trace: BlockTrace) -> Tensor:
        """Q rates (M, B, C), at every position: (M, B, C, H, W)."""
        spread = (rates @ weight.mT)[..., None, None]
        return spread.expand(*spread.shape[:-2], *self.layer.shape_in[1:])

    def correlation(self, output: Tensor, rates: Tensor, trace: BlockTrace) -> Tensor:
        """Gradient of the sum of output * Q rates with respect to Q; output (M, B, C, H, W), rates (M, B, n_out)."""
        return output.sum((-2, -1)).mT @ rates
