"""Two copies of one job, and jobs that are asked to stop: nothing is lost, and who comes second changes nothing."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from credit.provenance.kept import KINDS, kept_path
from credit.provenance.records import checkpoint_path, read_result, remove_checkpoints, write_result
from credit.training import copies, job, weights
from credit.training.checkpoint import Checkpoint, load
from credit.training.loop import Training
from credit.training.stopping import AGAIN, StopRequest
from tests.unit.in_process import allow_any_module, counted_epochs
from tests.unit.test_train import make_spec

SCRIPT = str(Path(__file__).parents[2] / "workflow" / "scripts" / "train.py")


@pytest.fixture(autouse=True)
def any_module_may_be_loaded(monkeypatch):
    allow_any_module(monkeypatch)


def spec(**more):
    return {**make_spec(lr=0.01), **more}


def train(given, out, every=1e9, keep=()):
    job.train(given, out, [], "cpu", checkpoint_path(out), every, SCRIPT, keep)


def search(given, out):
    job.search(given, out, [], "cpu", checkpoint_path(out), 1e9, SCRIPT)


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "shard0.jsonl"


@pytest.fixture
def epochs(monkeypatch) -> list[int]:
    """Epochs that were trained, one entry each."""
    return counted_epochs(monkeypatch)


# ---- a finished checkpoint


@pytest.mark.parametrize("keep", [[], ["weights"], [*KINDS]])
def test_a_retry_of_a_job_that_had_finished_writes_the_same_bytes_without_training(out, epochs, keep):
    given = make_spec("fa", lr=0.01, momentum=0.9, probes=[{"probe": "path_length", "every": 1}])
    train(given, out, keep=keep)
    files = [out, *(kept_path(out, kind) for kind in keep)]
    whole = [file.read_bytes() for file in files]
    epochs.clear()
    for file in files:
        file.unlink()
    train(given, out, keep=keep)
    assert [file.read_bytes() for file in files] == whole
    assert epochs == []


@pytest.mark.parametrize(("first", "then"), [([], ["weights"]), (["weights"], ["state"])])
def test_what_a_finished_checkpoint_does_not_hold_is_trained_again(out, epochs, first, then):
    train(spec(), out, keep=first)
    for file in (out, *(kept_path(out, kind) for kind in first)):
        file.unlink()
    epochs.clear()
    train(spec(), out, keep=then)
    assert epochs == [0, 1, 2, 3]
    direct = Training(spec(), log=io.StringIO())
    direct.run()
    for kind in then:
        assert kept_path(out, kind).exists()
        if kind == "weights":
            kept = weights.read(kept_path(out, kind)).params
            assert all(torch.equal(t, kept[b][n]) for b, e in direct.learner.params.items() for n, t in e.items())


# ---- files that are asked for later


def test_a_file_that_is_asked_for_later_leaves_the_result_as_it_is(out, epochs):
    train(spec(), out, keep=["weights"])
    before, number = out.read_bytes(), out.stat().st_ino
    weights_before = kept_path(out, "weights").read_bytes()
    train(spec(), out, keep=["weights", "predictions"])
    assert (out.read_bytes(), out.stat().st_ino) == (before, number)
    assert kept_path(out, "weights").read_bytes() == weights_before
    assert kept_path(out, "predictions").exists()
    assert not checkpoint_path(out).exists()


@pytest.mark.parametrize("what", ["versions", "records", "a forced rerun", "damage"])
def test_a_result_that_was_made_otherwise_does_not_stay(out, what):
    train(spec(), out)
    keep = [] if what == "a forced rerun" else ["weights"]
    if keep:
        header, found = read_result(out)
        made = header["provenance"]
        if what == "versions":
            made["packages"] = {**made["packages"], "torch": "0.1"}
        elif what == "records":
            found[0]["value"] += 1e-3
        write_result(out, header, found)
        if what == "damage":
            out.write_text(out.read_text().replace('"epoch": 1', '"epoch": 2', 1))
    number = out.stat().st_ino
    checkpoint_path(out).unlink()
    train(spec(), out, keep=keep)
    assert out.stat().st_ino != number
    assert read_result(out)[0]["provenance"]["packages"]["torch"] != "0.1"


def test_a_retry_of_a_search_that_had_finished_writes_the_same_choice_without_training(tmp_path, epochs):
    given = make_spec(vary={"train.optimizer.lr": [0.01, 0.03]})
    given |= {"kind": "search", "criterion": {"metric": "validation_loss", "select": "last"}}
    out = tmp_path / "choice.json"
    search(given, out)
    whole = out.read_bytes()
    epochs.clear()
    out.unlink()
    search(given, out)
    assert out.read_bytes() == whole
    assert epochs == []


def test_a_member_that_diverged_stays_so_when_a_finished_training_is_taken_up(out, epochs):
    given = spec(vary={"train.optimizer.lr": [0.01, 1e6]})
    given["net"]["hidden"] = "linear"
    train(given, out, keep=["weights", "predictions"])
    files = [kept_path(out, kind) for kind in ("weights", "predictions")]
    whole = [file.read_bytes() for file in files]
    for file in (out, *files):
        file.unlink()
    train(given, out, keep=["weights", "predictions"])
    assert [file.read_bytes() for file in files] == whole


def test_a_run_that_is_made_again_on_purpose_is_trained(out, epochs):
    train(spec(), out)
    epochs.clear()
    train(spec(), out)
    assert epochs == [0, 1, 2, 3]


def test_what_other_versions_finished_is_trained_again(out, epochs, monkeypatch):
    train(spec(), out)
    out.unlink()
    epochs.clear()
    monkeypatch.setattr(copies, "versions", lambda: {"python": "3.99.0", "packages": {}})
    train(spec(), out)
    assert epochs == [0, 1, 2, 3]


def test_a_finished_checkpoint_of_another_spec_is_not_taken_up(out, epochs):
    train(spec(), out)
    out.unlink()
    epochs.clear()
    train({**spec(), "seeds": [5, 6]}, out)
    assert epochs == [0, 1, 2, 3]
    assert {r["seed"] for r in read_result(out)[1]} == {5, 6}


# ---- what is left, and when it goes


def test_what_is_left_for_a_retry_goes_when_the_results_are_collected(tmp_path):
    results = [tmp_path / "bp" / f"shard{i}.jsonl" for i in range(2)]
    for result in results:
        train(spec(), result)
    choice = tmp_path / "bp" / "choice.json"
    checkpoint_path(choice).write_text("older")
    choice.write_text("{}")
    part = tmp_path / "bp" / ".shard0.jsonl.ckpt.xyz.part"
    part.write_text("left by a kill")
    remove_checkpoints(results)
    assert sorted(p.name for p in (tmp_path / "bp").iterdir()) == ["choice.json", "shard0.jsonl", "shard1.jsonl"]


def test_the_checkpoint_of_an_interrupted_later_job_stays(out):
    train(spec(), out)
    later = checkpoint_path(out)
    os.utime(later, (time.time() + 10,) * 2)
    remove_checkpoints([out])
    assert later.exists()


def test_partial_files_left_by_a_kill_are_gone_when_the_job_starts_again(out, monkeypatch):
    names = [".shard0.jsonl.abc.part", ".shard0.jsonl.ckpt.abc.part", ".shard0.safetensors.abc.part"]
    for name in names:
        (out.parent / name).write_bytes(b"half")
    other = out.parent / ".shard1.jsonl.ckpt.abc.part"
    other.write_bytes(b"half")

    def stop(*_, **__):
        raise RuntimeError("as far as this")

    monkeypatch.setattr(job, "Training", stop)
    with pytest.raises(RuntimeError):
        train(spec(), out, keep=["weights"])
    assert list(out.parent.iterdir()) == [other]


# ---- two copies at once


def test_a_copy_that_is_behind_leaves_the_checkpoint_of_the_other_alone(tmp_path):
    path = tmp_path / "x.ckpt"
    slow, fast = Checkpoint(path, "spec"), Checkpoint(path, "spec")
    assert slow.load() is None and fast.load() is None
    fast.save({"position": [0, 7]})
    slow.save({"position": [0, 3]})
    assert load(path, "spec")["position"] == [0, 7]
    slow.save({"position": [0, 8]})
    assert load(path, "spec")["position"] == [0, 8]
    fast.save({"position": [1, 0]})
    slow.save({"position": [0, 9]})
    assert load(path, "spec")["position"] == [1, 0]


def test_a_checkpoint_of_another_job_is_overwritten(tmp_path):
    path = tmp_path / "x.ckpt"
    mine = Checkpoint(path, "spec")
    Checkpoint(path, "other").save({"position": [5, 0]})
    mine.save({"position": [0, 1]})
    assert load(path, "spec")["position"] == [0, 1]


@pytest.mark.parametrize("every", [0.0, 1e9])
def test_the_copy_that_finishes_second_changes_nothing(out, every, monkeypatch, capsys):
    """The other one finishes, and is collected, while this one trains its second epoch."""
    original, there = Training._epoch, {}

    def overtaken(self, phase, index):
        original(self, phase, index)
        if index == 1 and not there:
            there["now"] = True
            train(spec(), out, keep=["weights"])
            remove_checkpoints([out])
            there.update({p.name: (p.read_bytes(), p.stat().st_ino) for p in out.parent.iterdir()})

    monkeypatch.setattr(Training, "_epoch", overtaken)
    train(spec(), out, every, keep=["weights"])
    del there["now"]
    assert {p.name: (p.read_bytes(), p.stat().st_ino) for p in out.parent.iterdir()} == there
    assert "another copy of this job has finished" in capsys.readouterr().err


def test_a_copy_that_starts_when_its_call_has_the_result_changes_nothing(out, epochs, monkeypatch, capsys):
    monkeypatch.setenv("CREDIT_CALL", "one")
    train(spec(), out)
    remove_checkpoints([out])
    whole, number = out.read_bytes(), out.stat().st_ino
    epochs.clear()
    train(spec(), out)
    assert (out.read_bytes(), out.stat().st_ino, epochs) == (whole, number, [])
    assert "another copy of this job has finished" in capsys.readouterr().err
    monkeypatch.setenv("CREDIT_CALL", "two")  # a forced rerun
    train(spec(), out)
    assert epochs == [0, 1, 2, 3]
    assert read_result(out)[0]["provenance"]["call"] == "two"


def test_a_result_whose_weights_are_missing_is_made_again(out, epochs, monkeypatch):
    monkeypatch.setenv("CREDIT_CALL", "one")
    train(spec(), out, keep=["weights"])
    out.with_suffix(".safetensors").unlink()
    train(spec(), out, keep=["weights"])
    assert out.with_suffix(".safetensors").exists()


# ---- signals


@pytest.fixture
def heard():
    """Signals as a terminal's programs get them: a shell starts what it puts into the background without Ctrl-C."""
    numbers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_signal_to_stop_leaves_a_checkpoint_and_the_same_records(out, number, monkeypatch, epochs):
    train(spec(), out)
    whole = read_result(out)[1]
    other = out.with_name("other.jsonl")
    before = signal.getsignal(number)
    original = Training._epoch

    def signalled(self, phase, index):
        if index == 1:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # as a cluster does
        original(self, phase, index)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_epoch", signalled)
        with pytest.raises(SystemExit, match=r"stopped on request after epoch 2; checkpoint in .*; to go on: python "):
            train(spec(), other)
    assert signal.getsignal(number) is before
    epochs.clear()
    train(spec(), other)
    assert read_result(other)[1] == whole


@pytest.mark.usefixtures("heard")
def test_before_there_is_anything_to_save_a_signal_ends_the_job_at_once():
    with StopRequest(), pytest.raises(SystemExit, match="stopped on request"):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


@pytest.mark.usefixtures("heard")
def test_a_second_ctrl_c_does_not_wait_for_the_epoch_to_end():
    with StopRequest() as stop:
        stop.wait()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        stop._first -= AGAIN
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit, match="stopped on request"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def test_a_signal_that_the_job_was_started_to_ignore_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)
