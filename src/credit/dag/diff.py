"""`credit diff`: what two result files were made with, and what they hold, where it differs. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from credit.dag.exits import GOOD, STALE
from credit.dag.measured import differences, of_weights, reading
from credit.dag.resultfile import ResultFile, read
from credit.dag.show import text
from credit.errors import ConfigError, DataError
from credit.provenance.files import checksum
from credit.provenance.snapshot import changed_modules

KINDS = ("run", "search", "weights")  # of the same settings: one may be held against another
DIGESTS = {"code", "env", "inputs", "search"}  # what they stand for is said in words, or lies below
OF_DATA = {"data"}
ENVIRONMENT = ("python", "packages", "cpu", "platform", "device", "threads")
SETTINGS = ("chosen", "choice")  # what a search found counts among the settings
ABSENT = "(absent)"


def diff(first: str, second: str) -> int:
    """Print what differs between two result files; exit code 1 where anything does."""
    found = {name: lines for name, lines in compared(read(first), read(second)).items() if lines}
    for name, lines in found.items():
        print(name)
        print("\n".join(f"  {line}" for line in lines))
    if not found:
        print("no difference")
    return STALE if found else GOOD


def compared(old: ResultFile, new: ResultFile) -> dict[str, list[str]]:
    """{settings, code, data, environment, values or content: lines}.

    Raises ConfigError for two files that have nothing to compare, DataError for one that is damaged.
    """
    for result in (old, new):
        if result.problems and result.kind != "data set":  # which says of its arrays what they were
            raise DataError(f"{result.path}: {result.problems[0]}")
    if old.kind != new.kind and not {old.kind, new.kind} <= {*KINDS}:
        raise ConfigError(f"{old.path} is a {old.kind}, {new.path} a {new.kind}; two files of one kind can be compared")
    if old.kind == "archive":
        return {"about": _pairs(_plain(old.facts), _plain(new.facts)), "files": _files(old, new)}
    if old.kind == "data set":
        changed = [f"{result.path}: {line}" for result in (old, new) for line in result.problems or ()]
        data = _pairs(leaves(old.facts), leaves(new.facts))
        return {"data": data, "code": _pairs(old.provenance, new.provenance), "content": changed}
    return {
        "settings": _pairs(_settings(old), _settings(new)),
        "code": _code(old, new),
        "data": _pairs(*(leaves(_data(result)) for result in (old, new))),
        "environment": _pairs(*(leaves(_environment(result)) for result in (old, new))),
        **_content(old, new),
    }


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """{dotted path: value} of nested mappings, and of lists of mappings by position; what is empty says nothing."""
    if isinstance(value, Mapping):
        items: Iterable = value.items()
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = enumerate(value)
    else:
        return {path: value}
    return {k: v for key, item in items for k, v in leaves(item, f"{path}.{key}" if path else str(key)).items()}


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`path: old -> new` of what differs."""
    texts = [{path: text(value) for path, value in one.items()} for one in (old, new)]
    found = []
    for path in sorted({*old, *new}):
        pair = [one.get(path, ABSENT) for one in texts]
        found += [f"{path}: {pair[0]} -> {pair[1]}"] if pair[0] != pair[1] else []
    return found


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != "files"}


def _settings(result: ResultFile) -> dict[str, Any]:
    spec = {key: value for key, value in result.spec.items() if key not in DIGESTS | OF_DATA}
    found = {key: value for key in SETTINGS if (value := result.facts.get(key))}
    return {path: value for path, value in leaves({**spec, **found}).items() if path != "start.spec.code"}


def _code(old: ResultFile, new: ResultFile) -> list[str]:
    modules = [result.provenance.get("modules") for result in (old, new)]
    changed = changed_modules(*modules) if all(modules) else []
    return changed or _pairs(*({"code": result.spec.get("code")} for result in (old, new)))


def _data(result: ResultFile) -> dict[str, Any]:
    arrays = result.provenance.get("data")
    return {**(result.spec.get("data") or {}), **({"arrays": arrays} if arrays else {})}


def _environment(result: ResultFile) -> dict[str, Any]:
    found = {key: value for key in ENVIRONMENT if (value := result.provenance.get(key)) is not None}
    return {**({"env": result.spec["env"]} if "env" in result.spec else {}), **found}


def _content(old: ResultFile, new: ResultFile) -> dict[str, list[str]]:
    """What was measured; of a file that holds no numbers to read, whether it has the same bytes."""
    if old.kind == new.kind == "weights":
        return {"values": list(of_weights(old.path, new.path))}
    if old.kind == new.kind and (old.kind in KINDS or old.path.suffix == new.path.suffix == ".csv"):
        return {"values": list(differences(reading(old), reading(new)))}
    if old.kind in KINDS or old.path.suffix != new.path.suffix:
        return {}
    return {"content": [] if checksum(old.path) == checksum(new.path) else ["another one"]}


def _files(old: ResultFile, new: ResultFile) -> list[str]:
    found = []
    for name in sorted({*old.facts["files"], *new.facts["files"]}):
        one, other = (result.facts["files"].get(name) for result in (old, new))
        if one is None or other is None:
            found.append(f"{name}: only in the {'first' if other is None else 'second'}")
        elif one["sha256"] != other["sha256"]:
            found.append(f"{name}: another content")
    return found
