"""Names that a configuration may use for parts of a net. Free of torch: the Snakefile validates with them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Any

from credit.errors import ConfigError, nearest, one_of

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

# {loss: whether it needs classes as targets}; their formulas are in `credit.nets.losses`.
LOSSES = {"half_squared_error": False, "mse": False, "softmax_cross_entropy": True, "squared_error_sum": False}

# Initialisation schemes with the default of each option; None means that the option must be given.
SCHEMES: dict[str, dict[str, Any]] = {
    "folded_normal": {"mean": 0.0, "std": None},
    "given": {"values": None},
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


def options(
    scheme: str | Mapping[str, Any],
    where: str = "init",
    own: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    shared: Mapping[str, Any] = MappingProxyType({}),
    lists: Container[str] = (),
) -> tuple[str, dict[str, Any]]:
    """Name and complete options of an initialisation scheme.

    scheme: a name, or {"name": NAME, OPTION: number}. where: what the message of an error begins with. own: further
    schemes with the defaults of their options. shared: options of all others. lists: options that may be a list.
    Raises ConfigError for an unknown name, an unknown or missing option, and one that is not a number >= 0.
    """
    given = {"name": scheme} if isinstance(scheme, str) else dict(scheme)
    place, name = where if isinstance(scheme, str) else f"{where}.name", given.pop("name", None)
    if name is None:
        raise ConfigError(f"{place} is missing; must be one of: {', '.join([*own, *SCHEMES])}")
    if not isinstance(name, str) or name not in {**own, **SCHEMES}:
        raise ConfigError(one_of(place, name, [*own, *SCHEMES]))
    allowed = own[name] if name in own else {**SCHEMES[name], **shared}
    for key, value in given.items():
        if key not in allowed:
            close = nearest(key, allowed)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            known = ", ".join(allowed) or "none"
            raise ConfigError(f"{where}.{key} = {value!r}{hint}; scheme {name!r} has the options: {known}")
        if key == "values":
            _check_rows(value, f"{where}.values")
            continue
        for one in value if key in lists and isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, bool) or not isinstance(one, (int, float)) or not 0 <= one < float("inf"):
                raise ConfigError(f"{where}.{key} = {value!r}; must be a finite number >= 0")
    complete = {**allowed, **given}
    missing = [key for key, value in complete.items() if value is None]
    if missing:
        raise ConfigError(f"{where}.{missing[0]} is missing; scheme {name!r} needs a number >= 0")
    return name, complete


def _check_rows(rows: Any, where: str) -> None:
    """Rows of a weight, lists of finite numbers of one length; else ConfigError."""
    lists = isinstance(rows, (list, tuple)) and rows and all(isinstance(r, (list, tuple)) and r for r in rows)
    numbers = [v for row in rows for v in row] if lists else [None]
    finite = all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < float("inf") for v in numbers)
    if not finite or len({len(row) for row in rows}) > 1:
        raise ConfigError(f"{where} = {rows!r}; must be the rows of the weight, one list of numbers for each unit")


def layer_options(scheme: str | Mapping[str, Any], where: str = "init") -> tuple[str, dict[str, float]]:
    """`options` of a scheme for a whole layer: with `bias`, the half-width of the uniform distribution of biases."""
    return options(scheme, where, shared={"bias": 0.0})


def activation(name: str, where: str) -> str:
    """The name. Raises ConfigError for one that is no activation's."""
    if name not in ACTIVATIONS:
        raise ConfigError(one_of(where, name, ACTIVATIONS))
    return name


def loss(name: str, where: str) -> str:
    """The name. Raises ConfigError for one that is no loss's."""
    if name not in LOSSES:
        raise ConfigError(one_of(where, name, LOSSES))
    return name


def n_blocks(net: Mapping[str, Any]) -> int:
    """Number of blocks of a net with these settings: layers of weights, or stages of them."""
    if "n_blocks" in net:  # of a net that has been built
        return net["n_blocks"]
    if net.get("kind") == "resnet":
        return len(net["channels"]) + 2
    return len(net.get("channels", ())) + len(net["hidden_sizes"]) + 1


def check_lengths(net: Mapping[str, Any], where: str) -> None:
    """Check how many names a net's settings give, and the pooling.

    net: checked settings, of a part of credit.nets or of a task that draws a net. Raises ConfigError naming the key.
    """
    blocks = n_blocks(net)
    if net.get("kind") == "resnet" and not net["channels"]:
        raise ConfigError(f"{where}.channels = []; must hold one number for each stage, at least one")
    if net.get("kind") == "resnet" and len(net["blocks"]) != len(net["channels"]):
        stages = f"{len(net['channels'])} stages in channels"
        raise ConfigError(f"{where}.blocks = {list(net['blocks'])}; must be one number for each of the {stages}")
    for key, n in (("hidden", blocks - 1), ("bias", blocks), ("init", blocks), ("connections", blocks)):
        value = net.get(key)
        if isinstance(value, (list, tuple)) and len(value) != n:
            layers = "hidden layers" if key == "hidden" else "layers"
            raise ConfigError(f"{where}.{key} = {list(value)}; must be one value, or one for each of {n} {layers}")
    for key, limit in (("kernel", ""), ("pool", " and padding at most half the size")):
        given = net.get(key)
        if given is None or isinstance(given, int):
            continue
        sound = len(given) in (1, 2, 3) and min(given[:2]) >= 1
        if not sound or (limit and 2 * sum(given[2:]) > given[0]):
            other = "null" if limit else "one integer > 0"
            raise ConfigError(
                f"{where}.{key} = {list(given)}; must be {other} or [size, stride, padding], the last two optional, "
                f"with size and stride >= 1{limit}"
            )
