"""Backpropagation, feedback alignment and the minimum-norm update against the official implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import credit
from credit.nets.jacobian import output_jacobian
from tests.golden.recordings import HERE, PLACES, Recording, alone, beside, moved
from tests.golden.recordings import agree as agree_to

DFC = Recording(HERE / "dfc_bp_mn.npz")
PEPITA = Recording(HERE / "pepita_bp_fa_dfa.npz", tensors=True)
CASES = sorted({key.partition("/")[0] for key in DFC})
EXACT = 1e-11  # relative to an array's largest entry, as the recordings' notes ask


def agree(ours: torch.Tensor, recorded: np.ndarray, tolerance: float = EXACT) -> None:
    agree_to(ours, recorded, tolerance)


def dfc(case: str):
    """Net, parameters and batch of a recording."""
    _, hidden, loss = case.split("_")
    data = DFC.under(f"{case}/")
    layers = sum(key.startswith("W_") for key in data)
    weights = [torch.as_tensor(data[f"W_{i}"]) for i in range(layers)]
    sizes = [weights[0].shape[1], *(w.shape[0] for w in weights)]
    # The official relu has derivative 1 at exactly 0.
    name = {"relu": "relu_closed"}.get(hidden, hidden)
    net = credit.dense(sizes, name, loss={"ce": "softmax_cross_entropy", "mse": "mse"}[loss])
    params = {str(i): {"weight": w, "bias": torch.as_tensor(data[f"b_{i}"])} for i, w in enumerate(weights)}
    return net, params, credit.Batch(torch.as_tensor(data["x"]), torch.as_tensor(data["y"])), data


@pytest.mark.parametrize("case", CASES)
def test_loss_and_backpropagation_agree_with_the_dfc_code(case):
    net, params, batch, data = dfc(case)
    step = credit.method("bp").gradients(net, params, {}, batch, credit.Rand(0))
    agree(step.info["loss"].squeeze(), data["loss_value"])
    agree(step.info["error"], data["loss_grad_output"])
    for i in range(len(net)):
        agree(step.gradients[str(i)]["weight"], data[f"bp_dW_{i}"])
        agree(step.gradients[str(i)]["bias"], data[f"bp_db_{i}"])


@pytest.mark.parametrize("case", CASES)
def test_the_jacobian_agrees_with_the_dfc_code(case):
    net, params, batch, data = dfc(case)
    agree(torch.cat(output_jacobian(net, params, net.forward(params, batch.x)), -1), data["J"])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("damping", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("form", ["lin", "nonlin"])
def test_the_minimum_norm_update_agrees_with_the_dfc_code(case, damping, form):
    net, params, batch, data = dfc(case)
    rule = credit.method("mn", damping=damping, nonlinear=form == "nonlin")
    step = rule.gradients(net, params, {}, batch, credit.Rand(0))
    for i in range(len(net)):
        if form == "lin":
            agree(step.info["deltas"][i], data[f"mn_g{damping}_delta_v_{i}"])
        agree(step.gradients[str(i)]["weight"], data[f"mn_g{damping}_{form}_ff_dW_{i}"])
        agree(step.gradients[str(i)]["bias"], data[f"mn_g{damping}_{form}_ff_db_{i}"])


@PLACES
@pytest.mark.parametrize("rule", ["BP", "FA", "DFA"])
@pytest.mark.parametrize("hidden", [1, 2])
@pytest.mark.parametrize("keep", ["1", "08"])
@pytest.mark.parametrize("optimiser", ["mom", "SGD"])
def test_three_batches_of_training_agree_with_the_pepita_code(rule, hidden, keep, optimiser, place):
    data = PEPITA.under(f"{rule}.h{hidden}.keep{keep}.{optimiser}.")
    size, eta, gamma, kept, effective = data["meta(batch_size,eta,gamma,keep,effective_batch_size)"].tolist()
    assert (size, effective, eta, kept) == (4, 4, 0.1, 1.0 if keep == "1" else 0.8)
    assert optimiser == "SGD" or gamma == 0.9
    layers = hidden + 1
    net = credit.dense([6, 5, 4, 3] if hidden == 2 else [6, 5, 3], "relu", bias=False, keep=kept)
    params = {str(i): {"weight": beside(data[f"w{i}_init"], place)} for i in range(layers)}
    method = credit.method(rule.lower(), **({} if rule == "DFA" else {"masks": "after_sweep"}))
    feedback = {
        "BP": {},
        "FA": {str(i): beside(data[f"B{i}"].mT, place) for i in range(1, layers) if rule == "FA"},
        "DFA": {str(i - 1): beside(data[f"B{i}"], place) for i in range(1, layers) if rule == "DFA"},
    }[rule]
    settings = {"name": "sgd", "lr": eta, "momentum": 0.9 if optimiser == "mom" else 0.0, "lr_in_velocity": True}
    opt = method.optimizer(net, params, {}, settings)
    before = [(data[f"w{i}_init"], data[f"w{i}_init"]) for i in range(layers)]
    for b in range(3):
        rows = slice(4 * b, 4 * b + 4)
        masks = {f"dropout.{i}": beside(data[f"mask{i}"][rows] > 0, place) for i in range(hidden) if keep == "08"}
        masks = {name: mask.double() for name, mask in masks.items()}
        rand = credit.Rand(0 if place is None else [0, 1], dtype=torch.float64, replay=masks)
        batch = credit.Batch(beside(data["X"][rows], place), beside(data["T"][rows].argmax(-1), place))
        params, opt, _, info = method.update(net, params, opt, {"feedback": feedback}, batch, rand)
        agree(alone(info["output"], place).softmax(-1), data["y"][rows])
        agree(alone(info["error"], place) * 4, data["e"][rows])
        for i in range(layers):
            agree(alone(info["deltas"][i], place) * 4, data[f"delta_a{i}"][rows])
            ours, recorded = alone(params[str(i)]["weight"], place).clone(), data[f"batch{b}.w{i}"]
            moved(ours, before[i][0], recorded, before[i][1], 1e-12)
            before[i] = ours, recorded
            if optimiser == "mom":
                velocity = opt.state_dict()["slots"]["v"][str(i)]["weight"]
                agree(alone(velocity, place), data[f"batch{b}.v{i}"])
