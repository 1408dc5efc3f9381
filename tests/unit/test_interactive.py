"""Experiments from Python: specs of the workflow's own jobs, trained in this process; and the page about it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest
import torch

import credit
from credit.dag.commands import configuration
from credit.dag.targets import Workflow
from credit.data import catalog
from credit.errors import ConfigError
from credit.interactive import data, runs, specs
from credit.training import kept, weights
from tests.conftest import REPOSITORY
from tests.unit.test_train import make_spec, trained
from tests.unit.test_weights import keep, start_from


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder without a configuration, and data sets in one of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "root", lambda: tmp_path)


def quiet(spec, **more):
    return credit.train(spec, log=io.StringIO(), **more)


def test_a_spec_is_that_of_the_workflows_job_of_the_same_seeds():
    for scale, place in (
        ("paper", ("dfc/benchmarks", "mnist", "dfc_ssa")),
        ("quick", ("cross/images", "digits", "bp")),
    ):
        files = [catalog.ROOT / "config" / f"{scale}.yaml"] if scale == "quick" else []
        workflow = Workflow(configuration(files, [], catalog.ROOT), catalog.ROOT)
        name, dataset, method = place
        spec = workflow.train_spec(*place, 0)
        assert credit.experiment(name, dataset=dataset, method=method, seeds=spec["seeds"], scale=scale) == spec
        assert credit.experiment(name, dataset=dataset, method=method, scale=scale)["seeds"] == [
            *range(workflow.experiment(name).seeds)
        ]


def test_names_may_be_left_out_where_there_is_one_and_numbers_stand_for_seeds():
    spec = credit.experiment("cross/student_teacher", method="bp", seeds=3, config={"epochs": 2})
    (only,) = specs.present().defined["cross/student_teacher"].body["datasets"]
    assert (spec["dataset"], spec["seeds"], spec["train"]["epochs"]) == (only, [0, 1, 2], 2)


WRONG = {
    "experiment": ({"name": "dfc/benchmark"}, r"^experiment = 'dfc/benchmark' \(did you mean 'dfc/benchmarks'\?\)"),
    "dataset": ({"dataset": "mnits"}, r"^dataset = 'mnits' \(did you mean 'mnist"),
    "no dataset": ({"dataset": None}, r"^dataset = None; must be one of"),
    "method": ({"method": "dfc_sa"}, r"^method = 'dfc_sa' \(did you mean"),
    "seeds": ({"seeds": 0}, r"^seeds = 0; must be a number > 0"),
    "a seed": ({"seeds": [0, -1]}, r"^seeds = \[0, -1\]"),
    "scale": ({"scale": "small"}, r"^scale = 'small'; must be one of: paper, quick$"),
    "config": ({"config": {"epoch": 2}}, r"unknown key 'epoch'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_names_are_refused_in_one_line(what):
    given, message = WRONG[what]
    right = {"name": "dfc/benchmarks", "dataset": "mnist", "method": "dfc_ssa", "seeds": 1}
    with pytest.raises(ConfigError, match=message) as error:
        credit.experiment(**{**right, **given})
    assert "\n" not in str(error.value)


def test_a_training_here_is_the_training_of_a_job():
    spec = make_spec("fa", lr=0.01, momentum=0.9)
    torch.set_num_threads(2)
    before = json.dumps(spec)
    found = quiet(spec)
    assert (torch.get_num_threads(), json.dumps(spec)) == (2, before)
    job = trained(spec)
    assert found.records.to_dict("records") == job.records
    assert found.members == [{"seed": 0}, {"seed": 1}]
    for block, entries in job.learner.params.items():
        assert all(torch.equal(found.params[block][name], value) for name, value in entries.items())
    expected = kept.predicted(job)
    assert all(torch.equal(found.predictions[s]["outputs"], expected[s]["outputs"]) for s in expected)
    assert torch.equal(found.optimizer["steps"], job.learner.opt.state_dict()["steps"])


def test_who_diverged_has_nan_for_weights():
    found = quiet(make_spec(vary={"train.optimizer.lr": [0.01, 1e30]}, seeds=(0,)))
    assert found.diverged == [False, True]
    assert found.params["0"]["weight"][1].isnan().all()


def test_searched_values_must_be_given_and_reach_their_places(tmp_path):
    spec = {**make_spec(), "searched": ["train.optimizer.lr"]}
    with pytest.raises(ConfigError, match=r"must be the values of \['train.optimizer.lr'\]; a search chooses them"):
        quiet(spec)
    with pytest.raises(ConfigError, match="nothing of this spec is searched"):
        quiet(make_spec(lr=0.1), chosen={"train.optimizer.lr": 0.1})
    found = quiet(spec, chosen={"train.optimizer.lr": 0.03})
    assert found.records.to_dict("records") == trained(make_spec(lr=0.03)).records
    assert (found.chosen, found.spec) == ({"train.optimizer.lr": 0.03}, spec)


def test_a_run_starts_from_kept_weights(tmp_path):
    upstream = make_spec(lr=0.05)
    path, first = keep(tmp_path, upstream)
    found = quiet(start_from(make_spec("fa", lr=0.01, epochs=0), upstream), start=[path])
    assert all(torch.equal(t, first.learner.params[b][n]) for b, e in found.params.items() for n, t in e.items())
    with pytest.raises(ConfigError, match="no weights of toy/pre/near/bp"):
        quiet(start_from(make_spec("fa", lr=0.01, epochs=0), upstream))
    assert weights.read(path).diverged == [False, False]


def test_a_data_set_is_prepared_once_where_the_workflow_looks_for_it(tmp_path, capsys):
    path = data.prepared("digits")
    assert path == tmp_path / "results" / "data" / "digits.npz"
    assert "digits: is fetched and prepared in" in capsys.readouterr().err
    made = path.stat().st_mtime_ns
    assert data.prepared("digits").stat().st_mtime_ns == made
    assert (tmp_path / "results/data/raw/digits.json").exists()
    assert capsys.readouterr().err == ""


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    text = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    first, own, load = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(first.strip().splitlines()) <= 10
    monkeypatch.setattr(runs, "prepared", data.prepared)
    scope: dict = {}
    exec(first.replace('"mnist"', '"digits"').replace("seeds=[0]", 'seeds=[0], scale="quick"'), scope)
    run = scope["run"]
    assert run.spec["method"] == "dfc_ssa"
    assert list(scope["errors"].columns) == ["seed", "epoch", "step", "metric", "layer", "value"]
    assert run.predictions["test"]["outputs"].shape == (1, 360, 10)
    exec(own, scope)
    x = torch.randn(5, 1, 8, 8)
    assert torch.allclose(scope["trained"](x), scope["net"].predict(scope["params"], x), atol=1e-6)
    assert not torch.equal(scope["trained"][1].weight, scope["model"][1].weight)
    assert 'credit.load("results/runs/dfc/benchmarks/mnist/dfc_ssa/shard0.jsonl")' in load


def test_importing_credit_and_making_a_spec_loads_no_torch():
    code = (
        "import sys, credit; credit.experiment('dfc/benchmarks', dataset='mnist', method='dfc_ssa', seeds=1); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
