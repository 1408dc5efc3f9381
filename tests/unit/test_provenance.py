"""Digests of code and environments: what must change them, what must not, and what the audit catches."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit.errors import ConfigError, DataError, ProvenanceError
from credit.provenance import snapshot as provenance

FILES = {
    "toy/__init__.py": '"""A toy."""\n',
    "toy/helper.py": "def half(x):\n    return x / 2\n",
    "toy/solver.py": "from toy.helper import half\n\n\ndef solve(x):\n    return half(x) + 1\n",
    "toy/rules/__init__.py": "registry = {'a': 'toy.rules.a', 'b': 'toy.rules.b'}\n",
    "toy/rules/a.py": "from ..solver import solve\nfrom . import shared\n\nresult = solve(shared.two)\n",
    "toy/rules/b.py": "def late():\n    import toy.helper as h\n\n    return h.half(3)\n",
    "toy/rules/shared.py": "two = 2\n",
    "scripts/fit.py": "import argparse\nimport _path\nfrom toy import rules\n",
    "scripts/_path.py": "import sys\n",
}


@pytest.fixture
def toy(tmp_path):
    """Folder with a small package `toy` and a script beside it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def importable(toy, monkeypatch):
    """The toy package, importable, and forgotten afterwards."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "toy"]:  # of another test
        del sys.modules[name]
    monkeypatch.syspath_prepend(toy)
    importlib.invalidate_caches()
    yield toy
    for name in [n for n in sys.modules if n.partition(".")[0] == "toy"]:
        del sys.modules[name]


def digests(toy: Path, *roots) -> dict[str, str]:
    return provenance.Sources(toy / "toy").digests(*roots)


def names(toy: Path, *roots) -> set[str]:
    return set(provenance.Sources(toy / "toy").closure(*roots))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# ---- canonical text

SOURCE = '''"""Module docstring."""
from __future__ import annotations
import os.path as p


class A(B, metaclass=C):
    """Class docstring."""

    x: int = 1

    def f(self, a, /, b=2.5, *c, d: str = "é", **e) -> None:
        """Docstring only."""

    async def g(self):
        async with self as (x, y):
            return [i async for i in x if not i or y[1:, ...]]


try:
    z = f"{x!r:>{w}.2f} and" "more" if (n := 3) else {**q, None: {1, 2j}}
except (E, F) as err:
    raise G from err
match z:
    case [1, *rest] | {"k": None}:
        lambda *, k=-0.0: (yield)
'''
CANONICAL = (
    "Module(body=[ImportFrom(module='__future__',names=[alias(name='annotations')],level=0),"
    "Import(names=[alias(name='os.path',asname='p')]),"
    "ClassDef(name='A',bases=[Name(id='B')],keywords=[keyword(arg='metaclass',value=Name(id='C'))],body=["
    "AnnAssign(target=Name(id='x'),annotation=Name(id='int'),value=Constant(value=1),simple=1),"
    "FunctionDef(name='f',args=arguments(posonlyargs=[arg(arg='self'),arg(arg='a')],args=[arg(arg='b')],"
    "vararg=arg(arg='c'),kwonlyargs=[arg(arg='d',annotation=Name(id='str'))],"
    "kw_defaults=[Constant(value='\\xe9')],kwarg=arg(arg='e'),defaults=[Constant(value=2.5)]),"
    "returns=Constant()),"
    "AsyncFunctionDef(name='g',args=arguments(args=[arg(arg='self')]),body=[AsyncWith(items=[withitem("
    "context_expr=Name(id='self'),optional_vars=Tuple(elts=[Name(id='x'),Name(id='y')]))],body=[Return("
    "value=ListComp(elt=Name(id='i'),generators=[comprehension(target=Name(id='i'),iter=Name(id='x'),"
    "ifs=[BoolOp(op=Or(),values=[UnaryOp(op=Not(),operand=Name(id='i')),Subscript(value=Name(id='y'),"
    "slice=Tuple(elts=[Slice(lower=Constant(value=1)),Constant(value=Ellipsis)]))])],is_async=1)]))])])]),"
    "Try(body=[Assign(targets=[Name(id='z')],value=IfExp(test=NamedExpr(target=Name(id='n'),"
    "value=Constant(value=3)),body=JoinedStr(values=[FormattedValue(value=Name(id='x'),conversion=114,"
    "format_spec=JoinedStr(values=[Constant(value='>'),FormattedValue(value=Name(id='w'),conversion=-1),"
    "Constant(value='.2f')])),Constant(value=' andmore')]),orelse=Dict(keys=[None,Constant()],"
    "values=[Name(id='q'),Set(elts=[Constant(value=1),Constant(value=2j)])])))],"
    "handlers=[ExceptHandler(type=Tuple(elts=[Name(id='E'),Name(id='F')]),name='err',"
    "body=[Raise(exc=Name(id='G'),cause=Name(id='err'))])]),"
    "Match(subject=Name(id='z'),cases=[match_case(pattern=MatchOr(patterns=[MatchSequence(patterns=["
    "MatchValue(value=Constant(value=1)),MatchStar(name='rest')]),MatchMapping(keys=[Constant(value='k')],"
    "patterns=[MatchSingleton()])]),body=[Expr(value=Lambda(args=arguments(kwonlyargs=[arg(arg='k')],"
    "kw_defaults=[UnaryOp(op=USub(),operand=Constant(value=0.0))]),body=Yield()))])])])"
)


def test_canonical_text_is_the_same_on_every_version_of_python():
    assert provenance.canonical(SOURCE) == CANONICAL


@pytest.mark.parametrize(
    "same",
    [
        "def f(x):\n    return x + 1\n",
        "# comment\n\n\ndef f(x):  # another\n\n    return (x+1)",
        '"""Text."""\ndef f(x):\n    """What it does."""\n    return x + \\\n        1\n',
        "def f(\n    x\n):\n    'doc'; return x + 1\n",
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(same):
    assert provenance.canonical(same) == provenance.canonical("def f(x):\n    return x + 1\n")


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    return x + 2\n",
        "def f(x):\n    return x + 1.0\n",
        "def f(x):\n    return x + True\n",
        "def f(y):\n    return y + 1\n",
        "def f(x=None):\n    return x + 1\n",
        "async def f(x):\n    return x + 1\n",
        "def f(x):\n    x = ''\n    return x + 1\n",
        "def f(x):\n    return 1 + x\n",
    ],
)
def test_any_change_of_meaning_counts(other):
    assert provenance.canonical(other) != provenance.canonical("def f(x):\n    return x + 1\n")


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
                 st.text(), st.binary()), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False)))  # fmt: skip
def test_different_constants_have_different_texts(a, b):
    same = repr(a) == repr(b)
    assert (provenance.canonical(f"x = {a!r}") == provenance.canonical(f"x = {b!r}")) == same


# ---- closure


def test_closure_follows_absolute_relative_and_late_imports_and_parent_packages(toy):
    base = {"toy", "toy.rules"}
    assert names(toy, "toy.rules.a") == base | {"toy.rules.a", "toy.rules.shared", "toy.solver", "toy.helper"}
    assert names(toy, "toy.rules.b") == base | {"toy.rules.b", "toy.helper"}
    assert names(toy, "toy.rules.shared") == base | {"toy.rules.shared"}


def test_closure_of_a_script_holds_its_neighbours_and_no_part_found_by_name(toy):
    script = toy / "scripts" / "fit.py"
    assert names(toy, script) == {"fit.py", "_path.py", "toy", "toy.rules"}
    assert names(toy, str(script), "toy.helper") == {"fit.py", "_path.py", "toy", "toy.rules", "toy.helper"}


def test_imports_for_type_checkers_do_not_count_and_those_beside_them_do(toy):
    (toy / "toy" / "typed.py").write_text(
        "import typing\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from toy import solver\n"
        "if typing.TYPE_CHECKING:\n    import toy.solver\nelse:\n    import toy.helper\n"
        "if not TYPE_CHECKING:\n    from toy.rules import shared\nelse:\n    from toy.rules import b\n"
    )
    assert names(toy, "toy.typed") == {"toy", "toy.typed", "toy.helper", "toy.rules", "toy.rules.shared"}


def test_imports_within_every_kind_of_block_count(toy):
    (toy / "toy" / "deep.py").write_text(
        "try:\n    pass\nexcept OSError:\n    import toy.helper\nfinally:\n"
        "    match 1:\n        case 2:\n            from toy.rules import *\n"
        "class A:\n    async def f(self):\n        with self:\n            from toy.rules.shared import two\n"
    )
    assert names(toy, "toy.deep") == {"toy", "toy.deep", "toy.helper", "toy.rules", "toy.rules.shared"}


def test_a_missing_module_is_an_error_that_names_file_and_line(toy):
    edit(toy / "toy" / "solver.py", "toy.helper", "toy.halper")
    with pytest.raises(ConfigError, match=r"solver\.py, line 1: imports toy\.halper, which is no module"):
        names(toy, "toy.rules.a")
    with pytest.raises(ConfigError, match=r"toy\.rules\.c: no such module; expected .*toy/rules/c\.py"):
        names(toy, "toy.rules.c")
    with pytest.raises(ConfigError, match=r"absent\.py"):
        names(toy, toy / "absent.py")


def test_a_folder_without_init_is_an_error_that_names_the_missing_file(toy):
    (toy / "toy" / "rules" / "__init__.py").unlink()
    with pytest.raises(ConfigError, match=r"toy\.rules: no such module; expected .*toy/rules/__init__\.py"):
        names(toy, "toy.rules.b")


def test_relative_imports_that_leave_the_package_are_errors(toy):
    edit(toy / "toy" / "rules" / "a.py", "..solver", "....solver")
    with pytest.raises(ConfigError, match=r"a\.py, line 1: relative import beyond the package"):
        names(toy, "toy.rules.a")


@pytest.mark.parametrize("content", [b"x = (\n", b"x = '\0'\n", b"\xff\xfe\n"])
def test_a_file_that_is_not_python_is_an_error_that_names_it(toy, content):
    (toy / "toy" / "helper.py").write_bytes(content)
    with pytest.raises(ConfigError, match=r"helper\.py"):
        names(toy, "toy.rules.b")


def test_two_scripts_of_one_name_are_refused_rather_than_mixed_up(toy):
    (toy / "other").mkdir()
    (toy / "other" / "fit.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="need different names"):
        names(toy, toy / "scripts" / "fit.py", toy / "other" / "fit.py")


# ---- digests


def test_cosmetic_edits_everywhere_change_no_digest(toy):
    before = digests(toy, "toy.rules.a", "toy.rules.b", toy / "scripts" / "fit.py")
    for path in toy.rglob("*.py"):
        body = path.read_text().removeprefix('"""A toy."""\n')
        path.write_text(f'"""Another docstring."""\n\n# comment\n{body}\n\n')
    assert digests(toy, "toy.rules.a", "toy.rules.b", toy / "scripts" / "fit.py") == before


@pytest.mark.parametrize(
    ("file", "affected"),
    [
        ("toy/helper.py", {"a", "b"}),
        ("toy/solver.py", {"a"}),
        ("toy/rules/shared.py", {"a"}),
        ("toy/rules/b.py", {"b"}),
        ("toy/__init__.py", {"a", "b"}),
    ],
)
def test_an_edit_changes_exactly_the_digests_of_closures_that_hold_the_module(toy, file, affected):
    def codes():
        sources = provenance.Sources(toy / "toy")
        return {rule: sources.code(f"toy.rules.{rule}") for rule in "ab"}

    before = codes()
    (toy / file).write_text((toy / file).read_text() + "extra = 1\n")
    after = codes()
    assert {rule for rule in "ab" if before[rule] != after[rule]} == affected


def test_a_new_unrelated_module_and_a_moved_folder_change_nothing(toy, tmp_path_factory):
    roots = ("toy.rules.a", "toy.rules.b")
    before = digests(toy, *roots, toy / "scripts" / "fit.py")
    (toy / "toy" / "rules" / "c.py").write_text("x = 1\n")
    moved = toy.rename(tmp_path_factory.mktemp("elsewhere") / "moved")
    assert digests(moved, *roots, moved / "scripts" / "fit.py") == before


def test_content_that_moves_between_modules_changes_the_code_digest(toy):
    before = provenance.combine(digests(toy, "toy.rules.a"))
    solver, shared = toy / "toy" / "solver.py", toy / "toy" / "rules" / "shared.py"
    solver_text, shared_text = solver.read_text(), shared.read_text()
    solver.write_text(shared_text), shared.write_text(solver_text)
    assert provenance.combine(digests(toy, "toy.rules.a", "toy.solver")) != before


def test_one_process_sees_one_state_of_the_sources_until_it_looks_again(toy):
    package = toy / "toy"
    before = provenance.code_digest("toy.rules.a", package_root=package)
    (package / "helper.py").write_text("half = None\n")
    assert provenance.code_digest("toy.rules.a", package_root=package) == before
    assert provenance.snapshot("toy.rules.a", package_root=package).code != before


def test_public_functions_agree_with_each_other(toy):
    package = toy / "toy"
    modules = provenance.module_digests("toy.rules.a", package_root=package)
    assert set(modules) == set(provenance.closure("toy.rules.a", package_root=package))
    assert provenance.code_digest("toy.rules.a", package_root=package) == provenance.combine(modules)
    assert provenance.snapshot("toy.rules.a", package_root=package).modules == modules
    assert all(len(d) == 16 and int(d, 16) >= 0 for d in modules.values())


def test_the_real_package_has_a_digest_and_its_methods_do_not_depend_on_each_other():
    closure = provenance.closure("credit.methods.dfa")
    assert {"credit", "credit.methods", "credit.methods.base", "credit.methods.dfa"} <= set(closure)
    assert not {"credit.methods.bp", "credit.methods.fa", "credit.methods.drtp"} & set(closure)


# ---- environments

ENV = "name: train\nchannels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip:\n    - torch==2.13.0\n"


def test_comments_blank_lines_and_place_of_an_environment_do_not_count(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(ENV)
    before = provenance.env_digest(path)
    other = tmp_path / "deep" / "other.yaml"
    other.parent.mkdir()
    other.write_text("# it's new\n\n" + ENV.replace("3.11\n", "3.11   # don't change\n\n").replace("\n", "\r\n"))
    assert provenance.env_digest(other) == before


@pytest.mark.parametrize(
    ("old", "new"), [("2.13.0", "2.12.0"), ("- python=3.11\n", ""), ("[conda-forge]", '["conda-forge #2"]')]
)
def test_real_edits_of_an_environment_count(tmp_path, old, new):
    path = tmp_path / "train.yaml"
    path.write_text(ENV)
    before = provenance.env_digest(path)
    edit(path, old, new)
    assert provenance.env_digest(path) != before


def test_text_after_a_number_sign_counts_within_quotes_and_in_a_url(tmp_path):
    path, seen = tmp_path / "train.yaml", set()
    for line in ('a: "x #1"', 'a: "x #2"', "a: 'x #1'", "https://host/pkg.conda#aa", "https://host/pkg.conda#bb"):
        path.write_text(line)
        seen.add(provenance.env_digest(path))
    assert len(seen) == 5


def test_pins_belong_to_the_environment(tmp_path):
    path, pins = tmp_path / "train.yaml", tmp_path / "train.linux-64.pin.txt"
    path.write_text(ENV)
    without = provenance.env_digest(path)
    pins.write_text("@EXPLICIT\nhttps://host/python-3.11.conda#aa\n")
    first = provenance.env_digest(path)
    pins.write_text("# platform: linux-64\n@EXPLICIT\n\nhttps://host/python-3.11.conda#aa\n")
    assert provenance.env_digest(path) == first != without
    pins.write_text("@EXPLICIT\nhttps://host/python-3.11.conda#bb\n")
    assert provenance.env_digest(path) not in (first, without)


def test_a_missing_environment_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: environment file cannot be read"):
        provenance.env_digest(tmp_path / "none.yaml")


# ---- inside a job


def test_a_job_whose_code_is_as_declared_passes(importable):
    taken = provenance.snapshot("toy.rules.a", package_root=importable / "toy")
    taken.check(taken.code)
    importlib.import_module("toy.rules.a")
    taken.check(taken.code, loaded=True)


def test_a_lazily_loaded_module_is_an_undeclared_dependency(importable):
    (importable / "toy" / "solver.py").write_text(
        "import importlib\n\n\ndef solve(x):\n    return importlib.import_module('toy.rules.b').late() + x\n"
    )
    taken = provenance.snapshot("toy.rules.a", package_root=importable / "toy")
    importlib.import_module("toy.rules.a")
    taken.check(taken.code)
    with pytest.raises(ProvenanceError, match=r"undeclared code dependency: toy\.helper, toy\.rules\.b was loaded"):
        taken.check(taken.code, loaded=True)
    provenance.snapshot("toy.rules.a", "toy.rules.b", package_root=importable / "toy").check(loaded=True)


def test_source_that_is_edited_in_mid_run_fails_the_job_and_names_the_modules(toy):
    taken = provenance.snapshot("toy.rules.a", package_root=toy / "toy")
    edit(toy / "toy" / "helper.py", "x / 2", "x / 3")  # as many bytes as before
    with pytest.raises(ProvenanceError, match=r"source was edited while the job ran: toy\.helper;"):
        taken.check(taken.code)


def test_a_dependency_added_removed_or_broken_in_mid_run_fails_the_job(toy):
    taken = provenance.snapshot("toy.rules.a", package_root=toy / "toy")
    edit(toy / "toy" / "solver.py", "toy.helper", "toy.rules.b")
    with pytest.raises(ProvenanceError, match=r"toy\.rules\.b, toy\.solver"):
        taken.check(taken.code)
    (toy / "toy" / "solver.py").write_text("def (")
    with pytest.raises(ProvenanceError, match=r"edited while the job ran: .*solver\.py, line 1: syntax error"):
        taken.check(taken.code)


def test_a_comment_in_mid_run_is_no_edit(toy):
    taken = provenance.snapshot("toy.rules.a", package_root=toy / "toy")
    (toy / "toy" / "helper.py").write_text("# a comment\n" + FILES["toy/helper.py"])
    taken.check(taken.code)


def test_a_job_refuses_code_that_its_spec_was_not_made_from(toy):
    taken = provenance.snapshot("toy.rules.a", package_root=toy / "toy")
    with pytest.raises(ProvenanceError, match=r"not what this job was planned with: code digest \w+, spec\.code = 0a"):
        taken.check("0a")


def test_a_relative_script_is_still_found_after_a_change_of_folder(toy, monkeypatch):
    monkeypatch.chdir(toy)
    taken = provenance.snapshot("scripts/fit.py", package_root="toy")
    monkeypatch.chdir("/")
    taken.check(taken.code)


# ---- what a result records


def test_a_record_holds_digests_versions_and_what_the_job_adds(toy):
    taken = provenance.snapshot("toy.rules.a", package_root=toy / "toy")
    record = provenance.record(taken, device="cpu", threads=1)
    assert record["code"] == taken.code
    assert record["modules"] == taken.modules
    assert record["python"].count(".") == 2
    assert "numpy" in record["packages"]
    assert record["cpu"]
    assert (record["device"], record["threads"]) == ("cpu", 1)
    assert json.loads(json.dumps(record)) == record


def test_git_state_is_the_commit_and_whether_files_differ_from_it(toy, monkeypatch):
    assert provenance.git_state(toy / "toy") is None
    for variable in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{variable}_NAME", "a")
        monkeypatch.setenv(f"{variable}_EMAIL", "a@example.org")

    def git(*arguments):
        subprocess.run(["git", "-C", str(toy), *arguments], check=True, capture_output=True)

    git("init", "-q")
    assert provenance.git_state(toy / "toy") is None, "untracked: the repository only surrounds the package"
    (toy / "results").mkdir()
    (toy / "results" / "README.md").write_text("x")
    git("add", "."), git("commit", "-qm", "all")
    state = provenance.git_state(toy / "toy")
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    shutil.rmtree(toy / "results")
    (toy / "results").symlink_to(toy.parent)
    assert provenance.git_state(toy / "toy") == state, "a link in place of results is no edit"
    (toy / "new.txt").write_text("x")
    assert provenance.git_state(toy / "toy") == {**state, "dirty": True}
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(toy / "toy") is None


SPEC = {"version": 1, "code": "aa", "env": "e1", "data": {"sha256": "d1"}, "train": {"optimizer": {"lr": 0.001}}}
MODULES = {"credit": "1", "credit.training.loop": "2", "credit.methods.dfa": "3"}


@pytest.fixture
def result(tmp_path):
    """A run's file with SPEC and MODULES in its first line."""
    path = tmp_path / "shard0.jsonl"
    header = {"spec": SPEC, "provenance": {"modules": MODULES}}
    path.write_text(json.dumps(header) + '\n{"seed": 0}\nnot even json\n')
    return path


def test_headers_are_read_from_runs_and_choices(result, tmp_path):
    assert provenance.read_header(result)["spec"] == SPEC
    choice = tmp_path / "choice.json"
    content = {"spec": SPEC, "provenance": {"modules": MODULES}, "choice": {"train.optimizer.lr": 0.1}}
    choice.write_text(json.dumps(content, indent=1))
    assert provenance.read_header(choice) == content
    assert provenance.why(choice, SPEC, MODULES) == []


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b'{"spec": {}}\n', b"[1]\n", b'{"spec": {"a"', b"\xff"])
def test_a_file_without_an_embedded_spec_is_a_clear_error(tmp_path, content):
    for name in ("shard0.jsonl", "choice.json", "fig1.csv"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: embeds no spec and provenance; runs \(\.jsonl\) and choices"):
            provenance.read_header(tmp_path / name)


def test_a_missing_result_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read: No such file"):
        provenance.read_header(tmp_path / "none.jsonl")


def test_nothing_is_said_of_a_result_that_is_up_to_date(result):
    assert provenance.why(result, SPEC, MODULES) == []


def test_why_names_modules_instead_of_the_digest_over_them(result):
    now = {"credit": "1", "credit.methods.dfa": "9", "credit.numerics.rand": "4"}
    assert provenance.why(result, {**SPEC, "code": "bb"}, now) == [
        "module credit.methods.dfa: changed",
        "module credit.numerics.rand: new dependency",
        "module credit.training.loop: no longer used",
    ]


def test_why_names_parameters_data_and_environment_with_both_values(result):
    spec = {**SPEC, "env": "e2", "data": None, "train": {"optimizer": {"lr": 0.01}, "sizes": (1, 2), "probes": {}}}
    assert provenance.why(result, spec, MODULES) == [
        "data: (absent) -> null",
        'data.sha256: "d1" -> (absent)',
        'env: "e1" -> "e2"',
        "train.optimizer.lr: 0.001 -> 0.01",
        "train.probes: (absent) -> {}",
        "train.sizes: (absent) -> [1, 2]",
    ]


def test_tuples_are_no_difference_to_the_lists_that_json_makes_of_them(tmp_path):
    path = tmp_path / "shard0.jsonl"
    path.write_text(json.dumps({"spec": {"sizes": [1, 2]}, "provenance": {}}) + "\n")
    assert provenance.why(path, {"sizes": (1, 2)}, {}) == []


def test_a_job_parses_a_file_again_only_if_its_content_has_changed(tmp_path, monkeypatch):
    root = tmp_path / "pack"
    root.mkdir()
    (root / "__init__.py").write_text("")
    file = root / "a.py"
    file.write_text("x = 1\n")
    taken, parsed = provenance.snapshot("pack.a", package_root=root), []
    monkeypatch.setattr(ast, "parse", lambda text, real=ast.parse: parsed.append(text) or real(text))
    file.write_text("x = 1\n")
    taken.check()
    assert parsed == []
    file.write_text("x = 2\n")
    with pytest.raises(ProvenanceError, match=r"edited while the job ran: pack\.a"):
        taken.check()
    assert parsed == [b"x = 2\n"]
