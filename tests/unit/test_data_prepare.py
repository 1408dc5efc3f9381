"""Preparing: original formats in, one file out, the same bytes every time; nothing damaged gets through."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import data_originals as originals
import numpy as np
import pytest

from credit.data import _torchvision, catalog
from credit.data.fetch import fetch
from credit.data.load import load
from credit.data.prepare import prepare
from credit.errors import DataError

ROOT = Path(__file__).parents[2]
BUILD = {
    "mnist": originals.mnist,
    "fashion_mnist": lambda mirror: originals.mnist(mirror, "fashion_mnist"),
    "cifar10": originals.cifar,
    "cifar100": lambda mirror: originals.cifar(mirror, "cifar100"),
    "imagenet32": originals.imagenet32,
}


def prepared(entry, folder: Path, mirror: Path | None = None) -> Path:
    """Fetch from the mirror below `folder` and prepare; the prepared file."""
    manifest = fetch(entry, folder / "raw", str(mirror or folder / "mirror"))
    prepare(entry, folder / "raw", manifest, folder / "out" / f"{entry.name}.npz")
    return folder / "out" / f"{entry.name}.npz"


def refused(entry, folder: Path, match: str) -> str:
    """Preparing fails with this message, on one line, and leaves nothing."""
    with pytest.raises(DataError, match=match) as e:
        prepared(entry, folder)
    assert "\n" not in str(e.value)
    assert not list((folder / "out").glob("*"))
    assert not list((folder / "out").glob(".*"))
    return str(e.value)


@pytest.mark.parametrize("name", BUILD)
def test_images_and_labels_arrive_as_they_are_in_the_original_files(name, tmp_path):
    entry = BUILD[name](tmp_path / "mirror")
    data = load(prepared(entry, tmp_path))
    for split, seed, n in (("train", 0, originals.TRAIN), ("test", 1, originals.TEST)):
        np.testing.assert_array_equal(getattr(data, f"{split}_x"), originals.images(seed, n, entry.image))
        np.testing.assert_array_equal(getattr(data, f"{split}_y"), originals.labels(n, entry.classes))
    assert data.train_y.dtype == (np.int16 if name == "imagenet32" else np.uint8)
    assert (data.name, data.n_classes, data.scale) == (name, entry.classes, 255)
    assert data.verified == name.endswith("mnist")
    assert sorted(data.raw) == sorted(f.name for f in entry.files)


@pytest.mark.parametrize("name", BUILD)
def test_two_preparations_give_the_same_bytes_and_leave_only_the_result(name, tmp_path):
    mirror = tmp_path / "mirror"
    entry = BUILD[name](mirror)
    first, second = (prepared(entry, tmp_path / run, mirror) for run in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in first.parent.iterdir()] == [first.name]


def test_leftovers_of_a_killed_job_do_no_harm(tmp_path):
    scratch = tmp_path / "out" / ".mnist.npz.unpacked" / "MNIST" / "raw"
    scratch.mkdir(parents=True)
    (tmp_path / "out" / ".mnist.npz.gone.part").write_bytes(b"half" * 10_000)
    path = prepared(originals.mnist(tmp_path / "mirror"), tmp_path)
    assert [p.name for p in path.parent.iterdir()] == ["mnist.npz"]
    assert load(path).verified


def test_the_file_is_a_plain_npz(tmp_path):
    path = prepared(originals.mnist(tmp_path / "mirror"), tmp_path)
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive) == ["meta", "test_x", "test_y", "train_x", "train_y"]
        assert json.loads(str(archive["meta"]))["verified"] is True


def test_a_cifar_copy_that_claims_to_be_verified_must_pass_torchvisions_own_checks(tmp_path):
    entry = originals.cifar(tmp_path / "mirror")
    (sha256,) = entry.allowed.values()
    published = replace(entry, files=(replace(entry.files[0], bytes=None, sha256=sha256),), allowed={})
    refused(published, tmp_path, "not cifar10 in its original format: Dataset not found or corrupted")


def test_digits_are_split_by_class_into_1437_and_360_images(tmp_path):
    data = load(prepared(catalog.dataset("digits"), tmp_path))
    assert (data.train_x.shape, data.test_x.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert np.bincount(data.test_y).tolist() == [36] * 10
    assert (data.train_x.max(), data.scale, data.verified, data.raw) == (16, 16, True, {})
    everything = {x.tobytes() for x in (*data.train_x, *data.test_x)}
    assert len(everything) > 1790  # training and test images are different ones (the set has some twins)


def test_digits_of_another_scikit_learn_are_refused(tmp_path):
    entry = catalog.dataset("digits")
    refused(replace(entry, files=(replace(entry.files[0], sha256="0" * 64),)), tmp_path, "expected sha256 0000")


def test_a_file_that_changed_since_it_was_fetched_is_refused(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))
    path = tmp_path / "raw/MNIST/raw/t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    again = rf"fetch the data set again: snakemake .* --force .*{path.parent.name}.json"
    with pytest.raises(DataError, match=rf"{path.name}: expected sha256 .*, found .*; {again}"):
        prepare(entry, tmp_path / "raw", manifest, tmp_path / "mnist.npz")
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name}: expected sha256 .*, found no file"):
        prepare(entry, tmp_path / "raw", manifest, tmp_path / "mnist.npz")


def test_the_manifest_of_another_data_set_is_refused(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))
    with pytest.raises(DataError, match=r"its manifest is of mnist .*; expected fashion_mnist"):
        prepare(replace(entry, name="fashion_mnist"), tmp_path / "raw", manifest, tmp_path / "mnist.npz")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"train": originals.TRAIN + 1}, "mnist, train set: found 20 images; expected 21"),
        ({"test": originals.TEST - 1}, "mnist, test set: found 10 images; expected 9"),
        ({"image": (1, 28, 28)}, r"found images uint8 \(20, 1, 4, 4\).*expected uint8 \(N, 1, 28, 28\)"),
        ({"classes": 9}, "found labels 0 to 9; expected 0 to 8"),
    ],
)
def test_other_numbers_shapes_or_labels_than_declared_are_refused(tmp_path, change, match):
    refused(replace(originals.mnist(tmp_path / "mirror"), **change), tmp_path, match)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"not gzip", "train-images-idx3-ubyte.gz: cannot be unpacked: Not a gzipped file"),
        (
            originals.idx(np.zeros((20, 4, 4), np.uint8))[:-9],
            "train-images-idx3-ubyte.gz: cannot be unpacked",
        ),
        (
            gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\1" * 3, mtime=0),
            "train-images-idx3-ubyte.gz: cannot be unpacked: not as long as it says",
        ),
        (
            gzip.compress(b"not IDX", mtime=0),
            "train-images-idx3-ubyte.gz: no idx file of unsigned bytes: it begins with the bytes 6e 6f 74 20",
        ),
    ],
)
def test_a_malformed_idx_file_is_refused(tmp_path, body, match):
    entry = originals.mnist(tmp_path / "mirror")
    changed = originals.write_mirror(tmp_path / "mirror", "mnist", {entry.files[0].name: body})
    refused(replace(entry, files=(*changed, *entry.files[1:])), tmp_path, match)


@pytest.mark.parametrize(
    ("build", "name", "edit", "match"),
    [
        (originals.mnist, "t10k-labels-idx1-ubyte.gz", gzip.compress, "t10k-labels-idx1-ubyte.gz: no idx file of"),
        (originals.cifar, "cifar-10-python.tar.gz", lambda b: b[:-4000], "python.tar.gz: cannot be unpacked"),
        (originals.cifar, "cifar-10-python.tar.gz", lambda b: b"404: Not Found", "python.tar.gz: cannot be unpacked"),
        (
            originals.cifar,
            "cifar-10-python.tar.gz",
            lambda b: originals.archive({"index.html": b"<html>"}),
            "python.tar.gz: expected a file cifar-10-batches-py/data_batch_1 in it; found index.html",
        ),
        (originals.imagenet32, "val_data", lambda b: b"<html>", "val_data: not a pickled batch of images"),
        (originals.imagenet32, "val_data", lambda b: b"PK\5\6" + bytes(18), "val_data: an archive .* of a pickle"),
    ],
)
def test_a_malformed_file_that_the_manifest_names_is_named_with_the_reason(tmp_path, build, name, edit, match):
    entry = build(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))
    (file,) = (f for f in manifest["files"] if f["name"] == name)
    path = tmp_path / "raw" / file["path"]
    path.write_bytes(edit(path.read_bytes()))
    file["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=match) as e:
        prepare(entry, tmp_path / "raw", manifest, tmp_path / "out.npz")
    assert str(path) in str(e.value) and "\n" not in str(e.value) and not (tmp_path / "out.npz").exists()


def test_an_archive_whose_members_begin_with_a_dot_is_read(tmp_path):
    entry = originals.cifar(tmp_path / "mirror")
    path = tmp_path / "mirror/cifar10/cifar-10-python.tar.gz"
    with tarfile.open(path) as archive:
        members = {f"./{m.name}": archive.extractfile(m).read() for m in archive}
    path.write_bytes(originals.archive(members))
    dotted = replace(entry, allowed={path.name: hashlib.sha256(path.read_bytes()).hexdigest()})
    assert len(load(prepared(dotted, tmp_path)).train_y) == originals.TRAIN


class Evil:
    """Unpickling it would make a file."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_before_it_does(tmp_path):
    evil = pickle.dumps({"data": Evil(tmp_path / "made"), "labels": []}, protocol=2)
    cifar = originals.cifar(tmp_path / "mirror", edit=lambda members: members.update(test_batch=evil))
    refused(cifar, tmp_path, r"test_batch: not a pickled batch of images: it refers to (posix|nt)\.mkdir")
    imagenet = originals.imagenet32(tmp_path / "mirror")
    (tmp_path / "mirror/imagenet32/val_data").write_bytes(evil)
    with pytest.raises(DataError, match=r"val_data: not a pickled batch of images: it refers to"):
        prepared(imagenet, tmp_path / "imagenet", tmp_path / "mirror")
    assert not (tmp_path / "made").exists()


def test_an_archive_without_one_of_its_members_is_refused(tmp_path):
    entry = originals.cifar(tmp_path / "mirror", edit=lambda members: members.pop("data_batch_3"))
    refused(
        entry,
        tmp_path,
        "expected a file cifar-10-batches-py/data_batch_3 in it; found cifar-10-batches-py/data",
    )


def test_a_truncated_archive_is_refused(tmp_path):
    entry = originals.cifar(tmp_path / "mirror")
    path = tmp_path / "mirror/cifar10/cifar-10-python.tar.gz"
    (copy,) = originals.write_mirror(tmp_path / "mirror", "cifar10", {path.name: path.read_bytes()[:-4000]})
    refused(replace(entry, allowed={copy.name: copy.sha256}), tmp_path, "cifar-10-python.tar.gz: cannot be unpacked")


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda b: {"data": b["data"]}, "train_data_batch_2: .*labels"),
        (lambda b: {**b, "data": b["data"][:, :-1]}, "train_data_batch_2: .*cannot reshape"),
        (lambda b: {**b, "labels": b["labels"][:-1]}, r"labels \(9,\)"),
        (
            lambda b: {**b, "labels": [0] * 10},
            "train_data_batch_2: labels count from 0, found 0 to 0; those of .* count from 1 to 1000",
        ),
    ],
)
def test_a_malformed_imagenet_batch_is_refused(tmp_path, edit, match):
    refused(originals.imagenet32(tmp_path / "mirror", edit), tmp_path, match)


def test_an_npz_under_the_name_of_a_pickle_is_named(tmp_path):
    entry = originals.imagenet32(tmp_path / "mirror")
    path = tmp_path / "mirror/imagenet32/train_data_batch_1"
    np.savez(path.with_suffix(".npz"), data=np.zeros((10, 3072), np.uint8), labels=np.ones(10))
    path.with_suffix(".npz").rename(path)
    refused(entry, tmp_path, r"train_data_batch_1: an archive \(.npz or .zip\) under the name of a pickle; expected")


def test_a_full_disk_is_reported_and_the_old_file_stays(tmp_path, monkeypatch):
    entry = originals.mnist(tmp_path / "mirror")
    path = prepared(entry, tmp_path)
    before = path.read_bytes()
    manifest = fetch(entry, tmp_path / "raw")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"mnist\.npz: No space left on device: 480 bytes needed, \d+ bytes free"):
        prepare(entry, tmp_path / "raw", manifest, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_script_reports_a_write_that_stops_in_the_middle_on_one_line(tmp_path):
    (tmp_path / "digits.json").write_text(json.dumps(fetch(catalog.dataset("digits"), tmp_path / "digits")))
    script = ROOT / "workflow" / "scripts" / "prepare.py"
    arguments = [
        json.dumps(catalog.prepare_spec("digits")),
        tmp_path / "digits.json",
        tmp_path / "digits.npz",
    ]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, preexec_fn=limit, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/digits.npz: File too large: 115008 bytes needed")
    assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["digits.json"]


def test_torchvision_imports_beside_a_torch_build_that_does_not_fit_it_and_without_warnings():
    code = "from credit.data._torchvision import datasets as d; print(d().MNIST.__name__, d() is d())"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("MNIST True\n", "")


def test_another_failure_of_the_torchvision_import_is_not_hidden(monkeypatch):
    def fail(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(_torchvision.importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        _torchvision.datasets.__wrapped__()
