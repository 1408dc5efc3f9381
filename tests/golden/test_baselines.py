"""Backpropagation, feedback alignment and the minimum-norm update against the official implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import credit
from credit.nets.jacobian import output_jacobian

HERE = Path(__file__).parent
DFC = np.load(HERE / "dfc_bp_mn.npz")
PEPITA = np.load(HERE / "pepita_bp_fa_dfa.npz")
CASES = sorted({key.partition("/")[0] for key in DFC.files})
EXACT = 1e-11  # relative to an array's largest entry, as the recordings' notes ask


def agree(ours: torch.Tensor, recorded: np.ndarray, tolerance: float = EXACT) -> None:
    recorded = torch.as_tensor(recorded)
    assert ours.shape == recorded.shape
    assert (ours - recorded).abs().max() <= tolerance * recorded.abs().max().clamp(min=1e-30)


def dfc(case: str):
    """Net, parameters and batch of a recording."""
    _, hidden, loss = case.split("_")
    data = {key.partition("/")[2]: DFC[key] for key in DFC.files if key.startswith(f"{case}/")}
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
        agree(step.gradients[str(i)]["weight"], data[f"mn_g{damping}_{form}_ff_dW_{i}"])
        agree(step.gradients[str(i)]["bias"], data[f"mn_g{damping}_{form}_ff_db_{i}"])


@pytest.mark.parametrize("rule", ["BP", "FA", "DFA"])
@pytest.mark.parametrize("hidden", [1, 2])
@pytest.mark.parametrize("keep", ["1", "08"])
@pytest.mark.parametrize("optimiser", ["mom", "SGD"])
def test_three_batches_of_training_agree_with_the_pepita_code(rule, hidden, keep, optimiser):
    name = f"{rule}.h{hidden}.keep{keep}.{optimiser}"
    data = {k.removeprefix(f"{name}."): torch.as_tensor(PEPITA[k]) for k in PEPITA.files if k.startswith(f"{name}.")}
    layers = hidden + 1
    net = credit.dense([6, 5, 4, 3] if hidden == 2 else [6, 5, 3], "relu", bias=False, keep=1.0 if keep == "1" else 0.8)
    params = {str(i): {"weight": data[f"w{i}_init"].clone()} for i in range(layers)}
    method = credit.method(rule.lower(), **({} if rule == "DFA" else {"masks": "after_sweep"}))
    feedback = {
        "BP": {},
        "FA": {str(i): data[f"B{i}"].mT for i in range(1, layers) if rule == "FA"},
        "DFA": {str(i - 1): data[f"B{i}"] for i in range(1, layers) if rule == "DFA"},
    }[rule]
    settings = {"name": "sgd", "lr": 0.1, "momentum": 0.9 if optimiser == "mom" else 0.0}
    opt = method.optimizer(net, params, {}, settings)
    for b in range(3):
        rows = slice(4 * b, 4 * b + 4)
        masks = {f"dropout.{i}": (data[f"mask{i}"][rows] > 0).double() for i in range(hidden) if keep == "08"}
        rand = credit.Rand(0, dtype=torch.float64, replay=masks)
        batch = credit.Batch(data["X"][rows], data["T"][rows].argmax(-1))
        params, opt, _, _ = method.update(net, params, opt, {"feedback": feedback}, batch, rand)
        for i in range(layers):
            agree(params[str(i)]["weight"], data[f"batch{b}.w{i}"], 1e-12)
