"""Several optimisers in one object: that of the forward weights, and others by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit.errors import CheckpointError
from credit.numerics.trees import Params
from credit.optim.base import Affine, OptimizerLike


class OptimizerGroup:
    """The optimiser of the forward weights, and those of the feedback weights under names of their own.

    It can be used as the forward optimiser alone (`step`, `set_epoch`); its state is that of all.
    """

    def __init__(self, forward: OptimizerLike, others: Mapping[str, OptimizerLike]) -> None:
        self.forward, self.others = forward, dict(others)

    def step(self, params: Params, gradients: Params, lr_scale: float = 1.0) -> None:
        """One step of the forward weights, in place."""
        self.forward.step(params, gradients, lr_scale)

    @property
    def takes_products(self) -> bool:
        """Whether that of the forward weights does."""
        return self.forward.takes_products

    def affine(self, steps: int) -> Affine | None:
        """That of the forward weights."""
        return self.forward.affine(steps)

    def set_epoch(self, epoch: int) -> None:
        """An epoch of the present phase begins; the forward rate follows its schedule, the others are constant."""
        self.forward.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Copies of the states of all optimisers, by name."""
        return {"forward": self.forward.state_dict(), **{k: o.state_dict() for k, o in self.others.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`. Raises CheckpointError when it belongs to other optimisers."""
        optimizers = {"forward": self.forward, **self.others}
        if state.keys() != optimizers.keys():
            raise CheckpointError(
                f"optimiser state is that of {', '.join(state)}; this run has {', '.join(optimizers)}: "
                "delete the checkpoint to start again"
            )
        for name, opt in optimizers.items():
            opt.load_state_dict(state[name])
