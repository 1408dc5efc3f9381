"""Samples of an own data set: their classes, what is trained on and what is tested on, and how they are handed out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from credit.data.entry import Entry
from credit.data.formats._reading import Batches, Sides
from credit.data.own.reading import FRACTION, WHOLE, Reading
from credit.errors import DataError

MOST = 32_767  # classes, as labels are 16-bit integers
_AT_ONCE = 500  # samples that are handed out together


class Part(NamedTuple):
    """Samples that are kept together. where: the file or folder, for messages. labels: (N,), integers or text.

    take: values (k, C, H, W) of the samples at indices (k,).
    """

    where: str
    labels: np.ndarray
    take: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Opened:
    """What a format finds in the files. parts: by name, `train` always. image: (C, H, W). scale: what becomes 1."""

    parts: dict[str, Part]
    image: tuple[int, int, int]
    dtype: str
    scale: float


@dataclass(frozen=True)
class Arranged:
    """Samples with their classes. names: of the classes. train, test: pieces (part, indices (n,), their classes (n,)).

    held_out: the last training samples, so many, are those of the part `val`.
    """

    names: tuple[str, ...]
    train: list[tuple[Part, np.ndarray, np.ndarray]]
    test: list[tuple[Part, np.ndarray, np.ndarray]]
    held_out: int


def named(roots: Mapping[str, Path]) -> dict[str, Path]:
    """Paths by the part that they hold; a path that no part is named for holds the training part."""
    return {"train" if part == WHOLE else part: root for part, root in roots.items()}


def arranged(opened: Opened, reading: Reading) -> Arranged:
    """The samples by class, with a test part drawn where there is none.

    Raises DataError for labels that do not go together, and for classes of too few samples.
    """
    parts = opened.parts
    _check_parts(parts, reading)
    train = parts["train"]
    classes, labels = np.unique(train.labels, return_inverse=True)
    if not 2 <= len(classes) <= MOST:
        raise DataError(f"{train.where}: found {len(classes)} classes; needs 2 to {MOST}")
    numbers = {"train": labels} | {name: _of(classes, part, train) for name, part in parts.items() if name != "train"}
    everything = np.arange(len(labels))
    pieces = {name: [(part, np.arange(len(part.labels)), numbers[name])] for name, part in parts.items()}
    if "test" not in parts:
        drawn = _drawn(labels, [str(c) for c in classes], reading, train.where)
        kept = np.setdiff1d(everything, drawn)
        pieces |= {"train": [(train, kept, labels[kept])], "test": [(train, drawn, labels[drawn])]}
    held_out = len(numbers.get("val", ()))
    return Arranged(tuple(map(str, classes)), pieces["train"] + pieces.get("val", []), pieces["test"], held_out)


def _check_parts(parts: Mapping[str, Part], reading: Reading) -> None:
    where = parts["train"].where
    if "test" in parts and reading.test_fraction is not None:
        raise DataError(f"{where}: has a test part; test_fraction contradicts it, leave one of them out")
    if "val" in parts and "test" not in parts and reading.test_fraction is None:
        raise DataError(
            f"{where}: has a part val, but none for the test; name one, or give test_fraction, which is then drawn "
            "from the training part"
        )
    for part in parts.values():
        if not len(part.labels):
            raise DataError(f"{part.where}: holds no samples")


def _of(classes: np.ndarray, part: Part, train: Part) -> np.ndarray:
    """Numbers (N,) of the classes of a part's samples."""
    mine, inverse = np.unique(part.labels, return_inverse=True)
    numbers = {str(name): number for number, name in enumerate(classes)}
    if unknown := [str(name) for name in mine if str(name) not in numbers]:
        raise DataError(f"{part.where}: class {unknown[0]!r} has no sample in the training part, {train.where}")
    return np.array([numbers[str(name)] for name in mine])[inverse]


def _drawn(labels: np.ndarray, names: list[str], reading: Reading, where: str) -> np.ndarray:
    """Indices of the test samples, in order: of each class the same share, which no other class changes."""
    share, drawn = reading.test_fraction or FRACTION, []
    for number, name in enumerate(names):
        mine = np.flatnonzero(labels == number)
        if len(mine) < 2:
            raise DataError(
                f"{where}: class {name!r} has 1 sample; a test set can be drawn where every class has 2, else name a "
                "test part"
            )
        count = min(max(int(share * len(mine) + 0.5), 1), len(mine) - 1)
        generator = np.random.Generator(np.random.PCG64([reading.test_seed, number]))
        drawn.append(mine[generator.permutation(len(mine))[:count]])
    return np.sort(np.concatenate(drawn))


def facts(opened: Opened, reading: Reading) -> dict:
    """What is declared about other data sets, found in the files: fields of `Entry`, JSON values."""
    found = arranged(opened, reading)
    counts = {side: sum(len(index) for _, index, _ in getattr(found, side)) for side in ("train", "test")}
    more = {"held_out": found.held_out} if found.held_out else {}
    return {
        "classes": len(found.names), "image": list(opened.image), **counts, "dtype": opened.dtype,
        "scale": opened.scale, **more,
    }  # fmt: skip


def batches(opened: Opened, reading: Reading, entry: Entry) -> Sides:
    """Both sides as `credit.data.prepare` takes them. Raises DataError where the files are not as they were."""
    found = arranged(opened, reading)
    if len(found.names) != entry.classes:
        where = opened.parts["train"].where
        raise DataError(f"{where}: found {len(found.names)} classes where there were {entry.classes}; run again")
    change = _standard(found.train) if reading.standardise else lambda values: values
    sides = {side: _handed_out(getattr(found, side), change) for side in ("train", "test")}
    return Sides(sides, names=found.names)


def _handed_out(pieces: list[tuple[Part, np.ndarray, np.ndarray]], change: Callable) -> Batches:
    for part, index, labels in pieces:
        for start in range(0, len(index), _AT_ONCE):
            cut = slice(start, start + _AT_ONCE)
            yield change(part.take(index[cut])), labels[cut]


def _standard(pieces: list[tuple[Part, np.ndarray, np.ndarray]]) -> Callable[[np.ndarray], np.ndarray]:
    """Mean 0 and standard deviation 1 for every column, over the training samples; 0 where all of them are equal."""
    values = np.concatenate([part.take(index) for part, index, _ in pieces]).astype(np.float64)
    mean, std = values.mean(0), values.std(0)
    std[std <= 1e-12 * np.abs(mean)] = np.inf
    return lambda values: ((values - mean) / std).astype(np.float32)


def as_floats(values: np.ndarray, place: Callable[[tuple[int, ...]], str]) -> np.ndarray:
    """Values of any shape, (...), as 32-bit floats. place: says of an index where it is.

    Raises DataError for what is not finite then.
    """
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    finite = np.isfinite(floats)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise DataError(f"{place(index)}: {values[index]} is no finite number of 32 bits; mend it or leave it out")
    return floats
