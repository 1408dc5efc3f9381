"""Gradients that stay products until the step: same updates as with the gradients themselves."""

from __future__ import annotations

import copy

import pytest
import torch

import credit
from credit.methods.base import Batch
from credit.nets.base import BlockTrace
from credit.numerics import products
from credit.numerics.products import Product
from credit.optim import optimizer
from tests.unit.test_optim import CASES, assert_same

RULES = ("bp", "fa", "dfa", "drtp", "pepita", "pepita_numpy")
PLAIN = {"name": "sgd", "lr": 0.05}
SETTINGS = {case: config for case, (config, _) in CASES.items() if config["name"] != "rmsprop"} | {
    "momentum without decay": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.3},
    "rate in the velocity": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "lr_in_velocity": True},
}


@pytest.fixture
def small_is_large(monkeypatch):
    """Every dense weight counts as large, and is stepped a few rows at a time."""
    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(products, "TILES", ((100, 250),))
    monkeypatch.setattr(products, "ALIGN", 2)


def factors(seed, members, shared_input):
    g = torch.Generator().manual_seed(seed)
    lead = () if members is None else (members,)
    delta = torch.randn(*lead, 5, 11, generator=g, dtype=torch.float64)
    x = torch.randn(*((1,) if members and shared_input else lead), 5, 7, generator=g, dtype=torch.float64)
    return delta, x


@pytest.mark.parametrize(("members", "shared_input"), [(None, False), (3, False), (3, True)])
@pytest.mark.parametrize("case", SETTINGS)
def test_an_optimiser_steps_by_products_as_by_gradients(case, members, shared_input, small_is_large):
    config = SETTINGS[case] | ({"lr": [0.1, 0.01, 0.3]} if members else {})
    if members and "momentum" in config:
        config |= {"momentum": [0.9, 0.7, 0.5]}
    lead = () if members is None else (members,)
    weight = torch.randn(*lead, 11, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, expected = ({"0": {"weight": weight.clone()}} for _ in range(2))
    opt, reference = optimizer(**config).init(found), optimizer(**config).init(expected)
    assert opt.takes_products
    for seed in range(4):
        delta, x = factors(seed, members, shared_input)
        opt.step(found, {"0": {"weight": Product(delta, x)}})
        reference.step(expected, {"0": {"weight": delta.mT @ x}})
    assert not torch.equal(expected["0"]["weight"], weight)
    assert_same(found, expected, 1e-12)


def test_a_member_of_a_stack_steps_bit_for_bit_like_one_alone(small_is_large):
    delta, x = factors(0, 3, False)
    stack = {"0": {"weight": torch.zeros(3, 11, 7, dtype=torch.float64)}}
    alone = {"0": {"weight": torch.zeros(11, 7, dtype=torch.float64)}}
    optimizer("sgd", lr=0.1, momentum=0.9).init(stack).step(stack, {"0": {"weight": Product(delta, x)}})
    optimizer("sgd", lr=0.1, momentum=0.9).init(alone).step(alone, {"0": {"weight": Product(delta[1], x[1])}})
    assert torch.equal(stack["0"]["weight"][1], alone["0"]["weight"])


def test_a_product_is_of_an_empty_batch_or_scaled_by_a_number_only():
    empty = Product(torch.ones(2, 0, 4), torch.ones(2, 0, 3))
    params = {"0": {"weight": torch.ones(2, 4, 3)}}
    optimizer("sgd", lr=0.1, momentum=0.9).init(params).step(params, {"0": {"weight": empty}})
    assert torch.equal(params["0"]["weight"], torch.ones(2, 4, 3))
    product = Product(torch.ones(2, 4), torch.ones(2, 3))
    assert torch.equal((product * 0.5).tensor(), torch.ones(4, 3))
    with pytest.raises(TypeError):
        product * torch.ones(3)


def test_clipping_and_uncompiled_rules_want_the_gradients():
    params = {"0": {"weight": torch.zeros(3, 4)}}
    assert not optimizer("sgd", lr=0.1, clip_norm=1.0).init(params).takes_products
    assert not optimizer("rmsprop", lr=0.1).init(params).takes_products


def test_a_product_of_another_shape_is_refused():
    params = {"0": {"weight": torch.zeros(3, 4)}}
    with pytest.raises(ValueError, match=r"gradient of 0.weight has shape \(4, 3\)"):
        optimizer("sgd", lr=0.1).init(params).step(
            params, {"0": {"weight": Product(torch.ones(2, 4), torch.ones(2, 3))}}
        )


@pytest.mark.parametrize("settings", [PLAIN, PLAIN | {"momentum": 0.9, "lr_in_velocity": True}])
@pytest.mark.parametrize("divisor", [None, 8])
@pytest.mark.parametrize("seeds", [0, [0, 4]])
@pytest.mark.parametrize("name", RULES)
def test_a_rule_learns_the_same_by_products(name, seeds, divisor, settings, small_is_large):
    net, rule = credit.dense([7, 6, 5, 3], "tanh", keep=0.8), credit.method(name)
    rand = credit.Rand(seeds, dtype=torch.float64)
    lead = (2,) if isinstance(seeds, list) else ()
    batch = Batch(rand.normal("x", (6, 7)), torch.arange(6).expand(*lead, 6) % 3, divisor=divisor)
    params = net.init(rand)
    state = rule.init(net, params, rand)
    expected = copy.deepcopy(params)
    opt, reference = (rule.optimizer(net, p, state, settings) for p in (params, expected))
    assert rule.passes_products() and opt.takes_products
    reference.takes_products = False
    kinds, step = set(), opt.step

    def recorded(params, gradients):
        kinds.update(type(block["weight"]) for block in gradients.values())
        step(params, gradients)

    opt.step = recorded
    for _ in range(3):
        *_, info = rule.update(net, params, opt, state, batch, credit.Rand(seeds, dtype=torch.float64))
        *_, plain = rule.update(net, expected, reference, state, batch, credit.Rand(seeds, dtype=torch.float64))
        assert list(info["gradients"]) == list(plain["gradients"])
        for layer, block in info["gradients"].items():
            assert_same({layer: block}, {layer: plain["gradients"][layer]}, 1e-12)
    assert_same(params, expected, 1e-12)
    assert kinds == {Product}


def test_rules_that_calculate_with_gradients_get_tensors():
    assert not credit.method("pepita", passes=3).passes_products()
    assert not credit.method("dfa", clip_norm=1.0).passes_products()
    assert not credit.method("dfa", target_stepsize=0.1).passes_products()
    assert not credit.method("dfc_ssa").passes_products()


def test_gradients_without_products_are_handed_on_as_they_are():
    gradients = {"0": {"weight": torch.ones(2, 3)}}
    assert products.multiplied_out(gradients) is gradients


def test_only_large_weights_and_small_batches_stay_products():
    for members, samples, kind in ((1, 64, torch.Tensor), (3, 64, Product), (3, 128, Product), (3, 129, torch.Tensor)):
        delta, x = torch.ones(members, samples, 1024), torch.ones(members, samples, 784)
        block = credit.dense([784, 1024, 3], bias=False).with_products.block(0)
        assert isinstance(block.weight_gradient(BlockTrace(x, delta, delta, delta), delta)["weight"], kind)
        plain = credit.dense([784, 1024, 3], bias=False).block(0)
        assert isinstance(plain.weight_gradient(BlockTrace(x, delta, delta, delta), delta)["weight"], torch.Tensor)
    conv = credit.conv((1, 8, 8), [4], [], 3)
    assert conv.with_products.block(0) == conv.block(0)
