"""Variations and longer runs on the DAG: what is trained, what comes out of the store, what Snakemake loads for it."""

from __future__ import annotations

import sys

from credit.provenance.records import read_result
from tests.workflow.checkout import Checkout, snakemake

TABLE = "results/tables/cross/teacher.csv"
VARIED = ("--run", "small", "--set", "fa:hyper.feedback_scale=0.25")
NARROWED = ("--config", "methods=bp,fa")
CELLS = "cross/teacher/teacher"


def log(project: Checkout, method: str) -> str:
    return project.path(f"small/logs/train/{CELLS}/{method}/shard0.log").read_text(encoding="utf-8")


def test_only_what_is_varied_is_trained_and_more_epochs_go_on_from_its_end(project: Checkout):
    done = project.credit("run", TABLE, *VARIED, *NARROWED, "keep=state")
    assert done.status == 0, done.text
    run = project.path(f"small/runs/{CELLS}/fa/shard0.jsonl")
    assert "taken from the store" not in log(project, "fa")
    assert read_result(run)[0]["spec"]["rule"]["feedback_scale"] == 0.25
    assert project.credit("why", str(run.relative_to(project.root)), *VARIED).text.strip() == "up to date"
    project.configure("teacher", lambda content: content["train"].update(epochs=3))
    done = project.credit("run", TABLE, *VARIED, *NARROWED)
    assert done.status == 0, done.text
    assert "goes on from the end of a run of 2 epochs that differs in nothing else" in log(project, "fa")
    assert {record["epoch"] for record in read_result(run)[1]} == {0, 1, 2, 3}


def test_what_is_not_varied_comes_out_of_the_store(project: Checkout):
    done = project.credit("run", TABLE, *VARIED, *NARROWED)
    assert done.status == 0, done.text
    assert "taken from the store" in log(project, "bp")
    assert "taken from the store" not in log(project, "fa")
    of_small, plain = (project.path(f"{run}runs/{CELLS}/bp/shard0.jsonl") for run in ("small/", ""))
    assert of_small.read_bytes() == plain.read_bytes()


def test_a_call_with_nothing_to_do_does_not_load_pandas(project: Checkout):
    done = project.call(sys.executable, "-X", "importtime", *snakemake("-n", "--", TABLE)[1:])
    assert "Nothing to be done" in done.text
    loaded = {line.rpartition("|")[2].strip() for line in done.text.splitlines() if line.startswith("import time:")}
    assert "credit.dag.targets" in loaded
    assert not loaded & {"pandas", "torch", "matplotlib", "optuna"}
