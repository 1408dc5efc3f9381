"""What could go wrong here goes wrong silently: a wrong mean, a run counted twice, half a file read as a whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from credit.errors import ConfigError, DataError
from credit.tables import (
    collect,
    matrix,
    mean_and_sd,
    mean_ci,
    member_values,
    one_setting,
    read_table,
    read_tables,
    summarise,
    where,
    write_table,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
SPEC = {"paper": "cross", "experiment": "images", "dataset": "mnist", "method": "bp", "data": {"verified": True}}


def record(seed=0, epoch=1, metric="test_error", value=0.1, layer="", **extra):
    return {
        "seed": seed, **extra, "epoch": epoch, "step": 10 * epoch, "metric": metric, "layer": layer,
        "value": value,
    }  # fmt: skip


def block(path, records, **spec):
    lines = [{"spec": {**SPEC, **spec}, "provenance": {}}, *records, {"end": True, "records": len(records)}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def tidy(rows, **fixed):
    """A tidy table from (method, seed, epoch, metric, value)."""
    table = pd.DataFrame(rows, columns=["method", "seed", "epoch", "metric", "value"])
    default = {"paper": "cross", "experiment": "images", "dataset": "mnist", "layer": "", "data_verified": True}
    return table.assign(step=table["epoch"], **{**default, **fixed})


def script(name, *arguments):
    command = [sys.executable, ROOT / "workflow" / "scripts" / f"{name}.py", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MPLBACKEND": "Agg"}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, check=False)


# ---- collecting


def test_collected_rows_keep_the_order_of_files_and_records(tmp_path):
    b = block(tmp_path / "b.jsonl", [record(seed=1, value=0.3), record(seed=0, value=0.2)], method="fa")
    a = block(tmp_path / "a.jsonl", [record(seed=5)])
    table = collect([b, a])
    assert list(table["method"]) == ["fa", "fa", "bp"]
    assert list(table["seed"]) == [1, 0, 5]
    assert list(table) == [
        "paper", "experiment", "dataset", "method", "seed", "epoch", "step", "metric", "layer", "value",
        "data_verified",
    ]  # fmt: skip


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_read_back_as_the_same_bits(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("bits")
    path = block(folder / "a.jsonl", [record(seed=i, value=v) for i, v in enumerate(values)])
    write_table(folder / "t.csv", collect([path]))
    assert read_table(folder / "t.csv")["value"].to_numpy().tobytes() == np.array(values).tobytes()


def test_values_that_were_not_finite_are_empty_fields(tmp_path):
    path = block(tmp_path / "a.jsonl", [record(value=None), record(epoch=2)])
    write_table(tmp_path / "t.csv", collect([path]))
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "cross,images,mnist,bp,0,1,10,test_error,,,true"
    assert np.isnan(read_table(tmp_path / "t.csv")["value"][0])


def test_what_varies_between_members_becomes_sorted_columns(tmp_path):
    a = block(tmp_path / "a.jsonl", [record(lr=0.1, damping=1.0)])
    b = block(tmp_path / "b.jsonl", [record(seed=1, lr=0.2)])
    write_table(tmp_path / "t.csv", collect([a, b]))
    table = read_table(tmp_path / "t.csv")
    assert list(table)[4:8] == ["seed", "damping", "lr", "epoch"]
    assert np.isnan(table["damping"][1])


def test_a_method_called_na_is_not_missing(tmp_path):
    path = block(tmp_path / "a.jsonl", [record(layer="1")], method="NA")
    write_table(tmp_path / "t.csv", collect([path]))
    table = read_table(tmp_path / "t.csv")
    assert (table["method"][0], table["layer"][0]) == ("NA", "1")


@pytest.mark.parametrize("lost", [1, 20, 60, 200])
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path, lost):
    path = block(tmp_path / "a.jsonl", [record(epoch=e) for e in range(5)])
    path.write_text(path.read_text()[: -lost - 1])
    with pytest.raises(DataError, match=r"a\.jsonl.*delete it"):
        collect([path])


def test_a_file_that_lost_lines_in_the_middle_is_refused(tmp_path):
    path = block(tmp_path / "a.jsonl", [record(epoch=e) for e in range(5)])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl"):
        collect([path])


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(DataError, match=r"a\.jsonl"):
        collect([tmp_path / "a.jsonl"])


def test_a_run_that_two_files_hold_is_refused(tmp_path):
    a = block(tmp_path / "a.jsonl", [record(seed=3)])
    b = block(tmp_path / "b.jsonl", [record(seed=3, epoch=2)])
    with pytest.raises(DataError, match=r"b\.jsonl.*a\.jsonl"):
        collect([a, b])


def test_a_run_of_another_experiment_is_refused(tmp_path):
    with pytest.raises(DataError, match="'images', expected 'fig3'"):
        collect([block(tmp_path / "a.jsonl", [record()])], {"paper": "cross", "experiment": "fig3"})


def test_a_task_without_data_set_is_verified_and_an_accepted_copy_is_not(tmp_path):
    a = block(tmp_path / "a.jsonl", [record()], data=None)
    b = block(tmp_path / "b.jsonl", [record(seed=1)], data={"verified": False})
    assert list(collect([a, b])["data_verified"]) == [True, False]


def test_a_header_without_the_state_of_its_data_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.verified"):
        collect([block(tmp_path / "a.jsonl", [record()], data={"name": "mnist"})])


def test_something_that_is_no_tidy_table_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"t\.csv: lacks paper"):
        read_tables([tmp_path / "t.csv"])


# ---- statistics


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12).filter(lambda v: np.std(v) > 1e-6))
def test_intervals_agree_with_scipy(values):
    m = mean_ci(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert m.n == len(values)
    assert m.sd == pytest.approx(stats.tstd(values))
    assert (m.low, m.high) == pytest.approx(expected)


def test_one_run_has_a_mean_but_no_spread():
    m = mean_ci([0.5])
    assert m.mean == 0.5
    assert m.n == 1
    assert np.isnan([m.sd, m.low, m.high]).all()
    assert np.isnan(mean_ci([]).mean)


def test_the_best_epoch_is_chosen_on_validation_and_ties_go_to_the_first():
    rows = []
    for epoch, (validation, test) in enumerate([(0.5, 0.9), (0.2, 0.4), (0.2, 0.1), (0.3, 0.05)]):
        rows += [("bp", 0, epoch, "validation_error", validation), ("bp", 0, epoch, "test_error", test)]
        rows += [("bp", 0, epoch, "validation_loss", -epoch)]
    table = tidy(rows)
    for select, expected in (("final", 0.05), ("best_validation", 0.4), ("lowest_validation", 0.05)):
        assert member_values(table, "test_error", select)["value"].item() == expected
    assert member_values(table, "test_error", "best_validation", "validation_loss")["value"].item() == 0.05


def test_runs_that_diverged_are_counted_and_left_out_of_the_mean():
    rows = [("bp", s, e, "test_error", 0.1 * (s + 1)) for s in range(3) for e in (0, 1)]
    rows += [("bp", 3, 0, "test_error", 0.9), ("bp", 3, 0, "diverged", 17.0)]
    rows += [("bp", 4, 0, "test_error", 0.9), ("bp", 4, 1, "test_error", np.nan)]
    row = summarise(tidy(rows), "cross/table1", {"metric": "test_error", "percent": True}).iloc[0]
    assert (row["n"], row["diverged"], row["unit"]) == (3, 2, "%")
    assert row["mean"] == pytest.approx(20.0)
    assert row["sd"] == pytest.approx(10.0)


def test_a_method_of_which_every_run_diverged_keeps_its_row():
    rows = [("bp", 0, 0, "test_error", 0.9), ("bp", 0, 1, "diverged", 3.0), ("fa", 0, 1, "test_error", 0.2)]
    summary = summarise(tidy(rows), "t", {})
    assert list(summary["n"]) == [0, 1]
    assert "– (0, 1 diverged)" in matrix(summary, "t", {}, {})


def test_a_grid_of_learning_rates_is_not_averaged():
    table = tidy([("bp", 0, 1, "test_error", 0.1), ("bp", 0, 1, "test_error", 0.5)]).assign(lr=[0.1, 1.0])
    with pytest.raises(ConfigError, match="several values of lr"):
        summarise(table, "t", {})
    assert summarise(table, "t", {"where": {"lr": 1.0}})["mean"].item() == 0.5


def test_the_same_method_of_two_experiments_is_not_averaged():
    rows = [("bp", 0, 1, "test_error", 0.1)]
    with pytest.raises(ConfigError, match="several values of experiment"):
        one_setting(pd.concat([tidy(rows), tidy(rows, experiment="other")]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "test_eror"}, "did you mean 'test_error'"),
        ({"select": "best"}, "options.select"),
        ({"where": {"dataste": "mnist"}}, "did you mean 'dataset'"),
        ({"where": {"method": ["pc"]}}, "no rows are left"),
        ({"select": "best_validation"}, "validation_error"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        summarise(tidy([("bp", 0, 1, "test_error", 0.1)]), "t", options)


def test_rows_are_narrowed_by_value_or_list():
    table = tidy([("bp", s, 1, "test_error", 0.1) for s in range(4)])
    assert len(where(table, {"seed": 2})) == 1
    assert len(where(table, {"seed": [1, 2, 9]})) == 2
    assert len(where(table, None)) == 4


# ---- readable tables


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (2.0812, 0.1523, "2.08 ± 0.15"),
        (98.634, 0.03, "98.634 ± 0.030"),
        (1.53e-7, 0.19e-7, "(1.53 ± 0.19)·10^-7"),
        (12.3, 25.0, "12 ± 25"),
        (0.0, 0.0, "0.00 ± 0.00"),
        (0.25, np.nan, "0.25"),
        (np.nan, np.nan, "–"),
    ],
)
def test_means_are_written_with_two_digits_of_their_spread(mean, sd, text):
    assert mean_and_sd(mean, sd) == text


def test_the_readable_table_names_what_is_missing_and_what_is_unverified():
    rows = [("bp", s, 1, "test_error", 0.02 + 0.001 * s) for s in range(3)]
    table = pd.concat([tidy(rows), tidy(rows, dataset="cifar10", data_verified=False)])
    table = pd.concat([table, tidy([("novel", 0, 1, "test_error", 0.3)])])
    options = {"metric": "test_error", "percent": True}
    text = matrix(summarise(table, "cross/table1", options), "Test error", options, {"novel": "dfa"})
    assert text.startswith("# Test error\n\n| | MNIST | CIFAR-10 † |\n")
    assert "| BP | 2.10 ± 0.10 (3) | 2.10 ± 0.10 (3) |" in text
    assert "| novel | 30 (1) | not run |" in text
    assert "checksum is not the published one" in text
    turned = matrix(summarise(table, "t", options), "t", {**options, "rows": "dataset", "columns": "method"}, {})
    assert "| CIFAR-10 † | 2.10 ± 0.10 (3) | not run |" in turned


# ---- scripts


def test_the_scripts_make_the_same_bytes_again_and_fail_in_one_line(tmp_path):
    spec = {"version": 1, "paper": "cross", "experiment": "images", "artefact": "cross/table1"}
    a = block(tmp_path / "a.jsonl", [record(epoch=e, value=0.1 / (e + 1)) for e in range(3)])
    texts = []
    for run in ("one", "two"):
        tidy_csv, out = tmp_path / run / "tidy.csv", tmp_path / run / "table"
        assert script("collect", json.dumps(spec), tidy_csv, a).stderr == ""
        assert script("summarise", json.dumps(spec), f"{out}.csv", f"{out}.md", tidy_csv).stderr == ""
        texts.append([p.read_bytes() for p in (tidy_csv, Path(f"{out}.csv"), Path(f"{out}.md"))])
    assert texts[0] == texts[1]
    a.write_text(a.read_text()[:-5])
    failed = script("collect", json.dumps(spec), tmp_path / "new.csv", a)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "new.csv").exists()
