"""Parts are found by file name, without importing anything."""

from __future__ import annotations

import sys

import pytest

from credit.bench import registry as benchmarks
from credit.config.parts import METHODS, NETS, PROBES, TASKS
from credit.config.registry import Registry
from credit.errors import ConfigError


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A package `toy_parts` whose modules fail when they are imported."""
    folder = tmp_path / "toy_parts"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name in ("base", "_shared", "two", "one"):
        (folder / f"{name}.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("toy_parts", "toy part")
    sys.modules.pop("toy_parts", None)


def test_every_module_but_base_and_private_ones_is_a_part(parts):
    assert parts.names() == ("one", "two")


def test_a_part_is_named_without_being_imported(parts):
    assert parts.module("one") == "toy_parts.one"


def test_loading_a_part_imports_it(parts):
    with pytest.raises(RuntimeError, match="imported"):
        parts.load("one")


@pytest.mark.parametrize("name", ["base", "_shared", "three", None, ""])
def test_anything_else_is_refused_with_the_names_that_exist(parts, name):
    with pytest.raises(ConfigError, match="must be one of: one, two"):
        parts.module(name)


def test_a_misspelt_name_is_answered_with_the_nearest(parts):
    with pytest.raises(ConfigError, match=r"toy part = 'twoo' \(did you mean 'two'\?\)"):
        parts.module("twoo")


def test_a_closed_list_is_all_there_is():
    assert Registry("credit.nets", "net", ("dense",)).names() == ("dense",)


def test_the_parts_of_the_package_are_all_there():
    assert {"bp", "dfa", "drtp", "fa", "shallow"} <= set(METHODS.names())
    assert {"images", "teacher"} <= set(TASKS.names())
    assert set(NETS.names()) == {"conv", "dense", "resnet"}
    assert "angles" in PROBES.names()
    assert benchmarks.names()


@pytest.mark.parametrize("registry", [METHODS, NETS, PROBES, TASKS], ids=lambda r: r.kind)
def test_every_part_ends_in_the_line_that_makes_it_one(registry):
    for name in registry.names():
        assert registry.load(name).part.__module__ == registry.module(name)
