"""Fused feedback iterations of L-DRL against the plain form."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

import credit
from credit.config.fields import plain
from credit.dag.checks import PartChecker
from credit.errors import ConfigError
from credit.methods.targets import fused
from credit.methods.targets.chain import Link
from credit.methods.targets.losses import difference_reconstruction
from credit.nets import pooled
from credit.nets.feedback_stage import feedback_of
from credit.numerics.rand import as_rand
from tests.conftest import small_batch
from tests.unit.test_target_propagation import chain

NETS = {
    "tiles": {"kernel": (3, 1, 1), "pool": 2},
    "rows left over": {"kernel": (3, 1, 0), "pool": 2},
    "strides": {"kernel": (3, 2, 1), "pool": 2},
    "overlaps": {"kernel": (5, 1, 2), "pool": (3, 2, 1)},
    "gaps": {"kernel": (3, 1, 1), "pool": (2, 3, 0)},
}
every_net = pytest.mark.parametrize("kind", NETS)


def start(kind, dtype=torch.float64, seeds=(3,), hidden="elu", shape=(2, 13, 11), **feedback):
    net = credit.conv(shape, [3, 4], [5], 4, hidden=hidden, **NETS[kind])
    rand = credit.Rand(list(seeds), dtype=dtype)
    # In single precision ELU is -1 from -17 on: the plain form takes the first of equal activities of unequal inputs.
    params = net.init(rand, {"name": "normal", "std": 0.5 if dtype is torch.float64 else 0.1})
    rule = credit.method("ldrl", feedback={"iterations": 3, "sigma": 0.4, "lr": 0.01, **feedback})
    return net, rule, rand, params, rule.init(net, params, rand)


def batch_of(net, dtype, stream="batch"):
    batch = small_batch(net, [3], 6, stream)
    return credit.Batch(batch.x.to(dtype), batch.y)


@every_net
def test_a_fused_step_is_the_plain_one(kind):
    net, _, rand, params, state = start(kind)
    batch = small_batch(net, [3], 6)
    link, own = chain(net, params, batch)[1], state["feedback"]["1"]
    noise = {"s_input": rand.normal("x", link.below.shape[1:]), "s_output": rand.normal("y", link.trace.out.shape[1:])}
    assert type(fused.fused(link)) is fused.FusedConvolution
    ours = fused.FusedConvolution(link)(own, 0.4, net.rand(params, dict(noise)), "s")
    plain = difference_reconstruction(link, own, 0.4, net.rand(params, dict(noise)), "s")
    torch.testing.assert_close(ours.gradients["weight"], plain.gradients["weight"], rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(ours.loss, plain.loss, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", sorted({*NETS} - {"strides"}))
@pytest.mark.parametrize("shape", [(2, 13, 11), (2, 5, 4), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("loss", [True, False])
def test_a_step_in_tiles_is_the_plain_one(kind, shape, loss, monkeypatch):
    monkeypatch.setattr(pooled, "TILES", 12)  # several portions, of which the last is smaller
    monkeypatch.setattr(pooled, "FEWEST", 1)
    net = credit.conv((2, 27, 26), [2, 4], [5], 4, hidden="elu", **NETS[kind])
    layer = dataclasses.replace(net.block(1), shape_in=shape)
    if min(layer.shape_pre + layer.shape_out) < 1:
        pytest.skip("no window fits")
    rand = credit.Rand([3], dtype=torch.float64)
    params = {n: rand.normal(n, s) for n, s in layer.shapes().items()}
    below = rand.normal("below", (5, *shape))
    link = Link(layer, params, feedback_of(layer), layer.forward(params, below), below)
    own = {"weight": rand.normal("own", layer.shapes()["weight"])}
    noise = {"s_input": rand.normal("x", below.shape[1:]), "s_output": rand.normal("y", link.trace.out.shape[1:])}
    step = fused.fused(link)
    assert type(step) is fused.TiledConvolution
    compare(step, link, own, noise, loss)


@pytest.mark.parametrize("seeds", [(3,), (3, 8)], ids=str)
@pytest.mark.parametrize(("sizes", "hidden"), [([7, 9, 12, 3], "tanh"), ([7, 4, 9, 8], "elu")])
@pytest.mark.parametrize("loss", [True, False])
def test_a_dense_step_is_the_plain_one(seeds, sizes, hidden, loss):
    net = credit.dense(sizes, hidden)
    rand = credit.Rand(list(seeds), dtype=torch.float64)
    params = net.init(rand, {"name": "normal", "std": 0.5})
    state = credit.method("ldrl").init(net, params, rand)
    for i, link in chain(net, params, small_batch(net, list(seeds), 6)).items():
        shapes = {"s_input": link.below.shape[2:], "s_output": link.trace.out.shape[2:]}
        noise = {name: rand.normal(f"{name}.{i}", (6, *shape)) for name, shape in shapes.items()}
        step = fused.fused(link)
        assert type(step) is fused.FusedDense
        compare(step, link, state["feedback"][str(i)], noise, loss)


def compare(step, link, own, noise, loss):
    """The fused step against the plain one with the same noise."""
    members = link.axis and link.params["weight"].shape[0]
    like = link.below
    ours = step(own, 0.4, as_rand(dict(noise), like, members), "s", loss=loss)
    plain = difference_reconstruction(link, own, 0.4, as_rand(dict(noise), like, members), "s")
    torch.testing.assert_close(ours.gradients["weight"], plain.gradients["weight"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.loss, plain.loss if loss else plain.loss * 0, rtol=1e-10, atol=1e-12)


@every_net
@pytest.mark.parametrize("collisions", ["overwrite", "add"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("fewest", [1, 16], ids=["in tiles", "whole"])
def test_whole_updates_are_the_plain_ones(kind, collisions, dtype, fewest, monkeypatch):
    monkeypatch.setattr(pooled, "FEWEST", fewest)
    net, rule, rand, params, state = start(kind, dtype, collisions=collisions)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.05, "momentum": 0.9})
    others, other_rand = copy.deepcopy((params, opt, state)), copy.deepcopy(rand)
    fast = rule.fast(net, params, opt, state, batch_of(net, dtype), 6)
    for step in range(2):
        batch = batch_of(net, dtype, f"batch{step}")
        params, opt, state, info = fast(params, opt, state, batch, rand)
        *others, plain = rule.update(net, *others, batch, other_rand)
        tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype is torch.float64 else {"rtol": 2e-4, "atol": 2e-5}
        for a, b in ((params, others[0]), (state["feedback"], others[2]["feedback"])):
            for i, block in b.items():
                for n, p in block.items():
                    torch.testing.assert_close(a[i][n], p, **tolerance)
        torch.testing.assert_close(info["means"]["feedback_loss"], plain["means"]["feedback_loss"], **tolerance)


@pytest.mark.parametrize("seeds", [(3,), (3, 8)], ids=str)
def test_whole_updates_of_dense_nets_are_the_plain_ones(seeds):
    net = credit.dense([7, 9, 12, 3])
    rand = credit.Rand(list(seeds), dtype=torch.float64)
    params = net.init(rand, {"name": "normal", "std": 0.5})
    rule = credit.method("ldrl", feedback={"iterations": 3, "sigma": 0.4})
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.05, "momentum": 0.9})
    others, other_rand = copy.deepcopy((params, opt, state)), copy.deepcopy(rand)
    batch = small_batch(net, list(seeds), 6)
    fast = rule.fast(net, params, opt, state, batch, 6)
    for _ in range(2):
        params, opt, state, info = fast(params, opt, state, batch, rand)
        *others, plain = rule.update(net, *others, batch, other_rand)
        close(info["means"]["feedback_loss"], plain["means"]["feedback_loss"])
        for a, b in ((params, others[0]), (state["feedback"], others[2]["feedback"])):
            for i, block in b.items():
                for n, p in block.items():
                    close(a[i][n], p)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "taken"),
    [({}, True), ({"seeds": (3, 8)}, False), ({"samples": 2}, False)],
)
def test_stacks_and_several_samples_keep_the_plain_form(options, taken):
    net, rule, rand, params, state = start("tiles", **options)
    found = rule.fast(net, params, None, state, small_batch(net, list(rand.seeds), 6), 6)
    assert (found is not None) == taken


@pytest.mark.parametrize("hidden", ["relu", "tanh"])
def test_other_activations_keep_the_plain_form(hidden):
    net, _, _, params, _ = start("tiles", hidden=hidden)
    assert fused.fused(chain(net, params, small_batch(net, [3], 6))[1]) is None


@pytest.mark.parametrize(
    ("kernel", "fewest"), [((3, 1, 1), 1), ((5, 1, 2), 1), ((3, 2, 1), 1), ((3, 1, 1), 16)], ids=str
)
def test_products_in_bfloat16_are_near(kernel, fewest, monkeypatch):
    monkeypatch.setattr(pooled, "FEWEST", fewest)
    net = credit.conv((2, 13, 11), [8, 12], [5], 4, hidden="elu", kernel=kernel, pool=2)
    rand = credit.Rand([3])
    params = net.init(rand, "torch_default")
    state = credit.method("ldrl", products="bfloat16").init(net, params, rand)
    link, own = chain(net, params, batch_of(net, torch.float32))[1], state["feedback"]["1"]
    noise = {"s_input": rand.normal("x", link.below.shape[1:]), "s_output": rand.normal("y", link.trace.out.shape[1:])}
    low, full = (fused.fused(link, p)(own, 0.4, net.rand(params, dict(noise)), "s") for p in ("bfloat16", "full"))
    apart = (low.gradients["weight"] - full.gradients["weight"]).norm() / full.gradients["weight"].norm()
    assert 1e-3 < apart < 0.15
    torch.testing.assert_close(low.loss, full.loss, rtol=0.1, atol=1e-3)


def test_updates_with_bfloat16_are_the_same_in_every_form():
    net, _, rand, params, state = start("tiles", torch.float32)
    feedback = {"iterations": 3, "sigma": 0.4, "lr": 0.01}
    rule = credit.method("ldrl", products="bfloat16", feedback=feedback)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.05})
    others, other_rand, batch = copy.deepcopy((params, opt, state)), copy.deepcopy(rand), batch_of(net, torch.float32)
    rule.fast(net, params, opt, state, batch, 6)(params, opt, state, batch, rand)
    rule.update(net, *others, batch, other_rand)
    assert torch.equal(state["feedback"]["1"]["weight"], others[2]["feedback"]["1"]["weight"])


@pytest.mark.parametrize(
    ("net", "seeds", "hyper", "message"),
    [
        ({"hidden": "relu"}, [3], {}, "products = 'bfloat16'; block 1 has no fused form; needs pooling, elu"),
        ({"pool": (3, 2, 1)}, [3], {"feedback": {"collisions": "add"}}, "block 1 has no fused form"),
        ({"pool": None}, [3], {}, "block 1 has no fused form"),
        ({}, [3], {"feedback": {"samples": 2}}, "needs feedback.samples = 1"),
        ({}, [3, 4], {}, "needs a single network on the CPU"),
    ],
    ids=str,
)
def test_products_of_low_precision_are_refused_without_a_fused_form(net, seeds, hyper, message):
    settings = {"channels": (3, 4), "hidden_sizes": (5,), "kernel": (3, 1, 1), "hidden": "elu", **net}
    values = {"name": "ldrl", **plain(credit.method("ldrl", **hyper)), "products": "bfloat16"}
    workflow = PartChecker("tiny.yaml")
    workflow.capable(values, {"kind": "conv", "keep": 1.0, "pool": (2, 2, 0), **settings}, "ldrl")
    said = [line for line in workflow.problems if message in line]
    assert len(said) == (len(seeds) == 1)  # how many are trained side by side, the machine knows
    net = credit.conv((2, 13, 11), n_out=4, **settings)
    rand = credit.Rand(seeds)
    with pytest.raises(ConfigError, match=message):
        credit.method("ldrl", products="bfloat16", **hyper).init(net, net.init(rand), rand)


def test_a_dense_net_has_no_products_of_low_precision():
    with pytest.raises(ConfigError, match="needs a conv net"):
        credit.method("ldrl", products="bfloat16").check_net(credit.dense([4, 5, 6, 3], "elu"))
