"""Names of initial feedback of dynamic inversion with their options; free of torch, for the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit.errors import ConfigError
from credit.nets.names import SCHEMES, scheme_options

COPIES = ("transpose", "neg_transpose", "pseudoinverse", "neg_pseudoinverse", "sign", "neg_sign")  # of the weights
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {} for name in COPIES},
    "random": {"scale": 0.5},
    "optimized": {"scale": 0.01, "leak": 0.0},
}


def options(scheme: str | Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Name and complete options of a scheme. Raises ConfigError beginning with `where` for one that is wrong."""
    given = {"name": scheme} if isinstance(scheme, str) else dict(scheme)
    name = given.pop("name", None)
    if name not in OPTIONS:
        if name not in SCHEMES:
            known = ", ".join([*OPTIONS, *SCHEMES])
            raise ConfigError(f"{where} = {name!r}; must be one of: {known}")
        return scheme_options(scheme, where)
    allowed = OPTIONS[name]
    for key, value in given.items():
        if key not in allowed:
            raise ConfigError(f"{where}.{key} = {value!r}; {name!r} has the options: {', '.join(allowed) or 'none'}")
        numbers = list(value) if key == "leak" and isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and 0 <= n < float("inf") for n in numbers):
            raise ConfigError(f"{where}.{key} = {value!r}; must be a finite number >= 0")
    return name, {**allowed, **given}
