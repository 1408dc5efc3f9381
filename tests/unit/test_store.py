"""Finished blocks: kept once, found by what they are a function of, and never used when they are damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from credit.errors import DataError
from credit.provenance import store as stores
from credit.provenance.kept import kept_path
from credit.provenance.records import check_weights, checkpoint_path, read_metadata, read_result, write_result
from credit.provenance.spec import digest
from credit.provenance.store import Store, link, place
from credit.training import job, reuse
from credit.training.reuse import Block, take_block
from tests.conftest import prepared
from tests.unit.in_process import allow_any_module, counted_epochs
from tests.unit.test_train import make_spec

SCRIPT = str(Path(__file__).parents[2] / "workflow" / "scripts" / "train.py")
KEY, SPEC = "ab" * 16, "cd" * 8
KEPT = ["weights", "state"]


@pytest.fixture(autouse=True)
def any_module_may_be_loaded(monkeypatch):
    allow_any_module(monkeypatch)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """Epochs that were trained, one entry each."""
    return counted_epochs(monkeypatch)


def spec(**more):
    names = {"paper": "toy", "experiment": "fit", "dataset": "near", "method": "bp"}
    return {**make_spec(lr=0.01, epochs=2), **names, **more}


def make(given, out: Path, folder: Path, device: str = "auto", inputs=(), keep=()) -> None:
    """What the scripts do."""
    if not take_block(folder, given, out, inputs, device, keep):
        job.train(given, out, inputs, device, checkpoint_path(out), 1e9, SCRIPT, keep, folder)
        checkpoint_path(out).unlink()


def same(one: Path, other: Path) -> bool:
    return one.stat().st_ino == other.stat().st_ino


def kept_in(folder: Path) -> dict[str, Path]:
    """{how its name ends: file} of the only block of a store."""
    [entry] = [stores.read(path) for key in Store(folder) for path in key.glob(f"*{stores.ENTRY}")]
    return {end: file for end, (file, _, _) in entry.files.items()}


# ---- what is trained once


@pytest.mark.parametrize("keep", [[], ["weights"], ["weights", "state"]])
def test_a_block_is_trained_once_and_its_bytes_stand_on_disk_once(tmp_path, folder, trained, keep):
    one, other = tmp_path / "one" / "shard0.jsonl", tmp_path / "other" / "shard0.jsonl"
    make(spec(), one, folder, keep=keep)
    assert trained == [0, 1]
    make(spec(), other, folder, keep=keep)
    assert trained == [0, 1]
    assert other.read_bytes() == one.read_bytes()
    for end, file in kept_in(folder).items():
        assert same(one.with_suffix(end), file)
        assert same(other.with_suffix(end), file)
    assert not list(tmp_path.rglob("*.link")) + list(tmp_path.rglob("*.lock"))


def test_an_edit_and_back_trains_nothing_and_neither_state_changes_the_other(tmp_path, folder, trained):
    out = tmp_path / "shard0.jsonl"
    make(spec(), out, folder)
    first = out.read_bytes()
    make(spec(seeds=[5]), out, folder)
    second = out.read_bytes()
    trained.clear()
    make(spec(), out, folder)
    assert (trained, out.read_bytes()) == ([], first)
    make(spec(seeds=[5]), out, folder)
    assert (trained, out.read_bytes()) == ([], second)


def test_a_result_that_is_what_would_be_made_now_is_made_again_on_purpose(tmp_path, folder, trained):
    out = tmp_path / "shard0.jsonl"
    make(spec(), out, folder)
    before = out.read_bytes()
    make(spec(), out, folder)
    assert trained == [0, 1, 0, 1]
    assert same(out, kept_in(folder)[".jsonl"]), "the newer one is kept"
    assert [f.read_bytes() == before for f in folder.rglob("*.jsonl")] == [before == out.read_bytes()]


def test_a_search_is_kept_too(tmp_path, folder, trained):
    given = spec(vary={"train.optimizer.lr": [0.01, 0.03]}, kind="search")
    given |= {"criterion": {"metric": "validation_loss", "select": "last"}}
    one, other = tmp_path / "one" / "choice.json", tmp_path / "other" / "choice.json"
    job.search(given, one, [], "cpu", checkpoint_path(one), 1e9, SCRIPT, folder)
    assert take_block(folder, given, other, [], "auto")
    assert other.read_bytes() == one.read_bytes()
    named = tmp_path / "named" / "choice.json"
    assert take_block(folder, {**given, "method": "bp2"}, named, [], "auto")
    content = json.loads(named.read_text())
    job.records.check_seal(named, content)
    assert content["spec"] == json.loads(json.dumps({**given, "method": "bp2"}))
    assert content["choice"] == json.loads(one.read_text())["choice"]


# ---- what decides


def test_names_decide_nothing_and_each_result_bears_its_own(tmp_path, folder, trained):
    one, other, fresh = (tmp_path / name / "shard0.jsonl" for name in ("one", "other", "fresh"))
    make(spec(search="0" * 16), one, folder, keep=KEPT)
    mine = spec(experiment="fitted", method="näher", search="1" * 16)
    make(mine, other, folder, keep=KEPT)
    assert trained == [0, 1]
    header, records = read_result(other)
    assert (header["spec"], records) == (json.loads(json.dumps(mine)), read_result(one)[1])
    job.train(mine, fresh, [], "cpu", checkpoint_path(fresh), 1e9, SCRIPT, KEPT)
    for kind in KEPT:
        check_weights(kept_path(other, kind))
        assert read_metadata(kept_path(other, kind))["spec"] == header["spec"]
        assert kept_path(other, kind).read_bytes() == kept_path(fresh, kind).read_bytes()
    trained.clear()
    without = spec(method="third")
    make(without, tmp_path / "without" / "shard0.jsonl", folder)
    assert (trained, read_result(tmp_path / "without" / "shard0.jsonl")[0]["spec"]) == ([], without)


def test_weights_that_were_not_kept_are_trained_for(tmp_path, folder, trained):
    make(spec(), tmp_path / "one.jsonl", folder)
    make(spec(), tmp_path / "other.jsonl", folder, keep=["weights"])
    assert trained == [0, 1, 0, 1]
    assert (tmp_path / "other.safetensors").exists()


@pytest.mark.parametrize(
    "change",
    [{"seeds": [0]}, {"code": "1" * 16}, {"env": "1" * 16}, {"train": make_spec(epochs=3)["train"]}, {"probes": [{}]}],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_in_a_spec_decides(tmp_path, change):
    key = Block.of(spec(), tmp_path / "a.jsonl", []).key
    assert Block.of(spec(**change), tmp_path / "a.jsonl", []).key != key
    assert Block.of(spec(), tmp_path / "b" / "shard3.short.jsonl", []).key == key


def test_versions_decide_and_the_processor_is_written_down(tmp_path, folder, trained, monkeypatch, capsys):
    make(spec(), tmp_path / "one.jsonl", folder)
    make(spec(), tmp_path / "two.jsonl", folder)
    made = read_result(tmp_path / "one.jsonl")[0]["provenance"]
    assert f"nothing is trained, it took {made['seconds']} s on {made['cpu']}" in capsys.readouterr().err
    monkeypatch.setattr(reuse, "_versions", lambda: {"python": "3.99.0", "packages": {}})
    make(spec(), tmp_path / "three.jsonl", folder)
    assert trained == [0, 1, 0, 1]


def test_a_device_that_is_asked_for_decides(tmp_path, folder, trained):
    make(spec(), tmp_path / "one.jsonl", folder, "cpu")
    assert take_block(folder, spec(), tmp_path / "two.jsonl", [], "cpu")
    assert take_block(folder, spec(), tmp_path / "three.jsonl", [], "auto")
    assert not take_block(folder, spec(), tmp_path / "four.jsonl", [], "cuda")


def test_the_arrays_of_prepared_data_decide_and_not_where_they_lie(tmp_path):
    given, out = spec(), tmp_path / "a.jsonl"
    one, same_arrays, other = (tmp_path / f"{name}.npz" for name in ("one", "same", "other"))
    arrays = {"train_x": np.zeros((4, 1, 2, 2), np.uint8)}
    prepared(one, arrays)
    shutil.copy(one, same_arrays)
    prepared(other, {"train_x": arrays["train_x"] + 1})
    keys = [Block.of(given, out, [data]).key for data in (one, same_arrays, other)]
    assert keys[0] == keys[1] != keys[2]
    other.write_bytes(other.read_bytes()[:100])
    assert Block.of(given, out, [other]) is None, "the job says that it is damaged"


def test_weights_to_start_from_decide_by_their_numbers(tmp_path, folder):
    out = tmp_path / "b.jsonl"
    for seed in (0, 1):
        make(spec(seeds=[seed]), tmp_path / f"{seed}.jsonl", folder, keep=["weights"])
    renamed = tmp_path / "renamed" / "0.jsonl"
    make(spec(seeds=[0], method="other"), renamed, folder, keep=["weights"])
    weights = [tmp_path / "0.safetensors", renamed.with_suffix(".safetensors"), tmp_path / "1.safetensors"]
    keys = [Block.of(spec(), out, [file]).key for file in weights]
    assert keys[0] == keys[1] != keys[2]


def test_what_was_made_from_something_that_changed_meanwhile_is_not_kept(tmp_path, folder, monkeypatch, capsys):
    original = job.run_training

    def slow(*arguments):
        monkeypatch.setattr(reuse, "_versions", lambda: {"python": "3.99.0"})
        return original(*arguments)

    monkeypatch.setattr(job, "run_training", slow)
    make(spec(), tmp_path / "a.jsonl", folder)
    assert "is not kept for later: what it was made from has changed meanwhile" in capsys.readouterr().err
    assert list(Store(folder)) == []


# ---- damage


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "entry"])
def test_a_damaged_block_is_not_used_said_in_a_line_and_replaced(tmp_path, folder, trained, capsys, damage):
    out, again = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    make(spec(), out, folder)
    file = kept_in(folder)[".jsonl"]
    [entry] = folder.rglob(f"*{stores.ENTRY}")
    text = file.read_text()
    if damage == "changed":  # through the link, as an editor does that writes in place
        out.write_text(text.replace('"epoch": 1', '"epoch": 7', 1))
    elif damage == "cut":
        file.write_text(text[:-5])
    elif damage == "gone":
        file.unlink()
    else:
        entry.write_text("{")
    capsys.readouterr()
    make(spec(), again, folder)
    [said] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("store:")]
    assert "damaged, not used, and replaced when the block is made again" in said
    assert trained == [0, 1, 0, 1]
    read_result(again)
    assert same(kept_in(folder)[".jsonl"], again)
    make(spec(), tmp_path / "c.jsonl", folder)
    assert trained == [0, 1, 0, 1]
    assert len(list(folder.rglob("*.jsonl"))) == 1


def test_a_store_that_cannot_be_written_fails_no_job(tmp_path, trained, capsys):
    (tmp_path / "store").write_text("a file in its place")
    make(spec(), tmp_path / "a.jsonl", tmp_path / "store")
    read_result(tmp_path / "a.jsonl")
    [said] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("store:")]
    assert f"{tmp_path / 'a.jsonl'} is not kept for later" in said


def test_snakemakes_restoring_of_an_output_cannot_make_a_kept_block_pass_as_another(tmp_path, folder, trained, capsys):
    """It copies the old content over the file of a job that failed, through links."""
    out = tmp_path / "a.jsonl"
    make(spec(), out, folder)
    backup = shutil.copy(out, tmp_path / "backup")
    make(spec(seeds=[5]), out, folder)
    shutil.copy(backup, out)  # over the new result, and what is kept of it
    trained.clear()
    make(spec(seeds=[5]), tmp_path / "b.jsonl", folder)
    assert trained == [0, 1]
    assert "damaged, not used" in capsys.readouterr().err
    assert {r["seed"] for r in read_result(tmp_path / "b.jsonl")[1]} == {5}


# ---- links


def test_a_large_file_is_placed_as_a_link_that_dates_do_not_pass_through(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(stores, "LARGE", 10)
    kept, target = tmp_path / "kept", tmp_path / "run" / "deep" / "result"
    kept.write_text("ten bytes and more")
    place(kept, target)
    before = kept.stat().st_mtime_ns
    os.utime(target, (0, 0), follow_symlinks=False)
    assert (kept.stat().st_mtime_ns, target.read_text()) == (before, "ten bytes and more")
    assert not target.readlink().is_absolute(), "the folder of results may be moved"
    write_result(target, {"spec": {}}, [])
    assert kept.read_text() == "ten bytes and more", "a writer replaces the link"


def test_linking_what_is_linked_already_leaves_nothing_behind(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("x")
    link(one, other)
    link(one, other)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "other"]
    assert same(one, other)


@pytest.mark.parametrize("refusal", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_where_links_are_refused_a_copy_is_kept(tmp_path, folder, trained, monkeypatch, refusal):
    def refuse(*_):
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refuse)
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    make(spec(), one, folder)
    make(spec(), other, folder)
    assert trained == [0, 1]
    assert (other.read_bytes(), one.stat().st_nlink) == (one.read_bytes(), 1)


def test_an_old_link_that_a_kill_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_FORGOTTEN", -1.0)
    (tmp_path / "one").write_text("x")
    left = tmp_path / ".other.123.link"
    left.write_text("x")
    link(tmp_path / "one", tmp_path / "other")
    assert not left.exists()


def test_jobs_that_keep_the_same_block_at_once_leave_one_whole_block(tmp_path, folder):
    def keep(i: int) -> None:
        file = tmp_path / f"{i}.jsonl"
        file.write_text(f"{i}" * 1000)
        for _ in range(5):
            Store(folder).put(KEY, SPEC, {".jsonl": file}, {})

    threads = [threading.Thread(target=keep, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [entry] = Store(folder).sound(KEY, SPEC, {".jsonl"})
    assert len(entry.files[".jsonl"][0].read_text()) == 1000
    assert len(list(folder.rglob("*.jsonl"))) == 1


def test_a_full_disk_is_no_reason_to_copy(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    (tmp_path / "one").write_text("x")
    with pytest.raises((OSError, DataError)):
        link(tmp_path / "one", tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_the_block_of_a_spec_comes_before_others_of_its_key(folder, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
        Store(folder).put(KEY, digest(name), {".jsonl": tmp_path / name}, {})
    for name in ("a", "b", "c"):
        assert next(Store(folder).sound(KEY, digest(name), {".jsonl"})).files[".jsonl"][0].read_text() == name
