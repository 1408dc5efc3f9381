"""Loading prepared data, and the split into training and validation that all runs share."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from credit.data import catalog, seal
from credit.data.fetch import fetch
from credit.data.load import load, split, state_of
from credit.data.prepare import prepare
from credit.errors import DataError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    entry = catalog.dataset("digits")
    prepare(entry, path.parent, fetch(entry, path.parent), path)
    return path


def damaged(digits, tmp_path, edit):
    path = tmp_path / "digits.npz"
    path.write_bytes(edit(digits.read_bytes()))
    with pytest.raises(DataError, match=f"{path}: damaged, or not a prepared data set") as e:
        load(path)
    assert "\n" not in str(e.value)
    assert str(e.value).endswith(f"rebuild it: snakemake --cores 1 --force {path}")


@pytest.mark.parametrize("left", [0, 10, 50_000, -1])
def test_a_truncated_file_is_refused_with_the_command_that_rebuilds_it(digits, tmp_path, left):
    damaged(digits, tmp_path, lambda body: body[:left])


@pytest.mark.parametrize("position", [1_000, 91_000, 93_000, -2_000])
def test_one_flipped_bit_is_noticed(digits, tmp_path, position):
    def flip(body):
        changed = bytearray(body)
        changed[position] ^= 1
        return bytes(changed)

    damaged(digits, tmp_path, flip)


def test_another_kind_of_file_is_refused(digits, tmp_path):
    damaged(digits, tmp_path, lambda body: b"\x80\x04]." * 10)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="meta"):
        load(tmp_path / "other.npz")


def test_arrays_of_wrong_shape_or_with_pickles_are_refused(digits, tmp_path):
    with np.load(digits) as archive:
        members = dict(archive)
    for name, value in {"train_y": members["train_y"][1:], "test_x": np.array([{}], dtype=object)}.items():
        np.savez(tmp_path / "wrong.npz", **{**members, name: value})
        with pytest.raises(DataError, match="damaged, or not a prepared data set"):
            load(tmp_path / "wrong.npz")


@pytest.mark.parametrize("name", ["train_x", "train_y", "test_x", "test_y"])
def test_an_array_that_was_changed_in_a_whole_file_is_noticed(digits, tmp_path, name):
    with np.load(digits) as archive:
        members = dict(archive)
    members[name] = members[name].copy()
    members[name].flat[0] ^= 1
    np.savez(tmp_path / "changed.npz", **members)
    with pytest.raises(
        DataError, match=rf"changed\.npz: damaged.* \({name}: its content was changed after it was prepared\)"
    ):
        load(tmp_path / "changed.npz")


@pytest.mark.parametrize("change", ["scale", "classes", "name", "verified", "declared"])
def test_facts_that_were_changed_are_noticed(digits, tmp_path, change):
    with np.load(digits) as archive:
        members = dict(archive)
    facts = json.loads(str(members["meta"]))
    members["meta"] = np.array(json.dumps({**facts, change: 255 if change in ("scale", "classes") else "other"}))
    np.savez(tmp_path / "changed.npz", **members)
    with pytest.raises(DataError, match=r"changed\.npz: damaged.* \(what it says of itself was changed"):
        load(tmp_path / "changed.npz")


@pytest.mark.parametrize("change", [lambda a: a.view(np.int8), lambda a: a.reshape(len(a), 1), lambda a: a.astype(int)])
def test_an_array_of_another_type_or_shape_is_noticed(digits, tmp_path, change):
    with np.load(digits) as archive:
        members = dict(archive)
    members["train_y"] = change(members["train_y"])
    np.savez(tmp_path / "changed.npz", **members)
    with pytest.raises(DataError, match=r"changed\.npz: damaged"):
        load(tmp_path / "changed.npz")


def test_arrays_that_other_code_prepared_are_refused_with_the_command_that_makes_them(digits, monkeypatch):
    assert state_of(digits) == state_of(digits)
    monkeypatch.setattr(seal, "code", lambda format_: "another")
    for read in (load, state_of):
        with pytest.raises(DataError, match=r"prepared by other code for the format digits\); rebuild it: snakemake"):
            read(digits)


def test_a_file_of_an_older_version_says_so(digits, tmp_path):
    with np.load(digits) as archive:
        members = dict(archive)
    facts = json.loads(str(members["meta"]))
    members["meta"] = np.array(json.dumps({k: v for k, v in facts.items() if k != "seal"}))
    np.savez(tmp_path / "old.npz", **members)
    with pytest.raises(DataError, match=r"old\.npz: .*\(it was prepared by an older version\)"):
        load(tmp_path / "old.npz")


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(DataError, match=r"no\.npz: no such file; .*snakemake --cores 1 --force"):
        load(tmp_path / "no.npz")


def test_training_and_validation_images_are_disjoint_and_complete(digits):
    data = load(digits)
    train, held_out = split(data, 300)
    assert (len(train), len(held_out)) == (1137, 300)
    assert sorted([*train, *held_out]) == list(range(1437))


def test_the_split_is_the_same_every_time_and_in_every_copy(digits, tmp_path):
    copy = shutil.copy(digits, tmp_path / "copy.npz")
    for ours, theirs in zip(split(load(digits), 300), split(load(copy), 300)):
        np.testing.assert_array_equal(ours, theirs)
    assert split(load(digits), 4)[1].tolist() == [313, 572, 850, 874]


def test_a_smaller_validation_part_is_the_end_of_a_larger_one(digits):
    data = load(digits)
    np.testing.assert_array_equal(split(data, 300)[1][-100:], split(data, 100)[1])


def test_the_training_part_is_mixed_so_that_its_beginning_is_a_fair_sample(digits):
    data = load(digits)
    assert np.bincount(data.train_y[split(data, 0)[0][:200]], minlength=10).min() >= 10


def test_another_seed_gives_another_split(digits):
    data = load(digits)
    assert split(data, 300, seed=1)[1].tolist() != split(data, 300)[1].tolist()


@pytest.mark.parametrize("validation", [-1, 1437])
def test_an_impossible_validation_part_is_refused(digits, validation):
    with pytest.raises(DataError, match=f"validation = {validation}; must be at least 0 and below its 1437"):
        split(load(digits), validation)
