"""No function takes more arguments than can be kept in mind."""

from __future__ import annotations

import ast

import pytest

from credit.provenance.sources import Sources

MOST = 12
MODULES = Sources().modules


def counts(tree: ast.AST) -> dict[str, int]:
    """{function with its line: number of named parameters}."""
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {
        f"{f.name} in line {f.lineno}": len(f.args.posonlyargs + f.args.args + f.args.kwonlyargs) for f in functions
    }


@pytest.mark.parametrize("module", MODULES)
def test_no_function_has_more_than_twelve_parameters(module):
    found = counts(ast.parse(MODULES[module].read_bytes()))
    assert not {name: n for name, n in found.items() if n > MOST}


def test_all_kinds_of_parameters_count():
    tree = ast.parse("def f(a, /, b, *c, d, **e): ...\nclass C:\n    async def g(self): ...")
    assert list(counts(tree).values()) == [3, 1]
