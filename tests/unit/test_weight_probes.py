"""Probes of weights alone, and probes that measure at evaluations."""

from __future__ import annotations

import pytest
import torch
from small_checkout import Checkout

import credit
from credit.errors import ConfigError
from credit.optim.clipping import clip_each, norms
from credit.probes.alignment import Alignment, product_angle
from credit.probes.angles import vector_angle
from credit.probes.base import Moment
from credit.probes.weight_norm import WeightNorm
from tests.unit.test_train import make_spec, trained, values


def moment(kind="dense", rule="pepita", seeds=(0, 1)):
    net = credit.dense([6, 5, 4, 3]) if kind == "dense" else credit.conv([1, 8, 8], [4], [], 3, kernel=3)
    rand = credit.Rand(list(seeds) if isinstance(seeds, tuple) else seeds, dtype=torch.float64)
    params, method = net.init(rand), credit.method(rule)
    state = method.init(net, params, rand)
    return Moment(net, method, params, state, None, {}, params, state, rand)


def test_the_angle_is_that_of_the_product_of_transposed_weights():
    now = moment()
    (row,) = Alignment().measure(now)
    assert row[:2] == ("angle_projection", "")
    for m in range(2):
        product = torch.linalg.multi_dot([now.params[i]["weight"][m].T for i in ("0", "1", "2")])
        projection = now.state["projection"][m]
        cosine = (product * projection).sum() / (product.norm() * projection.norm())
        assert float(row[2][m]) == pytest.approx(float(torch.rad2deg(torch.acos(cosine))), rel=1e-12)


def test_a_projection_opposite_to_the_product_is_at_180_degrees():
    params = moment(seeds=3).params
    product = torch.linalg.multi_dot([params[i]["weight"].T for i in ("0", "1", "2")])
    assert float(product_angle(params, -2 * product)) == pytest.approx(180, abs=1e-6)
    assert float(product_angle(params, 2 * product)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("kind", "rule"), [("conv", "pepita"), ("dense", "bp")])
def test_alignment_names_the_net_and_the_rule_that_it_cannot_measure(kind, rule):
    with pytest.raises(ValueError, match=f"needs a dense net and a method with a projection.* a {kind} net"):
        Alignment().measure(moment(kind, rule))


def test_norms_and_angles_of_large_layers_in_single_precision_keep_their_digits():
    rand = credit.Rand(3)
    weight = rand.normal("weight", (1, 2000, 1000))
    exact = weight.double()
    assert abs(norms([weight], True) / norms([exact], True) - 1) < 1e-9
    other = weight + 1e-4 * rand.normal("change", weight.shape)
    truth = vector_angle(exact.flatten(1), other.double().flatten(1))
    assert abs(vector_angle(weight.flatten(1), other.flatten(1)) / truth - 1) < 1e-9
    params = {"0": {"weight": weight}}
    now = Moment(credit.dense([1000, 2000]), credit.method("bp"), params, {}, None, {}, params, {}, rand)
    ((_, _, measured),) = WeightNorm().measure(now)
    assert abs(measured / exact.norm() - 1) < 1e-9
    clipped = clip_each({"0": {"weight": weight}}, 1.0, True)["0"]["weight"]
    assert clipped.dtype == torch.float32
    assert abs(clipped.double().norm() - 1) < 1e-7
    opt = credit.optimizer("sgd", lr=1.0, clip_norm=1.0).init({"0": {"weight": torch.zeros(1, 2000, 1000)}})
    zero = {"0": {"weight": torch.zeros(1, 2000, 1000)}}
    opt.step(zero, {"0": {"weight": weight}})
    assert abs(zero["0"]["weight"].double().norm() - 1) < 1e-6


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("seeds", [(0, 1), 5])
def test_norms_are_frobenius_norms_by_layer(kind, seeds):
    now = moment(kind, seeds=seeds)
    found = WeightNorm().measure(now)
    assert [layer for _, layer, _ in found] == [str(i + 1) for i in range(len(now.net))]
    for (_, _, norm), block in zip(found, now.params.values(), strict=True):
        members = block["weight"] if isinstance(seeds, tuple) else block["weight"][None]
        torch.testing.assert_close(norm, members.flatten(1).norm(dim=1), rtol=1e-13, atol=0)
    assert [layer for _, layer, _ in WeightNorm(layers=(2,)).measure(now)] == ["2"]


def test_a_layer_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match=r"weight_norm.layers = \(4,\); this net has the layers 1 to 3"):
        WeightNorm(layers=(4,)).measure(moment())


def test_probes_at_evaluations_measure_before_training_and_after():
    probes = [{"probe": "alignment", "on": "evaluate"}, {"probe": "weight_norm", "layers": [1], "on": "evaluate"}]
    training = trained(make_spec("pepita", lr=0.01, probes=probes))
    for metric, layer in (("angle_projection", ""), ("weight_norm", "1")):
        found = [r for r in training.records if r["metric"] == metric and r["seed"] == 0]
        assert [(r["epoch"], r["layer"]) for r in found] == [(0, layer), (2, layer), (4, layer)]
    now = float(training.learner.params["0"]["weight"][1].norm())
    assert values(training.records, metric="weight_norm", seed=1, epoch=4) == [pytest.approx(now, rel=1e-12)]


def test_a_probe_that_needs_a_mini_batch_is_refused_at_evaluations(tmp_path):
    checkout = Checkout(tmp_path).change(probes=[{"probe": "weight_norm", "on": "evaluate"}])
    assert checkout.workflow().experiment("toy/fit").cell("near", "bp").run["probes"][0]["on"] == "evaluate"
    checkout.change(probes=[{"probe": "angles", "on": "evaluate"}])
    with pytest.raises(ConfigError, match=r"probes\[0\].on = 'evaluate'; angles needs a mini-batch"):
        checkout.workflow()
