"""Residual nets: sizes, gradients against autograd, and what their feedback is not."""

from __future__ import annotations

import math

import pytest
import torch
from small_checkout import FIT, Checkout

import credit
from credit.errors import ConfigError
from credit.nets.feedback_stage import feedback_of
from credit.nets.geometry import activities, multiply_adds, parameter_shapes
from credit.nets.resnet import ResNetConfig
from tests.conftest import small_batch

RESNETS = {"18": ((2, 2, 2, 2), 11_164_362, 555e6), "34": ((3, 4, 6, 3), 21_265_098, 1159e6)}


def settings(**changes):
    return {"kind": "resnet", "channels": (64, 128, 256, 512), "blocks": (2, 2, 2, 2), "bias": True, **changes}


@pytest.mark.parametrize("depth", RESNETS)
def test_parameters_and_operations_are_those_of_the_published_nets(depth):
    blocks, parameters, operations = RESNETS[depth]
    net = ResNetConfig(blocks=blocks).build((3, 32, 32), 10)
    shapes = {f"{i}.{name}": shape for i, b in enumerate(net.blocks) for name, shape in b.shapes().items()}
    assert sum(map(math.prod, shapes.values())) == parameters
    planned = settings(blocks=blocks)
    assert parameter_shapes(planned, (3, 32, 32), 10) == shapes
    assert multiply_adds(planned, (3, 32, 32), 10) == pytest.approx(operations, rel=1e-3)
    assert activities(planned, (3, 32, 32), 10) > 3 * 32 * 32 + 2 * 64 * 32 * 32
    assert net.block(4).shape_out == (512, 4, 4)


@pytest.mark.parametrize("seeds", [3, [3, 8]])
def test_backpropagation_is_that_of_autograd(seeds):
    net = credit.resnet([2, 8, 8], [3, 4], [2, 2], 4)
    params = net.init(credit.Rand(seeds, dtype=torch.float64), "he_normal")
    batch = small_batch(net, seeds)
    ours = credit.method("bp").gradients(net, params, {}, batch, 0).gradients
    leaves = {i: {n: p.clone().requires_grad_() for n, p in block.items()} for i, block in params.items()}
    loss = net.loss.value(net.predict(leaves, batch.x), batch.y).sum()
    for i, block in leaves.items():
        exact = torch.autograd.grad(loss, list(block.values()), retain_graph=True)
        for n, g in zip(block, exact, strict=True):
            torch.testing.assert_close(ours[i][n], g, rtol=1e-10, atol=1e-13)


def test_symmetric_feedback_of_the_readout_is_the_adjoint_times_the_number_of_positions():
    net = credit.resnet([2, 8, 8], [3, 4], [1, 1], 5)
    params = net.init(3, "torch_default", dtype=torch.float64)
    trace = net.forward(params, small_batch(net, 3).x).blocks[-1]
    feedback, v = feedback_of(net.block(3)), torch.randn(trace.out.shape, dtype=torch.float64)
    back = feedback.linear(feedback.copied(params["3"])["weight"], v, trace)
    adjoint = net.block(3).pull(params["3"]["weight"], v, trace)
    torch.testing.assert_close(back, 16 * adjoint, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("channels", "blocks"), [([3, 4], [1]), ([], []), ([3], [0])])
def test_stages_that_do_not_fit_are_refused(channels, blocks):
    with pytest.raises(ValueError, match=r"must be (as many positive numbers|a list of integers >= 1)"):
        credit.resnet([2, 8, 8], channels, blocks, 4)
    with pytest.raises(ValueError, match=r"takes images \(C, H, W\)"):
        ResNetConfig().build((784,), 10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": [1]}, r"net.blocks = \[1\]; must be one number for each of the 2 stages in channels"),
        ({"channels": [], "blocks": []}, r"net.channels = \[\]; must hold one number for each stage"),
        ({"init": [{"name": "zeros"}]}, r"net.init = .*; must be one value, or one for each of 4 layers"),
    ],
    ids=str,
)
def test_stages_that_do_not_fit_are_refused_when_the_workflow_is_read(tmp_path, wrong, message):
    body = {key: FIT[key] for key in ("title", "train", "seeds", "seeds_per_job", "tables")}
    body |= {"task": {"name": "images"}, "datasets": {"cifar10": {}}, "methods": {"bp": {}}}
    body["net"] = {"kind": "resnet", "channels": [3, 4], "blocks": [1, 1]}
    Checkout(tmp_path, {"toy/fit": body}).workflow()
    (tmp_path / "wrong").mkdir()
    with pytest.raises(ConfigError, match=rf"^\S*fit.yaml: {message}[^\n]*$"):
        Checkout(tmp_path / "wrong", {"toy/fit": {**body, "net": {**body["net"], **wrong}}}).workflow()
