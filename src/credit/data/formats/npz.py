"""Arrays of the user's own in numpy's archive: x and y, or train_x, train_y and those of val and test."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from credit.data.entry import Entry
from credit.data.formats._reading import Sides
from credit.data.own.links import roots as linked
from credit.data.own.parts import Opened, Part, as_floats, batches, facts, named
from credit.data.own.reading import PARTS, Reading
from credit.errors import DataError

_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError)
_COLOURS = (1, 3, 4)  # channels that images have


def opened(reading: Reading, paths: Mapping[str, Path]) -> Opened:
    """What the files hold. Raises DataError naming the file, the array, what was found and what is expected."""
    found: dict[str, tuple[str, np.ndarray, np.ndarray]] = {}
    for part, path in named(paths).items():
        names = {part: ("x", "y")} if set(paths) != {"all"} else _names(path)
        for name, pair in names.items():
            x, y = (_array(path, array) for array in pair)
            _check(str(path), x, y, pair)
            found[name] = str(path), x, y.astype(np.int64) if y.dtype.kind == "b" else y
    images = {name: _images(x, reading, f"{where}: {name}") for name, (where, x, _) in found.items()}
    first, where = images["train"], found["train"][0]
    scale = _scale(found["train"][1], reading, where)
    for name, values in images.items():
        if values.shape[1:] != first.shape[1:] or values.dtype != first.dtype:
            raise DataError(
                f"{found[name][0]}: samples of {name} are {values.dtype} {values.shape[1:]}, those of the training "
                f"part {first.dtype} {first.shape[1:]}"
            )
    _check_labels(found["train"][2], reading, where)
    parts = {
        name: Part(where, y, lambda index, values=images[name]: values[index]) for name, (where, _, y) in found.items()
    }
    return Opened(parts, first.shape[1:], first.dtype.name, scale)


def survey(reading: Reading, paths: Mapping[str, Path]) -> dict:
    """Facts of an entry of the catalogue, see `credit.data.own.parts.facts`; raises as `opened`."""
    return facts(opened(reading, paths), reading)


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> Sides:
    """Both sides of the arrays in `raw`; a vector is an image of one pixel, a channel for each number."""
    reading = Reading.of(entry.own)
    return batches(opened(reading, linked(entry, raw)), reading, entry)


def _names(path: Path) -> dict[str, tuple[str, str]]:
    """{part: names of its two arrays} in a file that may hold several parts."""
    known = _arrays(path)
    if {"x", "y"} <= known:
        return {"train": ("x", "y")}
    pairs = {part: [(f"{part}_x", f"{part}_y"), (f"x_{part}", f"y_{part}")] for part in PARTS}
    names = {part: pair for part, tried in pairs.items() for pair in tried if known.issuperset(pair)}
    if "train" not in names:
        raise DataError(
            f"{path}: holds the arrays {', '.join(sorted(known)) or 'none'}; expected x and y, or train_x and train_y "
            "(and val_x, val_y, test_x, test_y)"
        )
    if alone := sorted({n for tried in pairs.values() for pair in tried for n in pair if n in known} - _flat(names)):
        raise DataError(f"{path}: holds {alone[0]} without the array of the same part that belongs to it")
    return names


def _flat(names: Mapping[str, tuple[str, str]]) -> set[str]:
    return {name for pair in names.values() for name in pair}


def _arrays(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: no .npz archive of numpy ({error}); write it with numpy.savez") from error


def _array(path: Path, name: str) -> np.ndarray:
    """An array that holds no Python objects: a pickle is never loaded."""
    known = _arrays(path)
    if name not in known:
        raise DataError(f"{path}: has no array {name}; found {', '.join(sorted(known)) or 'none'}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]
    except _BROKEN as error:
        if "Object arrays" in str(error):
            raise DataError(
                f"{path}: {name} holds Python objects (dtype object), which are not loaded; save an array of numbers"
            ) from error
        raise DataError(f"{path}: {name} cannot be read: {' '.join(str(error).split())}") from error


def _check(where: str, x: np.ndarray, y: np.ndarray, names: tuple[str, str]) -> None:
    """An array of samples and one of labels must go together."""
    if x.dtype.kind not in "buif":
        raise DataError(f"{where}: {names[0]} is {x.dtype}; expected integers or real numbers")
    if x.ndim not in (2, 3, 4) or 0 in x.shape[1:]:
        raise DataError(f"{where}: {names[0]} is {x.shape}; expected (N, n), (N, H, W) or (N, C, H, W)")
    if y.ndim != 1:
        hint = " (from one-hot labels: y.argmax(1))" if y.ndim == 2 else ""
        raise DataError(f"{where}: {names[1]} is {y.shape}; expected (N,), the class of each sample{hint}")
    if y.dtype.kind == "f":
        raise DataError(
            f"{where}: {names[1]} is {y.dtype}; labels are integers or text, targets of a regression are not supported"
        )
    if y.dtype.kind not in "buiU":
        raise DataError(f"{where}: {names[1]} is {y.dtype}; expected integers or text, the class of each sample")
    if len(x) != len(y):
        raise DataError(f"{where}: {names[0]} holds {len(x)} samples, {names[1]} {len(y)} labels; expected as many")


def _images(x: np.ndarray, reading: Reading, where: str) -> np.ndarray:
    """Samples as images (N, C, H, W), uint8 or float32."""
    last = reading.layout == "channels_last"
    if x.ndim == 4 and not last and x.shape[1] not in _COLOURS and x.shape[3] in _COLOURS:
        raise DataError(f"{where} is {x.shape}, which looks like (N, H, W, C): write layout: channels_last")
    if x.ndim != 4 and last:
        raise DataError(f"{where} is {x.shape}; layout: channels_last is for (N, H, W, C)")
    if reading.standardise and x.ndim != 2:
        raise DataError(f"{where} is {x.shape}; standardise is for (N, n), images have task.mean and task.std")
    images = {2: lambda: x[:, :, None, None], 3: lambda: x[:, None], 4: lambda: x.transpose(0, 3, 1, 2) if last else x}
    values = images[x.ndim]()
    if x.dtype == np.uint8 and not reading.standardise:
        return values
    return as_floats(values, lambda index: f"{where}, sample {index[0]}")


def _scale(x: np.ndarray, reading: Reading, where: str) -> float:
    """The value that becomes 1: 255 of bytes, 1 of everything else unless the user says otherwise."""
    if reading.scale is not None or reading.standardise:
        return float(reading.scale or 1)
    if x.ndim > 2 and x.dtype.kind in "ui" and x.dtype != np.uint8:
        raise DataError(
            f"{where}: images of {x.dtype}; name the value that is to become 1, such as scale: 65535 for 16 bits"
        )
    return 255.0 if x.dtype == np.uint8 else 1.0


def _check_labels(y: np.ndarray, reading: Reading, where: str) -> None:
    """Integers must count the classes, from 0, and every class needs a sample."""
    if not len(y):
        return
    found = np.unique(y)
    if y.dtype.kind == "U":
        if reading.classes not in (None, len(found)):
            raise DataError(f"{where}: found {len(found)} classes; classes = {reading.classes}")
        return
    last = int(found[-1]) if reading.classes is None else reading.classes - 1
    if found[0] < 0 or found[-1] > last:
        wanted = "0 and so on" if reading.classes is None else f"0 to {last}, by classes = {reading.classes}"
        raise DataError(f"{where}: labels {found[0]} to {found[-1]}; expected {wanted}")
    if len(found) <= last:
        empty = next(i for i, label in enumerate([*found.tolist(), last + 1]) if i != label)
        raise DataError(f"{where}: labels up to {last}, but no training sample of class {empty}; every class needs one")
