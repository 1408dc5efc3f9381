"""Runs cut short by the settings: what is there and longer serves, or stays; and headers, which say what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from credit.analysis.tables import chosen
from credit.dag import audit, cost
from credit.dag.present import Present
from credit.dag.targets import as_param
from credit.errors import ConfigError
from tests.unit.small_checkout import FIT, Checkout, put, put_choice, searching
from tests.unit.test_start import checkout as starting

RUN = "results/runs/toy/fit/near/fa/shard0.jsonl"
SHORT = RUN.replace("shard0", "shard0.short")


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Checkout:
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


def everything(workflow) -> list[str]:
    """Write all results that a workflow asks for."""
    return [put(workflow, path) for key in workflow.experiments for path, _ in cost.experiment_jobs(workflow, key)]


def served(workflow, key: str = "toy/fit") -> dict[str, tuple[int, int]]:
    """{run: (its seeds, its epochs)} of an experiment."""
    jobs = cost.experiment_jobs(workflow, key)
    return {path.partition("near/")[2]: (len(s["seeds"]), s["train"]["epochs"]) for path, s in jobs if "near" in path}


def test_a_complete_run_serves_for_a_shorter_one(checkout):
    runs = everything(checkout.workflow())
    narrow = checkout.workflow(seeds=1, epochs=2)
    assert served(narrow) == {"bp/shard0.jsonl": (2, 4), "fa/shard0.jsonl": (2, 4)}
    assert set(narrow.runs("toy/fit")) <= set(runs)
    assert narrow.collect_spec("toy/fit")["select"] == {"seeds": 1, "epochs": 2}
    assert cost.plan(narrow, "all").missing.jobs == 0
    assert audit.verify(narrow, Path(RUN)).kind == "good"


def test_a_longer_run_that_is_not_what_would_be_made_stays_beside_the_shorter_one(checkout):
    everything(checkout.workflow())
    checkout.change(train={"optimizer": {"lr": 0.3}})
    for settings in ({"seeds": 1}, {"epochs": 1}, {"seeds": 1, "epochs": 1}, {"seeds_per_job": 1}):
        narrow = checkout.workflow(**settings)
        assert narrow.run_spec(SHORT)["train"]["optimizer"]["lr"] == 0.3
        assert "fa/shard0.short.jsonl" in served(narrow), settings
        with pytest.raises(ConfigError, match=r"shard0: is longer than what the settings ask for .* shard0\.short$"):
            narrow.run_spec(RUN)
    assert "fa/shard0.jsonl" in served(checkout.workflow())
    put(narrow, SHORT)
    assert audit.verify(narrow, Path(SHORT)).kind == "good"
    assert [audit.verify(checkout.workflow(), Path(p)).kind for p in (RUN, SHORT)] == ["stale", "unknown"]
    with pytest.raises(ConfigError, match=r"shard0\.short: no run is cut short beside a longer one; name shard0$"):
        checkout.workflow().run_spec(SHORT)


def test_what_is_missing_or_shorter_is_made_under_its_own_name(checkout):
    own = {"bp/shard0.jsonl": (1, 2), "fa/shard0.jsonl": (1, 2)}
    assert served(checkout.workflow(seeds=1, epochs=2)) == own
    put(checkout.workflow(seeds=1, epochs=1), RUN)
    assert served(checkout.workflow(seeds=1, epochs=2)) == own
    put(checkout.workflow(seeds=1, epochs=2), RUN)
    assert served(checkout.workflow(seeds=1, epochs=2)) == own
    longer = checkout.workflow(seeds=1, epochs=1)
    assert served(longer) == {"bp/shard0.jsonl": (1, 1), "fa/shard0.jsonl": (1, 2)}
    assert longer.collect_spec("toy/fit")["select"] == {"seeds": 1, "epochs": 1}
    checkout.change(train={"optimizer": {"lr": 0.3}})
    assert "fa/shard0.short.jsonl" in served(checkout.workflow(seeds=1, epochs=1))  # it is not what would be made now


@pytest.mark.parametrize("size", [2, "all"])
@pytest.mark.parametrize("settings", [{"seeds": 7}, {"seeds": 4}, {"seeds": 7, "epochs": 9}])
def test_a_run_of_more_seeds_from_another_command_line_serves_the_plain_call(checkout, settings, size):
    checkout.change(seeds=3, seeds_per_job=size)
    runs = everything(checkout.workflow(**settings))
    before = {path: Path(path).read_bytes() for path in runs}
    plain = checkout.workflow()
    most = 2 if size == 2 else settings["seeds"]
    held = {f"{m}/shard{i}.jsonl": (most, 4) for m in ("bp", "fa") for i in range(2 if size == 2 else 1)}
    assert served(plain) == held
    assert plain.collect_spec("toy/fit")["select"] == {"seeds": 3}
    assert cost.plan(plain, "all").missing.jobs == 0
    last = f"results/runs/toy/fit/near/fa/shard{len(held) // 2 - 1}.jsonl"
    assert audit.verify(plain, Path(last)).kind == "good"
    assert served(checkout.workflow(seeds=1, epochs=1))["fa/shard0.jsonl"] == (most, 4)
    checkout.change(seeds=3, seeds_per_job=size, train={"optimizer": {"lr": 0.3}})
    assert served(checkout.workflow())[last.partition("near/")[2]] == (3 if size == "all" else 1, 4)
    assert before == {path: Path(path).read_bytes() for path in runs}


def test_a_run_of_more_seeds_and_fewer_epochs_stays_beside_the_plain_one(checkout):
    checkout.change(seeds=1)
    everything(checkout.workflow(seeds=2, epochs=2))
    assert served(checkout.workflow()) == {"bp/shard0.short.jsonl": (1, 4), "fa/shard0.short.jsonl": (1, 4)}


def test_a_current_run_of_other_seeds_stays_where_shards_have_another_size(checkout):
    everything(checkout.workflow(seeds=3, seeds_per_job=2))
    narrow = checkout.workflow(seeds=2, seeds_per_job=1)
    assert {n for n in served(narrow) if n.startswith("fa")} == {"fa/shard0.short.jsonl", "fa/shard1.short.jsonl"}
    with pytest.raises(ConfigError, match=r"shard1: holds other seeds, and is not replaced by .* shard1\.short$"):
        narrow.run_spec(RUN.replace("shard0", "shard1"))
    checkout.change(seeds_per_job=1)
    assert "fa/shard0.short.jsonl" in served(checkout.workflow())


def test_a_plain_call_works_out_no_spec_to_find_the_files_of_its_runs(checkout, monkeypatch):
    everything(checkout.workflow())
    workflow = checkout.workflow()
    monkeypatch.setattr(type(workflow), "own_spec", None)
    assert len(workflow.runs("toy/fit")) == 8


def test_an_edited_experiment_replaces_its_runs_whatever_their_length(checkout):
    everything(checkout.workflow())
    checkout.change(train={"epochs": 2}, seeds=3)
    for settings in ({}, {"epochs": 3}, {"seeds": 3}, {"seeds_per_job": 2}):
        assert all("short" not in name for name in served(checkout.workflow(**settings))), settings


def test_other_shard_sizes_replace_no_longer_run(checkout):
    everything(checkout.workflow())
    names = set(served(checkout.workflow(seeds_per_job=1)))
    assert {n for n in names if n.startswith("fa")} == {
        "fa/shard0.short.jsonl", "fa/shard1.short.jsonl", "fa/shard2.jsonl", "fa/shard3.jsonl",
    }  # fmt: skip
    assert served(checkout.workflow(seeds_per_job="all"))["fa/shard0.jsonl"] == (4, 4)


def test_what_a_complete_run_started_from_serves_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = starting(tmp_path, seeds_per_job=4)
    everything(project.workflow())
    narrow = project.workflow(seeds=1, epochs=1)
    place = ("toy/fit", "near", "fa")
    upstream = [f"results/runs/toy/pre/near/bp/shard{i}" for i in range(2)]
    assert served(narrow)["fa/shard0.jsonl"] == (4, 4)
    assert narrow.start_paths(place, "0") == [f"{path}.safetensors" for path in upstream]
    assert narrow.run_spec(f"{upstream[1]}.jsonl")["seeds"] == [2, 3]  # beyond the seeds that are chosen
    Path(RUN).unlink()
    spec = project.workflow(seeds=1, epochs=1).run_spec(RUN)
    assert (spec["train"]["epochs"], spec["start"]["spec"]["train"]["epochs"]) == (1, 4)
    assert spec["start"]["runs"] == [[0, 1]]
    assert project.workflow(seeds=1, epochs=1).start_paths(place, "0") == [f"{upstream[0]}.safetensors"]


def test_runs_that_others_start_from_serve_all_or_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = starting(tmp_path, seeds_per_job=4)
    everything(project.workflow())
    Path("results/runs/toy/pre/near/bp/shard1.jsonl").unlink()
    narrow = project.workflow(epochs=1)
    assert served(narrow, "toy/pre")["bp/shard0.short.jsonl"] == (2, 1)
    assert served(narrow, "toy/pre")["bp/shard1.jsonl"] == (2, 1)
    start = narrow.run_spec(SHORT)["start"]
    assert (start["spec"]["train"]["epochs"], start["runs"]) == (1, [[0, 1], [2, 3]])
    assert [Path(p).name for p in narrow.start_paths(("toy/fit", "near", "fa"), "0.short")] == [
        "shard0.short.safetensors", "shard1.safetensors",
    ]  # fmt: skip


def test_a_run_of_more_seeds_serves_with_what_it_started_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = starting(tmp_path, seeds_per_job="all")
    everything(project.workflow(seeds=7))
    plain, place = project.workflow(), ("toy/fit", "near", "fa")
    assert served(plain)["fa/shard0.jsonl"] == (7, 4)
    upstream = [f"results/runs/toy/pre/near/bp/shard{i}" for i in range(4)]
    assert plain.start_paths(place, "0") == [f"{path}.safetensors" for path in upstream]
    assert plain.run_spec(f"{upstream[3]}.jsonl")["seeds"] == [6]  # beyond the seeds that are asked for
    assert plain.present.stale(as_param(plain.run_spec(RUN)), RUN) == []
    Path(f"{upstream[3]}.jsonl").unlink()
    assert served(project.workflow())["fa/shard0.short.jsonl"] == (4, 4)  # nothing makes what it started from


def test_a_table_takes_the_chosen_seeds_and_epochs_of_a_longer_run():
    def record(seed: int, epoch: int, metric: str) -> dict:
        return {"seed": seed, "epoch": epoch, "metric": metric}

    records = [record(s, e, "loss") for s in range(3) for e in (0, 2, 4)]
    records += [record(s, e, "angle") for s in range(3) for e in range(5)]
    assert chosen(records, None, None) == records
    assert {r["seed"] for r in chosen(records, 2, None)} == {0, 1}
    epochs = {m: sorted({r["epoch"] for r in chosen(records, 1, 1) if r["metric"] == m}) for m in ("loss", "angle")}
    assert epochs == {"loss": [0, 2], "angle": [0, 1]}  # the loss was not measured after the first epoch
    assert chosen(records, None, 9) == records


# ---- headers


def test_a_header_tells_a_result_of_another_spec_or_choice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Checkout(tmp_path, {"toy/fit": searching()})
    workflow, run = project.workflow(), "results/runs/toy/fit/near/bp/shard0.jsonl"
    choice = put_choice(workflow, run.replace("shard0.jsonl", "choice.json"))
    assert Present().stale("{}", run) == []  # nothing there
    put(workflow, run, {"train.optimizer.lr": 0.1})
    spec = as_param(workflow.run_spec(run))
    assert Present().stale(spec, run, choice=choice) == []
    assert Present().stale(spec.replace("0.5", "0.6"), run, choice=choice) == [run]
    put_choice(workflow, choice, 0.3)
    assert Present().stale(spec, run, choice=choice) == [run]
    Path(run).write_text("no header\n")
    assert Present().stale(spec, run, choice=choice) == []


def test_headers_are_read_once_and_again_when_their_file_is_another(checkout, monkeypatch):
    workflow = checkout.workflow()
    put(workflow, RUN)
    Path(".snakemake").mkdir()
    spec, read = as_param(workflow.run_spec(RUN)), []

    def counted(path):
        read.append(path)
        return json.loads(Path(path).read_text().partition("\n")[0])

    monkeypatch.setattr("credit.dag.present.read_header", counted)
    for _ in range(2):
        present = Present()
        assert present.stale(spec, RUN) == []
        present.save()
    assert read == [RUN]
    checkout.change(train={"optimizer": {"lr": 0.3}})
    put(checkout.workflow(), RUN)
    assert Present().stale(spec, RUN) == [RUN]
    Path(".snakemake/credit_headers.json").write_text("damaged")
    assert Present().stale(spec, RUN) == [RUN]


assert FIT["seeds"] == 4 and FIT["seeds_per_job"] == 2 and FIT["train"]["epochs"] == 4  # what these tests count on
