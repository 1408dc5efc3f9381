"""What learning rules and the training loop need of an optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from credit.numerics.trees import Params

# {block: {name: (keep, rate)}}, (M,) each; a rate is (M, n_out, n_in) where it differs between the weights of a block
Affine = dict[str, dict[str, tuple[Tensor, Tensor]]]


@runtime_checkable
class OptimizerLike(Protocol):
    """One optimiser, or several in one object, bound to the parameters of a stack; its state goes into checkpoints."""

    takes_products: bool  # whether gradients may be a `credit.numerics.products.Product`

    def step(self, params: Params, gradients: Params, lr_scale: float = 1.0) -> None:
        """Update `params` {block: {name: (M, ...)}} in place; a parameter without a gradient stays as it is."""

    def affine(self, steps: int) -> Affine | None:
        """(keep, rate) where a step is p <- keep p - rate g, and `steps` of them are taken now; else None.

        A rate may differ between the weights of a block, see `uniform`.
        """

    def set_epoch(self, epoch: int) -> None:
        """Epoch `epoch` of the present phase begins, with the rates of its schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Copies of its tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`. Raises CheckpointError when it belongs to another optimiser."""


def uniform(affine: Affine | None) -> bool:
    """Whether steps are affine, with one rate for all of a parameter."""
    return affine is not None and all(r.ndim < 2 for block in affine.values() for _, r in block.values())
