"""A verdict must follow from the stated rule alone, and "not run" must never look like "consistent"."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit.analysis.fidelity import (
    ANCHORS,
    OUTCOMES,
    PUBLISHED,
    compare,
    counts,
    read_published,
    read_summaries,
    sentence,
)
from credit.analysis.judgement import VERDICTS
from credit.analysis.summaries import SPREAD, SUMMARY
from credit.errors import DataError

ROOT = Path(__file__).parents[2]


def published(tmp_path, *rows):
    path = tmp_path / "published.csv"
    base = {"artefact": "dfc/table1", "dataset": "mnist", "method": "bp", "metric": "test_error", "unit": "%"}
    base |= {"anchor": "printed", "kind": "mean", "source": "Table 1"}
    pd.DataFrame([{**base, **r} for r in rows], columns=PUBLISHED).to_csv(path, index=False)
    return path


def summary(tmp_path, *rows):
    path = tmp_path / "summary.csv"
    base = {
        "artefact": "dfc/table1", "dataset": "mnist", "method": "bp", "metric": "test_error", "select": "final",
        "mean": 2.0, "sd": 0.1, "n": 5, "diverged": 0, "unit": "%", "epochs": 100, "data_verified": "true", "lost": 0,
    }  # fmt: skip
    rows = [{**base, **r} for r in rows]
    rows = [{"runs": r["n"], "se": r["sd"] / np.sqrt(max(r["n"], 1)), **r} for r in rows]
    pd.DataFrame(rows, columns=SUMMARY).to_csv(path, index=False)
    return path


def verdict(tmp_path, paper, ours, **options):
    tables = read_published([published(tmp_path, paper)]), read_summaries([summary(tmp_path, ours)])
    return compare(*tables, **options).iloc[0]


FIVE = {"mean": 2.0, "std": 0.1, "n": 5}  # beside five of ours with the same spread: 2.306 · 0.1 · sqrt(2/5) = 0.146
ALONE = {"mean": 2.0, "n": 1}  # 2.776 · 0.1 · sqrt(1 + 1/5) = 0.304
LIMITS = {"ci_low": 0.9, "ci_high": 1.1}


@pytest.mark.parametrize(
    ("paper", "ours", "expected"),
    [
        (FIVE, {"mean": 2.14}, "consistent"),
        (FIVE, {"mean": 2.15}, "inconsistent"),
        (FIVE, {"mean": 1.85}, "inconsistent"),
        (FIVE, {"mean": 2.0, "n": 2}, "inconclusive"),
        (FIVE, {"mean": 9.0, "n": 1, "sd": np.nan}, "inconclusive"),
        (FIVE | {"precision": 0.02}, {"mean": 2.16}, "consistent"),
        (FIVE | {"n": np.nan}, {"mean": 2.3}, "consistent"),  # a spread of unknown runs: our own, and as of one run
        (FIVE | {"n": np.nan}, {"mean": 2.31}, "inconsistent"),
        (ALONE, {"mean": 2.3}, "consistent"),
        (ALONE, {"mean": 2.31}, "inconsistent"),
        (ALONE | {"n": 5}, {"mean": 2.17}, "consistent"),  # a mean of five without a spread: 2.776 · 0.1 · sqrt(2/5)
        (ALONE | {"n": 5}, {"mean": 2.18}, "inconsistent"),
        (ALONE, {"sd": np.nan}, "inconclusive"),
        ({"mean": 2.0, "kind": "exact", "precision": 0.01}, {"mean": 2.009, "n": 1}, "consistent"),
        ({"mean": 2.0, "kind": "exact", "precision": 0.01}, {"mean": 2.011, "n": 1}, "inconsistent"),
        ({"mean": 3.0, "kind": "order", "precision": 0.1}, LIMITS, "consistent"),
        ({"mean": -3.0, "kind": "order", "precision": 0.1}, LIMITS, "inconsistent"),
        ({"mean": -3.0, "kind": "order", "precision": 0.1}, {"ci_low": -0.1, "ci_high": 1.1}, "inconclusive"),
        ({"mean": -3.0, "kind": "order", "precision": 0.1}, {"ci_low": -1.1, "ci_high": -0.1}, "consistent"),
        ({"mean": 0.05, "kind": "order", "precision": 0.1}, LIMITS, "inconclusive"),
        ({"mean": 3.0, "kind": "order"}, {"ci_low": np.nan, "ci_high": np.nan}, "inconclusive"),
        ({"mean": 1.2, "kind": "bound"}, LIMITS, "consistent"),
        ({"mean": 0.8, "kind": "bound"}, LIMITS, "inconsistent"),
        ({"mean": 1.0, "kind": "bound"}, LIMITS, "inconclusive"),
        ({"mean": 1.0, "kind": "point"}, LIMITS, "consistent"),
        ({"mean": 0.5, "kind": "point"}, LIMITS, "inconsistent"),
        ({"mean": 1.0, "kind": "point"}, LIMITS | {"n": 2}, "inconclusive"),
        ({"mean": 1.0, "kind": "point"}, {"ci_low": np.nan, "ci_high": np.nan}, "inconclusive"),
        (FIVE, {"mean": 2.0, "lost": 1}, "inconclusive"),
        (FIVE, {"mean": 9.0, "lost": 1}, "inconclusive"),
        (FIVE, {"mean": np.nan, "sd": np.nan, "n": 0, "lost": 5, "diverged": 5}, "inconsistent"),
        (FIVE, {"mean": np.nan, "sd": np.nan, "n": 0, "lost": 2, "diverged": 2}, "inconclusive"),
        (FIVE, {"mean": 2.0, "diverged": 1}, "consistent"),  # it counts with a number of its own
        (FIVE | {"unit": ""}, {}, "not run"),
        (FIVE | {"epoch": 100}, {"epochs": 100}, "consistent"),
        (FIVE | {"epoch": 100}, {"epochs": 3}, "not run"),
        (FIVE | {"epoch": 100}, {"epochs": 3, "diverged": 4}, "not run"),
        (FIVE | {"epoch": 100}, {"epochs": 3, "diverged": 5}, "consistent"),
        (FIVE, {"method": "fa"}, "not run"),
        ({"mean": np.nan, "anchor": "none", "kind": ""}, {}, "not counted"),
        (FIVE | {"kind": "apart"}, {}, "not counted"),
        (FIVE | {"kind": "fitted"}, {}, "not counted"),
    ],
)
def test_verdicts_follow_the_rule(tmp_path, paper, ours, expected):
    row = verdict(tmp_path, paper, ours)
    assert expected in OUTCOMES
    assert row["verdict"] == expected, row["reason"]
    assert (row["verdict"] in VERDICTS) <= bool(row["reason"])


def judged(tmp_path, papers, ours):
    return compare(read_published([published(tmp_path, *papers)]), read_summaries([summary(tmp_path, *ours)]))


def test_an_interval_that_all_rivals_lie_in_says_nothing(tmp_path):
    others = [{"method": "fa", "mean": 2.1}, {"method": "dfa", "mean": 1.9}]
    assert judged(tmp_path, [FIVE, *others], [{}])["verdict"][0] == "inconclusive"
    assert judged(tmp_path, [FIVE, *others, {"method": "x", "mean": 2.2}], [{}])["verdict"][0] == "consistent"
    assert judged(tmp_path, [FIVE, *others], [{"mean": 2.3}])["verdict"][0] == "inconsistent", "a failure is one"
    alike = [{"method": "fa", "mean": 2.0, "precision": 0.01}]  # the reference itself does not tell it apart
    assert judged(tmp_path, [FIVE, *alike], [{}])["verdict"][0] == "consistent"
    elsewhere = [{"artefact": "dfc/fig3", "method": "fa", "mean": 2.1}]  # where the artefact has no rival itself
    assert judged(tmp_path, [FIVE, *elsewhere], [{}])["verdict"][0] == "inconclusive"
    assert judged(tmp_path, [FIVE, *elsewhere, {"method": "x", "mean": 2.2}], [{}])["verdict"][0] == "consistent"
    other = [
        {"artefact": "pc/table1", "method": "fa", "mean": 2.1},
        {"dataset": "cifar10", "method": "fa", "mean": 2.1},
    ]
    assert judged(tmp_path, [FIVE, *other], [{}])["verdict"][0] == "consistent"


def test_a_form_that_is_the_same_judges_a_printed_row_once(tmp_path):
    paper = FIVE | {"method": "dfc", "stand_in": "dfc-fast"}
    table = judged(tmp_path, [paper], [{"method": "dfc-fast", "mean": 2.1}])
    assert list(table["verdict"]) == ["consistent"] and table["reproduced_method"][0] == "dfc-fast"
    table = judged(tmp_path, [paper], [{"method": "dfc-fast", "mean": 2.1}, {"method": "dfc", "mean": 2.5}])
    assert list(table["verdict"]) == ["inconsistent"] and table["reproduced_method"][0] == "dfc"


def test_rates_are_those_of_the_rule_at_these_numbers_of_runs(tmp_path):
    row = verdict(tmp_path, FIVE, {})
    assert (row["false_failure"], row["power"]) == pytest.approx((0.05, 0.7905), abs=1e-3)
    assert (row["limit_low"], row["limit_high"]) == pytest.approx((2 - 0.1458, 2 + 0.1458), abs=1e-4)
    row = verdict(tmp_path, FIVE, {"n": 1, "sd": np.nan})
    assert row["power"] == pytest.approx(0.29, abs=0.005)
    row = verdict(tmp_path, {"mean": 3.0, "kind": "order"}, LIMITS)
    assert row["false_failure"] < 1e-6 and row["power"] > 0.999 and np.isnan(row["limit_high"])
    row = verdict(tmp_path, {"mean": 3.0, "kind": "exact", "precision": 0.1}, {})
    assert (row["false_failure"], row["power"]) == (0, 1)


def test_nothing_is_judged_at_another_scale(tmp_path):
    row = verdict(tmp_path, FIVE, {}, scale="quick")
    assert (row["verdict"], row["reason"]) == ("not run", "run at quick scale")


def test_printed_numbers_are_counted_apart_with_what_chance_alone_would_give(tmp_path):
    papers = [FIVE | {"method": m} for m in ("a", "b", "c", "d", "e")]
    papers += [{"mean": 2.0, "kind": "exact", "precision": 0.1, "method": "f", "anchor": "official run"}]
    papers += [{"mean": np.nan, "method": "g", "anchor": "none", "kind": ""}]
    ours = [{"method": "a"}, {"method": "b", "mean": 3.0}, {"method": "c", "n": 1, "data_verified": "false"}]
    found = counts(judged(tmp_path, papers, [*ours, {"method": "f"}]))
    assert list(found.index) == ["printed", "official run", "all but printed"]
    assert sentence(found.loc["printed"]) == "1 consistent, 1 inconsistent, 1 inconclusive, 2 not run"
    assert sentence(found.loc["all but printed"]) == "1 consistent, 0 inconsistent, 0 inconclusive, 0 not run"
    assert list(found["by_chance"]) == pytest.approx([0.1, 0, 0]) and list(found["unverified"]) == [1, 0, 0]


def test_a_table_older_than_standard_errors_is_one_of_runs(tmp_path):
    path = summary(tmp_path, {"sd": 0.3, "n": 9, "diverged": 2})
    pd.read_csv(path).drop(columns=[*SPREAD, "sign_flip"]).to_csv(path, index=False)
    (row,) = read_summaries([path]).to_dict("records")
    assert (row["se"], row["runs"], row["lost"]) == (pytest.approx(0.1), 9, 2)


def test_the_distance_is_signed_and_in_published_standard_deviations(tmp_path):
    row = verdict(tmp_path, {"mean": 2.0, "std": 0.2, "n": 5}, {"mean": 1.7})
    assert row["distance_in_reference_sd"] == pytest.approx(-1.5)
    assert (row["reference_n"], row["reproduced_n"]) == (5, 5)


def test_a_published_accuracy_is_compared_with_the_error_found(tmp_path):
    paper = {"metric": "test_accuracy", "mean": 98.0, "std": 0.1, "n": 5}
    row = verdict(tmp_path, paper, {"mean": 2.1, "sd": 0.3})
    assert row["reproduced_mean"] == pytest.approx(97.9)
    assert (row["reproduced_sd"], row["verdict"]) == (0.3, "consistent")


def test_every_published_number_is_reported_even_if_nothing_was_run(tmp_path):
    rows = [{"mean": 2.0, "std": 0.1}, {"method": "fa", "mean": 1.0, "kind": "bound"}]
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
        ([{"mean": 2.0, "kind": "means"}], r"line 2: kind = 'means' \(did you mean 'mean'"),
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
    numbers = table["mean"].notna()
    sought = table["source"].str.contains("not found|no published")  # and only then a row may be without numbers
    assert (numbers ^ sought).all()
    assert ((table["anchor"] == "none") ^ numbers).all()
    assert table.loc[table["kind"] == "exact", "precision"].notna().all()
    printed = table.loc[table["anchor"] == "printed", "artefact"].value_counts().to_dict()
    assert printed == {"dfc/table1": 32, "pepita/table1": 12}


def test_the_report_says_what_a_published_number_is_and_judges_without_it(tmp_path):
    for anchor in ANCHORS:
        row = verdict(tmp_path, FIVE | {"anchor": anchor}, {"mean": 2.1})
        assert (row["anchor"], row["verdict"]) == (anchor, "consistent")


def test_the_script_takes_published_and_found_numbers(tmp_path):
    spec = json.dumps({"version": 1, "scale": "paper"})
    paper, ours = published(tmp_path, FIVE), summary(tmp_path, {"mean": 2.05})
    out = tmp_path / "fidelity.csv"
    command = [sys.executable, ROOT / "workflow" / "scripts" / "fidelity.py", spec, out, paper, "--", ours]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, check=False)
    assert run.stderr == ""
    assert pd.read_csv(out)["verdict"].tolist() == ["consistent"]
