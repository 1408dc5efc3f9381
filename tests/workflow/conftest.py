"""One finished run of the tiny workflow a session, and copies of it for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.workflow.checkout import Checkout


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """`folder`, made by the first process of the session that asks for it."""
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            half = folder.with_name(f"{folder.name}.half")  # renamed when it is whole; this is a move of its own
            assert not half.exists(), f"{half}: could not be made before"
            make(half)
            half.rename(folder)
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def template(shared: Path) -> Checkout:
    """The workflow as it was when the session began, with its own experiments; for copying only."""
    repository = Path(__file__).resolve().parents[2]
    return Checkout(once(shared / "template", lambda folder: Checkout.of(repository, folder)))


@pytest.fixture(scope="session")
def pristine(shared: Path, template: Checkout) -> Checkout:
    """The tiny experiments, not yet run; for copying only."""
    return Checkout(once(shared / "pristine", lambda folder: template.copy(folder).use_tiny_experiments()))


@pytest.fixture(scope="session")
def finished(shared: Path, pristine: Checkout) -> Checkout:
    """The tiny experiments, run to the end with two cores; for copying and comparing only."""
    return Checkout(once(shared / "finished", lambda folder: pristine.copy(folder).make("all", cores=2)))


@pytest.fixture
def project(finished: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """A finished run in another folder, to change at will."""
    checkout = finished.copy(tmp_path / "project")
    yield checkout
    checkout.stop()


@pytest.fixture
def long(project: Checkout) -> Checkout:
    """The tiny student-teacher task with a training of some seconds, and checkpoints all the time."""

    def lengthen(content: dict) -> None:
        content["train"] |= {"epochs": 600, "evaluate": {"every": 200}}
        content["probes"] = [{"probe": "angles", "reference": "bp", "every": 5}]
        content["figures"] = {}

    project.configure("teacher", lengthen)
    project.edit("workflow/scripts/train.py", "default=60.0", "default=0.1")
    return project
