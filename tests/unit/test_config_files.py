"""YAML files: keys that YAML would silently lose are refused, with line and column; everything else is read."""

from __future__ import annotations

import pytest

from credit.config.files import read_yaml
from credit.errors import ConfigError


def read(folder, text):
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\na: 2\n", "key 'a' appears twice.*line 2, column 1"),
        ("x: &x {a: 1}\ny: {<<: *x, a: 2, a: 3}\n", "key 'a' appears twice.*line 2"),
        ("~: 1\nnull: 2\n", "key 'null' appears twice.*line 2"),
        ("1: a\n'1': b\n", "key '1' appears twice.*line 2"),
        ("? [a, b]\n: 1\n", "unhashable key.*line 1"),
        ("? {a: 1}\n: 1\n", "unhashable key.*line 1"),
    ],
)
def test_a_key_that_would_be_lost_is_refused_with_its_place(tmp_path, text, place):
    with pytest.raises(ConfigError, match=rf"x.yaml: cannot be read: .*{place}"):
        read(tmp_path, text)


def test_an_anchor_may_override_what_it_merges_wherever_it_is_used(tmp_path):
    text = "b: &b {k: 0, j: 1}\nx: {y: {base: &a {<<: *b, k: 1}}}\nc: {<<: *a}\n"
    assert read(tmp_path, text)["c"] == {"k": 1, "j": 1}


def test_on_is_a_text(tmp_path):
    assert read(tmp_path, "on: 1\nyes: 2\n") == {"on": 1, "yes": 2}
