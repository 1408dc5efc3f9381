"""The lowest versions that are allowed, with which `make lowest` runs the tests."""

from __future__ import annotations

import pytest

from tests.conftest import REPOSITORY
from tests.lowest import lowest


def locked() -> dict[str, tuple[int, ...]]:
    """Versions of requirements.lock."""
    lines = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(";")[0].strip().lower().split("==") for line in lines if "==" in line and line[0] != "#"]
    return {name.replace("_", "-"): numbers(version) for name, version in pairs}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("+")[0].split(".") if part.isdigit())


def test_every_dependency_has_a_lowest_version_below_the_locked_one():
    wanted = dict(line.split("==") for line in lowest(REPOSITORY / "pyproject.toml"))
    assert {"torch", "pandas", "snakemake", "pytest"} <= set(wanted)
    for name, version in wanted.items():
        assert numbers(version) <= locked()[name.lower()], name


def test_a_dependency_without_a_lowest_version_is_named(tmp_path):
    file = tmp_path / "pyproject.toml"
    extras = "[project.optional-dependencies]\nworkflow = []\ndev = []\n"
    file.write_text(f'[project]\ndependencies = ["numpy>=2.0", "torch"]\n{extras}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"'torch'; must be written NAME>=VERSION"):
        lowest(file)
