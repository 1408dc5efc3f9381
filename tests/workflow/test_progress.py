"""How far a call is, in a plain log; event files of its jobs; and that neither makes anything again."""

from __future__ import annotations

import re

from tests.workflow.checkout import Checkout

TABLE = "tables/cross/teacher.csv"
LINE = re.compile(r"^training (\d+) %: (\d+) of (\d+) jobs, .*$", re.MULTILINE)


def test_a_plain_log_says_how_far_the_training_is_and_a_quiet_call_does_not(pristine: Checkout, tmp_path):
    project = pristine.copy(tmp_path / "project")
    text = project.make("--config", "progress_period=1", "tensorboard=true", "--", f"results/{TABLE}")
    lines = LINE.findall(text)
    shares = [int(percent) for percent, _, _ in lines]
    assert shares == sorted(shares)
    assert (lines[-1][0], lines[-1][1]) == ("100", lines[-1][2])
    assert int(lines[-1][2]) == len(list(project.path("logs/train").rglob("*.log")))
    assert "\x1b" not in text
    events = {p.parent.relative_to(project.path("tensorboard")) for p in project.path("tensorboard").rglob("events.*")}
    runs = {p.with_suffix("").relative_to(project.path("runs")) for p in project.path("runs").rglob("*.jsonl")}
    assert events == runs != set()
    assert not [p for p in project.path("logs/live").rglob("*") if p.is_file()]
    assert project.planned(f"results/{TABLE}") == set()  # without event files
    project.change_code("src/credit/watching/report.py")
    assert project.planned(f"results/{TABLE}") == set()
    again = project.make("--quiet", "--forcerun", "train", "--", f"results/{TABLE}")
    assert not LINE.search(again)
    kept = project.make("--config", "run=second", "--", f"results/second/{TABLE}")
    assert not LINE.search(kept)  # all of it is in the store
