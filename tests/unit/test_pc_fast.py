"""The compiled forms of predictive coding equal the plain one, for whatever they take."""

from __future__ import annotations

import pytest
import torch

import credit
from credit.methods.energy import lanes
from credit.numerics.trees import clone

SEEDS = [0, 1, 0]
SIZES = {"lanes": [3, 4, 2, 2], "small products": [7, 12, 9, 3], "BLAS": [20, 40, 30, 10], "without hidden": [6, 4]}


def start(sizes, hidden="sigmoid", loss="squared_error_sum", bias=True, seeds=SEEDS, **opt):
    net = credit.dense(sizes, hidden=hidden, loss=loss, bias=bias)
    rand = credit.Rand(seeds, dtype=torch.float64)
    params = net.init(rand, {"name": "xavier_normal", "bias": 0.3} if bias else "xavier_normal")
    rule = credit.method(
        "pc", steps=13, inference={"lr": [0.3, 0.9, 0.1][: len(seeds)], "discount": 0.6, "amplifier": 1.1}
    )
    settings = {"name": "sgd", "lr": [0.05, 0.02, 0.01][: len(seeds)], **opt}
    return net, rule, params, rule.optimizer(net, params, {}, settings), rand


def samples(net, rand, count, classes=False, weights=False):
    x = rand.normal("x", (count, *net.shape_in))
    y = rand.integers("y", (count,), net.n_out) if classes else rand.normal("y", (count, net.n_out))
    return x, y, rand.uniform("w", (count, net.n_out)) if weights else None


def taken(batch, size):
    """Mini-batches of `size` samples, of which the last may be smaller."""
    x, y, weights = batch
    for a in range(0, x.shape[1], size):
        cut = slice(a, a + size)
        yield credit.Batch(x[:, cut], y[:, cut], None if weights is None else weights[:, cut])


def compare(made, batch, size):
    net, rule, params, opt, rand = made
    plain, losses = clone(params), []
    other = rule.optimizer(net, plain, {}, {"name": "sgd", "lr": [0.05, 0.02, 0.01]})
    for part in taken(batch, size):
        plain, other, _, info = rule.update(net, plain, other, {}, part, rand)
        losses.append(info["loss"])
    fast = rule.fast(net, params, opt, {}, next(taken(batch, size)), size)
    parts = [credit.Batch(*batch)] if net.loss.summed else list(taken(batch, size))
    assert (fast.at_once > 1) == (len(parts) == 1)
    found = []
    for part in parts:
        params, opt, _, info = fast(params, opt, {}, part, rand)
        found.append(info["loss"])
    torch.testing.assert_close(torch.cat(found), torch.stack(losses), rtol=1e-12, atol=1e-12)
    for i, block in plain.items():
        for name, p in block.items():
            torch.testing.assert_close(params[i][name], p, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", ["linear", "sigmoid", "tanh", "relu", "leakyrelu_0.01"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", SIZES)
def test_several_mini_batches_at_once_are_taken_as_one_by_one(kind, bias, hidden):
    made = start(SIZES[kind], hidden, bias=bias)
    tiny = 5 * sum(a * b for a, b in zip(SIZES[kind][1:], SIZES[kind][:-1], strict=True)) <= lanes.TINY
    assert tiny == (kind in ("lanes", "without hidden"))
    compare(made, samples(made[0], made[-1], 13), 5)


@pytest.mark.parametrize("loss", ["squared_error_sum", "half_squared_error"])
@pytest.mark.parametrize("kind", ["lanes", "BLAS"])
def test_classes_and_weights_of_outputs_are_taken_too(kind, loss):
    made = start(SIZES[kind], loss=loss)
    compare(made, samples(made[0], made[-1], 13, classes=True, weights=True), 5)


@pytest.mark.parametrize("kind", ["lanes", "BLAS"])
def test_members_of_a_seed_share_their_samples(kind):
    net, rule, params, opt, _ = start(SIZES[kind])
    rand = credit.Rand([0, 1], dtype=torch.float64)
    x, y, weights = samples(net, rand, 5, weights=True)
    batch = credit.Batch(x, y, weights, whose=torch.tensor([0, 1, 0]))
    plain = rule.update(
        net, clone(params), rule.optimizer(net, clone(params), {}, {"name": "sgd", "lr": 0.0}), {}, batch, 0
    )
    step = rule.gradients(net, params, {}, batch, 0)
    fast = rule.fast(net, params, opt, {}, batch, 5)
    before = clone(params)
    params, _, _, info = fast(params, opt, {}, batch, 0)
    torch.testing.assert_close(info["loss"][0], plain[3]["loss"], rtol=1e-12, atol=0)
    lr = torch.tensor([0.05, 0.02, 0.01], dtype=torch.float64).view(3, 1, 1)
    for i in params:
        expected = before[i]["weight"] - lr * step.gradients[i]["weight"]
        torch.testing.assert_close(params[i]["weight"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["lanes", "BLAS"])
def test_another_optimiser_gets_the_gradients(kind):
    net, rule, params, _, rand = start(SIZES[kind])
    batch = credit.Batch(*samples(net, rand, 5))
    found = []
    for form in ("plain", "fast"):
        mine = clone(params)
        opt = rule.optimizer(net, mine, {}, {"name": "adam", "lr": 0.01, "weight_decay": 0.1})
        fast = rule.fast(net, mine, opt, {}, batch, 5) if form == "fast" else None
        assert fast is None or fast.at_once == 1
        for _ in range(3):
            mine, *_ = fast(mine, opt, {}, batch, 0) if fast else rule.update(net, mine, opt, {}, batch, 0)
        found.append(mine)
    for i in params:
        torch.testing.assert_close(found[0][i]["weight"], found[1][i]["weight"], rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["lanes", "BLAS"])
def test_a_divisor_of_a_mini_batch_that_is_not_full_counts(kind):
    net, rule, params, opt, rand = start(SIZES[kind], loss="half_squared_error")
    x, y, _ = samples(net, rand, 3)
    batch = credit.Batch(x, y, divisor=5)
    plain = clone(params)
    other = rule.optimizer(net, plain, {}, {"name": "sgd", "lr": [0.05, 0.02, 0.01]})
    plain, *_ = rule.update(net, plain, other, {}, batch, 0)
    params, *_ = rule.fast(net, params, opt, {}, batch, 3)(params, opt, {}, batch, 0)
    for i in params:
        torch.testing.assert_close(params[i]["weight"], plain[i]["weight"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [[3, 4, 2], [20, 40, 30, 10]])
def test_a_single_network_is_a_stack_of_one(sizes):
    net = credit.dense(sizes, hidden="tanh", loss="squared_error_sum")
    found = []
    for seeds in (3, [3]):
        rand = credit.Rand(seeds, dtype=torch.float64)
        params = net.init(rand, "xavier_normal")
        rule = credit.method("pc", steps=9)
        opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1})
        batch = credit.Batch(rand.normal("x", (4, sizes[0])), rand.normal("y", (4, sizes[-1])))
        params, _, _, info = rule.fast(net, params, opt, {}, batch, 4)(params, opt, {}, batch, rand)
        found.append((params["0"]["weight"].reshape(sizes[1], sizes[0]), info["loss"].flatten()))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize(
    "hyper",
    [{"nodes": "after"}, {"inference": {"optimizer": "adam"}}, {"weight_updates": "all"}, {"stop_below": 0.1},
     {"closed_form": "compare"}, {"energy_coefficient": 2.0}, {"inference": {"updates": "last_half"}}],
)  # fmt: skip
def test_other_settings_have_no_compiled_form(hyper):
    net = credit.dense([3, 4, 2], hidden="linear", loss="squared_error_sum")
    params = net.init(0)
    rule = credit.method("pc", steps=4, **hyper)
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1})
    assert rule.fast(net, params, opt, {}, credit.Batch(torch.randn(2, 3), torch.randn(2, 2)), 2) is None


@pytest.mark.parametrize(
    "net", [{"hidden": "elu"}, {"output": "tanh"}, {"loss": "mse"}, {"loss": "softmax_cross_entropy"}]
)
def test_other_nets_have_no_compiled_form(net):
    made = credit.dense([3, 4, 3], **{"loss": "squared_error_sum", **net})
    params = made.init(0)
    rule = credit.method("pc", steps=4)
    opt = rule.optimizer(made, params, {}, {"name": "sgd", "lr": 0.1})
    batch = credit.Batch(torch.randn(2, 3), torch.tensor([0, 1]))
    assert rule.fast(made, params, opt, {}, batch, 2) is None
    rule.update(made, params, opt, {}, batch, 0)
