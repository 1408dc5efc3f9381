"""What an edit of the sources reruns: exactly the jobs whose code it changes, and what is made from them."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflow.checkout import (
    AFTER,
    AFTER_IMAGES,
    AFTER_TEACHER,
    ALL_IMAGES,
    ALL_TEACHER,
    EVERYTHING,
    JUDGED,
    PREPARED,
    READABLE,
    Checkout,
    images,
    teacher,
)

NOTHING: set[str] = set()
LAID_OUT = READABLE | {"tables/fidelity.html"}


def test_a_finished_run_has_nothing_to_do(project: Checkout):
    """The copy lies in another folder than the run, so this is the test of a moved directory as well."""
    assert project.planned() == NOTHING
    assert project.planned("--forceall", "all") == EVERYTHING


def test_touching_every_file_reruns_nothing(project: Checkout):
    """Results are touched too, so that every input becomes newer than what was made from it."""
    files = [p for p in project.root.rglob("*") if p.is_file() and ".snakemake" not in p.parts]
    newest = max(p.stat().st_mtime for p in files)
    for place, path in enumerate(sorted(files, key=lambda p: p.stat().st_mtime, reverse=True)):
        os.utime(path, (newest + 10 + place,) * 2)
    assert project.planned() == NOTHING


class OtherDocstrings(ast.NodeTransformer):
    """Gives every module, class and function a new docstring."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            node.body = [ast.Expr(ast.Constant("Reworded.")), *body]
        return node


def test_comments_docstrings_and_formatting_anywhere_rerun_nothing(project: Checkout):
    for path in [*project.root.glob("src/**/*.py"), *project.root.glob("workflow/scripts/*.py")]:
        tree = OtherDocstrings().visit(ast.parse(path.read_text(encoding="utf-8")))
        lines = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
        path.write_text("# new\n\n" + "\n".join(lines) + "\n\n\n# end\n", encoding="utf-8")
    for pattern in ("config/**/*.yaml", "envs/*.yaml", "profiles/*/config.yaml", "workflow/**/*.smk", "Snakefile"):
        for path in project.root.glob(pattern):
            path.write_text(f"# new\n\n{path.read_text(encoding='utf-8')}\n# end\n", encoding="utf-8")
    assert project.planned() == NOTHING


EDITS = {
    # one method: where it is trained, and where a probe compares with it
    "methods/dfa.py": images("dfa") | AFTER_IMAGES,
    "methods/fa.py": images("fa") | teacher("fa") | AFTER,
    "methods/bp.py": images("bp") | teacher("bp", "fa") | AFTER,
    "methods/drtp.py": NOTHING,
    # what methods share
    "methods/backward/direct.py": images("dfa") | AFTER_IMAGES,
    "methods/backward/sweep.py": images("bp", "fa") | teacher("bp", "fa") | AFTER,
    "methods/base.py": ALL_IMAGES | ALL_TEACHER | AFTER,
    # net, tasks, probes
    "nets/dense.py": ALL_IMAGES | ALL_TEACHER | AFTER,
    "tasks/images.py": ALL_IMAGES | AFTER_IMAGES,
    "tasks/teacher.py": ALL_TEACHER | AFTER_TEACHER,
    "probes/angles.py": ALL_TEACHER | AFTER_TEACHER,
    # the loop
    "training/loop.py": ALL_IMAGES | ALL_TEACHER | AFTER,
    # data: its preparation, and its reading. Downloads are held against checksums, whatever code fetches them
    "data/prepare.py": PREPARED | ALL_IMAGES | AFTER_IMAGES,
    "data/formats/digits.py": PREPARED | ALL_IMAGES | AFTER_IMAGES,
    "data/formats/_images.py": NOTHING,
    "data/_torchvision.py": NOTHING,
    "data/load.py": ALL_IMAGES | AFTER_IMAGES,
    "data/fetch.py": NOTHING,
    # figures and tables
    "figures/cross/fig1.py": {"figures/fig1.pdf"},
    "figures/cross/fig2.py": NOTHING,
    "figures/style.py": {"figures/fig1.pdf", "figures/fig3.pdf"},
    "figures/options.py": {"figures/fig1.pdf", "figures/fig3.pdf"},
    "figures/looks.py": {"figures/fig1.pdf", "figures/fig3.pdf"},
    "figures/numbers.py": {"figures/fig1.pdf", "figures/fig3.pdf"},
    "analysis/names.py": {"figures/fig1.pdf", "figures/fig3.pdf"} | LAID_OUT,
    "analysis/readable.py": LAID_OUT,
    "analysis/table_pages.py": LAID_OUT,
    "analysis/pages.py": {"figures/fig1.pdf", "figures/fig3.pdf"} | LAID_OUT,
    "analysis/tables.py": AFTER,
    "analysis/fidelity.py": JUDGED,
    # what only people ask
    "dag/cost.py": NOTHING,
    "dag/landing.py": NOTHING,
    # what is only checked
    "dag/promised.py": NOTHING,
    "dag/recorded.py": NOTHING,
}


@pytest.mark.parametrize("module", EDITS)
def test_an_edit_of_a_module_reruns_exactly_what_runs_it(project: Checkout, module: str):
    project.change_code(f"src/credit/{module}")
    assert project.planned() == EDITS[module]


SCRIPTS = {
    "fetch.py": NOTHING,
    "prepare.py": PREPARED | ALL_IMAGES | AFTER_IMAGES,
    "search.py": ALL_IMAGES | AFTER_IMAGES,
    "train.py": images("bp", "fa", "dfa", search=False) | ALL_TEACHER | AFTER,
    "plot.py": {"figures/fig1.pdf", "figures/fig3.pdf"},
    "collect.py": AFTER,
    "summarise.py": {"tables/cross/table1.csv"} | JUDGED | READABLE,
    "typeset.py": READABLE,
    "typeset_fidelity.py": {"tables/fidelity.html"},
    "fidelity.py": JUDGED,
    "_src.py": PREPARED | ALL_IMAGES | ALL_TEACHER | AFTER,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_edit_of_a_script_reruns_exactly_its_jobs(project: Checkout, script: str):
    project.change_code(f"workflow/scripts/{script}")
    assert project.planned() == SCRIPTS[script]


SPACED = {
    "more spaces": lambda command: command.replace(" ", "  "),
    "fewer spaces": lambda command: command.replace("> ", ">"),
    "several lines": lambda command: command.replace('"', '"""').replace(" {input", " \\\\\n    {input"),
}


@pytest.mark.parametrize("change", SPACED)
def test_spaces_in_the_commands_of_rules_rerun_nothing(project: Checkout, change: str):
    for path in project.root.glob("workflow/rules/*.smk"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub('"credit_script .*"', lambda found: SPACED[change](found[0]), text), encoding="utf-8")
        assert "shell:" not in text or text != path.read_text(encoding="utf-8")
    assert project.planned() == NOTHING
    project.make("--force", "results/data/digits.npz", cores=1)


def test_another_command_of_a_rule_reruns_its_jobs(project: Checkout):
    project.edit("workflow/rules/tables.smk", "_script collect", "_script collect --quiet")
    assert project.planned() == AFTER


def test_a_new_module_that_nothing_imports_reruns_nothing(project: Checkout):
    new = project.root / "src" / "credit" / "methods" / "newrule.py"
    shutil.copy(new.with_name("fa.py"), new)
    assert project.planned() == NOTHING


def test_a_new_data_set_in_a_new_format_reruns_nothing(project: Checkout):
    formats = project.root / "src/credit/data/formats"
    shutil.copy(formats / "idx.py", formats / "another.py")
    path = project.root / "config/datasets.yaml"
    text = path.read_text(encoding="utf-8")
    known = text[text.index("\nmnist:") : text.index("\nfashion_mnist:")]
    new = known.replace("mnist:", "kmnist:").replace("format: idx", "format: another").replace(": MNIST", ": KMNIST")
    path.write_text(text + new, encoding="utf-8")
    assert project.planned() == NOTHING
    project.configure("images", lambda content: content["datasets"].update(new={"data": "kmnist"}))
    runs = {name.replace("/digits/", "/new/") for name in ALL_IMAGES}
    assert project.planned() == {"data/raw/kmnist.json", "data/kmnist.npz"} | runs | AFTER_IMAGES


def test_a_syntax_error_in_a_module_stops_before_any_job_and_names_its_line(project: Checkout):
    with (project.root / "src/credit/methods/dfa.py").open("a", encoding="utf-8") as file:
        file.write("\ndef broken(:\n")
    done = project.snakemake("--cores", "2", "all")
    assert done.status != 0
    assert "src/credit/methods/dfa.py, line " in done.text
    assert "syntax error" in done.text
    assert "Traceback" not in done.text


def test_switching_branches_and_back_reruns_nothing(project: Checkout):
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=project.root, check=True, capture_output=True)

    (project.root / ".gitignore").write_text("results/\n.snakemake/\n__pycache__/\n", encoding="utf-8")
    git("init", "--initial-branch=main")
    git("add", "--all")
    git("commit", "--message=one")
    git("checkout", "-b", "other")
    project.change_code("src/credit/methods/dfa.py")
    project.change_code("src/credit/figures/cross/fig3.py")
    git("commit", "--all", "--message=two")
    assert project.planned() == images("dfa") | AFTER_IMAGES | {"figures/fig3.pdf"}
    git("checkout", "main")
    assert project.planned() == NOTHING


def test_data_that_is_prepared_again_with_the_same_bytes_reruns_nothing(project: Checkout):
    before = project.results("data")
    project.make("--force", "results/data/digits.npz", cores=1)
    assert project.results("data") == before
    assert project.planned() == NOTHING


# ---- environments


ENVIRONMENTS = {
    "train": ("torch==", ALL_IMAGES | ALL_TEACHER | AFTER),
    "analyse": ("matplotlib==", AFTER),
    "fetch": ("scikit-learn==", PREPARED | ALL_IMAGES | AFTER_IMAGES),
}


@pytest.mark.parametrize("step", ENVIRONMENTS)
def test_another_version_in_an_environment_reruns_exactly_its_step(project: Checkout, step: str):
    package, expected = ENVIRONMENTS[step]
    project.edit(f"envs/{step}.yaml", package, f"{package}0.")
    assert project.planned() == expected


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """A stand-in for the program `conda`: it makes environments in which `python` is the one of these tests."""
    folder = tmp_path / "conda" / "bin"
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("conda.sh"), folder / "conda")
    (folder / "activate").write_text('export PATH="$1/bin:$PATH"\n', encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o755)
    return folder


def test_results_made_without_conda_are_good_with_it(project: Checkout, conda: Path):
    assert project.planned("--sdm", "conda", "--", "all", path=conda) == NOTHING


def test_results_made_with_conda_are_good_without_it_and_elsewhere(project: Checkout, conda: Path, tmp_path: Path):
    before = project.results("tables")
    shutil.rmtree(project.path("runs/cross/teacher"))
    project.path("tables/cross/teacher.csv").unlink()
    text = project.make("--sdm", "conda", "--", "results/tables/cross/teacher.csv", path=conda)
    assert "Activating conda environment" in text
    assert project.results("tables") == before
    assert project.planned() == NOTHING
    assert project.copy(tmp_path / "moved").planned("--sdm", "conda", "--", "all", path=conda) == NOTHING
