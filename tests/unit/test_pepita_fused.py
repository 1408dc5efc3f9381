"""PEPITA's update in kept memory against the update that can be measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch

import credit
from credit.methods.modulation import fused
from credit.methods.pepita import Pepita
from credit.nets.base import Batch
from credit.numerics import products
from credit.training.fast import ask
from credit.training.learner import Learner

SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "lr_in_velocity": True}


def learn(rule, net, seeds, batches, fused, settings=SGD):
    """(params, optimiser state, random state, losses) after some mini-batches."""
    rand = credit.Rand(seeds, dtype=torch.float64)
    params = net.init(rand, "he_uniform")
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, settings)
    losses, learner = [], Learner(net, params, rule, opt, state, rand)
    for batch in batches:
        if fused:
            learner.update(batch)
        else:
            params, opt, state, info = rule.update(net, params, opt, state, batch, rand)
            losses.append(info["loss"])
    losses = learner.losses or losses
    return params, opt.state_dict(), rand.state_dict()["streams"], torch.stack(losses)


def one_fast_update(net, params, opt, state, batch, rand):
    """An update in the fast form where `credit.method("pepita")` has one."""
    rule, where = credit.method("pepita"), (net, params, opt, state)
    fast = ask(rule, *where, batch, batch.x.shape[1])
    return rule.update(*where, batch, rand) if fast is None else fast(params, opt, state, batch, rand)


def flat(tree):
    return [x for v in tree.values() for x in flat(v)] if isinstance(tree, dict) else [torch.as_tensor(tree)]


def agree(one, other, tolerance=1e-12):
    for a, b in zip(one, other, strict=True):
        for x, y in zip(flat({"": a}), flat({"": b}), strict=True):
            torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


@pytest.fixture
def used(monkeypatch):
    """Shapes of the mini-batches that were updated in kept memory."""
    shapes, plain = [], fused.Workspace.update

    def noted(space, params, opt, state, batch, rand):
        shapes.append(tuple(batch.x.shape))
        return plain(space, params, opt, state, batch, rand)

    monkeypatch.setattr(fused.Workspace, "update", noted)
    return shapes


def batches(shape, members, sizes=(16, 16, 12, 16), **more):
    rand = credit.Rand(list(range(40, 40 + members)), dtype=torch.float64)
    return [Batch(rand.normal("x", (n, *shape)), rand.integers("y", (n,), 3), **more) for n in sizes]


@pytest.mark.parametrize("large", [1, 2**21])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse", "squared_error_sum"])
@pytest.mark.parametrize("hidden", [[30], [30, 25, 20]])
@pytest.mark.parametrize("name", ["pepita", "pepita_torch", "pepita_numpy", "first_pass"])
@pytest.mark.parametrize("seeds", [[3], [3, 8, 9], [4, 4]])
def test_updates_in_kept_memory_are_the_updates(name, hidden, loss, seeds, large, used, monkeypatch):
    monkeypatch.setattr(products, "LARGE", large)
    net = credit.dense([40, *hidden, 3], "relu", loss=loss, bias=False, keep=0.8)
    given = batches((40,), len(seeds))
    if loss != "softmax_cross_entropy":
        given = [Batch(b.x, torch.nn.functional.one_hot(b.y, 3).double()) for b in given]
    rule = credit.method("pepita", last_layer_error=name) if name == "first_pass" else credit.method(name)
    agree(*(learn(rule, net, seeds, given, fused) for fused in (True, False)))
    assert [shape[1] for shape in used] == [16, 16, 12, 16]


def test_images_are_flattened_and_shared_inputs_go_to_every_member(used):
    net = credit.dense([48, 30, 3], "relu", bias=False, keep=0.8)
    given = [Batch(b.x[:1], b.y) for b in batches((3, 4, 4), 2)]
    agree(*(learn(credit.method("pepita"), net, [3, 5], given, fused) for fused in (True, False)))
    assert len(used) == 4


def test_single_precision_agrees_to_its_rounding(used):
    net, rule = credit.dense([40, 30, 3], "relu", bias=False, keep=0.8), credit.method("pepita")
    found = []
    for call in (one_fast_update, credit.method("pepita").update):
        rand = credit.Rand([3, 8])
        params = net.init(rand, "he_uniform")
        state = rule.init(net, params, rand)
        opt = rule.optimizer(net, params, state, SGD)
        for b in batches((40,), 2):
            call(net, params, opt, state, Batch(b.x.float(), b.y), rand)
        found.append((params,))
    agree(*found, 1e-5)
    assert used and found[0][0]["0"]["weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("hyper", "net", "settings", "batch"),
    [
        ({"passes": 3}, {}, SGD, {}),
        ({"signal": "sign"}, {}, SGD, {}),
        ({"mask_power": 0}, {}, SGD, {}),
        ({"low_rank": False}, {}, SGD, {}),
        ({}, {"keep": 1.0}, SGD, {}),
        ({}, {"bias": True}, SGD, {}),
        ({}, {"hidden": "tanh"}, SGD, {}),
        ({}, {"output": "tanh", "loss": "mse"}, SGD, {}),
        ({}, {}, SGD | {"clip_norm": 1.0}, {}),
        ({}, {}, {"name": "rmsprop", "lr": 0.01}, {}),
        ({}, {}, SGD, {"divisor": 20}),
        ({}, {}, SGD, {"weights": torch.full((2, 16, 3), 0.5, dtype=torch.float64)}),
    ],
)
def test_anything_else_is_updated_as_ever(hyper, net, settings, batch, used):
    net = credit.dense([40, 30, 3], **{"hidden": "relu", "bias": False, "keep": 0.8} | net)
    rule, given = credit.method("pepita", **hyper), batches((40,), 2, (16, 16), **batch)
    agree(*(learn(rule, net, [3, 8], given, fused, settings) for fused in (True, False)))
    assert not used


def test_a_member_that_diverges_stays_visible_and_alone(used):
    net, rule = credit.dense([40, 30, 3], "relu", bias=False, keep=0.8), credit.method("pepita")
    given = batches((40,), 2)
    alone = learn(rule, net, [8], [Batch(b.x[1:], b.y[1:]) for b in given], True)
    for b in given:
        b.x[0] = float("nan")
    params, *_, losses = learn(rule, net, [3, 8], given, True)
    assert losses[:, 0].isnan().all() and params["0"]["weight"][0].isnan().all()
    torch.testing.assert_close(losses[:, 1], alone[-1][:, 0], rtol=1e-12, atol=0)
    assert used


@pytest.mark.parametrize("what", ["weights", "projection", "projection in place"])
def test_the_fast_form_is_good_for_other_weights_and_another_projection(what, used):
    net, rule = credit.dense([40, 30, 3], "relu", bias=False, keep=0.8), credit.method("pepita")
    batch, *_ = batches((40,), 1)
    params = net.init(credit.Rand([3], dtype=torch.float64), "he_uniform")
    state = rule.init(net, params, credit.Rand([3], dtype=torch.float64))
    opt = rule.optimizer(net, params, state, SGD)
    kept = ask(rule, net, params, opt, state, batch, 16)
    kept(params, opt, state, batch, credit.Rand([3], dtype=torch.float64))
    if what == "weights":
        params = net.init(credit.Rand([5], dtype=torch.float64), "he_uniform")
    elif what == "projection":
        state = {"projection": -20 * state["projection"]}
    else:
        state["projection"].mul_(-20)
    other = {i: {"weight": block["weight"].clone()} for i, block in params.items()}
    for fast, mine in ((kept, params), (ask(rule, net, other, opt, state, batch, 16), other)):
        opt = rule.optimizer(net, mine, state, SGD)
        fast(mine, opt, state, batch, credit.Rand([3], dtype=torch.float64))
    agree((params,), (other,), 0)
    assert len(used) == 3


def test_a_copied_learner_goes_on_as_the_original():
    net, rule = credit.dense([40, 30, 3], "relu", bias=False, keep=0.8), credit.method("pepita")
    rand = credit.Rand([3, 5], dtype=torch.float64)
    params = net.init(rand, "he_uniform")
    state = rule.init(net, params, rand)
    one = Learner(net, params, rule, rule.optimizer(net, params, state, SGD), state, rand)
    given = batches((40,), 2)
    one.update(given[0])
    assert one.fast
    other = copy.deepcopy(one)
    assert not other.fast
    other.rand = credit.Rand([3, 5], dtype=torch.float64)
    other.rand.load_state_dict(one.rand.state_dict())
    for batch in (given[0], given[1]):
        one.update(batch), other.update(batch)
    agree((one.params,), (other.params,), 0)


@pytest.mark.parametrize("case", ["one network", "one layer", "convolution", "followed by autograd", "a seed"])
def test_what_the_fast_form_does_not_know_is_left_to_update(case, used):
    seeds, keep = (3 if case == "one network" else [3, 8]), 0.8
    net, shape = credit.dense([40, 30, 3], "relu", bias=False, keep=keep), (40,)
    if case == "one layer":
        net = credit.dense([40, 3], bias=False, keep=keep)
    if case == "convolution":
        net = credit.conv((1, 12, 12), [4], [20], 3, kernel=3, pool=2, hidden="relu", bias=False, keep=keep)
        shape = (1, 12, 12)
    batch = batches(shape, 1 if case == "one network" else 2, (16,))[0]
    if case == "one network":
        batch = Batch(batch.x[0], batch.y[0])
    rule, found = credit.method("pepita"), []
    for call in (one_fast_update, rule.update):
        rand = credit.Rand(seeds, dtype=torch.float64)
        params = net.init(rand, "he_uniform")
        state = rule.init(net, params, rand)
        opt = rule.optimizer(net, params, state, SGD)
        if case == "followed by autograd":
            params["0"]["weight"].requires_grad_()
        call(net, params, opt, state, batch, 7 if case == "a seed" else rand)
        found.append(({i: {"weight": block["weight"].detach()} for i, block in params.items()},))
    agree(*found)
    assert bool(used) == (case == "a seed")


FORMULAS = ("gradients", "update", "_together", "_modulated", "_error", "_deltas", "_products")


@pytest.mark.parametrize("name", FORMULAS)
def test_a_rule_that_inherits_and_changes_a_formula_is_asked_for_it(name, used):
    def changed(self, *args, **more):
        calls.append(name)
        return getattr(Pepita, name)(*(args if name == "_error" else (self, *args)), **more)

    calls: list[str] = []
    members = {name: changed, "__post_init__": lambda self: None}  # a rule of a test has no declared hyperparameters
    rule = dataclass(frozen=True)(type("Changed", (Pepita,), members))()
    net = credit.dense([40, 30, 3], "relu", bias=False, keep=0.8)
    agree(
        learn(rule, net, [3], batches((40,), 1), True),
        learn(credit.method("pepita"), net, [3], batches((40,), 1), False),
    )
    assert calls and not used


def test_inputs_of_another_shape_are_refused():
    net = credit.dense([40, 30, 3], "relu", bias=False, keep=0.8)
    with pytest.raises(ValueError, match="40"):
        learn(credit.method("pepita"), net, [3], batches((41,), 1), True)
    for flat in (torch.zeros(40), torch.zeros(16, 40)):
        wrong = [Batch(flat.double(), torch.zeros(1, 16, dtype=torch.int64))]
        with pytest.raises(ValueError, match="members, batch, 40"):
            learn(credit.method("pepita"), net, [3], wrong, True)
