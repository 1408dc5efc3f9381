"""The benchmark of planning plans what it says."""

from __future__ import annotations

import pytest
from small_checkout import REPOSITORY

from credit.bench import workflow as bench
from credit.config.files import overlay, read_yaml
from credit.dag.cost import experiment_jobs
from credit.dag.targets import Workflow


def test_the_dry_run_has_exactly_10000_jobs():
    settings = dict(entry.split("=") for entry in bench.narrowed(bench.SEEDS)[1:5])
    numbers = {name: int(settings.pop(name)) for name in ("seeds", "seeds_per_job")}
    config = overlay(read_yaml(REPOSITORY / "config" / "config.yaml"), settings, numbers)
    whole = Workflow(config, REPOSITORY)
    assert len(list(experiment_jobs(whole, bench.EXPERIMENT))) + 1 == bench.planned(bench.SEEDS) == 10000


def test_dry_runs_are_compared_with_a_bare_snakefile_of_as_many_jobs(tmp_path):
    rows = bench.dry_runs(bench.checkout(tmp_path), seeds=1, repeats=1)
    assert [row.quantity for row in rows if row.unit == "ratio"] == [
        "dry run of 7 jobs, printed, to a bare Snakefile of as many",
        "dry run of 7 jobs, with -q, to a bare Snakefile of as many",
    ]


def test_a_dry_run_of_another_number_of_jobs_is_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "planned", lambda seeds: 8)
    with pytest.raises(RuntimeError, match=r"a dry run of 8 jobs planned \{7\}"):
        bench.dry_runs(bench.checkout(tmp_path), seeds=1, repeats=1)


@pytest.mark.parametrize(
    "words", [(bench.SPECS,), (bench.CREDIT, "plan", "all"), (bench.CREDIT, "show", str(bench.ARCHIVE))]
)
def test_what_is_measured_at_paper_scale_runs_in_a_copy(tmp_path, words):
    folder = bench.checkout(tmp_path)
    cpu, memory, _ = bench.measure([bench.sys.executable, "-c", *words], folder)
    assert cpu > 0
    assert memory > 0


def test_the_start_of_a_training_job_ends_with_its_first_update(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "STARTED", bench.STARTED[:1])
    [row] = bench.starts(bench.checkout(tmp_path), repeats=1)
    assert (row.quantity, row.unit) == (f"training job to its first update, {bench.STARTED[0]}", "CPU s")
    assert 0 < row.value < 100
    assert not list(tmp_path.glob("started*")), "no result"
