"""Runs cut short from the command line replace no longer one, and a job that fails takes nothing away."""

from __future__ import annotations

import pandas as pd

from tests.workflow.checkout import AFTER, ALL_IMAGES, ALL_TEACHER, PREPARED, Checkout, images, teacher

CUT = ("--config", "seeds=1", "epochs=1", "--", "all")
FA = "runs/cross/teacher/teacher/fa/shard0.jsonl"
SHORT = FA.replace("shard0", "shard0.short")


def test_a_complete_tree_serves_for_fewer_seeds_and_epochs_as_it_is(project: Checkout):
    before = project.results()
    assert project.planned(*CUT) == AFTER
    project.make(*CUT)
    assert project.results("runs") == {name: text for name, text in before.items() if name.startswith("runs/")}
    table = pd.read_csv(project.path("tables/cross/teacher.csv"))
    assert (set(table["seed"]), table["epoch"].max()) == ({0}, 1)
    assert project.planned(*CUT) == set()
    assert project.planned() == AFTER
    project.make("all")
    assert project.results() == before


def test_a_longer_run_that_is_stale_stays_beside_the_shorter_one(project: Checkout):
    before = project.results()
    method = "methods:\n  bp: {train: {optimizer: {lr: 0.05, momentum: 0.5}}}\n  fa: "
    project.edit("config/experiments/cross/teacher.yaml", method + "{}", method + "{hyper: {feedback_scale: 2.0}}")
    assert project.planned(*CUT) == {SHORT} | AFTER
    project.make(*CUT)
    after = project.results("runs")
    assert after.pop(SHORT).count(b'"metric"') < before[FA].count(b'"metric"') / 2
    after.pop(f"{SHORT}.ckpt", None)
    assert after == {name: text for name, text in before.items() if name.startswith("runs/")}
    assert project.planned(*CUT) == set()
    done = project.snakemake("-n", "--config", "seeds=1", "epochs=1", "--", f"results/{FA}")
    assert done.status != 0
    assert "is longer than what the settings ask for (seeds, epochs), and is not replaced by a shorter run" in done.text
    assert project.planned() == teacher("fa") | AFTER
    project.edit("config/experiments/cross/teacher.yaml", "{hyper: {feedback_scale: 2.0}}", "{}")
    assert project.planned() == AFTER  # what was trained before is there


def test_a_job_that_fails_leaves_what_it_was_to_replace_and_runs_again(project: Checkout):
    before = project.results()
    project.configure("teacher", lambda content: content["train"].update(epochs=3))
    project.edit("workflow/scripts/train.py", "from credit.training.job import train", "raise SystemExit('broken')")
    project.edit("workflow/scripts/search.py", "from credit.training.job import search", "raise SystemExit('broken')")
    done = project.snakemake("--cores", "2", "all")
    assert done.status != 0
    assert project.results("runs") == {name: text for name, text in before.items() if name.startswith("runs/")}
    assert project.planned() == ALL_IMAGES | ALL_TEACHER | AFTER
    project.edit("workflow/scripts/train.py", "raise SystemExit('broken')", "from credit.training.job import train")
    project.edit("workflow/scripts/search.py", "raise SystemExit('broken')", "from credit.training.job import search")
    assert project.planned() == ALL_TEACHER | {"tables/cross/teacher.csv", "figures/fig3.pdf"}
    assert images("bp").isdisjoint(project.planned())


def test_a_table_or_figure_that_fails_leaves_the_old_one_and_is_made_again(project: Checkout):
    before = project.results()
    for name in ("plot", "collect"):
        project.edit(
            f"workflow/scripts/{name}.py", "    spec = read_spec(args.spec)\n", "    raise SystemExit('broken')\n"
        )
    planned = project.planned()
    assert planned >= {"tables/cross/teacher.csv", "figures/fig3.pdf"}
    assert project.snakemake("--cores", "2", "all").status != 0
    assert project.results() == before
    assert project.planned() == planned


def test_a_preparation_that_fails_leaves_the_data_and_runs_again(project: Checkout):
    before = project.results("data")
    project.edit("workflow/scripts/prepare.py", "    args = parser.parse_args()\n", "    raise SystemExit('broken')\n")
    planned = project.planned()
    assert planned >= PREPARED
    assert project.snakemake("--cores", "2", "all").status != 0
    assert project.results("data") == before
    assert project.planned() == planned
