"""The group of hyperparameters of feedback weights that minimise a reconstruction loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from credit.errors import ConfigError


@dataclass(frozen=True)
class Feedback:
    """The feedback weights and a step of their learning.

    init: a scheme of `credit.nets.init`; biases start at 0 unless it is torch_default. activation: of every map. sigma:
    standard deviation of the noise. iterations: steps for every mini-batch, one value for all layers or one for each
    feedback map, from the lowest upwards. optimizer: of the steps. lr: their rate. betas, eps: smoothing of adam's two
    means, and what is added to its denominator. momentum: of sgd. decay: factor of the weights in the gradient (L2).
    stale_gradients: the layers learn one after the other, from the lowest upwards, and with every step those that have
    had their turn in this mini-batch are moved on by the last gradient that they had, as in the code released with
    Ernoult et al. (2022); else all learn together, each by its own gradient.
    """

    main: ClassVar[str] = "init"
    only_for: ClassVar[dict[str, tuple[str, str]]] = {
        "momentum": ("optimizer", "sgd"),
        "betas": ("optimizer", "adam"),
        "eps": ("optimizer", "adam"),
    }

    init: Annotated[str | dict, "credit.nets.names.options"] = "xavier_normal"
    activation: Annotated[str, "credit.nets.names.activation"] = "linear"
    sigma: Annotated[float, "> 0"] = 0.1
    iterations: Annotated[int, ">= 0"] | tuple[Annotated[int, ">= 0"], ...] = 1
    optimizer: Literal["sgd", "adam"] = "adam"
    lr: Annotated[float, "> 0"] = 1e-4
    betas: tuple[Annotated[float, "[0, 1)"], ...] = (0.9, 0.999)
    eps: Annotated[float, "> 0"] = 1e-8
    momentum: Annotated[float, "[0, 1)"] = 0.0
    decay: Annotated[float, ">= 0"] = 0.0
    stale_gradients: bool = False

    def steps(self, maps: int, where: str) -> list[int]:
        """Iterations of each of the feedback maps. Raises ConfigError for a list of another length."""
        if not isinstance(self.iterations, Sequence):
            return [self.iterations] * maps
        if len(self.iterations) != maps:
            raise ConfigError(
                f"{where}.feedback.iterations = {list(self.iterations)}; must be one value, or one for each of the "
                f"{maps} layers with feedback"
            )
        return list(self.iterations)

    def optimizer_settings(self) -> dict[str, Any]:
        """Settings of the optimiser, see `credit.optim`."""
        own = {"momentum": self.momentum} if self.optimizer == "sgd" else {"betas": self.betas, "eps": self.eps}
        return {"name": self.optimizer, "lr": self.lr, "weight_decay": self.decay, **own}
