"""The published data, where a copy of it is at hand: a mirror in `../shared/data`, beside the repository."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from credit.data import catalog
from credit.data.fetch import fetch
from credit.data.load import load
from credit.data.prepare import prepare
from credit.errors import DataError

MIRROR = Path(__file__).parents[2].parent / "shared" / "data"
COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion_mnist": ([6000] * 10, [1000] * 10),
    "cifar10": ([5000] * 10, [1000] * 10),
}

pytestmark = pytest.mark.skipif(
    not (MIRROR / "make_mirror.py").exists(), reason=f"no copy of the published data in {MIRROR}"
)


def check(entry, mirror: Path, folder: Path):
    manifest = fetch(entry, folder / "raw", str(mirror))
    prepare(entry, folder / "raw", manifest, folder / f"{entry.name}.npz")
    data = load(folder / f"{entry.name}.npz")
    train, test = COUNTS[entry.name]
    assert np.bincount(data.train_y).tolist() == train
    assert np.bincount(data.test_y).tolist() == test
    return data


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_published_files_are_verified_and_have_their_numbers_per_class(name, tmp_path):
    data = check(catalog.dataset(name), MIRROR, tmp_path)
    assert data.verified
    assert data.train_x.shape == (60000, 1, 28, 28)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_published_files_are_known_unpacked(name, tmp_path):
    entry = catalog.dataset(name)
    (tmp_path / name).mkdir()
    for file in entry.files:
        other = tmp_path / name / file.name.replace("-idx", ".idx").removesuffix(".gz")
        other.write_bytes(gzip.decompress((MIRROR / name / file.name).read_bytes()))
    assert check(entry, tmp_path, tmp_path).verified


@pytest.mark.slow
def test_a_rebuilt_cifar10_is_refused_and_then_allowed_by_its_checksum(tmp_path):
    made = subprocess.run(
        [sys.executable, MIRROR / "make_mirror.py", tmp_path], capture_output=True, text=True, check=True
    )
    sha256 = made.stdout.split()[0]
    with pytest.raises(DataError, match=f"found .*{sha256}"):
        fetch(catalog.dataset("cifar10"), tmp_path / "raw", str(tmp_path))
    data = check(catalog.dataset("cifar10", {"cifar10": sha256}), tmp_path, tmp_path)
    assert not data.verified and data.raw == {"cifar-10-python.tar.gz": sha256}
    means = data.train_x.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-4)
