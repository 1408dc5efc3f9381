"""Configuration files: read, checked against their schema, merged."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from credit.config.schema import Check, Unsupported, compiled, copied, typed
from credit.errors import ConfigError, nearest

if TYPE_CHECKING:
    import jsonschema


@cache
def _read_schema(path: Path, part: str | None = None) -> tuple[Any, Check]:
    schema = read_yaml(path) if part is None else {"$ref": f"#/$defs/{part}", "$defs": _read_schema(path)[0]["$defs"]}
    try:
        return schema, compiled(schema)
    except Unsupported:
        return schema, lambda content: False  # the validator below decides


def check_schema(content: Any, path: Path, where: str, nothing: Collection[str] = (), part: str | None = None) -> Any:
    """The content with its values of the types that the schema declares, see `typed`.

    nothing: texts that mean null where null is allowed. part: what of the schema's `$defs` the content is, in place of
    the whole. Raises ConfigError listing every violation as
    `WHERE: KEY: what is wrong`.
    """
    schema, valid = _read_schema(path, part)
    content = typed(content, schema, nothing)
    if valid(content):
        return content
    import jsonschema  # slow, and needed for its messages only

    validator = jsonschema.Draft202012Validator(schema)
    problems = [
        f"{where}: {_describe(jsonschema.exceptions.best_match([error]) or error)}"
        for error in sorted(validator.iter_errors(content), key=lambda e: e.json_path)
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return content


def _describe(error: jsonschema.ValidationError) -> str:
    key = error.json_path.removeprefix("$").removeprefix(".") or "top level"
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        allowed = error.schema.get("properties", {})
        unknown = [k for k in error.instance if k not in allowed]
        hints = [m for k in unknown for m in nearest(k, allowed)]
        hint = f" (did you mean {hints[0]!r}?)" if hints else ""
        names = ", ".join(repr(k) for k in unknown)
        return f"{key}: unknown key {names}{hint}; allowed: {', '.join(sorted(allowed))}"
    return f"{key} = {error.instance!r}: {error.message}" if error.validator == "type" else f"{key}: {error.message}"


class _Strict:
    """Refuses a mapping that has a key twice, where YAML would silently keep the last; `on:` is a text, not true."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Before keys are merged in, and once: an anchor may be flattened where it is used before it is reached itself.
        looked_at = self.__dict__.setdefault("looked_at", set())
        if id(node) not in looked_at:
            looked_at.add(id(node))
            self._check_keys(node)
        super().flatten_mapping(node)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        # As text: 1 and "1" are one layer, null and ~ one value.
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.tag == "tag:yaml.org,2002:bool":
                key.tag = "tag:yaml.org,2002:str"
            name = key.value if key.tag == "tag:yaml.org,2002:merge" else str(self.construct_object(key))
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} appears twice", key.start_mark)
            seen.add(name)


class _Loader(_Strict, yaml.SafeLoader):
    """In Python: its messages show the line."""


class _FastLoader(_Strict, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Eight times as fast where PyYAML was built with libyaml."""


def read_yaml(path: Path) -> Any:
    """Content of a YAML file. Raises ConfigError naming file, line and column of a mistake."""
    try:
        text = path.read_text(encoding="utf-8")
        try:
            return yaml.load(text, _FastLoader)  # both are safe loaders
        except yaml.YAMLError:
            return yaml.load(text, _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split()).replace('in "<unicode string>", ', "in ")
        raise ConfigError(f"{path}: cannot be read: {text}") from error


def number(text: str) -> int | float | None:
    """The number that a word of the command line is, as Python has it: 1e-3 is one, which it is not in YAML."""
    for parse in (int, float):
        with contextlib.suppress(ValueError):
            return parse(text)
    return None


def merge(base: Any, over: Any) -> Any:
    """`over` laid over `base`: mappings merge key by key, everything else is replaced. Copies both."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return copied(over)
    result = {k: copied(v) for k, v in base.items() if k not in over}
    for key, value in over.items():
        result[key] = merge(base.get(key), value)
    return result


def overlay(*layers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Merge mappings, later ones on top; None is an empty one."""
    result: dict[str, Any] = {}
    for layer in layers:
        result = merge(result, layer or {})
    return result
