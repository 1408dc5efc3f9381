"""How far the training work of a call is: weighed by cost, shown on terminals and in logs, gone when the call ends."""

from __future__ import annotations

import io
import logging
import math
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from small_checkout import FIT, Checkout

from credit.config.files import overlay
from credit.dag import curves, standing
from credit.dag.cost import START, job_cost
from credit.dag.progress import Lines, Progress, is_quiet, view
from credit.dag.settings import settings
from credit.dag.standing import Job, Standing, Tally
from credit.dag.work import Work
from credit.training import reuse
from credit.watching.live import RUNNING, Live, live_path, write
from tests.conftest import REPOSITORY

PATH = "results/runs/toy/fit/near/{}/shard0.jsonl"
DFC = {"rule": "dfc_ssa", "hyper": {"pretrain_epochs": 6, "train_feedback": True, "extra_feedback_passes": 1}}


def live(position, turn=0, batch=0, begun=(0, 0), phases=None, seconds=10.0):
    phases = phases or [["train", 4, 1, True]]
    return Live(RUNNING, phases, list(begun), list(position), turn, batch, 0, 4, 1, 1, 0.0, seconds, 1.0)


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """The spec of a run of `toy/fit` with changes laid over it."""
    monkeypatch.chdir(tmp_path)
    checkout = Checkout(tmp_path)

    def of(method="bp", **changes):
        checkout.write("toy/fit", overlay(FIT, {"figures": {}, "tables": {}}, changes))
        return checkout.workflow().run_spec(PATH.format(method))

    return of


@pytest.fixture
def big(spec):
    """A spec of long epochs, beside which the start of Python is little."""
    return spec(train={"epochs": 400}, task={"train": 8192})


# ---- work


def test_the_work_of_a_job_grows_with_epochs_and_mini_batches_up_to_what_it_costs(spec):
    work = Work(spec(task={"train": 640}))
    steps = [live((0, e), batch=b) for e in range(4) for b in range(0, work.updates, 2)] + [live((1, 0))]
    done = [work.done(one) for one in steps]
    assert work.updates > 4
    assert done == sorted(set(done))
    assert done[0] == START
    assert done[-1] == pytest.approx(work.seconds) == job_cost(work.spec).seconds


def test_mini_batches_beyond_those_of_the_plan_count_for_no_more_than_an_epoch(spec):
    work = Work(spec())
    assert work.done(live((0, 1), batch=10**6)) == work.done(live((0, 2)))


def test_pretraining_counts_by_what_it_costs(spec):
    work = Work(spec("slow", methods={"slow": DFC}))
    phases = [["pretrain", 6, 1, False], ["train", 4, 3, True]]
    without = job_cost({**work.spec, "rule": {**work.spec["rule"], "pretrain_epochs": 0}}).seconds
    assert work.seconds - without > 0
    assert work.done(live((1, 0), phases=phases)) == pytest.approx(START + work.seconds - without)
    half = work.done(live((0, 3), phases=phases))
    assert half == pytest.approx(START + (work.seconds - without) / 2)
    assert work.done(live((2, 0), phases=phases)) == pytest.approx(work.seconds)
    passes = [work.done(live((1, 0), turn=t, phases=phases)) for t in range(3)]
    assert passes == sorted(set(passes))


def test_a_rule_that_never_pretrains_has_no_work_before(spec):
    assert Work(spec()).before == 0.0


def test_what_a_checkpoint_saved_is_told_apart(spec):
    work = Work(spec())
    resumed = live((0, 3), begun=(0, 2))
    assert work.done_before(resumed) == work.done(live((0, 2)))
    assert work.done_before(live((0, 3))) == 0.0


def test_a_search_that_draws_trials_is_as_far_as_its_trials(spec):
    sampler = {"name": "tpe", "trials": 10, "parallel": 2, "seed": 0, "space": {"train.optimizer.lr": {}}}
    work = Work({**spec(), "vary": {}, "sampler": sampler})
    assert work.seconds == job_cost(work.spec).seconds
    places = [(trial, epoch) for trial in range(0, 10, 2) for epoch in range(4)]
    done = [work.done(replace(live((0, e)), trial=t, trials=10)) for t, e in places]
    assert done == sorted(set(done))
    assert done[places.index((4, 0))] == pytest.approx(START + 0.4 * (work.seconds - START))
    assert work.done(replace(live((1, 0)), trial=8, trials=10)) == pytest.approx(work.seconds)
    resumed = replace(live((0, 0)), trial=6, trials=10, first_trial=4)
    assert work.done_before(resumed) == done[places.index((4, 0))]


# ---- one job


def say(job, one):
    write(live_path(job.result), one)
    os.utime(live_path(job.result), ns=(time.time_ns(), time.time_ns()))


def test_a_running_job_is_as_far_as_it_says(big):
    job = Job(PATH.format("bp"), Work(big))
    job.look()
    assert (job.state, job.done, job.left) == ("running", 0.0, job.work.seconds)
    say(job, live((0, 2), phases=[["train", 4, 1, True]]))
    job.look()
    assert job.done == pytest.approx(START + (job.work.seconds - START) / 2)
    assert job.time_left() == pytest.approx(10.0 * job.left / job.done)


def test_what_a_job_of_an_earlier_call_left_says_nothing(spec):
    say(Job(PATH.format("bp"), Work(spec())), live((0, 3)))
    job = Job(PATH.format("bp"), Work(spec()))
    job.look()
    assert (job.live, job.done) == (None, 0.0)
    say(job, live((0, 1)))
    job.look()
    assert job.live.position == [0, 1]


def test_the_work_of_a_job_that_is_tried_again_does_not_shrink(spec):
    job = Job(PATH.format("bp"), Work(spec()))
    say(job, live((0, 3)))
    job.look()
    before = job.done
    say(job, live((0, 0)))
    job.look()
    assert job.done == before


def test_a_block_of_the_store_counts_at_once_and_is_no_work_of_this_call(spec, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reuse, "Copies", lambda *a: SimpleNamespace(before=None))
    entry = SimpleNamespace(path="results/store/ab", about={}, files={})
    monkeypatch.setattr(reuse.Store, "sound", lambda *a: iter([entry]))
    monkeypatch.setattr(reuse, "_put_in_place", lambda *a: None)
    assert reuse.take_block(tmp_path, spec(), tmp_path / "out.jsonl", [], "auto")
    (tmp_path / "kept.log").write_text(capsys.readouterr().err)
    (tmp_path / "trained.log").write_text("train epoch 1/4\n")
    kept, trained = (Job(PATH.format(n), Work(spec()), str(tmp_path / f"{n}.log")) for n in ("kept", "trained"))
    for job in (kept, trained):
        job.finish()
        assert job.done == job.work.seconds
    assert kept.saved == kept.work.seconds
    assert trained.saved == 0.0


# ---- all jobs


def jobs_of(big, count):
    return [Job(PATH.format(f"m{i}"), Work(big)) for i in range(count)]


def test_the_share_is_one_of_work_not_of_jobs(spec, big):
    jobs = [Job(PATH.format("a"), Work(spec())), Job(PATH.format("b"), Work(big))]
    jobs[0].finish()
    found = Tally(jobs).standing(1.0)
    assert (found.finished, found.jobs) == (1, 2)
    assert found.percent == int(100 * jobs[0].work.seconds / (jobs[0].work.seconds + jobs[1].work.seconds)) < 50


def test_the_time_to_go_follows_from_the_pace_that_was_measured(big):
    (job,) = jobs_of(big, 1)
    tally, whole = Tally([job]), job.work.seconds
    job.state = "running"
    for second in range(0, 1001, 10):
        job.done = 0.2 * second / 1000 * whole
        found = tally.standing(float(second))
    assert found.to_go == pytest.approx(4000, rel=0.05)


def test_the_first_time_to_go_is_the_estimate(big):
    jobs = jobs_of(big, 4)
    for job in jobs[:2]:
        job.state = "running"
    found = Tally(jobs).standing(0.0)
    assert found.to_go == pytest.approx(sum(job.work.seconds for job in jobs) / 2)


def test_what_a_checkpoint_saved_does_not_hasten_the_pace(big):
    (job,) = jobs_of(big, 1)
    tally = Tally([job])
    job.state = "running"
    tally.standing(0.0)
    job.done = job.saved = 0.9 * job.work.seconds
    assert tally.standing(600.0).to_go is None  # nothing was done in ten minutes


def test_the_time_to_go_is_at_least_that_of_the_longest_job_alone(spec, big):
    short, long = Work(spec()), Work(big)
    jobs = [Job(PATH.format(f"s{i}"), short, state="running") for i in range(7)] + [Job(PATH.format("l"), long)]
    found = Tally(jobs).standing(0.0)
    assert found.to_go >= long.seconds
    jobs[0].live, jobs[0].done = live((0, 1), seconds=10**6), 0.5 * short.seconds
    assert Tally(jobs).standing(0.0).to_go >= 10**6


def test_what_has_failed_is_not_waited_for(big):
    jobs = jobs_of(big, 2)
    jobs[0].state, jobs[1].state = "failed", "running"
    found = Tally(jobs).standing(0.0)
    assert found.to_go == pytest.approx(jobs[1].work.seconds)
    assert "1 failed" in found.text()


def test_time_before_the_first_job_runs_is_not_its_pace(big):
    (job,) = jobs_of(big, 1)
    tally = Tally([job])
    for second in range(0, 300, 10):  # data is fetched
        assert tally.standing(float(second)).to_go is None
    job.state = "running"
    tally.standing(300.0)
    job.done = 100.0
    assert tally.standing(400.0).to_go == pytest.approx(job.left, rel=0.01)


def standing_of(**changes):
    return replace(Standing(45.0, 100.0, 4, 1, (), 0, 0, 3725.0, 725.0), **changes)


def test_a_line_says_work_jobs_and_times():
    job = SimpleNamespace(state="running")
    found = standing_of(running=(job, job), failed=1, kept=3)
    assert (
        found.text()
        == "training 45 %: 1 of 4 jobs, 2 running, 1 failed, 3 in the store, 1:02:05 gone, about 13 min to go"
    )
    assert found.text(last=True) == "training 45 %: 1 of 4 jobs, 1 failed, 3 in the store, 1:02:05 gone"


def test_only_all_is_a_hundred_percent():
    assert standing_of(done=99.9).percent == 99
    assert standing_of(done=100.0).percent == 100
    assert standing_of(done=99.9999, finished=4).percent == 100


# ---- what shows it


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error one, once the test runs: pytest has a stream for each of its stages."""

    def put():
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        return stream

    return put


def test_a_terminal_has_a_bar_and_a_log_has_lines(terminal, monkeypatch):
    terminal()
    shown = view("auto", 60.0)
    shown.end(standing_of())
    assert type(shown).__name__ == "Bar"
    assert isinstance(view("lines", 60.0), Lines)
    assert view("off", 60.0) is None
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view("auto", 60.0), Lines)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich would draw every picture into a log
    assert isinstance(view("auto", 60.0), Lines)


def test_lines_are_plain_and_end_with_the_last_job(capsys):
    lines = Lines(60.0)
    lines.show(standing_of())
    lines.show(standing_of(finished=4, done=100.0))
    lines.show(standing_of(finished=4, done=100.0))
    lines.end(standing_of(finished=4, done=100.0))
    out = capsys.readouterr().err
    assert out.count("\n") == 2
    assert "\x1b" not in out and "\r" not in out


def test_lines_of_an_interrupted_call_end_without_a_time_to_go(capsys):
    lines = Lines(60.0)
    lines.show(standing_of())
    lines.end(standing_of())
    assert [("to go" in line) for line in capsys.readouterr().err.splitlines()] == [True, False]


def test_what_snakemake_prints_stands_above_the_bar_as_it_is(terminal):
    stream = terminal()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("snakemake.logging")
    logger.addHandler(handler)
    path = "results/" + 40 * "long/" + "name.pdf"
    try:
        bar = view("auto", 60.0)
        bar.show(standing_of(running=(Job(PATH.format("bp"), SimpleNamespace(seconds=5.0)),)))
        logger.error("Error in %s", path)
        print("plain [red]words[/red]", file=sys.stderr)
        bar.end(standing_of(finished=4))
    finally:
        logger.removeHandler(handler)
    drawn = stream.getvalue()
    assert f"Error in {path}\n" in drawn  # not folded at the edge of the terminal
    assert "plain [red]words[/red]\n" in drawn
    assert "fit near bp shard0" in drawn and "━" in drawn
    assert drawn.rstrip().endswith("training 100 %: 4 of 4 jobs, 1:02:05 gone")
    assert handler.stream is stream and sys.stderr is stream
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")  # the terminal has its cursor back


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_a_narrow_terminal_still_has_shares_times_to_go_and_the_end_of_names(terminal, monkeypatch, columns):
    stream = terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    phases, path = [["train", 60, 1, True]], "results/runs/cross/student_teacher/teacher/dfc_ssa-fixed/shard17.jsonl"
    live = Live(RUNNING, phases, [0, 0], [0, 40], 0, 0, 40, 60, 1, 1, 0.0, 30.0, 1.0)
    job = Job(path, SimpleNamespace(seconds=100.0), live=live, done=66.0)
    bar = view("auto", 60.0)
    bar.show(standing_of(running=(job,)))
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    bar.end(standing_of())
    whole, one = drawn.splitlines()[-2:]
    assert re.search(r"training .* 45 % about 1", whole), whole
    assert re.search(r"shard17 .* 66 % about 1", one), one
    if columns >= 60:
        assert "about 13 min to go" in whole and "about 16 s to go" in one


# ---- with Snakemake


class Each:
    """A job, as Snakemake has them."""

    def is_group(self):
        return False


class Group(list):
    def is_group(self):
        return True

    __hash__ = object.__hash__


def workflow(**changes):
    content = {
        "scheduler": SimpleNamespace(running=set(), failed=set()), "dag": SimpleNamespace(finished=lambda job: False),
        "touch": False, "output_settings": SimpleNamespace(quiet=set()),
    }  # fmt: skip
    return SimpleNamespace(**content | changes)


def test_states_are_those_that_snakemake_has(big, capsys):
    theirs = [Each() for _ in range(4)]
    jobs = dict(zip(theirs, jobs_of(big, 4)))
    found = workflow(dag=SimpleNamespace(finished=lambda job: job is theirs[0]))
    found.scheduler.running, found.scheduler.failed = {Group(theirs[1:2])}, {theirs[2]}
    shown = Progress("lines", 0.01)
    shown.begin(found, jobs)
    shown.begin(found, jobs)  # once
    while "1 of 4 jobs, 1 running, 1 failed" not in (said := capsys.readouterr().err):
        time.sleep(0.01)
    assert len([t for t in threading.enumerate() if t.name == "progress"]) == 1
    found.scheduler.running = set()
    shown.end()
    said = capsys.readouterr().err
    shown.end()
    assert said.splitlines()[-1].startswith("training") and "running" not in said.splitlines()[-1]
    assert capsys.readouterr().err == ""
    assert [job.state for job in jobs.values()] == ["finished", "waiting", "failed", "waiting"]
    assert not [t for t in threading.enumerate() if t.name == "progress"]


@pytest.mark.parametrize("quiet", ["PROGRESS", "ALL"])
def test_a_quiet_call_shows_nothing(quiet, big, capsys):
    from snakemake.settings.enums import Quietness

    asked = workflow(output_settings=SimpleNamespace(quiet={Quietness[quiet]}))
    assert (
        is_quiet(asked)
        and not is_quiet(workflow())
        and not is_quiet(workflow(output_settings=SimpleNamespace(quiet=None)))
    )
    shown = Progress("lines", 0.01)
    shown.begin(asked, dict(zip([Each()], jobs_of(big, 1))))
    shown.end()
    assert capsys.readouterr().err == ""


def test_nothing_is_shown_where_nothing_is_trained(big, capsys):
    for found, jobs in ((workflow(), {}), (workflow(touch=True), dict(zip([Each()], jobs_of(big, 1))))):
        shown = Progress("lines", 0.01)
        shown.begin(found, jobs)
        shown.end()
    assert capsys.readouterr().err == ""


def test_who_no_longer_listens_ends_no_call(big, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    shown = Progress("lines", 0.01)
    shown.begin(workflow(), dict(zip([Each()], jobs_of(big, 1))))
    time.sleep(0.05)
    shown.end()


def test_trouble_with_progress_is_a_line_and_ends_no_call(big, capsys):
    def fail(job):
        raise RuntimeError("no such thing")

    shown = Progress("lines", 0.01)
    shown.begin(workflow(dag=SimpleNamespace(finished=fail)), dict(zip([Each()], jobs_of(big, 1))))
    shown._thread.join()
    shown.end()
    said = capsys.readouterr().err
    assert said.count("progress is not shown any more: RuntimeError('no such thing')\n") == 1
    assert "Traceback" not in said


def test_without_rich_a_terminal_has_lines(terminal, monkeypatch):
    terminal()
    monkeypatch.setitem(sys.modules, "credit.dag.bar", None)
    assert isinstance(view("auto", 60.0), Lines)


def test_planning_loads_nothing_of_it():
    code = "import sys, credit.dag.progress, credit.dag.curves; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "credit.dag.progress" in done.stdout
    for name in ("rich", "tensorboard", "torch", "credit.dag.standing", "credit.watching.live"):
        assert f"'{name}'" not in done.stdout


# ---- settings


def checked(**config):
    path = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
    return settings({"scale": "paper", "device": "cpu", "data": {"folder": "results/data"}, **config}, path)


def test_off_is_off_however_it_is_read():
    assert [checked(progress=value).progress for value in ("off", False, "False", "bar")] == [
        "off",
        "off",
        "off",
        "bar",
    ]
    assert (checked().progress, checked().progress_period, checked().tensorboard) == ("auto", 60.0, False)
    assert checked(progress_period=5).progress_period == 5.0
    assert [checked(tensorboard=value).tensorboard for value in ("true", True, "off", "False")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"progress": "fancy"},
        {"progress_period": 0},
        {"progress_period": math.nan},
        {"progress_period": math.inf},
        {"tensorboard": "perhaps"},
    ],
)
def test_other_values_are_refused_by_name(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        checked(**config)


def test_event_files_decide_no_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkout = Checkout(tmp_path)
    path = PATH.format("bp")
    assert checkout.workflow(tensorboard=True).run_spec(path) == checkout.workflow().run_spec(path)


def test_a_missing_package_is_one_line_before_any_job(tmp_path, monkeypatch):
    monkeypatch.setattr(curves.importlib.util, "find_spec", lambda name: None)
    (line,) = curves.unusable_tensorboard()
    assert "pip install tensorboard" in line and "config: tensorboard = true" in line
    environment = tmp_path / "train.yaml"
    environment.write_text("dependencies:\n  - pip:\n      - numpy==2\n")
    (line,) = curves.unusable_tensorboard(environment)
    assert str(environment) in line
    environment.write_text("dependencies:\n  - pip:\n      - tensorboard==2.19\n")
    assert curves.unusable_tensorboard(environment) == []


def test_a_package_that_is_there_is_no_trouble(monkeypatch):
    monkeypatch.setattr(curves.importlib.util, "find_spec", lambda name: object())
    assert curves.unusable_tensorboard(False) == []


def test_the_word_for_a_kept_block_is_that_of_the_jobs_log():
    assert standing.TAKEN in (REPOSITORY / "src/credit/training/reuse.py").read_text()
