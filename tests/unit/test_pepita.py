"""PEPITA: against a loop over samples written from the paper, and what follows from its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import credit
from credit.config import hyperparameters
from credit.config.parts import METHODS
from credit.errors import ConfigError
from credit.methods.modulation.passes import pays
from tests.conftest import small_batch

CLOSE = {"rtol": 1e-12, "atol": 1e-14}
PRESETS = ("pepita_numpy", "pepita_torch", "pepita_conv", "pepita_conv_corrected", "pepita_sign")


def dense_net(hidden: int = 2, keep: float = 1.0, activation: str = "relu", inputs: int = 9):
    return credit.dense([inputs, *[8, 7, 6][:hidden], 3], activation, bias=False, keep=keep)


def start(net, rule, seeds=4, dtype=torch.float64):
    rand = credit.Rand(seeds, dtype=dtype)
    params = net.init(rand, "he_uniform")
    return params, rule.init(net, params, rand)


def weights_of(params):
    return [block["weight"].numpy().copy() for block in params.values()]


# ---- the rule, one sample at a time


def one_pass(weights, x, masks):
    """Layer inputs, activities before the mask, and softmax output."""
    inputs, activities = [x], []
    for w, m in zip(weights[:-1], masks, strict=True):
        activities.append(np.maximum(w @ inputs[-1], 0))
        inputs.append(activities[-1] * m)
    a = np.exp(weights[-1] @ inputs[-1])
    return inputs, activities, a / a.sum()


def sample_by_sample(weights, projection, x, y, masks, rule, lr, gamma=0.9):
    """One batch as the numpy program runs it, momentum from rest; returns the weights after it."""
    weights, n = [w.copy() for w in weights], len(x)
    velocity, buffer = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]

    def step():
        for w, v, b in zip(weights, velocity, buffer, strict=True):
            v[:] = gamma * v + lr * b / (n * (rule.passes - 1))
            w -= v
            b[:] = 0

    for s in range(n):
        mask = [m[s] for m in masks]
        before = one_pass(weights, x[s], mask)
        error = before[2] - np.eye(3)[y[s]]
        for p in range(1, rule.passes):
            signal = np.sign(error) if rule.signal == "sign" else error
            after = one_pass(weights, x[s] + projection @ signal, mask)
            new_error = after[2] - np.eye(3)[y[s]]
            for i in range(len(weights) - 1):
                difference = (before[1][i] - after[1][i]) * mask[i] ** rule.mask_power
                below = after[1][i - 1] if i and rule.mask_power == 0 else after[0][i]
                buffer[i] += np.outer(difference, below)
            below = after[1][-1] if rule.mask_power == 0 else after[0][-1]
            buffer[-1] += np.outer(new_error if rule.last_layer_error == "second_pass" else error, below)
            before, error = after, new_error
            if rule.pass_updates == "as_released" and s == n - 1 and p < rule.passes - 1:
                step()
    step()
    return weights


@given(
    hidden=st.integers(1, 3),
    keep=st.sampled_from([1.0, 0.7]),
    options=st.fixed_dictionaries(
        {
            "signal": st.sampled_from(["error", "sign"]),
            "last_layer_error": st.sampled_from(["second_pass", "first_pass"]),
            "mask_power": st.sampled_from([0, 1, 2]),
            "passes": st.integers(2, 4),
            "pass_updates": st.sampled_from(["together", "as_released"]),
            "projection_scale": st.sampled_from([0.05, 1.0]),
        }
    ),
)
@settings(max_examples=40, deadline=None)
def test_a_batch_is_what_its_samples_are_one_by_one(hidden, keep, options):
    rule, net = credit.method("pepita", **options), dense_net(hidden, keep)
    params, state = start(net, rule)
    batch = small_batch(net, 4, 5)
    masks = (
        [m.numpy() for m in net.masks(params, 5, credit.Rand(1, dtype=torch.float64))[:-1]]
        if keep < 1
        else [np.ones((5, 8))]
    )
    masks = masks if keep < 1 else [np.ones((5, n)) for n in (8, 7, 6)[:hidden]]
    expected = sample_by_sample(
        weights_of(params), state["projection"].numpy(), batch.x.numpy(), batch.y.numpy(), masks, rule, lr=0.1
    )
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1, "momentum": 0.9, "lr_in_velocity": True})
    params, *_ = rule.update(net, params, opt, state, batch, credit.Rand(1, dtype=torch.float64))
    for ours, theirs in zip(weights_of(params), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_for_a_small_projection_it_is_feedback_alignment_with_minus_the_first_weights_times_f():
    net = dense_net(hidden=1)
    rule = credit.method("pepita", projection_scale=1e-7)
    params, state = start(net, rule)
    batch = small_batch(net, 4)
    ours = rule.gradients(net, params, state, batch, credit.Rand(0)).gradients
    feedback = -(params["0"]["weight"] @ state["projection"]).mT
    fa = credit.method("fa").gradients(net, params, {"feedback": {"1": feedback}}, batch, credit.Rand(0)).gradients
    for i in ("0", "1"):
        torch.testing.assert_close(ours[i]["weight"], fa[i]["weight"], rtol=1e-5, atol=0)


# ---- the second pass


def net_of(kind: str, keep: float):
    if kind == "dense":
        return dense_net(3, keep, "tanh", inputs=20)
    return credit.conv([2, 8, 8], [4, 5], [6], 3, kernel=(3, 1, 1), hidden="relu", keep=keep)


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("keep", [1.0, 0.7])
@pytest.mark.parametrize("seeds", [4, [4, 5]])
@pytest.mark.parametrize("passes", [2, 3])
def test_the_low_rank_second_pass_equals_the_plain_one(kind, keep, seeds, passes):
    net, results = net_of(kind, keep), []
    batch = small_batch(net, seeds, 40)
    for low_rank in (True, False):
        rule = credit.method("pepita", low_rank=low_rank, passes=passes, projection_scale=0.5)
        params, state = start(net, rule, seeds)
        step = rule.gradients(net, params, state, batch, credit.Rand(seeds, dtype=torch.float64))
        assert pays(net, 40)
        results.append(step.gradients)
    for i, block in results[0].items():
        for name, gradient in block.items():
            torch.testing.assert_close(gradient, results[1][i][name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("classes", "batch", "cheaper"), [(10, 64, True), (100, 64, False), (10, 4, False), (3, 3, False)]
)
def test_the_low_rank_form_is_taken_where_it_needs_fewer_operations(classes, batch, cheaper):
    net = credit.dense([784, 1024, classes], "relu", bias=False)
    assert pays(net, batch) == cheaper


def test_both_passes_share_their_masks():
    net, rule = dense_net(2, keep=0.5), credit.method("pepita")
    params, state = start(net, rule)
    step = rule.gradients(net, params, {"projection": 0 * state["projection"]}, small_batch(net, 4), credit.Rand(3))
    assert (step.info["trace"].blocks[0].mask == 0).any()
    for i in ("0", "1"):
        assert (step.gradients[i]["weight"] == 0).all()  # without modulation the passes are the same


def test_a_member_may_have_its_own_projection_scale():
    net = dense_net()
    batch = small_batch(net, [4, 5])
    both = credit.method("pepita", projection_scale=[0.1, 0.3])
    params, state = start(net, both, [4, 5])
    together = both.gradients(net, params, state, batch, credit.Rand([4, 5])).gradients
    for m, scale in enumerate((0.1, 0.3)):
        alone = credit.method("pepita", projection_scale=scale)
        params, state = start(net, alone, 4 + m)
        step = alone.gradients(net, params, state, credit.Batch(batch.x[m], batch.y[m]), credit.Rand(4 + m))
        for i, block in step.gradients.items():
            torch.testing.assert_close(together[i]["weight"][m], block["weight"], **CLOSE)


# ---- the projection


@pytest.mark.parametrize(
    ("net", "n_in"),
    [(credit.dense([784, 32, 10]), 784), (credit.conv([3, 16, 16], [4], [], 10, kernel=5), 768)],
    ids=["dense", "conv"],
)
def test_the_projection_is_scaled_by_the_number_of_inputs(net, n_in):
    projection = start(net, credit.method("pepita"))[1]["projection"]
    assert projection.shape == (n_in, 10)
    bound = 0.05 * math.sqrt(6 / n_in)
    assert 0.99 * bound < float(projection.abs().max()) <= bound
    assert float(projection.std()) == pytest.approx(0.05 * math.sqrt(2 / n_in), rel=0.05)
    sign = start(net, credit.method("pepita_sign"))[1]["projection"]
    torch.testing.assert_close(sign * 10, projection, rtol=1e-12, atol=0)


def test_a_positive_projection_of_the_same_width():
    rule = credit.method("pepita", projection={"name": "positive_uniform", "gain": math.sqrt(6)})
    projection = start(credit.dense([784, 32, 10]), rule)[1]["projection"]
    bound = 0.05 * math.sqrt(6 / 784)
    assert 0 <= float(projection.min()) < 0.01 * bound
    assert 0.99 * bound < float(projection.max()) <= bound


# ---- convolutions


def conv_step(name: str, **options):
    net = credit.conv([2, 9, 9], [4], [], 3, kernel=3, hidden="relu", bias=False)
    rule = credit.method(name, **options)
    params, state = start(net, rule)
    return rule.gradients(net, params, state, small_batch(net, 4, 5), credit.Rand(0)).gradients


@pytest.mark.parametrize(("positions", "power"), [("mean", 1), ("sqrt", 0.5), ("sum", 0)])
@pytest.mark.parametrize(("sign", "factor"), [("as_released", -1), ("pepita", 1)])
@pytest.mark.parametrize("divisions", [1, 2])
def test_the_options_of_a_convolution_are_factors_on_its_gradient(positions, power, sign, factor, divisions):
    plain = conv_step("pepita_conv_corrected")
    step = conv_step("pepita_conv", conv_positions=positions, conv_sign=sign, conv_divisions=divisions)
    expected = plain["0"]["weight"] * factor / 49**power / 5 ** (divisions - 1)
    torch.testing.assert_close(step["0"]["weight"], expected, **CLOSE)
    assert torch.equal(step["1"]["weight"], plain["1"]["weight"])


def test_a_frozen_convolution_has_no_gradient():
    assert list(conv_step("pepita_conv", freeze_conv=True)) == ["1"]


def test_the_corrected_convolution_is_the_dense_rule_with_shared_weights():
    """A filter as large as the image is a dense layer, and one of two positions is the sum of two."""
    rule = credit.method("pepita_conv_corrected")
    net = credit.conv([2, 4, 5], [4], [], 3, kernel=4, pool=None, hidden="relu", bias=False)
    params, state = start(net, rule)
    batch = small_batch(net, 4, 5)
    filters = rule.gradients(net, params, state, batch, credit.Rand(0)).gradients["0"]["weight"]
    unrolled = torch.zeros(4, 2, 2, 4, 5, dtype=torch.float64)  # filter, position, image
    for position in range(2):
        unrolled[:, position, :, :, position : position + 4] = params["0"]["weight"]
    dense = credit.dense([40, 8, 3], "relu", bias=False)
    same = {"0": {"weight": unrolled.reshape(8, 40)}, "1": params["1"]}
    flat = credit.method("pepita_conv").gradients(dense, same, state, batch, credit.Rand(0)).gradients["0"]["weight"]
    flat = flat.reshape(4, 2, 2, 4, 5)
    shared = sum(flat[:, position, :, :, position : position + 4] for position in range(2))
    torch.testing.assert_close(filters, shared, **CLOSE)


def test_filters_stand_still_as_released_and_move_when_corrected():
    moved = {}
    for name in ("pepita_conv", "pepita_conv_corrected"):
        net = credit.conv([1, 28, 28], [8], [], 10, kernel=5, hidden="relu", bias=False)
        rule = credit.method(name)
        rand = credit.Rand([0], dtype=torch.float64)
        params = net.init(rand, "torch_default")
        state = rule.init(net, params, rand)
        before = params["0"]["weight"].clone()
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.01})
        batch = credit.Batch(rand.uniform("x", (50, 1, 28, 28)), rand.integers("y", (50,), 10))
        params, *_ = rule.update(net, params, opt, state, batch, rand)
        moved[name] = float((params["0"]["weight"] - before).norm() / before.norm())
    assert moved["pepita_conv"] < 1e-7
    assert moved["pepita_conv_corrected"] == pytest.approx(moved["pepita_conv"] * 50 * 576, rel=1e-6)


# ---- names, options, errors


def test_the_named_variants_differ_where_the_released_programs_do():
    defaults = {name: credit.method(name) for name in ("pepita", *PRESETS)}
    columns = ("last_layer_error", "mask_power", "conv_sign", "conv_positions", "conv_divisions", "signal")
    rows = {name: tuple(getattr(rule, c) for c in columns) for name, rule in defaults.items()}
    assert rows == {
        "pepita": ("second_pass", 2, "pepita", "sum", 1, "error"),
        "pepita_numpy": ("second_pass", 2, "pepita", "sum", 1, "error"),
        "pepita_torch": ("second_pass", 1, "pepita", "sum", 1, "error"),
        "pepita_conv": ("first_pass", 0, "as_released", "mean", 2, "error"),
        "pepita_conv_corrected": ("first_pass", 0, "pepita", "sum", 1, "error"),
        "pepita_sign": ("second_pass", 2, "pepita", "sum", 1, "sign"),
    }
    assert defaults["pepita"].projection_scale == 0.05


@pytest.mark.parametrize("name", PRESETS)
def test_a_variant_has_the_hyperparameters_of_the_rule(name):
    fields = {n: set(hyperparameters.fields(METHODS.module(n))) for n in ("pepita", name)}
    assert fields["pepita"] == fields[name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passes": 1}, "passes = 1; must be an integer >= 2"),
        ({"passes": [2, 3]}, r"passes = .*2, 3.; must be an integer >= 2"),
        ({"mask_power": 3}, "mask_power = 3; must be one of: 0, 1, 2"),
        ({"mask_power": [0, 1]}, "mask_power"),
        ({"projection_scale": 0.0}, "projection_scale = 0.0; must be a finite number > 0"),
        ({"projection_scale": float("nan")}, "projection_scale = nan"),
        ({"conv_scale": 1.0}, "conv_scale = 1.0: no such hyperparameter"),
        ({"signal": "errors"}, "signal = 'errors'; must be one of: error, sign"),
    ],
)
def test_wrong_options_are_named_with_what_is_allowed(options, message):
    with pytest.raises(ConfigError, match=message):
        credit.method("pepita", **options)


def test_an_unknown_projection_is_named():
    with pytest.raises(ConfigError, match="did you mean 'he_uniform'"):
        credit.method("pepita", projection="he_uniforms")


@pytest.mark.parametrize(("name", "kind"), [("pepita_numpy", "conv"), ("pepita_conv_corrected", "dense")])
def test_a_variant_refuses_the_other_kind_of_net(name, kind):
    net = net_of(kind, 1.0)
    with pytest.raises(ValueError, match=f"{name} is not defined for a {kind} net"):
        credit.method(name).check_net(net)


@pytest.mark.parametrize("name", ["bp", "fa"])
def test_masks_after_the_sweep_are_refused_on_a_conv_net_with_dropout(name):
    with pytest.raises(ValueError, match="needs a dense net"):
        credit.method(name, masks="after_sweep").check_net(net_of("conv", 0.5))
    credit.method(name, masks="after_sweep").check_net(net_of("conv", 1.0))


def test_single_precision_agrees_with_double():
    results = []
    for dtype in (torch.float32, torch.float64):
        net, rule = dense_net(2, keep=0.8), credit.method("pepita")
        params, state = start(net, rule, dtype=dtype)
        batch = small_batch(net, 4, 16)
        batch = credit.Batch(batch.x.to(dtype), batch.y)
        results.append(rule.gradients(net, params, state, batch, credit.Rand(1, dtype=dtype)).gradients)
    for i, block in results[0].items():
        assert block["weight"].dtype == torch.float32
        scale = results[1][i]["weight"].abs().max()
        assert (block["weight"] - results[1][i]["weight"]).abs().max() < 1e-4 * scale
