"""The same configuration gives the same bytes, on any number of cores; other shards of seeds give the same numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.checkout import Checkout, images, teacher

MEMBER = ["dataset", "method", "seed", "epoch", "step", "metric", "layer"]
TOLERANCE = 1e-6  # relative; what is promised between shards of different size, in float32


def read(content: bytes) -> pd.Series:
    """Values of a tidy table by member, epoch and metric."""
    return pd.read_csv(io.BytesIO(content), keep_default_na=False).set_index(MEMBER)["value"].astype(float).sort_index()


@pytest.mark.slow
def test_one_core_and_two_give_the_same_bytes_in_tables_and_figures(
    pristine: Checkout, finished: Checkout, tmp_path: Path
):
    project = pristine.copy(tmp_path / "one_core")
    project.make("all", cores=1)
    again, before = project.results("tables", "figures", "data"), finished.results("tables", "figures", "data")
    assert {Path(name).suffix for name in before} == {".csv", ".md", ".html", ".pdf", ".png", ".json", ".npz"}
    assert again.keys() == before.keys()
    assert [name for name in before if again[name] != before[name]] == []


@pytest.mark.slow
def test_other_shards_of_seeds_give_the_same_numbers_and_the_same_shards_the_same_bytes(project: Checkout):
    before = project.results("tables")
    text = project.make(
        "--config", "seeds_per_job=2", "experiments=images", "methods=bp,fa", "--", "results/tables/cross/images.csv"
    )
    assert "search_settings" not in text
    joint, alone = read(project.results("tables")["tables/cross/images.csv"]), read(before["tables/cross/images.csv"])
    alone = alone[alone.index.get_level_values("method") != "dfa"]
    pd.testing.assert_series_equal(joint, alone, rtol=TOLERANCE, atol=0, check_exact=False)

    project.make("--config", "seeds_per_job=1", "experiments=teacher", "--", "results/tables/cross/teacher.csv")
    alone, joint = read(project.results("tables")["tables/cross/teacher.csv"]), read(before["tables/cross/teacher.csv"])
    pd.testing.assert_series_equal(alone, joint, rtol=TOLERANCE, atol=0, check_exact=False)

    project.forget_blocks()
    project.make("all")
    assert project.results("tables") == before


def test_what_a_job_computed_does_not_depend_on_when_and_where_it_ran(finished: Checkout, tmp_path: Path):
    """The very command of a job, typed by hand elsewhere, with the finished result as its spec."""
    for name in sorted(teacher("bp") | images("fa", seeds=1, search=False)):
        result = finished.path(name)
        inputs = [finished.path("data/digits.npz"), result.with_name("choice.json")] if "images" in name else []
        out = tmp_path / result.name
        done = finished.script("train", result, out, *inputs, "--device", "cpu")
        assert done.status == 0, done.text
        old, new = (path.read_text(encoding="utf-8").splitlines() for path in (result, out))
        assert new[1:-1] == old[1:-1]
        header, before = json.loads(new[0]), json.loads(old[0])
        assert header["spec"] == before["spec"]
        assert header["provenance"]["modules"] == before["provenance"]["modules"]
        assert header["provenance"].get("data") == before["provenance"].get("data")
        assert ("data" in before["provenance"]) == ("images" in name)  # which arrays it saw


def records(path: Path) -> list[dict]:
    """Records of a result file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:-1]]


def test_a_member_that_diverges_is_recorded_and_the_others_go_on_as_if_alone(finished: Checkout, tmp_path: Path):
    spec = json.loads(finished.path(min(teacher("bp"))).read_text(encoding="utf-8").partition("\n")[0])["spec"]
    del spec["train"]["optimizer"]["lr"]
    found = {}
    for name, rates in {"alone": [0.01, 0.02], "among": [0.01, 1e30, 0.02]}.items():
        out = tmp_path / f"{name}.jsonl"
        text = json.dumps({**spec, "vary": {"train.optimizer.lr": rates}})
        done = finished.script("train", text, out)
        assert done.status == 0, done.text
        found[name] = records(out)
    assert "2 of 6 members diverged" in done.text
    lost = [r for r in found["among"] if r["lr"] == 1e30]
    diverged = [r for r in lost if r["metric"] == "diverged"]
    assert sorted(r["seed"] for r in diverged) == [0, 1]
    assert all(r["value"] < 20 for r in diverged)  # at which update
    others = [r for r in found["among"] if r["lr"] != 1e30]
    frame = [
        pd.DataFrame(rows).sort_values(["lr", *MEMBER[2:]], ignore_index=True) for rows in (others, found["alone"])
    ]
    pd.testing.assert_frame_equal(*frame, rtol=TOLERANCE, atol=0, check_exact=False)
    assert not (frame[0]["metric"] == "diverged").any()


def test_a_diverged_run_is_counted_in_the_table_and_left_out_of_its_mean(project: Checkout):
    def explode(content: dict) -> None:
        content["methods"]["fa"] = {"train": {"optimizer": {"lr": 1.0e30}}}
        content["tables"] = {"table3": {"options": {"metric": "test_loss"}}}

    before = project.results("tables")["tables/cross/teacher.csv"]
    project.configure("teacher", explode)
    project.make("results/tables/cross/table3.csv", "results/figures/fig3.pdf")
    table = pd.read_csv(project.path("tables/cross/table3.csv")).set_index("method")
    assert table.loc["fa", ["n", "diverged"]].tolist() == [0, 2]
    assert table.loc["bp", ["n", "diverged"]].tolist() == [2, 0]
    now = project.results("tables")["tables/cross/teacher.csv"]
    assert [line for line in now.splitlines() if b",bp," in line] == [
        line for line in before.splitlines() if b",bp," in line
    ]


def test_the_first_lines_say_what_the_targets_of_the_call_cost(pristine: Checkout, tmp_path: Path):
    project = pristine.copy(tmp_path / "project")
    project.edit("src/credit/dag/cost.py", "ANNOUNCE = 3600.0", "ANNOUNCE = 0.0")
    one, both = min(teacher("fa")), sorted(f"results/{name}" for name in teacher("bp", "fa"))
    assert "to be trained in this call: 1 job, 2 networks trained" in project.make(f"results/{one}")
    assert "to be trained in this call: 1 job, 2 networks trained" in project.make(*both)
    text = project.make("results/data/digits.npz")
    assert "credit: scale paper" in text and "to be trained" not in text
