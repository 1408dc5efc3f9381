"""Target propagation: its mathematics against autograd and backpropagation, stacks, and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch

import credit
from credit.errors import ConfigError
from credit.methods.base import forward
from credit.methods.targets.chain import links
from credit.methods.targets.losses import difference_reconstruction, reconstruction
from credit.nets.base import init_block
from credit.nets.feedback import FeedbackBlock
from tests.conftest import small_batch

RULES = ("ldrl", "pldrl", "dtp", "tp")
NETS = {
    "dense": lambda hidden, **o: credit.dense([6, 7, 5, 4], hidden=hidden, **o),
    "tiles": lambda hidden, **o: credit.conv([2, 9, 9], [3, 4], [5], 4, kernel=(3, 1, 1), pool=2, hidden=hidden, **o),
    "overlaps": lambda hidden, **o: credit.conv(
        [2, 8, 8], [3, 4], [5], 4, kernel=(5, 1, 2), pool=(3, 2, 1), hidden=hidden, **o
    ),
    "strides": lambda hidden, **o: credit.conv(
        [2, 9, 9], [3, 4], [], 4, kernel=(3, 2, 1), pool=None, hidden=hidden, **o
    ),
    "residual": lambda hidden, **o: credit.resnet([2, 8, 8], [3, 4], [1, 2], 4, **o),
}
every_net = pytest.mark.parametrize("kind", NETS)


def start(kind="dense", hidden="elu", seeds=3, rule="ldrl", collisions="overwrite", init="torch_default", **options):
    net = NETS[kind](hidden, **options)
    rand = credit.Rand(seeds, dtype=torch.float64)
    params = net.init(rand, "torch_default")
    rule = credit.method(rule, feedback={"init": init, "collisions": collisions})
    return net, rule, rand, params, rule.init(net, params, rand)


def chain(net, params, batch, collisions="overwrite"):
    return links(net, params, forward(net, params, batch, 0).trace, collisions)


def back(link, own, y, route):
    return link.feedback(own, y, route, link.trace).reshape(link.below.shape)


def autograd(link, own, loss):
    leaves = {n: p.clone().requires_grad_() for n, p in own.items()}
    value = loss(leaves)
    grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return value.detach(), {
        n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(leaves.items(), grads, strict=True)
    }


@every_net
@pytest.mark.parametrize("hidden", ["elu", "tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("collisions", ["overwrite", "add"])
def test_gradients_of_both_losses_are_those_of_autograd(kind, hidden, collisions):
    net, _, rand, params, state = start(kind, hidden)
    batch = small_batch(net, 3)
    for i, link in chain(net, params, batch, collisions).items():
        own = state["feedback"][str(i)]
        dx, dy = 0.3 * rand.normal(f"x{i}", link.below.shape), 0.3 * rand.normal(f"y{i}", link.trace.out.shape)
        noisy = link.layer.forward(link.params, link.below + dx)
        route = link.feedback.route(noisy)
        n = len(batch.x)

        def local_difference(p, link=link, dx=dx, dy=dy, noisy=noisy, route=route, n=n):
            r, r_n = back(link, p, link.trace.out, link.route), back(link, p, noisy.out, route)
            r_y = back(link, p, link.trace.out + dy, link.route)
            return ((r_y - r).square().sum() - 2 * (dx * (r_n - r)).sum()) / n

        def denoising(p, link=link, dx=dx, noisy=noisy, route=route, n=n):
            return (link.below + dx - back(link, p, noisy.out, route)).square().sum() / n

        draws = credit.Rand(3, dtype=torch.float64, replay={"s_input": dx / 0.3, "s_output": dy / 0.3})
        ours = difference_reconstruction(link, own, 0.3, draws, "s")
        value, exact = autograd(link, own, local_difference)
        torch.testing.assert_close(ours.loss, value, rtol=1e-11, atol=1e-12)
        if "bias" in own:
            assert exact.pop("bias").abs().max() < 1e-13
        for name, g in exact.items():
            torch.testing.assert_close(ours.gradients[name], g, rtol=1e-11, atol=1e-12)

        draws = credit.Rand(3, dtype=torch.float64, replay={"s_input": dx / 0.3})
        ours = reconstruction(link, own, 0.3, draws, "s")
        value, exact = autograd(link, own, denoising)
        torch.testing.assert_close(ours.loss, value, rtol=1e-11, atol=1e-12)
        for name, g in exact.items():
            torch.testing.assert_close(ours.gradients[name], g, rtol=1e-11, atol=1e-12)


@every_net
@pytest.mark.parametrize("name", RULES)
def test_the_last_block_learns_beta_times_backpropagation(kind, name):
    net, rule, _, params, state = start(kind, rule=name)
    batch = small_batch(net, 3)
    ours = rule.gradients(net, params, state, batch, 0).gradients[str(len(net) - 1)]
    exact = credit.method("bp").gradients(net, params, {}, batch, 0).gradients[str(len(net) - 1)]
    for n, g in exact.items():
        torch.testing.assert_close(ours[n], 0.7 * g, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", ["dense", "strides"])
@pytest.mark.parametrize("beta", [1e-3, 0.7, 5.0])
@pytest.mark.parametrize("name", ["ldrl", "dtp"])
def test_a_linear_net_with_symmetric_feedback_learns_as_by_backpropagation(kind, beta, name):
    net = NETS[kind]("linear")
    params = net.init(3, "torch_default", dtype=torch.float64)
    rule = credit.method(name, beta=beta, feedback="symmetric")
    batch = small_batch(net, 3)
    ours = rule.gradients(net, params, rule.init(net, params, 3), batch, 0).gradients
    exact = credit.method("bp").gradients(net, params, {}, batch, 0).gradients
    for i, block in exact.items():
        for n, g in block.items():
            torch.testing.assert_close(ours[i][n], beta * g, rtol=1e-9, atol=1e-13 * max(1, 1 / beta))


@pytest.mark.parametrize("kind", ["tiles", "overlaps"])
def test_adding_unpooling_with_symmetric_weights_is_the_transposed_jacobian_where_units_are_positive(kind):
    net, _, rand, params, _ = start(kind, "relu")
    params = {i: {n: p.abs() for n, p in b.items()} for i, b in params.items()}
    batch = small_batch(net, 3)
    batch.x = batch.x.abs()
    link = chain(net, params, batch, "add")[1]
    assert (link.trace.out > 0).all()
    grad = 1e-3 * rand.normal("grad", link.trace.out.shape).abs()
    own = {"weight": link.params["weight"]}
    moved = back(link, own, link.trace.out + grad, link.route) - back(link, own, link.trace.out, link.route)
    _, exact = link.layer.backward(link.trace, grad)
    torch.testing.assert_close(moved, exact, rtol=1e-9, atol=1e-12)
    other = FeedbackBlock(link.layer, "overwrite")
    overwritten = other.linear(own["weight"], other.rates(link.trace.out + grad, link.route) - link.rates, link.trace)
    assert (kind == "tiles") == torch.allclose(overwritten + 0 * exact, exact, rtol=1e-9, atol=1e-12)


@every_net
@pytest.mark.parametrize("name", RULES)
def test_a_stack_learns_what_its_members_learn_alone(kind, name):
    def trained(seeds):
        net, rule, rand, params, state = start(kind, seeds=seeds, rule=name)
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1, "momentum": 0.9})
        for step in range(2):
            batch = small_batch(net, seeds, stream=f"batch{step}")
            params, opt, state, info = rule.update(net, params, opt, state, batch, rand)
        return params, state["feedback"], info["loss"]

    together = trained([3, 8])
    for m, seed in enumerate([3, 8]):
        alone = trained(seed)
        for ours, theirs in zip(together[:2], alone[:2], strict=True):
            for i, block in theirs.items():
                for n, p in block.items():
                    torch.testing.assert_close(ours[i][n][m], p, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(together[2][m], alone[2], rtol=1e-11, atol=1e-13)


def test_feedback_of_a_dense_layer_has_the_shape_and_the_fans_of_a_linear_layer_of_torch():
    block = FeedbackBlock(credit.dense([512, 10]).block(0))
    drawn = init_block(block, credit.Rand(3), "torch_default", "feedback.1")
    assert drawn["weight"].shape == (512, 10)
    assert drawn["bias"].shape == (512,)
    for tensor in drawn.values():
        assert 0.31 < tensor.abs().max() <= 10**-0.5  # of the forward layer it would be 512^-1/2 = 0.044
    torch.manual_seed(0)
    theirs = torch.nn.Linear(10, 512).weight
    assert abs(theirs.std() / drawn["weight"].std() - 1) < 0.05


def test_feedback_learning_turns_the_jacobian_of_a_linear_block_to_the_transposed_one():
    net = credit.dense([6, 20, 8], "tanh")
    params = net.init(3, "torch_default", dtype=torch.float64)
    rule = credit.method("ldrl", feedback={"iterations": 400, "sigma": 0.5, "lr": 0.05, "momentum": 0.0})
    state = rule.init(net, params, 3)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 1e-9})
    rule.update(net, params, opt, state, small_batch(net, 3, 64), credit.Rand(3, dtype=torch.float64))
    w, q = params["1"]["weight"], state["feedback"]["1"]["weight"]
    assert torch.nn.functional.cosine_similarity(w.mT.flatten(), q.flatten(), dim=0) > 0.99


def test_tied_feedback_is_a_copy_of_the_forward_weights_before_every_batch():
    net = NETS["overlaps"]("elu")
    rule = credit.method("ldrl", feedback={"init": "symmetric", "tied": True, "iterations": 0})
    params = net.init(3, "torch_default", dtype=torch.float64)
    state = rule.init(net, params, 3)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.5})
    for _ in range(2):
        before = copy.deepcopy(params)
        params, opt, state, _ = rule.update(net, params, opt, state, small_batch(net, 3), 0)
        for i, block in state["feedback"].items():
            expected = before[i]["weight"].mT if block["weight"].ndim == 2 else before[i]["weight"]
            assert torch.equal(block["weight"], expected)
            assert not torch.equal(params[i]["weight"], before[i]["weight"])


@pytest.mark.parametrize("name", [*RULES, "ddtp_linear", "dtpdrl"])
def test_feedback_may_learn_alone(name):
    net = NETS["dense"]("tanh")
    params, rule = net.init(3, "torch_default", dtype=torch.float64), credit.method(name, learn_forward=False)
    state = rule.init(net, params, 3)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.5})
    before = copy.deepcopy((params, state["feedback"]))
    params, opt, state, info = rule.update(net, params, opt, state, small_batch(net, 3), 0)
    assert all(torch.equal(params[i][n], p) for i, block in before[0].items() for n, p in block.items())
    assert all(not torch.equal(state["feedback"][i]["weight"], block["weight"]) for i, block in before[1].items())
    assert info["gradients"]["0"]["weight"].abs().max() > 0


@pytest.mark.parametrize(
    ("feedback", "said"),
    [
        ({"iterations": [3, 4]}, r"ldrl.feedback.iterations = \[3, 4\]; needs one value, or one for each of 3"),
        ({"sigma": [0.1, 0.2, 0.3, 0.4]}, r"ldrl.feedback.sigma = .*one for each of 3 layers"),
        ({"lr": [0.1]}, r"ldrl.feedback.lr = \[0.1\]"),
    ],
)
def test_lists_that_do_not_fit_the_net_are_refused(feedback, said):
    net = NETS["overlaps"]("elu")
    params = net.init(3, "torch_default")
    with pytest.raises(ConfigError, match=said):
        credit.method("ldrl", feedback=feedback).init(net, params, 3)


@pytest.mark.parametrize(("key", "value"), [("iterations", -1), ("sigma", -0.1), ("lr", 0.0), ("momentum", 1.0)])
def test_numbers_of_the_feedback_are_bounded_as_in_a_list(key, value):
    for given in (value, [value]) if key != "momentum" else (value,):
        with pytest.raises(ConfigError, match=rf"ldrl.feedback.{key} = .*; must be "):
            credit.method("ldrl", feedback={key: given})


def test_schemes_and_optimisers_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'symmetric'"):
        credit.method("ldrl", feedback="symetric")
    with pytest.raises(ConfigError, match=r"pldrl.feedback.iterations = 3; must be 1"):
        credit.method("pldrl", feedback={"iterations": 3})
    net, rule, rand, params, state = start()
    plain = credit.optimizer("sgd", lr=0.1).init(params)
    with pytest.raises(ConfigError, match=r"ldrl: the optimiser has none for feedback weights; make it by"):
        rule.update(net, params, plain, state, small_batch(net, 3), rand)
    with pytest.raises(ConfigError, match=r"net.keep = 0.5; needs 1"):
        credit.method("ldrl").init(credit.dense([6, 5, 4], keep=0.5), params, 3)
    with pytest.raises(ConfigError, match="; needs hidden layers"):
        credit.method("ldrl").check_net(credit.dense([6, 4]))


@pytest.mark.parametrize("name", ["ldrl", "pldrl"])
def test_the_momentum_of_the_feedback_weights_lasts_from_batch_to_batch_and_through_a_checkpoint(name):
    net, rule, rand, params, state = start("tiles", rule=name)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    params, opt, state, _ = rule.update(net, params, opt, state, small_batch(net, 3), rand)
    kept, saved, streams = copy.deepcopy((params, state)), opt.state_dict(), rand.state_dict()
    again = rule.optimizer(net, *kept, {"name": "sgd", "lr": 0.1})
    again.load_state_dict(saved)
    others = credit.Rand(3, dtype=torch.float64)
    others.load_state_dict(streams)
    one = rule.update(net, params, opt, state, small_batch(net, 3, stream="next"), rand)
    two = rule.update(net, kept[0], again, kept[1], small_batch(net, 3, stream="next"), others)
    for a, b in ((one[0], two[0]), (one[2]["feedback"], two[2]["feedback"])):
        assert all(torch.equal(a[i][n], b[i][n]) for i in a for n in a[i])


def test_the_parallel_form_learns_with_the_published_settings():
    settings = credit.method("pldrl").feedback.optimizer_settings(2, "pldrl")
    assert settings == {"name": "adam", "lr": {"1": 3e-4, "2": 3e-4}, "weight_decay": 1e-4}
    assert (credit.method("pldrl").feedback.samples, credit.method("pldrl").feedback.iterations) == (10, 1)
