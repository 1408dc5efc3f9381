"""Each rule against autograd, or against its formula written out sample by sample."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import credit
from credit.nets.conv import Conv
from credit.nets.jacobian import output_jacobian
from credit.nets.pooling import Pool
from tests.conftest import small_batch, small_net

CLOSE = {"rtol": 1e-11, "atol": 1e-13}


def autograd_output(net, params, x, masks=None):
    """The forward pass in plain torch, independent of the blocks' own code."""
    for i, block in enumerate(net.blocks):
        p = params[str(i)]
        if p["weight"].ndim == 4:
            x = F.conv2d(x, p["weight"], p["bias"], block.stride, block.padding)
            x = getattr(torch, block.activation)(x)
            if block.pool:
                x = F.max_pool2d(x, block.pool.size, block.pool.stride, block.pool.padding)
        else:
            x = F.linear(x.flatten(1), p["weight"], p["bias"])
            x = x if block.activation == "linear" else getattr(torch, block.activation)(x)
        if masks and masks[i] is not None:
            x = x * masks[i]
    return x


def autograd(net, params, batch, masks=None):
    leaves = {i: {n: t.clone().requires_grad_() for n, t in p.items()} for i, p in params.items()}
    output = autograd_output(net, leaves, batch.x, masks)
    loss = F.cross_entropy(output, batch.y) if batch.y.ndim == 1 else F.mse_loss(output, batch.y)
    loss.backward()
    return loss, {i: {n: t.grad for n, t in p.items()} for i, p in leaves.items()}


def setup(kind, loss="softmax_cross_entropy", hidden="tanh", keep=1.0):
    net = small_net(kind, loss, hidden, keep)
    params = net.init(credit.Rand(5, dtype=torch.float64))
    for p in params.values():
        p["bias"] += 0.1 * torch.arange(p["bias"].numel(), dtype=torch.float64)
    return net, params, small_batch(net, 11)


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
@pytest.mark.parametrize("hidden", ["tanh", "relu", "sigmoid"])
def test_bp_is_the_gradient_that_autograd_finds(kind, loss, hidden):
    net, params, batch = setup(kind, loss, hidden)
    step = credit.method("bp").gradients(net, params, {}, batch, credit.Rand(0))
    value, expected = autograd(net, params, batch)
    torch.testing.assert_close(step.info["loss"].squeeze(), value.detach(), **CLOSE)
    for i, p in expected.items():
        for n, g in p.items():
            torch.testing.assert_close(step.gradients[i][n], g, **CLOSE)


@pytest.mark.parametrize("name", ["bp", "fa", "dfa", "drtp"])
def test_deltas_are_those_of_the_blocks_in_their_order(name):
    net, params, batch = setup("dense")
    rule, rand = credit.method(name), credit.Rand(0, dtype=torch.float64)
    step = rule.gradients(net, params, rule.init(net, params, rand), batch, rand)
    assert len(step.info["deltas"]) == len(net)
    for i, delta in enumerate(step.info["deltas"]):
        torch.testing.assert_close(delta.sum(-2), step.gradients[str(i)]["bias"], **CLOSE)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_bp_with_dropout_is_the_gradient_of_the_masked_net(kind):
    net, params, batch = setup(kind, keep=0.6)
    masks = net.masks(params, 9, credit.Rand(2, dtype=torch.float64))
    step = credit.method("bp").gradients(net, params, {}, batch, credit.Rand(2, dtype=torch.float64))
    assert any((m == 0).any() for m in masks[:-1])
    _, expected = autograd(net, params, batch, masks)
    for i, p in expected.items():
        for n, g in p.items():
            torch.testing.assert_close(step.gradients[i][n], g, **CLOSE)


def test_overlapping_pooling_windows_add_their_gradients():
    net = credit.conv([1, 9, 9], [2], [], 3, kernel=3, pool=(3, 1, 1))
    params = net.init(credit.Rand(1, dtype=torch.float64))
    batch = small_batch(net, 4)
    step = credit.method("bp").gradients(net, params, {}, batch, credit.Rand(0))
    leaf = params["0"]["weight"].clone().requires_grad_()
    hidden = F.max_pool2d(F.relu(F.conv2d(batch.x, leaf, params["0"]["bias"])), 3, 1, 1).flatten(1)
    F.cross_entropy(F.linear(hidden, params["1"]["weight"], params["1"]["bias"]), batch.y).backward()
    torch.testing.assert_close(step.gradients["0"]["weight"], leaf.grad, **CLOSE)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_fa_with_the_forward_weights_as_feedback_is_bp(kind):
    net, params, batch = setup(kind)
    state = {"feedback": {i: p["weight"] for i, p in params.items() if i != "0"}}
    fa = credit.method("fa").gradients(net, params, state, batch, credit.Rand(0)).gradients
    _, bp = autograd(net, params, batch)
    for i, p in bp.items():
        for n, g in p.items():
            torch.testing.assert_close(fa[i][n], g, **CLOSE)


def dense_forward(net, params, x):
    h, a = [x], []
    for i, block in enumerate(net.blocks):
        a.append(params[str(i)]["weight"] @ h[-1] + params[str(i)]["bias"])
        h.append(a[-1] if block.activation == "linear" else torch.tanh(a[-1]))
    return h, a


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
@pytest.mark.parametrize("name", ["fa", "dfa", "drtp"])
def test_feedback_rules_follow_their_formula_sample_by_sample(name, loss):
    net, params, batch = setup("dense", loss)
    rule = credit.method(name)
    state = rule.init(net, params, credit.Rand(6, dtype=torch.float64))
    ours = rule.gradients(net, params, state, batch, credit.Rand(0)).gradients
    sums = {i: torch.zeros_like(p["weight"]) for i, p in params.items()}
    classes = loss == "softmax_cross_entropy"
    for x, y in zip(batch.x, batch.y, strict=True):
        h, _ = dense_forward(net, params, x)
        target = F.one_hot(y, 4).double() if classes else y
        error = (torch.softmax(h[-1], 0) - target) / 9 if classes else 2 * (h[-1] - target) / (9 * 4)
        delta = [None, None, error]
        for i in (1, 0):
            feedback = state["feedback"]
            if name == "fa":
                teaching = feedback[str(i + 1)].T @ delta[i + 1]
            else:
                teaching = feedback[str(i)] @ (error if name == "dfa" else target / 9)
            delta[i] = teaching * (1 - h[i + 1] ** 2)
        for i in range(3):
            sums[str(i)] += torch.outer(delta[i], h[i])
    for i, expected in sums.items():
        torch.testing.assert_close(ours[i]["weight"], expected, **CLOSE)


@pytest.mark.parametrize("name", ["dfa", "drtp"])
def test_direct_feedback_reaches_a_conv_block_after_its_pooling(name):
    net, params, batch = setup("conv")
    rule = credit.method(name)
    state = rule.init(net, params, credit.Rand(6, dtype=torch.float64))
    ours = rule.gradients(net, params, state, batch, credit.Rand(0)).gradients
    leaf = params["0"]["weight"].clone().requires_grad_()
    hidden = F.max_pool2d(torch.tanh(F.conv2d(batch.x, leaf, params["0"]["bias"], padding=1)), 2).flatten(1)
    output = autograd_output(net, params, batch.x)
    target = F.one_hot(batch.y, 4).double()
    signal = (torch.softmax(output, -1) - target if name == "dfa" else target) / 9
    # The gradient of <hidden, signal B^T> is what a block receives that is told `signal` through B.
    (hidden * (signal @ state["feedback"]["0"].T)).sum().backward()
    torch.testing.assert_close(ours["0"]["weight"], leaf.grad, **CLOSE)


def test_shallow_trains_the_last_layer_only():
    net, params, batch = setup("dense")
    step = credit.method("shallow").gradients(net, params, {}, batch, credit.Rand(0))
    assert list(step.gradients) == ["2"]


def test_feedback_weights_are_independent_of_the_forward_weights():
    net, params, _ = setup("dense")
    state = credit.method("fa").init(net, params, credit.Rand(5, dtype=torch.float64))
    for i, feedback in state["feedback"].items():
        assert feedback.shape == params[i]["weight"].shape
        assert not torch.allclose(feedback, params[i]["weight"])


def test_the_jacobian_is_the_derivative_of_the_output_by_the_pre_activations():
    net, params, batch = setup("dense")
    trace = net.forward(params, batch.x)
    ours = output_jacobian(net, params, trace)
    shifts = [torch.zeros_like(t.pre[0]) for t in trace.blocks]

    def shifted(*shift):
        h = batch.x[0]
        for i, block in enumerate(net.blocks):
            a = params[str(i)]["weight"] @ h + params[str(i)]["bias"] + shift[i]
            h = a if block.activation == "linear" else torch.tanh(a)
        return h

    exact = torch.autograd.functional.jacobian(shifted, tuple(shifts))
    for j, e in zip(ours, exact, strict=True):
        torch.testing.assert_close(j[0], e, **CLOSE)


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_mn_is_the_smallest_shift_that_removes_the_damped_error(damping):
    net, params, batch = setup("dense", "mse")
    step = credit.method("mn", damping=damping, nonlinear=False).gradients(net, params, {}, batch, credit.Rand(0))
    jacobian = torch.cat(output_jacobian(net, params, step.info["trace"]), -1)
    shift = torch.cat(step.info["deltas"], -1)
    error = step.info["error"]
    for j, dv, g in zip(jacobian, shift, error, strict=True):
        gram = j @ j.T + damping * torch.eye(4, dtype=torch.float64)
        torch.testing.assert_close(dv, j.T @ torch.linalg.solve(gram, g), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("size", "side"), [(2, 8), (3, 8), (4, 9)])
def test_pooling_side_by_side_is_that_of_torch_also_for_equal_activities(size, side):
    block = Conv((2, side, side), 2, 1, "linear", pool=Pool(size))
    act = torch.randint(0, 3, (1, 5, 2, side, side)).double().requires_grad_()
    trace = block.activate(act.detach(), act.detach())
    out = F.max_pool2d(act.flatten(0, 1), size)
    assert torch.equal(trace.out[0], out)
    grad = torch.randn_like(trace.out)
    (expected,) = torch.autograd.grad(out, act, grad[0])
    assert torch.equal(block.unpool(trace, grad), expected)


@pytest.mark.parametrize("seeds", [0, [3, 4]])
def test_convolutions_predict_a_few_samples_at_a_time(seeds, monkeypatch):
    net = small_net("conv")
    params, x = net.init(credit.Rand(seeds, dtype=torch.float64)), small_batch(net, seeds).x
    whole, sizes, forward = net.predict(params, x), [], Conv.forward

    def noted(block, params, x, mask=None):
        sizes.append(x.shape[-4])
        return forward(block, params, x, mask)

    monkeypatch.setattr(Conv, "forward", noted)
    monkeypatch.setattr("credit.nets.base.ROOM", 4 * 3 * 8 * 8 + 1)  # four samples of a net before pooling
    torch.testing.assert_close(net.predict(params, x), whole, **CLOSE)
    assert sizes == ([4, 4, 1] if seeds == 0 else [2, 2, 2, 2, 1])
    monkeypatch.setattr("credit.nets.base.ROOM", 1)
    torch.testing.assert_close(net.predict(params, x), whole, **CLOSE)
    assert sizes[-9:] == [1] * 9
    assert net.predict(params, x[..., :0, :, :, :]).shape[-2:] == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "pool", "seeds"), [(12, 2, 0), (17, 3, [3, 4]), (13, 4, [3])])
def test_relu_and_pooling_in_one_loop_are_the_two_after_each_other(size, pool, seeds, dtype):
    net = credit.conv((2, size, size + 1), [3], [], 4, kernel=3, pool=pool, hidden="relu", bias=False)
    block, rand = net.block(0), credit.Rand(seeds, dtype=dtype)
    pre = rand.normal("pre", (5, *block.shape_pre))
    pre[..., 0, 0, 1, 1], pre[..., 1, 0, 1, 2], pre[..., 2, 0, 0, 0] = float("nan"), float("inf"), float("nan")
    for given in (pre, pre.mT.contiguous().mT):  # the second is left to torch
        trace = block.activate(pre, given)
        act = torch.relu(pre)
        flat = act.reshape(-1, *act.shape[-3:])
        torch.testing.assert_close(trace.act, act, rtol=0, atol=0, equal_nan=True)
        pooled = F.max_pool2d(flat, pool).reshape(trace.out.shape)
        torch.testing.assert_close(trace.out, pooled, rtol=0, atol=0, equal_nan=True)
        assert trace.index is None and trace.out.shape[-3:] == block.shape_out
