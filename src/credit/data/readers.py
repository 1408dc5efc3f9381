"""Reads original files. Every reader yields batches: images uint8 (N, C, H, W) and labels (N,) from 0."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from credit.data import _pickles, _torchvision, content
from credit.data.entry import Entry
from credit.errors import DataError

Batches = Iterator[tuple[np.ndarray, np.ndarray]]
_MALFORMED = (RuntimeError, AssertionError, ValueError, KeyError, TypeError, IndexError, EOFError)
_DIGITS_HELD_OUT = 36  # test images of each class


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> dict[str, Batches]:
    """{"train": batches, "test": batches} of the original files in `raw`, in their original order.

    scratch: an empty folder to unpack into. verified: the files are the published ones. Raises DataError
    naming the file that is damaged or not in its format, some only while the batches are drawn.
    """
    if entry.source == "embedded":
        return _digits(entry)
    if entry.source == "user":
        return _imagenet(entry, raw)
    if entry.name.startswith("cifar"):
        source = _unpack_cifar(entry, raw, scratch)
        return _from_torchvision(source if verified else _unchecked(source), entry, raw, scratch)
    _unpack_idx(entry, raw, scratch)
    return _from_torchvision(_torchvision.reader(entry), entry, raw, scratch)


def _from_torchvision(source: type, entry: Entry, raw: Path, scratch: Path) -> dict[str, Batches]:
    def batches(train: bool) -> Batches:
        with (
            _format_errors(entry, raw),
            warnings.catch_warnings(action="ignore"),
        ):  # numpy, about Python 2 pickles
            data = source(scratch, train=train, download=False)
            images = np.asarray(data.data)  # MNIST (N, H, W), CIFAR (N, H, W, C)
            images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
            labels = np.asarray(data.targets)
        yield images, labels

    return {"train": batches(True), "test": batches(False)}


@contextmanager
def _format_errors(entry: Entry, raw: Path) -> Iterator[None]:
    try:
        yield
    except _MALFORMED as e:
        if isinstance(e, DataError):
            raise
        reason = " ".join(str(e).split()) or type(e).__name__
        raise DataError(f"{raw}: the files are not {entry.name} in its original format: {reason}") from e


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except content.DAMAGED as e:
        raise DataError(f"{path}: cannot be unpacked: {e}; expected the original file, fetch it again") from e


def _unpack_idx(entry: Entry, raw: Path, scratch: Path) -> None:
    folder = _torchvision.raw_folder(entry)
    (scratch / folder).mkdir(parents=True)
    for file in entry.files:
        path = raw / folder / file.name
        with _damage(path):
            content.unpack(path, scratch / folder / path.stem)


def _unpack_cifar(entry: Entry, raw: Path, scratch: Path) -> type:
    """Unpack the archive, check that its pickles hold data only, and return the class that reads them."""
    source, path = _torchvision.reader(entry), raw / entry.files[0].name
    (scratch / source.base_folder).mkdir()
    members = [name for name, _ in source.train_list + source.test_list] + [source.meta["filename"]]
    with _damage(path), tarfile.open(path) as archive:
        for name in (f"{source.base_folder}/{member}" for member in members):
            packed = archive.extractfile(name) if name in archive.getnames() else None
            if packed is None:
                raise DataError(f"{path}: expected a file {name} in it; found {', '.join(archive.getnames()[:8])}")
            with packed, (scratch / name).open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
    for member in members:  # torchvision unpickles without restriction
        _pickles.load(scratch / source.base_folder / member)
    return source


def _unchecked(source: type) -> type:
    """The same torchvision class without md5 sums, for a copy that the user allowed by its own checksum."""
    lists = {kind: [[name, None] for name, _ in getattr(source, kind)] for kind in ("train_list", "test_list")}
    return type(source.__name__, (source,), {**lists, "meta": source.meta | {"md5": None}})


def _imagenet(entry: Entry, raw: Path) -> dict[str, Batches]:
    def batches(choose: Callable[[str], bool]) -> Batches:
        for name in filter(choose, (f.name for f in entry.files)):
            if zipfile.is_zipfile(raw / name):
                raise DataError(
                    f"{raw / name}: an archive (.npz or .zip) under the name of a pickle; expected the file {name} "
                    "of the pickled version, unpacked"
                )
            batch = _pickles.load(raw / name)
            with _format_errors(entry, raw / name):
                images = np.asarray(batch["data"]).reshape(-1, *entry.image)
                labels = np.asarray(batch["labels"])
                if labels.size and labels.min() == 0:
                    raise DataError(
                        f"{raw / name}: labels count from 0, found {labels.min()} to {labels.max()}; those of the "
                        f"original files count from 1 to {entry.classes}: add 1, or take the original files"
                    )
                yield images, labels - 1

    return {
        "train": batches(lambda name: name.startswith("train")),
        "test": batches(lambda name: not name.startswith("train")),
    }


def _digits(entry: Entry) -> dict[str, Batches]:
    """scikit-learn's digits, grey levels 0 to 16. Test set: 36 images of each class, drawn once."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8)[:, None], digits.target.astype(np.uint8)
    found, expected = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(), entry.files[0].sha256
    if found != expected:
        raise DataError(
            f"{entry.files[0].name}: expected sha256 {expected}, found {found}; "
            "install the locked version of scikit-learn"
        )
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(labels))
    held_out = np.concatenate([order[labels[order] == c][-_DIGITS_HELD_OUT:] for c in range(entry.classes)])
    test = np.isin(np.arange(len(labels)), held_out)
    return {"train": iter([(images[~test], labels[~test])]), "test": iter([(images[test], labels[test])])}
