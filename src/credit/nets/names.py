"""Names that a configuration may use for parts of a net. Free of torch: the Snakefile validates with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit.errors import ConfigError, one_of

ACTIVATIONS = (
    "elu",
    "leakyrelu",
    "leakyrelu_0.01",
    "leakyrelu_0.1",
    "linear",
    "relu",
    "relu_closed",
    "scaled_tanh",
    "sigmoid",
    "softmax",
    "step",
    "tanh",
)

LOSSES = ("half_squared_error", "mse", "softmax_cross_entropy", "squared_error_sum")

# Initialisation schemes with the default of each option; None means that the option must be given.
SCHEMES: dict[str, dict[str, float | None]] = {
    "he_normal": {"gain": 1.0},
    "he_uniform": {"gain": 1.0},
    "lecun_normal": {"gain": 1.0},
    "nok": {"gain": 1.0},
    "normal": {"std": None},
    "ones": {},
    "orthogonal": {"gain": 1.0},
    "orthogonal_fan": {"gain": 1.0},
    "positive_uniform": {"gain": 1.0},
    "teacher": {},
    "torch_default": {},
    "uniform": {"scale": None},
    "xavier_normal": {"gain": 1.0},
    "xavier_uniform": {"gain": 1.0},
    "zeros": {},
}


def scheme_options(scheme: str | Mapping[str, Any], where: str = "init") -> tuple[str, dict[str, float]]:
    """Name and complete options of an initialisation scheme.

    scheme: a name, or {"name": NAME, OPTION: number}. where: what the message of an error begins with.
    Raises ConfigError for an unknown name, an unknown or missing option, and one that is not a number >= 0.
    """
    given = {"name": scheme} if isinstance(scheme, str) else dict(scheme)
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in SCHEMES:
        raise ConfigError(one_of(f"{where}.name", name, SCHEMES))
    allowed = {**SCHEMES[name], "bias": 0.0}  # half-width of the uniform distribution of biases
    for key, value in given.items():
        if key not in allowed:
            options = ", ".join(allowed) or "none"
            raise ConfigError(f"{where}.{key} = {value!r}; scheme {name!r} has the options: {options}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise ConfigError(f"{where}.{key} = {value!r}; must be a finite number >= 0")
    options = {**allowed, **given}
    missing = [key for key, value in options.items() if value is None]
    if missing:
        raise ConfigError(f"{where}.{missing[0]} is missing; scheme {name!r} needs a number >= 0")
    options.pop("bias")  # not the weight's
    return name, options


def check_names(net: Mapping[str, Any], where: str) -> None:
    """Check the activations and the initialisations that a net's settings name, how many, and the pooling.

    net: checked settings, of a part of credit.nets or of a task that draws a net. Raises ConfigError naming the key.
    """
    _check_lengths(net, where)
    hidden = net.get("hidden", "tanh")
    named = [("hidden", name) for name in ([hidden] if isinstance(hidden, str) else hidden)]
    for key, name in [*named, ("output", net.get("output", "linear"))]:
        if name not in ACTIVATIONS:
            raise ConfigError(one_of(f"{where}.{key}", name, ACTIVATIONS))
    schemes = net.get("init", "xavier_normal")
    for scheme in [schemes] if isinstance(schemes, (str, Mapping)) else schemes:
        scheme_options(scheme, f"{where}.init")


def n_blocks(net: Mapping[str, Any]) -> int:
    """Number of layers of weights of a net with these settings."""
    return len(net.get("channels", ())) + len(net["hidden_sizes"]) + 1


def _check_lengths(net: Mapping[str, Any], where: str) -> None:
    blocks = n_blocks(net)
    for key, n in (("hidden", blocks - 1), ("bias", blocks), ("init", blocks)):
        value = net.get(key)
        if isinstance(value, (list, tuple)) and len(value) != n:
            layers = "hidden layers" if key == "hidden" else "layers"
            raise ConfigError(f"{where}.{key} = {list(value)}; must be one value, or one for each of {n} {layers}")
    pool = net.get("pool")
    if pool is not None and (len(pool) not in (1, 2, 3) or min(pool[:2]) < 1 or 2 * sum(pool[2:]) > pool[0]):
        raise ConfigError(
            f"{where}.pool = {list(pool)}; must be null or [size, stride, padding], the last two optional, with "
            "size and stride >= 1 and padding at most half the size"
        )
