"""What looks on while a job trains: it says how far that is, and decides nothing."""

from __future__ import annotations

import ast
import builtins
import json
import math
import shutil
import threading
import time
from types import SimpleNamespace

import pytest

from credit.provenance.records import read_result
from credit.provenance.sources import PACKAGE, Sources
from credit.watching import report
from credit.watching.curves import POINTS, Curves, points
from credit.watching.events import Events, events_of
from credit.watching.live import FAILED, RUNNING, STOPPED, TENSORBOARD, live_path, read, write
from credit.watching.report import Reporter

OUT = "results/quick/runs/toy/fit/near/bp/shard0.jsonl"


def record(metric="test_loss", value=1.0, epoch=0, step=0, seed=0, layer=""):
    return {"seed": seed, "epoch": epoch, "step": step, "metric": metric, "layer": layer, "value": value}


def training(**changes):
    """What a reporter looks at of a training: pre-training of 2 epochs, then 4 with two passes each."""
    phases = (
        SimpleNamespace(name="pretrain", epochs=2, passes=[SimpleNamespace(update="pretrain")], record=False),
        SimpleNamespace(
            name="train", epochs=4, passes=[SimpleNamespace(update="feedback_pass"), SimpleNamespace(update="update")],
            record=True,
        ),
    )  # fmt: skip
    method = SimpleNamespace(phases=lambda epochs: phases)
    learner = SimpleNamespace(method=method, phase="train", epoch=1, function="update", batch_in_pass=3)
    content = {
        "settings": {"epochs": 4}, "stack": [{"seed": 0}, {"seed": 1}],
        "learner": learner, "records": [], "alive": [True, False], "begun": (0, 1),
        "position": (1, 1), "epoch": 1,
    }  # fmt: skip
    return SimpleNamespace(**content | changes)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TENSORBOARD, raising=False)
    monkeypatch.setattr(report, "FIRST", 0.01)
    monkeypatch.setattr(report, "SHORTEST", 0.01)
    return tmp_path


def until(condition, seconds=20.0):
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


# ---- where it is written, and what


@pytest.mark.parametrize(
    "result, live",
    [
        (OUT, "results/quick/logs/live/toy/fit/near/bp/shard0.json"),
        ("results/runs/toy/fit/near/bp/choice.json", "results/logs/live/toy/fit/near/bp/choice.json"),
        ("/big/runs/results/runs/a/b/c/d/shard1.short.jsonl", "/big/runs/results/logs/live/a/b/c/d/shard1.short.json"),
    ],
)
def test_a_job_says_how_far_it_is_among_the_logs_of_its_run(result, live):
    assert str(live_path(result)) == live


def test_a_result_elsewhere_has_nobody_who_looks_on(tmp_path):
    assert live_path("out.jsonl") is None
    with Reporter(training(), tmp_path / "out.jsonl", {}) as reporter:
        assert not reporter._thread.is_alive()
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_read_again_and_what_is_not_of_this_format_is_nothing(tmp_path):
    live = Reporter(training(), OUT, {}).live()
    write(tmp_path / "live" / "a.json", live)
    assert read(tmp_path / "live" / "a.json") == live
    assert [p.name for p in (tmp_path / "live").iterdir()] == ["a.json"]
    for text in ("", "[]", "{", '{"format": 1}', json.dumps({"format": 99})):
        (tmp_path / "b.json").write_text(text)
        assert read(tmp_path / "b.json") is None
    assert read(tmp_path / "none.json") is None


def test_a_reporter_says_phase_epoch_pass_and_mini_batch():
    with Reporter(training(), OUT, {}) as reporter:
        live = reporter.live()
    assert live.phases == [["pretrain", 2, 1, False], ["train", 4, 2, True]]
    assert (live.begun, live.position, live.turn, live.batch) == ([0, 1], [1, 1], 1, 3)
    assert (live.epoch, live.epochs, live.members, live.alive, live.state) == (1, 4, 2, 1, RUNNING)


def test_between_two_epochs_no_mini_batch_of_the_last_one_counts():
    for position in ((1, 2), (2, 0)):
        reporter = Reporter(training(position=position), OUT, {})
        reporter.__enter__()
        reporter.__exit__(None, None, None)
        assert (reporter.live().turn, reporter.live().batch) == (0, 0)


# ---- while a training runs


def test_it_writes_while_the_training_runs_and_leaves_nothing_behind_where_that_ends_well():
    path, looked_at = live_path(OUT), training(records=[record(epoch=e, value=1.0 / (e + 1)) for e in range(3)])
    with Reporter(looked_at, OUT, {}):
        until(path.exists)
        looked_at.records.append(record(epoch=3))
        until(lambda: (found := read(path)) and len(found.curves["test_loss"]) == 3)
    assert not path.exists()
    assert not [t for t in threading.enumerate() if t.name == "report"]


class Interrupted(Exception):
    """As the loop calls it."""


@pytest.mark.parametrize("error, state", [(Interrupted, STOPPED), (SystemExit, STOPPED), (ValueError, FAILED)])
def test_a_training_that_ends_before_its_end_leaves_word_with_its_whole_curves(error, state):
    with pytest.raises(error), Reporter(training(records=[record(epoch=e) for e in range(3)]), OUT, {}):
        raise error
    live = read(live_path(OUT))
    assert (live.state, len(live.curves["test_loss"])) == (state, 3)


def test_what_another_copy_of_the_job_has_finished_is_no_failure():
    class Outrun(Exception):
        pass

    with pytest.raises(Outrun), Reporter(training(), OUT, {}):
        raise Outrun
    assert not live_path(OUT).exists()


def test_trouble_of_the_reporter_is_a_line_and_no_trouble_of_the_training(capsys):
    looked_at = training(alive=None)
    with Reporter(looked_at, OUT, {}) as reporter:
        until(lambda: not reporter._thread.is_alive())
    assert capsys.readouterr().err.startswith("progress is not reported any more: ")


def test_a_place_that_cannot_be_written_disturbs_nobody(capsys):
    live_path(OUT).parents[5].mkdir(parents=True)
    live_path(OUT).parents[4].write_text("no folder")
    with Reporter(training(), OUT, {}) as reporter:
        time.sleep(0.1)
        assert reporter._thread.is_alive()
    assert capsys.readouterr().err == ""


def test_words_are_rarer_the_longer_they_take(monkeypatch):
    reporter = Reporter(training(), OUT, {})
    monkeypatch.setattr(report, "write", lambda path, live: time.sleep(0.02))
    reporter._say()
    assert reporter._pause >= report.SHARE * 0.02


def test_a_group_of_records_in_the_making_waits():
    looked_at = training(records=[record(seed=0, value=1.0), record(seed=1, value=3.0), record(seed=0, epoch=1)])
    reporter = Reporter(looked_at, OUT, {})
    assert [p.value for p in reporter._news()] == [2.0]
    looked_at.records.append(record(seed=1, epoch=1, value=2.0))
    assert reporter._news() == []
    assert [p.value for p in reporter._news(all_of_them=True)] == [1.5]


def test_a_search_that_draws_trials_goes_on_in_one_file_until_the_last(monkeypatch):
    spec, path = {"sampler": {"trials": 4}}, live_path(OUT)
    for trial in (1, 3):  # the first was drawn before this process began; two are trained side by side
        with Reporter(training(stack=[{"trial": trial}, {"trial": trial + 1}][: 4 - trial]), OUT, spec):
            until(lambda trial=trial: (found := read(path)) and found.trial == trial)
            found = read(path)
            assert (found.trials, found.first_trial) == (4, 1)
            assert found.begun == ([0, 1] if trial == 1 else [0, 0])
        assert path.exists() == (trial == 1)


def test_event_files_of_trials_have_a_folder_each(monkeypatch, place):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv(TENSORBOARD, "1")
    for trial in range(2):
        with Reporter(training(stack=[{"trial": trial}], records=[record()]), OUT, {"sampler": {"trials": 2}}):
            pass
    folder = place / "results/quick/tensorboard/toy/fit/near/bp/shard0"
    assert sorted(p.name for p in folder.iterdir()) == ["trial0", "trial1"]


# ---- curves


def test_points_are_medians_over_the_members_that_are_finite():
    records = [record(seed=s, value=v) for s, v in enumerate((1.0, 9.0, None, math.inf, 2.0))]
    records += [record("train_loss", None)]
    assert [(p.metric, p.value) for p in points(records)] == [("test_loss", 2.0)]


@pytest.mark.parametrize("count", [1, POINTS - 1, POINTS, POINTS + 1, 10 * POINTS + 7])
def test_a_curve_has_few_points_evenly_chosen_and_the_last(count):
    rows = Curves(record(epoch=e, step=10 * e, value=float(e)) for e in range(count)).rows()["test_loss"]
    assert len(rows) <= POINTS
    assert rows[0][0] == 0 and rows[-1] == [count - 1, 10 * (count - 1), float(count - 1)]
    gaps = {b[0] - a[0] for a, b in zip(rows[:-1], rows[1:-1])}
    assert len(gaps) <= 1


def test_curves_are_of_whole_nets():
    records = [record(layer="1"), record("diverged", 3.0), record("train_loss")]
    assert list(Curves(records).rows()) == ["train_loss"]


# ---- event files


@pytest.fixture
def scalars():
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read_back(folder):
        found = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
        found.Reload()
        return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}

    return read_back


def test_event_files_hold_every_point_of_every_curve(tmp_path, scalars):
    records = [record(epoch=e, step=5 * e, value=float(e)) for e in range(500)] + [
        record("angle", 0.5, 1, 5, layer="2")
    ]
    events = Events(tmp_path)
    events.add(points(records))
    events.close()
    found = scalars(tmp_path)
    assert found == {"test_loss": [(5 * e, float(e)) for e in range(500)], "angle/2": [(5, 0.5)]}


def test_points_can_be_read_before_the_file_is_closed(tmp_path, scalars):
    events = Events(tmp_path)
    events.add(points([record(value=2.0)]))
    until(lambda: scalars(tmp_path).get("test_loss"))
    events.close()


def test_a_job_that_starts_again_withdraws_what_it_had_written(tmp_path, scalars):
    for end, offset in ((9, 0.0), (4, 100.0)):
        events = Events(tmp_path)
        events.add(points(record(epoch=e, step=e, value=e + offset) for e in range(end)))
        events.close()
        time.sleep(1.1)  # names of event files differ by the second
    assert scalars(tmp_path) == {"test_loss": [(e, e + 100.0) for e in range(4)]}


def test_points_of_one_step_follow_each_other(tmp_path, scalars):
    events = Events(tmp_path)
    events.add(points(record("feedback_loss", float(i), seed=i) for i in range(1)))
    events.add(points([record("feedback_loss", 5.0)]))
    events.add(points([record("feedback_loss", 6.0, 1, 40)]))
    events.close()
    assert scalars(tmp_path)["feedback_loss"] == [(0, 0.0), (1, 5.0), (40, 6.0)]


def test_there_are_event_files_only_where_they_are_asked_for(monkeypatch, place):
    assert events_of(OUT) is None
    monkeypatch.setenv(TENSORBOARD, "1")
    pytest.importorskip("tensorboard")
    with Reporter(training(records=[record()]), OUT, {}):
        pass
    assert list((place / "results/quick/tensorboard/toy/fit/near/bp/shard0").glob("events.*"))


def test_a_job_without_the_package_says_so_and_trains(monkeypatch, capsys):
    original = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("torch.utils.tensorboard"):
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return original(name, *rest)

    monkeypatch.setenv(TENSORBOARD, "1")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with Reporter(training(), OUT, {}):
        pass
    assert capsys.readouterr().err == "no event files for TensorBoard: No module named 'tensorboard'\n"


# ---- it decides nothing


def test_who_looks_on_imports_nothing_of_the_package_but_itself():
    modules = [m for m in Sources().modules if m.startswith("credit.watching")]
    assert len(modules) > 4
    for module in modules:
        tree = ast.parse(Sources().modules[module].read_bytes())
        names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert not {n for n in names if n.startswith("credit") and not n.startswith("credit.watching")}, module


def test_an_edit_of_who_looks_on_changes_no_digest_and_one_of_the_loop_does(tmp_path):
    copy = shutil.copytree(PACKAGE, tmp_path / "credit", ignore=shutil.ignore_patterns("__pycache__"))
    roots = ("credit.training.job", "credit.methods.bp")
    before = Sources(copy).code(*roots)
    assert "credit.training.loop" in Sources(copy).closure(*roots)
    with (copy / "watching" / "report.py").open("a") as file:
        file.write("\nMORE = 1\n")
    assert Sources(copy).code(*roots) == before
    with (copy / "training" / "loop.py").open("a") as file:
        file.write("\nMORE = 1\n")
    assert Sources(copy).code(*roots) != before


@pytest.fixture
def job(monkeypatch, place):
    """Trains the first shard of a small experiment; returns what its result says."""
    from in_process import allow_any_module
    from small_checkout import Checkout

    from credit.training.job import train
    from tests.conftest import REPOSITORY

    allow_any_module(monkeypatch)
    spec = Checkout(place).workflow().run_spec("results/runs/toy/fit/near/bp/shard0.jsonl")
    script = str(REPOSITORY / "workflow" / "scripts" / "train.py")

    def run(out, every=60.0):
        train(spec, out, [], "cpu", out.with_suffix(".ckpt"), every, script)
        return read_result(out)

    return run


@pytest.mark.parametrize("asked", [None, "1"])
def test_a_job_that_is_looked_at_writes_the_same_records(asked, monkeypatch, place, job):
    if asked:
        pytest.importorskip("tensorboard")
        monkeypatch.setenv(TENSORBOARD, asked)
    monkeypatch.setattr(report, "FIRST", 0.0)
    alone, looked_at = (job(out) for out in (place / "alone" / "shard0.jsonl", place / OUT))
    assert looked_at[1] == alone[1]
    assert looked_at[0]["spec"] == alone[0]["spec"]
    assert (place / "results/quick/tensorboard/toy").exists() == bool(asked)
    assert not list((place / "results/quick/logs").rglob("*.json"))


def test_a_job_that_goes_on_from_a_checkpoint_says_where_it_began(monkeypatch, place, job):
    from credit.training.loop import Training

    original, said = Training._epoch, []

    def second(self, phase, index):
        said.append((tuple(Reporter(self, OUT, {}).live().begun), index))
        original(self, phase, index)

    def first(self, phase, index):
        if index == 2:
            raise KeyboardInterrupt
        original(self, phase, index)

    monkeypatch.setattr(Training, "_epoch", first)
    with pytest.raises(KeyboardInterrupt):
        job(place / OUT, every=0.0)
    assert (read(live_path(OUT)).state, read(live_path(OUT)).position) == (STOPPED, [0, 2])
    monkeypatch.setattr(Training, "_epoch", second)
    job(place / OUT)
    assert said == [((0, 2), 2), ((0, 2), 3)]
