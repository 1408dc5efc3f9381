"""Predictive coding: properties of its inference, its options, and its closed form."""

from __future__ import annotations

import pytest
import torch

import credit
from credit.methods.energy import state as energies
from credit.methods.energy.closed_form import hessian, inferred
from credit.methods.energy.relaxation import relax
from credit.methods.energy.settings import Inference, iterations

SUM = "squared_error_sum"


def linear_net(sizes=(5, 6, 4, 3)):
    return credit.dense(list(sizes), hidden="linear", loss=SUM, bias=False)


def start(net, seeds=(0, 1, 2), samples=4, dtype=torch.float64):
    rand = credit.Rand(list(seeds), dtype=dtype)
    params = net.init(rand, "xavier_normal", dtype=dtype)
    x, y = rand.normal("x", (samples, *net.shape_in)), rand.normal("y", (samples, net.n_out))
    return params, credit.Batch(x, y)


def course(net, params, batch, steps=40, **inference):
    return list(relax(net, params, batch, steps, Inference(**inference)))


def test_the_energy_of_a_linear_net_falls_as_long_as_the_rate_is_below_its_bound():
    net = linear_net()
    params, batch = start(net)
    largest = torch.linalg.eigvalsh(hessian(net, params, batch)).amax(-1)
    for fraction, falls in ((0.5, True), (0.99, True), (1.05, False)):
        rate = tuple((2 * fraction / largest).tolist())
        energy = torch.stack([m.now.total(1) for m in course(net, params, batch, 200, lr=rate, discount=1.0)])
        assert bool((energy.diff(dim=0) <= 1e-12).all()) == falls


@pytest.mark.parametrize("loss", [SUM, "half_squared_error", "mse"])
@pytest.mark.parametrize("steps", [1, 2, 17])
def test_the_closed_form_is_the_loop(loss, steps):
    net = credit.dense([5, 6, 4, 3], hidden="linear", loss=loss, bias=True)
    params, batch = start(net)
    loop = course(net, params, batch, steps + 1, lr=0.1)[-1]
    closed = inferred(net, params, batch, steps, 0.1)
    for a, b in zip(loop.now.x, closed.x, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
    rule = {w: credit.method("pc", steps=steps + 1, closed_form=w) for w in ("no", "yes", "compare")}
    found = {w: r.gradients(net, params, {}, batch, 0) for w, r in rule.items()}
    for i, block in found["no"].gradients.items():
        for name, g in block.items():
            torch.testing.assert_close(g, found["yes"].gradients[i][name], rtol=0, atol=1e-12)
    assert (found["compare"].info["means"]["closed_form_deviation"] < 1e-12).all()


def test_a_compared_closed_form_says_where_the_rate_was_cut():
    net = linear_net()
    params, batch = start(net)
    rule = credit.method("pc", steps=40, inference=0.9, closed_form="compare")
    assert (rule.gradients(net, params, {}, batch, 0).info["means"]["closed_form_deviation"] > 1e-3).all()


@pytest.mark.parametrize("form", ["yes", "compare"])
def test_a_member_that_has_diverged_leaves_the_closed_form_to_others(form):
    net = linear_net()
    params, batch = start(net)
    rule = credit.method("pc", steps=9, closed_form=form)
    alone = rule.gradients(net, params, {}, batch, 0).gradients
    params["1"]["weight"][1] = torch.nan
    found = rule.gradients(net, params, {}, batch, 0).gradients
    for i, block in found.items():
        torch.testing.assert_close(block["weight"][[0, 2]], alone[i]["weight"][[0, 2]], rtol=0, atol=0)
        assert block["weight"][1].isnan().any()


def test_at_the_fixed_point_errors_are_those_of_the_formula():
    """eps_l = M_l^T r with r = (I + sum M_l M_l^T)^-1 (y - yhat) and M_l = W_L ... W_{l+1} (Song et al. 2024)."""
    net = linear_net()
    params, batch = start(net)
    now = course(net, params, batch, 4000, lr=0.2, discount=1.0)[-1].now
    w = [params[str(i)]["weight"] for i in range(3)]
    products = [w[2] @ w[1], w[2]]
    total = torch.eye(3, dtype=torch.float64) + sum(m @ m.mT for m in products)
    r = torch.linalg.solve(total, (batch.y - net.predict(params, batch.x)).mT)
    for eps, m in zip(now.eps, products, strict=True):
        torch.testing.assert_close(eps, (m.mT @ r).mT, rtol=0, atol=1e-10)


@pytest.mark.parametrize("hyper", [{}, {"nodes": "after"}, {"inference": {"optimizer": "adam"}}])
def test_gradients_are_those_of_the_energy_by_autograd(hyper):
    net = credit.dense([5, 6, 4, 3], hidden="tanh", loss=SUM)
    params, batch = start(net)
    step = credit.method("pc", steps=7, **hyper).gradients(net, params, {}, batch, 0)
    graph = {i: {n: p.clone().requires_grad_() for n, p in b.items()} for i, b in params.items()}
    now = energies.at(net, graph, batch, step.info["x"], hyper.get("nodes") != "after")
    now.total(1).sum().backward()
    for i, block in graph.items():
        for name, p in block.items():
            torch.testing.assert_close(step.gradients[i][name], p.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kind", ["dense", "conv", "pooled"])
def test_slopes_at_the_nodes_are_those_of_the_energy_by_autograd(kind, before):
    if kind == "dense":
        net = credit.dense([5, 6, 4, 3], hidden="sigmoid", loss=SUM)
    else:
        net = credit.conv([2, 10, 10], [3, 4], [6], 3, 3, 2 if kind == "pooled" else None, hidden="tanh", loss=SUM)
    params, batch = start(net)
    x = [n + 0.1 * torch.randn_like(n) for n in energies.at(net, params, batch, None, before).x]
    now = energies.at(net, params, batch, x, before)
    slopes = energies.node_gradients(net, params, now, energies.deltas(net, now, 0.7, before), 0.7, before)
    graph = [n.clone().requires_grad_() for n in x]
    energies.at(net, params, batch, graph, before).total(0.7).sum().backward()
    for ours, theirs in zip(slopes, graph, strict=True):
        torch.testing.assert_close(ours, theirs.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", [SUM, "softmax_cross_entropy"])
def test_a_net_without_hidden_layers_learns_by_backpropagation(loss):
    net = credit.dense([5, 3], loss=loss)
    params, batch = start(net)
    batch = credit.Batch(batch.x, torch.tensor([0, 2, 1, 1]).expand(3, 4)) if loss != SUM else batch
    pc, bp = (credit.method(n).gradients(net, params, {}, batch, 0) for n in ("pc", "bp"))
    for name in ("weight", "bias"):
        torch.testing.assert_close(pc.gradients["0"][name], bp.gradients["0"][name], rtol=0, atol=1e-15)


@pytest.mark.parametrize("loss", [SUM, "half_squared_error"])
def test_copies_of_a_sample_relax_as_the_sample_alone(loss):
    net = credit.dense([5, 6, 4, 3], hidden="sigmoid", loss=loss)
    params, batch = start(net, samples=1)
    many = credit.Batch(batch.x.expand(3, 5, 5), batch.y.expand(3, 5, 3))
    alone, copies = (course(net, params, b, 12, lr=1.0)[-1] for b in (batch, many))
    torch.testing.assert_close(alone.rate, copies.rate, rtol=0, atol=0)
    for a, b in zip(alone.now.x, copies.now.x, strict=True):
        torch.testing.assert_close(a.expand_as(b), b, rtol=0, atol=1e-13)


def test_after_and_before_are_the_same_in_linear_nets():
    net = linear_net()
    params, batch = start(net)
    found = [credit.method("pc", nodes=n).gradients(net, params, {}, batch, 0) for n in ("before", "after")]
    for i in params:
        torch.testing.assert_close(*(f.gradients[i]["weight"] for f in found), rtol=0, atol=1e-13)


def test_nodes_stay_once_the_rate_has_fallen_below_the_fraction():
    net = credit.dense([5, 6, 4, 3], hidden="sigmoid", loss=SUM)
    params, batch = start(net)
    steps = list(relax(net, params, batch, 60, Inference(2.0, 0.5), stop_below=0.3))
    whole = list(relax(net, params, batch, 60, Inference(2.0, 0.5)))
    stopped = [bool((m.rate < 0.6).all()) for m in steps].index(True)
    for t in range(stopped, 59):
        for a, b in zip(steps[t].now.x, steps[t + 1].now.x, strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(steps[-1].now.x[0], whole[-1].now.x[0])
    assert torch.equal(steps[3].now.x[0], whole[3].now.x[0]) or stopped < 3


@pytest.mark.parametrize(
    ("which", "expected"),
    [("all", [0, 1, 2, 3, 4]), ("last", [4]), ("last_half", [2, 3, 4]), ("never", []), ((1, 3), [1, 3])],
)
def test_which_iterations_a_setting_means(which, expected):
    assert [t for t, there in enumerate(iterations(which, 5)) if there] == expected


def test_nodes_move_at_the_iterations_that_are_named_alone():
    net = credit.dense([5, 6, 4, 3], hidden="tanh", loss=SUM)
    params, batch = start(net)
    moved = [m.now.x[-1] for m in course(net, params, batch, 8, updates=(2, 5))]
    assert [not torch.equal(a, b) for a, b in zip(moved[:-1], moved[1:], strict=True)] == [
        t in (2, 5) for t in range(7)
    ]


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"steps": 1}, "pc.steps = 1; trains the output layer alone"),
        ({"inference": {"discount": 1.5}}, r"pc.inference.discount = 1.5; must be .* \(0, 1\]"),
        ({"inference": {"optimizer": "asgd"}}, "pc.inference.optimizer = 'asgd'"),
        ({"inference": {"updates": "first"}}, "pc.inference.updates = 'first'"),
        ({"steps": 8, "weight_updates": (3, 8)}, r"pc.weight_updates = \[3, 8\]; must hold iterations from 0 to 7"),
        ({"inference": {"updates": "never"}}, "pc.inference.updates = 'never'; trains the output layer alone"),
        ({"inference": {"updates": "last"}}, "pc.inference.updates = 'last'; trains the output layer alone"),
        (
            {"weight_updates": (0,)},
            "pc.inference.updates = 'all'; trains the output .* before 0, at which weights learn",
        ),
        ({"weight_updates": "never"}, "pc.weight_updates = 'never'; needs an iteration at which weights learn"),
        ({"closed_form": "yes", "weight_updates": "all"}, "pc.closed_form = 'yes'; needs weight_updates 'last'"),
    ],
)
def test_a_setting_under_which_nothing_is_learned_is_named(hyper, message):
    with pytest.raises(ValueError, match=message):
        credit.method("pc", **hyper).check_net(linear_net())


def test_a_closed_form_is_of_linear_nets():
    net = credit.dense([5, 6, 3], hidden="tanh", loss=SUM)
    with pytest.raises(ValueError, match="needs a dense net whose activations are linear"):
        credit.method("pc", closed_form="yes").check_net(net)


def test_one_iteration_is_enough_without_hidden_layers():
    credit.method("pc", steps=1).check_net(credit.dense([5, 3], loss=SUM))


def test_an_inference_that_blows_up_is_a_divergence_and_no_silent_number():
    net = linear_net()
    params, batch = start(net, dtype=torch.float32)
    rule = credit.method("pc", steps=400, inference={"lr": 50.0, "discount": 1.0})
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1})
    params, *_ = rule.update(net, params, opt, {}, batch, 0)
    assert not torch.isfinite(params["0"]["weight"]).all()
