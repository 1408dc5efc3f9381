"""What documents, docstrings and the contract name is there: files, modules, functions and their parameters."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import credit
from credit.methods.base import Method, Step
from credit.nets.base import Batch, Net, Trace
from credit.nets.dense import Dense
from credit.probes.base import Moment, Probe
from credit.provenance.sources import Sources
from credit.tasks.base import Task
from credit.tasks.supervised import Supervised
from credit.training.learner import Learner
from tests.conftest import REPOSITORY
from tests.unit.test_docs import every_document, examples, read
from tests.unit.test_layers import LAYERS

CONTRACT = "docs/contract.md"
SUBJECTS = {  # what the contract's names stand for
    "Batch": Batch, "batch": Batch, "block": Dense, "credit": credit, "learner": Learner, "moment": Moment, "net": Net,
    "rand": credit.Rand, "rule": Method, "step": Step, "Supervised": Supervised, "trace": Trace,
}  # fmt: skip
CALLABLES = (Method, Net, Task, Probe)  # whose methods it names alone
SOURCES = Sources().modules


def members(subject: Any) -> set[str]:
    """Attributes, and names of fields, which have none where they have no default."""
    return {*dir(subject), *getattr(subject, "__dataclass_fields__", ())}


def contract_code() -> list[str]:
    """What stands in backquotes, and the lines of the examples."""
    text = read(CONTRACT)
    lines = [
        line.partition("#")[0]
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        for line in code.splitlines()
    ]
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)) + lines


def exists(name: str) -> bool:
    """Whether a dotted name below `credit` is a module, or something in one."""
    parent, _, last = name.rpartition(".")
    if name in SOURCES:
        return True
    if parent not in SOURCES:
        return bool(parent) and exists(parent)
    return re.search(rf"\b{last}\b", SOURCES[parent].read_text("utf-8")) is not None


@every_document
def test_python_files_and_names_in_the_documents_exist(document):
    text = document.read_text(encoding="utf-8")
    example = examples(document.relative_to(REPOSITORY))
    for path in re.findall(r"`([\w./-]+\.py)`", text):
        assert path in example or any((REPOSITORY / root / path).exists() for root in ("", "src/credit")), path
    for name in re.findall(r"\bcredit(?:\.[a-z]\w+)+(?!\w)", text):
        assert name.startswith("credit.yaml") or exists(name), name


@pytest.mark.parametrize("module", SOURCES)
def test_modules_that_comments_and_docstrings_name_exist(module):
    for name in re.findall(r"`(credit(?:\.\w+)+)", SOURCES[module].read_text("utf-8")):
        assert exists(name), name


def test_folders_and_names_in_the_contract_exist():
    code = " ".join(f"`{c}`" for c in contract_code())
    folders = re.findall(r"`(\w+(?:/\w+)*/)`", code)
    assert len(folders) > 5
    assert not [f for f in folders if not (REPOSITORY / "src/credit" / f).is_dir()]
    names = re.findall(r"\bcredit\.(\w+)", code)
    assert names and not set(names) - members(credit)
    packages = "|".join(name for layer in LAYERS for name in layer)
    short = re.findall(rf"`((?:{packages})(?:\.\w+)+)`", code)
    assert short and all(exists(f"credit.{name}") for name in short), short


def test_the_list_of_layers_is_the_one_that_is_tested():
    listed = re.search(r"^- Layers of `src/credit`.*?\. An", read("CONTRIBUTING.md"), re.DOTALL | re.MULTILINE)[0]
    assert re.findall(r"`(\w+)`", listed) == [name for layer in LAYERS for name in sorted(layer)]


def test_names_and_signatures_in_the_contract_are_those_of_the_code():
    found = 0
    for code in contract_code():
        for owner, name, given in re.findall(r"(?:\b(\w+)\.)?\b([A-Za-z]\w*)(?:\(([^()]*)\))?", code):
            if owner in SUBJECTS:
                assert name in members(SUBJECTS[owner]), code
                called = getattr(SUBJECTS[owner], name, None)
            elif given:
                called = next((getattr(c, name) for c in CALLABLES if hasattr(c, name)), None)
            else:
                continue
            found += 1
            plain = re.sub(r"\[[^\]]*\]|\{[^}]*\}", "…", given)  # commas within belong to one argument
            arguments = [a.strip() for a in plain.split(",")] if plain else []
            if callable(called) and not isinstance(called, type):
                parameters = [p for p in inspect.signature(called).parameters if p != "self"]
                named = [a.partition("=")[0] for a in arguments if "=" in a]
                assert set(named) <= {*parameters} or "hyper" in parameters, code
                assert len(arguments) <= len(parameters), code
                if not owner:  # a signature is given whole
                    assert [a.partition("=")[0] for a in arguments] == parameters, code
    assert found > 30


def test_the_contract_speaks_of_nothing_that_the_code_does_not():
    words = {word for path in SOURCES.values() for word in re.findall(r"[A-Za-z]\w+", path.read_text("utf-8"))}
    named = {w for code in contract_code() for w in re.findall(r"[A-Za-z]\w{3,}", code)}
    assert named - words == set()


def test_the_code_in_the_contract_runs():
    """Block by block, with what the one before has made; the last line of the second takes its step."""
    rand = credit.Rand([3, 8])
    x = rand.normal("x", (5, 784))
    known = {"credit": credit, "rand": rand, "x": x, "masks": None}
    known["batch"] = credit.Batch(x, rand.integers("y", (5,), 10))
    for code in re.findall(r"```python\n(.*?)```", read("docs/contract.md"), re.DOTALL):
        exec(code, known)
    assert (known["conv"].n_out, len(known["conv"]), len(known["resnet"])) == (10, 4, 6)
    assert known["info"]["loss"].shape == (2,)
