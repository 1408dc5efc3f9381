"""Started from a notebook, or from a shell with settings of its own, the workflow makes what it makes anywhere."""

from __future__ import annotations

from pathlib import Path

from tests.unit.test_environment import INHERITED
from tests.workflow.checkout import Checkout

STARTED = ("PYTHONOPTIMIZE", "PYTHONSTARTUP")  # that Snakemake itself would start with


def test_variables_of_the_caller_change_no_result(project: Checkout, finished: Checkout, tmp_path: Path):
    folder = tmp_path / "modules"
    folder.mkdir()
    for name in ("torch", "matplotlib", "_src"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('the caller put {name} there')\n", encoding="utf-8")
    variables = {k: v for k, v in INHERITED.items() if k not in STARTED} | {"PYTHONPATH": str(folder)}
    for made in (*project.path("figures").rglob("*.p*"), *project.path("runs").rglob("shard0.jsonl")):
        made.unlink()
    project.forget_blocks()
    project.make("all", variables=variables)
    assert project.results("tables", "figures") == finished.results("tables", "figures")
    assert project.planned() == set()
