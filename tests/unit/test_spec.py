"""The canonical text of a job, and the members of its stack."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit.errors import ConfigError
from credit.provenance.spec import VERSION, canonical_json, column, finite, members, read_spec, spec_hash, spread

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_canonical_text_reads_back_the_same(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2, max_size=5))
def test_the_order_of_keys_does_not_count(mapping):
    backwards = dict(reversed(mapping.items()))
    assert canonical_json(mapping) == canonical_json(backwards)
    assert spec_hash(mapping) == spec_hash(backwards)


def test_canonical_text_is_this():
    assert canonical_json({"b": (1, 2.5), "a": {"é": None}}) == '{"a":{"\\u00e9":null},"b":[1,2.5]}'


def test_two_settings_that_swap_values_change_text_and_hash():
    one, two = {"lr": 0.1, "momentum": 0.9}, {"lr": 0.9, "momentum": 0.1}
    assert canonical_json(one) != canonical_json(two)
    assert spec_hash(one) != spec_hash(two)
    assert len(spec_hash(one)) == 64


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_have_no_place_in_a_spec(value):
    with pytest.raises(ConfigError, match="finite"):
        canonical_json({"lr": value})
    assert finite(value) is None
    assert finite(1.5) == 1.5


# ---- reading


SPEC = {"version": VERSION, "seeds": [0]}


@pytest.mark.parametrize(("name", "content"), [
    ("spec.json", json.dumps(SPEC)),
    ("choice.json", json.dumps({"spec": SPEC, "choice": {}}, indent=1)),
    ("shard0.jsonl", json.dumps({"spec": SPEC}) + '\n{"seed": 0}\n'),
])  # fmt: skip
def test_a_spec_is_read_from_text_and_from_files_that_hold_it(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_spec(str(tmp_path / name)) == SPEC
    assert read_spec(json.dumps(SPEC)) == SPEC


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.json", "neither a JSON object nor an existing file"),
        ("{not json", "spec is not JSON"),
        ('{"version": 99}', r"spec.version = 99; this code reads version \d"),
        ('{"spec": [1]}', r"spec.version = None"),
    ],
)
def test_what_is_no_spec_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        read_spec(text)


def test_a_file_with_another_content_is_refused(tmp_path):
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match=r"spec.version = None"):
        read_spec(str(tmp_path / "list.json"))


# ---- members


def test_without_a_grid_members_are_seeds():
    assert members({"seeds": [3, 4]}) == [{"seed": 3}, {"seed": 4}]


def test_seeds_vary_fastest_then_the_last_setting():
    spec = {"seeds": [0, 1], "vary": {"hyper.a": [1, 2], "train.optimizer.lr": [0.1, 0.3]}}
    found = [(m["hyper.a"], m["train.optimizer.lr"], m["seed"]) for m in members(spec)]
    assert found == [
        (1, 0.1, 0),
        (1, 0.1, 1),
        (1, 0.3, 0),
        (1, 0.3, 1),
        (2, 0.1, 0),
        (2, 0.1, 1),
        (2, 0.3, 0),
        (2, 0.3, 1),
    ]


def test_a_record_column_is_the_last_part_of_the_path():
    assert [column(p) for p in ("train.optimizer.lr", "hyper.alpha", "seed")] == ["lr", "alpha", "seed"]


def test_a_varied_layer_and_a_unit_of_it_go_behind():
    assert [column(f"train.optimizer.{p}") for p in ("lr.0", "units.1.0")] == ["lr_0", "units_1_0"]


def test_a_setting_of_a_group_has_the_group_in_its_column_unless_it_is_the_controller():
    paths = ("hyper.feedback.k_p", "hyper.controller.k_p", "hyper.feedback.noise.sigma", "hyper.k_p")
    assert [column(p) for p in paths] == ["feedback_k_p", "k_p", "feedback_noise_sigma", "k_p"]


def test_varied_values_of_a_group_are_spread_within_it():
    stack = members({"seeds": [0], "vary": {"hyper.feedback.k_p": [0.1, 0.2], "hyper.controller.dt": [3.0]}})
    settings = {"feedback": {"init": "zeros", "k_p": 1.0}, "alpha": 2.0}
    found = {"feedback": {"init": "zeros", "k_p": [0.1, 0.2]}, "alpha": 2.0, "controller": {"dt": 3.0}}
    assert spread(settings, "hyper", stack) == found
    assert settings["feedback"]["k_p"] == 1.0
    with pytest.raises(ConfigError, match=r"hyper.feedback = 'zeros'; holds no settings, .* no feedback.k_p"):
        spread({"feedback": "zeros"}, "hyper", stack)


def test_varied_values_are_spread_over_the_members():
    stack = members({"seeds": [0, 1], "vary": {"train.optimizer.lr": [0.1, 0.3], "hyper.a": [5]}})
    settings = {"name": "sgd", "momentum": 0.9, "lr": 1.0}
    assert spread(settings, "train.optimizer", stack) == {"name": "sgd", "momentum": 0.9, "lr": [0.1, 0.1, 0.3, 0.3]}
    assert spread({}, "hyper", stack) == {"a": 5}
    assert settings["lr"] == 1.0


def test_a_prefix_is_a_whole_word():
    stack = members({"seeds": [0], "vary": {"hyperbole.a": [1]}})
    assert spread({"b": 2}, "hyper", stack) == {"b": 2}
