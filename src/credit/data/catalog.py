"""The catalogue of data sets, `config/datasets.yaml`. Loads no torch: the Snakefile uses it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from credit.config.files import check_schema, read_yaml
from credit.data.entry import Entry, File
from credit.errors import ConfigError, one_of

ROOT = Path(__file__).parents[3]
CATALOG = ROOT / "config" / "datasets.yaml"
SCHEMA = ROOT / "workflow" / "schemas" / "datasets.schema.yaml"
_FACTS = ("source", "classes", "train", "test")


@cache
def load(path: Path = CATALOG, schema: Path = SCHEMA) -> dict[str, Entry]:
    """All data sets, by name. Raises ConfigError naming the file, the key, and what is wrong with it."""
    declared = read_yaml(path)
    check_schema(declared, schema, str(path))
    return {name: _entry(name, facts) for name, facts in declared.items()}


def _entry(name: str, facts: Mapping) -> Entry:
    files = tuple(File(**file) for file in facts["files"])
    return Entry(name=name, files=files, image=tuple(facts["image"]), **{key: facts[key] for key in _FACTS})


def dataset(name: str, allow_unverified: Mapping[str, str] | None = None, path: Path = CATALOG) -> Entry:
    """The data set `name`, with the copy that `allow_unverified` (name -> sha256) accepts in its place.

    Raises ConfigError for an unknown name, here or in `allow_unverified`, and for a malformed sha256.
    """
    entries = load(path)
    if name not in entries:
        raise ConfigError(one_of("data set", name, entries))
    for key, value in (allow_unverified or {}).items():
        _check_allowed(key, value, entries)
    entry, allowed = entries[name], (allow_unverified or {}).get(name)
    official = allowed in {f.sha256 for f in entry.files}  # the published file needs no permission
    return entry if official else replace(entry, allowed=allowed)


def _check_allowed(name: str, value: object, entries: Mapping[str, Entry]) -> None:
    where = f"allow_unverified.{name}"
    known = [e.name for e in entries.values() if e.source == "torchvision"]
    if name not in known:
        raise ConfigError(one_of("allow_unverified: data set", name, known))
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ConfigError(f"{where} = {value!r}; must be the sha256 of your copy, 64 lower-case hexadecimal digits")


def raw_hash(name: str, allow_unverified: Mapping[str, str] | None = None) -> str:
    """What stands for the original data in the spec of a job that uses the data set `name`; 64 hex digits.

    It covers names and published checksums; a copy named by `allow_unverified` enters with its own sha256.
    Files that users supply (imagenet32) have no published checksum, and do not change it.
    """
    return dataset(name, allow_unverified).raw_hash()


def fetch_spec(name: str, allow_unverified: Mapping[str, str] | None = None) -> dict:
    """What the fetching job needs to know, as JSON values. The mirror is no part of it: checksums decide."""
    return {"dataset": dataset(name, allow_unverified).spec(urls=True)}


def prepare_spec(name: str, allow_unverified: Mapping[str, str] | None = None) -> dict:
    """What the preparing job needs to know, as JSON values: no addresses, since they change no result."""
    return {"dataset": dataset(name, allow_unverified).spec(urls=False)}
