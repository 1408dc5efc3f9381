"""Who may import whom. A layer may import itself and the layers below it, never one above."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

import credit
from credit.config.parts import METHODS
from credit.provenance.snapshot import closure
from credit.provenance.sources import Sources

LAYERS = (  # top to bottom; packages, but for `errors`
    {"interactive"},
    {"dag"},
    {"costs"},
    {"training"},
    {"figures"},
    {"analysis"},
    {"probes"},
    {"methods"},
    {"tasks"},
    {"nets"},
    {"optim"},
    {"data"},
    {"numerics"},
    {"provenance"},
    {"config"},
    {"errors"},
    {"watching"},
)
ANYTHING = {"", "__main__", "bench"}  # the package itself, the command line, the benchmarks
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
READ_TABLES = {"figures", "analysis"}

AT_PARSE_TIME = (
    "analysis.names", "config.hyperparameters", "config.parts", "config.registry", "dag.audit", "dag.commands",
    "dag.cost", "dag.experiment", "dag.own", "dag.progress", "dag.settings", "dag.start", "dag.stopping", "dag.targets",
    "dag.transport", "dag.watch", "watching.live", "data.catalog", "errors", "interactive.specs", "nets.geometry",
    "costs.dfc", "nets.work",
    "provenance.records", "provenance.snapshot", "provenance.spec",
)  # fmt: skip

SOURCES = Sources()


def layer_name(module: str) -> str:
    """Top-level name within the package; '' for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def own(module: str) -> bool:
    """Whether a module makes figures or tables of tables."""
    return layer_name(module) in READ_TABLES


def foreign_imports(module: str) -> set[str]:
    """Top-level names of everything that a module's file imports, wherever it stands."""
    names = set()
    for node in ast.walk(ast.parse(SOURCES.modules[module].read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("name", sorted({layer_name(m) for m in SOURCES.modules} - ANYTHING))
def test_every_module_has_a_layer(name):
    assert name in RANK, f"credit.{name} is new: say in LAYERS of {__file__} where it belongs"


@pytest.mark.parametrize("module", [m for m in SOURCES.modules if layer_name(m) not in ANYTHING])
def test_a_module_imports_nothing_from_above(module):
    rank = RANK.get(layer_name(module), len(LAYERS))
    above = [m for m in SOURCES.imports(module) if m != "credit" and RANK.get(layer_name(m), -1) < rank]
    assert not above, f"{module} imports {', '.join(above)} from a layer above its own (LAYERS in {__file__})"


def test_nothing_imports_the_command_line_or_the_benchmarks():
    users = {
        module: sorted(found)
        for module in SOURCES.modules
        if layer_name(module) not in ANYTHING
        and (found := {m for m in SOURCES.imports(module) if layer_name(m) in ANYTHING - {""}})
    }
    assert not users


@pytest.mark.parametrize("name", [n for n in AT_PARSE_TIME if f"credit.{n}" in SOURCES.modules])
def test_what_the_snakefile_imports_loads_no_torch(name):
    code = f"import sys, credit.{name}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, f"credit.{name} loads torch, or fails:\n{done.stderr}"


@pytest.mark.parametrize("module", [m for m in SOURCES.modules if own(m)])
def test_figures_and_tables_know_nothing_of_torch(module):
    guilty = [m for m in closure(module) if "torch" in foreign_imports(m)]
    assert not guilty, f"{module} reaches torch through {', '.join(guilty)}"


@pytest.mark.parametrize(
    "name",
    ["errors", *(f"config.{m}" for m in ("registry", "fields", "hyperparameters", "parts"))]
    + [f"provenance.{m}" for m in ("archive", "files", "records", "snapshot", "sources", "spec")],
)
def test_what_every_job_needs_uses_the_standard_library_only(name):
    allowed = sys.stdlib_module_names | {"credit"}
    assert foreign_imports(f"credit.{name}") <= allowed


def test_at_the_top_are_packages_only():
    flat = [m for m in SOURCES.modules if m.count(".") == 1 and SOURCES.modules[m].name != "__init__.py"]
    assert sorted(flat) == ["credit.__main__", "credit.errors"]


PACKAGES = [m for m, path in SOURCES.modules.items() if path.name == "__init__.py"]
BINDS_WHEN_CALLED = {"credit.optim": {"credit.optim.config", "credit.optim.optimizers"}}  # `credit.optim.optimizer`


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_none_of_its_modules(package):
    """Otherwise every part of it would depend on every other."""
    inside = {m for m in SOURCES.imports(package) if m.startswith(f"{package}.")}
    assert inside == BINDS_WHEN_CALLED.get(package, set())


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_takes_the_name_of_a_function_of_its_package(package):
    """`import credit.optim.optimizer` would bind the module over the function `credit.optim.optimizer`."""
    body = ast.parse(SOURCES.modules[package].read_bytes()).body
    defined = {n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    defined |= set(credit._EXPORTS) if package == "credit" else set()
    assert not {name for name in defined if f"{package}.{name}" in SOURCES.modules}


def test_rules_stand_flat_and_machinery_in_wings():
    """`methods/` is its table of contents: a file is a rule, but for those that its registry leaves out."""
    for module, path in SOURCES.modules.items():
        if module.startswith("credit.methods.") and path.name != "__init__.py":
            tree = ast.parse(path.read_bytes())
            is_rule = any(isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "part" for n in tree.body)
            flat = module.removeprefix("credit.methods.")
            assert is_rule == (flat in METHODS.names()), f"{module}: a rule is a file of credit/methods that has a part"
            assert "." in flat or is_rule or flat in METHODS.others, f"{module}: machinery belongs into a wing"


def test_wings_know_no_rule():
    rules = {METHODS.module(name) for name in METHODS.names()}
    wings = [m for m in SOURCES.modules if m.startswith("credit.methods.") and m.count(".") > 2]
    assert not {wing: found for wing in wings if (found := rules & set(SOURCES.closure(wing)))}


def test_no_file_of_the_rules_hides_behind_an_underscore():
    names = [m.rpartition(".")[2] for m in SOURCES.modules if m.startswith("credit.methods.")]
    assert not [n for n in names if n.startswith("_")]
