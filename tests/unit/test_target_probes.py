"""Probes of target propagation: Jacobians against autograd, feedback weights, updates."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import torch

import credit
from credit.dag.recorded import metrics
from credit.errors import ConfigError
from credit.probes import jacobian_mismatch
from credit.probes.base import Moment
from credit.probes.distances import distance
from credit.probes.feedback_weights import FeedbackWeights
from credit.probes.jacobian_mismatch import JacobianMismatch, mapped
from credit.probes.update_distance import UpdateDistance, with_strength
from credit.probes.update_work import UpdateWork
from tests.conftest import small_batch
from tests.unit.test_target_propagation import NETS, back, chain, start

SEEDS = [3, 8]


def moment(kind="tiles", hidden="elu", seeds=SEEDS, name="ldrl", **options):
    net, rule, rand, params, state = start(kind, hidden, seeds, rule=name, **options)
    batch = small_batch(net, seeds)
    step = rule.gradients(net, params, state, batch, rand)
    info = step.info | {"gradients": step.gradients}
    return Moment(net, rule, params, state, batch, info, params, state, rand)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("hidden", ["elu", "tanh", "sigmoid"])
@pytest.mark.parametrize("collisions", ["overwrite", "add"])
def test_both_jacobians_are_those_of_autograd(kind, hidden, collisions):
    net, _, rand, params, state = start(kind, hidden, collisions=collisions)
    batch = small_batch(net, 3, 2)
    for i, link in chain(net, params, batch, collisions).items():
        own, y = state["feedback"][str(i)], link.trace.out
        v = rand.normal(f"v{i}", tuple(y.shape))
        there, exact = mapped(link, own, v)
        leaf = y.clone().requires_grad_()
        image = back(link, own, leaf, link.route)
        dual = torch.zeros_like(image, requires_grad=True)  # the transposed product twice is the product
        (pulled,) = torch.autograd.grad(image, leaf, dual, create_graph=True)
        torch.testing.assert_close(there, torch.autograd.grad(pulled, dual, v)[0], rtol=1e-10, atol=1e-12)
        x = link.below.clone().requires_grad_()
        out = link.layer.forward(link.params, x).out
        torch.testing.assert_close(exact, torch.autograd.grad(out, x, v)[0], rtol=1e-10, atol=1e-12)


def test_the_mismatch_of_a_linear_net_with_symmetric_feedback_is_none_and_estimates_agree(monkeypatch):
    linear = JacobianMismatch().measure(moment("dense", "linear", init="symmetric"))
    assert [layer for _, layer, _ in linear] == ["2", "3"]
    assert all((value < 1e-12).all() for _, _, value in linear)
    seen = moment("tiles")
    exact = {layer: value for _, layer, value in JacobianMismatch(samples=2).measure(seen)}
    monkeypatch.setattr(jacobian_mismatch, "EXACT", 0)
    for _, layer, value in JacobianMismatch(samples=2, draws=3000).measure(seen):
        torch.testing.assert_close(value, exact[layer], rtol=0.05, atol=0)
        assert value.shape == (2,)


def test_feedback_weights_are_compared_in_their_own_shape():
    symmetric = FeedbackWeights().measure(moment("overlaps", init="symmetric"))
    assert {(metric, layer) for metric, layer, _ in symmetric} == {
        (f"{what}_weights", layer) for what in ("angle", "distance") for layer in "234"
    }
    assert all((value < 1e-12).all() for _, _, value in symmetric)
    drawn = {m: v for m, layer, v in FeedbackWeights().measure(moment("overlaps")) if layer == "4"}
    assert (drawn["angle_weights"] > 60).all()
    parts = {layer for _, layer, _ in FeedbackWeights().measure(moment("residual"))}
    assert "3.0.conv1" in parts
    assert "4" in parts


def test_direct_feedback_is_compared_with_the_output_layer():
    net = credit.dense([6, 7, 5, 4])
    rand = credit.Rand(SEEDS, dtype=torch.float64)
    params, rule = net.init(rand), credit.method("ddtp_linear")
    state = rule.init(net, params, rand)
    state["feedback"]["1"]["weight"] = 2 * params["2"]["weight"].mT
    seen = Moment(net, rule, params, state, None, {}, params, state, rand)
    (angle, distance) = FeedbackWeights().measure(seen)
    assert angle[:2] == ("angle_weights", "3")
    assert (angle[2] < 1e-6).all()
    torch.testing.assert_close(distance[2], torch.ones(2, dtype=torch.float64))
    bp = Moment(net, credit.method("bp"), params, {}, None, {}, params, {}, rand)
    assert FeedbackWeights().measure(bp) == []


@pytest.mark.parametrize("name", ["ldrl", "dtp", "tp"])
def test_the_update_of_the_last_layer_is_backpropagations_times_beta(name):
    seen = moment("tiles", name=name)
    scaled = {(m, layer): v for m, layer, v in UpdateDistance(first="update", scaled=True).measure(seen)}
    plain = {(m, layer): v for m, layer, v in UpdateDistance().measure(seen)}
    last = str(len(seen.net))
    assert (scaled["distance_bp", last] < 1e-12).all()
    assert (plain["angle_bp", last] < 1e-6).all()
    torch.testing.assert_close(plain["distance_bp", last], torch.full((2,), 0.3, dtype=torch.float64))
    assert (plain["angle_bp", "1"] > 20).all()


# ---- the work of an update


@pytest.mark.parametrize("seeds", [3, SEEDS])
@pytest.mark.parametrize("name", ["ldrl", "dtp", "tp"])
def test_the_work_of_an_update_is_counted_as_by_hand(seeds, name):
    layers = 6 * 7, 7 * 5, 5 * 4  # multiply-adds of a sample
    passes = {"ldrl": 4, "dtp": 3, "tp": 3}[name]
    exact = sum(layers) + sum(layers) + sum(layers[1:])  # forward, gradients of the weights, targets
    feedback = 3 * passes * layers[1] + 2 * passes * layers[2]
    seen = moment("dense", seeds=seeds, name=name)
    rule = credit.method(name, feedback={"iterations": [3, 2]})
    ((metric, layer, value),) = UpdateWork().measure(replace(seen, method=rule))
    assert (metric, layer) == ("update_work", "")
    assert value.tolist() == pytest.approx([(exact + feedback) / exact] * (1 if seeds == 3 else 2), rel=1e-6)


def test_counting_the_work_changes_nothing():
    seen = moment()
    before = [tree_values(t) for t in (seen.params, seen.state)]
    drawn = credit.Rand(SEEDS).normal("feedback_noise.1_input", (3,))
    UpdateWork().measure(seen)
    assert all(torch.equal(a, b) for old, t in zip(before, (seen.params, seen.state), strict=True)
               for a, b in zip(old, tree_values(t), strict=True))  # fmt: skip
    torch.testing.assert_close(seen.rand.normal("feedback_noise.1_input", (3,)).float(), drawn)
    ((_, _, value),) = UpdateWork().measure(replace(seen, method=credit.method("bp"), state={}))
    assert value.tolist() == [1.0, 1.0]


def tree_values(tree) -> list[torch.Tensor]:
    """All tensors of nested dicts, copied."""
    return [t for v in tree.values() for t in (tree_values(v) if isinstance(v, dict) else [v.clone()])]


@pytest.mark.parametrize("name", ["ldrl", "dtp", "tp"])
def test_updates_with_other_betas_are_those_of_the_rule_with_these(name):
    seen = moment("overlaps", name=name)
    plain = {(m, layer): v for m, layer, v in UpdateDistance(scaled=True).measure(seen)}
    several = {(m, layer): v for m, layer, v in UpdateDistance(scaled=True, betas=(0.7, 1e-4)).measure(seen)}
    assert len(several) == 2 * len(plain)
    other = {(m, layer): v for m, layer, v in UpdateDistance(scaled=True).measure(nudged(seen, 1e-4))}
    for (metric, layer), value in plain.items():
        torch.testing.assert_close(several[f"{metric}_0.7", layer], value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(several[f"{metric}_0.0001", layer], other[metric, layer], rtol=1e-12, atol=1e-12)
    assert (plain["distance_bp", "1"] - other["distance_bp", "1"]).abs().max() > 1e-6


def nudged(seen, beta):
    rule = dataclasses.replace(seen.method, beta=beta)
    gradients = rule.gradients(seen.net, seen.params, seen.state_after, seen.batch, seen.rand).gradients
    return dataclasses.replace(seen, method=rule, info={"gradients": gradients})


def test_betas_need_a_rule_that_has_one():
    seen = moment("tiles")
    with pytest.raises(ConfigError, match=r"update_distance.betas = 0.1; needs a learning rule with beta"):
        UpdateDistance(betas=(0.1,)).measure(dataclasses.replace(seen, method=credit.method("bp")))
    direct = credit.method("ddtp_linear", target_stepsize=0.2)
    assert with_strength(direct, 0.1) == credit.method("ddtp_linear", target_stepsize=0.1)
    run = {"rule": {"name": "ldrl"}, "task": {"name": "teacher"},
           "train": {"evaluate": {"splits": ["test"]}},
           "probes": [{"probe": "update_distance", "reference": "bp", "betas": (1e-06, 0.1)}]}  # fmt: skip
    assert {n for n in metrics(run) if n.startswith("angle")} == {"angle_bp_1e-06", "angle_bp_0.1"}
    run["probes"] = [{"probe": "update_distance", "reference": "bp", "betas": ()}]
    assert {n for n in metrics(run) if n.startswith("angle")} == {"angle_bp"}


def test_an_update_may_be_looked_at_with_the_feedback_after_the_step_and_be_divided():
    net = credit.dense([6, 7, 5, 4])
    rand = credit.Rand(SEEDS, dtype=torch.float64)
    params, rule = net.init(rand), credit.method("ddtp_linear", target_stepsize=0.2)
    before, after = (rule.init(net, params, credit.Rand(seeds, dtype=torch.float64)) for seeds in (SEEDS, [4, 9]))
    batch = small_batch(net, SEEDS)
    made = rule.gradients(net, params, before, batch, rand).gradients
    seen = Moment(net, rule, params, before, batch, {"gradients": made}, params, after, rand)
    told = {k: {(m, n): v for m, n, v in UpdateDistance(**o).measure(seen)} for k, o in
            {"made": {}, "after": {"after": True}, "halved": {"divided_by": 2.0}}.items()}  # fmt: skip
    exact = credit.method("bp").gradients(net, params, {}, batch, rand).gradients
    later = rule.gradients(net, params, after, batch, rand).gradients
    for i, layer in (("0", "1"), ("1", "2")):
        for name, update in (("made", made[i]["weight"]), ("after", later[i]["weight"])):
            torch.testing.assert_close(
                told[name]["distance_bp", layer], distance(exact[i]["weight"].flatten(1), update.flatten(1))
            )
        half = distance(exact[i]["weight"].flatten(1), made[i]["weight"].flatten(1) / 2)
        torch.testing.assert_close(told["halved"]["distance_bp", layer], half)
        assert (told["made"]["angle_bp", layer] - told["after"]["angle_bp", layer]).abs().min() > 1
        torch.testing.assert_close(told["made"]["angle_bp", layer], told["halved"]["angle_bp", layer])
