"""Code that a job runs but did not declare, or that is edited while it runs, fails the job."""

from __future__ import annotations

import pytest

from tests.workflow.checkout import (
    AFTER_IMAGES,
    AFTER_TEACHER,
    PATIENCE,
    Checkout,
    checkpoints,
    images,
    snakemake,
    teacher,
    wait_for,
)

TABLE = "results/tables/cross/teacher.csv"


@pytest.mark.slow
def test_an_undeclared_import_fails_its_jobs_while_others_go_on(project: Checkout):
    (project.root / "src/credit/methods/_hidden.py").write_text("FACTOR = 1.0\n", encoding="utf-8")
    project.edit(
        "src/credit/methods/dfa.py",
        "        run = forward(net, params, batch, rand)\n",
        '        __import__("importlib").import_module("credit.methods._hidden")\n'
        "        run = forward(net, params, batch, rand)\n",
    )
    project.configure("teacher", lambda content: content.update(seeds=3, seeds_per_job=1))
    before = project.results("runs")
    done = project.snakemake("--cores", "2", "all")
    assert done.status != 0
    assert "error: undeclared code dependency: credit.methods._hidden was loaded" in done.text
    assert "Traceback" not in done.text
    after = project.results("runs")
    assert before.items() - after.items() <= {(k, v) for k, v in before.items() if "/dfa/" in k or "/teacher/" in k}
    assert project.planned() == images("dfa") | AFTER_IMAGES
    assert teacher("bp", "fa", shard=2) <= after.keys()
    assert all(project.root.joinpath("results", name).exists() for name in AFTER_TEACHER)


def test_an_edit_of_the_source_while_a_job_runs_fails_it_and_the_next_run_starts_anew(long: Checkout):
    process = long.start(*snakemake("--cores", "2", TABLE))
    wait_for(lambda: checkpoints(long), process)
    long.change_code("src/credit/methods/fa.py")
    text = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode != 0
    assert "error: source was edited while the job ran: credit.methods.fa;" in text
    assert "Traceback" not in text
    assert not long.path(min(teacher("fa"))).exists()
    assert long.path(min(teacher("bp"))).exists()
    long.make(TABLE)
    assert "resumed" not in long.path("logs/train/cross/teacher/teacher/fa/shard0.log").read_text(encoding="utf-8")
    assert long.path(min(teacher("fa"))).exists()
    assert long.planned(TABLE) == set()
