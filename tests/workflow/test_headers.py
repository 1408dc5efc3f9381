"""What a result is made from stands in its own header, which decides whatever Snakemake remembers of the file."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.workflow.checkout import (
    AFTER_IMAGES,
    AFTER_TEACHER,
    ALL_IMAGES,
    ALL_TEACHER,
    Checkout,
    images,
    snakemake,
    teacher,
)

NOTHING: set[str] = set()
BP = "runs/cross/teacher/teacher/bp/shard0.jsonl"
CHOICE = "runs/cross/images/digits/bp/choice.json"


def forget(project: Checkout, *names: str) -> None:
    """Remove Snakemake's records of results: as if their job had ended after the driver was killed."""
    done = project.call(*snakemake("--cleanup-metadata", *(f"results/{name}" for name in names)))
    assert done.status == 0, done.text


def header(project: Checkout, name: str) -> dict:
    return json.loads(project.path(name).read_text(encoding="utf-8").partition("\n")[0])


def test_results_without_records_stay_while_they_are_what_would_be_made(project: Checkout):
    shutil.rmtree(project.root / ".snakemake")
    assert project.planned() == NOTHING


def test_results_without_records_are_made_again_when_settings_or_code_change(project: Checkout):
    forget(project, BP, CHOICE, CHOICE.replace("choice.json", "shard0.jsonl"))
    project.configure("teacher", lambda content: content["train"].update(epochs=3))
    assert project.planned() == ALL_TEACHER | AFTER_TEACHER
    assert project.planned("--rerun-triggers", "mtime", "--", "all") == NOTHING
    project.make(f"results/{BP}", cores=1)
    assert header(project, BP)["spec"]["train"]["epochs"] == 3
    assert project.planned() == (ALL_TEACHER | AFTER_TEACHER) - {BP}
    project.change_code("src/credit/tasks/images.py")
    assert project.planned("results/tables/cross/images.csv") == ALL_IMAGES | {"tables/cross/images.csv"}


@pytest.mark.parametrize("recorded", [True, False])
def test_a_run_copied_from_another_tree_is_made_again_where_it_differs(
    project: Checkout, finished: Checkout, recorded: bool
):
    other = finished.copy(project.root.with_name("other"))
    other.configure("teacher", lambda content: content["train"].update(epochs=3))
    other.make(f"results/{BP}", cores=1)
    before = project.path(BP).read_bytes()
    if not recorded:
        forget(project, BP)
    shutil.copy2(other.path(BP), project.path(BP))
    assert project.planned() == teacher("bp") | AFTER_TEACHER
    project.make("all")
    assert project.path(BP).read_bytes().splitlines()[1:-1] == before.splitlines()[1:-1]
    assert project.planned() == NOTHING


def test_a_run_of_another_choice_than_the_one_beside_it_is_trained_again(project: Checkout):
    runs = images("bp", search=False)
    forget(project, *runs)
    choice = project.path(CHOICE)
    content = json.loads(choice.read_text(encoding="utf-8"))
    [(name, rate)] = content["choice"].items()
    content["choice"][name] = next(r for r in (1e-3, 1e-2) if r != rate)
    old = choice.stat()
    choice.write_text(json.dumps(content), encoding="utf-8")
    os.utime(choice, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert project.planned() == runs | AFTER_IMAGES
