"""PEPITA with the sign of the error carried to the input, as in the authors' numpy program (there "ERINsign")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from credit.methods.pepita import Pepita


@dataclass(frozen=True)
class PepitaSign(Pepita):
    """x' = x + F sign(e), with an F ten times smaller than that of `pepita`."""

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")

    projection_scale: Annotated[float, "> 0"] = 0.005
    signal: Literal["error", "sign"] = "sign"


part = PepitaSign
