"""A fresh checkout has `results/` with a page that says what will stand there; nothing else of it is tracked."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from credit.dag.commands import show_verify
from credit.errors import DataError
from tests.conftest import REPOSITORY

PAGE = Path("results") / "README.md"
pytestmark = pytest.mark.skipif(not (REPOSITORY / PAGE).is_file(), reason="results is elsewhere")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone of a repository that has this one's .gitignore and results/README.md."""
    origin = tmp_path / "origin"
    (origin / "results").mkdir(parents=True)
    shutil.copy(REPOSITORY / ".gitignore", origin)
    shutil.copy(REPOSITORY / PAGE, origin / PAGE)
    git(origin, "init", "-q")
    git(origin, "add", ".gitignore")
    git(origin, "add", "--force", str(PAGE))
    git(origin, "commit", "-qm", "all")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    return tmp_path / "clone"


def test_a_fresh_checkout_has_the_page_and_git_ignores_what_comes_beside_it(clone):
    assert (clone / PAGE).is_file()
    for name in ("runs/dfc/x/mnist/dfc/shard0.jsonl", "data/mnist.npz", "quick/report.html", "notes.txt"):
        path = clone / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert git(clone, "status", "--porcelain") == ""
    (clone / PAGE).write_text("edited")
    assert git(clone, "status", "--porcelain") == "M results/README.md"


def test_with_the_commands_of_the_page_a_link_in_its_place_is_clean(clone, tmp_path):
    block = re.search(r"```\n(.*?)```", (clone / PAGE).read_text(), flags=re.DOTALL)[1]
    subprocess.run(["bash", "-ec", block.replace("/big/disk", str(tmp_path))], cwd=clone, check=True)
    assert (clone / "results").is_symlink()
    assert (clone / PAGE).is_file()
    (clone / "results" / "new.txt").write_text("x")
    assert git(clone, "status", "--porcelain") == ""
    git(clone, "checkout", "-qb", "other")
    assert (clone / "results").is_symlink(), "another branch leaves it alone"
    assert git(clone, "status", "--porcelain") == ""


def test_the_page_names_every_folder_that_rules_write_and_no_other():
    rules = "\n".join(p.read_text() for p in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    written = set(re.findall(r'"(?:results|\{RESULTS\})/(\w+)/', rules))
    written |= {"data", "quick", "store", "tensorboard", "NAME"}
    rows = re.findall(r"^\| `(\w+)/", (REPOSITORY / PAGE).read_text(), flags=re.MULTILINE)
    assert set(rows) == written


def test_the_page_is_no_result_and_hides_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    shutil.copy(REPOSITORY / PAGE, tmp_path / PAGE)
    with pytest.raises(DataError, match="results: holds no results"):
        show_verify(None, ["results"])
