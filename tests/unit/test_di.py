"""Dynamic inversion: identities of its operators, its dynamics against their fixed points, stability, bad input."""

from __future__ import annotations

import copy
import dataclasses
import functools

import numpy as np
import pytest
import torch

import credit
from credit.dag.checks import PartChecker
from credit.errors import ConfigError
from credit.methods.inversion import loops
from credit.methods.inversion.dynamics import gain, run_chain, run_linear, run_loop
from credit.methods.inversion.operators import invert, loop_product, pseudo_invert
from credit.methods.inversion.stability import (
    Descent,
    chain_lambda_max,
    lambda_max,
    stabilize,
    step_radius,
    surely_stable,
)
from credit.probes.base import Moment
from credit.probes.feedback_stability import FeedbackStability
from credit.probes.inversion_angles import InversionAngles
from tests.conftest import small_batch, small_net

FAMILY = ("di_bp", "di_fa", "pbp", "ndi", "di", "sdi")
shapes = pytest.mark.parametrize(("n_up", "n_low"), [(4, 7), (7, 4), (5, 5)])
leaks = pytest.mark.parametrize("leak", [0.0, 0.01, 0.3, 1.5])


def pair(n_up, n_low, scale=0.5, members=3, seed=1, batch=4):
    """W (M, n_up, n_low), B near -W^T, deltas (M, batch, n_up)."""
    rand = credit.Rand([seed + m for m in range(members)], dtype=torch.float64)
    weight = scale * rand.normal("w", (n_up, n_low))
    return weight, -weight.mT + 0.1 * scale * rand.normal("b", (n_low, n_up)), rand.normal("d", (batch, n_up))


def eye(n):
    return torch.eye(n, dtype=torch.float64)


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max().clamp(min=1e-300)))


def prepared(name, seeds=(3, 8), net=None, dtype=torch.float64, **hyper):
    net = net or small_net("dense")
    rule = credit.method(name, **hyper) if isinstance(name, str) else name
    rand = credit.Rand(list(seeds), dtype=dtype)
    params = net.init(rand, "xavier_normal")
    return net, rule, rand, params, rule.init(net, params, rand)


# ---- operators


@shapes
@leaks
def test_inversion_has_one_value_in_its_two_forms(n_up, n_low, leak):
    weight, b, delta = pair(n_up, n_low)
    if leak == 0:
        weight, b = weight[..., :n_low], b
        form = "upper" if n_up <= n_low else "lower"  # the other matrix is singular
    else:
        form = "both"
    ours = invert(weight, b, leak, delta)
    if form in ("upper", "both"):
        close(ours, (b @ torch.linalg.solve(weight @ b - leak * eye(n_up), delta.mT)).mT, 1e-10)
    if form in ("lower", "both"):
        close(ours, torch.linalg.solve(b @ weight - leak * eye(n_low), b @ delta.mT).mT, 1e-10)


@shapes
def test_inversion_by_the_negative_transpose_goes_from_the_pseudoinverse_to_backpropagation(n_up, n_low):
    weight, _, delta = pair(n_up, n_low)
    close(invert(weight, -weight.mT, 1e-10, delta), pseudo_invert(weight, delta), 1e-6)
    close(invert(weight, -weight.mT, 0.0, delta), pseudo_invert(weight, delta), 1e-10)
    close(1e9 * invert(weight, -weight.mT, 1e9, delta), delta @ weight, 1e-7)


@shapes
def test_the_pseudoinverse_is_that_of_the_singular_values(n_up, n_low):
    weight, _, delta = pair(n_up, n_low)
    close(pseudo_invert(weight, delta), (torch.linalg.pinv(weight) @ delta.mT).mT)
    weight[1, :, 0] *= 1e-6  # badly conditioned, but of full rank
    close(pseudo_invert(weight, delta), (torch.linalg.pinv(weight) @ delta.mT).mT, 1e-8)


@shapes
def test_a_singular_layer_is_inverted_by_least_squares_and_leaves_other_members_alone(n_up, n_low):
    weight, b, delta = pair(n_up, n_low)
    alone = invert(weight[1:], b[1:], 0.0, delta[1:]), pseudo_invert(weight[1:], delta[1:])
    weight[0, 0] = 0
    weight[0, :, 0] = 0
    b[0] = -weight[0].mT
    for result, others in zip((invert(weight, b, 0.0, delta), pseudo_invert(weight, delta)), alone, strict=True):
        close(result[0], (torch.linalg.pinv(weight[0]) @ delta[0].T).T, 1e-10)
        assert torch.equal(result[1:], others)
    assert (pseudo_invert(0 * weight, delta) == 0).all()


@shapes
def test_weights_that_are_not_finite_spoil_their_own_member_only(n_up, n_low):
    weight, b, delta = pair(n_up, n_low)
    weight[2, 1, 1] = torch.nan
    for result in (pseudo_invert(weight, delta), invert(weight, b, 0.1, delta)):
        assert result[2].isnan().all()
        assert result[:2].isfinite().all()
    assert lambda_max(weight, b, 0.1).isnan().tolist() == [False, False, True]
    assert stabilize(weight, b, 0.1, Descent())[1].isnan().tolist() == [False, False, True]
    assert not surely_stable(weight, b, 0.1)[2]


# ---- dynamics


@shapes
@leaks
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 64, 999])
def test_doubling_is_the_loop(n_up, n_low, leak, steps):
    weight, b, delta = pair(n_up, n_low)
    loop = run_loop(weight, b, leak, delta, 0.5, steps, "linear")
    f = gain(loop_product(weight, b), leak, 0.5, steps)
    close((f @ b @ delta.mT).mT if n_up > n_low else (b @ f @ delta.mT).mT, loop, 1e-11)
    close(run_linear(weight, b, leak, delta, 0.5, steps), loop, 1e-11)


@shapes
@pytest.mark.parametrize("dynamics", ["linear", "tanh"])
def test_the_compiled_loop_is_the_loop_in_tensor_operations_on_any_number_of_threads(
    n_up, n_low, dynamics, monkeypatch
):
    weight, b, delta = pair(n_up, n_low)
    results = []
    for limit, threads in ((0, 1), (10**9, 1), (10**9, 3)):
        monkeypatch.setattr(loops, "LIMIT", limit)
        torch.set_num_threads(threads)
        results.append(run_loop(weight, b, [0.0, 0.1, 0.2], delta, 0.5, 300, dynamics))
    torch.set_num_threads(1)
    close(results[1], results[0], 1e-12)
    assert torch.equal(results[1], results[2])


@pytest.mark.parametrize("kind", ["tanh", "linear", "linearized"])
@pytest.mark.parametrize("hidden", [1, 2, 3])
def test_the_compiled_single_loop_is_that_in_tensor_operations(kind, hidden, monkeypatch):
    rand = credit.Rand([1, 2], dtype=torch.float64)
    sizes = [6, 5, 4, 3][: hidden + 1]
    weights = [0.4 * rand.normal(f"w{i}", (b, a)) for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))]
    direct, delta = -0.3 * rand.normal("b", (6, sizes[-1])), rand.normal("d", (2, sizes[-1]))
    slopes = None if kind == "tanh" else [rand.uniform(f"s{i}", (2, n), 0.5, 1) for i, n in enumerate(sizes[:-1])]
    results = []
    for limit in (0, 10**9):
        monkeypatch.setattr(loops, "LIMIT", limit)
        results.append(run_chain(weights, direct, 0.1, delta, 0.5, 200, slopes))
    assert len(results[0]) == hidden
    for a, b in zip(*results, strict=True):
        close(b, a, 1e-11)


@shapes
def test_the_dynamics_ends_at_its_fixed_point(n_up, n_low):
    weight, b, delta = pair(n_up, n_low)
    linear = run_linear(weight, b, 0.3, delta, 0.5, 5000)
    close(linear, invert(weight, b, 0.3, delta), 1e-11)
    r = run_loop(weight, b, 0.3, delta, 0.5, 5000, "tanh")
    u = (torch.tanh(r) @ weight.mT - delta) / 0.3
    close(u @ b.mT, r, 1e-11)


def test_the_single_loop_ends_at_its_fixed_point():
    rand = credit.Rand([1, 2], dtype=torch.float64)
    w1, w2 = 0.4 * rand.normal("w1", (5, 6)), 0.4 * rand.normal("w2", (3, 5))
    direct, delta = -(w2 @ w1).mT, rand.normal("d", (4, 3))
    ones = [torch.ones(2, 4, n, dtype=torch.float64) for n in (6, 5)]
    first, second = run_chain([w1, w2], direct, 0.3, delta, 0.5, 5000, ones)
    u = torch.linalg.solve(w2 @ w1 @ direct - 0.3 * eye(3), delta.mT)
    close(first, (direct @ u).mT, 1e-11)
    close(second, first @ w1.mT, 1e-11)
    first, second = run_chain([w1, w2], direct, 0.3, delta, 0.5, 5000, None)
    u = (torch.tanh(second) @ w2.mT - delta) / 0.3
    close(first, u @ direct.mT, 1e-11)
    close(second, torch.tanh(first) @ w1.mT, 1e-11)


def test_a_small_leak_leaves_the_dynamics_unsettled_when_it_is_read():
    rand = credit.Rand([0], dtype=torch.float64)
    weight = rand.uniform("w", (10, 20), -0.01, 0.01)
    delta = rand.normal("d", (1, 10))
    fixed = invert(weight, -weight.mT, 0.001, delta)
    distance = (run_linear(weight, -weight.mT, 0.001, delta, 0.5, 999) - fixed).norm() / fixed.norm()
    assert 0.3 < distance < 0.6


@pytest.mark.parametrize("name", FAMILY)
def test_single_precision_agrees_to_its_rounding(name):
    results = []
    for dtype in (torch.float64, torch.float32):
        net, rule, rand, params, state = prepared(name, dtype=dtype)
        batch = small_batch(net, [3, 8])
        step = rule.gradients(net, params, state, credit.Batch(batch.x.to(dtype), batch.y), rand)
        results.append(step.gradients["0"]["weight"])
    assert results[1].dtype == torch.float32
    close(results[1].double(), results[0], 2e-4)


@pytest.mark.parametrize("name", ["ndi", "di", "sdi"])
def test_members_may_differ_in_their_leak(name):
    net, rule, rand, params, state = prepared(name, leak=[0.05, 0.5])
    batch = small_batch(net, [3, 8])
    both = rule.gradients(net, params, state, batch, rand).gradients["0"]["weight"]
    for m, leak in enumerate((0.05, 0.5)):
        alone = credit.method(name, leak=leak).gradients(net, params, state, batch, rand).gradients["0"]["weight"]
        close(both[m], alone[m])


@pytest.mark.parametrize(("name", "hyper"), [("di", {"dynamics": "tanh"}), ("sdi", {}), ("pbp", {"clip": 0.1})])
def test_a_sample_is_treated_alike_in_any_mini_batch(name, hyper):
    net, rule, rand, params, state = prepared(name, **hyper)
    batch = small_batch(net, [3, 8])
    together = rule.gradients(net, params, state, batch, rand).gradients["0"]["weight"]
    single = [
        rule.gradients(net, params, state, credit.Batch(batch.x[:, b, None], batch.y[:, b, None]), rand)
        for b in range(9)
    ]
    close(together, torch.stack([s.gradients["0"]["weight"] for s in single]).mean(0), 1e-11)


# ---- stability


def system(weight, b, leak):
    """[[-I, B], [W, -leak I]]."""
    (members, n_up, n_low), n = weight.shape, sum(weight.shape[1:])
    matrix = torch.zeros(members, n, n, dtype=torch.float64)
    matrix[:, :n_low, :n_low], matrix[:, n_low:, n_low:] = -eye(n_low), -leak * eye(n_up)
    matrix[:, :n_low, n_low:], matrix[:, n_low:, :n_low] = b, weight
    return matrix


@shapes
@leaks
@pytest.mark.parametrize("seed", range(5))
def test_lambda_max_is_that_of_the_whole_system(n_up, n_low, leak, seed):
    weight, _, _ = pair(n_up, n_low, seed=seed)
    b = 0.5 * credit.Rand([seed, 1, 2], dtype=torch.float64).normal("other", (n_low, n_up))
    matrix = system(weight, b, leak)
    dense = torch.linalg.eigvals(matrix).real.amax(-1)
    close(lambda_max(weight, b, leak), dense, 1e-11)
    assert not (surely_stable(weight, b, leak) & (dense > 1e-12)).any()
    controller, lower = torch.zeros_like(matrix), torch.zeros_like(matrix)
    controller[:, n_low:], lower[:, :n_low] = matrix[:, n_low:], matrix[:, :n_low]
    step = (eye(n_up + n_low) + 0.5 * lower) @ (eye(n_up + n_low) + 0.5 * controller)
    close(step_radius([weight], b, leak, 0.5), torch.linalg.eigvals(step).abs().amax(-1), 1e-11)


@leaks
def test_stability_of_the_single_loop_is_that_of_the_whole_system(leak):
    rand = credit.Rand([1, 2, 3], dtype=torch.float64)
    w1, w2, b = rand.normal("w1", (5, 6)), rand.normal("w2", (3, 5)), 0.2 * rand.normal("b", (6, 3))
    matrix = -eye(14).repeat(3, 1, 1)
    matrix[:, 11:, 11:] *= leak
    matrix[:, :6, 11:], matrix[:, 6:11, :6], matrix[:, 11:, 6:11] = b, w1, w2
    close(chain_lambda_max([w1, w2], b, leak), torch.linalg.eigvals(matrix).real.amax(-1), 1e-10)
    step = eye(14)
    for rows in (slice(0, 6), slice(6, 11), slice(11, 14)):
        change = torch.zeros_like(matrix)
        change[:, rows] = 0.5 * matrix[:, rows]
        step = (eye(14) + change) @ step
    close(step_radius([w1, w2], b, leak, 0.5), torch.linalg.eigvals(step).abs().amax(-1), 1e-10)


@pytest.mark.parametrize("dt", [0.1, 0.5])
@pytest.mark.parametrize("leak", [0.0, 0.01, 0.3])
def test_euler_steps_are_stable_between_two_bounds_of_the_mode(dt, leak):
    low, high = -(4 / dt**2 - 2 * (1 + leak) / dt + leak), leak
    for mu, stable in ((low + 0.05, True), (low - 0.05, False), (high - 0.007, True), (high + 0.007, False)):
        weight, b = torch.ones(1, 1, dtype=torch.float64), torch.full((1, 1), mu, dtype=torch.float64)
        assert (step_radius([weight], b, leak, dt) < 1) == stable
        states = [run_loop(weight, b, leak, eye(1), dt, n, "linear").abs().item() for n in (40000, 80000)]
        assert (abs(states[1] - states[0]) < 1e-3 * states[0]) == stable or not np.isfinite(states).all()


@pytest.mark.parametrize(("n_up", "n_low"), [(6, 9), (9, 6), (6, 6)])
def test_descent_makes_random_feedback_stable(n_up, n_low):
    rand = credit.Rand([0, 1], dtype=torch.float64)
    weight, b = rand.uniform("w", (n_up, n_low), -0.5, 0.5), rand.uniform("b", (n_low, n_up), -0.5, 0.5)
    before = lambda_max(weight, b, 0.05)
    kept = b.clone()
    after, reached = stabilize(weight, b, 0.05, Descent(steps=500))
    assert torch.equal(b, kept)
    assert (before > 0).all()
    assert (reached < 0).all()
    close(lambda_max(weight, after, 0.05), reached, 1e-9)


def test_unstable_feedback_is_made_stable_after_an_update_and_stable_feedback_is_left():
    net, rule, rand, params, state = prepared("di", ssa_steps=2000)
    state["feedback"]["1"][0] = params["1"]["weight"][0].mT
    stable = state["feedback"]["1"][1].clone()
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 1e-6})
    params, _, state, info = rule.update(net, params, opt, state, small_batch(net, [3, 8]), rand)
    assert info["sums"]["restabilized"].tolist() == [1, 0]
    assert (lambda_max(params["1"]["weight"], state["feedback"]["1"], 0.01) < 0).all()
    assert torch.equal(state["feedback"]["1"][1], stable)


def test_feedback_that_the_leak_alone_makes_stable_is_left():
    """Judged at the rule's own leak, one for each member, also where the quick condition leaves it open."""
    weight, _, _ = pair(5, 7, members=2)
    feedback = 0.3 * credit.Rand([1, 2], dtype=torch.float64).normal("b", (7, 5))
    top = torch.linalg.eigvals(weight @ feedback).real.amax(-1)
    assert (top > 0.05).all(), "unstable without leak"
    leak = [float(2 * t) for t in top]
    while not (lambda_max(weight, feedback, leak) < 0).all():
        leak = [1.2 * a for a in leak]
    assert not surely_stable(weight, feedback, leak).all()
    net, rule, rand, params, state = prepared("di", net=credit.dense([3, 7, 5], "tanh"), leak=leak, euler_steps=3)
    params["1"]["weight"], state["feedback"]["1"] = weight.clone(), feedback.clone()
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.0})
    info = rule.update(net, params, opt, state, small_batch(net, [3, 8]), rand)[3]
    assert info["sums"]["restabilized"].tolist() == [0, 0]
    assert torch.equal(state["feedback"]["1"], feedback)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_alone_makes_no_layer_unstable(dtype):
    net, rule, rand, params, state = prepared("di", leak=0.0, dtype=dtype)
    params["1"]["weight"][:, 0] = params["1"]["weight"][:, 1]
    state["feedback"]["1"] = -params["1"]["weight"].mT.clone()
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.0})
    batch = small_batch(net, [3, 8])
    info = rule.update(net, params, opt, state, credit.Batch(batch.x.to(dtype), batch.y), rand)[3]
    assert info["sums"]["restabilized"].tolist() == [0, 0]


# ---- options


def test_the_family_has_backpropagation_and_feedback_alignment():
    net, rule, rand, params, _ = prepared("di_bp")
    batch = small_batch(net, [3, 8])
    state = credit.method("fa").init(net, params, rand)
    transposed = {"feedback": {i: b.mT for i, b in state["feedback"].items()}}
    pairs = [
        (rule.gradients(net, params, {}, batch, rand), credit.method("bp").gradients(net, params, {}, batch, rand)),
        (
            credit.method("di_fa").gradients(net, params, transposed, batch, rand),
            credit.method("fa").gradients(net, params, state, batch, rand),
        ),
    ]
    for ours, theirs in pairs:
        for i, block in theirs.gradients.items():
            close(ours.gradients[i]["weight"], block["weight"])
            close(ours.gradients[i]["bias"], block["bias"])


def test_feedback_starts_as_its_name_says():
    params = prepared("ndi")[3]
    w = params["1"]["weight"]
    expected = {
        "transpose": w.mT, "neg_transpose": -w.mT, "pseudoinverse": torch.linalg.pinv(w),
        "neg_pseudoinverse": -torch.linalg.pinv(w), "sign": w.mT.sign(), "neg_sign": -w.mT.sign(),
    }  # fmt: skip
    for name, b in expected.items():
        assert torch.equal(prepared("ndi", feedback=name)[-1]["feedback"]["1"], b)
    assert torch.equal(prepared("ndi", feedback_scale=50.0)[-1]["feedback"]["1"], -50 * w.mT)
    drawn = prepared("di_fa")[-1]["feedback"]["1"]
    assert 0.45 < drawn.abs().max() <= 0.5
    assert prepared("di_fa", feedback={"name": "random", "scale": 0.01})[-1]["feedback"]["1"].abs().max() <= 0.01
    assert prepared("ndi", feedback="xavier_normal")[-1]["feedback"]["1"].shape == (2, 7, 5)


def test_optimized_feedback_is_stable_and_the_single_loop_multiplies_it():
    *_, params, state = prepared("sdi", feedback={"name": "optimized", "leak": [0.01, 0.1]}, ssa_steps=3000)
    first, second = state["feedback"]["1"], state["feedback"]["2"]
    assert (lambda_max(params["1"]["weight"], first, 0.01) < 0).all()
    assert (lambda_max(params["2"]["weight"], second, 0.1) < 0).all()
    close(state["direct"], -first @ second)
    plain = prepared("sdi")[-1]
    close(plain["direct"], -(params["2"]["weight"] @ params["1"]["weight"]).mT)


@pytest.mark.parametrize("hidden", [[5], [6, 5], [6, 5, 4]])
def test_optimized_direct_feedback_has_the_sign_of_a_transpose_at_every_depth(hidden):
    net = credit.dense([7, *hidden, 3], hidden="tanh", loss="mse")
    state = prepared("sdi", net=net, feedback={"name": "optimized", "leak": [0.01, 0.02, 0.1][: len(hidden)]})[-1]
    transposes = [-b for b in state["feedback"].values()]  # of every layer, negative where the layer is inverted
    close(state["direct"], -functools.reduce(torch.matmul, transposes))


def test_hidden_deltas_are_clipped_sample_by_sample_and_the_output_is_not():
    net, rule, rand, params, state = prepared("pbp")
    batch = small_batch(net, [3, 8])
    free = rule.gradients(net, params, state, batch, rand).info["deltas"]
    clipped = dataclasses.replace(rule, clip=0.5).gradients(net, params, state, batch, rand).info["deltas"]
    for a, b in zip(free[:-1], clipped[:-1], strict=True):
        norm = 9 * a.norm(dim=-1, keepdim=True)
        assert ((norm > 0.5).any() and (norm < 0.5).any()) or (norm > 0.5).any()
        close(b, a * (0.5 / norm).clamp(max=1))
    assert torch.equal(free[-1], clipped[-1])


def test_normalized_gradients_have_norm_one_member_by_member():
    net, rule, rand, params, state = prepared("di_bp", normalize=True)
    for block in rule.gradients(net, params, state, small_batch(net, [3, 8]), rand).gradients.values():
        for g in block.values():
            close(g.flatten(1).norm(dim=1), torch.ones(2, dtype=torch.float64))


def test_the_first_update_can_be_skipped():
    net, rule, rand, params, state = prepared("ndi", skip_first=True)
    batch, start = small_batch(net, [3, 8]), copy.deepcopy(params)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1, "decay_unscaled": 0.1})
    params, opt, state, info = rule.update(net, params, opt, state, batch, rand)
    assert torch.equal(params["0"]["weight"], start["0"]["weight"])
    assert "gradients" in info
    params, opt, state, info = rule.update(net, params, opt, state, batch, rand)
    assert not torch.equal(params["0"]["weight"], start["0"]["weight"])
    assert int(state["updates"]) == 2


@pytest.mark.parametrize(("name", "power"), [("di_bp", 2), ("di", 1)])
def test_the_extra_slope_multiplies_once_more(name, power):
    net, rule, rand, params, state = prepared(name, net=credit.dense([6, 7, 4], "tanh"), extra_slope=True)
    batch = small_batch(net, [3, 8])
    info = rule.gradients(net, params, state, batch, rand).info
    slope = 1 - info["trace"].blocks[0].act ** 2
    plain = rule.below(params["1"]["weight"], state.get("feedback", {}).get("1"), 9 * info["deltas"][1])
    close(info["deltas"][0], plain * slope**power / 9, 1e-11)


@pytest.mark.parametrize("name", ["ndi", "di", "sdi"])
def test_probes_measure_every_hidden_layer(name):
    net, rule, rand, params, state = prepared(name)
    batch = small_batch(net, [3, 8])
    info = rule.gradients(net, params, state, batch, rand).info
    moment = Moment(net, rule, params, state, batch, info, params, state, rand)
    rows = {(metric, layer): value for metric, layer, value in InversionAngles().measure(moment)}
    assert {metric for metric, _ in rows} == {"angle_feedback", "angle_ndi", "angle_pbp"}
    assert {layer for _, layer in rows} == {"1", "2"}
    assert all(value.shape == (2,) for value in rows.values())
    assert rows["angle_feedback", "1"].max() < 1e-5
    if name == "ndi":
        assert rows["angle_ndi", "1"].max() < 1e-5
    stability = FeedbackStability().measure(moment)
    assert [layer for _, layer, _ in stability] == (["1", "2", ""] if name == "sdi" else ["1", "2"])
    at_evaluation = dataclasses.replace(moment, batch=None, info={})
    assert {metric for metric, _, _ in InversionAngles().measure(at_evaluation)} == {"angle_feedback"}


def test_stability_is_that_of_the_feedback_that_an_update_leaves():
    """Re-stabilised feedback is measured, not that from before: an unstable one never shows."""
    net, rule, rand, params, state = prepared("di", euler_steps=3)
    for b in state["feedback"].values():
        b.neg_()  # positive feedback
    first = params["1"]["weight"].clone()
    before = {i: b.clone() for i, b in state["feedback"].items()}
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 1e-6})
    batch = small_batch(net, [3, 8])
    after, _, state_after, info = rule.update(net, params, opt, state, batch, rand)
    moment = Moment(net, rule, params, {"feedback": before}, batch, info, after, state_after, rand)
    assert (lambda_max(first, before["1"], rule.leak) > 0).all()
    rows = {layer: value for _, layer, value in FeedbackStability().measure(moment)}
    assert set(rows) == {"1", "2"}
    for i, value in rows.items():
        close(value, lambda_max(after[i]["weight"], state_after["feedback"][i], rule.leak), 1e-14)
        assert (value <= 1e-12).all()


def test_probes_have_nothing_to_say_of_other_rules():
    net, rule, rand, params, state = prepared("di_bp")
    moment = Moment(net, rule, params, state, None, {}, params, state, rand)
    assert InversionAngles().measure(moment) == FeedbackStability().measure(moment) == []


# ---- bad input


@pytest.mark.parametrize("name", ["ndi", "di", "sdi"])
def test_a_negative_leak_is_refused(name):
    with pytest.raises(ConfigError, match=r"leak = -0.1; must be a finite number >= 0"):
        credit.method(name, leak=-0.1)


@pytest.mark.parametrize("name", ["di_fa", "ndi", "di"])
def test_feedback_of_a_wrong_shape_is_named(name):
    net, rule, rand, params, state = prepared(name)
    state["feedback"]["1"] = state["feedback"]["1"].mT
    with pytest.raises(ValueError, match=r"feedback of block 1 has shape \(2, 5, 7\); .* needs \(2, 7, 5\)"):
        rule.gradients(net, params, state, small_batch(net, [3, 8]), rand)
    del state["feedback"]["1"]
    with pytest.raises(ValueError, match="feedback of block 1 is missing"):
        rule.gradients(net, params, state, small_batch(net, [3, 8]), rand)


def test_direct_feedback_of_a_wrong_shape_is_named():
    net, rule, rand, params, state = prepared("sdi")
    state["direct"] = state["direct"].mT
    with pytest.raises(ValueError, match=r"direct feedback has shape \(2, 4, 7\); this net needs \(2, 7, 4\)"):
        rule.gradients(net, params, state, small_batch(net, [3, 8]), rand)


@pytest.mark.parametrize(("name", "hyper"), [("di", {}), ("di", {"restabilize": False}), ("sdi", {})])
def test_steps_too_long_for_the_weights_are_named_before_training(name, hyper):
    with pytest.raises(ConfigError, match=r"grows by a factor .* it needs a dt below 1.9"):
        prepared(name, dt=1.9, **hyper)


def test_dynamics_that_overflows_is_not_finite_rather_than_wrong():
    net, rule, rand, params, state = prepared("di")
    params["1"]["weight"][0] *= 100
    gradients = rule.gradients(net, params, state, small_batch(net, [3, 8]), rand).gradients
    assert not gradients["0"]["weight"][0].isfinite().any()
    assert gradients["0"]["weight"][1].isfinite().all()


@pytest.mark.parametrize(
    ("feedback", "message"),
    [
        ("negtranspose", "feedback = 'negtranspose' .did you mean 'neg_transpose'.*; must be one of"),
        ({"name": "random", "width": 1.0}, "feedback.width = 1.0; scheme 'random' has the options: scale"),
        ({"name": "random", "scale": "big"}, "feedback.scale = 'big'; must be a finite number >= 0"),
        ({"name": "optimized", "leak": [0.1]}, "must hold one number for each block but the first"),
    ],
)
def test_wrong_feedback_is_named(feedback, message):
    with pytest.raises(ConfigError, match=message):
        prepared("ndi", feedback=feedback)


@pytest.mark.parametrize("rule", ["di_fa", "ndi", "di", "sdi"])
@pytest.mark.parametrize("feedback", ["neg_transposed", {"name": "random", "width": 1}, {"name": "normal"}])
def test_wrong_feedback_is_named_with_the_configuration(rule, feedback):
    checker = PartChecker("file.yaml")
    checker.part("methods", {"name": rule, "feedback": feedback}, "methods.x.hyper")
    assert len(checker.problems) == 1
    assert checker.problems[0].startswith("file.yaml: methods.x.hyper.feedback")
    for good in ("optimized", {"name": "random", "scale": 0.1}, {"name": "normal", "std": 0.1}):
        PartChecker("file.yaml").part("methods", {"name": rule, "feedback": good}, "methods.x.hyper")


def test_an_expanding_layer_without_leak_cannot_be_optimized():
    with pytest.raises(ConfigError, match=r"block 1 stays unstable, lambda_max = .*needs a leak > 0"):
        prepared("di", net=credit.dense([6, 4, 7], "tanh"), feedback="optimized")


def test_the_single_loop_refuses_nets_that_it_has_no_meaning_for():
    with pytest.raises(ValueError, match="; needs hidden layers"):
        credit.method("sdi").check_net(credit.dense([6, 4]))
    with pytest.raises(ValueError, match="divides by the slope, which is 0 for relu"):
        credit.method("sdi", dynamics="linearized").check_net(credit.dense([6, 5, 4], "relu"))
