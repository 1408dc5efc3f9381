"""Runs that start from the weights of others, before any job: what is needed, what a spec says, what is refused."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_checkout import FIT, REPOSITORY, SEARCH, Checkout, put

from credit.config.files import overlay
from credit.dag import audit, commands, transport
from credit.dag.cost import job_cost, needed_jobs, plan
from credit.errors import ConfigError
from credit.provenance.records import read_result, write_result
from credit.provenance.spec import canonical_json
from credit.training import weights

PRE = overlay(FIT, {"keep": ["weights"], "figures": None, "tables": None, "seeds_per_job": 2})
PRE = {k: v for k, v in PRE.items() if v is not None}
FROM = {"start": {"experiment": "toy/pre", "method": "bp"}}


def checkout(folder: Path, pre: dict | None = None, **changes: Any) -> Checkout:
    """`toy/fit`, whose method fa starts from the weights of bp in `toy/pre`; `changes` are laid over it."""
    after = overlay(FIT, {"methods": {"fa": FROM}}, changes)
    return Checkout(folder, {"toy/pre": overlay(PRE, pre or {}), "toy/fit": after})


def start(workflow, shard: int = 0, dataset: str = "near") -> dict:
    return workflow.train_spec("toy/fit", dataset, "fa", shard)["start"]


def files(workflow, shard: int = 0, dataset: str = "near") -> list[str]:
    """Inputs of a job, below runs/toy/pre/."""
    seeds = workflow.experiment("toy/fit").shard_seeds(shard)
    names = workflow.weights_paths(("toy/fit", dataset, "fa"), seeds)
    return [name.removeprefix("results/runs/toy/pre/") for name in names]


# ---- which weights


def test_what_start_leaves_out_is_that_of_the_run_itself(tmp_path):
    workflow = checkout(tmp_path).workflow()
    found = start(workflow, dataset="far")
    assert {k: found[k] for k in ("experiment", "dataset", "method", "seed")} == {
        "experiment": "toy/pre", "dataset": "far", "method": "bp", "seed": "paired",
    }  # fmt: skip
    assert files(workflow, dataset="far") == ["far/bp/shard0.safetensors"]


def test_start_and_keep_are_laid_together_like_everything_else(tmp_path):
    methods = {"fa": {"start": {"method": "bp"}, "datasets": {"far": {"start": None}, "near": {"start": {"seed": 1}}}}}
    pre = {"keep": [], "methods": {"bp": {"keep": ["weights"]}}}
    workflow = checkout(tmp_path, pre, start={"experiment": "toy/pre", "seed": 0}, methods=methods).workflow()
    cells = {(d, m): workflow.cell("toy/fit", d, m).source for d in ("near", "far") for m in ("bp", "fa")}
    assert cells["far", "fa"] is None
    assert (cells["near", "fa"].place, cells["near", "fa"].seed) == (("toy/pre", "near", "bp"), 1)
    assert (cells["far", "bp"].place, cells["far", "bp"].seed) == (("toy/pre", "far", "bp"), 0)
    assert workflow.keeping == {("weights",): ["toy/pre/near/bp", "toy/pre/far/bp"]}


@pytest.mark.parametrize(
    ("seeds", "mine", "theirs", "shard", "expected"),
    [
        (5, 5, 2, 0, {0: [0, 1], 1: [2, 3], 2: [4]}),
        (6, 2, 3, 1, {0: [0, 1, 2], 1: [3, 4, 5]}),
        (6, 2, 3, 2, {1: [3, 4, 5]}),
        (4, 1, "all", 3, {0: [0, 1, 2, 3]}),
        (3, 1, 1, 2, {2: [2]}),
    ],
)
def test_runs_are_paired_by_seed_when_shards_are_cut_differently(tmp_path, seeds, mine, theirs, shard, expected):
    pre = {"seeds": seeds, "seeds_per_job": theirs}
    workflow = checkout(tmp_path, pre, seeds=seeds, seeds_per_job=mine).workflow()
    assert files(workflow, shard) == [f"near/bp/shard{i}.safetensors" for i in expected]
    assert start(workflow, shard)["runs"] == list(expected.values())


def test_one_run_may_serve_all_seeds(tmp_path):
    methods = {"fa": {"start": {"seed": 3}}}
    workflow = checkout(tmp_path, methods=methods, seeds=9, seeds_per_job=2).workflow()
    assert [files(workflow, shard) for shard in range(5)] == [["near/bp/shard1.safetensors"]] * 5
    assert start(workflow, 4)["runs"] == [[2, 3]]


def test_a_search_starts_from_the_weights_of_its_own_seeds(tmp_path):
    search = {"search": SEARCH | {"seeds": [0, 3]}, "train": {"optimizer": {"name": "sgd"}}}
    body = copy.deepcopy(FIT)
    del body["train"]["optimizer"]["lr"]
    folder = Checkout(
        tmp_path, {"toy/pre": PRE, "toy/fit": overlay(body, search, {"methods": {"fa": FROM, "bp": None}})}
    )
    workflow = folder.workflow()
    assert workflow.search_spec("toy/fit", "near", "fa")["start"]["runs"] == [[0, 1], [2, 3]]
    assert "start" not in workflow.search_spec("toy/fit", "near", "bp")


# ---- what a spec says


def test_the_upstream_spec_is_part_of_the_downstream_one(tmp_path):
    workflow = checkout(tmp_path).workflow()
    upstream = workflow.train_spec("toy/pre", "near", "bp", 1)
    assert start(workflow, 1)["spec"] == weights.cell_of(upstream)
    assert start(workflow, 1)["spec"].keys() >= {"code", "env", "train"}


CHANGES = {
    "a hyperparameter upstream": ({"train": {"optimizer": {"lr": 0.3}}}, {}, True, True),
    "a longer training upstream": ({"train": {"epochs": 5}}, {}, True, True),
    "other shards upstream": ({"seeds_per_job": 3}, {}, True, True),
    "a hyperparameter downstream": ({}, {"methods": {"fa": {"train": {"optimizer": {"lr": 0.3}}}}}, False, True),
    "another run for all": ({}, {"methods": {"fa": {"start": {"seed": 1}}}}, False, True),
    "more seeds in both": ({"seeds": 6}, {"seeds": 6}, False, False),
    "another method upstream": ({"methods": {"fa": {"train": {"epochs": 9}}}}, {}, False, False),
    "the title": ({"title": "New"}, {"title": "New"}, False, False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_upstream_changes_both_specs_and_a_change_downstream_one(tmp_path, change):
    pre, changes, upstream, downstream = CHANGES[change]
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    before, after = checkout(tmp_path / "before").workflow(), checkout(tmp_path / "after", pre, **changes).workflow()
    for place, changed in ((("toy/pre", "near", "bp"), upstream), (("toy/fit", "near", "fa"), downstream)):
        # a shard cut differently has other seeds too
        specs = [canonical_json(w.train_spec(*place, 0)) for w in (before, after)]
        assert (specs[0] != specs[1]) == changed, place
    specs = [canonical_json(w.collect_spec("toy/fit")) for w in (before, after)]
    assert (specs[0] != specs[1]) == (downstream or "seeds" in changes)


def test_specs_of_runs_that_keep_nothing_and_start_from_nothing_do_not_speak_of_it(tmp_path):
    spec = Checkout(tmp_path).workflow().train_spec("toy/fit", "near", "bp", 0)
    assert not {"keep", "start"} & spec.keys()


# ---- narrowing, plan


@pytest.mark.parametrize("narrow", [{"experiments": "fit"}, {"methods": "fa"}, {"methods": "fa", "experiments": "fit"}])
def test_what_is_started_from_is_needed_also_where_it_is_narrowed_away(tmp_path, narrow):
    workflow = checkout(tmp_path, {"methods": {"fa": None}} if "methods" in narrow else None).workflow(**narrow)
    assert files(workflow) == ["near/bp/shard0.safetensors"]
    assert not [p for p in workflow.artefact_paths() if "bp" in p or ("experiments" in narrow and "pre" in p)]
    assert workflow.run_spec("results/runs/toy/pre/near/bp/shard0.jsonl")["method"] == "bp"
    needed = needed_jobs(workflow, "all")
    names = [f"results/runs/toy/pre/{d}/bp/shard{i}.jsonl" for d in ("near", "far") for i in (0, 1)]
    assert [path for path, _ in needed["toy/pre"] if "/bp/" in path] == names
    assert "toy/pre/near/bp" in workflow.keeping[("weights",)]


def test_narrowing_to_one_seed_needs_one_seed_upstream(tmp_path):
    workflow = checkout(tmp_path).workflow(seeds=1)
    assert start(workflow)["runs"] == [[0]]
    assert workflow.train_spec("toy/pre", "near", "bp", 0)["seeds"] == [0]


def test_a_plan_counts_upstream_jobs_and_the_weights_that_they_keep(tmp_path):
    workflow = checkout(tmp_path).workflow()
    path = "results/runs/toy/fit/near/fa/shard1.jsonl"
    needed = needed_jobs(workflow, path)
    assert {key: [p for p, _ in jobs] for key, jobs in needed.items()} == {
        "toy/fit": [path], "toy/pre": ["results/runs/toy/pre/near/bp/shard1.jsonl"],
    }  # fmt: skip
    kept = "results/runs/toy/pre/near/bp/shard1.safetensors"
    assert [p for p, _ in needed_jobs(workflow, kept)["toy/pre"]] == [kept.replace("safetensors", "jsonl")]
    assert [(part.experiment, part.whole.jobs) for part in plan(workflow, path).parts] == [
        ("toy/fit", 1),
        ("toy/pre", 1),
    ]
    spec = workflow.run_spec(kept)
    parameters = 3 * 4 + 4 + 4 * 2 + 2
    assert job_cost(spec, ["weights"]).disk - job_cost(spec).disk == 2 * 8 * parameters


# ---- refused


def refused(folder: Path, message: str, pre: dict | None = None, config: dict | None = None, **changes: Any) -> None:
    with pytest.raises(ConfigError) as error:
        checkout(folder, pre, **changes).workflow(**(config or {}))
    lines = str(error.value).splitlines()
    assert len(lines) == 1, lines
    assert lines[0] == f"{folder}/config/experiments/toy/fit.yaml: methods.fa: {message}".replace("PATH", str(folder))


def fa(**start: Any) -> dict:
    return {"fa": {"start": start}}


REFUSED = {
    "an unknown experiment": (
        "start.experiment = 'toy/prä' (did you mean 'toy/pre'?); must be one of: toy/fit, toy/pre",
        {}, {"methods": fa(experiment="toy/prä")},
    ),
    "an unknown method": (
        "start.method = 'bpp' (did you mean 'bp'?); must be one of: bp, fa", {}, {"methods": fa(method="bpp")},
    ),
    "an unknown data set": (
        "start.dataset = 'nea' (did you mean 'near'?); must be one of: far, near", {}, {"methods": fa(dataset="nea")},
    ),
    "weights that are not kept": (
        "start leads to bp on near of toy/pre, which keeps no weights; write keep: [weights] in "
        "PATH/config/experiments/toy/pre.yaml",
        {"keep": []}, {"methods": fa(dataset="near")},
    ),
    "itself": (
        "start leads back to fa on near of toy/fit, which is itself; name another experiment, data set or method",
        {}, {"methods": {"fa": {"start": None, "datasets": {"near": {"start": {"seed": 0}}}}}},
    ),
    "a chain": (
        "start leads to bp on near of toy/pre, which itself starts from weights; a run may start only from one that "
        "does not",
        {"methods": {"bp": {"start": {"method": "fa"}}}}, {"methods": fa(dataset="near")},
    ),
    "a net of another shape": (
        "start: net: parameter 0.weight is 4 x 3, that of bp on near of toy/pre is 6 x 3",
        {"net": {"hidden_sizes": [6]}}, {"methods": {"fa": {"start": None, "datasets": {"near": FROM}}}},
    ),
    "inputs of another size": (
        "start: net: parameter 0.weight is 4 x 7, that of bp on near of toy/pre is 4 x 3", {},
        {"methods": fa(dataset="near")},
    ),
    "a net with fewer layers": (
        "start: net: parameter 1.weight is 2 x 4, that of bp on near of toy/pre is 5 x 4",
        {"net": {"hidden_sizes": [4, 5]}}, {"methods": {"fa": {"start": None, "datasets": {"near": FROM}}}},
    ),
    "a grid upstream": (
        "start leads to bp on near of toy/pre, which varies train.optimizer.momentum: each seed has several weights",
        {"vary": {"train.optimizer.momentum": [0.1, 0.2]}},
        {"methods": {"fa": {"start": None, "datasets": {"near": FROM}}}},
    ),
    "more seeds than upstream": (
        "start.seed = 'paired' with seeds = [0, 1, 2, 3]: toy/pre has no seed 2, 3, only 0 to 1", {"seeds": 2}, {},
    ),
    "a seed that is not there": (
        "start.seed = 4 with seeds = [0, 1, 2, 3]: toy/pre has no seed 4, only 0 to 3", {}, {"methods": fa(seed=4)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("problem", REFUSED)
def test_what_cannot_be_is_refused_in_one_line_before_any_job(tmp_path, problem):
    message, pre, changes = REFUSED[problem]
    refused(tmp_path, message, pre, **changes)


def test_two_cells_that_start_from_each_other_are_refused(tmp_path):
    pre = {"methods": {"bp": {"start": {"experiment": "toy/fit", "method": "fa"}}}}
    with pytest.raises(ConfigError) as error:
        checkout(tmp_path, pre).workflow()
    assert "start leads to bp on near of toy/pre, which itself starts from weights" in str(error.value)
    assert "start leads to fa on near of toy/fit, which itself starts from weights" in str(error.value)


def test_a_search_whose_seeds_are_not_run_upstream_is_refused(tmp_path):
    body = overlay(FIT, {"methods": {"fa": {**FROM, "search": SEARCH}}})
    del body["train"]["optimizer"]["lr"]
    body["methods"]["bp"] = {"train": {"optimizer": {"lr": 0.1}}}
    with pytest.raises(ConfigError) as error:
        Checkout(tmp_path, {"toy/pre": PRE, "toy/fit": body}).workflow()
    assert str(error.value) == (
        f"{tmp_path}/config/experiments/toy/fit.yaml: methods.fa: start.seed = 'paired' with search.seeds = "
        "[1000, 1001]: toy/pre has no seed 1000, 1001, only 0 to 3"
    )


def test_a_seed_that_only_narrowing_takes_away_is_refused_where_it_is_run_and_nowhere_else(tmp_path):
    folder = checkout(tmp_path, methods=fa(seed=3))
    with pytest.raises(ConfigError, match=r"start\.seed = 3 .* has no seed 3, only 0 to 0"):
        folder.workflow(seeds=1)
    assert folder.workflow(seeds=1, methods="bp").experiments.keys() == {"toy/pre", "toy/fit"}


@pytest.mark.parametrize("wrong", [{"keep": ["weight"]}, {"methods": fa(seed="pair")}, {"methods": fa(shard=1)}])
def test_a_misspelt_key_or_value_is_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=r"toy/fit\.yaml: (keep|methods\.fa)"):
        checkout(tmp_path, **wrong).workflow()


# ---- why, verify


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A checkout in which the runs of shard 0 are there, with weights as a job writes them."""
    folder = checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    workflow = folder.workflow()
    upstream, mine = (f"results/runs/toy/{name}/shard0.jsonl" for name in ("pre/near/bp", "fit/near/fa"))
    put(workflow, upstream)
    header = json.loads(Path(upstream).read_text().splitlines()[0])
    params = {"0": {"weight": torch.zeros(2, 4, 3, dtype=torch.float64)}}
    weights.write(Path(upstream).with_suffix(".safetensors"), header, params, [True, True])
    put(workflow, mine)
    first, records = read_result(mine)
    first["provenance"]["start"] = {"modules": header["provenance"]["modules"]}
    write_result(mine, first, records)
    return folder, Path(upstream), Path(mine)


def verdicts(workflow, *paths: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(v.kind, v.lines) for v in (audit.verify(workflow, path) for path in paths)]


def test_everything_that_was_made_is_good_and_weights_are_results_too(made, capsys):
    folder, upstream, mine = made
    kept = upstream.with_suffix(".safetensors")
    assert verdicts(folder.workflow(), upstream, kept, mine) == [("good", ())] * 3
    assert audit.reasons(folder.workflow(), kept) == []
    present = commands.Present((), (), folder.root)
    assert commands.show_verify(present, ["results"]) == 0
    assert "3 results: 3 good" in capsys.readouterr().out
    assert verdicts(folder.workflow(experiments="fit"), upstream, kept, mine) == [("good", ())] * 3
    assert verdicts(folder.workflow(experiments="pre", methods="fa"), upstream)[0][0] == "unknown"


def test_why_names_the_setting_that_changed_upstream(made):
    folder, upstream, mine = made
    folder.write("toy/pre", overlay(PRE, {"train": {"optimizer": {"lr": 0.25}}}))
    line = "train.optimizer.lr: 0.2 -> 0.25"
    assert audit.reasons(folder.workflow(), upstream) == [line]
    assert audit.reasons(folder.workflow(), upstream.with_suffix(".safetensors")) == [line]
    assert audit.reasons(folder.workflow(), mine) == [f"start.spec.{line}"]


def test_why_names_the_module_that_changed_upstream_alone(made):
    folder, _, mine = made
    text = mine.read_text().splitlines()
    header = json.loads(text[0])
    header["provenance"]["start"]["modules"]["credit.methods.bp"] = "0" * 16
    header["spec"]["start"]["spec"]["code"] = "1" * 16
    mine.write_text("\n".join([json.dumps(header), *text[1:]]) + "\n")
    assert audit.reasons(folder.workflow(), mine) == ["start: module credit.methods.bp: changed"]


def test_missing_and_foreign_weights_are_seen(made):
    folder, upstream, mine = made
    kept = upstream.with_suffix(".safetensors")
    kept.unlink()
    found = verdicts(folder.workflow(), upstream, mine)
    assert found[0] == ("stale", ("shard0.safetensors, the weights that it keeps: missing",))
    assert found[1] == ("stale", ("start: toy/pre/near/bp/shard0.safetensors: missing",))
    assert plan(folder.workflow(), str(mine)).missing.jobs == 1
    assert audit.reasons(folder.workflow(), upstream) == ["shard0.safetensors, the weights that it keeps: missing"]
    spec = json.loads(upstream.read_text().splitlines()[0])["spec"] | {"seeds": [5, 6]}
    header = {"spec": spec, "chosen": {}, "provenance": {"modules": {}}}
    weights.write(kept, header, {"0": {"weight": torch.zeros(2, 1)}}, [True, True])
    assert verdicts(folder.workflow(), upstream) == [("damaged", ("shard0.safetensors beside it is of another spec",))]
    kept.write_bytes(kept.read_bytes()[:-4])
    assert audit.verify(folder.workflow(), kept).kind == "damaged"


def test_a_run_travels_with_the_weights_that_it_started_from(made):
    folder, upstream, mine = made
    workflow, everything, alone = folder.workflow(), Path("all.tar.xz"), Path("alone.tar.xz")
    before = {path: path.read_bytes() for path in (upstream, upstream.with_suffix(".safetensors"), mine)}
    assert transport.export(workflow, str(mine), everything, stale=False, overwrite=False) == 3
    name = mine.relative_to("results").as_posix()
    transport.pack(alone, {"target": name, "scale": "paper"}, {name: (mine, {})})
    shutil.rmtree("results")
    refused = transport.take_in(workflow, alone, stale=False, overwrite=False).refused
    assert refused == {mine: "stale: start: toy/pre/near/bp/shard0.safetensors: missing"}
    assert set(transport.take_in(workflow, everything, stale=False, overwrite=False).placed) == before.keys()
    assert {path: path.read_bytes() for path in before} == before
    mine.unlink()
    assert transport.take_in(workflow, alone, stale=False, overwrite=False).placed == [mine]


# ---- the scripts


def script(name: str, spec: dict, *paths: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, REPOSITORY / "workflow" / "scripts" / f"{name}.py", json.dumps(spec), *paths]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.mark.slow
def test_search_and_training_start_from_the_same_weights_and_a_search_says_when_they_diverged(tmp_path):
    body = overlay(FIT, {"methods": {"fa": {**FROM, "search": SEARCH | {"seeds": [0, 1]}}, "bp": {"search": None}}})
    del body["train"]["optimizer"]["lr"]
    body["methods"]["bp"]["train"] = {"optimizer": {"lr": 0.1}}
    workflow = Checkout(tmp_path, {"toy/pre": PRE, "toy/fit": body}).workflow()
    kept, choice, out = (tmp_path / name for name in ("pre.safetensors", "choice.json", "fit.jsonl"))
    search, train = workflow.search_spec("toy/fit", "near", "fa"), workflow.train_spec("toy/fit", "near", "fa", 0)
    made = [
        script("train", workflow.train_spec("toy/pre", "near", "bp", 0), tmp_path / "pre.jsonl", "--outputs", kept),
        script("search", search, choice, kept),
        script("train", train, out, choice, kept),
    ]
    assert [done.returncode for done in made] == [0, 0, 0], made
    (_, before), (header, after) = read_result(tmp_path / "pre.jsonl"), read_result(out)
    assert header["chosen"] == json.loads(choice.read_text())["choice"]
    assert set(header["provenance"]["start"]["modules"]) >= {"credit.methods.bp", "credit.training.loop"}
    values = [
        {(r["seed"], r["metric"]): r["value"] for r in rows if r["epoch"] == e} for rows, e in ((before, 4), (after, 0))
    ]
    assert len(values[1]) == 4
    assert values[1].items() <= values[0].items()
    found = weights.read(kept)
    lost = {"spec": found.spec, "chosen": {}, "provenance": {"modules": {}}}
    weights.write(kept, lost, found.params, [True, False])
    done = script("search", search, choice, kept)
    assert (done.returncode, done.stderr) == (
        1, "error: search: seed 1 starts from a run that diverged; name other search.seeds or start.seed\n",
    )  # fmt: skip
