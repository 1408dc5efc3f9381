"""The catalogue of data sets: what it accepts, what it refuses, and what enters the spec of a job."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from credit.data import _published, catalog
from credit.data.entry import Entry
from credit.errors import ConfigError

SHA = "ab" * 32


def edited(tmp_path, old: str, new: str):
    text = catalog.CATALOG.read_text()
    assert old in text
    path = tmp_path / "datasets.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_catalogue_holds_the_six_data_sets():
    assert sorted(catalog.load()) == ["cifar10", "cifar100", "digits", "fashion_mnist", "imagenet32", "mnist"]


def test_reading_the_catalogue_loads_no_torch():
    code = "import sys; from credit.data import catalog; catalog.load(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_urls_and_md5_are_those_that_torchvision_downloads_from(name):
    entry = catalog.dataset(name)
    for file in entry.files:
        urls, md5 = _published.addresses(entry, file.name)
        assert file.url == urls[0]
        assert file.md5 in (None, md5)


def test_an_unknown_data_set_is_named_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match=r"'fashion-mnist' \(did you mean 'fashion_mnist'\?\)"):
        catalog.dataset("fashion-mnist")


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ({"cifar": SHA}, "did you mean 'cifar10'"),
        ({"digits": SHA}, "must be one of: cifar10, cifar100, fashion_mnist, mnist"),
        ({"cifar10": "86a43e"}, r"allow_unverified.cifar10 = '86a43e'; must be the sha256"),
        ({"cifar10": 5}, r"allow_unverified.cifar10 = 5; must be the sha256"),
        (
            {"mnist": {"train-images.gz": SHA}},
            "allow_unverified.mnist = 'train-images.gz' .did you mean 'train-images-idx3",
        ),
        (
            {"mnist": {"train-images-idx3-ubyte.gz": "12"}},
            r"mnist.train-images-idx3-ubyte.gz = '12'; must be the sha256",
        ),
    ],
)
def test_a_wrong_permission_is_refused_whichever_data_set_is_asked_for(allowed, message):
    with pytest.raises(ConfigError, match=message):
        catalog.dataset("mnist", allowed)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence:", "license:", r"datasets\.yaml, line 12: mnist: unknown key 'license' \(did you mean 'licence'"),
        ("train: 60000", "train: many", r"mnist\.train = 'many'.* is not of type 'integer'"),
        ("sha256: 440fcabf", "sha256: 440f", r"mnist\.files\[0\]\.sha256: .* does not match"),
        (
            "      sha256: 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609\n",
            "",
            r"mnist\.files\[0\]",
        ),
        ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", "null", r"mnist\.files\[0\]"),
        ("bytes: 9912422", "md5: c58f30108f718f92721af3b95e74349a", "'bytes' is a required property"),
        ("image: [1, 28, 28]", "image: [28, 28]", r"mnist\.image"),
        ("mnist:\n", "mnist: [\n", "cannot be read"),
        (
            "format: imagenet\n",
            "format: imgenet\n",
            r"datasets\.yaml, line 1\d\d: imagenet32\.format = 'imgenet'.*imagenet",
        ),
        ("  torchvision: CIFAR100\n", "", r"line 9\d: cifar100\.torchvision = None; must be the class"),
        ("torchvision: CIFAR100", "torchvision: CIFAR1000", r"cifar100\.torchvision: 'CIFAR1000' is not one of"),
    ],
)
def test_a_wrong_catalogue_names_the_file_and_the_key(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        catalog.load(edited(tmp_path, old, new))


def test_an_md5_is_enough_where_no_sha256_is_published(tmp_path):
    sha256 = "      sha256: 6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce\n"
    (file,) = catalog.load(edited(tmp_path, sha256, ""))["cifar10"].files
    assert file.sha256 is None and file.md5 == "c58f30108f718f92721af3b95e74349a"


def test_the_hash_of_the_raw_data_differs_between_data_sets_and_checksums():
    hashes = {catalog.raw_hash(name) for name in catalog.load()}
    assert len(hashes) == len(catalog.load())
    assert all(len(h) == 64 for h in hashes)
    entry = catalog.dataset("cifar10")
    other = replace(entry, files=(replace(entry.files[0], sha256=SHA),))
    assert other.raw_hash() != entry.raw_hash()


def test_an_allowed_copy_enters_with_its_own_hash_and_touches_no_other_data_set():
    allowed = {"cifar10": SHA}
    assert catalog.raw_hash("cifar10", allowed) == SHA
    assert catalog.raw_hash("mnist", allowed) == catalog.raw_hash("mnist")
    assert not catalog.dataset("cifar10", allowed).verified
    assert catalog.dataset("mnist", allowed).verified


def test_permission_is_one_checksum_a_file_and_every_one_counts():
    files = [f.name for f in catalog.dataset("mnist").files]
    one, other = {files[0]: SHA}, {files[0]: SHA, files[1]: SHA}
    hashes = [catalog.raw_hash("mnist", allowed) for allowed in ({}, {"mnist": one}, {"mnist": other})]
    assert len(set(hashes)) == 3
    assert catalog.raw_hash("mnist", {"mnist": SHA}) == SHA  # of whichever file
    assert catalog.raw_hash("cifar10", {"cifar10": {"cifar-10-python.tar.gz": SHA}}) == SHA
    for allowed in ({"mnist": one}, {"mnist": SHA}):
        entry = catalog.dataset("mnist", allowed)
        assert entry.allows(entry.files[0], SHA) and not entry.verified
        assert entry.allows(entry.files[1], SHA) == (allowed["mnist"] == SHA)
        assert Entry.from_spec(entry.spec(urls=True)) == entry


def test_files_without_published_checksums_cannot_be_verified():
    assert [name for name, entry in catalog.load().items() if not entry.verified] == ["imagenet32"]


def test_allowing_the_published_file_changes_nothing():
    allowed = {"cifar10": catalog.dataset("cifar10").files[0].sha256}
    assert catalog.dataset("cifar10", allowed) == catalog.dataset("cifar10")


@pytest.mark.parametrize("name", ["mnist", "imagenet32", "digits"])
def test_specs_describe_the_entry_and_only_fetching_knows_addresses(name):
    entry = catalog.dataset(name)
    assert Entry.from_spec(catalog.fetch_spec(name)["dataset"]) == entry
    without = tuple(replace(f, url=None) for f in entry.files)
    assert Entry.from_spec(catalog.prepare_spec(name)["dataset"]) == replace(entry, files=without)
    assert "http" not in str(catalog.prepare_spec(name))


def test_entries_are_keys_that_tell_permissions_apart():
    plain, permitted = catalog.dataset("mnist"), catalog.dataset("mnist", {"mnist": "0" * 64})
    assert len({plain, permitted, catalog.dataset("mnist")}) == 2
