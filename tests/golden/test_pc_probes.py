"""Measures of updates against recordings of the official code of Song et al. (2024)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import credit
from credit.nets.base import Batch
from credit.probes.base import Moment
from credit.probes.path_length import PathLength
from credit.probes.prospective_index import ProspectiveIndex
from credit.probes.target_alignment import TargetAlignment
from tests.golden.recordings import HERE, Recording

FILE = HERE / "pc_probes.npz"


def drawn(seed: int, sizes: list[int], scale: float) -> tuple[torch.Tensor, torch.Tensor, dict]:
    """Input, target and weights in the order in which the official code draws them from torch's generator."""
    torch.manual_seed(seed)
    x, y = scale * torch.randn(1, sizes[0]), scale * torch.randn(1, sizes[-1])
    layers = [torch.nn.Linear(low, high, bias=False) for low, high in zip(sizes, sizes[1:], strict=False)]
    for layer in layers:  # drawn again, after all of them were
        torch.nn.init.xavier_normal_(layer.weight)
    return x, y, {str(i): {"weight": layer.weight.detach().clone()} for i, layer in enumerate(layers)}


def plain(sizes: list[int], hidden: str) -> credit.nets.base.Net:
    return credit.dense(sizes, hidden=hidden, loss="squared_error_sum", bias=False)


@pytest.mark.parametrize(("tag", "hidden"), [("id.pc", "linear"), ("tanh.bp", "tanh")])
def test_target_alignment_is_the_recorded_one(tag, hidden):
    file = Recording(FILE, f"alignment.{tag}.", tensors=True)
    net = plain([64] * 5, hidden)
    before, after = (
        {str(i): {"weight": file[f"W{i + 1}{suffix}"][None]} for i in range(4)} for suffix in ("", "_after")
    )
    batch = Batch(file["s"][None], file["y"][None])
    torch.testing.assert_close(net.predict(before, batch.x)[0], file["pred_before"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(net.predict(after, batch.x)[0], file["pred_after"], rtol=1e-5, atol=1e-6)
    seen = Moment(net, credit.method("bp"), before, {}, batch, {}, after, {}, 0)
    (name, layer, value), (_, _, angle) = TargetAlignment().measure(seen)
    assert (name, layer, value.shape) == ("target_alignment", "", (1,))
    assert float(value) == pytest.approx(float(file["target_alignment"]), abs=1e-4)
    assert float(angle) == pytest.approx(np.degrees(np.arccos(float(value))), abs=1e-9)


def inferred(x, y, weights, rate=0.1, steps=100):
    """Value nodes of a linear net (B, n) after so many synchronous steps down its energy."""
    nodes = []
    for weight in weights[:-1]:
        nodes.append((nodes[-1] if nodes else x) @ weight.T)
    for _ in range(steps):
        below = [x, *nodes]
        errors = [a - b @ w.T for a, b, w in zip([*nodes, y], below, weights, strict=True)]
        pulled = [above @ w for above, w in zip(errors[1:], weights[1:], strict=True)]
        nodes = [v - rate * (e - p) for v, e, p in zip(nodes, errors[:-1], pulled, strict=True)]
    return nodes


@pytest.mark.parametrize("place", range(5))
def test_the_prospective_index_of_one_update_is_the_recorded_one(place):
    file = Recording(FILE, "index.")
    x, y, params = drawn(int(file["seeds"][place]), [64] * 7, 1.0)
    params = {i: {"weight": block["weight"].double()[None]} for i, block in params.items()}
    weights = [block["weight"][0] for block in params.values()]
    nodes = inferred(x.double(), y.double(), weights)
    after = {}
    below, above = [x.double(), *nodes], [*nodes, y.double()]
    for i, weight in enumerate(weights):
        error = above[i] - below[i] @ weight.T
        after[str(i)] = {"weight": (weight + 0.01 * error.T @ below[i])[None]}
    batch = Batch(x.double()[None], y.double()[None])
    info = {"x": [v[None] for v in nodes]}
    rows = ProspectiveIndex().measure(
        Moment(plain([64] * 7, "linear"), credit.method("pc"), params, {}, batch, info, after, {}, 0)
    )
    assert [row[:2] for row in rows] == [("prospective_index", layer) for layer in "12345"]
    assert [float(value) for _, _, value in rows] == pytest.approx(file["wprime"][:, place], abs=2e-5)


def test_paths_of_weights_by_backpropagation_are_as_long_as_recorded():
    file = Recording(FILE, "path.")
    rates, seeds, sizes = file["lrs"], file["seeds"], [32] * 4
    members = [(float(rate), *drawn(int(seed), sizes, 0.1)) for rate in rates for seed in seeds]
    lrs, x, y, params = zip(*members, strict=True)
    params = {i: {"weight": torch.stack([p[i]["weight"] for p in params])} for i in "012"}
    net, rule, batch = plain(sizes, "sigmoid"), credit.method("bp"), Batch(torch.stack(x), torch.stack(y))
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": list(lrs)})
    probe, memory = PathLength(record=64), {}
    for step in range(64):
        before = {i: {"weight": block["weight"].clone()} for i, block in params.items()}
        params, opt, _, info = rule.update(net, params, opt, {}, batch, 0)
        rows = probe.measure(Moment(net, rule, before, {}, batch, info, params, {}, 0, memory))
        assert (len(rows) == 2) == (step == 63)
    for place, (name, layer, value) in enumerate(rows):
        assert (name, layer) == (("path_length", "final_length")[place], "")
        recorded = torch.as_tensor(file["lengths"][..., place]).flatten()
        torch.testing.assert_close(value, recorded, rtol=2e-4, atol=0)
