"""Difference reconstruction against recordings of the official code of Meulemans et al. (NeurIPS 2020), float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import credit
from credit.methods.reconstruction.losses import difference, difference_loss
from credit.nets.conv import Conv
from credit.nets.pooling import Pool
from tests.golden.recordings import HERE, Recording
from tests.golden.recordings import agree as agree_to

SIZES = (12, 9, 8, 7, 5)
RULES = {
    "dtp": ("drl_dtp", "tanh"), "dtpdrl": ("dtpdrl", "tanh"), "ddtplinear": ("ddtp_linear", "linear"),
    "ddtprhl": ("ddtp_rhl", "tanh"), "ddtpcontrol": ("ddtp_control", "linear"),
}  # fmt: skip
every_rule = pytest.mark.parametrize("kind", RULES)


def load(kind: str) -> Recording:
    return Recording(HERE / f"dtp_drl_{kind}.npz")


def layer_of(file, weight, bias, i):
    keys = {"weight": f"{weight}/{i}", "bias": f"{bias}/{i}"}
    return {n: torch.tensor(file[k]) for n, k in keys.items() if k in file}


def start(kind):
    """Net, rule, weights and feedback of a recording. Layer l of the layer-wise rules leads down from l."""
    file, (name, activation) = load(kind), RULES[kind]
    params = {str(i): layer_of(file, "W", "b", i) for i in range(len(SIZES) - 1)}
    net = credit.dense(list(SIZES), "tanh", bias=["bias" in p for p in params.values()])
    sigma, eta = (float(v) for v in file["cfg/sigma_eta"])
    options = {"units": 20} if kind == "ddtprhl" else {}
    rule = credit.method(name, target_stepsize=eta, feedback={"sigma": sigma, "activation": activation}, **options)
    feedback = {layer: layer_of(file, "Q", "qb", layer) for layer in rule.maps(net)}
    state = {"feedback": feedback}
    if kind == "ddtprhl":
        state["hidden"] = {"weight": torch.tensor(file["RHL/W"]), "bias": torch.tensor(file["RHL/b"])}
    batch = credit.Batch(torch.tensor(file["x"]), torch.tensor(file["labels"]))
    return file, net, rule, params, state, batch


def agree(ours, recorded, tolerance=1e-12):
    agree_to(ours, recorded, tolerance)


@every_rule
def test_the_state_has_the_recorded_shapes(kind):
    _, net, rule, params, state, _ = start(kind)
    made = rule.init(net, params, 0)
    assert {k: v.keys() for k, v in made.items()} == {k: v.keys() for k, v in state.items()}
    for group in ({"hidden": state["hidden"]} if "hidden" in state else {}, state["feedback"]):
        drawn = made if "hidden" in group else made["feedback"]
        assert all(drawn[i][n].shape == p.shape for i, own in group.items() for n, p in own.items())
        assert all(drawn[i].keys() == own.keys() for i, own in group.items())


@every_rule
def test_activities_targets_and_forward_gradients(kind):
    file, net, rule, params, state, batch = start(kind)
    step = rule.gradients(net, params, state, batch, 0)
    agree(step.info["loss"], file["ce"])
    exact = credit.method("bp").gradients(net, params, {}, batch, 0).gradients
    for i in range(len(net)):
        trace = step.info["trace"].blocks[i]
        agree(trace.out, file[f"h/{i}"])
        agree(trace.pre, file[f"a/{i}"])
        agree(step.info["targets"][i], file[f"target/{i}"])
        agree(step.gradients[str(i)]["weight"], file[f"fgrad/W/{i}"], 1e-11)
        assert ("bias" in step.gradients[str(i)]) == (f"fgrad/b/{i}" in file)
        if f"fgrad/b/{i}" in file:
            agree(step.gradients[str(i)]["bias"], file[f"fgrad/b/{i}"], 1e-11)
        agree(exact[str(i)]["weight"], file[f"bpgrad/W/{i}"])
        ours, theirs = step.gradients[str(i)]["weight"].flatten(), exact[str(i)]["weight"].flatten()
        cosine = ours @ theirs / (ours.norm() * theirs.norm())
        assert abs(cosine - np.cos(np.radians(float(file[f"angle_bp/{i}"].squeeze())))) < 1e-11


@every_rule
def test_losses_and_gradients_of_the_feedback_maps(kind):
    file, net, rule, params, state, batch = start(kind)
    noise = {f"feedback_noise.{i}": torch.tensor(file[f"unit_noise/{i}"]) for i in range(len(net) - 1)}
    rand = net.rand(params, noise)
    layers = [int(i) for i in state["feedback"]]
    found = rule.feedback_steps(net, params, state, net.forward(params, batch.x), rand, layers)
    assert list(found) == layers
    for i, step in found.items():
        agree(step.loss, file[f"rec_loss/{i}"])
        for n, names in {"weight": ("W", "layers.0.weight"), "bias": ("b", "layers.0.bias")}.items():
            recorded = next((file[f"fbgrad/{i}/{name}"] for name in names if f"fbgrad/{i}/{name}" in file), None)
            if n in step.gradients:
                agree(step.gradients[n], recorded)
            else:
                assert recorded is None or np.abs(recorded).max() < 1e-12  # the bias cancels


def test_a_convolution_with_direct_feedback():
    file = {k: torch.tensor(v) for k, v in load("convlayer").items()}
    layer = Conv((3, 8, 8), 4, 5, "tanh", 1, 2, Pool(3, 2, 1))
    trace = layer.forward({"weight": file["conv_w"], "bias": file["conv_b"]}, file["x"])
    agree(trace.out, file["h"])
    own, sigma = {"weight": file["Q"]}, 0.08
    target = trace.out + difference(own, "linear", file["out_target"], file["out"]).reshape(trace.out.shape)
    agree(target, file["target"])
    gradients, _ = layer.backward(trace, 2 * (trace.out - target) / target.numel(), below=False)
    agree(gradients["weight"], file["fgrad_w"], 1e-11)
    agree(gradients["bias"], file["fgrad_b"], 1e-11)
    noise = (file["h_corrupted"] - file["h"]).flatten(1)
    step = difference_loss(own, "linear", file["out_corrupted"], file["out"], noise, sigma)
    agree(step.loss, file["rec_loss"])
    agree(step.gradients["weight"], file["fbgrad_Q"])
