"""Difference reconstruction: its mathematics against autograd, stacks, its schedule, and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch

import credit
from credit.errors import ConfigError
from credit.methods.base import forward
from tests.conftest import small_batch

DIRECT = ("ddtp_linear", "ddtp_rhl", "ddtp_control")
LAYERWISE = ("dtpdrl", "drl_dtp")
NETS = {
    "dense": lambda: credit.dense([6, 7, 5, 4], bias=[True, False, True]),
    "conv": lambda: credit.conv([2, 8, 8], [3, 4], [5], 4, kernel=(5, 1, 2), pool=(3, 2, 1), hidden="tanh"),
}
CASES = [(name, kind) for name in (*DIRECT, *LAYERWISE) for kind in NETS if name in DIRECT or kind == "dense"]
every_rule = pytest.mark.parametrize(("name", "kind"), CASES)


def start(name, kind, seeds=3, scheme="torch_default", **feedback):
    net, rand = NETS[kind](), credit.Rand(seeds, dtype=torch.float64)
    params = net.init(rand, "torch_default")
    own = {"units": 9} if name == "ddtp_rhl" else {}
    rule = credit.method(name, feedback={"activation": "tanh", "init": scheme, "sigma": 0.3, **feedback}, **own)
    return net, rule, rand, params, rule.init(net, params, rand)


def maps(net, rule, state):
    """g_l as functions of the activity above, written out with autograd in view."""

    def g(layer, y, own):
        if isinstance(rule, credit.methods.reconstruction.direct.Direct):
            y = rule.seen(net, state, layer, y)
        pre = y @ own["weight"].mT + own.get("bias", 0)
        return torch.tanh(pre) if rule.feedback.activation == "tanh" else pre

    return g


@every_rule
@pytest.mark.parametrize("activation", ["tanh", "linear"])
def test_feedback_gradients_are_those_of_autograd(name, kind, activation):
    net, rule, rand, params, state = start(name, kind, activation=activation)
    batch, sigma, g = small_batch(net, 3), 0.3, maps(net, rule, state)
    trace = net.forward(params, batch.x)
    noise = {f"feedback_noise.{i}": rand.normal(f"n{i}", trace.blocks[i].out.shape) for i in range(len(net) - 1)}
    layers = [int(i) for i in state["feedback"]]
    found = rule.feedback_steps(net, params, state, trace, net.rand(params, dict(noise)), layers)

    def onwards(layer, x):
        for j in range(layer + 1, len(net)):
            x = net.block(j).forward(params[str(j)], x).out
        return x

    def loss(layer, own):
        low = layer if name in DIRECT else layer - 1
        e, h = sigma * noise[f"feedback_noise.{low}"], trace.blocks[low].out
        if name in DIRECT:
            moved = g(layer, onwards(low, h + e), own)
            if name == "ddtp_control":
                return (moved - (h + e).flatten(1)).square().mean()
            return (moved - g(layer, trace.output, own) - e.flatten(1)).square().mean() / sigma**2
        if name == "drl_dtp":
            above = net.block(layer).forward(params[str(layer)], h + e).out
            return (g(layer, above, own) - h - e).square().mean() / sigma**2
        y = onwards(low, h + e)
        for j in range(len(net) - 1, layer, -1):
            fixed, clean = state["feedback"][str(j)], trace.blocks
            y = clean[j - 1].out + g(j, y, fixed) - g(j, clean[j].out, fixed)
        return (g(layer, y, own) - g(layer, trace.blocks[layer].out, own) - e).square().mean() / sigma**2

    for layer in layers:
        own = {n: p.clone().requires_grad_() for n, p in state["feedback"][str(layer)].items()}
        value = loss(layer, own)
        exact = torch.autograd.grad(value, list(own.values()), allow_unused=True)
        torch.testing.assert_close(found[layer].loss, value.detach(), rtol=1e-11, atol=1e-13)
        for n, expected in zip(own, exact, strict=True):
            expected = torch.zeros_like(own[n]) if expected is None else expected
            ours = found[layer].gradients.get(n, torch.zeros_like(expected))
            torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@every_rule
def test_forward_gradients_are_those_of_the_squared_distance_to_the_targets(name, kind):
    net, rule, _, params, state = start(name, kind)
    batch = small_batch(net, 3)
    step = rule.gradients(net, params, state, batch, 0)
    error = forward(net, params, batch, 0).error
    goal = step.info["targets"][len(net) - 1]
    torch.testing.assert_close(goal, step.info["output"] - rule.target_stepsize * error, rtol=1e-13, atol=0)
    for i, trace in enumerate(step.info["trace"].blocks):
        own = {n: p.clone().requires_grad_() for n, p in params[str(i)].items()}
        apart = (net.block(i).forward(own, trace.input).out - step.info["targets"][i]).square()
        value = apart.mean() if apart.ndim > 2 else apart.sum() / len(batch.x)
        for n, g in zip(own, torch.autograd.grad(value, list(own.values())), strict=True):
            torch.testing.assert_close(step.gradients[str(i)][n], g, rtol=1e-10, atol=1e-15)


def trained(name, kind, seeds, steps=2, **options):
    net, rule, rand, params, state = start(name, kind, seeds, **options)
    opt = rule.optimizer(net, params, state, {"name": "adam", "lr": 0.01})
    for step in range(steps):
        batch = small_batch(net, seeds, stream=f"batch{step}")
        params, opt, state, info = rule.update(net, params, opt, state, batch, rand)
        params, opt, state, _ = rule.feedback_pass(net, params, opt, state, batch, rand)
    return params, state["feedback"], info["means"]["feedback_loss"]


@every_rule
def test_a_stack_learns_what_its_members_learn_alone(name, kind):
    together = trained(name, kind, [3, 8], sigma=(0.3, 0.1))
    for m, (seed, sigma) in enumerate(((3, 0.3), (8, 0.1))):
        alone = trained(name, kind, seed, sigma=sigma)
        for ours, theirs in zip(together[:2], alone[:2], strict=True):
            for i, block in theirs.items():
                for n, p in block.items():
                    torch.testing.assert_close(ours[i][n][m], p, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(together[2][m], alone[2], rtol=1e-9, atol=1e-13)


@every_rule
def test_gradients_are_taken_before_the_feedback_learns(name, kind):
    net, rule, rand, params, state = start(name, kind, lr=0.1)
    batch, before = small_batch(net, 3), copy.deepcopy((params, state))
    expected = rule.gradients(net, *before, batch, 0).gradients
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.5})
    params, opt, state, _ = rule.update(net, params, opt, state, batch, rand)
    for i, block in expected.items():
        for n, g in block.items():
            torch.testing.assert_close(params[i][n], before[0][i][n] - 0.5 * g, rtol=1e-13, atol=1e-15)
    assert all(not torch.equal(own["weight"], before[1]["feedback"][i]["weight"])
               for i, own in state["feedback"].items())  # fmt: skip


def test_a_layer_takes_as_many_feedback_steps_as_it_is_told():
    net, rule, rand, params, state = start("ddtp_linear", "dense", iterations=[3, 0])
    before = copy.deepcopy(state["feedback"])
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    seen = []
    opt.others["feedback"].step = lambda weights, gradients: seen.append(sorted(gradients))
    rule.feedback_pass(net, params, opt, state, small_batch(net, 3), rand)
    assert seen == [["0"], ["0"], ["0"]]
    assert torch.equal(state["feedback"]["1"]["weight"], before["1"]["weight"])


def plain_stale_loop(net, params, feedback, trace, noise, sigma, iterations, **adam):
    """The released loop with torch's own parts: one Adam for all layers, whose gradients nobody clears."""
    own = {i: q["weight"].clone().requires_grad_() for i, q in feedback.items()}
    opt = torch.optim.Adam(own.values(), **adam)
    for layer, n in zip(own, iterations, strict=True):
        out = trace.blocks[int(layer)].out
        for _ in range(n):
            e = sigma * noise[layer].pop(0)
            x = out + e
            for j in range(int(layer) + 1, len(net)):
                x = net.block(j).forward(params[str(j)], x).out
            moved = (x - trace.output) @ own[layer].mT
            (own[layer].grad,) = torch.autograd.grad((moved - e.flatten(1)).square().mean() / sigma**2, own[layer])
            opt.step()
    return own


@pytest.mark.parametrize("kind", NETS)
def test_stale_gradients_move_the_layers_that_have_had_their_turn(kind):
    adam = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-4}
    iterations, batch = [4, 3, 2][: len(NETS[kind]()) - 1], small_batch(NETS[kind](), 3)
    learned = {}
    for stale in (True, False):
        net, rule, rand, params, state = start(
            "ddtp_linear", kind, activation="linear", iterations=iterations, stale_gradients=stale, decay=0.01, **adam
        )
        if stale:
            trace, drawn = net.forward(params, batch.x), list(zip(state["feedback"], iterations, strict=True))
            noise = {i: list(rand.normal(f"n{i}", (n, *trace.blocks[int(i)].out.shape))) for i, n in drawn}
            replayed = rand.with_replay({f"feedback_noise.{i}": list(v) for i, v in noise.items()})
            settings = {**adam, "weight_decay": 0.01}
            expected = plain_stale_loop(net, params, state["feedback"], trace, noise, 0.3, iterations, **settings)
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
        rule.feedback_pass(net, params, opt, state, batch, replayed if stale else rand)
        learned[stale] = {i: q["weight"] for i, q in state["feedback"].items()}
    for i, q in expected.items():
        torch.testing.assert_close(learned[True][i], q.detach(), rtol=1e-10, atol=1e-13)
    assert (learned[True]["0"] - learned[False]["0"]).norm() > 0.01


def test_linear_feedback_of_a_linear_net_becomes_the_pseudo_inverse():
    net = credit.dense([6, 12, 4], "linear")
    params = net.init(3, "torch_default", dtype=torch.float64)
    rule = credit.method("ddtp_linear", feedback={"sigma": 0.3, "optimizer": "sgd", "lr": 1.0, "iterations": 1500})
    state, rand = rule.init(net, params, 3), credit.Rand(3, dtype=torch.float64)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 1e-9})
    rule.feedback_pass(net, params, opt, state, small_batch(net, 3, 256), rand)
    exact = torch.linalg.pinv(params["1"]["weight"])
    assert (state["feedback"]["0"]["weight"] - exact).norm() < 0.1 * exact.norm()


def test_the_schedule_has_feedback_alone_before_and_after():
    phases = credit.method("ddtp_linear", pretrain_epochs=4, extra_feedback_passes=2).phases(3)
    assert [(p.epochs, [one.update for one in p.passes], p.record) for p in phases] == [
        (4, ["feedback_pass"], False),
        (3, ["update", "feedback_pass", "feedback_pass"], True),
    ]


def test_what_does_not_fit_is_refused():
    net, rule, rand, params, state = start("dtpdrl", "dense")
    with pytest.raises(ConfigError, match=r"dtpdrl.feedback.iterations = \[1, 2, 3\]; needs one value, or one for"):
        credit.method("dtpdrl", feedback={"iterations": [1, 2, 3]}).init(net, params, 3)
    with pytest.raises(ConfigError, match="dtpdrl: the optimiser has none for feedback weights"):
        plain = credit.optimizer("sgd", lr=0.1).init(params)
        rule.update(net, params, plain, state, small_batch(net, 3), rand)
    with pytest.raises(ConfigError, match=r"net.keep = 0.5; needs 1"):
        rule.check_net(credit.dense([6, 5, 4], keep=0.5))
    with pytest.raises(ConfigError, match="; needs hidden layers"):
        rule.check_net(credit.dense([6, 4]))
    with pytest.raises(ValueError, match="not defined for a conv net"):
        rule.check_net(NETS["conv"]())
    with pytest.raises(ConfigError, match="did you mean 'tanh'"):
        credit.method("dtpdrl", feedback={"activation": "tahn"})
