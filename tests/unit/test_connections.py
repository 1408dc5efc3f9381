"""Dense layers that lack weights, weights that are given, and rates by unit: for every learning rule."""

from __future__ import annotations

import pytest
import torch

import credit
from credit.config import hyperparameters
from credit.config.parts import METHODS
from credit.nets.dense import DenseConfig
from credit.numerics.rand import Rand

RULES = [n for n in METHODS.names() if "dense" in hyperparameters.constants(METHODS.module(n)).get("nets", ("dense",))]
SEEDS = [3, 4]


def start(name, **net):
    """A rule with a small net for it, a mini-batch, and an optimiser of it."""
    loss = net.pop("loss", "mse")
    made = credit.dense([4, 4, 3], hidden=net.pop("hidden", "tanh"), loss=loss, **net)
    rule, rand = credit.method(name), Rand(SEEDS, dtype=torch.float64)
    params = made.init(rand, "xavier_normal", dtype=torch.float64)
    return made, rule, rand, params, rule.init(made, params, rand)


def batch(rand):
    return credit.Batch(rand.normal("x", (5, 4)), rand.integers("y", (5,), 3))


def suited(name, **net):
    try:
        return start(name, **net)
    except ValueError:
        try:
            return start(name, hidden="linear", bias=False, **net)
        except ValueError as error:
            pytest.skip(f"not for this net: {error}")


@pytest.mark.parametrize("name", RULES)
def test_weights_that_a_net_lacks_are_zero_and_stay_so(name):
    net, rule, rand, params, state = suited(name, connections=["diagonal", "full"])
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1, "momentum": 0.9})
    off = ~torch.eye(4, dtype=torch.bool)
    first = params["0"]["weight"].clone()
    assert (first[:, off] == 0).all()
    for _ in range(3):
        given = batch(rand)
        fast = rule.fast(net, params, opt, state, given, 5)
        run = rule.update if fast is None else None
        params, opt, state, _ = (
            fast(params, opt, state, given, rand) if run is None else run(net, params, opt, state, given, rand)
        )
    assert (params["0"]["weight"][:, off] == 0).all()
    assert torch.isfinite(params["0"]["weight"]).all()
    if name not in ("shallow", "generec"):
        assert not torch.equal(params["0"]["weight"][:, ~off], first[:, ~off])


@pytest.mark.parametrize("name", ["bp", "pc", "fa", "dfa"])
def test_the_fast_form_takes_the_same_steps_in_such_nets(name):
    found = []
    for fast in (False, True):
        net, rule, rand, params, state = start(name, connections=["diagonal", "full"], loss="squared_error_sum")
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.05})
        for _ in range(3):
            given = batch(rand)
            form = rule.fast(net, params, opt, state, given, 5) if fast else None
            if form is None:
                params, opt, state, _ = rule.update(net, params, opt, state, given, rand)
            else:
                params, opt, state, _ = form(params, opt, state, given, rand)
        found.append(params["0"]["weight"])
    torch.testing.assert_close(*found, rtol=0, atol=1e-13)


def test_a_rate_of_a_unit_is_the_rate_of_its_weights():
    net, rule, rand, params, state = start("bp")
    given = batch(rand)
    gradient = rule.gradients(net, params, state, given, rand).gradients["1"]["weight"]
    before = params["1"]["weight"].clone()
    units = {"1": {"0": [0.0, 0.5], "2": 3.0}}
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1, "units": units})
    params, *_ = rule.update(net, params, opt, state, given, rand)
    rates = torch.tensor([[0.0, 1, 3, 1], [0.5, 1, 3, 1]], dtype=torch.float64).unsqueeze(1) * 0.1
    torch.testing.assert_close(params["1"]["weight"], before - rates * gradient, rtol=0, atol=1e-15)


def test_a_layer_without_a_rate_keeps_its_given_weights():
    init = {"name": "zeros"}, {"name": "given", "values": [[1, 0], [0, 2]]}
    net = DenseConfig(
        hidden_sizes=(2,), hidden="linear", loss="squared_error_sum", bias=False, connections=("full", "diagonal"),
        init=init,
    ).build((1,), 2)  # fmt: skip
    params = net.init(Rand([0, 1], dtype=torch.float64), list(init), dtype=torch.float64)
    rule = credit.method("bp")
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": {"0": 0.4, "1": 0.0}})
    given = credit.Batch(torch.ones(2, 1, 1, dtype=torch.float64), torch.ones(2, 1, 2, dtype=torch.float64))
    for _ in range(2):
        params, *_ = rule.update(net, params, opt, {}, given, 0)
    assert torch.equal(params["1"]["weight"][0], torch.tensor([[1.0, 0], [0, 2]], dtype=torch.float64))
    torch.testing.assert_close(params["0"]["weight"][1].flatten().tolist(), [0.64, 0.32])  # of the paper's example


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: credit.dense([3, 4, 2], connections=["diagonal", "full"]), "layer 0 is diagonal; .* has 4 and 3"),
        (lambda: credit.dense([3, 3, 2], connections=["diagonal"]), "connections = .*each of 2 blocks"),
        (lambda: credit.dense([3, 3, 2], connections="sparse"), "net.connections = 'sparse'"),
        (lambda: start("bp")[0].init(0, {"name": "given", "values": [[1, 2]]}), "init.values: 1 rows of 2 numbers"),
        (lambda: start("bp")[0].init(0, {"name": "given", "values": [[1], [1, 2]]}), "must be the rows of the weight"),
        (lambda: start("bp")[0].init(0, {"name": "given", "values": "eye"}), "must be the rows of the weight"),
        (
            lambda: credit.dense([2, 2], connections="diagonal").init(0, {"name": "given", "values": [[1, 2], [0, 1]]}),
            "given values of a diagonal layer; must be 0 off the diagonal",
        ),
        (lambda: credit.optimizer("adam", lr=0.1, units={"0": {"1": 2.0}}), "optimizer.units; needs sgd"),
        (lambda: credit.optimizer("sgd", lr=0.1, units={"0": 2.0}), "must be {LAYER: {UNIT: factor}}"),
        (lambda: credit.optimizer("sgd", lr=0.1, units={"0": {"1": -2.0}}), "optimizer.units.0.1 = -2.0"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("units", [{"7": {"0": 1.0}}, {"1": {"9": 1.0}}, {"1": {"0": [1.0, 2.0, 3.0]}}])
def test_units_that_are_not_there_are_named(units):
    net, rule, _, params, state = start("bp")
    with pytest.raises(ValueError, match=r"optimizer\.units\.[71]"):
        rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1, "units": units})
