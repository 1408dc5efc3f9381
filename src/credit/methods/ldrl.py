"""Difference target propagation with the local difference reconstruction loss, L-DRL (Ernoult et al., ICML 2022)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import Batch, State
from credit.methods.fast import Fast, has_last_word
from credit.methods.targets.chain import Link
from credit.methods.targets.fused import fused, possible
from credit.methods.targets.losses import FeedbackStep, difference_reconstruction
from credit.methods.targets.names import LACKS
from credit.methods.targets.rule import TargetPropagation, noise_stream
from credit.nets.base import Net
from credit.nets.pooled import compiled
from credit.numerics.memory import in_memory
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike
from credit.optim.group import OptimizerGroup


@dataclass(frozen=True)
class LocalDifferenceReconstruction(TargetPropagation):
    """With small noise the Jacobian of a feedback block becomes the transposed one of its layer (Theorem 4.2), and with
    small beta the updates those of backpropagation (Theorem 4.3).

    The bias of a feedback block has no part in loss or targets, and keeps its initial value.
    products: "bfloat16" makes the products of convolutional feedback iterations in that precision, on the CPU for
    single networks; differences, sums and weights keep their own, as has everything with "full".
    """

    excludes: ClassVar[str] = "credit.methods.targets.names.with_products"

    products: Literal["full", "bfloat16"] = "full"

    def check_net(self, net: Net) -> None:
        """Also refuses a convolution whose iterations cannot be fused, for products of low precision."""
        super().check_net(net)
        for i in range(1, len(net)) if self.products != "full" else ():
            if not possible(net.block(i), self.feedback.collisions):
                raise ConfigError(f"{self.name}.products = {self.products!r}; block {i} {LACKS}")

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """As of the base. Raises ConfigError for products of low precision in a stack or on a device."""
        if self.products != "full" and (net.members(params) > 1 or net.like(params).device.type != "cpu"):
            raise ConfigError(f"{self.name}.products = {self.products!r}; needs a single network on the CPU")
        return super().init(net, params, rand)

    def feedback_step(
        self, link: Link, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str
    ) -> FeedbackStep:
        return difference_reconstruction(link, params, sigma, rand, stream, self.feedback.samples)

    def fast(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, batch_size: int, *,
             function: str = "update") -> Fast | None:  # fmt: skip
        """Fused iterations, see `credit.methods.targets.fused`."""
        plain = has_last_word(type(self), "fast", frozenset({"update", "feedback_step"}))
        stacks = net.kind == "dense" and net.members(params) > 1
        known = (stacks or net.members(params) == 1) and self.feedback.samples == 1
        if function != "update" or net.kind == "resnet" or not (plain and known):
            return None
        if in_memory(*(p for block in params.values() for p in block.values()), batch.x):
            net = compiled(net)
        return Fast(functools.partial(self._update, net, iterate=self._fused_iterations))

    def _iterations(self, i: int, link: Link, n: int, opt: OptimizerGroup, state: State, rand: Rand) -> list[Tensor]:
        if self.products == "full":
            return super()._iterations(i, link, n, opt, state, rand)
        return self._fused_iterations(i, link, n, opt, state, rand)

    def _fused_iterations(
        self, i: int, link: Link, n: int, opt: OptimizerGroup, state: State, rand: Rand
    ) -> list[Tensor]:
        """As `_iterations`, but of the losses the last alone."""
        if not n:
            return []
        step = fused(link, self.products)
        if step is None and self.products != "full":
            raise ConfigError(f"{self.name}.products = {self.products!r}; block {i} {LACKS}")
        if step is None:
            return self._iterations(i, link, n, opt, state, rand)
        for k in range(n):
            found = step(state["feedback"][str(i)], self.sigma(i, state), rand, noise_stream(i), loss=k == n - 1)
            opt.others["feedback"].step(state["feedback"], {str(i): found.gradients})
        return [found.loss]


part = LocalDifferenceReconstruction
