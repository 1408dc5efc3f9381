"""Names of initial feedback of dynamic inversion with their options; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit.nets import names

COPIES = ("transpose", "neg_transpose", "pseudoinverse", "neg_pseudoinverse", "sign", "neg_sign")  # of the weights
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {} for name in COPIES},
    "random": {"scale": 0.5},
    "optimized": {"scale": 0.01, "leak": 0.0},
}


def options(scheme: str | Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Name and complete options of a scheme. Raises ConfigError beginning with `where` for one that is wrong."""
    return names.options(scheme, where, OPTIONS, lists=("leak",))
