"""What experiments resolve to is kept between processes, and belongs to all that decides it."""

from __future__ import annotations

import sys
from dataclasses import fields, replace

import pytest

from credit.config.files import read_yaml
from credit.dag import loading
from credit.dag.experiment import Cell, Experiment
from credit.dag.loading import DECIDING, load_experiments
from credit.dag.resolved import KEPT, Resolved
from credit.dag.settings import Settings, settings
from credit.data import catalog
from credit.errors import ConfigError
from tests.conftest import REPOSITORY

SCHEMAS = REPOSITORY / "workflow" / "schemas"
FOLDER = REPOSITORY / "config" / "experiments"


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """Where this test keeps its entries: nothing at first."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "kept"))
    catalog.use(REPOSITORY / "config" / "datasets.yaml")
    return tmp_path / "kept"


def chosen(**config) -> Settings:
    return settings(read_yaml(REPOSITORY / "config" / "config.yaml") | config, SCHEMAS / "config.schema.yaml")


def load(given: Settings) -> dict[str, Experiment]:
    return load_experiments(FOLDER, given, SCHEMAS / "experiment.schema.yaml")


def entries(memory) -> list:
    return sorted(memory.rglob("experiments.*.kept"))


@pytest.mark.parametrize("config", [{}, {"scale": "quick"}, {"epochs": 3, "keep": ["weights"]}], ids=str)
def test_what_was_kept_is_what_is_resolved(memory, monkeypatch, config):
    fresh = load(chosen(**config))
    assert len(entries(memory)) == 1
    resolve, again = Cell.resolve.__func__, []
    monkeypatch.setattr(Cell, "resolve", classmethod(lambda cls, *at: again.append(at[1:]) or resolve(cls, *at)))
    kept = load(chosen(**config))
    assert kept.keys() == fresh.keys()
    for key, one in kept.items():
        assert one.__dict__.keys() == fresh[key].__dict__.keys()
        for name in ("body", "_origins", "names", "path", "paper", "name"):
            assert getattr(one, name) == getattr(fresh[key], name), (key, name)
        assert one._cells == fresh[key]._cells, key
        assert list(one.body) == list(fresh[key].body), "figures and tables come in the order of the file"
    own = [c for e in fresh.values() for c in e._cells.values() if c.data and catalog.load()[c.data].source == "user"]
    assert len(again) == len(own) > 0, "of the user's own files alone"


def test_every_setting_that_is_read_while_experiments_are_resolved_decides(monkeypatch):
    read = set()

    class Watched(Settings):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    given = chosen()
    watched = Watched(**{f.name: getattr(given, f.name) for f in fields(Settings)})
    monkeypatch.setattr(loading, "Resolved", lambda *_: None)
    load(watched)
    assert read & {f.name for f in fields(Settings)} - {"varied", "experiments"} == {*DECIDING}


def test_settings_that_decide_nothing_share_an_entry_and_varied_runs_have_none(memory):
    load(chosen())
    load(replace(chosen(), methods=("bp",), seeds=2, run="small", mirror="/m"))
    assert len(entries(memory)) == 1
    load(replace(chosen(), scale="quick"))
    assert len(entries(memory)) == 2
    load(chosen(run="small", set="dfc/student_teacher:train.epochs=50"))
    assert len(entries(memory)) == 2


def test_an_entry_belongs_to_files_code_and_settings(tmp_path):
    package, file = tmp_path / "credit", tmp_path / "a.yaml"
    (package / "dag").mkdir(parents=True)
    (package / "dag" / "one.py").write_text("x = 1")
    file.write_text("a: 1")
    places = [Resolved([file], "quick", package).path]

    def changed() -> bool:
        places.append(Resolved([file], "quick", package).path)
        return places[-1] != places[-2]

    assert not changed()
    file.write_text("a: 2")
    assert changed()
    (package / "dag" / "one.py").write_text("x = 2")
    assert changed()
    (package / "dag" / "two.py").write_text("")
    assert changed()
    (package / "notes.txt").write_text("")
    assert not changed()
    file.unlink()
    assert changed()
    assert Resolved([file], "paper", package).path != places[-1]
    assert Resolved([], "quick", package).path != places[-1]


def test_what_is_damaged_or_cannot_be_kept_is_done_without(tmp_path, memory):
    entry = Resolved([], "quick")
    assert entry.read() is None
    entry.write({"a": (1, {"b"}, None, 2.5)})
    assert entry.read() == {"a": (1, {"b"}, None, 2.5)}
    whole = entry.path.read_bytes()
    for damaged in (whole[:-1], whole[:40], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        entry.path.write_bytes(damaged)
        assert entry.read() is None
    entry.path.unlink()
    entry.path.mkdir()
    entry.write(1)
    assert entry.read() is None
    with pytest.raises(ValueError, match="unmarshallable"):
        entry.write(object())


def test_the_oldest_entries_go(memory):
    for n in range(KEPT + 3):
        Resolved([], str(n)).write(n)
    assert len(entries(memory)) == KEPT
    assert Resolved([], str(KEPT + 2)).read() == KEPT + 2


def test_figures_and_tables_are_checked_once_for_the_same_files_and_settings(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(loading.promised, "check", lambda *given: called.append(given))
    everything, folder = dict.fromkeys(map(str, range(50))), tmp_path / "config"
    files = [folder / "published" / "a.csv", folder / "config.yaml", tmp_path / "workflow" / "report" / "a.rst"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")

    def checks(given: Settings) -> int:
        called.clear()
        loading.checked_artefacts(everything, given, tmp_path, folder)
        return len(called)

    given = chosen()
    assert [checks(given), checks(given), checks(replace(given, seeds=2)), checks(given)] == [1, 0, 1, 0]
    for file in files:
        file.write_text("2")
        assert [checks(given), checks(given)] == [1, 0], file
        file.unlink()
        assert [checks(given), checks(given)] == [1, 0], file


def test_what_is_wrong_with_figures_and_tables_is_said_every_time(tmp_path, monkeypatch):
    def wrong(*given):
        raise ConfigError("wrong")

    monkeypatch.setattr(loading.promised, "check", wrong)
    for _ in range(2):
        with pytest.raises(ConfigError, match="wrong"):
            loading.checked_artefacts(dict.fromkeys(map(str, range(50))), chosen(), tmp_path, tmp_path / "config")
