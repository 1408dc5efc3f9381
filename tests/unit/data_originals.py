"""Tiny data sets in the original formats, for the tests of `credit.data`."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from credit.data.entry import Entry, File

TRAIN, TEST = 20, 10


def images(seed: int, n: int, image: tuple[int, int, int]) -> np.ndarray:
    """Random images, uint8 (n, C, H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (n, *image), dtype=np.uint8)


def labels(n: int, classes: int) -> np.ndarray:
    """0, 1, 2 ... and again, uint8 or int64 (n,)."""
    return (np.arange(n) * 7 % classes).astype(np.uint8 if classes <= 256 else np.int64)


def idx(array: np.ndarray) -> bytes:
    """An uint8 array in MNIST's gzipped IDX format."""
    header = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def python2_pickle(batch: dict[str, object]) -> bytes:
    """A dictionary of uint8 arrays, lists of small integers and lists of words, as Python 2 wrote it."""
    return b"\x80\x02}(" + b"".join(_word(k) + _value(v) for k, v in batch.items()) + b"u."


def _word(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def _value(value: object) -> bytes:
    if isinstance(value, np.ndarray):
        dtype = b"cnumpy\ndtype\n" + _word("u1") + b"K\x00K\x01\x87R(K\x03" + _word("|")
        dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        shape = b"".join(b"M" + struct.pack("<H", n) for n in value.shape)
        new = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _word("b") + b"\x87R"
        data = b"T" + struct.pack("<i", value.size) + value.tobytes()
        return new + b"(K\x01(" + shape + b"t" + dtype + b"\x89" + data + b"tb"
    items = (_word(v) if isinstance(v, str) else b"M" + struct.pack("<H", v) for v in value)
    return b"](" + b"".join(items) + b"e"


def archive(members: dict[str, bytes]) -> bytes:
    """A .tar.gz with these files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return gzip.compress(raw.getvalue(), mtime=0)


def write_mirror(mirror: Path, name: str, files: dict[str, bytes]) -> tuple[File, ...]:
    """Write the files as a mirror holds them, and declare them."""
    (mirror / name).mkdir(parents=True, exist_ok=True)
    for file, body in files.items():
        (mirror / name / file).write_bytes(body)
    return tuple(File(f, None, len(b), hashlib.sha256(b).hexdigest(), unpacked=_content(b)) for f, b in files.items())


def _content(body: bytes) -> str | None:
    try:
        return hashlib.sha256(gzip.decompress(body)).hexdigest()
    except (EOFError, OSError):
        return None


def mnist(mirror: Path, name: str = "mnist") -> Entry:
    """A tiny MNIST or Fashion-MNIST in `mirror`, declared with its own checksums."""
    files = {}
    for split, seed, n in (("train", 0, TRAIN), ("t10k", 1, TEST)):
        files[f"{split}-images-idx3-ubyte.gz"] = idx(images(seed, n, (1, 4, 4))[:, 0])
        files[f"{split}-labels-idx1-ubyte.gz"] = idx(labels(n, 10))
    known = "MNIST" if name == "mnist" else "FashionMNIST"
    return Entry(name, "torchvision", write_mirror(mirror, name, files), 10, (1, 4, 4), TRAIN, TEST, "idx", known)


def cifar(mirror: Path, name: str = "cifar10", edit=lambda members: None) -> Entry:
    """A tiny CIFAR in `mirror`, which the entry allows in place of the published archive.

    edit: changes the members of the archive in place.
    """
    ten = name == "cifar10"
    folder, classes, key = ("cifar-10-batches-py", 10, "labels") if ten else ("cifar-100-python", 100, "fine_labels")
    x, y = images(0, TRAIN, (3, 32, 32)), labels(TRAIN, classes)
    parts = [(f"data_batch_{i + 1}", slice(4 * i, 4 * i + 4)) for i in range(5)] if ten else [("train", slice(None))]
    members = {n: python2_pickle({"data": x[s].reshape(-1, 3072), key: y[s].tolist()}) for n, s in parts}
    test_batch = {"data": images(1, TEST, (3, 32, 32)).reshape(-1, 3072), key: labels(TEST, classes).tolist()}
    members["test_batch" if ten else "test"] = python2_pickle(test_batch)
    names_key = "label_names" if ten else "fine_label_names"
    members["batches.meta" if ten else "meta"] = python2_pickle({names_key: [f"class {i}" for i in range(classes)]})
    edit(members)
    file = f"{name[:5]}-{10 if ten else 100}-python.tar.gz"
    (copy,) = write_mirror(mirror, name, {file: archive({f"{folder}/{n}": b for n, b in members.items()})})
    published = replace(copy, bytes=170_000_000, sha256="0" * 64)
    facts = (classes, (3, 32, 32), TRAIN, TEST, "cifar", name.upper())
    return Entry(name, "torchvision", (published,), *facts, allowed={file: copy.sha256})


def imagenet32(mirror: Path, edit=lambda batch: batch) -> Entry:
    """A tiny ImageNet in `mirror`: training batches by Python 2, validation by Python 3 with bytes keys.

    edit: what to do with the second training batch before it is pickled.
    """
    x, y = images(0, TRAIN, (3, 32, 32)).reshape(TRAIN, 3072), labels(TRAIN, 1000) + 1
    test_batch = {
        b"data": images(1, TEST, (3, 32, 32)).reshape(TEST, 3072),
        b"labels": (labels(TEST, 1000) + 1).tolist(),
    }
    files = {
        "train_data_batch_1": python2_pickle({"data": x[:10], "labels": y[:10].tolist(), "mean": x[0]}),
        "train_data_batch_2": python2_pickle(edit({"data": x[10:], "labels": y[10:].tolist()})),
        "val_data": pickle.dumps(test_batch, protocol=2),
    }
    declared = tuple(File(f.name, "https://image-net.org") for f in write_mirror(mirror, "imagenet32", files))
    return Entry("imagenet32", "user", declared, 1000, (3, 32, 32), TRAIN, TEST, "imagenet")
