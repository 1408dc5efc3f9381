"""What a change of the configuration reruns: exactly the jobs whose meaning it changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.workflow.checkout import (
    AFTER,
    AFTER_IMAGES,
    AFTER_TEACHER,
    ALL_IMAGES,
    ALL_TEACHER,
    JUDGED,
    PREPARED,
    RAW,
    READABLE,
    Checkout,
    images,
    teacher,
)

NOTHING: set[str] = set()
SHARDS = images("bp", "fa", "dfa", search=False)


def merge(**changes: Any) -> Callable[[dict], None]:
    """A change of an experiment: mappings are merged, everything else is replaced."""

    def lay(base: dict, over: dict) -> None:
        for key, value in over.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                lay(base[key], value)
            else:
                base[key] = value

    return lambda content: lay(content, changes)


def swapped(content: dict) -> None:
    content["methods"]["bp"]["train"]["optimizer"] = {"lr": 0.5, "momentum": 0.05}


CHANGES = {
    "two values of one method exchanged": ("teacher", swapped, teacher("bp") | AFTER_TEACHER),
    "longer training": ("images", merge(train={"epochs": 2}), SHARDS | AFTER_IMAGES),
    "another search grid": (
        "images", merge(search={"vary": {"train.optimizer.lr": [1e-3, 3e-2]}}), ALL_IMAGES | AFTER_IMAGES
    ),
    "another search grid for one method": (
        "images", merge(methods={"fa": {"search": {"epochs": 2}}}), images("fa") | AFTER_IMAGES
    ),
    "a hyperparameter of one method": (
        "images", merge(methods={"dfa": {"hyper": {"feedback_scale": 2.0}}}), images("dfa") | AFTER_IMAGES
    ),
    "a default that is written out": ("images", merge(methods={"dfa": {"hyper": {"feedback_scale": 1}}}), NOTHING),
    "another net": ("teacher", merge(net={"hidden_sizes": [7]}), ALL_TEACHER | AFTER_TEACHER),
    "another probe": ("teacher", merge(probes=[{"probe": "angles", "every": 2}]), ALL_TEACHER | AFTER_TEACHER),
    "one seed more, a job each": (
        "images", merge(seeds=3), images("bp", "fa", "dfa", seeds=3) - ALL_IMAGES | AFTER_IMAGES
    ),
    "two seeds more, two a job": ("teacher", merge(seeds=4), teacher("bp", "fa", shard=1) | AFTER_TEACHER),
    "one seed less": ("images", merge(seeds=1), AFTER_IMAGES),
    "a new method": ("images", merge(methods={"drtp": {}}), images("drtp") | AFTER_IMAGES),
    "the title of a figure": ("images", merge(figures={"fig1": {"title": "New"}}), {"figures/fig1.pdf"}),
    "an option of a figure": ("teacher", merge(figures={"fig3": {"options": {"window": 1}}}), {"figures/fig3.pdf"}),
    "the caption of a figure": ("images", merge(figures={"fig1": {"caption": "fig2.rst"}}), NOTHING),
    "the title of a table": ("images", merge(tables={"table1": {"title": "New"}}), READABLE),
    "the layout of a table": (
        "images", merge(tables={"table1": {"options": {"rows": "dataset", "columns": "method"}}}), READABLE
    ),
    "the caption of a table": ("images", merge(tables={"table1": {"caption": "fig2.rst"}}), NOTHING),
    "memory and time": ("images", merge(resources={"mem_mb": 900, "runtime": 90}), NOTHING),
    "what the quick scale does": ("images", merge(quick={"train": {"epochs": 7}}), NOTHING),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_an_experiment_reruns_exactly_what_it_is_about(project: Checkout, change: str):
    experiment, alter, expected = CHANGES[change]
    project.configure(experiment, alter)
    assert project.planned() == expected


SETTINGS = {
    "device=cpu": NOTHING,
    "data={'folder': 'results/data', 'mirror': '/a/mirror', 'user_files': '/files'}": NOTHING,
    "methods=bp": AFTER,
    "datasets=teacher": JUDGED,  # it has one table less to look at
    "seeds=1": AFTER,  # where both seeds were one job, its run serves
    "seeds=4": AFTER | images("bp", "fa", "dfa", seeds=4) - ALL_IMAGES | teacher("bp", "fa", shard=1),
    "seeds_per_job=2": images("bp", "fa", "dfa", seeds=1, search=False) | AFTER_IMAGES,
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_reruns_exactly_what_it_is_about(project: Checkout, setting: str):
    assert project.planned("--config", setting, "--", "all") == SETTINGS[setting]


def test_an_edited_caption_changes_the_report_only(project: Checkout):
    path = project.root / "workflow" / "report" / "fig1.rst"
    path.write_text("Another caption.\n", encoding="utf-8")
    assert project.planned() == NOTHING


def test_another_checksum_of_a_data_set_reruns_the_way_from_download_to_figures(project: Checkout):
    path = project.root / "config" / "datasets.yaml"
    before, digits, own = path.read_text(encoding="utf-8").partition("\ndigits:")
    path.write_text(before + digits + re.sub("sha256: .*", f"sha256: {'a' * 64}", own), encoding="utf-8")
    assert project.planned() == RAW | PREPARED | ALL_IMAGES | AFTER_IMAGES


def test_another_address_of_a_data_set_reruns_no_training(project: Checkout):
    path = project.root / "config" / "datasets.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("title: MNIST", "title: the MNIST"), encoding="utf-8")
    assert project.planned() == NOTHING


def test_a_new_choice_of_the_search_reruns_the_training_that_uses_it(project: Checkout):
    choice = project.path("runs/cross/images/digits/fa/choice.json")
    content = json.loads(choice.read_text(encoding="utf-8"))
    content["choice"]["train.optimizer.lr"] = 0.002
    choice.write_text(json.dumps(content), encoding="utf-8")
    assert project.planned() == images("fa", search=False) | AFTER_IMAGES


def test_a_new_published_number_is_judged_again_and_nothing_else(project: Checkout):
    published = project.root / "config" / "published" / "dfc.csv"
    published.write_text(published.read_text(encoding="utf-8").replace("2.08", "2.09"), encoding="utf-8")
    assert project.planned() == JUDGED


def test_a_deleted_result_is_made_again_with_the_same_bytes(project: Checkout):
    before = project.results("runs", "tables")
    lost = "runs/cross/teacher/teacher/fa/shard0.jsonl"
    project.path(lost).unlink()
    assert project.planned("results/" + lost) == {lost}
    project.make("results/" + lost, cores=1)
    again = project.results("runs", "tables")
    assert again == before
    project.path(lost).unlink()
    project.forget_blocks()
    project.make("results/" + lost, cores=1)
    again = project.results("runs", "tables")
    del again[f"{lost}.ckpt"]  # it stays until the run is collected
    assert again.pop(lost).splitlines()[1:-1] == before.pop(lost).splitlines()[1:-1]  # the header says how long it took
    assert again == before


def test_narrowing_and_widening_again_trains_nothing_and_ends_with_the_same_bytes(project: Checkout):
    before = project.results()
    project.make("--config", "methods=bp", "--", "all")
    narrowed = project.results()
    assert {name for name in before if before[name] != narrowed[name]} >= {"tables/cross/images.csv"}
    assert narrowed.keys() == before.keys()
    assert project.planned() == AFTER
    project.make("all")
    assert project.results() == before
