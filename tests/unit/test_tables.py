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

from credit.analysis.tables import collect, mean_ci, one_setting, read_table, read_tables, where, write_table
from credit.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
SPEC = {"paper": "cross", "experiment": "images", "dataset": "mnist", "method": "bp", "data": {"verified": True}}


def record(seed=0, epoch=1, metric="test_error", value=0.1, layer="", **extra):
    return {
        "seed": seed, **extra, "epoch": epoch, "step": 10 * epoch, "metric": metric, "layer": layer,
        "value": value,
    }  # fmt: skip


def shard(path, records, **spec):
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
    b = shard(tmp_path / "b.jsonl", [record(seed=1, value=0.3), record(seed=0, value=0.2)], method="fa")
    a = shard(tmp_path / "a.jsonl", [record(seed=5)])
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
    path = shard(folder / "a.jsonl", [record(seed=i, value=v) for i, v in enumerate(values)])
    write_table(folder / "t.csv", collect([path]))
    assert read_table(folder / "t.csv")["value"].to_numpy().tobytes() == np.array(values).tobytes()


def test_values_that_were_not_finite_are_empty_fields(tmp_path):
    path = shard(tmp_path / "a.jsonl", [record(value=None), record(epoch=2)])
    write_table(tmp_path / "t.csv", collect([path]))
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "cross,images,mnist,bp,0,1,10,test_error,,,true"
    assert np.isnan(read_table(tmp_path / "t.csv")["value"][0])


def test_what_varies_between_members_becomes_sorted_columns(tmp_path):
    a = shard(tmp_path / "a.jsonl", [record(lr=0.1, damping=1.0)])
    b = shard(tmp_path / "b.jsonl", [record(seed=1, lr=0.2)])
    write_table(tmp_path / "t.csv", collect([a, b]))
    table = read_table(tmp_path / "t.csv")
    assert list(table)[4:8] == ["seed", "damping", "lr", "epoch"]
    assert np.isnan(table["damping"][1])


def test_a_method_called_na_is_not_missing(tmp_path):
    path = shard(tmp_path / "a.jsonl", [record(layer="1")], method="NA")
    write_table(tmp_path / "t.csv", collect([path]))
    table = read_table(tmp_path / "t.csv")
    assert (table["method"][0], table["layer"][0]) == ("NA", "1")


@pytest.mark.parametrize("lost", [1, 20, 60, 200])
def test_a_file_that_was_cut_off_is_refused_by_name(tmp_path, lost):
    path = shard(tmp_path / "a.jsonl", [record(epoch=e) for e in range(5)])
    path.write_text(path.read_text()[: -lost - 1])
    with pytest.raises(DataError, match=r"a\.jsonl.*delete it"):
        collect([path])


def test_a_file_that_lost_lines_in_the_middle_is_refused(tmp_path):
    path = shard(tmp_path / "a.jsonl", [record(epoch=e) for e in range(5)])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl"):
        collect([path])


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(DataError, match=r"a\.jsonl"):
        collect([tmp_path / "a.jsonl"])


def test_a_run_that_two_files_hold_is_refused(tmp_path):
    a = shard(tmp_path / "a.jsonl", [record(seed=3)])
    b = shard(tmp_path / "b.jsonl", [record(seed=3, epoch=2)])
    with pytest.raises(DataError, match=r"b\.jsonl.*a\.jsonl"):
        collect([a, b])


def test_a_run_of_another_experiment_is_refused(tmp_path):
    with pytest.raises(DataError, match="'images', expected 'fig3'"):
        collect([shard(tmp_path / "a.jsonl", [record()])], {"paper": "cross", "experiment": "fig3"})


def test_a_task_without_data_set_is_verified_and_an_accepted_copy_is_not(tmp_path):
    a = shard(tmp_path / "a.jsonl", [record()], data=None)
    b = shard(tmp_path / "b.jsonl", [record(seed=1)], data={"verified": False})
    assert list(collect([a, b])["data_verified"]) == [True, False]


def test_a_header_without_the_state_of_its_data_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.verified"):
        collect([shard(tmp_path / "a.jsonl", [record()], data={"name": "mnist"})])


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


def test_the_same_method_of_two_experiments_is_not_averaged():
    rows = [("bp", 0, 1, "test_error", 0.1)]
    with pytest.raises(ConfigError, match="several values of experiment"):
        one_setting(pd.concat([tidy(rows), tidy(rows, experiment="other")]))


def test_rows_are_narrowed_by_value_or_list():
    table = tidy([("bp", s, 1, "test_error", 0.1) for s in range(4)])
    assert len(where(table, {"seed": 2})) == 1
    assert len(where(table, {"seed": [1, 2, 9]})) == 2
    assert len(where(table, None)) == 4


# ---- scripts


def test_the_scripts_make_the_same_bytes_again_and_fail_in_one_line(tmp_path):
    spec = {"version": 1, "paper": "cross", "experiment": "images", "artefact": "cross/table1"}
    a = shard(tmp_path / "a.jsonl", [record(epoch=e, value=0.1 / (e + 1)) for e in range(3)])
    texts = []
    for run in ("one", "two"):
        tidy_csv, out = tmp_path / run / "tidy.csv", tmp_path / run / "table"
        assert script("collect", json.dumps(spec), tidy_csv, a).stderr == ""
        assert script("summarise", json.dumps(spec), f"{out}.csv", tidy_csv).stderr == ""
        assert script("typeset", json.dumps({**spec, "title": "t"}), f"{out}.md", f"{out}.csv").stderr == ""
        texts.append([p.read_bytes() for p in (tidy_csv, Path(f"{out}.csv"), Path(f"{out}.md"))])
    assert texts[0] == texts[1]
    a.write_text(a.read_text()[:-5])
    failed = script("collect", json.dumps(spec), tmp_path / "new.csv", a)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "new.csv").exists()
