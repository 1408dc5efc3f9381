"""One meaning for one number: whole floats as integers, integers as floats, null as null, by the declared type."""

from __future__ import annotations

import json

import pytest
from small_checkout import FIT, OF_BP, Checkout

from credit.config.fields import Type
from credit.config.files import overlay
from credit.config.schema import typed
from credit.dag.commands import parse_config
from credit.errors import ConfigError, nearest, one_of
from credit.provenance.spec import canonical_json

FLOATS = {
    "seeds": 4.0, "seeds_per_job": 2.0, "train": {"epochs": 4.0, "threads": 1.0, "evaluate": {"every": 1.0}},
    "net": {"hidden_sizes": [4.0]}, "task": {"n_in": 3.0, "train": 64.0},
    "probes": [{"probe": "angles", "every": 2.0}], "tables": {"table1": {"options": {"window": 1.0}}},
}  # fmt: skip
INTEGERS = json.loads(json.dumps(FLOATS), parse_float=lambda text: int(float(text)))
OPTIMIZER = {"name": "sgd", "momentum": 0, "lr": 1, "schedule": {"milestones": [2.0], "factor": 1}}


def specs(root, changes: dict, **config) -> list[str]:
    root.mkdir()
    workflow = Checkout(root, {"toy/fit": overlay(FIT, changes)}).workflow(**config)
    spec = workflow.artefact_spec("table", "toy/table1")
    return [canonical_json(s) for s in (workflow.train_spec("toy/fit", "near", "bp", 0), spec)]


def test_a_whole_float_is_an_integer_where_one_is_declared(tmp_path):
    assert FLOATS == INTEGERS
    assert canonical_json(FLOATS) != canonical_json(INTEGERS)
    assert specs(tmp_path / "floats", FLOATS) == specs(tmp_path / "integers", INTEGERS)


def test_an_integer_is_a_float_where_one_is_declared(tmp_path):
    vary = {"vary": {"hyper.feedback_scale": [1, 2]}}
    scheme = {"name": "xavier_normal", "gain": 2}
    integers = {"train": {"optimizer": OPTIMIZER}, "methods": {"fa": vary}, "net": {"init": scheme}, **OF_BP}
    text = (
        json.dumps(integers).replace('"lr": 1,', '"lr": 1.0,').replace("[1, 2]", "[1.0, 2.0]").replace(": 0,", ": 0.0,")
    )
    floats = json.loads(
        text.replace('"gain": 2', '"gain": 2.0').replace("[2.0]}", "[2]}").replace('r": 1}', 'r": 1.0}')
    )
    assert canonical_json(floats) != canonical_json(integers)
    assert specs(tmp_path / "a", integers) == specs(tmp_path / "b", floats)


@pytest.mark.parametrize("key", ["seeds", "epochs", "seeds_per_job"])
def test_a_whole_float_on_the_command_line_reruns_nothing(tmp_path, key):
    config = parse_config([f"{key}=2.0"])
    assert specs(tmp_path / "a", {}, **config) == specs(tmp_path / "b", {}, **{key: 2})


@pytest.mark.parametrize("value", ["null", "None", "", " null "])
def test_null_on_the_command_line_is_null_for_every_key_that_may_be_null(tmp_path, value):
    keys = ("methods", "datasets", "experiments", "seeds", "seeds_per_job", "epochs")
    nulls = dict.fromkeys(keys, value)
    assert specs(tmp_path / "a", {}, **nulls, data={"mirror": value}) == specs(tmp_path / "b", {})


@pytest.mark.parametrize(("key", "value"), [("seeds", 2.5), ("epochs", True), ("seeds", "2"), ("device", "null")])
def test_what_is_of_another_type_is_refused(tmp_path, key, value):
    with pytest.raises(ConfigError, match=rf"config/config.yaml or --config: {key}(:| =) {value!r}"):
        Checkout(tmp_path).workflow(**{key: value})


@pytest.mark.parametrize(
    ("value", "said"), [(3.0, 3), (3, 3), (3.5, None), (True, None), ("3", None), (float("inf"), None)]
)
def test_integers_of_parts_take_whole_floats(value, said):
    found = Type("int").convert(value)
    assert (type(found), found) == (int, said) if said else not isinstance(found, (int, float))
    choice = Type("choice", choices=(2, 3)).convert(value)
    assert (type(choice), choice) == (int, said) if said else not isinstance(choice, (int, float))


def test_types_reach_through_references_alternatives_and_lists():
    schema = {
        "$defs": {"n": {"type": "integer"}}, "type": "object",
        "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"anyOf": [{"type": "null"}, {"type": "integer"}]}},
        "additionalProperties": {"type": "array", "items": {"type": "number"}},
    }  # fmt: skip
    found = typed({"a": 1.0, "b": 2.0, "c": [1, 1.5, "1", True]}, schema)
    assert canonical_json(found) == '{"a":1,"b":2,"c":[1.0,1.5,"1",true]}'
    assert typed({"a": "null", "b": "null"}, schema, ("null",)) == {"a": "null", "b": None}


def test_hints_ignore_case(tmp_path):
    with pytest.raises(ConfigError, match=r"methods = 'BP' \(did you mean 'bp'\?\)"):
        Checkout(tmp_path).workflow(methods="BP")
    assert nearest("TRAIN_LOSS", ["test_error", "train_loss"]) == ["train_loss"]
    assert nearest("xavier_norml", ["Xavier_normal", "zeros"]) == ["Xavier_normal"]


def test_a_name_out_of_nothing_has_no_list():
    assert one_of("from", "dfc/x", []) == "from = 'dfc/x'; there is nothing that it could name"
