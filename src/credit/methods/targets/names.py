"""Names of initial feedback of target propagation; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit.nets import names

SYMMETRIC = "symmetric"  # a copy of the forward weights, transposed; biases 0


def options(scheme: str | Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Name and complete options of a scheme. Raises ConfigError beginning with `where` for one that is wrong."""
    return names.options(scheme, where, {SYMMETRIC: {}})
