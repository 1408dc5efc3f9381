"""The documentation says what is there: commands, keys, names, links, versions; and its examples run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import types
from pathlib import Path

import pandas as pd
import pytest
import yaml

import credit
from credit.__main__ import main
from credit.analysis import names
from credit.analysis.fidelity import PUBLISHED
from credit.analysis.judgement import VERDICTS
from credit.config import hyperparameters
from credit.config.parts import METHODS, NETS, PROBES, TASKS
from credit.dag.commands import configuration
from credit.dag.cost import needed_jobs
from credit.dag.targets import Workflow
from credit.provenance.records import read_result
from tests.conftest import REPOSITORY
from tests.pages import COUNTING, SENTENCE, counted

DOCUMENTS = [
    *REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("docs/concepts/*.md"),
    REPOSITORY / "config" / "README.md", REPOSITORY / "profiles" / "README.md", *REPOSITORY.glob("results/README.md"),
]  # fmt: skip
LATER = {"docs/img/fig1.png"}  # pictures that come from a run at paper scale
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(REPOSITORY)))


def read(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def examples(path: str) -> dict[str, str]:
    """{file: content} of the files that a document gives in full: its name in backquotes, a colon, a code block."""
    return dict(re.findall(r"`([\w./-]+)`:\n\n```\w+\n(.*?)```", read(path), flags=re.DOTALL))


def commands(text: str) -> list[list[str]]:
    """Command lines of the code blocks without a language, as words."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the repository in which the examples of both guides have been followed."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("src", "config", "workflow", "envs"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "conftest.py", "unit/test_methods.py"):
        write(folder, {f"tests/{name}": read(f"tests/{name}")})
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    rule, experiment = examples("docs/adding-a-learning-rule.md"), examples("docs/adding-an-experiment.md")
    entry, edited = rule.pop("config/experiments/cross/images.yaml"), folder / "config/experiments/cross/images.yaml"
    write(folder, rule | experiment)
    entry += re.search(r"^  sign_symmetry-uniform.*\n", read("docs/adding-a-learning-rule.md"), flags=re.MULTILINE)[0]
    edited.write_text(re.sub(r"^methods:\n(?:  .*\n)+", entry, edited.read_text(), flags=re.MULTILINE))
    return folder


def run(folder: Path, *words: str) -> str:
    """Standard output of Python in the copy, with the copy's package."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- commands and links


def test_targets_in_the_documents_exist(tmp_path):
    """The guide's experiment is added: its commands are among those of the documents."""
    from snakemake.cli import get_argument_parser

    for name in ("config", "workflow", "envs"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    write(tmp_path, examples("docs/adding-an-experiment.md") | examples("docs/own-data.md"))
    found = 0
    for document in DOCUMENTS:
        for words in commands(document.read_text(encoding="utf-8")):
            if words[0] == "snakemake":
                args = get_argument_parser().parse_args(words[1:])
                files, entries, targets = args.configfile, args.config or [], args.targets
            elif words[:2] == ["credit", "plan"]:
                files, entries = [], words[words.index("--config") + 1 :] if "--config" in words else []
                targets = words[2:3]
            else:
                continue
            workflow = Workflow(configuration([tmp_path / f for f in files], entries, tmp_path), tmp_path)
            for target in set(targets) - {"bench", "TARGET"}:
                assert needed_jobs(workflow, target), f"{document}: {target}"
                found += 1
    assert found > 10


def test_every_run_in_the_documents_is_one_that_snakemake_is_called_for(monkeypatch, capsys):
    """Targets fit, and every setting is possible in all that it is of."""
    monkeypatch.chdir(REPOSITORY)
    called: list[list[str]] = []
    monkeypatch.setattr("credit.dag.calling.os.execv", lambda _, words: called.append(words))
    lines = [words[1:] for d in DOCUMENTS for words in commands(d.read_text("utf-8")) if words[:2] == ["credit", "run"]]
    for words in lines:
        with pytest.raises(AssertionError, match="never reached"):
            main(words)
    assert len(called) == len(lines) >= 3


MANY = (
    r"--(?:config|configfile|forcerun|force-use-threads|resources|set-resources|set-threads|sdm|rerun-triggers|until)"
)


def test_an_option_that_takes_all_that_follows_is_ended_before_the_target():
    """Snakemake would read the target as one more value: --forcerun train TARGET, --config seeds=2 TARGET."""
    found = 0
    sources = [REPOSITORY / "Snakefile", *REPOSITORY.glob("config/*.yaml"), *REPOSITORY.glob("src/credit/**/*.py")]
    for path in {*DOCUMENTS, *sources} - {REPOSITORY / "CHANGELOG.md"}:
        text = path.read_text(encoding="utf-8")
        blocks = [line.partition("#")[0] for line in re.findall(r"^snakemake .*$", text, re.MULTILINE)]
        spans = re.findall(r"`((?:snakemake )[^`]*|--[a-z][^`]*)`", text) if path.suffix == ".md" else []
        comments = re.findall(r"#.*(snakemake [^`\n]*--.*)$", text, re.MULTILINE)
        for command in [*blocks, *spans, *comments]:
            option = re.search(rf"{MANY} (?!…)\S", command)
            if option and "credit" not in command:
                assert re.search(r" -- \S", command[option.start() :]), f"{path}: {command}"
                found += 1
    assert found > 10


def test_make_targets_in_the_documents_exist():
    known = set(re.findall(r"^([\w-]+):", read("Makefile"), flags=re.MULTILINE)) | {".venv/.complete"}
    texts = [d.read_text(encoding="utf-8") for d in DOCUMENTS] + [read(".github/workflows/ci.yml")]
    named = {name for text in texts for name in re.findall(r"(?:^|`|run: |1 )make ([\w./-]+)", text, re.MULTILINE)}
    assert {"demo", "test", "lint"} <= named <= known


def test_every_command_of_the_package_in_the_documents_exists_and_has_its_section():
    listed = run(REPOSITORY, "-m", "credit", "--help").partition("\n\nRun it")[0]
    known = set(re.findall(r"^  (\w+) ", listed, re.MULTILINE))
    for document in DOCUMENTS:
        for name in re.findall(
            r"(?:^|`|\$ )(?:python -m )?credit ([a-z]+)", document.read_text(encoding="utf-8"), re.M
        ):
            assert name in known, f"{document}: credit {name}"
    assert {"plan", "show", "diff", "list"} <= known
    page = read("docs/commands.md")
    assert set(re.findall(r"^\| \[`(\w+)`\]\(#", page, re.MULTILINE)) == known
    titles = " ".join(re.findall(r"^## (.*)$", page, re.MULTILINE))
    assert all(re.search(rf"\b{name}\b", titles) for name in known)


@pytest.fixture
def unpacked(tmp_path, monkeypatch) -> Path:
    """The present folder: one in which the kept runs that pages speak of are unpacked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    with tarfile.open(REPOSITORY / "docs/results/records/pc-example.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def sessions(page: str) -> list[tuple[str, str]]:
    """(command, what a page shows of its output), in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", read(page), re.DOTALL | re.MULTILINE)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


def as_shown(shown: str, printed: str) -> bool:
    """Whether a command printed what a page shows; `…` stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, shown.strip().split("…"))), printed.strip(), re.DOTALL) is not None


def test_the_page_of_commands_shows_what_they_print(unpacked, capsys):
    """Its sessions, one after another."""
    asked = sessions("docs/commands.md")
    for command, shown in asked:
        main(shlex.split(command)[1:])
        printed = capsys.readouterr()
        assert as_shown(shown, printed.out), f"{command}\n{printed.out}{printed.err}"
    assert {shlex.split(command)[1] for command, _ in asked} >= {
        "plan",
        "list",
        "show",
        "diff",
        "why",
        "verify",
        "export",
        "cite",
    }


CONCEPTS = sorted(p.relative_to(REPOSITORY).as_posix() for p in REPOSITORY.glob("docs/concepts/*.md"))


@pytest.mark.parametrize("page", CONCEPTS)
def test_the_code_and_the_sessions_of_a_concept_end_as_written(page, unpacked, capsys):
    scope: dict = {}
    for code in re.findall(r"```python\n(.*?)```", read(page), re.DOTALL):
        exec(code, scope)
    for command, shown in sessions(page):
        capsys.readouterr()
        main(shlex.split(command)[1:])
        printed = capsys.readouterr()
        assert as_shown(shown, printed.out), f"{command}\n{printed.out}{printed.err}"


@every_document
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if str(path.relative_to(REPOSITORY)) in LATER:
            continue
        assert path.exists(), f"{document}: {target}"
        assert not anchor or anchor in headings(path), f"{document}: {target}"


def headings(path: Path) -> set[str]:
    """Anchors of a document's headings, as they are made on the web."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


# ---- names and keys


def keys(schema: object) -> set[str]:
    """Names of all properties in a JSON schema."""
    if isinstance(schema, list):
        return {key for item in schema for key in keys(item)}
    if not isinstance(schema, dict):
        return set()
    own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
    return own | {key for value in schema.values() for key in keys(value)}


def documented(text: str) -> set[str]:
    """Words in backquotes."""
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}


@pytest.mark.parametrize("name", ["config", "datasets", "experiment"])
def test_every_key_of_the_configuration_is_documented(name):
    schema = yaml.safe_load(read(f"workflow/schemas/{name}.schema.yaml"))
    assert keys(schema) - documented(read("config/README.md")) == set()


@pytest.mark.parametrize("registry", [NETS, TASKS, PROBES], ids=["nets", "tasks", "probes"])
def test_every_setting_of_nets_tasks_and_probes_is_documented(registry):
    text = documented(read("config/README.md"))
    for name in registry.names():
        if (
            (REPOSITORY / "src" / registry.module(name).replace(".", "/"))
            .with_suffix(".py")
            .read_text()
            .count("\npart = ")
        ):
            assert {name, *hyperparameters.fields(registry.module(name))} - text == set(), name


def test_every_column_of_published_numbers_is_documented():
    assert set(PUBLISHED) - documented(read("config/README.md")) == set()


def test_the_table_of_names_has_every_learning_rule_and_its_state():
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\w ]+) \|$", read("README.md"), flags=re.MULTILINE)
    implemented = {name for name, state in rows if state == "implemented"}
    assert implemented == set(METHODS.names())
    assert {state for _, state in rows} <= {"implemented", "to come"}
    assert {name for name, _ in rows} <= set(names.METHODS)


def test_readme_and_contributing_stay_short():
    rows = len(re.findall(r"^\| `\w+` \|.*$", read("README.md"), flags=re.MULTILINE))  # one for each learning rule
    assert read("README.md").count("\n") - rows < 170
    assert read("CONTRIBUTING.md").count("\n") <= 60


def test_versions_agree():
    citation = yaml.safe_load(read("CITATION.cff"))
    newest = re.search(r"^## \[([\w.]+)\]", read("CHANGELOG.md"), flags=re.MULTILINE)[1]
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == credit.__version__
    assert citation["version"] == newest == credit.__version__


def test_the_citation_names_the_five_papers():
    references = yaml.safe_load(read("CITATION.cff"))["references"]
    first = [r["authors"][0]["family-names"] for r in references]
    assert first == ["Meulemans", "Podlaski", "Ernoult", "Dellaferrera", "Song"]


# ---- examples


def test_the_python_example_of_the_readme_runs():
    code = re.search(r"```python\n(.*?)```", read("README.md"), flags=re.DOTALL)[1]
    scope: dict = {}
    exec(code, scope)
    shape = re.search(r'\["weight"\]\.shape\s+# (\([\d, ]+\))', code)[1]
    assert str(tuple(scope["step"].gradients["0"]["weight"].shape)) == shape


def test_the_example_of_a_learning_rule_passes_the_contract_and_its_own_test(checkout):
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit", "-k", "sign_symmetry"]
    assert " passed" in run(checkout, *words)


def test_the_entries_of_the_examples_are_accepted(checkout):
    plan = run(checkout, "-m", "credit", "plan", "all", "--config", "methods=sign_symmetry,sign_symmetry-uniform")
    assert "cross/images" in plan
    assert "cross/few_samples" in run(checkout, "-m", "credit", "plan", "results/figures/few_samples.pdf")
    searched = (24 * 2 + 5) + (40 * 2 + 5) + (3 * 2 + 5)  # trials or points and seeds of each method
    plan = run(checkout, "-m", "credit", "plan", "cross/drawn")
    assert re.search(r"^total +(\d+) +(\d+) ", plan, flags=re.MULTILINE).groups() == ("6", str(searched))


def test_the_example_of_a_variation_is_planned_like_what_it_extends(checkout):
    methods = ("--config", "methods=bp,fa")
    wide, other = (
        run(checkout, "-m", "credit", "plan", f"cross/{name}", *methods).splitlines()[2].split()
        for name in ("student_wide", "student_teacher")
    )
    assert (wide[0], wide[1:3]) == ("cross/student_wide", other[1:3]), "as many jobs and networks"
    assert "cross/student_wide" in run(checkout, "-m", "credit", "plan", "results/figures/student_wide.pdf")


def test_the_example_of_weights_trains_one_run_from_another_and_reads_them_back(checkout, tmp_path):
    look = (
        "import json; from pathlib import Path; from credit.dag.commands import configuration; "
        "from credit.dag.targets import Workflow; "
        "w = Workflow(configuration([Path('config/quick.yaml')], [], Path.cwd()), Path.cwd()); "
        "print(json.dumps([w.train_spec('cross/after_bp', 'teacher', *job) for job in (('bp', 0), ('dfa', 0))]))"
    )
    out, kept = [tmp_path / "bp.jsonl", tmp_path / "dfa.jsonl"], tmp_path / "bp.safetensors"
    more = (["--outputs", str(kept)], [str(kept)])
    for spec, path, inputs in zip(json.loads(run(checkout, "-c", look)), out, more):
        run(checkout, "workflow/scripts/train.py", json.dumps(spec), str(path), *inputs)
    (_, before), (_, after) = map(read_result, out)
    last, first = ({r["metric"]: r["value"] for r in rows if r["epoch"] == e} for rows, e in ((before, 2), (after, 0)))
    assert len(first) == 2
    assert first.items() <= last.items()
    code = re.search(r"```python\n(from credit.training.*?)```", read("docs/adding-an-experiment.md"), re.DOTALL)[1]
    scope: dict = {}
    exec(re.sub(r'"results/.*?"', repr(str(kept)), code), scope)
    assert scope["kept"].params["0"]["weight"].shape == (1, 20, 15)
    assert scope["kept"].member(0)["0"]["weight"].shape == (20, 15)


def test_the_example_of_a_figure_draws_a_curve_for_every_method(tmp_path, monkeypatch):
    name, text = "src/credit/figures/cross/few_samples.py", "docs/adding-an-experiment.md"
    (tmp_path / "credit/figures/cross").mkdir(parents=True)
    path = tmp_path / name.removeprefix("src/")
    path.write_text(examples(text)[name], encoding="utf-8")
    (path.parent.with_name("options.py")).symlink_to(REPOSITORY / "src/credit/figures/options.py")

    def part_of(module, root, name=None):  # its options are read from its source: here, from a package that holds it
        return hyperparameters.Part(module, tmp_path / "credit", name)

    monkeypatch.setattr(hyperparameters, "part_of", part_of)
    scope: dict = {"__name__": "credit.figures.cross.few_samples"}
    monkeypatch.setitem(sys.modules, scope["__name__"], types.ModuleType(scope["__name__"]))
    exec(examples(text)[name], scope)
    rows = [
        {"paper": "cross", "experiment": "few_samples", "dataset": f"digits_{n}", "method": method, "seed": seed,
         "epoch": 1, "step": 5, "metric": "test_error", "layer": "", "value": (1 + seed) / n, "data_verified": True}
        for n in (100, 300) for method in ("bp", "dfa") for seed in range(3)
    ]  # fmt: skip
    figure = scope["draw"](pd.DataFrame(rows), {"rules": {}})
    curves = figure.axes[0].containers
    assert [c.get_label() for c in curves] == ["BP", "DFA"]
    assert [list(c.lines[0].get_xdata()) for c in curves] == [[100, 300]] * 2
    assert list(curves[0].lines[0].get_ydata()) == pytest.approx([2.0, 2 / 3])


def results() -> pd.DataFrame:
    return pd.read_csv(REPOSITORY / "docs/results/fidelity.csv")


@pytest.mark.parametrize("name", COUNTING)
def test_pages_count_the_verdicts_of_the_table(name):
    text, table = read(name), results()
    stated = SENTENCE.findall(text)
    mine = table[table.artefact.str.startswith(COUNTING[name]) & (table.verdict != "not counted")]
    groups = {anchor == "printed" for anchor in mine.anchor}
    assert len(stated) == len(groups), "printed ones, and others"
    assert counted(text, table, COUNTING[name]) == text, "python -m tests.pages --verdicts writes them"


def test_the_numbers_printed_in_the_papers_are_counted_once():
    table = results()
    printed = table[table.anchor == "printed"]
    assert len(printed) == 44
    assert not printed.duplicated(["artefact", "dataset", "metric", "reference_mean", "reference_sd"]).any()
    assert set(printed.verdict) <= {*VERDICTS, "not run"}


def test_numbers_from_copied_images_are_marked_where_the_pages_show_them():
    table = results()
    copied = set(table.loc[table.data_verified.astype(str).str.lower() == "false", "artefact"])
    assert copied == {"dtp/fig42_numbers", "pepita/table1", "pepita/table2", "pepita/tutorial"}
    for paper in ("dtp", "pepita"):
        text = " ".join(read(f"docs/results/{paper}/README.md").split())
        assert "98 of 60,000 images went through a lossy compression; † marks what was made from it" in text
        assert text.count("†") > 1


@pytest.mark.parametrize(("paper", "rows"), [("pepita", 8), ("dfc", 11)])
def test_numbers_beside_published_ones_are_those_of_the_table(paper, rows):
    table, checked = results(), 0
    for line in read(f"docs/results/{paper}/README.md").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) < 4 or not re.fullmatch(r"[\d.]+ ± [\d.]+", cells[-2]):
            continue
        checked += 1
        found, (mean, sd) = cells[-3].partition(" ")[0], (float(n) for n in cells[-2].split(" ± "))
        rounding = 0.51 * 10.0 ** -len(found.partition(".")[2])
        assert abs((float(found) - mean) / sd - float(cells[-1])) <= 0.051 + rounding / sd, line
        if "-default" in cells[0]:  # held against the published number of another method, as its page says
            continue
        same = table[(table.reference_mean == mean) & (table.reference_sd == sd)]
        assert ((same.reproduced_mean - float(found)).abs() <= rounding).any(), line
    assert checked >= rows
