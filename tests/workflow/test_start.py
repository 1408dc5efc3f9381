"""A run that starts from another one's weights, on the DAG: what a change reruns, and what a kill leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.checkout import JUDGED, Checkout, checkpoints, snakemake, wait_for
from tests.workflow.conftest import once

TABLE = "results/tables/cross/drift.csv"
TABLES = {"tables/cross/drift.csv"}
PRE = ("tables/cross/teacher.csv", TABLE.removeprefix("results/"))


def up(*shards: int, method: str = "bp") -> set[str]:
    return {f"runs/cross/teacher/teacher/{method}/shard{i}.jsonl" for i in shards}


def down(*shards: int, method: str = "fa") -> set[str]:
    return {f"runs/cross/drift/teacher/{method}/shard{i}.jsonl" for i in shards}


def prepare(checkout: Checkout) -> None:
    """`teacher` keeps bp's weights, two seeds a job; `drift` starts from them, three a job; one method from one run."""

    def keep(content: dict) -> None:
        content |= {"seeds": 4, "figures": {}, "probes": []}
        content["methods"]["bp"]["keep"] = ["weights"]

    def start(content: dict) -> None:
        content |= {"seeds_per_job": 3, "start": {"experiment": "cross/teacher", "method": "bp"}}
        content["methods"] = {"fa": {}, "bp-one": {"rule": "bp", "start": {"seed": 2}}}

    checkout.configure("teacher", keep)
    checkout.experiment("drift").write_text(
        checkout.experiment("teacher").read_text(encoding="utf-8"), encoding="utf-8"
    )
    checkout.configure("drift", lambda content: content["methods"]["bp"].pop("keep"))
    checkout.configure("drift", start)
    checkout.experiment("images").unlink()


def make(folder: Path, pristine: Checkout) -> None:
    checkout = pristine.copy(folder)
    prepare(checkout)
    checkout.make(TABLE, "results/tables/cross/teacher.csv")


@pytest.fixture(scope="session")
def drifted(shared: Path, pristine: Checkout) -> Checkout:
    """The two experiments, run to the end; for copying only."""
    return Checkout(once(shared / "drifted", lambda folder: make(folder, pristine)))


@pytest.fixture
def drift(drifted: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    checkout = drifted.copy(tmp_path / "drift")
    yield checkout
    checkout.stop()


def planned(checkout: Checkout, *more: str) -> set[str]:
    return checkout.planned(*more, "--", TABLE, "results/tables/cross/teacher.csv")


def records(checkout: Checkout, name: str) -> list[dict]:
    lines = checkout.path(name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[1:-1]]


def test_the_first_evaluation_of_every_run_equals_the_last_one_of_the_run_with_its_seed(drift: Checkout):
    def at(names: set[str], epoch: int) -> dict:
        rows = [r for name in names for r in records(drift, name) if r["epoch"] == epoch]
        return {(r["seed"], r["metric"]): r["value"] for r in rows if r["metric"] in ("test_loss", "validation_loss")}

    last, first = at(up(0, 1), 2), at(down(0, 1), 0)
    assert len(first) == 8
    assert first == last
    one = at(down(0, 1, method="bp-one"), 0)
    assert {seed for seed, _ in one} == {0, 1, 2, 3}
    rows = [r for r in records(drift, min(down(0, method="bp-one"))) if r["epoch"] == 0 and r["seed"] == 2]
    assert {r["metric"]: r["value"] for r in rows if "loss" in r["metric"]} == {
        metric: value for (seed, metric), value in last.items() if seed == 2
    }
    assert planned(drift) == set()


def test_an_edit_upstream_reruns_both(drift: Checkout):
    drift.configure("teacher", lambda c: c["methods"]["bp"]["train"]["optimizer"].update(lr=0.04))
    both = down(0, 1) | down(0, 1, method="bp-one")
    assert planned(drift) == up(0, 1) | both | set(PRE)
    done = drift.credit("why", f"results/{min(down(0))}")
    assert (done.status, done.text) == (1, "start.spec.train.optimizer.lr: 0.05 -> 0.04\n")


def test_an_edit_downstream_reruns_one(drift: Checkout):
    drift.configure("drift", lambda c: c["methods"].update(fa={"train": {"optimizer": {"lr": 0.02}}}))
    assert planned(drift) == down(0, 1) | TABLES


def test_an_edit_of_the_code_upstream_reruns_both_and_why_names_it(drift: Checkout):
    drift.configure("drift", lambda c: c.update(methods={"fa": {}}))
    drift.make(TABLE)
    drift.change_code("src/credit/methods/bp.py")
    assert planned(drift) == up(0, 1) | down(0, 1) | set(PRE)
    done = drift.credit("why", f"results/{min(down(0))}")
    assert "start: module credit.methods.bp: changed" in done.text.splitlines()


def test_another_method_upstream_is_none_of_its_business(drift: Checkout):
    drift.configure("teacher", lambda c: c["methods"].update(fa={"train": {"epochs": 3}}))
    assert planned(drift) == up(0, 1, method="fa") | {"tables/cross/teacher.csv"}


def test_more_seeds_add_shards_and_leave_full_ones_alone(drift: Checkout):
    for name in ("teacher", "drift"):
        drift.configure(name, lambda c: c.update(seeds=6))
    # downstream, shard 1 held seed 3 alone
    assert planned(drift) == up(2) | up(2, method="fa") | down(1) | down(1, method="bp-one") | set(PRE)


def test_runs_cut_short_start_from_the_complete_ones_that_are_there(drift: Checkout):
    cut = ("--config", "seeds=3", "epochs=1")  # a run downstream starts from seed 2
    before = drift.results("runs")
    assert planned(drift, *cut) == set(PRE)
    drift.configure("drift", lambda c: c["methods"].update(fa={"train": {"optimizer": {"lr": 0.02}}}))
    short = {name.replace("shard0", "shard0.short") for name in down(0)}
    assert planned(drift, *cut) == short | set(PRE)
    drift.make(*cut, "--", TABLE)
    assert {name: drift.results("runs")[name] for name in before} == before
    assert {r["seed"] for r in records(drift, min(short))} == {0, 1, 2}


def test_weights_that_were_lost_are_made_again_with_the_same_bytes_so_that_nothing_else_reruns(drift: Checkout):
    lost = "runs/cross/teacher/teacher/bp/shard1.safetensors"
    before = drift.results("runs")
    drift.path(lost).unlink()
    drift.forget_blocks()
    done = drift.credit("verify")
    assert done.status == 1
    assert f"{lost.replace('safetensors', 'jsonl')}: stale: shard1.safetensors, the weights" in done.text
    drift.make(f"results/{lost}")
    assert drift.results("runs") == before
    assert planned(drift) == set()
    assert drift.credit("verify").status == 0


def test_what_is_asked_for_later_reruns_what_lacks_it_alone_and_changes_no_result(drift: Checkout):
    before, more = drift.results("runs", "tables"), ("--config", "keep=predictions,state")
    drift.make(*more, "--", "results/runs/cross/teacher/teacher/bp/shard0.jsonl")
    now = drift.results("runs", "tables")
    kept = {f"runs/cross/teacher/teacher/bp/shard0.{kind}.safetensors" for kind in ("predictions", "state")}
    assert now.keys() - before.keys() == kept
    assert {name: now[name] for name in before} == before
    assert planned(drift) == set()
    lacking = up(1) | up(0, 1, method="fa") | down(0, 1) | down(0, 1, method="bp-one")
    assert planned(drift, *more) - set(PRE) == lacking
    drift.make(*more, "--", TABLE)
    now = drift.results("runs", "tables")
    assert {name: now[name] for name in before} == before
    assert planned(drift) == set()
    assert "0 stale, 0 damaged, 12 not part" in drift.credit("verify").text


def test_narrowed_away_by_name_it_is_trained_all_the_same_but_its_table_is_not_asked_for(
    pristine: Checkout, tmp_path: Path
):
    checkout = pristine.copy(tmp_path / "narrow")
    prepare(checkout)
    narrow = ("--config", "experiments=drift", "methods=fa")
    expected = up(0, 1) | down(0, 1) | TABLES | JUDGED
    assert checkout.planned(*narrow, "--", "all") == expected
    assert checkout.planned(*narrow, "seeds=1", "--", TABLE) == up(0) | down(0) | TABLES
    checkout.make(*narrow, "seeds=1", "--", TABLE)
    assert {r["seed"] for r in records(checkout, min(down(0)))} == {0}
    done = checkout.credit("verify", "--config", "experiments=drift", "methods=fa", "seeds=1")
    assert (done.status, done.text.splitlines()[-1].split(";")[0]) == (
        0, "4 results: 4 good, 0 stale, 0 damaged, 0 not part of the present configuration",
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_from_its_checkpoint_and_gives_the_same_bytes(drift: Checkout, tmp_path: Path):
    def lengthen(content: dict) -> None:
        content["train"] |= {"epochs": 600, "evaluate": {"every": 200}}
        content["methods"] = {"fa": {}}

    drift.edit("workflow/scripts/train.py", "default=60.0", "default=0.1")
    drift.make("results/tables/cross/teacher.csv")
    drift.configure("drift", lengthen)
    other = drift.copy(tmp_path / "undisturbed")
    process = drift.start(*snakemake("--cores", "2", TABLE))
    wait_for(lambda: [p for p in checkpoints(drift) if "drift" in str(p)], process)
    drift.stop()
    drift.make("--unlock")
    text = drift.make(TABLE)
    assert "train_keeping_weights" not in text, "upstream was finished"
    logs = [p.read_text(encoding="utf-8") for p in drift.path("logs/train/cross/drift").rglob("*.log")]
    assert any("resumed at epoch" in log for log in logs), logs
    other.make(TABLE)
    assert drift.results("tables") == other.results("tables")
    assert checkpoints(drift) == []


def test_weights_that_do_not_fit_end_in_one_line_before_any_job(drift: Checkout):
    drift.configure("drift", lambda c: c["net"].update(hidden_sizes=[7]))
    done = drift.snakemake("-n", "--", TABLE)
    assert done.status != 0
    problem = "start: net: parameter 0.weight is 7 x 5, that of bp on teacher of cross/teacher is 6 x 5"
    assert f"drift.yaml: methods.fa: {problem}" in done.text
