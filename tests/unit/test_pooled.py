"""Pooled convolutions in compiled passes and tiles against the plain layer, and backpropagation made of them."""

from __future__ import annotations

import copy
import math

import pytest
import torch

import credit
from credit.nets import pooled
from tests.conftest import small_batch

NETS = {
    "tiles": {"kernel": (3, 1, 1), "pool": 2},
    "rows left over": {"kernel": (3, 1, 0), "pool": 2},
    "strides": {"kernel": (3, 2, 1), "pool": 2},
    "overlaps": {"kernel": (5, 1, 2), "pool": (3, 2, 1)},
    "gaps": {"kernel": (3, 1, 1), "pool": (2, 3, 0)},
    "no bias": {"kernel": (3, 1, 1), "pool": 2, "bias": False},
}
every_net = pytest.mark.parametrize("kind", NETS)


@every_net
@pytest.mark.parametrize("hidden", ["elu", "tanh", "linear"])
@pytest.mark.parametrize("fewest", [1, 16], ids=["in tiles", "whole"])
@pytest.mark.parametrize("below", [True, False])
def test_a_layer_is_the_plain_one(kind, hidden, fewest, below, monkeypatch):
    monkeypatch.setattr(pooled, "TILES", 12)  # several portions, of which the last is smaller
    monkeypatch.setattr(pooled, "FEWEST", fewest)
    layer = credit.conv((2, 13, 11), [3], [], 4, hidden=hidden, **NETS[kind]).block(0)
    rand = credit.Rand(3, dtype=torch.float64)
    params, x = {n: rand.normal(n, s) for n, s in layer.shapes().items()}, rand.normal("x", (5, 2, 13, 11))
    trace, ours = layer.forward(params, x), pooled.pooled(layer, params, x)
    assert isinstance(ours, pooled.PooledTiles) == (fewest == 1 and kind != "strides")
    close(ours.out, trace.out)
    grad = rand.normal("grad", trace.out.shape)
    (found, down), (plain, under) = ours.backward(grad.flatten(1), below), layer.backward(trace, grad, below)
    assert found.keys() == plain.keys()
    for name, gradient in plain.items():
        close(found[name], gradient)
    assert (down is None) == (not below)
    if below:
        close(down, under)


def test_of_equal_inputs_the_first_counts_and_what_is_no_number_stays():
    layer = credit.conv((1, 4, 4), [1], [], 2, kernel=(1, 1, 0), pool=2, hidden="elu").block(0)
    params = {"weight": torch.ones(1, 1, 1, 1), "bias": torch.zeros(1)}
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 3, 3] = math.nan
    ours, trace = pooled.pooled(layer, params, x), layer.forward(params, x)
    torch.testing.assert_close(ours.out, trace.out, equal_nan=True)
    ours = pooled.pooled(layer, params, torch.zeros(1, 1, 4, 4))
    assert ours._index.ravel().tolist() == [0, 2, 8, 10]


@every_net
@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("divisor", [None, 9])
def test_updates_of_backpropagation_are_the_plain_ones(kind, stacked, divisor, monkeypatch):
    monkeypatch.setattr(pooled, "FEWEST", 1)
    net, rule = credit.conv((2, 13, 11), [3, 4], [5], 4, hidden="elu", **NETS[kind]), credit.method("bp")
    rand = credit.Rand([3] if stacked else 3, dtype=torch.float64)
    params = net.init(rand, {"name": "normal", "std": 0.5})
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.05, "momentum": 0.9})
    batch = small_batch(net, [3], 6)
    if not stacked:
        batch = credit.Batch(batch.x[0], batch.y[0])
    batch.divisor = divisor
    fast = rule.fast(net, params, opt, {}, batch, 6)
    others = copy.deepcopy((params, opt))
    for _ in range(3):
        params, opt, _, info = fast(params, opt, {}, batch, rand)
        *others, _, plain = rule.update(net, *others, {}, batch, rand)
        close(info["loss"], plain["loss"])
        for i, block in params.items():
            for n, p in block.items():
                close(p, others[0][i][n])


@pytest.mark.parametrize(
    ("settings", "seeds"),
    [({"hidden": "relu"}, [3]), ({"pool": None}, [3]), ({"keep": 0.5}, [3]), ({}, [3, 4])],
    ids=["relu", "without pooling", "dropout", "a stack"],
)
def test_other_nets_keep_the_plain_form(settings, seeds):
    net = credit.conv((2, 9, 9), [3], [5], 4, **{"kernel": 3, "hidden": "elu"} | settings)
    params = net.init(credit.Rand(seeds))
    assert credit.method("bp").fast(net, params, None, {}, small_batch(net, seeds, 6), 6) is None


def test_dense_nets_keep_the_plain_form():
    net = credit.dense([4, 5, 3])
    params = net.init(credit.Rand([3]))
    assert credit.method("bp").fast(net, params, None, {}, small_batch(net, [3], 6), 6) is None


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)
