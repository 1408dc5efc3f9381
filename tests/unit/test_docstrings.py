"""Every public function that takes or gives a tensor says of what shape, and every public class that holds one.

Public: no leading underscore, at module level or in such a class. Takes or gives: the annotation of a parameter or of
the result names `Tensor` or `ndarray`. Says: the docstring holds a shape, as (M, B, n), (M,), () or (..., n, n), or the
words "any shape". An override may leave it to the method that it overrides, if that one takes and gives all of it.
"""

from __future__ import annotations

import ast
import re

import pytest

from credit.provenance.sources import Sources

TENSOR = re.compile(r"\b(Tensor|ndarray)\b")
LETTER = r"(?:[A-Z]|[dhkmnw])(?:_\w+|_\{[^}]+\})?"  # (gradients, deltas) or (u, singular) is no shape
AXIS = rf"(?:{LETTER}|\d+|\*?[a-z]\w+|\.\.\.)(?: ?[-+*/] ?\w+)*"
AXES = rf"(?=[^)]*(?:\b{LETTER}\b|\.\.\.))(?:{AXIS}, )*(?:{AXIS},|{AXIS}, {AXIS})"
SHAPE = re.compile(rf"(?<!\w)\(\)|\({AXES}\)|any shape")

TEXTS = {name: path.read_text("utf-8") for name, path in Sources().modules.items()}
TREES = {name: ast.parse(text) for name, text in TEXTS.items()}
CLASSES: dict[str, list[ast.ClassDef]] = {}
for _tree in TREES.values():
    for _node in _tree.body:
        if isinstance(_node, ast.ClassDef):
            CLASSES.setdefault(_node.name, []).append(_node)


def functions(node: ast.Module | ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")}


def tensors(function: ast.FunctionDef) -> set[str]:
    """Names of the parameters annotated as tensors, and "return"."""
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    notes = {a.arg: a.annotation for a in every if a} | {"return": function.returns}
    return {name for name, note in notes.items() if note and TENSOR.search(ast.unparse(note))}


def states_shapes(function: ast.FunctionDef) -> bool:
    return bool(SHAPE.search(ast.get_docstring(function) or ""))


def bases(node: ast.ClassDef) -> list[ast.ClassDef]:
    """Classes of the package above this one, nearest first."""
    names = [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]
    above = [found for name in names for found in CLASSES.get(name, ()) if found is not node]
    return above + [further for base in above for further in bases(base)]


def left_to_the_base(function: ast.FunctionDef, owner: ast.ClassDef | None) -> bool:
    above = [functions(base).get(function.name) for base in bases(owner)] if owner else []
    return any(f and states_shapes(f) and tensors(function) <= tensors(f) for f in above)


def silent(tree: ast.Module) -> list[str]:
    """Public functions with tensors whose docstrings say nothing of shapes."""
    owners = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    return [
        f"{owner.name}.{name}" if owner else name
        for owner in (None, *owners)
        for name, function in functions(owner or tree).items()
        if tensors(function) and not states_shapes(function) and not left_to_the_base(function, owner)
    ]


def silent_classes(tree: ast.Module, lines: list[str]) -> list[str]:
    """Public classes with tensors as fields whose docstrings, and comments on fields, say nothing of shapes."""
    found = []
    for node in (n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")):
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and TENSOR.search(ast.unparse(n.annotation))]
        if fields and not SHAPE.search("\n".join(lines[node.lineno : fields[-1].end_lineno])):
            found.append(node.name)
    return found


@pytest.mark.parametrize("module", TREES)
def test_public_functions_and_classes_with_tensors_state_shapes(module):
    assert not silent(TREES[module])
    assert not silent_classes(TREES[module], TEXTS[module].splitlines())
