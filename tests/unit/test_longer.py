"""More epochs: a run goes on from the end of a shorter one, and is the run that was never interrupted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from credit.dag.cost import plan
from credit.dag.stored import still_to_train
from credit.methods.base import Method, Pass, Phase
from credit.provenance.kept import kept_path
from credit.provenance.records import checkpoint_path, read_result
from credit.provenance.snapshot import processor, read_header
from credit.provenance.store import Store
from credit.training import job, kept
from credit.training.loop import Training
from credit.training.reuse import Block, keep_block, take_block
from tests.unit.in_process import allow_any_module, counted_epochs
from tests.unit.small_checkout import Checkout, put
from tests.unit.test_selected_tasks import data
from tests.unit.test_train import make_spec

SCRIPT = str(Path(__file__).parents[2] / "workflow" / "scripts" / "train.py")
STATE = ["state"]


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


def make(given: dict, out: Path, folder: Path | None, keep=STATE, inputs=(), device: str = "cpu") -> Path:
    """What the script does."""
    if not take_block(folder, given, out, inputs, device, keep):
        job.train(given, out, inputs, device, checkpoint_path(out), 1e9, SCRIPT, keep, folder)
        checkpoint_path(out).unlink()
    return out


def long(given: dict, epochs: int) -> dict:
    return {**given, "train": {**given["train"], "epochs": epochs}}


def same_run(one: Path, other: Path, keep=STATE) -> None:
    """Records to the byte, and the state that is kept beside them."""
    assert json.dumps(read_result(one)[1]) == json.dumps(read_result(other)[1])
    for kind in keep:
        assert kept_path(one, kind).read_bytes() == kept_path(other, kind).read_bytes()


TEACHER = {"probes": [{"probe": "path_length", "every": 1}, {"probe": "weights", "on": "evaluate"}]}
CASES = {
    "momentum": make_spec("bp", lr=0.01, momentum=0.9),
    "adam": make_spec("dfa", name="adam", lr=0.01),
    "learned feedback, with its own optimiser, and noise": make_spec("dfc_ssa", seeds=(0, 1, 2), lr=0.01),
    "targets whose feedback learns first": make_spec("drl_dtp", lr=0.01),
    "a rate that falls by steps": make_spec("bp", lr=0.01, schedule={"milestones": [2, 4], "factor": 0.1}),
    "a rate along a cosine of a length of its own": make_spec(
        "bp", lr=0.01, schedule={"name": "cosine", "epochs": 8, "final": 0.0}
    ),
    "a grid": make_spec("fa", lr=0.01, vary={"train.optimizer.lr": [0.01, 0.03]}),
    "probes that remember": {**make_spec("bp", lr=0.01), **TEACHER},
}
CASES["learned feedback, with its own optimiser, and noise"]["rule"] |= {
    "train_feedback": True, "pretrain_epochs": 2, "extra_feedback_passes": 1,
    "feedback": {"lr": 1e-3, "sigma": 0.01, "optimizer": "adam"},
}  # fmt: skip
CASES["targets whose feedback learns first"]["rule"] |= {"pretrain_epochs": 1}


BP = make_spec("bp", lr=0.01, momentum=0.9)
COSINE = {"schedule": {"name": "cosine", "epochs": 4}}


@pytest.mark.parametrize("evaluate", [{"every": 2}, {"every": 1}, {"every": 3, "unit": "update"}], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_run_that_goes_on_is_the_run_that_was_never_interrupted(tmp_path, folder, trained, name, evaluate):
    given = CASES[name]
    given = {**given, "train": {**given["train"], "evaluate": {"splits": ["validation", "test"], **evaluate}}}
    before = [*range(given["rule"].get("pretrain_epochs", 0))]
    make(long(given, 3), tmp_path / "three" / "shard0.jsonl", folder)
    assert trained == [*before, 0, 1, 2]
    trained.clear()
    on = make(long(given, 5), tmp_path / "on" / "shard0.jsonl", folder)
    assert trained == [3, 4]
    same_run(on, make(long(given, 5), tmp_path / "whole" / "shard0.jsonl", None))
    assert read_result(on)[0]["provenance"]["continued"]["epochs"] == 3
    trained.clear()
    further = make(long(given, 8), tmp_path / "further" / "shard0.jsonl", folder)
    assert trained == [5, 6, 7], "from the longest of the shorter ones, which went on itself"
    same_run(further, make(long(given, 8), tmp_path / "whole8" / "shard0.jsonl", None))


def test_stages_that_begin_later_are_gone_on_to(tmp_path, folder, trained, monkeypatch):
    def phases(self, epochs: int) -> tuple[Phase, ...]:
        early = Phase("early", min(epochs, 4))
        return (early, Phase("late", epochs - 4, (Pass(), Pass()))) if epochs > 4 else (early,)

    monkeypatch.setattr(Method, "phases", phases)
    for epochs, more in ((3, [0, 1, 2]), (6, [3, 0, 1]), (7, [2])):
        trained.clear()
        on = make(long(BP, epochs), tmp_path / str(epochs) / "shard0.jsonl", folder)
        assert trained == more
        same_run(on, make(long(BP, epochs), tmp_path / f"whole{epochs}" / "shard0.jsonl", None))


@pytest.mark.parametrize("task", ["drift", "two_tasks", "images"])
def test_tasks_that_count_epochs_or_draw_their_images_go_on(tmp_path, folder, trained, task):
    settings = {
        "drift": {"name": "drift", "every": 2, "moved": 3, "batch_size": 5, "per_class": 6, "test_per_class": 4},
        "two_tasks": {"name": "two_tasks", "turns": 2, "batch_size": 5, "per_class": 6, "test_per_class": 4},
        "images": {"name": "images", "validation": 12, "batch_size": 8, "flip": 0.5},
    }[task]
    inputs = [data(tmp_path / "toy.npz")]
    given = make_spec("dfa", lr=0.05, momentum=0.5, seeds=(0, 3))
    given["train"] |= {"evaluate": {"every": 4, "splits": ["test"]}}
    given |= {"task": settings, "net": {"kind": "dense", "hidden_sizes": [6], "loss": "squared_error_sum"}}
    given |= {"data": {"name": "toy", "sha256": "", "verified": True, "format": "digits", "declared": ""}}
    make(long(given, 3), tmp_path / "three" / "shard0.jsonl", folder, inputs=inputs)
    trained.clear()
    on = make(long(given, 7), tmp_path / "on" / "shard0.jsonl", folder, inputs=inputs)
    assert trained == [3, 4, 5, 6]
    same_run(on, make(long(given, 7), tmp_path / "whole" / "shard0.jsonl", None, inputs=inputs))


def test_who_diverged_stays_diverged_and_nothing_is_trained_where_all_did(tmp_path, folder, trained):
    given = make_spec("bp", vary={"train.optimizer.lr": [0.01, 1e9]})
    make(long(given, 3), tmp_path / "three" / "shard0.jsonl", folder)
    on = make(long(given, 5), tmp_path / "on" / "shard0.jsonl", folder)
    same_run(on, make(long(given, 5), tmp_path / "whole" / "shard0.jsonl", None))
    given = make_spec("bp", lr=1e9)
    make(long(given, 3), tmp_path / "lost" / "shard0.jsonl", folder)
    trained.clear()
    on = make(long(given, 5), tmp_path / "on" / "shard0.jsonl", folder)
    assert trained == []
    assert read_result(on)[1] == read_result(make(long(given, 5), tmp_path / "all" / "shard0.jsonl", None))[1]


def test_a_run_of_another_name_serves_and_the_shorter_one_stays_in_the_store(tmp_path, folder, trained):
    three = make({**long(BP, 3), "experiment": "short"}, tmp_path / "three" / "shard0.jsonl", folder)
    make(long(BP, 5), tmp_path / "five" / "shard0.jsonl", folder, keep=[])
    assert trained == [0, 1, 2, 3, 4]
    three.unlink()
    make({**long(BP, 3), "experiment": "short"}, three, folder)
    assert trained == [0, 1, 2, 3, 4]


def test_a_job_that_was_killed_behind_the_point_where_it_went_on_is_taken_up(tmp_path, folder, trained, monkeypatch):
    make(long(BP, 2), tmp_path / "two" / "shard0.jsonl", folder)
    out = tmp_path / "on" / "shard0.jsonl"
    saved = Training._save

    def save_then_die(self, path):
        saved(self, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        job.train(long(BP, 6), out, [], "cpu", checkpoint_path(out), 0.0, SCRIPT, STATE, folder)
    monkeypatch.setattr(Training, "_save", saved)
    make(long(BP, 6), out, folder)
    assert trained == [0, 1, 2, 3, 4, 5]
    same_run(out, make(long(BP, 6), tmp_path / "whole" / "shard0.jsonl", None))


def test_a_finished_job_whose_result_was_lost_keeps_the_state_that_a_longer_one_goes_on_from(tmp_path, folder):
    out, again = tmp_path / "shard0.jsonl", tmp_path / "again" / "shard0.jsonl"
    job.train(long(BP, 3), out, [], "cpu", checkpoint_path(out), 1e9, SCRIPT, STATE, None)
    state = kept_path(out, "state").read_bytes()
    kept_path(out, "state").unlink()
    out.unlink()
    job.train(long(BP, 3), out, [], "cpu", checkpoint_path(out), 1e9, SCRIPT, STATE, None)
    assert kept_path(out, "state").read_bytes() == state
    assert kept_path(make(long(BP, 3), again, None), "state").read_bytes() == state


# ---- where it does not go on


def forgets(folder: Path, three: Path, monkeypatch) -> None:
    for file in folder.rglob("*.state.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])


def moves(folder: Path, three: Path, monkeypatch) -> None:
    monkeypatch.setattr("credit.training.longer.processor", lambda: "Another CPU")


def stages(folder: Path, three: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        Method, "phases", lambda self, epochs: (Phase("a", epochs // 2), Phase("b", epochs - epochs // 2))
    )


@pytest.mark.parametrize(
    ("change", "keep", "hinders", "words"),
    [
        ({}, [], None, "a run of 3 epochs that differs in nothing else has not kept its state (keep: state)"),
        (
            COSINE,
            STATE,
            None,
            "a run of 3 epochs that differs in nothing else but train.optimizer.schedule (None there, ",
        ),
        ({}, STATE, forgets, "a run of 3 epochs that differs in nothing else is damaged: "),
        ({}, STATE, moves, "a run of 3 epochs that differs in nothing else was trained on another processor, "),
        ({}, STATE, stages, "the stages of bp depend on the number of epochs"),
    ],
    ids=["no state", "schedule", "damage", "processor", "stages"],
)
def test_where_it_cannot_go_on_it_says_so_and_trains_from_the_start(
    tmp_path, folder, trained, monkeypatch, capsys, change, keep, hinders, words
):
    three = make(long(BP, 3), tmp_path / "three" / "shard0.jsonl", folder, keep=keep)
    if hinders:
        hinders(folder, three, monkeypatch)
    trained.clear()
    capsys.readouterr()
    given = long(BP, 4)
    given["train"]["optimizer"] = {**given["train"]["optimizer"], **change}
    make(given, tmp_path / "four" / "shard0.jsonl", folder)
    assert len(trained) == 4
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("trained from the start: ")]
    assert line.removeprefix("trained from the start: ").startswith(words)


@pytest.mark.parametrize("change", [{"seeds": [0]}, {"net": {**BP["net"], "hidden_sizes": [6, 6]}}], ids=str)
def test_a_run_that_differs_in_more_is_none_of_the_series(tmp_path, folder, trained, capsys, change):
    make(long(BP, 3), tmp_path / "three" / "shard0.jsonl", folder)
    trained.clear()
    make({**long(BP, 4), **change}, tmp_path / "four" / "shard0.jsonl", folder)
    assert trained == [0, 1, 2, 3]
    assert "from the start" not in capsys.readouterr().err


def test_a_longer_run_is_not_gone_back_from_and_what_is_made_again_on_purpose_is_trained_whole(
    tmp_path, folder, trained
):
    five = make(long(BP, 5), tmp_path / "five" / "shard0.jsonl", folder)
    trained.clear()
    make(long(BP, 3), tmp_path / "three" / "shard0.jsonl", folder)
    assert trained == [0, 1, 2]
    trained.clear()
    make(long(BP, 5), five, folder)
    assert trained == [0, 1, 2, 3, 4]


def test_a_block_leaves_its_series_with_the_store(tmp_path, folder, trained):
    for epochs in (3, 4):
        make(long(BP, epochs), tmp_path / str(epochs) / "shard0.jsonl", folder)
    store = Store(folder)
    series = Block.of(long(BP, 5), tmp_path / "shard0.jsonl", []).series
    epochs = {read_header(e.files[".jsonl"][0])["spec"]["train"]["epochs"]: e for e in store.series(series)}
    three = epochs[3]
    store.remove(three.path.parent, [three])
    [four] = store.series(series)
    store.remove(four.path.parent, [four])
    assert list(folder.iterdir()) == []


def test_the_end_of_a_run_is_that_of_its_last_epoch_before_it_was_evaluated():
    training = Training(long(BP, 3), log=io.StringIO())
    training.run(keep=STATE)
    assert training.end()["recorded"] < len(training.records), (
        "the evaluation behind the last epoch is not the longer run's"
    )
    assert kept.packed(training.end())[1].keys() == kept.packed(training.state())[1].keys()


def test_a_plan_counts_what_is_still_to_be_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkout = Checkout(tmp_path).change(keep=STATE, train={"epochs": 6})
    run = "results/runs/toy/fit/near/fa/shard0.jsonl"
    put(checkout.workflow(), run)
    kept_path(run, "state").write_bytes(b"state")
    block = Block.of(checkout.workflow().run_spec(run), Path(run), [], STATE)
    made = {"device": "cpu", "cpu": processor(), "seconds": 1.0}
    keep_block(Path("results/store"), block, made)
    workflow = checkout.change(keep=STATE, train={"epochs": 24}).workflow()
    assert still_to_train(workflow, run, workflow.run_spec(run)) == 0.75
    part = plan(workflow, run)
    assert part.missing.seconds == 0.75 * part.whole.seconds
    Path(next(Path("results/store").rglob("*.entry"))).unlink()
    assert plan(workflow, run).missing == part.whole


def test_a_plan_does_not_count_on_blocks_of_another_device_than_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkout = Checkout(tmp_path)
    run = "results/runs/toy/fit/near/fa/shard0.jsonl"
    put(checkout.workflow(), run)
    block = Block.of(checkout.workflow().run_spec(run), Path(run), [])
    keep_block(Path("results/store"), block, {"device": "cpu", "cpu": processor(), "seconds": 1.0})
    Path(run).unlink()
    missing = {d: plan(checkout.workflow(device=d), run).missing.jobs for d in ("auto", "cpu", "cuda")}
    assert missing == {"auto": 0, "cpu": 0, "cuda": 1}
