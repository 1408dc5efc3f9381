"""The group of hyperparameters of feedback blocks in target propagation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from credit.errors import ConfigError


@dataclass(frozen=True)
class Feedback:
    """The feedback blocks G_1, ..., G_{N-1} and a step of their learning; block 0 has none.

    init: a scheme of `credit.nets.init`, drawn with torch's fans (published: torch_default), or "symmetric", a copy of
    the forward weights with biases of 0. tied: that copy is made before every mini-batch. iterations, sigma, lr: steps
    for every mini-batch, standard deviation of the noise and rate; one value for all blocks, or one for each, from
    block 1 upwards. samples: draws of the noise for every sample of a step. optimizer: of the steps. momentum: of sgd.
    decay: factor of the weights in the gradient (L2). collisions: see `credit.nets.feedback`.
    """

    main: ClassVar[str] = "init"
    only_for: ClassVar[dict[str, tuple[str, str]]] = {"momentum": ("optimizer", "sgd")}

    init: Annotated[str | dict, "credit.methods.targets.names.options"] = "torch_default"
    tied: bool = False
    iterations: Annotated[int, ">= 0"] | tuple[Annotated[int, ">= 0"], ...] = 20
    sigma: Annotated[float, "> 0"] | tuple[Annotated[float, "> 0"], ...] = 0.1
    lr: Annotated[float, "> 0"] | tuple[Annotated[float, "> 0"], ...] = 0.01
    samples: Annotated[int, "> 0"] = 1
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, "[0, 1)"] = 0.9
    decay: Annotated[float, ">= 0"] = 0.0
    collisions: Literal["overwrite", "add"] = "overwrite"

    def by_block(self, key: str, blocks: int, where: str) -> list:
        """Value of `key` for each of the blocks 1 to `blocks`. Raises ConfigError for a list of another length."""
        value = getattr(self, key)
        if not isinstance(value, Sequence):
            return [value] * blocks
        if len(value) != blocks:
            raise ConfigError(
                f"{where}.feedback.{key} = {list(value)}; must be one value, or one for each of the {blocks} blocks "
                "with feedback"
            )
        return list(value)

    def optimizer_settings(self, blocks: int, where: str) -> dict:
        """Settings of the optimiser for blocks 1 to `blocks`, see `credit.optim`."""
        rates = self.by_block("lr", blocks, where)
        lr = {str(i + 1): rate for i, rate in enumerate(rates)}
        own = {"momentum": self.momentum} if self.optimizer == "sgd" else {}
        return {"name": self.optimizer, "lr": lr, "weight_decay": self.decay, **own}
