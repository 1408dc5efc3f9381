"""What may vary within a run, by member of its stack, and what may not."""

from __future__ import annotations

import pytest
from small_checkout import OF_BP, SEARCH, Checkout, searching

from credit.errors import ConfigError
from credit.training.loop import Training


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize("given", [0.2, {"0": 0.2, "1": 0.2}])
def test_the_rate_of_one_layer_may_vary(checkout, given):
    train = {"optimizer": {"lr": given}}
    checkout.change(train=train, methods={"fa": {"vary": {"train.optimizer.lr.1": [0.1, 0.3]}}}, **OF_BP)
    found = checkout.workflow().experiment("toy/fit").cell("near", "fa").train_spec((0,))
    assert found["train"]["optimizer"]["lr"] == {"0": 0.2, "1": 0.2}
    assert found["vary"] == {"train.optimizer.lr.1": [0.1, 0.3]}
    training = Training(found | {"train": found["train"] | {"epochs": 1}})
    assert training.learner.opt.lr_at(0) == {"0": 0.2, "1": [0.1, 0.3]}
    records = training.run()
    assert {r["lr_1"] for r in records} == {0.1, 0.3}


@pytest.mark.parametrize("given", [None, {"1": {"2": 0.5}}], ids=["alone", "with another"])
def test_the_rate_of_one_unit_may_vary(checkout, given):
    train = {"optimizer": {"lr": 0.2, "units": given}}
    checkout.change(train=train, methods={"fa": {"vary": {"train.optimizer.units.1.0": [0.1, 3.0]}}}, **OF_BP)
    found = checkout.workflow().experiment("toy/fit").cell("near", "fa").train_spec((0,))
    training = Training(found | {"train": found["train"] | {"epochs": 1}})
    factors = training.learner.opt.factors["1"]
    assert factors[:, 0, 0].tolist() == pytest.approx([0.1, 3.0])
    assert factors[:, 0, 2].tolist() == [0.5 if given else 1.0] * 2
    assert {r["units_1_0"] for r in training.run()} == {0.1, 3.0}


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        ("train.optimizer.units.9.0", [0.1], r"vary: train.optimizer.units names the layers 9; must be among 0, 1"),
        ("train.optimizer.units.1.0", [-0.1], r"vary: train.optimizer.units.1.0 = -0.1; must be a finite number >= 0"),
        ("train.optimizer.lr.2", [0.1], r"vary: train.optimizer.lr names the layers 0, 1, 2; must name all of 0, 1"),
        ("train.optimizer.lr.1", [-0.1], r"vary: train.optimizer.lr = -0.1; must be a finite number >= 0"),
        ("train.optimizer.name.0", [1], r"vary: train.optimizer.name.0 = \[1.0\]; cannot be varied, make it 1 methods"),
        ("train.optimizer.schedule", [0.1], r"vary: train.optimizer.schedule = \[0.1\]; cannot be varied"),
        (
            "train.optimizer.betas",
            [0.3, 0.6],
            r"vary: train.optimizer.betas = \[0.3, 0.6\]; cannot be varied, make it 2",
        ),
        ("train.optimizer.momentun.0", [0.1], r"vary: train.optimizer: key of sgd = 'momentun'"),
    ],
)
def test_a_varied_layer_is_checked(checkout, path, values, said):
    checkout.change(methods={"fa": {"vary": {path: values}}})
    with pytest.raises(ConfigError, match=said):
        checkout.workflow().experiment("toy/fit").cell("near", "fa")


@pytest.mark.parametrize("place", ["vary", "search"])
@pytest.mark.parametrize(
    ("rule", "path", "values"),
    [
        ("dfc_ssa", "hyper.feedback.betas", [0.3, 0.6]),
        ("dfc_ssa", "hyper.pretrain_epochs", [5, 6]),
        ("ldrl", "hyper.feedback.sigma", [0.3, 0.6]),
        ("ldrl", "hyper.feedback.iterations", [3, 6]),
        ("sdi", "hyper.dt", [0.5, 0.25]),
        ("ndi", "hyper.ssa_lr", [0.5, 0.25]),
    ],
)
def test_what_cannot_differ_between_members_cannot_be_varied(checkout, place, rule, path, values):
    grid = {"vary": {path: values}} if place == "vary" else {"search": SEARCH | {"vary": {path: values}}}
    checkout.change(methods={rule: grid})
    with pytest.raises(ConfigError, match=rf"{path.replace('.', '[.]')} = .*; cannot be varied, make it 2 methods"):
        checkout.workflow().experiment("toy/fit").cell("near", rule)


def test_rates_of_units_may_be_those_of_a_single_layer(checkout):
    units = {"1": {"0": 0.5, "2": 0.0}}
    checkout.change(methods={"fa": {"train": {"optimizer": {"units": units}}}})
    found = checkout.workflow().experiment("toy/fit").cell("near", "fa").train_spec((0,))
    assert found["train"]["optimizer"]["units"] == units


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ({"1": {"0": 0.5}, "9": {"0": 0.5}}, "units names the layers 1, 9; must be among 0, 1"),
        ({"1": {"0": [0.5, 0.1]}}, r"units = {'1': {'0': \[0.5, 0.1\]}}; must be one value, or one for each layer"),
    ],
)
def test_rates_of_units_are_of_layers_that_there_are(checkout, units, said):
    checkout.change(methods={"fa": {"train": {"optimizer": {"units": units}}}})
    with pytest.raises(ConfigError, match=said):
        checkout.workflow().experiment("toy/fit").cell("near", "fa")


def test_a_hyperparameter_called_name_does_not_change_the_learning_rule(checkout):
    checkout.change(methods={"fa": {"hyper": {"name": "dfa"}}})
    with pytest.raises(ConfigError, match=r"methods.fa.hyper.name = 'dfa': no such hyperparameter; `rule` names"):
        checkout.workflow().experiment("toy/fit").cell("near", "fa")


def test_a_search_has_every_seed_once(checkout):
    checkout.write("toy/fit", searching(search={"seeds": [1, 1]}))
    with pytest.raises(ConfigError, match=r"search.seeds"):
        checkout.workflow()
