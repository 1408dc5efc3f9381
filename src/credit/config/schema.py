"""JSON Schema, as far as the workflow's own schemas use it: types of values, and whether a content is valid, quickly.

Most files are valid, and the validator that can say what is wrong takes ten times as long, its import included. It is
asked only about what this module does not accept (`credit.config.files`), so that every message is its own.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Mapping
from itertools import combinations
from typing import Any

Check = Callable[[Any], bool]

_SILENT = {"$schema", "$defs", "title", "description", "format", "else"}  # `else` is read with its `if`
_DEFINED = "#/$defs/"
_TYPES: dict[str, Check] = {
    "object": lambda x: isinstance(x, dict),
    "array": lambda x: isinstance(x, list),
    "string": lambda x: isinstance(x, str),
    "null": lambda x: x is None,
    "boolean": lambda x: isinstance(x, bool),
    "number": lambda x: isinstance(x, (int, float)) and not isinstance(x, bool),
    "integer": lambda x: not isinstance(x, bool) and (isinstance(x, int) or (isinstance(x, float) and x.is_integer())),
}


class Unsupported(ValueError):
    """The schema says something that this module does not know."""


def compiled(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Check:
    """A function that says whether a content (dicts, lists, texts, numbers, None) is valid. root: where $ref looks.

    Raises Unsupported for a keyword, or a form of one, that is not known.
    """
    root = schema if root is None else root
    checks = []
    for keyword, value in schema.items():
        if keyword in _SILENT:
            continue
        if keyword not in _KEYWORDS:
            raise Unsupported(keyword)
        checks.append(_KEYWORDS[keyword](value, schema, root))
    return checks[0] if len(checks) == 1 else lambda x: all(check(x) for check in checks)


def typed(content: Any, schema: Mapping[str, Any], nothing: Collection[str] = (), root: Any = None) -> Any:
    """A content with every value of the type that the schema declares, as far as that loses nothing.

    2.0 is the integer 2, 1 the number 1.0; a text of `nothing` is null where null is allowed. A copy; what does not fit
    stays as it is.
    """
    root = schema if root is None else root
    if not schema:
        return copied(content)
    if schema.get("$ref", "").startswith(_DEFINED):
        content = typed(content, _defined(schema["$ref"], root), nothing, root)
    for below in (part for key in ("allOf", "anyOf", "oneOf") for part in schema.get(key, ())):
        content = typed(content, below, nothing, root)
    if isinstance(content, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties")
        more = more if isinstance(more, dict) else {}
        return {k: typed(v, known.get(k, more), nothing, root) for k, v in content.items()}
    if isinstance(content, list) and "items" in schema:
        return [typed(item, schema["items"], nothing, root) for item in content]
    return _scalar(content, schema.get("type", ()), nothing)


def copied(value: Any) -> Any:
    """What `copy.deepcopy` gives for settings, in a fraction of its time."""
    kind = type(value)
    if kind is dict:
        return {key: copied(below) for key, below in value.items()}
    if kind in (list, tuple):
        return kind([copied(below) for below in value])
    return value if value is None or kind in (str, int, float, bool) else copy.deepcopy(value)


def _scalar(value: Any, kinds: Any, nothing: Collection[str]) -> Any:
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if isinstance(value, float) and "integer" in kinds and value.is_integer():
        return int(value)
    if "number" in kinds and _TYPES["integer"](value):
        return float(value)
    return None if "null" in kinds and isinstance(value, str) and value.strip() in nothing else value


def _type(names, schema, root) -> Check:
    kinds = [_TYPES[name] for name in ([names] if isinstance(names, str) else names)]
    return kinds[0] if len(kinds) == 1 else lambda x: any(kind(x) for kind in kinds)


def _enum(values, schema, root) -> Check:
    if not all(
        isinstance(value, str) for value in values
    ):  # numbers and true are equal in Python, in JSON they are not
        raise Unsupported("enum of other values than texts")
    return lambda x: isinstance(x, str) and x in values


def _properties(known, schema, root) -> Check:
    checks = {key: compiled(below, root) for key, below in known.items()}
    return lambda x: not isinstance(x, dict) or all(checks[k](v) for k, v in x.items() if k in checks)


def _additional(below, schema, root) -> Check:
    known = schema.get("properties", {})
    if below is False:
        return lambda x: not isinstance(x, dict) or all(key in known for key in x)
    check = compiled(below, root)
    return lambda x: not isinstance(x, dict) or all(check(v) for k, v in x.items() if k not in known)


def _names(below, schema, root) -> Check:
    check = compiled(below, root)
    return lambda x: not isinstance(x, dict) or all(check(key) for key in x)


def _items(below, schema, root) -> Check:
    check = compiled(below, root)
    return lambda x: not isinstance(x, list) or all(check(item) for item in x)


def _pattern(text, schema, root) -> Check:
    search = re.compile(text).search
    return lambda x: not isinstance(x, str) or search(x) is not None


def _conditional(condition, schema, root) -> Check:
    if "then" in schema:
        raise Unsupported("then")
    check, otherwise = compiled(condition, root), compiled(schema.get("else", {}), root)
    return lambda x: check(x) or otherwise(x)


def _reference(place, schema, root) -> Check:
    return compiled(_defined(place, root), root)


def _defined(place: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    if not place.startswith(_DEFINED):
        raise Unsupported(f"$ref: {place}")
    return root["$defs"][place.removeprefix(_DEFINED)]


def _some(alternatives, schema, root) -> Check:
    checks = [compiled(below, root) for below in alternatives]
    return lambda x: any(check(x) for check in checks)


def _every(parts, schema, root) -> Check:
    checks = [compiled(below, root) for below in parts]
    return lambda x: all(check(x) for check in checks)


def _one(alternatives, schema, root) -> Check:
    checks = [compiled(below, root) for below in alternatives]
    return lambda x: sum([check(x) for check in checks]) == 1


def _unique(wanted, schema, root) -> Check:
    def same(a: Any, b: Any) -> bool:
        return a == b and isinstance(a, bool) == isinstance(b, bool)

    return lambda x: not (wanted and isinstance(x, list)) or not any(same(a, b) for a, b in combinations(x, 2))


def _required(keys, schema, root) -> Check:
    return lambda x: not isinstance(x, dict) or all(key in x for key in keys)


def _at_least(kinds: type | tuple, size: Callable[[Any], Any]) -> Callable:
    return lambda least, schema, root: (
        lambda x: not isinstance(x, kinds) or isinstance(x, bool) or size(x) >= least
    )  # fmt: skip


_KEYWORDS: dict[str, Callable[[Any, Mapping[str, Any], Mapping[str, Any]], Check]] = {
    "type": _type, "enum": _enum, "const": lambda value, *where: _enum([value], *where), "properties": _properties,
    "additionalProperties": _additional, "propertyNames": _names, "items": _items, "pattern": _pattern,
    "if": _conditional, "$ref": _reference, "anyOf": _some, "allOf": _every, "oneOf": _one, "uniqueItems": _unique,
    "required": _required,
    "minProperties": _at_least(dict, len), "minItems": _at_least(list, len), "minLength": _at_least(str, len),
    "minimum": _at_least((int, float), lambda x: x),
    "maxItems": lambda most, schema, root: lambda x: not isinstance(x, list) or len(x) <= most,
}  # fmt: skip
