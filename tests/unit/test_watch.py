"""`credit watch`: running jobs of a target and their curves, from what they say; nothing of them is disturbed."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest
from small_checkout import Checkout, put, put_all

from credit.__main__ import main
from credit.dag import watch
from credit.dag.watch import STEPS, sparkline
from credit.watching.live import FAILED, RUNNING, STOPPED, Live, live_path, write

RUN = "results/runs/toy/fit/near/bp/shard0.jsonl"
HERE = os.uname().nodename


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


@pytest.fixture
def watched(checkout, capsys):
    """Runs the command; returns (exit code, lines)."""

    def run(*arguments: str):
        code = main(["watch", *arguments], checkout.root)
        return code, capsys.readouterr().out.splitlines()

    return run


def say(path=RUN, **changes):
    """What a job says of itself, in epoch 3 of 4."""
    losses = [[e, 2 * e, 1.0 / (e + 1)] for e in range(3)]
    content = {
        "state": RUNNING, "phases": [["train", 4, 1, True]], "begun": [0, 0], "position": [0, 2], "turn": 0, "batch": 0,
        "epoch": 2, "epochs": 4, "members": 2, "alive": 2, "started": time.time() - 8, "seconds": 8.0, "pause": 1.0,
        "curves": {"train_loss": losses, "test_loss": losses, "far": losses, "test_error": losses},
    }  # fmt: skip
    write(live_path(path), Live(**content | changes))


def test_a_target_that_nobody_makes_is_one_line(watched):
    assert watched("toy/fit") == (0, ["toy/fit: 0 of 8 jobs finished, 0 % of the training work"])
    assert watched()[1] == ["all: 0 of 8 jobs finished, 0 % of the training work"]


def test_a_running_job_shows_epoch_pace_time_to_go_and_its_curves(watched):
    say()
    code, lines = watched(RUN)
    assert (code, lines[0].partition(",")[0]) == (0, f"{RUN}: 1 running")
    head = r"toy/fit near bp shard0  running, train epoch 3 of 4, (\d+) %, 4 s an epoch, about \d+ s to go"
    assert 0 < int(re.fullmatch(head, lines[2])[1]) < 100
    assert [line.split()[0] for line in lines[3:]] == ["test_error", "test_loss", "train_loss"]
    assert all(re.fullmatch(r"  \w+ +█▃▁  0\.3333", line) for line in lines[3:])


def test_curves_are_plain_signs_where_the_terminal_has_no_others(checkout, monkeypatch, tmp_path):
    say()
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert main(["watch", RUN, "--once"], checkout.root) == 0
    assert "test_loss   @-_  0.3333" in (tmp_path / "out").read_text(encoding="ascii")


def test_a_search_that_draws_trials_says_which(watched):
    say(trial=4, trials=24)
    assert ", trial 5 of 24, train epoch 3 of 4, " in watched(RUN)[1][2]


@pytest.mark.parametrize("state", [STOPPED, FAILED])
def test_a_job_that_was_stopped_or_failed_says_so(watched, state):
    say(state=state)
    lines = watched("toy/fit")[1]
    assert lines[0].startswith(f"toy/fit: 1 {state}, 0 of 8 jobs finished, ")
    assert f"shard0  {state}, train epoch 3 of 4" in lines[2] and "to go" not in lines[2]


def test_a_process_that_is_gone_was_killed(watched):
    process = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(process, 0)
    say(process=process)
    assert "shard0  killed, " in watched(RUN)[1][2]


def test_a_job_on_another_machine_is_named_and_missed_when_it_is_silent(watched):
    say(host="node7", process=2**22 + 1)
    assert watched(RUN)[1][2].endswith("on node7") and "running" in watched(RUN)[1][2]
    long_ago = time.time() - 3661
    os.utime(live_path(RUN), (long_ago, long_ago))
    assert "shard0  silent for 1:01:0" in watched(RUN)[1][2]


def test_diverged_networks_are_counted_and_saved_work_is_not_the_pace(watched):
    say(alive=1, begun=[0, 1])
    assert "8 s an epoch" in watched(RUN)[1][2]
    assert watched(RUN)[1][2].endswith("1 of 2 networks diverged")


def test_a_finished_job_shows_the_curves_of_its_result_whatever_it_had_said(watched, checkout):
    say(state=FAILED)
    put(checkout.workflow(), RUN)
    lines = watched(RUN)[1]
    assert lines[:1] + lines[2:3] == [
        f"{RUN}: 1 of 1 jobs finished, 100 % of the training work", "toy/fit near bp shard0  finished",
    ]  # fmt: skip
    assert lines[3].split() == ["test_loss", "█▃▁", "0.3333"]


def test_a_result_of_other_settings_is_not_finished(watched, checkout):
    put(checkout.workflow(), RUN)
    checkout.change(train={"epochs": 9})
    assert watched(RUN)[1] == [f"{RUN}: 0 of 1 jobs finished, 0 % of the training work"]


def test_only_the_last_that_were_finished_are_shown(watched, checkout):
    put_all(checkout.workflow())
    lines = watched("toy/fit")[1]
    assert sum(line.endswith("finished") for line in lines[1:]) == watch.LATEST + 1
    assert lines[-1] == "and 3 more that are finished"


def test_what_is_no_target_is_a_line(checkout, capsys):
    assert main(["watch", "toy/fits"], checkout.root) == 2
    assert "toy/fit" in capsys.readouterr().err


def test_it_writes_nothing(watched, checkout):
    say()
    before = {p: p.stat().st_mtime_ns for p in Path("results").rglob("*")}
    watched("all")
    assert {p: p.stat().st_mtime_ns for p in Path("results").rglob("*")} == before


def test_a_terminal_is_drawn_anew_until_all_are_finished(checkout, monkeypatch):
    import io

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    say()
    monkeypatch.setattr(watch, "AFRESH", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    finish = threading.Timer(0.5, lambda: put(checkout.workflow(), RUN))
    finish.start()
    assert main(["watch", RUN], checkout.root) == 0
    finish.join()
    drawn = stream.getvalue()
    assert "running, train epoch 3 of 4" in drawn
    assert drawn.rindex("shard0  finished") > drawn.rindex("running, train")
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_ctrl_c_ends_the_picture_without_a_word(checkout, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "_follow", interrupt)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["watch", RUN], checkout.root) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("count, length", [(1, 1), (3, 3), (40, 40), (41, 40), (4000, 40)])
def test_a_curve_falls_from_the_highest_sign_to_the_lowest(count, length):
    drawn = sparkline([float(count - i) for i in range(count)], STEPS[0])
    assert len(drawn) == length
    heights = [STEPS[0].index(sign) for sign in drawn]
    assert heights == sorted(heights, reverse=True)
    assert count == 1 or (heights[0], heights[-1]) == (7, 0)


def test_a_curve_of_equal_values_is_flat():
    assert sparkline([2.0, 2.0, 2.0], STEPS[1]) == "___"
