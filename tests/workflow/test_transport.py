"""Results outlive their checkout: packed, put back elsewhere, and drawn again without training or data."""

from __future__ import annotations

import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.checkout import (
    AFTER,
    AFTER_IMAGES,
    ALL_IMAGES,
    ALL_TEACHER,
    PREPARED,
    RAW,
    Checkout,
    Done,
    images,
    teacher,
)

MAIN = "import sys; sys.path.insert(0, 'src'); from credit.__main__ import main; sys.exit(main())"


def credit(checkout: Checkout, *arguments: str | Path) -> Done:
    """`python -m credit`, with the checkout's own code."""
    return checkout.call(sys.executable, "-c", MAIN, *arguments)


@pytest.fixture
def fresh(project: Checkout, pristine: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """A checkout that was never run, with the results of another put back."""
    file = tmp_path / "all.tar.xz"
    assert credit(project, "export", "all", file).status == 0
    checkout = pristine.copy(tmp_path / "fresh")
    done = credit(checkout, "import", file)
    assert (done.status, done.text.count("\n")) == (0, 1), done.text
    yield checkout
    checkout.stop()


def test_tables_and_figures_are_made_again_without_training_or_data(fresh: Checkout, project: Checkout):
    assert fresh.planned() == AFTER
    fresh.make("all")
    assert fresh.planned() == set()
    assert fresh.results("tables", "figures", "runs") == project.results("tables", "figures", "runs")
    assert not fresh.path("data").exists()


def test_what_was_put_back_is_not_trained_again_when_others_are(fresh: Checkout):
    seeds = RAW | PREPARED | images("bp", "fa", "dfa", seeds=3, search=False) | AFTER_IMAGES
    more = ("--config", "seeds=3", "experiments=images", "--", "all")
    assert fresh.planned(*more) == seeds - images("bp", "fa", "dfa", seeds=2, search=False)
    fresh.make("results/data/digits.npz")
    assert fresh.planned() == AFTER
    assert fresh.planned(*more) == seeds - images("bp", "fa", "dfa", seeds=2, search=False) - RAW - PREPARED


def test_what_was_put_back_is_trained_again_where_it_is_asked_for(fresh: Checkout):
    forced = RAW | PREPARED | ALL_IMAGES | ALL_TEACHER | AFTER  # searches too, whose data is made anew
    assert fresh.planned("--forcerun", "train", "--", "all") == forced
    unfinished = fresh.root / ".snakemake" / "incomplete"
    mark = urlsafe_b64encode(f"results/{min(teacher('bp'))}".encode()).decode()
    (unfinished / mark).write_text("{}", encoding="utf-8")
    assert teacher("bp") <= fresh.planned() <= AFTER | teacher("bp")
    (unfinished / mark).unlink()
    fresh.change_code("src/credit/methods/fa.py")
    assert images("fa") | teacher("fa") <= fresh.planned()


def test_an_older_record_of_the_same_result_does_not_count(project: Checkout, tmp_path: Path):
    file = tmp_path / "all.tar.xz"
    assert credit(project, "export", "cross/teacher", file).status == 0
    project.configure("teacher", lambda content: content["train"].update(epochs=3))
    project.make("results/tables/cross/teacher.csv")
    project.configure("teacher", lambda content: content["train"].update(epochs=2))
    assert credit(project, "import", file, "--overwrite").status == 0
    assert not project.planned() & teacher("bp", "fa")
