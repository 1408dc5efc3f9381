"""Names of initial feedback weights of DFC with their options; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit.nets import names

WEIGHT_PRODUCT = "weight_product"  # the transposed Jacobian of a linear net, with noise of this standard deviation


def options(scheme: str | Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Name and complete options of a scheme. Raises ConfigError beginning with `where` for one that is wrong."""
    return names.options(scheme, where, {WEIGHT_PRODUCT: {"noise": 0.0}})
