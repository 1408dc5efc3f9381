"""The faults that `python -m tests.mutation` puts into learning rules: what, where, and that they are repeatable."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from credit.config.parts import METHODS
from tests.conftest import REPOSITORY
from tests.mutation import __main__ as mutation
from tests.mutation.concern import CONTRACT, FILES, NAMES_ONLY, WINGS, Concern, concerns, contract_tests
from tests.mutation.faults import KINDS, choose, faults
from tests.mutation.named import FAULTS, named

SOURCE = b'''"""Words - not formulas."""

import numpy as np


cost: float = 3.0


def f(a: tuple[int, 2], b) -> "a - b":
    """a - b"""
    if a.size < 3:
        raise ValueError(f"{a.size - 1} - 2")
    return -a @ b.T + 0.5 * sum(b[i, 0] for i in range(len(b)))
'''
PATH = Path("f.py")


def test_every_kind_of_fault_is_found_where_it_stands_and_nothing_in_words_types_or_estimates():
    found = {(f.line, f.kind, f.before, f.after) for f in faults(PATH, SOURCE)}
    assert found >= {
        (11, "condition", "a.size < 3", "a.size <= 3"),
        (11, "off by one", "3", "4"),
        (13, "sign", "-a", "(a)"),
        (13, "operands", "-a @ b.T", "((b.T) @ (-a))"),
        (13, "transpose", "b.T", "b"),
        (13, "constant", "0.5", "1.0"),
        (13, "off by one", "0", "1"),
        (13, "off by one", "range(len(b))", "range((len(b)) - 1)"),
    }
    assert {line for line, *_ in found} == {11, 13}
    whole = SOURCE.decode().splitlines()[12].strip().removeprefix("return ")
    left, right = whole.split(" + ")
    assert (13, "sign", whole, f"(({left}) - ({right}))") in found
    assert (13, "term", whole, f"({left})") in found


def test_a_fault_changes_the_value_and_leaves_the_rest_of_the_text():
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 9.0]])

    def value(source: bytes):
        names = {}
        exec(source, names)
        try:
            return names["f"](a, b).tolist()
        except ValueError:
            return "refused"

    sound = value(SOURCE)
    for fault in faults(PATH, SOURCE):
        faulty = fault.apply(SOURCE)
        assert faulty.startswith(SOURCE[: fault.start])
        assert faulty.endswith(SOURCE[fault.start + len(fault.before.encode()) :])
        if fault.line == 13:
            assert value(faulty) != sound, fault


def test_the_choice_is_repeatable_and_takes_turns_among_the_kinds():
    found = faults(
        PATH, SOURCE + b"\n\ndef g(x):\n    return (\n        x\n        - 1\n        + 2.0\n        * x\n    )\n"
    )
    chosen = choose(found, 4, "0 f")
    assert chosen == choose(found, 4, "0 f")
    assert len({f.line for f in chosen}) == len(chosen), "no line has two"
    assert len({f.kind for f in chosen}) == len(chosen)
    assert len(choose(found, 1, "0 f")) == 1


def test_every_learning_rule_and_every_wing_has_faults_and_tests_that_are_there():
    assert set(FILES) == set(METHODS.names())
    folders = {p.parent.name for p in (REPOSITORY / mutation.METHODS).glob("*/__init__.py")}
    assert set(WINGS) == folders
    for concern in concerns():
        assert bool(mutation.faults_of(REPOSITORY, concern, 1, 0)) == (concern.name not in NAMES_ONLY), concern.name
        for file in (CONTRACT, *concern.files):
            assert (REPOSITORY / file).is_file(), file


def test_named_faults_are_of_known_rules_and_stand_in_the_code():
    names = {c.name for c in concerns()}
    assert {concern for concern, *_ in FAULTS} <= names
    for name in names:
        for fault in named(REPOSITORY, name):
            source = (REPOSITORY / fault.path).read_bytes()
            assert fault.kind not in KINDS
            ast.parse(fault.apply(source))
            assert fault.apply(source) != source


def test_a_run_of_some_rules_replaces_their_rows_alone():
    rows = [
        "| bp | bp.py:1 | constant | `1` → `2` | test_a |", "| di | di.py:1 | constant | `1` → `2` | **nothing** |",
        "| di | di.py:2 | leak ignored | `1` → `2` | **nothing** |",
        "| online/ | online/x.py:2 | sign | `-1` → `(1)` | t |",
    ]  # fmt: skip
    page = f"words\n\n{mutation.HEADING}\n\n{mutation.table([], rows)}"
    assert "4 faults, 2 noticed, 2 not." in page
    assert mutation.unchanged(page, ["di"], "") == [rows[0], rows[3]]
    assert mutation.unchanged(page, ["di"], "named") == [rows[0], rows[1], rows[3]]
    assert mutation.unchanged(page, ["di", "bp"], "drawn") == [rows[2], rows[3]]


def test_the_contract_is_chosen_by_the_name_of_the_rule():
    collected = [f"{CONTRACT}::test_x[{i}]" for i in ("mse-dfc-dense", "mse-dfc_ss-dense", "fa-conv", "dfa-conv")]
    assert contract_tests(collected, ["dfc"]) == collected[:1]
    assert contract_tests(collected, ["fa", "dfc_ss"]) == collected[1:3]


@pytest.mark.slow
def test_a_fault_in_a_copy_is_noticed_and_the_checkout_stays_as_it_is():
    path = REPOSITORY / "src" / "credit" / "methods" / "shallow.py"
    before = path.read_bytes()
    outcomes = mutation.run([Concern("shallow", "shallow.py", (), ("shallow",))], 1, 0, 1, 1, 300.0)
    assert [o.how for o in outcomes] == ["noticed"]
    assert outcomes[0].tests
    assert path.read_bytes() == before
    assert "1 faults, 1 noticed, 0 not." in mutation.table(outcomes)
