"""The fast form of predictive coding in convolutional nets against the plain one."""

from __future__ import annotations

import copy

import pytest
import torch

import credit
from tests.conftest import small_batch

ADAM = {"name": "adam", "lr": 1e-3, "weight_decay": 0.01}


def net_with(hidden="relu", **settings):
    given = {"kernel": (3, 2, 1), "pool": None, "bias": [False, True, True, False], "loss": "squared_error_sum"}
    return credit.conv((2, 9, 8), [3, 4], [6], 3, hidden=hidden, **given | settings)


def started(net, rule, seeds, optimizer):
    rand = credit.Rand(seeds, dtype=torch.float64)
    params = net.init(rand, {"name": "normal", "std": 0.5})
    return params, rule.optimizer(net, params, {}, optimizer), rand


def check(net, rule, optimizer=ADAM, stacked=True, weights=False):
    params, opt, rand = started(net, rule, [3] if stacked else 3, optimizer)
    batch = small_batch(net, [3], 6)
    extra = rand.normal("weights", (6, 3)).abs().reshape(1, 6, 3) if weights else None
    batch = credit.Batch(batch.x, batch.y, extra) if stacked else credit.Batch(batch.x[0], batch.y[0])
    fast = rule.fast(net, params, opt, {}, batch, 6)
    others = copy.deepcopy((params, opt))
    for _ in range(3):
        params, opt, _, info = fast(params, opt, {}, batch, rand)
        *others, _, plain = rule.update(net, *others, {}, batch, rand)
        torch.testing.assert_close(info["loss"], plain["loss"], rtol=1e-12, atol=1e-12)
        for i, block in params.items():
            for name, p in block.items():
                torch.testing.assert_close(p, others[0][i][name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("hidden", ["relu", "leakyrelu_0.01", "linear", "sigmoid", "tanh"])
@pytest.mark.parametrize("lr", [0.2, 1.5])
def test_every_activation_and_rates_that_are_cut(hidden, stacked, lr):
    inference = {"lr": lr, "discount": 0.5, "amplifier": 1.05}
    check(net_with(hidden), credit.method("pc", steps=9, inference=inference, weight_updates="all"), stacked=stacked)


@pytest.mark.parametrize("learns", ["last", "last_half", (0, 5), (2, 7)])
@pytest.mark.parametrize("updates", ["all", "last_half", (1, 2, 6)])
def test_weights_and_nodes_at_some_iterations(learns, updates):
    rule = credit.method("pc", steps=8, inference={"lr": 0.2, "updates": updates}, weight_updates=learns)
    check(net_with(), rule, {"name": "sgd", "lr": 0.002, "momentum": 0.9})


@pytest.mark.parametrize("output", ["linear", "sigmoid"])
def test_a_loss_that_is_a_mean_and_weights_of_single_errors(output):
    rule = credit.method("pc", steps=6, inference={"lr": [0.2]}, weight_updates="all")
    check(net_with(loss="half_squared_error", output=output), rule)
    check(net_with(loss="squared_error_sum", output=output), rule, weights=True)


def test_one_convolution_and_nothing_between_it_and_the_output():
    net = credit.conv((1, 5, 5), [1], [], 3, kernel=(5, 1, 0), pool=None, loss="squared_error_sum")
    check(net, credit.method("pc", steps=5, weight_updates="all"))


@pytest.mark.parametrize(
    ("settings", "seeds", "hyper"),
    [
        ({"pool": 2, "kernel": (3, 1, 1)}, [3], {}),
        ({"hidden": "elu"}, [3], {}),
        ({}, [3, 4], {}),
        ({}, [3], {"energy_coefficient": 0.5}),
        ({}, [3], {"nodes": "after"}),
        ({}, [3], {"stop_below": 0.1}),
        ({}, [3], {"inference": {"optimizer": "adam"}}),
    ],
    ids=["pooling", "elu", "a stack", "coefficient", "after", "stop", "adam"],
)
def test_what_has_no_fast_form_keeps_the_plain_one(settings, seeds, hyper):
    net = net_with(**settings)
    params = net.init(credit.Rand(seeds))
    assert credit.method("pc", **hyper).fast(net, params, None, {}, small_batch(net, seeds, 6), 6) is None
