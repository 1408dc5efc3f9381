"""Experiments that extend another one: what is laid over what, and what is refused."""

from __future__ import annotations

import pytest

from credit.config.files import overlay
from credit.dag.cost import plan
from credit.dag.extended import laid
from credit.errors import ConfigError
from tests.unit.small_checkout import FIT, Checkout

OTHER = {"extends": "toy/fit", "title": "Another one"}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def extending(checkout: Checkout, key: str = "toy/other", **changes) -> dict:
    """The body of an experiment that extends `toy/fit`."""
    checkout.write(key, OTHER | changes)
    return checkout.workflow().defined[key].body


def test_only_what_differs_is_written_and_the_rest_is_the_other_file_s(checkout):
    body = extending(
        checkout,
        net={"hidden": "relu"},
        train={"optimizer": {"lr": 0.1}},
        seeds=2,
        datasets={"far": {"task": {"train": 8}}},
    )
    assert body["net"] == FIT["net"] | {"hidden": "relu"}
    assert body["train"] == overlay(FIT["train"], {"optimizer": {"lr": 0.1}})
    assert (body["seeds"], body["seeds_per_job"]) == (2, 2)
    assert body["datasets"] == {"near": {}, "far": {"task": {"n_in": 7, "train": 8}}}
    assert body["title"] == "Another one"
    assert not body.keys() & {"figures", "tables"}, "those are the other file's own"


def test_the_same_settings_make_the_same_runs_but_for_the_name(checkout):
    extending(checkout, figures={"others": FIT["figures"]["curves"]})
    workflow = checkout.workflow()
    mine, theirs = (workflow.train_spec(key, "far", "fa", 1) for key in ("toy/other", "toy/fit"))
    assert mine == theirs | {"experiment": "other"}
    assert "toy/others" in workflow.figures
    assert [part.missing for part in plan(workflow, "toy/other").parts] == [
        part.missing for part in plan(workflow, "toy/fit").parts
    ]


def test_lists_are_replaced_and_the_quick_sections_are_laid_over_each_other(checkout):
    checkout.change(quick={"tables": {"table1": {"options": {"percent": True}}}})
    quick = {"train": {"optimizer": {"lr": 0.3}}, "use_datasets": ["far"]}
    checkout.write("toy/other", OTHER | {"quick": quick, "net": {"hidden_sizes": [3, 3]}})
    body = checkout.workflow(scale="quick").defined["toy/other"].body
    assert not body.keys() & {"figures", "tables"}
    assert (body["train"]["epochs"], body["train"]["optimizer"]["lr"], body["seeds"]) == (1, 0.3, 1)
    assert (body["use_datasets"], body["net"]["hidden_sizes"]) == (["far"], [3, 3])


def test_methods_are_added_changed_and_taken_away(checkout):
    checkout.change(
        methods={"dfc_ssa": {"hyper": {"alpha": 0.5, "feedback": "zeros"}}, "dfa": {"hyper": {"feedback_scale": 0.5}}}
    )
    methods = {
        "bp": None, "drtp": None, "dfc_ssa": {"hyper": {"feedback": {"lr": 0.25}}},
        "dfa": {"rule": "fa", "hyper": {"feedback_scale": 2.0}},
    }  # fmt: skip
    body = extending(checkout, methods=methods, datasets={"near": None})
    assert body["methods"] == {
        "fa": {}, "drtp": None, "dfc_ssa": {"hyper": {"alpha": 0.5, "feedback": {"init": "zeros", "lr": 0.25}}},
        "dfa": {"rule": "fa", "hyper": {"feedback_scale": 2.0}},
    }  # fmt: skip
    assert list(body["datasets"]) == ["far"]


@pytest.mark.parametrize(
    ("key", "base", "own", "found"),
    [
        ("net", {"kind": "conv", "kernel": 3}, {"kind": "dense"}, {"kind": "dense"}),
        (
            "net",
            {"kind": "conv", "kernel": 3},
            {"kind": "conv", "hidden": "elu"},
            {"kind": "conv", "kernel": 3, "hidden": "elu"},
        ),
        ("task", {"name": "teacher", "n_in": 3}, {"name": "images"}, {"name": "images"}),
        ("search", {"vary": {"a": [1]}}, None, None),
    ],
)
def test_another_part_takes_nothing_of_the_one_before_and_null_switches_off(key, base, own, found):
    assert laid({key: base}, {key: own}) == {key: found}


def test_another_optimiser_takes_nothing_of_the_one_before():
    base = {"train": {"epochs": 2, "optimizer": {"name": "sgd", "momentum": 0.9, "lr": 0.1}}}
    own = {"train": {"optimizer": {"name": "adam", "lr": 0.1}}}
    assert laid(base, own) == {"train": {"epochs": 2, **own["train"]}}


@pytest.mark.parametrize(
    ("base", "quick", "own", "found"),
    [
        ({"methods": {"bp": {}, "fa": None}}, {"methods": {"bp": {"net": {}}, "fa": {}}}, {"methods": {"bp": None}},
         {"methods": {"fa": {}}}),
        ({"datasets": {"near": {}}}, {"datasets": {"near": {"task": {"train": 9}}}}, {"datasets": {"near": None}},
         {"datasets": {}}),
        ({"train": {"optimizer": {"name": "sgd", "lr": 0.1}}}, {"train": {"epochs": 1, "optimizer": {"lr": 0.5}}},
         {"train": {"optimizer": {"name": "adam", "lr": 0.001}}}, {"train": {"epochs": 1, "optimizer": {}}}),
        ({"net": {"kind": "dense"}}, {"net": {"hidden_sizes": [2]}}, {"net": {"kind": "conv"}}, {"net": {}}),
        ({"methods": {"fa": {}}}, {"methods": {"fa": {"hyper": {"feedback_scale": 2}}}},
         {"methods": {"fa": {"rule": "bp"}}}, {"methods": {"fa": {}}}),
        ({"search": {"vary": {"a": [1]}}}, {"search": {"epochs": 1}}, {"search": None}, {}),
        ({"search": {"vary": {"a": [1]}}}, {"search": {"vary": {"a": [2]}, "epochs": 1}},
         {"search": {"vary": None, "space": {}}}, {"search": {"epochs": 1}}),
        ({"net": {"kind": "dense"}}, {"net": {"hidden_sizes": [2]}}, {"net": {"kind": "dense", "bias": False}},
         {"net": {"hidden_sizes": [2]}}),
    ],
)  # fmt: skip
def test_the_quick_section_says_nothing_of_what_is_replaced_or_taken_away(base, quick, own, found):
    assert laid({**base, "quick": quick}, own)["quick"] == found


def test_a_method_that_is_taken_away_stays_away_at_quick_scale(checkout):
    checkout.change(quick={"methods": {"bp": {"train": {"optimizer": {"lr": 0.5}}}}})
    extending(checkout, methods={"bp": None})
    assert "bp" not in checkout.workflow(scale="quick").defined["toy/other"].body["methods"]


def test_an_experiment_may_extend_one_that_extends_another(checkout):
    extending(checkout, net={"hidden": "relu"})
    body = extending(checkout, "cross/third", extends="toy/other", net={"hidden_sizes": [9]})
    assert body["net"] == FIT["net"] | {"hidden": "relu", "hidden_sizes": [9]}


def test_what_leads_back_is_refused(checkout):
    checkout.write("toy/third", OTHER | {"extends": "toy/other"})
    with pytest.raises(ConfigError, match=r"extends = 'toy/other'; leads back to where it began: .*") as error:
        extending(checkout, extends="toy/third")
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).endswith("toy/other -> toy/third -> toy/other")


@pytest.mark.parametrize("name", ["toy/fid", "fit", "toy/other", 3, None])
def test_a_file_that_does_not_exist_is_refused_with_the_nearest_one(checkout, name):
    with pytest.raises(ConfigError, match=r"toy/other.yaml: extends = .*; must be one of: toy/fit"):
        extending(checkout, extends=name)


def test_a_mistake_is_told_of_the_file_in_which_it_stands(checkout):
    with pytest.raises(ConfigError, match=r"toy/other.yaml: net.hiden = 'relu': no such hyperparameter \(did you mean"):
        extending(checkout, net={"hiden": "relu"})
    checkout.write("toy/fit", FIT | {"sedes": 3})
    with pytest.raises(ConfigError, match=r"toy/fit.yaml: top level: unknown key 'sedes'"):
        extending(checkout, "a/other")
    checkout.change()
    checkout.write("toy/other", {"extends": "toy/fit"})
    with pytest.raises(ConfigError, match=r"toy/other.yaml: top level: 'title' is a required property"):
        checkout.workflow()
