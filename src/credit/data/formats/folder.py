"""Pictures of the user's own: a folder for each class, or folders train and test (and val) that hold those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from credit.data.entry import Entry
from credit.data.formats._pictures import Picture, look, pixels
from credit.data.formats._reading import Sides
from credit.data.own.links import roots as linked
from credit.data.own.parts import Opened, Part, batches, facts
from credit.data.own.reading import PARTS, WHOLE, Reading
from credit.data.own.trees import files, folders
from credit.errors import DataError

Samples = list[tuple[str, Path]]  # class, picture


def opened(reading: Reading, paths: Mapping[str, Path]) -> Opened:
    """What the folders hold, by the headers of all pictures. Raises DataError naming the file or the folder."""
    parts = {part: _samples(root) for part, root in _parts(paths).items()}
    image, deep = _image([path for samples in parts.values() for _, path in samples], reading)
    return _of(parts, _parts(paths), reading, image, deep)


def survey(reading: Reading, paths: Mapping[str, Path]) -> dict:
    """Facts of an entry of the catalogue, see `credit.data.own.parts.facts`; raises as `opened`."""
    return facts(opened(reading, paths), reading)


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> Sides:
    """Both sides of the pictures in `raw`."""
    reading, paths = Reading.of(entry.own), _parts(linked(entry, raw))
    parts = {part: _samples(root) for part, root in paths.items()}
    return batches(_of(parts, paths, reading, entry.image, entry.dtype == "float32"), reading, entry)


def _of(
    parts: Mapping[str, Samples], paths: Mapping[str, Path], reading: Reading, image: tuple[int, int, int], deep: bool
) -> Opened:
    def part(name: str, samples: Samples) -> Part:
        def take(index: np.ndarray) -> np.ndarray:
            return np.stack([pixels(samples[i][1], reading, image, deep) for i in index])

        return Part(str(paths[name]), np.array([label for label, _ in samples]), take)

    found = {name: part(name, samples) for name, samples in parts.items()}
    return Opened(found, image, "float32" if deep else "uint8", float(reading.scale or 255))


def _parts(paths: Mapping[str, Path]) -> dict[str, Path]:
    """Folder of every part. One that holds nothing but folders named for parts, which hold folders, holds the parts."""
    if set(paths) != {WHOLE}:
        return dict(paths)
    root = paths[WHOLE]
    below = {path.name: path for path in folders(root)}
    if "train" in below and set(below) <= set(PARTS) and len(below) > 1 and all(map(folders, below.values())):
        _check_beside(root, list(below.values()), "the folders train, val and test")
        return {part: below[part] for part in PARTS if part in below}
    return {"train": root}


def _samples(root: Path) -> Samples:
    """Every picture with its class, the name of the folder: by class, then by name."""
    classes = folders(root)
    if not classes:
        raise DataError(f"{root}: expected a folder for each class, with its images; found none")
    _check_beside(root, classes, "the folders of the classes")
    samples = []
    for folder in classes:
        mine = [(folder.name, path) for _, path in files(folder)]
        if not mine:
            raise DataError(f"{folder}: a class without images; add some or remove the folder")
        samples += mine
    return samples


def _check_beside(root: Path, below: list[Path], what: str) -> None:
    inside = {path.name for path in below}
    if beside := [path for name, path in files(root) if name.partition("/")[0] not in inside]:
        raise DataError(f"{beside[0]}: lies beside {what}; move it elsewhere")


def _image(paths: list[Path], reading: Reading) -> tuple[tuple[int, int, int], bool]:
    """((C, H, W), whether of 16 bits) of all pictures. Raises DataError naming two that differ."""
    first: tuple[Path, Picture] | None = None
    for path in paths:
        mine = look(path, reading)
        if first is None:
            first = path, mine
        for problem in _differences(first, (path, mine), reading):
            raise DataError(problem)
    _, picture = first
    return (reading.channels or picture.channels, *(reading.size or picture.size)), picture.deep


def _differences(one: tuple[Path, Picture], other: tuple[Path, Picture], reading: Reading):
    """What keeps two pictures from being samples of one data set."""
    (path, a), (second, b) = one, other
    if a.deep != b.deep:
        bits = {True: "16 bits a pixel", False: "8"}
        yield f"{path} has {bits[a.deep]}, {second} {bits[b.deep]}; convert them to one kind"
    elif a.channels != b.channels and reading.channels is None:
        kind = {1: "grey", 3: "in colour"}
        yield f"{path} is {kind[a.channels]}, {second} {kind[b.channels]}; write channels: 1 or channels: 3 for all"
    elif a.size != b.size and reading.size is None:
        sizes = [f"{p} is {h} x {w}" for p, (h, w) in ((path, a.size), (second, b.size))]
        yield f"{sizes[0]}, {sizes[1]} (height x width); write size: [H, W], to which all are resized"
