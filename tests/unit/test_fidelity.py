"""A verdict must follow from the stated rule alone, and "not run" must never look like "reproduced"."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit.analysis.fidelity import ANCHORS, PUBLISHED, VERDICTS, compare, read_published, read_summaries
from credit.analysis.summaries import SUMMARY
from credit.errors import DataError

ROOT = Path(__file__).parents[2]


def published(tmp_path, *rows):
    path = tmp_path / "published.csv"
    base = {"artefact": "dfc/table1", "dataset": "mnist", "method": "bp", "metric": "test_error", "unit": "%"}
    base |= {"anchor": "printed", "source": "Table 1"}
    pd.DataFrame([{**base, **r} for r in rows], columns=PUBLISHED).to_csv(path, index=False)
    return path


def summary(tmp_path, *rows):
    path = tmp_path / "summary.csv"
    base = {
        "artefact": "dfc/table1", "dataset": "mnist", "method": "bp", "metric": "test_error", "select": "final",
        "mean": 2.0, "sd": 0.1, "n": 5, "diverged": 0, "unit": "%", "epochs": 100, "data_verified": "true",
    }  # fmt: skip
    pd.DataFrame([{**base, **r} for r in rows], columns=SUMMARY).to_csv(path, index=False)
    return path


def verdict(tmp_path, paper, ours, **options):
    tables = read_published([published(tmp_path, paper)]), read_summaries([summary(tmp_path, ours)])
    return compare(*tables, **options).iloc[0]


@pytest.mark.parametrize(
    ("paper", "ours", "expected"),
    [
        ({"mean": 2.0, "std": 0.1}, {"mean": 2.2}, "reproduced"),
        ({"mean": 2.0, "std": 0.1}, {"mean": 2.21}, "not reproduced"),
        ({"mean": 2.0, "std": 0.1}, {"mean": 1.79}, "not reproduced"),
        ({"mean": 2.0, "std": 0.1, "tolerance": 0.5}, {"mean": 2.4}, "reproduced"),
        ({"mean": 2.0, "std": 0.9, "tolerance": 0.5}, {"mean": 2.6}, "not reproduced"),
        ({"low": 1.0, "high": 3.0}, {"mean": 3.0}, "reproduced"),
        ({"low": 1.0, "high": 3.0}, {"mean": 3.1}, "not reproduced"),
        ({"mean": 2.0}, {"mean": 2.0}, "not checkable"),
        ({"mean": 2.0, "std": 0.1, "unit": ""}, {}, "not checkable"),
        ({"mean": 2.0, "std": 0.1, "epoch": 100}, {"epochs": 100}, "reproduced"),
        ({"mean": 2.0, "std": 0.1, "epoch": 100}, {"epochs": 3}, "not checkable"),
        ({"mean": 2.0, "std": 0.1}, {"mean": np.nan, "n": 0, "diverged": 5}, "not reproduced"),
        ({"mean": 2.0, "std": 0.1}, {"method": "fa"}, "not run"),
    ],
)
def test_verdicts_follow_the_rule(tmp_path, paper, ours, expected):
    row = verdict(tmp_path, paper, ours)
    assert expected in VERDICTS
    assert row["verdict"] == expected


def test_nothing_is_judged_at_another_scale(tmp_path):
    row = verdict(tmp_path, {"mean": 2.0, "std": 0.1}, {}, scale="quick")
    assert (row["verdict"], row["reason"]) == ("not checkable", "run at quick scale")


def test_the_distance_is_signed_and_in_published_standard_deviations(tmp_path):
    row = verdict(tmp_path, {"mean": 2.0, "std": 0.2, "n": 5}, {"mean": 1.7})
    assert row["distance_in_published_sd"] == pytest.approx(-1.5)
    assert (row["published_n"], row["reproduced_n"]) == (5, 5)


def test_a_published_accuracy_is_compared_with_the_error_found(tmp_path):
    paper = {"metric": "test_accuracy", "mean": 98.0, "std": 0.1}
    row = verdict(tmp_path, paper, {"mean": 2.1, "sd": 0.3})
    assert row["reproduced_mean"] == pytest.approx(97.9)
    assert (row["reproduced_sd"], row["verdict"]) == (0.3, "reproduced")


def test_every_published_number_is_reported_even_if_nothing_was_run(tmp_path):
    rows = [{"mean": 2.0, "std": 0.1}, {"method": "fa", "low": 1.0, "high": 2.0}]
    table = compare(read_published([published(tmp_path, *rows)]), read_summaries([]))
    assert list(table["verdict"]) == ["not run", "not run"]
    assert list(table["reproduced_n"]) == [0, 0]


def test_a_table_without_published_numbers_is_fine(tmp_path):
    table = compare(read_published([published(tmp_path)]), read_summaries([summary(tmp_path, {})]))
    assert len(table) == 0
    assert "verdict" in table


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"mean": "two"}], "mean = 'two'"),
        ([{"mean": 2.0, "source": ""}], "line 2.*source"),
        ([{"mean": 2.0}, {"mean": 3.0}], "given twice"),
        ([{"mean": 2.0, "anchor": "print"}], r"line 2: anchor = 'print' \(did you mean 'printed'"),
    ],
)
def test_wrong_published_rows_are_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_published([published(tmp_path, *rows)])


def test_wrong_columns_are_refused(tmp_path):
    (tmp_path / "p.csv").write_text("artefact,mean\n")
    with pytest.raises(DataError, match=r"p\.csv.*expected artefact, dataset"):
        read_published([tmp_path / "p.csv"])
    with pytest.raises(DataError, match=r"p\.csv: lacks dataset"):
        read_summaries([tmp_path / "p.csv"])


def test_the_published_numbers_of_this_project_are_well_formed():
    paths = sorted((ROOT / "config" / "published").glob("*.csv"))
    table = read_published(paths)
    assert paths
    assert table["artefact"].str.contains("/").all()
    numbers = table["mean"].notna() | (table["low"].notna() & table["high"].notna())
    sought = table["source"].str.contains("not found|no published")  # and only then a row may be without numbers
    assert (numbers ^ sought).all()
    assert ((table["anchor"] == "none") ^ numbers).all()


def test_the_report_says_what_a_published_number_is_and_judges_without_it(tmp_path):
    for anchor in ANCHORS:
        row = verdict(tmp_path, {"mean": 2.0, "std": 0.1, "anchor": anchor}, {"mean": 2.1})
        assert (row["anchor"], row["verdict"]) == (anchor, "reproduced")


def test_the_script_takes_published_and_found_numbers(tmp_path):
    spec = json.dumps({"version": 1, "scale": "paper"})
    paper, ours = published(tmp_path, {"mean": 2.0, "std": 0.1}), summary(tmp_path, {"mean": 2.05})
    out = tmp_path / "fidelity.csv"
    command = [sys.executable, ROOT / "workflow" / "scripts" / "fidelity.py", spec, out, paper, "--", ours]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, check=False)
    assert run.stderr == ""
    assert pd.read_csv(out)["verdict"].tolist() == ["reproduced"]
