"""The environments of the steps hold the versions of the lock, and every step has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from credit.config.space import OPTUNA

REPOSITORY = Path(__file__).resolve().parents[2]
ENVS = sorted((REPOSITORY / "envs").glob("*.yaml"))
RULES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "workflow/rules").glob("*.smk")))
NEEDED = {
    "fetch": {"torchvision", "scikit-learn", "pillow"},
    "train": {"torch", "numba", "safetensors", "gymnasium"},
    "search": {"torch", "numba", "safetensors", "gymnasium", "optuna"},
    "analyse": {"pandas", "matplotlib"},
}


def pins(lines: list[str]) -> dict[str, str]:
    """{package: version} of lines `package==version`; names as PyPI compares them."""
    exact = [line.partition("==") for line in lines if "==" in line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in exact}


LOCK = pins((REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines())


def pip_section(path: Path) -> list[str]:
    """What an environment takes from PyPI."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    return next(entry["pip"] for entry in entries if isinstance(entry, dict))


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.stem)
def test_every_version_of_an_environment_is_the_one_of_the_lock(path: Path):
    section = pip_section(path)
    found = pins(section)
    assert len(found) == len(section), "every package needs an exact version"
    assert found == {name: LOCK.get(name) for name in found}


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.stem)
def test_an_environment_names_its_python_and_has_what_its_step_imports(path: Path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert "python=3.11" in content["dependencies"]
    assert content["name"] == f"credit-{path.stem}"
    assert pins(pip_section(path)).keys() >= NEEDED[path.stem]


def test_trials_are_trained_in_the_environment_of_training_beside_what_draws_them():
    found, train = (pins(pip_section(REPOSITORY / "envs" / f"{name}.yaml")) for name in ("search", "train"))
    assert found == {**train, "optuna": OPTUNA}


def test_every_environment_is_used_and_every_one_that_is_used_exists():
    assert set(re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', RULES)) == {path.stem for path in ENVS}
