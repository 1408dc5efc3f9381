"""A search whose trials are drawn, in a workflow: beside one over a grid, killed, and without its package."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.checkout import JOB, PATIENCE, Checkout, checkpoints, snakemake, wait_for

TABLE = "results/tables/cross/images.csv"
PLACE = "runs/cross/images/digits"
ONE = ("--config", "methods=bp,fa", "seeds=1", "--")
LR = "train.optimizer.lr"
SPACE = {"vary": None, "space": {LR: {"low": 1e-4, "high": 0.1, "log": True}}, "trials": 6, "parallel": 2, "epochs": 40}


@pytest.fixture
def drawing(pristine: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """The tiny experiments, not yet run; the search of bp draws its trials, that of fa has a grid."""
    checkout = pristine.copy(tmp_path / "project")
    checkout.configure("images", lambda content: content["methods"].update(bp={"search": SPACE}))
    yield checkout
    checkout.stop()


def test_a_workflow_draws_trials_beside_a_grid_and_goes_on_after_a_kill(drawing: Checkout, tmp_path: Path):
    undisturbed = drawing.copy(tmp_path / "undisturbed")
    said = undisturbed.make(*ONE, TABLE)
    assert sorted(name for name, _ in JOB.findall(said) if "settings" in name) == ["sample_settings", "search_settings"]
    whole = undisturbed.results("runs", "tables")
    assert whole[f"{PLACE}/fa/choice.json"]
    choice = json.loads(whole[f"{PLACE}/bp/choice.json"])
    assert [s["trial"] for s in choice["scores"]] == list(range(6))
    run = json.loads(whole[f"{PLACE}/bp/shard0.jsonl"].partition(b"\n")[0])
    assert run["chosen"] == choice["choice"]
    assert undisturbed.planned(*ONE, TABLE) == set()
    for question in (("why", f"results/{PLACE}/bp/choice.json"), ("verify", f"results/{PLACE}/bp/choice.json")):
        assert undisturbed.credit(*question).status == 0

    process = drawing.start(*snakemake("--cores", "1", *ONE, f"results/{PLACE}/bp/choice.json"))
    wait_for(drawing.path(f"{PLACE}/bp/choice.json.ckpt").exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert not drawing.path(f"{PLACE}/bp/choice.json").exists()
    drawing.make("--unlock")
    drawing.make(*ONE, TABLE)
    log = drawing.path("logs/sample_settings/cross/images/digits/bp.log").read_text()
    assert "resumed after" in log
    assert drawing.results("runs")[f"{PLACE}/bp/choice.json"] == whole[f"{PLACE}/bp/choice.json"]
    assert drawing.results("tables") == undisturbed.results("tables")
    assert checkpoints(drawing) == []


def test_a_package_that_is_missing_is_named_before_any_job_and_where_nothing_is_drawn_not_at_all(drawing: Checkout):
    drawing.edit("src/credit/config/space.py", 'OPTUNA = "5.0.0"', 'OPTUNA = "4.9.0"')
    done = drawing.snakemake("--cores", "1", *ONE, TABLE)
    line = "cross/images/digits/bp: search.sampler = 'tpe'; needs the package optuna 4.9.0, this environment has 5.0.0"
    assert (done.status, line in done.text, "Traceback" in done.text) == (1, True, False), done.text
    assert not drawing.path("runs").exists()
    assert not drawing.path("data").exists()
    drawing.make("--config", "methods=fa", "seeds=1", "--", f"results/{PLACE}/fa/choice.json")
