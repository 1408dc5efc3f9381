"""The configuration reference: every key of the schemas, with what it may be and what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from docs.website.places import REPOSITORY
from docs.website.tables import code, table

SCHEMAS = REPOSITORY / "workflow" / "schemas"
FOLDER = "configuration"
ANY = "NAME"  # stands for a key that is free


@dataclass(frozen=True)
class Key:
    """A key of a file. place: the keys above it, and itself. allowed: in words. required: whether it must be there."""

    place: tuple[str, ...]
    allowed: str
    meaning: str
    required: bool


def read(name: str) -> dict[str, Any]:
    """The schema of that name, such as `config`."""
    return yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text("utf-8"))


def names() -> list[str]:
    """Names of the schemas."""
    return sorted(path.name.partition(".")[0] for path in SCHEMAS.glob("*.schema.yaml"))


def keys(schema: Mapping[str, Any]) -> Iterator[Key]:
    """Every key below a schema, in its order; what several places share appears at each."""
    yield from _below(schema, schema, ())


def _below(node: Mapping[str, Any], root: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[Key]:
    for part in _parts(node, root):
        for name, child in part.get("properties", {}).items():
            inner = list(_parts(child, root))
            meaning = next((p["description"] for p in (child, *inner) if "description" in p), "")
            needed = name in part.get("required", ())
            yield Key((*place, name), allowed(child, root), " ".join(meaning.split()), needed)
            yield from _below(child, root, (*place, name))
        if isinstance(more := part.get("additionalProperties"), dict):
            yield from _below(more, root, (*place, ANY))
        if isinstance(items := part.get("items"), dict):
            yield from _below(items, root, place)


def _parts(node: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema and all that it refers to or consists of."""
    yield node
    if "$ref" in node:
        yield from _parts(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    for combined in ("allOf", "anyOf", "oneOf"):
        for part in node.get(combined, ()):
            yield from _parts(part, root)


def allowed(node: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    words: list[str] = []
    for part in _parts(node, root):
        words += [word for word in _words(part, root) if word not in words]
    return ", ".join(words)


def _words(part: Mapping[str, Any], root: Mapping[str, Any]) -> list[str]:
    if "enum" in part:
        return [code(value) for value in part["enum"]]
    if "const" in part:
        return [code(part["const"])]
    kinds = part.get("type", ())
    return [_kind(kind, part, root) for kind in ([kinds] if isinstance(kinds, str) else kinds)]


def _kind(kind: str, part: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    if kind == "array":
        items = allowed(part.get("items", {}), root)
        exact = "maxItems" in part and part["maxItems"] == part.get("minItems")
        count = f" {part['maxItems']}" if exact else ""
        return f"list of{count} {items}" if items else "list"
    named = {"object": "mapping", "string": "text", "null": "null", "boolean": "true or false"}.get(kind, kind)
    return f"{named} ≥ {part['minimum']}" if "minimum" in part and kind in ("integer", "number") else named


def page(name: str) -> str:
    """The page of a schema: a table for every mapping of it."""
    schema = read(name)
    groups: dict[tuple[str, ...], list[Key]] = {}
    for key in keys(schema):
        known = groups.setdefault(key.place[:-1], [])
        if all(key.place != one.place for one in known):
            known.append(key)
    text = f"# {schema['title'].replace('config/', '')}\n\n{schema.get('description', '')}\n\n"
    text += f"Made from `workflow/schemas/{name}.schema.yaml`, against which the file is checked before any job.\n"
    for place, found in _distinct(groups).items():
        title = f"`{'.'.join(place)}`" if place else "At the top"
        rows = [(f"{code(k.place[-1])}{' (required)' if k.required else ''}", k.allowed, k.meaning) for k in found]
        text += f"\n## {title}\n\n" + table(("key", "values", "meaning"), rows)
    return text


def _distinct(groups: Mapping[tuple[str, ...], list[Key]]) -> dict[tuple[str, ...], list[Key]]:
    """Mappings that are the same in several places once, at the first of them."""
    seen: dict[str, tuple[str, ...]] = {}
    for place, found in groups.items():
        mark = json.dumps([(k.place[-1], k.allowed, k.meaning) for k in found])
        seen.setdefault(mark, place)
    return {place: groups[place] for place in seen.values()}


def pages() -> dict[str, str]:
    """{page of the site: its markdown}."""
    return {f"{FOLDER}/{name}.md": page(name) for name in names()}
