"""Backpropagation (Rumelhart, Hinton & Williams 1986), written out: no autograd graph is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from credit.methods.backward import pooled
from credit.methods.backward.sweep import sweep
from credit.methods.base import Batch, Method, State, Step, forward
from credit.methods.fast import Fast, Result, has_last_word
from credit.nets.base import Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike


@dataclass(frozen=True)
class BP(Method):
    """delta_L = phi' * dL/dh_L, delta_l = phi' * (W_{l+1}^T delta_{l+1}), gradient of W_l = delta_l h_{l-1}^T.

    steps: of the optimiser on one mini-batch, each with the gradient at the weights that the one before has left, and
    with dropout masks of its own; predictive coding whose weights learn at every iteration is compared with that
    (Song et al. 2024). masks: "after_sweep" multiplies dropout masks onto the deltas only after they have gone down, as
    PEPITA's code does; from two hidden layers on that is no longer the gradient.
    """

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv", "resnet")
    excludes: ClassVar[str] = "credit.nets.suited.layer_masks"

    steps: Annotated[int, ">= 1"] = 1
    masks: Literal["in_sweep", "after_sweep"] = "in_sweep"

    def passes_products(self) -> bool:
        return True

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """Gradient of the mean loss; info["deltas"] are the gradients at the pre-activations."""
        run = forward(net, params, batch, rand)
        gradients, deltas = sweep(net, run.trace, run.error, masks=self.masks)
        return Step(gradients, run.info | {"deltas": deltas})

    def update(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
        """`steps` optimiser steps; info is that of the first."""
        result = super().update(net, params, opt, state, batch, rand)
        for _ in range(self.steps - 1):
            super().update(net, params, opt, state, batch, rand)
        return result

    def fast(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, batch_size: int, *,
             function: str = "update") -> Fast | None:  # fmt: skip
        """For single convolutional nets, see `credit.methods.backward.pooled`."""
        plain = has_last_word(type(self), "fast", frozenset({"update", "gradients"}))
        return pooled.fast(net, params, batch) if plain and function == "update" and self.steps == 1 else None


part = BP
