"""Turns original files into one uncompressed .npz file, the same bytes every time.

Members: train_x, test_x uint8 (N, C, H, W) in original order; train_y, test_y (N,), uint8, or int16 above 256
classes; meta, a JSON string: name, classes, scale (largest grey level), verified, raw (file name -> sha256). Data sets
of the user's own may hold float32; their meta also has names (of the classes) and held_out (the last training samples,
so many, are meant for validation).
"""

from __future__ import annotations

import glob
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from credit.config.formats import FORMATS
from credit.data.entry import Entry
from credit.data.formats._reading import Batches
from credit.data.own.changes import check
from credit.data.seal import hash_of, sealed
from credit.errors import DataError
from credit.provenance.files import alone, checksum, whole_file, writing
from credit.provenance.spec import digest


def prepare(entry: Entry, folder: Path, manifest: dict, out: Path) -> None:
    """Write the data set whose original files `fetch` brought into `folder`, with this manifest, to `out`.

    Raises DataError if a file is not the one in the manifest, is damaged or malformed, or does not hold the
    declared numbers, shapes and labels, and if the disk is full; `out` then stays as it was. Several processes may
    prepare one `out`: one at a time.
    """
    size = (entry.train + entry.test) * math.prod(entry.image) * entry.itemsize
    with writing(out, size), alone(out, f"prepares {entry.name} in {out.parent}") as locked:
        _check_manifest(entry, folder, manifest)
        for left in out.parent.glob(f".{glob.escape(out.name)}.*unpacked") if locked else ():
            shutil.rmtree(left, ignore_errors=True)  # by a job that was killed
        scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".unpacked"))
        try:
            batches = FORMATS.load(entry.format).read(entry, folder, scratch, manifest["verified"])
            with whole_file(out, size) as part:
                _write(part, entry, batches, manifest)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _check_manifest(entry: Entry, folder: Path, manifest: dict) -> None:
    again = f"fetch the data set again: snakemake --cores 1 --force {folder}.json"
    if (manifest["dataset"], manifest["raw_hash"]) != (entry.name, entry.raw_hash()):
        raise DataError(
            f"{folder}: its manifest is of {manifest['dataset']} {manifest['raw_hash']}; "
            f"expected {entry.name} {entry.raw_hash()}; {again}"
        )
    if entry.own is not None:
        check(entry, folder)
        return
    for file in manifest["files"]:
        path = folder / file["path"]
        found = checksum(path) if path.exists() else "no file"
        if found != file["sha256"]:
            raise DataError(f"{path}: expected sha256 {file['sha256']} as when it was fetched, found {found}; {again}")


def _meta(entry: Entry, manifest: dict, arrays: dict[str, str], names: tuple[str, ...]) -> str:
    """What `credit.data.load` reads of the data set. arrays: fingerprint of every array, by name."""
    own = {"names": list(names), "held_out": entry.held_out or 0} if entry.own is not None else {}
    return sealed(
        {
            **own,
            "arrays": arrays,
            "name": entry.name,
            "classes": entry.classes,
            "scale": entry.scale or getattr(FORMATS.load(entry.format), "SCALE", 255),
            "verified": manifest["verified"],
            "format": entry.format,
            "declared": digest(entry.spec(urls=False)),
            "raw": _checksums(entry, manifest["files"]),
        }
    )


def _checksums(entry: Entry, files: list[dict]) -> dict[str, str]:
    """{file: sha256}; of the user's own, {part: sha256} of a file or a whole folder."""
    if entry.own is not None:
        return {f.name: f.sha256 for f in entry.files}
    return {f["name"]: _checksum(entry, f) for f in files}


def _checksum(entry: Entry, file: dict) -> str:
    """That of the published file where the content is the published one, however it was packed."""
    declared = {f.name: f.sha256 for f in entry.files}.get(file["name"])
    return declared if declared and file["verified"] else file["sha256"]


def _write(path: Path, entry: Entry, batches: dict[str, Batches], manifest: dict) -> None:
    """Images pass through one batch at a time: ImageNet does not have to fit into memory."""
    arrays: dict[str, str] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for split, n in (("train", entry.train), ("test", entry.test)):
            labels: list[np.ndarray] = []
            images = _checked(entry, split, n, batches[split], labels)
            arrays[f"{split}_x"] = _member(archive, f"{split}_x", (n, *entry.image), _dtype(entry), images)
            arrays[f"{split}_y"] = _member(archive, f"{split}_y", (n,), labels[0].dtype, labels)
        text = np.array(_meta(entry, manifest, arrays, getattr(batches, "names", ())))
        _member(archive, "meta", (), text.dtype, [text])


def _dtype(entry: Entry) -> np.dtype:
    return np.dtype(entry.dtype or np.uint8)


def _member(archive: zipfile.ZipFile, name: str, shape: tuple, dtype: np.dtype, pieces: Iterable[np.ndarray]) -> str:
    """Write an array piece by piece; its fingerprint."""
    sha256 = hash_of(dtype, shape)
    info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01: no clock in the bytes
    with archive.open(info, "w", force_zip64=True) as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            content = np.ascontiguousarray(piece)
            sha256.update(content)
            file.write(content.data)
    return sha256.hexdigest()


def _checked(entry: Entry, split: str, n: int, batches: Batches, labels: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The images of the batches; appends their labels to `labels`."""
    where, seen = f"{entry.name}, {split} set", 0
    for x, y in batches:
        if x.dtype != _dtype(entry) or x.shape[1:] != entry.image or y.shape != x.shape[:1]:
            raise DataError(
                f"{where}: found images {x.dtype} {x.shape} and labels {y.shape}; "
                f"expected {_dtype(entry)} (N, {', '.join(map(str, entry.image))}) and (N,)"
            )
        if len(y) and not (y.min() >= 0 and y.max() < entry.classes):
            raise DataError(f"{where}: found labels {y.min()} to {y.max()}; expected 0 to {entry.classes - 1}")
        seen += len(x)
        labels.append(y.astype(np.uint8 if entry.classes <= 256 else np.int16))
        yield x
    if seen != n:
        raise DataError(f"{where}: found {seen} images; expected {n}")
