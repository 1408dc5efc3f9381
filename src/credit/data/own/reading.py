"""How the files of an own data set are to be read: the keys of its entry in the catalogue, checked. Loads no numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

KINDS = ("npz", "csv", "folder")  # formats of own data
PARTS = ("train", "val", "test")
WHOLE = "all"  # the name of a path that no part is named for
FRACTION = 0.2
_ALWAYS = ("title", "source", "format", "path", "sha256", "licence", "cite", "test_fraction", "test_seed")
_KEYS = {
    "npz": ("classes", "layout", "scale", "standardise"),
    "csv": ("label", "header", "delimiter", "ignore", "standardise"),
    "folder": ("size", "channels", "alpha", "scale"),
}


@dataclass(frozen=True)
class Reading:
    """What a user says of the files; None where nothing is said.

    test_fraction, test_seed: the share of the samples of each class that makes the test set where no part does, and the
    seed that it is drawn with. label: name of the column that holds the class, or its number from 1 (-1: the last).
    header: whether the first line names the columns. ignore: columns that are left out, by name or number. standardise:
    every column has mean 0 and standard deviation 1 over the training samples. layout: of images in an array,
    "channels_first" or "channels_last". scale: the value that becomes 1. classes: their number. size: (height, width)
    to which images are resized. channels: 1 for grey, 3 for colour. alpha: "drop", or images that have it are refused.
    """

    test_fraction: float | None = None
    test_seed: int = 0
    label: str | int | None = None
    header: bool = True
    delimiter: str = ","
    ignore: tuple[str | int, ...] = ()
    standardise: bool = False
    layout: str = "channels_first"
    scale: float | None = None
    classes: int | None = None
    size: tuple[int, int] | None = None
    channels: int | None = None
    alpha: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Reading:
        """The reading that a mapping of settings describes, other keys aside."""
        known = {field.name for field in fields(cls)} & given.keys()
        return cls(**{k: tuple(given[k]) if isinstance(given[k], list) else given[k] for k in known})

    def said(self) -> dict[str, Any]:
        """Settings that differ from their defaults, as JSON values: a default that is written down changes nothing."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        differing = {key: value for key, (value, default) in values.items() if value != default}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in differing.items()}


def problems(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with an entry of the catalogue whose format is one of `KINDS`, as `KEY…`."""
    kind = facts["format"]
    allowed = (*_ALWAYS, *_KEYS[kind])
    for key in facts:
        if key not in allowed:
            yield f"{key}: no key of the format {kind}; allowed: {', '.join(sorted(allowed))}"
    if facts["source"] != "user":
        yield f"source = {facts['source']}; the format {kind} is read where it is user"
    if "path" not in facts:
        named = "folder" if kind == "folder" else "file"
        yield f"path is missing; it names the {named}, or one for each of {', '.join(PARTS)}"
    if kind == "csv" and "label" not in facts:
        yield "label is missing; it names the column that holds the class, or gives its number (1 is the first)"
    yield from _value_problems(facts)


def _value_problems(facts: Mapping[str, Any]) -> Iterator[str]:
    """Values that the schema cannot hold back."""
    if not 0 < facts.get("test_fraction", FRACTION) < 1:
        yield f"test_fraction = {facts['test_fraction']}; must be above 0 and below 1"
    if facts.get("scale", 1) <= 0:
        yield f"scale = {facts['scale']}; must be above 0"
    if facts.get("channels", 1) not in (1, 3):
        yield f"channels = {facts['channels']}; must be 1 (grey) or 3 (colour)"
    if len(facts.get("delimiter", ",")) != 1 or facts.get("delimiter") in ("\n", "\r", '"'):
        yield f'delimiter = {facts["delimiter"]!r}; must be one character, such as "," or ";" or "\\t"'
    if "standardise" in facts and facts["standardise"] and "scale" in facts:
        yield "scale: has no effect beside standardise; leave it out"
    path, sha256 = facts.get("path"), facts.get("sha256")
    if isinstance(path, Mapping) and "test" in path and "test_fraction" in facts:
        yield "test_fraction: contradicts path.test; leave one of them out"
    if sha256 is not None and isinstance(sha256, Mapping) != isinstance(path, Mapping):
        yield "sha256: must be one checksum for one path, or one for each of its parts"
    elif isinstance(sha256, Mapping) and (unknown := sorted(set(sha256) - set(path))):
        yield f"sha256.{unknown[0]}: path names no such part, only {', '.join(path)}"
