"""Distances, angles and the beta sweep against recordings of the official code of Ernoult et al. (ICML 2022)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import credit
from credit.probes.angles import vector_angle
from credit.probes.base import Moment
from credit.probes.distances import PUBLISHED_EPSILON, angle_with_epsilon, distance, row_angle
from credit.probes.update_distance import UpdateDistance
from tests.golden.test_dtp import NAMES, RULES, batch_of, load, net_of, params_of, sources

BETAS = ("1e-06", "0.0001", "0.005", "0.1", "0.4655", "0.7")


def both(a, b):
    return torch.stack([distance(a, b), angle_with_epsilon(a, b)])


@sources
@pytest.mark.parametrize("pair", ["0", "1", "2"])
def test_distances_and_angles(source, pair):
    file = load(source, "metrics")
    a, b = (torch.tensor(file[f"{pair}/{side}"]) for side in "AB")
    flat = a.flatten(), b.flatten()
    for name, scale in {"dist_angle": 1.0, "dist_angle_small": 1e-4, "dist_angle_1e-5": 1e-5}.items():
        ours = both(*(scale * x for x in flat))
        torch.testing.assert_close(ours, torch.tensor(file[f"{pair}/{name}"]), rtol=1e-12, atol=1e-12)
    single = both(*(x.float() for x in flat))
    torch.testing.assert_close(single, torch.tensor(file[f"{pair}/dist_angle_f32"]).double(), rtol=1e-6, atol=1e-6)
    rows = row_angle(a.flatten(1), b.flatten(1))
    torch.testing.assert_close(rows, torch.tensor(file[f"{pair}/legacy_row_angle"]), rtol=1e-12, atol=0)
    assert file[f"{pair}/self_angle_f32"][0] == 0 == distance(flat[0].float(), flat[0].float())
    assert file[f"{pair}/self_angle_f32"][1] < 0.05  # of the arc cosine in single precision; ours has none
    assert vector_angle(flat[0].float(), flat[0].float()) == 0


def measured(probe, net, params, feedback, batch, rule):
    step = rule.gradients(net, params, {"feedback": feedback}, batch, 0)
    info = step.info | {"gradients": step.gradients}
    state = {"feedback": feedback}
    moment = Moment(net, rule, params, state, batch, info, params, state, 0)
    found: dict[str, list[float]] = {}
    for metric, layer, value in sorted(probe.measure(moment), reverse=True):  # distances first
        assert metric in ("angle_bp", "distance_bp")
        found.setdefault(layer, []).append(float(value))
    return found


@sources
@pytest.mark.parametrize("which", ["lenet", "vgg", "res"])
@pytest.mark.parametrize("feedback", ["rand", "sym"])
@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("beta", ["0.7", "0.005"])
def test_updates_are_as_far_from_backpropagation_as_recorded(source, which, feedback, kind, beta):
    file, key = load(source, f"targets_{which}_{feedback}"), f"{kind}/beta{beta}"
    if f"{key}/dist_angle_bpFirst_unscaled/{NAMES[which][0]}.weight" not in file:
        pytest.skip("not in the slice")
    net, params, own = net_of(which), params_of(file, which, "F/"), params_of(file, which, "G/", 1)
    rule = credit.method(RULES[kind], beta=float(beta))
    for first, scaled, name in (("reference", False, "bpFirst_unscaled"), ("update", True, "dtpFirst_scaled")):
        probe = UpdateDistance(first=first, scaled=scaled, epsilon=PUBLISHED_EPSILON)
        ours = measured(probe, net, params, own, batch_of(file), rule)
        recorded = params_of(file, which, f"{key}/dist_angle_{name}/")
        for i, block in recorded.items():
            for part in (n for n in block if n.endswith("weight")):
                pair = torch.tensor(ours[".".join([str(int(i) + 1), *part.split(".")[:-1]])]).double()
                torch.testing.assert_close(pair[0], block[part][0], rtol=1e-6, atol=1e-9)
                cosines = (torch.cos(torch.deg2rad(x)) for x in (pair[1], block[part][1]))
                torch.testing.assert_close(*cosines, rtol=0, atol=1e-7)


def symmetric_start(which):
    """Weights as torch draws them from seed 0, block by block, as the official nets are built: without biases."""
    torch.manual_seed(0)
    make = {"dtype": torch.float64, "bias": False}
    if which == "lenet":
        convolutions = [torch.nn.Conv2d(a, b, 5, padding=2, **make) for a, b in ((3, 4), (4, 6))]
        layers = [*convolutions, torch.nn.Linear(54, 16, **make), torch.nn.Linear(16, 5, **make)]
    else:
        layers = [torch.nn.Conv2d(a, b, 3, padding=1, **make) for a, b in ((3, 4), (4, 6), (6, 8))]
        torch.rand(4, 3, 16, 16, dtype=torch.float64)  # the pass that finds out the sizes
        layers.append(torch.nn.Linear(32, 5, **make))
    return {str(i): {"weight": layer.weight.detach()} for i, layer in enumerate(layers)}


@sources
@pytest.mark.parametrize("which", ["lenet", "vgg"])
@pytest.mark.parametrize("beta", BETAS)
def test_the_sweep_of_beta_with_symmetric_weights(source, which, beta):
    file, net, params = load(source, "beta_sweep_sym"), net_of(which, bias=False), symmetric_start(which)
    rule, batch = (
        credit.method("ldrl", beta=float(beta), feedback="symmetric"),
        batch_of(load(source, f"fbloss_{which}")),
    )
    probe = UpdateDistance(first="update", scaled=True, epsilon=PUBLISHED_EPSILON)
    ours = measured(probe, net, params, rule.init(net, params, 0)["feedback"], batch, rule)
    for i, name in enumerate(NAMES[which]):
        distance_there, angle_there = file[f"{which}/beta{beta}/{name}.weight"]
        far, degrees = ours[str(i + 1)]
        rounding = 1e-12 + 1e-15 / float(beta)  # targets are differences of numbers of order 1
        assert abs(far - distance_there) < rounding
        assert abs(np.cos(np.radians(degrees)) - np.cos(np.radians(angle_there))) < rounding
