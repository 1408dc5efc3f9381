"""Hyperparameters are read from source: which exist, what is allowed, and what a wrong value is told."""

from __future__ import annotations

import importlib
import importlib.util
import math
import subprocess
import sys
import types
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit.config import hyperparameters
from credit.config.fields import REQUIRED, parse_bounds
from credit.config.parts import METHODS, NETS, PROBES, TASKS
from credit.errors import ConfigError

BASE = """
from dataclasses import dataclass
from typing import ClassVar

import torch_is_not_imported


@dataclass(frozen=True)
class Base:
    kinds: ClassVar[tuple[str, ...]] = ("dense",)
    cost: ClassVar[float] = 1.0
    tools: ClassVar[dict] = make_tools()
    seed: int = 0
    scale: float = 1
"""
PART = """
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from toy.base import Base as Root


@dataclass(frozen=True)
class Middle(Root):
    cost = 2.5
    limit: ClassVar[int]
    lr: Annotated[float, "> 0"]


@dataclass(frozen=True)
class Part(Middle):
    '''Docstring.'''

    kinds: ClassVar[tuple[str, ...]] = ("dense", "conv")
    scale: Annotated[float, "[0, 1]"] = 0.5
    steps: Annotated[int, ">= 1"] = 10
    mode: Literal["sum", "mean", 2, None] = "mean"
    fast: bool = True
    name: str = "part"
    init: str | dict = "xavier"
    options: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[Annotated[int, "> 0"], ...] = ()
    mean: float | tuple[float, ...] = 0.0
    pool: tuple[int, ...] | None = None
    rate: Annotated[float, "(0, 1)"] | None = None
    cache: int = field(init=False)

    def method(self):
        local: int = 3


part = Part
"""
GROUPED = """
from dataclasses import dataclass
from typing import Annotated, ClassVar

from toy.groups import Feedback


@dataclass(frozen=True)
class Local:
    k_p: Annotated[float, ">= 0"] = 1.0


@dataclass(frozen=True)
class Grouped:
    controller: Local = Local(k_p=2)
    feedback: Feedback = Feedback()
    alpha: float = 0.5


part = Grouped
"""
GROUPS = """
from dataclasses import dataclass
from typing import Annotated, ClassVar


@dataclass(frozen=True)
class Noise:
    sigma: Annotated[float, "> 0"] = 0.1
    output: float | None = None


@dataclass(frozen=True)
class Feedback:
    main: ClassVar[str] = "init"

    init: Annotated[str | dict, "toy.names.known"] = "zeros"
    lr: Annotated[float, "> 0"] = 0.1
    noise: Noise = Noise(sigma=0.2)
"""
NAMES = """
from credit.errors import ConfigError


def known(value, where):
    if value not in ("zeros", "ones"):
        raise ConfigError(f"{where} = {value!r}; must be zeros or ones")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Folder of a package with the parts above in `toy.part` and `toy.grouped`."""
    root = tmp_path / "toy"
    root.mkdir()
    files = {"base": BASE, "part": PART, "grouped": GROUPED, "groups": GROUPS, "names": NAMES}
    for name, text in files.items():
        (root / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("toy", *(f"toy.{name}" for name in files)):
        monkeypatch.delitem(sys.modules, name, raising=False)
    hyperparameters._function.cache_clear()
    return root


def check(toy: Path, stacked: bool = False, **values):
    return hyperparameters.check("toy.part", values, "a.yaml: part", stacked, toy)


def problem(toy: Path, stacked: bool = False, **values) -> str:
    with pytest.raises(ConfigError) as caught:
        check(toy, stacked, **{"lr": 1.0, **values})
    return str(caught.value)


# ---- reading


def test_fields_are_the_dataclass_fields_with_inherited_ones_first_and_no_class_variables(toy):
    found = hyperparameters.fields("toy.part", toy)
    assert list(found) == ["seed", "scale", "lr", "steps", "mode", "fast", "name", "init", "options", "sizes",
                           "mean", "pool", "rate"]  # fmt: skip
    assert found["lr"].default is REQUIRED
    assert found["scale"].default == 0.5
    assert found["options"].default == {}
    assert [f.name for f in found.values() if f.optional] == ["mode", "pool", "rate"]


def test_constants_are_class_variables_with_literal_values(toy):
    found = hyperparameters.constants("toy.part", toy)
    assert dict(found) == {"kinds": ("dense", "conv"), "cost": 2.5}


def test_fields_are_read_once_and_cannot_be_changed(toy):
    found = hyperparameters.fields("toy.part", toy)
    assert hyperparameters.fields("toy.part", toy) is found
    with pytest.raises(TypeError):
        found["lr"] = None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("part = Part", "", r"part\.py: no line `part = ClassName`"),
        ("part = Part", "part = Other", r"part\.py: no class Other"),
        ("class Part(Middle):", "class Part(Middle:", r"part\.py, line 16: syntax error"),
        ("toy.base import", ".base import", r"part\.py, line 5: .*absolute import"),
        ("(Root)", "(base.Root)", r"base\.Root: name a base class plainly"),
        ("toy.base import Base", "toy.base import Bass", r"base\.py: no class Bass"),
        ("toy.base import", "toy.none import", r"none\.py: cannot be read: No such file"),
        ("steps: Annotated[int, ", "steps: Annotated[set, ", r"set: a hyperparameter must be float, int"),
        ('">= 1"', '"at least 1"', r"part\.py, line 21: .*bounds 'at least 1'; must look like '> 0'"),
        ('">= 1"', '">= 1", "< 9"', r"give one text with the bounds"),
        ("steps: Annotated[int, \">= 1\"] = 10", "steps: int = 2 * 5", r"2 \* 5: the default .* must be a literal"),
        ("] = 10", "] = 0", r"part\.py, line 21: .*the default must be an integer >= 1"),
        ("default_factory=dict", "default_factory=make", r"default_factory must be dict or tuple"),
        ("tuple[int, ...] | None", "tuple[int, int] | None", r"must be written tuple\[X, \.\.\.\]"),
        ("tuple[int, ...] | None", "tuple[int | str, ...] | None", r"values of one plain type"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_that_names_the_place(toy, old, new, message):
    assert PART.count(old) == 1
    (toy / "part.py").write_text(PART.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        hyperparameters.fields("toy.part", toy)


OWN = """
from dataclasses import dataclass
from typing import Annotated

from credit.methods.fa import FA


@dataclass(frozen=True)
class Own(FA):
    leak: Annotated[float, ">= 0"] = 0.5


part = Own
"""


def test_a_part_of_ones_own_is_read_from_the_file_that_it_was_imported_from(tmp_path, monkeypatch):
    (tmp_path / "own_part.py").write_text(OWN)
    spec = importlib.util.spec_from_file_location("own_part", tmp_path / "own_part.py")
    own = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "own_part", own)
    spec.loader.exec_module(own)
    assert list(hyperparameters.fields("own_part")) == ["feedback", "feedback_scale", "masks", "leak"]
    assert own.Own(leak=1).leak == 1.0
    with pytest.raises(ConfigError, match=r"^own_part\.leak = -1; must be a finite number >= 0"):
        own.Own(leak=-1)


@pytest.mark.parametrize("known", [True, False], ids=["typed in a cell", "not imported"])
def test_a_module_outside_the_package_without_a_file_is_an_error(known, monkeypatch):
    if known:
        monkeypatch.setitem(sys.modules, "typed", types.ModuleType("typed"))
    with pytest.raises(ConfigError, match=r"^typed: has no file; .* write the class into a file and import that$"):
        hyperparameters.fields("typed")


# ---- values that are right


def test_defaults_are_filled_in_and_values_get_the_types_of_their_fields(toy):
    values = check(toy, lr=1, sizes=[3, 4], mean=[1, 2.5], mode=None, rate=None, init={"a": 1})
    assert values == {
        "seed": 0, "scale": 0.5, "lr": 1.0, "steps": 10, "mode": None, "fast": True, "name": "part",
        "init": {"a": 1}, "options": {}, "sizes": (3, 4), "mean": (1.0, 2.5), "pool": None, "rate": None,
    }  # fmt: skip
    assert isinstance(values["lr"], float)
    assert all(isinstance(v, float) for v in values["mean"])


def test_checked_values_pass_a_second_check_unchanged(toy):
    values = check(toy, lr=1, sizes=[3, 4], mean=[1, 2])
    assert check(toy, **values) == values


def test_neither_defaults_nor_given_mappings_are_shared_with_the_result(toy):
    given = {"a": {"b": 1}}
    first = check(toy, lr=1, init=given)
    first["options"]["x"] = 1
    first["init"]["a"]["b"] = 2
    assert check(toy, lr=1)["options"] == {}
    assert given == {"a": {"b": 1}}


@pytest.mark.parametrize(("key", "value"), [("scale", 0), ("scale", 1), ("steps", 1), ("mode", 2), ("lr", 1e-300)])
def test_closed_bounds_hold_their_limits(toy, key, value):
    assert check(toy, **{"lr": 1.0, key: value})[key] == value


# ---- values that are wrong


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("lr", 0, "must be a finite number > 0"),
        ("lr", True, "must be a finite number > 0"),
        ("lr", None, "must be a finite number > 0"),
        ("lr", math.nan, "must be a finite number > 0"),
        ("lr", math.inf, "must be a finite number > 0"),
        ("lr", 10**400, "must be a finite number > 0"),
        ("lr", [0.1], "must be a finite number > 0"),
        ("seed", 1.5, "must be an integer"),
        ("seed", False, "must be an integer"),
        ("scale", 1.5, "must be a finite number in [0, 1]"),
        ("rate", 1, "must be a finite number in (0, 1) or null"),
        ("steps", 0, "must be an integer >= 1"),
        ("mode", "max", "must be one of: sum, mean, 2 or null"),
        ("mode", 2.5, "must be one of: sum, mean, 2 or null"),
        ("fast", 1, "must be true or false"),
        ("name", 3, "must be text"),
        ("init", 3, "must be text or a mapping"),
        ("options", [], "must be a mapping"),
        ("sizes", 3, "must be a list of integers > 0"),
        ("sizes", [3, 0], "must be a list of integers > 0"),
        ("sizes", [3, True], "must be a list of integers > 0"),
        ("mean", [1.0, "x"], "must be a finite number or a list of finite numbers"),
        ("pool", [1.5], "must be a list of integers or null"),
    ],
)
def test_a_wrong_value_is_told_what_is_allowed(toy, key, value, expected):
    assert problem(toy, **{key: value}) == f"a.yaml: part.{key} = {value!r}; {expected}"


@pytest.mark.parametrize(
    ("key", "text", "hint"),
    [
        ("lr", "1e-3", "; YAML reads 1e-3 as text, write 1.0e-3"),
        ("lr", "1e5", "; YAML reads 1e5 as text, write 1.0e+5"),
        ("lr", "-2.5e3", "; YAML reads -2.5e3 as text, write -2.5e+3"),
        ("lr", "0.1", "; write it without quotes"),
        ("seed", "100", "; write it without quotes"),
        ("seed", "1e5", ""),
        ("lr", "fast", ""),
        ("fast", "1", ""),
    ],
)
def test_a_number_that_yaml_took_for_text_is_told_how_to_be_written(toy, key, text, hint):
    end = problem(toy, **{key: text}).partition("; must be ")[2]
    assert end == hyperparameters.fields("toy.part", toy)[key].describe() + hint


def test_an_unknown_name_is_told_the_nearest_one(toy):
    message = problem(toy, step=3)
    assert message.startswith("a.yaml: part.step = 3: no such hyperparameter (did you mean 'steps'?); must be one of:")
    assert "fast, init, lr, mean" in message


def test_all_problems_are_told_at_once_a_line_each(toy):
    with pytest.raises(ConfigError) as caught:
        check(toy, step=3, fast=2, sizes="x")
    keys = [line.removeprefix("a.yaml: part.").split()[0] for line in str(caught.value).splitlines()]
    assert keys == ["step", "lr", "fast", "sizes"]
    assert "a.yaml: part.lr is missing; must be a finite number > 0" in str(caught.value)


# ---- stacks


def test_a_stack_may_give_a_number_for_each_member(toy):
    values = check(toy, stacked=True, lr=[1, 0.5], rate=[0.1, 0.2])
    assert (values["lr"], values["rate"]) == ((1.0, 0.5), (0.1, 0.2))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("lr", [0.1, 0.0], "a finite number > 0, or a list with one for each member"),
        ("lr", [], "a finite number > 0, or a list with one for each member"),
        ("steps", [1, 2], "an integer >= 1"),
        ("name", ["a", "b"], "text"),
        ("fast", [True, False], "true or false"),
    ],
)
def test_values_of_members_are_checked_like_single_ones(toy, key, value, expected):
    assert problem(toy, stacked=True, **{key: value}) == f"a.yaml: part.{key} = {value!r}; must be {expected}"


# ---- groups

WHOLE = {
    "controller": {"k_p": 2.0},
    "feedback": {"init": "zeros", "lr": 0.1, "noise": {"sigma": 0.2, "output": None}},
    "alpha": 0.5,
}


def grouped(toy: Path, stacked: bool = False, **values):
    return hyperparameters.check("toy.grouped", values, "a.yaml: part", stacked, toy)


def test_a_group_is_a_mapping_of_the_fields_of_its_dataclass_with_their_defaults(toy):
    assert grouped(toy) == WHOLE
    assert hyperparameters.fields("toy.grouped", toy)["feedback"].default == WHOLE["feedback"]
    found = grouped(toy, feedback={"lr": 1, "noise": {"output": 3}}, controller={})
    assert found["feedback"] == {"init": "zeros", "lr": 1.0, "noise": {"sigma": 0.2, "output": 3.0}}
    assert found["controller"] == {"k_p": 2.0}  # what is left out is as in the field's default, not the class's
    assert grouped(toy, **found) == found


def test_a_bare_value_of_a_group_is_that_of_its_main_field(toy):
    assert grouped(toy, feedback="ones") == grouped(toy, feedback={"init": "ones"})
    spelled = hyperparameters.spelled("toy.grouped", {"feedback": "ones", "alpha": 1, "nope": 2}, toy)
    assert spelled == {"feedback": {"init": "ones"}, "alpha": 1, "nope": 2}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"feedback": {"lr": 0}}, "part.feedback.lr = 0; must be a finite number > 0"),
        ({"feedback": {"noise": {"sigma": -1}}}, "part.feedback.noise.sigma = -1; must be a finite number > 0"),
        ({"feedback": {"int": "ones"}}, "part.feedback.int = 'ones': no such hyperparameter (did you mean 'init'?)"),
        ({"feedback": "one"}, "part.feedback = 'one'; must be zeros or ones"),
        ({"feedback": {"init": "one"}}, "part.feedback.init = 'one'; must be zeros or ones"),
        ({"feedback": 3}, "part.feedback = 3; must be text or a mapping"),
        ({"feedback": None}, "part.feedback = None; must be a mapping with any of: init, lr, noise"),
        ({"controller": 3}, "part.controller = 3; must be a mapping with any of: k_p"),
        ({"feedbck": "ones"}, "part.feedbck = 'ones': no such hyperparameter (did you mean 'feedback'?)"),
    ],
)
def test_what_is_wrong_in_a_group_has_a_dotted_name(toy, values, message):
    with pytest.raises(ConfigError) as caught:
        grouped(toy, **values)
    assert str(caught.value).startswith(f"a.yaml: {message}")
    assert "\n" not in str(caught.value)


def test_numbers_of_a_group_may_be_one_for_each_member(toy):
    found = grouped(toy, stacked=True, feedback={"lr": [1, 2]}, controller={"k_p": [0.5, 1]})
    assert (found["feedback"]["lr"], found["controller"]["k_p"]) == ((1.0, 2.0), (0.5, 1.0))
    with pytest.raises(ConfigError, match=r"part.feedback.lr = \[1, 2\]; must be a finite number > 0$"):
        grouped(toy, feedback={"lr": [1, 2]})


def test_a_part_holds_instances_of_its_groups(toy):
    part = importlib.import_module("toy.grouped").part
    made = part(**hyperparameters.instances(part, grouped(toy, feedback={"lr": 3})))
    assert (made.feedback.lr, made.feedback.noise.sigma, made.controller.k_p) == (3.0, 0.2, 2.0)
    assert asdict(made) == grouped(toy, **vars(made))  # instances are read like mappings


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("grouped", "Local = Local(k_p=2)", "Local | None = None", "a group has no alternatives"),
        ("grouped", "Local = Local(k_p=2)", "Local", r"the default must be written Local\(\) or Local\(FIELD=VALUE\)"),
        ("grouped", "Local(k_p=2)", "None", r"must be written Local\(\)"),
        ("grouped", "Local(k_p=2)", "Local(2)", r"must be written Local\(\)"),
        ("grouped", "Local(k_p=2)", "Local(k_p=-2)", r"controller.k_p = -2; must be a finite number >= 0"),
        ("grouped", "Local(k_p=2)", "Local(k=2)", r"controller.k = 2: no such hyperparameter"),
        ("groups", '= "init"', '= "scheme"', "main = 'scheme' is none of the fields of Feedback"),
    ],
)
def test_a_group_that_cannot_be_read_is_an_error_that_names_the_place(toy, file, old, new, message):
    path = toy / f"{file}.py"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=rf"{file}\.py, line \d+: .*{message}"):
        hyperparameters.fields("toy.grouped", toy)


# ---- bounds


@given(st.floats(-3, 3), st.sampled_from(["> 0", ">= 0", "< 1", "<= 1", "[0, 1]", "(0, 1]", "[0, 1)", "(0, 1)"]))
def test_bounds_contain_what_their_text_says(value, text):
    if text[0] in "[(":
        above = value > 0 if text[0] == "(" else value >= 0
        expected = above and (value < 1 if text[-1] == ")" else value <= 1)
    else:
        expected = eval(f"{value!r} {text}")
    assert parse_bounds(text).contain(value) == expected


@pytest.mark.parametrize("text", ["", "0", "> x", "[0; 1]", "(0, 1", "=> 0", "[0, 1] and more"])
def test_other_texts_are_no_bounds(text):
    with pytest.raises(ValueError):
        parse_bounds(text)


# ---- the parts of this project


def parts() -> list[str]:
    registries = (METHODS, NETS, TASKS, PROBES)
    return [registry.module(name) for registry in registries for name in registry.names()]


@pytest.mark.parametrize("module", parts())
def test_the_source_of_every_part_says_what_python_sees(module):
    part = importlib.import_module(module).part
    assert is_dataclass(part)
    found = hyperparameters.fields(module)
    assert list(found) == [f.name for f in fields(part) if f.init]
    for f in (f for f in fields(part) if f.init):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        default = asdict(default) if is_dataclass(default) else default
        assert found[f.name].default == (REQUIRED if default is MISSING else default)
    for name, value in hyperparameters.constants(module).items():
        assert getattr(part, name) == value


@pytest.mark.parametrize("module", parts())
def test_every_text_or_mapping_of_a_part_has_known_names(module):
    def unnamed(known):
        for field in known.values():
            kinds = {t.kind for t in field.types}
            if {"str", "dict"} <= kinds and not any(t.names for t in field.types):
                yield field.name
            yield from unnamed(field.group.fields) if field.group else ()

    assert not [*unnamed(hyperparameters.fields(module))]


def test_reading_parts_imports_neither_them_nor_torch():
    code = (
        "import sys\n"
        "from credit.config import hyperparameters\n"
        "from credit.config.parts import METHODS\n"
        "module = METHODS.module('dfa')\n"
        "hyperparameters.check(module, {}, 'dfa')\n"
        "hyperparameters.constants(module)\n"
        "assert not {module, 'torch', 'yaml', 'numpy'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
