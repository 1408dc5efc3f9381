"""The quick check of configuration files against the validator that it stands in for."""

from __future__ import annotations

import copy
import random

import jsonschema
import pytest
import yaml
from small_checkout import REPOSITORY

from credit.config import files
from credit.config.files import check_schema, read_yaml
from credit.config.schema import Unsupported, compiled
from credit.dag import extended
from credit.errors import ConfigError

SCHEMAS = REPOSITORY / "workflow" / "schemas"
CONFIG = REPOSITORY / "config"
FILES = {
    "config": [CONFIG / "config.yaml"],
    "datasets": [CONFIG / "datasets.yaml"],
    "experiment": sorted((CONFIG / "experiments").glob("*/*.yaml")),
}
STRANGE = (None, True, False, 0, -1, 1, 1.0, 1.5, "", "X y", "all", "null", [], [1, 1], [1, True], ["a"], {}, {"x": 1})


def whole(path):
    """The content of a file, of an experiment with what it extends."""
    return extended.read(path, lambda content, _: content)


def mutants(content, rand, count):
    """Copies of a content, each with one place changed, removed, renamed or doubled."""
    for _ in range(count):
        mutant = copy.deepcopy(content)
        parent = mutant
        while True:
            key = rand.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
            below = parent[key]
            if not (isinstance(below, (dict, list)) and below and rand.random() < 0.8):
                break
            parent = below
        change = rand.randrange(4)
        if change == 0:
            del parent[key]
        elif change == 1 and isinstance(parent, dict):
            parent[rand.choice(["Strange Key", "extra", "seeds", "source"])] = parent.pop(key)
        elif change == 2 and isinstance(parent, list):
            parent.append(below)
        else:
            parent[key] = copy.deepcopy(rand.choice(STRANGE))
        yield mutant


@pytest.mark.parametrize("name", FILES)
def test_the_quick_check_accepts_exactly_what_the_validator_accepts(name):
    schema = read_yaml(SCHEMAS / f"{name}.schema.yaml")
    quick, slow = compiled(schema), jsonschema.Draft202012Validator(schema)
    rand, verdicts = random.Random(0), []
    for path in FILES[name]:
        content = whole(path)
        assert quick(content)
        for mutant in mutants(content, rand, 600 // len(FILES[name])):
            verdicts.append(quick(mutant))
            assert verdicts[-1] == slow.is_valid(mutant), mutant
    assert 0.05 < sum(verdicts) / len(verdicts) < 0.95  # both verdicts are exercised


def test_valid_files_do_not_wait_for_the_validator(monkeypatch):
    monkeypatch.setattr(jsonschema, "Draft202012Validator", None)  # would fail when asked
    for name, paths in FILES.items():
        for path in paths:
            check_schema(whole(path), SCHEMAS / f"{name}.schema.yaml", str(path))


def test_a_keyword_that_the_quick_check_does_not_know_is_left_to_the_validator(tmp_path):
    schema = tmp_path / "multiple.schema.yaml"
    schema.write_text("{type: object, properties: {n: {type: integer, multipleOf: 2}}}")
    with pytest.raises(Unsupported, match="multipleOf"):
        compiled(read_yaml(schema))
    check_schema({"n": 4}, schema, "x.yaml")
    with pytest.raises(ConfigError, match=r"x.yaml: n: 3 is not a multiple of 2"):
        check_schema({"n": 3}, schema, "x.yaml")


# ---- YAML


@pytest.mark.parametrize("path", [p for paths in FILES.values() for p in paths], ids=lambda p: p.stem)
def test_both_loaders_read_the_same(path):
    text = path.read_text(encoding="utf-8")
    assert yaml.load(text, files._FastLoader) == yaml.load(text, files._Loader)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [1, 2\n",
        "a: {b: 1}}\n",
        "a: 1\n a: 2\n",
        "a: 1\nb:\n  c: 1\n  c: 2\n",
        "\ta: 1\n",
        "a: 'x\n",
        "a: *b\n",
    ],
)
def test_a_mistake_is_described_by_the_loader_that_shows_the_line(text, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(yaml.YAMLError) as expected:
        yaml.load(text, files._Loader)
    with pytest.raises(ConfigError) as found:
        read_yaml(path)
    described = " ".join(str(expected.value).split()).replace('"<unicode string>", ', "")
    assert str(found.value) == f"{path}: cannot be read: {described}"
    assert "column" in str(found.value)
