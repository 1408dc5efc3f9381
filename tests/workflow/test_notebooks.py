"""The notebooks run from their first cell to their last, in a fresh checkout; they are kept without results."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.conftest import REPOSITORY
from tests.workflow.checkout import Checkout

NOTEBOOKS = sorted(REPOSITORY.glob("notebooks/*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def executed(notebook: nbformat.NotebookNode, checkout: Checkout) -> nbformat.NotebookNode:
    """The notebook with its results, run where it would stand in the checkout."""
    folder = checkout.root / "notebooks"
    folder.mkdir()
    # pytest's mark would take the output of commands away from the cells.
    mine = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment = {
        **mine, "PYTHONPATH": str(checkout.root / "src"), "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONWARNINGS": "default", "IPYTHONDIR": str(checkout.root / ".ipython"),
    }  # fmt: skip
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    return client.execute(env=environment)


def outputs(notebook: nbformat.NotebookNode) -> str:
    """All that the cells printed."""
    found = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in found)


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", []))


@every_notebook
def test_a_notebook_is_kept_without_results(path):
    notebook = read(path)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 3
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []


@every_notebook
def test_no_command_of_a_notebook_may_fail_unseen(path):
    """A line that begins with an exclamation mark goes on after a failure."""
    code = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    assert not re.search(r"^\s*!|get_ipython\(\)\.system", code, re.MULTILINE)
    assert code.count("subprocess.run(") == len(re.findall(r"check=True", code))


@pytest.mark.slow
def test_the_first_look_runs(template, tmp_path):
    checkout = template.copy(tmp_path / "first")
    notebook = executed(read(REPOSITORY / "notebooks/first_look.ipynb"), checkout)
    text = outputs(notebook)
    before, after = (
        [int(n) for n in re.findall(r"(\d+)°", re.search(rf"^{when} .*$", text, re.MULTILINE)[0])]
        for when in ("before", "after")
    )
    assert all(a < b for a, b in zip(after[:-1], before[:-1])) and before[-1] == after[-1] == 0
    assert "up to date" in text  # what a command printed is in its cell
    assert pictures(notebook) == 3


@pytest.mark.slow
def test_a_command_that_fails_stops_a_notebook(template, tmp_path):
    notebook = read(REPOSITORY / "notebooks/first_look.ipynb")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = [cells[0], next(cell for cell in cells if "def snakemake(" in cell.source)]
    assert "figures/pc/example122.pdf" in notebook.cells[1].source
    notebook.cells[1].source = notebook.cells[1].source.replace("example122.pdf", "nothing.pdf")
    with pytest.raises(CellExecutionError, match="CalledProcessError"):
        executed(notebook, template.copy(tmp_path / "failing"))


@pytest.mark.slow
def test_the_notebook_of_ones_own_rule_runs(template, tmp_path):
    notebook = executed(read(REPOSITORY / "notebooks/own_rule.ipynb"), template.copy(tmp_path / "own"))
    text = outputs(notebook)
    rows = re.findall(r"^([\w-]+) +([\d.]+) ± [\d.]+ % +(\d+)°$", text, re.MULTILINE)
    error, angle = ({name: float(row[i]) for name, *row in rows} for i in (0, 1))
    assert error["bp"] < error["Kolen-Pollack"] < error["fa"] < 20
    assert angle["bp"] == 0 and angle["Kolen-Pollack"] < 30 < 70 < angle["fa"]
    assert "kolen_pollack.decay = 1.5; must be a finite number in [0, 1)" in text
    assert pictures(notebook) == 2


def test_the_rule_of_the_notebook_joins_the_project_as_it_says(template, tmp_path):
    checkout = template.copy(tmp_path / "joined")
    notebook = read(REPOSITORY / "notebooks/own_rule.ipynb")
    (cell,) = (c for c in notebook.cells if c.source.startswith("%%writefile"))
    (checkout.root / "src/credit/methods/kolen_pollack.py").write_text(cell.source.partition("\n")[2], "utf-8")
    told = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    files = re.findall(r"`(config/[\w/]+\.yaml)`:\n\n```yaml\n(.*?)```", told, re.DOTALL)
    assert len(files) == 2
    for name, content in files:
        (checkout.root / name).parent.mkdir(exist_ok=True)
        (checkout.root / name).write_text(content, "utf-8")
    make = (
        "import numpy as np; d = np.random.default_rng(0); "
        "a = {f'{p}_{k}': d.normal(size=(n, 2)) if k == 'x' else d.integers(3, size=n) "
        "for p, n in (('train', 600), ('test', 300)) for k in 'xy'}; np.savez('spirals.npz', **a)"
    )
    assert checkout.call("python", "-c", make).status == 0
    (target,) = re.findall(r"`snakemake --cores all (\S+)`", told)
    planned = checkout.credit("plan", target)
    assert planned.status == 0, planned.text
    assert re.search(r"^own/spirals +3 +9 ", planned.text, re.MULTILINE)
