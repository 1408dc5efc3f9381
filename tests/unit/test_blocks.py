"""What a net says of its parameters, and the reverse of its blocks."""

from __future__ import annotations

import ast
from dataclasses import dataclass

import pytest
import torch

import credit
from credit.nets import losses
from credit.nets.base import BlockTrace, Net
from credit.nets.conv import Conv
from credit.nets.dense import Dense
from credit.nets.pooling import Pool
from credit.provenance.sources import Sources
from tests.conftest import small_batch, small_net

CLOSE = {"rtol": 1e-11, "atol": 1e-13}

SOURCES = Sources()
FIRST_LAYER_ITSELF = {  # take its weights, ask for no axis
    "credit.methods.energy.fast", "credit.methods.online.chunks", "credit.tasks.regression"
}  # fmt: skip


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize(("seeds", "lead"), [(0, ()), ([0], (1,)), ([4, 4, 7], (3,))])
def test_a_net_tells_the_stack_axis_from_its_parameters(kind, seeds, lead):
    net = small_net(kind)
    params = net.init(credit.Rand(seeds, dtype=torch.float64))
    assert net.lead(params) == lead
    assert (net.stacked(params), net.members(params)) == (bool(lead), sum(lead))
    assert net.like(params).dtype == torch.float64
    rand = net.rand(params, 5)
    assert rand.normal("x", (2,)).shape == (*lead, 2) and rand.dtype == torch.float64
    assert rand.seeds == ([5 + m for m in range(len(seeds))] if lead else [5])
    assert net.rand(params, rand) is rand


def test_draws_that_are_given_must_fit_the_stack():
    net = small_net("conv")
    params = net.init(credit.Rand([1, 2]))
    given = torch.randn(2, 3)
    assert torch.equal(net.rand(params, {"x": given}).normal("x", (3,)), given)
    with pytest.raises(ValueError, match=r"expected shape \(2, 3\)"):
        net.rand(params, {"x": given[0]}).normal("x", (3,))


def test_the_stack_axis_is_asked_for_in_one_place():
    found = set()
    for module, path in SOURCES.modules.items():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Subscript) and ast.unparse(node).endswith("params['0']['weight']"):
                found.add(module)
    assert found <= FIRST_LAYER_ITSELF


LAYERS = {
    "dense": Dense(6, 5, "tanh"),
    "dense without bias": Dense(6, 5, "linear", bias=False),
    "conv": Conv((2, 7, 7), 3, 3, "tanh", stride=2, padding=1),
    "conv with tiles": Conv((2, 8, 8), 3, 3, "relu", padding=1, pool=Pool(2)),
    "conv with windows that overlap": Conv((2, 7, 7), 3, 3, "tanh", padding=1, pool=Pool(3, 2, 1), bias=False),
}


def drawn(block, seeds, batch=4):
    """Parameters, an input that needs its gradient, a mask, and a gradient at the output."""
    rand = credit.Rand(seeds, dtype=torch.float64)
    params = {name: rand.normal(name, shape) for name, shape in block.shapes().items()}
    shape = (block.n_in,) if isinstance(block, Dense) else block.shape_in
    mask = rand.bernoulli("mask", (batch, *block.shape_out), 0.5, 2.0)
    grad = rand.normal("grad", (batch, *block.shape_out))
    return params, rand.normal("x", (batch, *shape)), mask, grad


@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
@pytest.mark.parametrize("seeds", [3, [3, 8, 9]], ids=["single", "stacked"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_reverse_of_a_layer_is_that_of_autograd(name, seeds, masked):
    block = LAYERS[name]
    params, x, mask, grad = drawn(block, seeds)
    mask = mask if masked else None
    gradients, below = block.backward(block.forward(params, x, mask), grad)
    leaves = {n: p.clone().requires_grad_() for n, p in params.items()}
    given = x.clone().requires_grad_()
    expected = torch.autograd.grad(block.forward(leaves, given, mask).out, [*leaves.values(), given], grad)
    for ours, exact in zip([*gradients.values(), below], expected, strict=True):
        torch.testing.assert_close(ours, exact, **CLOSE)
    assert list(gradients) == list(leaves)
    if grad.ndim > 3:
        grad = grad.flatten(-3)
    flat, nothing = block.backward(block.forward(params, x, mask), grad, below=False)
    assert nothing is None
    assert all(torch.equal(flat[n], g) for n, g in gradients.items())


def test_a_trace_without_parameters_has_no_way_back():
    block = LAYERS["dense"]
    params, x, _, grad = drawn(block, 3)
    trace = block.activate(x, block.linear(params, x))
    with pytest.raises(ValueError, match="knows no parameters"):
        block.backward(trace, grad)


@dataclass(frozen=True)
class Shortcut:
    """x + W_2 tanh(W_1 x): a stage that has nothing but `forward` and `backward`."""

    n_out: int

    @property
    def shape_out(self):
        return (self.n_out,)

    def _layers(self):
        return {"first": Dense(self.n_out, 7, "tanh"), "second": Dense(7, self.n_out, "linear", bias=False)}

    def shapes(self):
        return {
            f"{part}.{name}": shape for part, layer in self._layers().items() for name, shape in layer.shapes().items()
        }

    def forward(self, params, x, mask=None):
        traces, out = [], x
        for part, layer in self._layers().items():
            own = {name: params[f"{part}.{name}"] for name in layer.shapes()}
            traces.append(layer.forward(own, out))
            out = traces[-1].out
        return StageTrace(x, out, out, x + out, stages=traces)

    def backward(self, trace, grad, below=True):
        gradients, back = {}, grad
        for (part, layer), stage in reversed([*zip(self._layers().items(), trace.stages, strict=True)]):
            own, back = layer.backward(stage, back)
            gradients |= {f"{part}.{name}": g for name, g in own.items()}
        return gradients, grad + back if below else None


@dataclass
class StageTrace(BlockTrace):
    stages: tuple = ()


@pytest.mark.parametrize("seeds", [3, [3, 8]], ids=["single", "stacked"])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 1, 1, 0, 2)], ids=str)
def test_backpropagation_passes_stages_that_have_only_forward_and_backward(seeds, order):
    blocks = tuple((Dense(6, 6, "tanh"), Shortcut(6), Dense(6, 4, "linear"))[i] for i in order)
    net = Net("dense", blocks, losses.get("softmax_cross_entropy"), (6,))
    rand = credit.Rand(seeds, dtype=torch.float64)
    params, batch, rule = net.init(rand), small_batch(net, seeds), credit.method("bp")
    leaves = {i: {n: p.clone().requires_grad_() for n, p in block.items()} for i, block in params.items()}
    net.loss.value(net.predict(leaves, batch.x), batch.y).sum().backward()
    step = rule.gradients(net, params, {}, batch, rand)
    for i, block in leaves.items():
        assert block.keys() == step.gradients[i].keys()
        for name, leaf in block.items():
            torch.testing.assert_close(step.gradients[i][name], leaf.grad, **CLOSE)
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1})
    rule.update(net, params, opt, {}, batch, rand)
    changed = {i: {n: leaves[i][n] - 0.1 * leaves[i][n].grad for n in block} for i, block in leaves.items()}
    torch.testing.assert_close(params, changed, **CLOSE)
