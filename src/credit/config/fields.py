"""What a hyperparameter may be: kinds of values, bounds, alternatives. See `credit.config.hyperparameters`."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any, NamedTuple

from credit.errors import ConfigError

REQUIRED = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()  # the default of a field without one
MISSING = object()  # a value that fits no type


class Bounds(NamedTuple):
    """An interval; open ends exclude the limit itself."""

    text: str
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def contain(self, value: float) -> bool:
        """Whether `value` lies in the interval."""
        above = value > self.low if self.low_open else value >= self.low
        return above and (value < self.high if self.high_open else value <= self.high)


def parse_bounds(text: str) -> Bounds:
    """Read "> 0", ">= 0", "< 1", "<= 1" or an interval such as "(0, 1]". Raises ValueError for anything else."""
    if match := re.fullmatch(r"(>=?)\s*(\S+)", text):
        return Bounds(text, low=float(match[2]), low_open=match[1] == ">")
    if match := re.fullmatch(r"(<=?)\s*(\S+)", text):
        return Bounds(text, high=float(match[2]), high_open=match[1] == "<")
    if match := re.fullmatch(r"([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])", text):
        return Bounds(f"in {text}", float(match[2]), float(match[3]), match[1] == "(", match[4] == ")")
    raise ValueError(f"bounds {text!r}; must look like '> 0', '>= 0', '< 1', '<= 1', '[0, 1]' or '(0, 1]'")


@dataclass(frozen=True, eq=False)
class Group:
    """Hyperparameters of a nested dataclass. main: the one that a bare value stands for, if any does. only_for: {KEY:
    (OTHER, VALUE)}, what has an effect only where another one has a value; elsewhere it is 0, or the default."""

    name: str
    fields: Mapping[str, Field]
    main: str | None = None
    only_for: Mapping[str, tuple[str, Any]] | None = None

    def idle(self, values: Mapping[str, Any], place: str) -> Iterator[str]:
        """What has been set in complete `values` without effect. place: name of the group."""
        for key, (other, needed) in (self.only_for or {}).items():
            value = tuple(values[key]) if isinstance(values[key], list) else values[key]
            if values[other] != needed and value and value != self.fields[key].default:
                written = list(value) if isinstance(value, tuple) else value
                yield f"{place}.{key} = {written}; needs {place}.{other} {needed!r}"

    def spelled(self, value: Any) -> Any:
        """The value as a mapping: a bare one becomes that of `main`, an instance its fields; else `value` itself."""
        if is_dataclass(value) and not isinstance(value, type):
            return {f.name: getattr(value, f.name) for f in dataclass_fields(value)}
        return value if isinstance(value, Mapping) or self.main is None or value is None else {self.main: value}


@dataclass(frozen=True)
class Type:
    """One alternative of a field. kind: float, int, bool, str, dict, choice or group; repeated: a list of such values.

    names: dotted name of a function `f(value, where)` that knows the names which the value may give, and raises
    ConfigError, beginning with `where`, for others.
    """

    kind: str
    bounds: Bounds | None = None
    choices: tuple[Any, ...] = ()
    repeated: bool = False
    names: str | None = None
    group: Group | None = None

    @property
    def numeric(self) -> bool:
        return self.kind in ("float", "int")

    def describe(self) -> str:
        """What is allowed, as the end of 'must be ...'."""
        one, many = _NOUNS.get(self.kind, ("", "values"))
        if self.group:
            one = f"a mapping with any of: {', '.join(self.group.fields)}"
        if self.kind == "choice":
            one = many = f"one of: {', '.join(map(str, self.choices))}"
        limits = f" {self.bounds.text}" if self.bounds else ""
        return f"a list of {many}{limits}" if self.repeated else f"{one}{limits}"

    def convert(self, value: Any) -> Any:
        """The value as this type has it (numbers of its kind, lists as tuples), or `MISSING` if it does not fit."""
        if not self.repeated:
            return self.convert_one(value)
        if not isinstance(value, (list, tuple)):
            return MISSING
        values = tuple(self.convert_one(v) for v in value)
        return MISSING if any(v is MISSING for v in values) else values

    def convert_one(self, value: Any) -> Any:
        """A single value converted, or `MISSING`."""
        if self.kind == "choice":
            value = _whole(value)
            fits = any(value == c and type(value) is type(_whole(c)) for c in self.choices)
            return next((c for c in self.choices if c == value), MISSING) if fits else MISSING
        if self.kind in ("float", "int"):
            return self._number(value)
        if not isinstance(value, _CLASSES[self.kind]):
            return MISSING
        if self.kind != "dict":
            return value
        return {k: _widened(v) if self.names else copy.deepcopy(v) for k, v in value.items()}

    def _number(self, value: Any) -> Any:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return MISSING
        if self.kind == "int" and not isinstance(value := _whole(value), int):
            return MISSING
        try:
            value = float(value) if self.kind == "float" else value
        except OverflowError:
            return MISSING
        if self.kind == "float" and not math.isfinite(value):
            return MISSING
        return value if self.bounds is None or self.bounds.contain(value) else MISSING


def _whole(value: Any) -> Any:
    """A whole float as an integer, anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _widened(option: Any) -> Any:
    """An option of a named scheme, which is a number, as a float."""
    if isinstance(option, (list, tuple)):
        return [_widened(one) for one in option]
    return float(option) if type(option) is int and abs(option) < 2**53 else copy.deepcopy(option)


_NOUNS = {
    "float": ("a finite number", "finite numbers"), "int": ("an integer", "integers"), "bool": ("true or false",) * 2,
    "str": ("text", "texts"), "dict": ("a mapping", "mappings"), "list": ("a list", "lists"),
}  # fmt: skip
_CLASSES = {"bool": bool, "str": str, "dict": Mapping, "list": (list, tuple)}


class PerMember(tuple):
    """A hyperparameter with one value for each member of a stack. option: how messages call it."""

    option: str = "this hyperparameter"

    def check(self, members: int) -> None:
        """Raises ConfigError for another number of members; 0 is a single network, which takes one value."""
        if len(self) != max(1, members):
            held = f"{self.option} holds {len(self)} values; must be one value"
            raise ConfigError(f"{held}, or one for each of the {members} members" if members else held)


def check_members(part: Any, members: int) -> None:
    """Raises ConfigError where a hyperparameter of a part or its groups has not one value for each of `members`."""
    for field in dataclass_fields(part):
        value = getattr(part, field.name)
        if isinstance(value, PerMember):
            value.check(members)
        elif is_dataclass(value):
            check_members(value, members)


def plain(part: Any) -> dict[str, Any]:
    """The hyperparameters of an instance of a part, its groups as mappings."""
    values = {f.name: getattr(part, f.name) for f in dataclass_fields(part)}
    return {k: plain(v) if is_dataclass(v) else v for k, v in values.items()}


@dataclass(frozen=True)
class Field:
    """A hyperparameter: its alternatives, and its default (REQUIRED if it has none). optional: may be None."""

    name: str
    types: tuple[Type, ...]
    optional: bool = False
    default: Any = REQUIRED

    @property
    def group(self) -> Group | None:
        """The nested hyperparameters, where the field is a group."""
        return self.types[0].group if self.types else None

    def with_defaults(self, values: Mapping[str, Any]) -> Field:
        """A group whose default is `values`, also where only some of its fields are given."""
        own = {
            name: field.with_defaults(values[name]) if field.group else replace(field, default=values[name])
            for name, field in self.group.fields.items()
        }
        return replace(self, types=(Type("group", group=replace(self.group, fields=own)),), default=values)

    def describe(self, stacked: bool = False) -> str:
        """What is allowed, as the end of 'must be ...'."""
        words = [t.describe() for t in self.types] + ["null"] * self.optional
        member = stacked and any(t.kind == "float" for t in self.types) and not any(t.repeated for t in self.types)
        return " or ".join(words) + (", or a list with one for each member" if member else "")

    def convert(self, value: Any, stacked: bool = False) -> Any:
        """The value as the first alternative that it fits has it, or `MISSING`."""
        if value is None and self.optional:
            return None
        found = next((v for t in self.types if (v := t.convert(value)) is not MISSING), MISSING)
        if found is not MISSING or not (stacked and isinstance(value, (list, tuple)) and value):
            return found
        lists = (Type(t.kind, t.bounds, repeated=True).convert(value) for t in self.types if t.kind == "float")
        return next((PerMember(v) for v in lists if v is not MISSING), MISSING)


def written_as(value: Any, fractions: bool = True) -> str:
    """How to write a number that YAML took for text, as the end of a message: it wants a point and a sign in 1.0e-3.

    fractions: whether it may be other than an integer. Empty for everything else.
    """
    match = re.fullmatch(r"([+-]?\d+)(\.\d*)?(?:[eE]([+-]?)(\d+))?", value) if isinstance(value, str) else None
    if match is None or (not fractions and (match[2] or match[4])):
        return ""
    digits, fraction, sign, power = match.groups()
    if power is None:
        return "; write it without quotes"
    return f"; YAML reads {value} as text, write {digits}{fraction or '.0'}e{sign or '+'}{power}"
