"""Small faults in Python source: what can go wrong in a formula, one edit each, found by its syntax tree.

A fault replaces one expression and leaves the rest of the text as it is. Messages, annotations, decorators, imports
and estimates of cost are left out: tests of formulas have nothing to say of them.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FLIPPED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
SHIFTED = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="}
ORDERED = (ast.Sub, ast.Div, ast.MatMult)  # operators whose operands may not be swapped
IGNORED = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom)
KINDS = ("sign", "term", "operands", "operator", "constant", "off by one", "transpose", "condition")
SYMBOLS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@"}


@dataclass(frozen=True)
class Fault:
    """One edit: `before` at `start` (byte of the UTF-8 text) of the file becomes `after`."""

    kind: str
    path: Path
    line: int
    start: int
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        """The source with the fault in it."""
        old = self.before.encode()
        assert source[self.start : self.start + len(old)] == old
        return source[: self.start] + self.after.encode() + source[self.start + len(old) :]


def faults(path: Path, source: bytes) -> list[Fault]:
    """All faults of a module that leave it readable as Python, in the order of the text."""
    tree, lines = ast.parse(source), source.split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)

    def span(node: ast.AST) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    found = {}
    for node in _formulas(tree):
        start, end = span(node)
        before = source[start:end].decode()
        for kind, after in _edits(node, lambda part: source[slice(*span(part))].decode()):
            fault = Fault(kind, path, node.lineno, start, before, after)
            if after != before and _readable(after):
                found[start, before, after] = fault
    return sorted(found.values(), key=lambda f: (f.start, f.before, f.after))


def _readable(expression: str) -> bool:
    try:
        ast.parse(f"({expression})", mode="eval")
    except SyntaxError:
        return False
    return True


def _formulas(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes below `node` in which a fault would be one of the formula."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, IGNORED) and not _idle(child):
                if isinstance(child, ast.expr):
                    yield child
                if not isinstance(child, ast.JoinedStr):
                    yield from _formulas(child)


def _idle(node: ast.AST) -> bool:
    """Estimates of cost, and `strict` of zip, which is about lists that are as long as each other anyway."""
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.target).endswith("cost")


def _edits(node: ast.AST, text) -> Iterator[tuple[str, str]]:
    """(kind, new text) of the faults of one node. text: source of a part of it."""
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node, text(node.left), text(node.right))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        yield ("sign" if isinstance(node.op, ast.USub) else "condition"), f"({text(node.operand)})"
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SHIFTED:
        yield "condition", f"{text(node.left)} {SHIFTED[type(node.ops[0])]} {text(node.comparators[0])}"
    elif isinstance(node, ast.IfExp):
        yield "condition", f"({text(node.orelse)} if {text(node.test)} else {text(node.body)})"
    elif isinstance(node, ast.BoolOp):
        word = "or" if isinstance(node.op, ast.And) else "and"
        yield "condition", "(" + f" {word} ".join(map(text, node.values)) + ")"
    elif isinstance(node, ast.Constant):
        yield from _of_constant(node.value)
    elif isinstance(node, ast.Attribute) and node.attr in ("mT", "T"):
        yield "transpose", text(node.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "transpose":
        yield "transpose", text(node.func.value)
    elif isinstance(node, ast.Call) and text(node.func) == "range":
        yield "off by one", f"range({', '.join([*map(text, node.args[:-1]), f'({text(node.args[-1])}) - 1'])})"


def _of_operation(node: ast.BinOp, left: str, right: str) -> Iterator[tuple[str, str]]:
    operator = type(node.op)
    if operator not in SYMBOLS or "'" in left + right or '"' in left + right:  # texts are added too
        return
    if operator in FLIPPED:
        yield ("sign" if operator in (ast.Add, ast.Sub) else "operator"), f"(({left}) {FLIPPED[operator]} ({right}))"
    if operator is not ast.MatMult:
        yield "term", f"({left})"
    if operator in ORDERED:
        yield "operands", f"(({right}) {SYMBOLS[operator]} ({left}))"


def _of_constant(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, bool):
        yield "constant", str(not value)
    elif isinstance(value, int):
        yield "off by one", str(value + 1)
    elif isinstance(value, float):
        yield "constant", repr(2 * value if value else 1.0)


def choose(candidates: Sequence[Fault], number: int, seed: str) -> list[Fault]:
    """At most `number` faults, the same for the same seed: kinds take turns, and no line has two."""
    draw = random.Random(seed)
    by_kind: dict[str, list[Fault]] = {}
    for fault in draw.sample(list(candidates), len(candidates)):
        by_kind.setdefault(fault.kind, []).append(fault)
    kinds, chosen, lines = draw.sample(sorted(by_kind), len(by_kind)), [], set()
    while len(chosen) < number and any(by_kind.values()):
        for kind in kinds:
            while by_kind[kind]:
                fault = by_kind[kind].pop()
                if (fault.path, fault.line) not in lines:
                    lines.add((fault.path, fault.line))
                    chosen.append(fault)
                    break
    return sorted(chosen[:number], key=lambda f: (str(f.path), f.start))
