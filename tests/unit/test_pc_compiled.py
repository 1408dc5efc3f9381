"""The compiled forms of predictive coding in dense nets against the plain one: one by one, and side by side."""

from __future__ import annotations

import copy

import pytest
import torch

import credit
from credit.methods.energy import lanes

SGD, MOMENTUM = {"name": "sgd", "lr": 1e-2}, {"name": "sgd", "lr": 1e-2, "momentum": 0.9}
FORMS = pytest.mark.parametrize("tiny", [0, 10**6], ids=["one by one", "side by side"])


def check(monkeypatch, tiny, net, rule, members=35, samples=2, optimizer=SGD, weights=False, seeds=None):
    """Three updates; members of a seed share their mini-batch where `seeds` is given."""
    monkeypatch.setattr(lanes, "TINY", tiny)
    rand = credit.Rand(list(range(members)), dtype=torch.float64)
    params = net.init(rand, {"name": "normal", "std": 0.6})
    opt = rule.optimizer(net, params, {}, optimizer)
    others = copy.deepcopy((params, opt))
    some = credit.Rand(list(range(seeds or members)), dtype=torch.float64)
    whose = torch.arange(members) % seeds if seeds else None
    for k in range(3):
        x, y = some.normal(f"x{k}", (samples, *net.shape_in)), some.normal(f"y{k}", (samples, net.n_out))
        own = some.normal(f"w{k}", (samples, net.n_out)).abs() if weights else None
        batch = credit.Batch(x, y, own, whose=whose)
        params, opt, _, info = rule.fast(net, params, opt, {}, batch, samples)(params, opt, {}, batch, rand)
        *others, _, plain = rule.update(net, *others, {}, batch, rand)
        close(info["loss"].flatten(), plain["loss"])
        for i, block in params.items():
            for name, p in block.items():
                close(p, others[0][i][name])


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@FORMS
@pytest.mark.parametrize("hidden", ["linear", "sigmoid", "tanh", "relu", "leakyrelu_0.01"])
@pytest.mark.parametrize("bias", [True, False])
def test_every_activation(monkeypatch, tiny, hidden, bias):
    net = credit.dense([3, 5, 6, 4, 2], hidden=hidden, bias=bias, loss="squared_error_sum")
    check(monkeypatch, tiny, net, credit.method("pc", steps=9, inference={"lr": 0.2, "amplifier": 1.05}))


@FORMS
def test_every_member_has_its_own_rates(monkeypatch, tiny):
    net = credit.dense([3, 5, 4, 2], hidden="tanh", loss="squared_error_sum")
    rates = [0.05 * (1 + k) for k in range(35)]  # of which the larger ones are cut
    inference = {"lr": rates, "discount": [0.3 + 0.02 * k for k in range(35)], "amplifier": [1.1] * 35}
    check(monkeypatch, tiny, net, credit.method("pc", steps=12, inference=inference))


@FORMS
@pytest.mark.parametrize("loss", ["squared_error_sum", "half_squared_error"])
def test_weights_of_single_errors_shared_mini_batches_and_momentum(monkeypatch, tiny, loss):
    net, rule = credit.dense([3, 5, 4, 2], hidden="sigmoid", loss=loss), credit.method("pc", steps=7)
    check(monkeypatch, tiny, net, rule, weights=True, seeds=4)
    check(monkeypatch, tiny, net, rule, optimizer=MOMENTUM, seeds=1)


@FORMS
@pytest.mark.parametrize("sizes", [[3, 2], [2, 1, 1], [1, 33, 2]])
@pytest.mark.parametrize("samples", [1, 3])
def test_small_shapes(monkeypatch, tiny, sizes, samples):
    net = credit.dense(sizes, hidden="linear", bias=False, loss="squared_error_sum")
    check(monkeypatch, tiny, net, credit.method("pc", steps=6), samples=samples, members=3)


@FORMS
def test_fewer_iterations_than_layers(monkeypatch, tiny):
    net = credit.dense([3, *[4] * 8, 2], hidden="tanh", loss="squared_error_sum")
    for steps in (2, 3, 8, 9):
        check(monkeypatch, tiny, net, credit.method("pc", steps=steps))


@FORMS
def test_what_is_no_number_stays_and_its_neighbours_are_as_before(monkeypatch, tiny):
    monkeypatch.setattr(lanes, "TINY", tiny)
    net, rule = credit.dense([3, 4, 4, 2], hidden="relu", loss="squared_error_sum"), credit.method("pc", steps=9)
    found = []
    for spoiled in (False, True):
        rand = credit.Rand(list(range(5)), dtype=torch.float64)
        params = net.init(rand, "xavier_normal")
        opt, x, y = rule.optimizer(net, params, {}, SGD), torch.ones(5, 2, 3).double(), torch.ones(5, 2, 2).double()
        if spoiled:
            x[2, 1, 0] = torch.nan
        batch = credit.Batch(x, y)
        rule.fast(net, params, opt, {}, batch, 2)(params, opt, {}, batch, rand)
        found.append(torch.cat([p.flatten(1) for block in params.values() for p in block.values()], -1))
    assert found[1][2].isnan().all()
    others = [0, 1, 3, 4]
    assert torch.equal(found[0][others], found[1][others])


UNITS = {"1": {"0": 0.2, "2": [0.1 * k for k in range(35)]}, "2": {"1": 3.0}}


@FORMS
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lr", [1e-2, {"0": 3e-2, "1": [1e-3 * k for k in range(35)], "2": 2e-2}])
def test_rates_by_unit_and_layer_and_weights_that_are_not_there(monkeypatch, tiny, bias, lr):
    net = credit.dense(
        [4, 4, 5, 2], hidden="tanh", bias=bias, loss="squared_error_sum", connections=["diagonal", "full", "full"]
    )
    decay = {"weight_decay": 0.1} if bias else {}
    optimizer = {"name": "sgd", "lr": lr, "units": UNITS, **decay}
    check(monkeypatch, tiny, net, credit.method("pc", steps=8, inference={"lr": 0.2}), optimizer=optimizer, seeds=5)


@pytest.mark.parametrize("tiny", [True, False])
def test_where_rates_differ_within_a_layer_mini_batches_are_taken_together_in_tiny_nets_alone(tiny):
    net = credit.dense([2, 2 if tiny else 90, 2], "linear", bias=False, loss="squared_error_sum")
    rule, rand = credit.method("pc", steps=9), credit.Rand([0, 1, 2], dtype=torch.float64)
    params = net.init(rand, {"name": "normal", "std": 0.4})
    units = {"name": "sgd", "lr": {"0": 0.01, "1": [0.1, 0.02, 0.3]}, "units": {"1": {"0": 0.0, "1": [1.0, 2.0, 3.0]}}}
    opt = rule.optimizer(net, params, {}, units)
    others = copy.deepcopy((params, opt))
    batch = credit.Batch(rand.normal("x", (6, 2)), rand.normal("y", (6, 2)))
    form = rule.fast(net, params, opt, {}, credit.Batch(batch.x[:, :1], batch.y[:, :1]), 1)
    assert form.at_once == (1024 if tiny else 1) and form.alone
    parts = [batch] if tiny else [credit.Batch(batch.x[:, [k]], batch.y[:, [k]]) for k in range(6)]
    for part in parts:
        params, opt, _, _ = form(params, opt, {}, part, rand)
    for k in range(6):
        *others, _, _ = rule.update(net, *others, {}, credit.Batch(batch.x[:, [k]], batch.y[:, [k]]), rand)
    for i in params:
        close(params[i]["weight"], others[0][i]["weight"])


def test_a_single_net_has_rates_by_unit_too():
    net, rule = credit.dense([2, 3, 2], "linear", bias=False, loss="squared_error_sum"), credit.method("pc", steps=5)
    params = net.init(3, dtype=torch.float64)
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1, "units": {"1": {"1": 0.5}, "0": {"0": 0.0}}})
    others = copy.deepcopy((params, opt))
    batch = credit.Batch(torch.ones(2, 2).double(), torch.ones(2, 2).double())
    params, *_ = rule.fast(net, params, opt, {}, batch, 2)(params, opt, {}, batch, 0)
    rule.update(net, *others, {}, batch, 0)
    for i in params:
        close(params[i]["weight"], others[0][i]["weight"])
