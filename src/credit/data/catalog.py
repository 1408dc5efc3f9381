"""The catalogue of data sets, `config/datasets.yaml`, with the user's own beside it.

Loads no torch: the Snakefile uses it. What is declared of a data set of the user's own does not say what is in it:
`load` knows its name, `dataset` looks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from credit.config.files import check_schema, read_yaml
from credit.config.formats import FORMATS
from credit.data.entry import ANY, Entry, File
from credit.data.own import reading, survey
from credit.errors import ConfigError, one_of

ROOT = Path(__file__).parents[3]
CATALOG = ROOT / "config" / "datasets.yaml"
SCHEMA = ROOT / "workflow" / "schemas" / "datasets.schema.yaml"
BESIDE = "own_datasets.yaml"  # a file of the user's in the catalogue's folder, which need not be there


class Served(NamedTuple):
    """What the code of a format reads: of which source, which classes of torchvision, how many files."""

    source: str
    classes: tuple[str, ...] = ()
    files: int = 0


SERVED = {  # formats that are not named here take whatever is declared
    "idx": Served("torchvision", ("MNIST", "FashionMNIST", "KMNIST"), 4),
    "cifar": Served("torchvision", ("CIFAR10", "CIFAR100"), 1),
    "imagenet": Served("user"),
    "digits": Served("embedded", files=1),
}
_FACTS = ("source", "classes", "train", "test", "format", "torchvision")
_KEYS = ("title", *_FACTS, "files", "image", "licence", "cite")


_used: list[Path | None] = [CATALOG, None]


def use(path: Path, raw: Path | None = None) -> None:
    """Make `path` the catalogue of this process; where there is no such file, that of the checkout.

    raw: the folder with the manifests of what was read. Files of the user's own are looked at anew.
    """
    _used[:] = path.resolve() if path.is_file() else CATALOG, raw
    survey.surveyed.cache_clear()


def used() -> Path:
    """The catalogue of this process."""
    return _used[0]


def files() -> tuple[Path, Path]:
    """The files of this process's catalogue; that of the user's own data sets need not be there."""
    return used(), used().with_name(BESIDE)


def load(path: Path | None = None, schema: Path = SCHEMA) -> dict[str, Entry]:
    """All data sets, by name, as they are declared.

    path: default: the catalogue of this process. Raises ConfigError naming the file, the key, and what is wrong there.
    """
    return _load(path or used(), schema)


@cache
def _load(path: Path, schema: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for file, declared in sources(path, schema).items():
        for name, facts in declared.items():
            if name in entries:
                raise ConfigError(f"{file}, line {_line(file, name)}: {name}: {path} declares a data set of this name")
            _check_code(file, name, facts)
            entries[name] = _entry(file, name, facts)
    return entries


@cache
def sources(path: Path, schema: Path = SCHEMA) -> dict[Path, dict[str, Any]]:
    """{file: what it declares, by name} of a catalogue and of the user's file beside it. Raises as `load`."""
    found = {}
    for file in (path, path.with_name(BESIDE)):
        if file == path or file.is_file():
            try:
                found[file] = check_schema(read_yaml(file), schema, str(file))
            except ConfigError as error:
                raise ConfigError("\n".join(_with_line(file, line) for line in str(error).splitlines())) from error
    return found


def _check_code(path: Path, name: str, facts: Mapping) -> None:
    """Raise ConfigError for a data set that no code fetches or reads."""
    problem = ""
    if facts["format"] not in FORMATS.names():
        problem = one_of("format", facts["format"], FORMATS.names())
    elif facts["format"] in reading.KINDS:
        problem = next(reading.problems(facts), "")
    elif strange := [key for key in facts if key not in _KEYS]:
        problem = f"{strange[0]}: no key of the format {facts['format']}; allowed: {', '.join(_KEYS)}"
    elif facts["format"] in SERVED and facts["source"] != (source := SERVED[facts["format"]].source):
        problem = f"source = {facts['source']}; the format {facts['format']} is read where it is {source}"
    elif (facts["source"] == "torchvision") != ("torchvision" in facts):
        needed = "must be the class that downloads it where source is torchvision, and only there"
        problem = f"torchvision = {facts.get('torchvision')}; {needed}"
    elif facts["format"] in SERVED:
        _, classes, files = SERVED[facts["format"]]
        if classes and facts["torchvision"] not in classes:
            problem = one_of(f"torchvision of format {facts['format']}", facts["torchvision"], classes)
        elif files and len(facts["files"]) != files:
            problem = f"files: holds {len(facts['files'])}; the format {facts['format']} has {files}"
    if problem:
        raise ConfigError(f"{path}, line {_line(path, name)}: {name}.{problem}")


def _with_line(path: Path, problem: str) -> str:
    """A problem `FILE: NAME.KEY: …` with the line of the file where the data set NAME begins."""
    name = re.match(rf"{re.escape(str(path))}: (\w+)", problem)
    if name is None or not (line := _line(path, name[1])):
        return problem
    return problem.replace(str(path), f"{path}, line {line}", 1)


def _line(path: Path, name: str) -> int:
    """Line of the file where a data set begins, 0 where none has this name."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((n for n, line in enumerate(lines, 1) if line.split(":")[0].strip("\"' ") == name), 0)


def _entry(path: Path, name: str, facts: Mapping) -> Entry:
    if facts["format"] in reading.KINDS:
        return survey.declared(name, facts, path.parent, f"{path}, line {_line(path, name)}: {name}")
    files = tuple(File(**file) for file in facts["files"])
    given = {key: facts[key] for key in _FACTS if key in facts}
    return Entry(name=name, files=files, image=tuple(facts["image"]), **given)


def dataset(name: str, allow_unverified: Mapping[str, Any] | None = None, path: Path | None = None) -> Entry:
    """The data set `name`, with the copies that `allow_unverified` accepts in place of its files.

    allow_unverified: data set -> {file: sha256}, or the sha256 of one copy, whichever file it is. Raises ConfigError
    for an unknown name, here or in `allow_unverified`, for a malformed sha256, and for files of the user's own that
    cannot be used.
    """
    entries = load(path)
    if name not in entries:
        raise ConfigError(one_of("data set", name, entries))
    for key, value in (allow_unverified or {}).items():
        _check_allowed(key, value, entries)
    entry, allowed = entries[name], (allow_unverified or {}).get(name, {})
    if entry.own is not None:
        found = _surveyed(entry)
        if isinstance(found, str):
            raise ConfigError(f"{_where(name, path)}: {found}")
        return found
    if isinstance(allowed, str):
        allowed = {entry.files[0].name if len(entry.files) == 1 else ANY: allowed}
    published = {f.sha256 for f in entry.files}  # they need no permission
    return replace(entry, allowed={file: sha256 for file, sha256 in allowed.items() if sha256 not in published})


def _surveyed(entry: Entry) -> Entry | str:
    return survey.surveyed(entry, _used[1] and _used[1] / f"{entry.name}.json")


def usable(name: str, allow_unverified: Mapping[str, Any] | None = None) -> Entry | None:
    """As `dataset`; None for a name that does not exist, and for the user's own files where they cannot be used."""
    entry = load().get(name)
    if entry is None or (entry.own is not None and isinstance(_surveyed(entry), str)):
        return None
    return dataset(name, allow_unverified)


def _where(name: str, path: Path | None = None) -> str:
    """File, line and name of an entry."""
    file = next(file for file, declared in sources(path or used()).items() if name in declared)
    return f"{file}, line {_line(file, name)}: {name}"


def _check_allowed(name: str, value: object, entries: Mapping[str, Entry]) -> None:
    where = f"allow_unverified.{name}"
    known = [e.name for e in entries.values() if e.source == "torchvision"]
    if name not in known:
        raise ConfigError(one_of("allow_unverified: data set", name, known))
    files = [f.name for f in entries[name].files]
    for file, sha256 in (value if isinstance(value, Mapping) else {None: value}).items():
        if file is not None and file not in files:
            raise ConfigError(one_of(where, file, files))
        if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
            key = f"{where}.{file}" if file else where
            raise ConfigError(f"{key} = {sha256!r}; must be the sha256 of your copy, 64 lower-case hexadecimal digits")


def raw_hash(name: str, allow_unverified: Mapping[str, Any] | None = None) -> str:
    """What stands for the original data in the spec of a job that uses the data set `name`; 64 hex digits.

    It covers names and published checksums; copies named by `allow_unverified` enter with their own sha256.
    Files that users supply (imagenet32) have no published checksum, and do not change it.
    """
    return dataset(name, allow_unverified).raw_hash()


def fetch_spec(name: str, allow_unverified: Mapping[str, Any] | None = None) -> dict:
    """What the fetching job needs to know, as JSON values. Neither the mirror nor the place of the user's own files is
    part of it: checksums decide."""
    entry = dataset(name, allow_unverified)
    return {"dataset": entry.spec(urls=entry.own is None)}


def prepare_spec(name: str, allow_unverified: Mapping[str, Any] | None = None) -> dict:
    """What the preparing job needs to know, as JSON values: no addresses, since they change no result."""
    return {"dataset": dataset(name, allow_unverified).spec(urls=False)}
