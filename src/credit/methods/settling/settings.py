"""Hyperparameters of relaxation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar


@dataclass(frozen=True)
class Inference:
    """lr: rho, the rate at which activities move."""

    main: ClassVar[str] = "lr"

    lr: Annotated[float, "> 0"] = 0.1


@dataclass(frozen=True)
class Discounted(Inference):
    """discount: by which the rate is multiplied where the energy has not fallen, ahead of the move; None: never."""

    discount: Annotated[float, "(0, 1]"] | None = None


@dataclass(frozen=True)
class Adaptive(Inference):
    """The rate is multiplied ahead of every move but the first of a relaxation.

    discount: by which, where the energy has not fallen since the move before. amplifier: by which, where it has.
    """

    discount: Annotated[float, "(0, 1]"] = 0.5
    amplifier: Annotated[float, "> 0"] = 1.0
