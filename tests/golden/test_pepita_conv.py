"""PEPITA on convolutional nets against the official script, float32."""

from __future__ import annotations

import pytest
import torch

import credit
from tests.golden.recordings import COMPLETE, HERE, PLACES, Recording, alone, arrays, beside
from tests.golden.recordings import agree as agree_to

SINGLE = 1e-5  # relative to an array's largest entry
CONV, UNIT = (Recording(HERE / f"pepita_{name}.npz", tensors=True) for name in ("conv", "unit"))
OPTIMISERS = {"mom": {"momentum": 0.9}, "SGD": {}}


def agree(ours, recorded, tolerance: float = SINGLE) -> None:
    agree_to(torch.as_tensor(ours), recorded, tolerance)


def whole(name: str) -> Recording:
    """A complete archive of recordings, of which this folder has slices."""
    return Recording(COMPLETE / f"{name}.npz", tensors=True)


CONV_CASES = {
    "mnist": ("mom", {}),
    "mnist_sqrt": ("mom", {"conv_positions": "sqrt"}),
    "mnist_SGD": ("SGD", {}),
    "cifar10": ("mom", {}),
}


def conv_net(channels: int, side: int, output: str = "linear"):
    return credit.conv([channels, side, side], [32], [], 10, kernel=5, hidden="relu", output=output, bias=False)


@pytest.mark.parametrize("case", list(CONV_CASES))
def test_two_batches_agree_with_the_convolutional_program(case, second_pass):
    optimiser, options = CONV_CASES[case]
    archive = whole("pepita_conv") if case == "cifar10" else CONV
    shared, data = arrays(archive, case.partition("_")[0]), arrays(archive, case)
    method = credit.method("pepita_conv", **options, **second_pass)
    net = conv_net(*shared["step.0.inputs"].shape[1:3])
    params = {str(i): {"weight": shared[f"step.0.w_{i}"].clone()} for i in range(2)}
    opt = method.optimizer(
        net, params, {}, {"name": "sgd", "lr": 0.01, "lr_in_velocity": True, **OPTIMISERS[optimiser]}
    )
    state = {"projection": shared["B"]}
    for k in range(2):
        one, after = arrays(data, f"step.{k}"), arrays(data, f"after.{k}")
        batch = credit.Batch(shared[f"step.{k}.inputs"], one["target"])
        params, opt, state, info = method.update(net, params, opt, state, batch, credit.Rand(0))
        agree(torch.softmax(info["output"], -1), one["outputs"], SINGLE)
        agree(torch.softmax(info["modulated"].output, -1), one["mod_outputs"], SINGLE)
        filters, readout = (info["gradients"][str(i)]["weight"] * -4 for i in range(2))
        scale = float(one["delta_w_0"].abs().max())  # far below 1: the filters hardly move
        # The recorded differences of activities, taken in single precision, are 2e-4 off the exact update; those of
        # the low-rank form are nearer to it, and so not as near to the recording.
        agree(filters / scale, one["delta_w_0"] / scale, 5e-4 if second_pass["low_rank"] else 5e-5)
        agree(readout[:, ::16], one["delta_w_1"][:, :: 16 if case == "cifar10" else 1], SINGLE)
        agree(params["0"]["weight"], after["w_0"], SINGLE)
        agree(params["1"]["weight"][:, ::16], after["w_1"][:, :: 16 if case == "cifar10" else 1], SINGLE)


@PLACES
@pytest.mark.parametrize("case", list(CONV_CASES))
def test_filters_and_readout_move_as_in_the_convolutional_program(case, second_pass, place):
    """Filters move by less than single precision can tell: in double, by what the recorded updates add up to."""
    optimiser, options = CONV_CASES[case]
    archive = whole("pepita_conv") if case == "cifar10" else CONV
    shared, data = arrays(archive, case.partition("_")[0]), arrays(archive, case)
    method = credit.method("pepita_conv", **options, **second_pass)
    net = conv_net(*shared["step.0.inputs"].shape[1:3])
    params = {str(i): {"weight": beside(shared[f"step.0.w_{i}"].double(), place)} for i in range(2)}
    opt = method.optimizer(
        net, params, {}, {"name": "sgd", "lr": 0.01, "lr_in_velocity": True, **OPTIMISERS[optimiser]}
    )
    state, velocity = {"projection": beside(shared["B"].double(), place)}, [0.0, 0.0]
    for k in range(2):
        one, start = arrays(data, f"step.{k}"), {i: block["weight"].clone() for i, block in params.items()}
        batch = credit.Batch(*(beside(a, place) for a in (shared[f"step.{k}.inputs"].double(), one["target"])))
        rand = credit.Rand(0 if place is None else [0, 1], dtype=torch.float64)
        params, opt, state, _ = method.update(net, params, opt, state, batch, rand)
        for i, tolerance in enumerate((1e-3, SINGLE)):
            keep = 0.9 if optimiser == "mom" else 0.0
            velocity[i] = keep * velocity[i] + float(one["eta"]) / 4 * one[f"delta_w_{i}"].double()
            change = alone(params[str(i)]["weight"] - start[str(i)], place)
            change = change[:, :: 1 if i == 0 or case == "cifar10" else 16]
            agree(change, velocity[i], tolerance)


@pytest.mark.parametrize("case", list(CONV_CASES))
def test_both_passes_agree_with_the_convolutional_program(case):
    data = arrays(whole("pepita_conv"), case)
    one = arrays(data, "step.0")
    net = conv_net(*one["inputs"].shape[1:3])
    params = {str(i): {"weight": one[f"w_{i}"]} for i in range(2)}
    batch = credit.Batch(one["inputs"], one["target"])
    step = credit.method("pepita_conv").gradients(net, params, {"projection": data["B"]}, batch, credit.Rand(0))
    (first, error), (second, _) = step.info["passes"]
    agree(error, one["error"], SINGLE)
    agree(first.blocks[0].act, one["act_0"], SINGLE)
    agree(second.blocks[0].input, one["mod_inputs"], SINGLE)
    agree(second.blocks[0].act, one["mod_act_0"], SINGLE)
    agree(step.gradients["1"]["weight"] * -4, one["delta_w_1"], SINGLE)


def test_backpropagation_agrees_with_the_convolutional_program():
    shared, data = arrays(CONV, "mnist"), arrays(CONV, "bp_mnist")
    method, net = credit.method("bp"), conv_net(1, 28, "softmax")  # cross-entropy on top of a softmax
    params = {str(i): {"weight": shared[f"step.0.w_{i}"].clone()} for i in range(2)}
    opt = method.optimizer(net, params, {}, {"name": "sgd", "lr": 0.01, "momentum": 0.9})
    losses = []
    for k in range(2):
        batch = credit.Batch(data[f"before.{k}.inputs"], data[f"before.{k}.target"])
        params, opt, _, info = method.update(net, params, opt, {}, batch, credit.Rand(0))
        losses.append(float(info["loss"]))
        agree(params["0"]["weight"], data[f"after.{k}.w_0"], SINGLE)
        agree(params["1"]["weight"][:, ::16], data[f"after.{k}.w_1"], SINGLE)
    # Its report divides by the index of the last batch.
    assert sum(losses) / 1 == pytest.approx(float(data["losses"]), rel=1e-5)


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize(("key", "positions"), [("delta_w", "mean"), ("delta_w_sqrt", "sqrt")])
def test_the_update_of_a_convolution_agrees_with_the_official_function(case, key, positions):
    data = arrays(UNIT, case)
    n, channels, side = data["inp"].shape[:3]
    filters, kernel = data[key].shape[0], data[key].shape[-1]
    net = credit.conv([channels, side, side], [filters], [], 2, kernel=kernel, pool=None, hidden="linear", bias=False)
    rule = credit.method("pepita_conv", conv_positions=positions)
    trace = net.block(0).activate(data["inp"], torch.zeros_like(data["out_diff"]))
    before = net.block(0).activate(data["inp"], data["out_diff"])
    output = net.block(1).forward({"weight": torch.zeros(2, net.block(1).n_in)}, trace.out)
    both = [credit.nets.base.Trace([first, output]) for first in (before, trace)]
    error = torch.zeros(n, 2)
    deltas = rule._deltas(net, *both, error, error, n)
    gradient = rule._products(net, both[1], deltas)["0"]["weight"]
    agree(gradient * -n, data[key], SINGLE)
