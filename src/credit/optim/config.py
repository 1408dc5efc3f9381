"""What an optimiser can be told, and the check of it. Standard library only.

    every kind   lr                step size, required
                 weight_decay      λ of the decay λW that is added to the gradient (L2), after clipping
                 decoupled         true: W ← W - lr λ W beside the step instead (AdamW)
                 decay_unscaled    λ of a decay W ← W - λ W that is not multiplied by lr (dynamic inversion)
                 clip_norm         largest L2 norm c; gradients are multiplied by min(1, c / (norm + 1e-6))
                 clip              whose norm: "per_tensor", "per_layer" (weight and bias together), "global"
                 schedule          lr by epoch, see `Schedule`
                 units             {LAYER: {UNIT: f}}: f times the gradient of the weights from an input unit, a rate of
                                   its own without decay and clipping; of sgd alone, in optimisers that a rule makes
    sgd          momentum          μ of v ← μ v + g, W ← W - lr v
                 dampening         d of v ← μ v + (1 - d) g, from the second step on
                 nesterov          true: the step is g + μ v
                 lr_in_velocity    true keeps v ← μ v + lr g, W ← W - v (PEPITA), which differs from torch's while lr
                                   changes
    adam         betas             pair of the smoothing of the means of g and of g²
                 eps               what is added to the root of the second
    rmsprop      alpha             smoothing of the mean of g²
                 eps               what is added to its root
                 centered          true: the mean of g, squared, is taken off the mean of g²
                 momentum          μ of v ← μ v + g / (root + eps), W ← W - lr v

Every number may be a list with one number per member of the stack, and a mapping from the name of a layer
to either: {"lr": {"0": 0.1, "1": [0.01, 0.02]}}; it then names all layers. `betas` is a pair of such values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from credit.config.fields import written_as
from credit.errors import ConfigError, one_of

COMMON = {
    "weight_decay": 0.0,
    "decoupled": False,
    "decay_unscaled": 0.0,
    "clip_norm": None,
    "clip": "per_tensor",
    "schedule": None,
    "units": None,
}
KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "lr_in_velocity": False},
    "adam": {"betas": (0.9, 0.999), "eps": 1e-8},
    "rmsprop": {"alpha": 0.99, "eps": 1e-8, "centered": False, "momentum": 0.0},
}
CLIPS = ("per_tensor", "per_layer", "global")
SWITCHES = ("decoupled", "nesterov", "lr_in_velocity", "centered")
FRACTIONS = ("momentum", "alpha", "beta1", "beta2")
_EXACT = 2**53  # integers below are floats of the same value

Value = float | Sequence[float] | Mapping[str, Any]  # scalar, per member, or per layer


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the epoch, counted from 0.

    steps:    {"milestones": [60, 90], "factor": 0.1, "floor": 1e-6} multiplies lr by `factor` at the start of
              each milestone epoch; a reduced lr is never below `floor` (default 0).
    cosine:   {"name": "cosine", "epochs": T, "final": f} is f + ½ (lr - f)(1 + cos(π epoch / T)). After epoch
              T it rises again, as torch's does and as difference target propagation was published.
    constant: {"name": "constant"}.
    """

    name: str = "constant"
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    floor: float = 0.0
    epochs: int = 1
    final: float = 0.0

    def at(self, lr: float, epoch: int) -> float:
        """The learning rate in `epoch` of one that starts at `lr`."""
        if self.name == "cosine":
            return self.final + 0.5 * (lr - self.final) * (1 + math.cos(math.pi * epoch / self.epochs))
        passed = sum(epoch >= m for m in self.milestones)
        return max(lr * self.factor**passed, self.floor) if passed else lr


SCHEDULES = {"constant": (), "steps": ("milestones", "factor", "floor"), "cosine": ("epochs", "final")}


def check(config: Mapping[str, Any], where: str = "optimizer") -> dict[str, Any]:
    """The complete hyperparameters: defaults filled in, `betas` split into beta1 and beta2, `schedule` built.

    config: {"name": KIND, "lr": …, …}. where: what the message of an error begins with.
    Raises ConfigError naming the key, what was found and what is allowed.
    """
    given = dict(config)
    kind = given.pop("name", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(one_of(f"{where}.name", kind, KINDS))
    allowed = {"lr": None, **COMMON, **KINDS[kind]}
    for key in given:
        if key not in allowed:
            raise ConfigError(one_of(f"{where}: key of {kind}", key, allowed))
    hyper = {**allowed, **given}
    if hyper["clip"] not in CLIPS:
        raise ConfigError(one_of(f"{where}.clip", hyper["clip"], CLIPS))
    hyper["schedule"] = check_schedule(hyper["schedule"], f"{where}.schedule")
    if "betas" in hyper:
        hyper["beta1"], hyper["beta2"] = _pair(hyper.pop("betas"), f"{where}.betas")
    _check_units(hyper["units"], kind, f"{where}.units")
    for key in hyper.keys() - {"clip", "schedule", "units"}:
        if not (key == "clip_norm" and hyper[key] is None):
            _check_value(key, hyper[key], f"{where}.{key}")
    if hyper.get("nesterov") and (some(hyper["dampening"]) or not some(hyper["momentum"])):
        raise ConfigError(f"{where}.nesterov = true; needs momentum > 0 and dampening = 0")
    return {"name": kind, **hyper}


def _check_units(units: Any, kind: str, where: str) -> None:
    if units is None:
        return
    if kind != "sgd":
        raise ConfigError(f"{where}; needs sgd: the steps of {kind} do not depend on the size of a gradient")
    layers = units.values() if isinstance(units, Mapping) else [None]
    if not all(isinstance(layer, Mapping) and layer for layer in layers):
        raise ConfigError(f"{where} = {units!r}; must be {{LAYER: {{UNIT: factor}}}}")
    for name, layer in units.items():
        for unit, value in layer.items():
            for number in _numbers(value):
                _check_number(number, f"{where}.{name}.{unit}", lambda v: v >= 0, "a finite number >= 0")


def typed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as written, in one form: numbers as floats, epochs as integers. What is wrong stays for `check`."""
    schedule = config.get("schedule")
    found = {key: _as_floats(value) for key, value in config.items() if key != "schedule"}
    if isinstance(schedule, Mapping):
        counts = {key: _as_counts(schedule[key]) for key in ("milestones", "epochs") if key in schedule}
        schedule = {key: _as_floats(value) for key, value in schedule.items()} | counts
    return {key: schedule if key == "schedule" else found[key] for key in config}


def _as_floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_floats(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_floats(below) for below in value]
    return float(value) if type(value) is int and abs(value) < _EXACT else value


def _as_counts(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_as_counts(below) for below in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_schedule(schedule: Mapping[str, Any] | None, where: str = "schedule") -> Schedule:
    """The schedule that a mapping describes, constant for None. Raises ConfigError naming the key."""
    if schedule is not None and not isinstance(schedule, Mapping):
        raise ConfigError(f"{where} = {schedule!r}; must be a mapping, such as {{milestones: [60, 90], factor: 0.1}}")
    given = typed({"schedule": schedule})["schedule"] or {}
    name = given.pop("name", "steps" if "milestones" in given else "constant")
    if name not in SCHEDULES:
        raise ConfigError(one_of(f"{where}.name", name, SCHEDULES))
    for key, value in given.items():
        if key not in SCHEDULES[name]:
            raise ConfigError(one_of(f"{where}: key of {name}", key, SCHEDULES[name]))
        if key in ("factor", "floor", "final"):
            _check_number(value, f"{where}.{key}", lambda v: v >= 0, "a finite number >= 0")
    if name == "steps":
        given["milestones"] = _milestones(given.get("milestones"), f"{where}.milestones")
    if name == "cosine" and not _positive_int(given.get("epochs")):
        raise ConfigError(f"{where}.epochs = {given.get('epochs')!r}; must be an integer >= 1")
    return Schedule(name, **given)


def some(value: Value) -> bool:
    """Whether a hyperparameter differs from 0 for any layer or member."""
    return any(_numbers(value))


def each(value: Value, f: Callable[[float], float]) -> Value:
    """`f` applied to every number of a hyperparameter, whose form is kept."""
    if isinstance(value, Mapping):
        return {layer: each(v, f) for layer, v in value.items()}
    return [f(v) for v in value] if isinstance(value, Sequence) else f(value)


def _numbers(value: Value) -> list[float]:
    if isinstance(value, Mapping):
        return [n for v in value.values() for n in _numbers(v)]
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _check_value(key: str, value: Any, where: str) -> None:
    if key in SWITCHES:
        if not isinstance(value, bool):
            raise ConfigError(f"{where} = {value!r}; must be true or false")
        return
    numbers = _numbers(value)
    if not numbers:
        raise ConfigError(f"{where} = {value!r}; must hold at least one number")
    for number in numbers:
        if key in FRACTIONS:
            _check_number(number, where, lambda v: 0 <= v < 1, "a number in [0, 1)")
        elif key == "clip_norm":
            _check_number(number, where, lambda v: v > 0, "a finite number > 0, or null for no clipping")
        else:
            _check_number(number, where, lambda v: v >= 0, "a finite number >= 0")


def _check_number(value: Any, where: str, holds: Callable[[float], bool], allowed: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not holds(value):
        found = "is missing" if value is None else f"= {value!r}"
        raise ConfigError(f"{where} {found}; must be {allowed}{written_as(value)}")


def _pair(value: Any, where: str) -> tuple[Any, Any]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ConfigError(f"{where} = {value!r}; must be a pair [beta1, beta2] of numbers in [0, 1)")
    return value[0], value[1]


def _milestones(value: Any, where: str) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(map(_positive_int, value)):
        raise ConfigError(f"{where} = {value!r}; must be a list of epochs, integers >= 1")
    return tuple(value)


def _positive_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
