"""Deep Feedback Control: relations that hold without recordings, fast forms against slow ones, and bad input."""

from __future__ import annotations

import dataclasses
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import credit
from credit.errors import CheckpointError, ConfigError
from credit.methods.control import linearised as reduced
from credit.methods.control.controller import Controller, converged, simulate
from credit.methods.control.frame import Absolute, Deviation
from credit.methods.control.rule import too_long
from credit.methods.control.steady import linear_control, newton, spread_control
from credit.nets import activations
from credit.nets.activations import difference
from credit.nets.jacobian import output_jacobian
from credit.numerics.stack import combine
from credit.probes.base import Moment
from credit.probes.condition_one import ConditionOne
from credit.probes.controller_stability import ControllerStability
from credit.probes.feedback_alignment import FeedbackAlignment, condition_two, pseudoinverse_angle, transpose_angle
from credit.probes.null_space import NullSpace, null_space_ratio
from credit.probes.ssa_angle import SSAAngle
from credit.provenance.spec import put
from credit.training.learner import Learner
from credit.training.loop import Training
from tests.conftest import dfc_hyper, small_batch, small_net
from tests.unit.test_train import make_spec

SEEDS = [3, 8]
DOUBLE = torch.float64
FAMILY = ["dfc", "dfc_ss", "dfc_ssa"]
SMOOTH = ["tanh", "sigmoid", "linear"]
SETTLED = {"dt": 0.05, "time_points": 3000, "k_p": 1.0, "alpha": 0.01}


def start(name, seeds=SEEDS, sizes=(6, 7, 5, 4), hidden="tanh", loss="softmax_cross_entropy", **hyper):
    """Net, rule, parameters, state and a batch."""
    net = credit.dense(list(sizes), hidden, loss=loss)
    rand = credit.Rand(seeds, dtype=DOUBLE)
    params = net.init(rand)
    rule = credit.method(name, **dfc_hyper(**({"clip_norm": None} | hyper)))
    return net, rule, params, rule.init(net, params, rand), small_batch(net, seeds)


def gradients(name, seeds=SEEDS, batch=None, state=None, **settings):
    """Flat gradient, (M, n), or (n,) for a single net."""
    net, rule, params, own, default = start(name, seeds, **settings)
    step = rule.gradients(net, params, own if state is None else state, batch or default, None)
    return flat(step.gradients)


def flat(tree):
    lead = 1 if tree["0"]["weight"].ndim > 2 else 0
    return torch.cat([g.flatten(lead) for block in tree.values() for g in block.values()], -1)


def apart(a, b):
    """Largest relative distance of two gradients over the members."""
    return float(((a - b).norm(dim=-1) / b.norm(dim=-1)).max())


def state_at(name, **hyper):
    """What the fast forms need: frame, feedback, delta, and the rule."""
    net, rule, params, state, batch = start(name, **hyper)
    step = rule.gradients(net, params, state, batch, None)
    frame = Deviation(net, params, step.info["trace"])
    return frame, list(state["feedback"].values()), step.info["delta"], rule


def moment(name, state_changes=None, **hyper):
    net, rule, params, state, batch = start(name, **hyper)
    state |= state_changes or {}
    step = rule.gradients(net, params, state, batch, None)
    step.info["gradients"] = step.gradients
    return Moment(net, rule, params, state, batch, step.info, params, state, None)


# ---- deviations


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["tanh", "sigmoid", "relu", "relu_closed", "leakyrelu", "linear", "elu"]),
    st.floats(-20, 20),
    st.floats(-40, 40),
)
def test_a_difference_of_rates_is_that_of_the_absolute_values(name, voltage, shift):
    phi = activations.get(name)
    a, d = torch.tensor([voltage], dtype=DOUBLE), torch.tensor([shift], dtype=DOUBLE)
    expected = phi.value(a + d) - phi.value(a)
    torch.testing.assert_close(difference(phi, a, phi.value(a), d), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "leakyrelu", "linear"])
def test_a_tiny_difference_keeps_its_precision(name):
    phi = activations.get(name)
    a = torch.linspace(-1.5, 1.5, 8, dtype=DOUBLE)
    single, d = a.float(), torch.tensor(1e-9)
    exact = phi.derivative(single.double(), phi.value(single.double())) * 1e-9
    torch.testing.assert_close(
        difference(phi, single, phi.value(single), d.expand(8)).double(), exact, rtol=2e-6, atol=0.0
    )


@pytest.mark.parametrize("hidden", ["tanh", "sigmoid", "relu", "leakyrelu", "linear", "elu"])
@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("flags", [{}, {"learning_rule": "voltage_difference"}, {"learning_rule": "derivative_matrix"}])
def test_the_deviation_form_is_the_absolute_form(name, hidden, flags):
    hyper = flags | ({"time_points": 40} if name != "dfc_ssa" else {})
    ours, absolute = (gradients(name, hidden=hidden, absolute=form, **hyper) for form in (False, True))
    assert apart(ours, absolute) < 1e-11


@pytest.mark.parametrize("name", FAMILY)
def test_single_precision_is_enough_in_the_deviation_form_only(name):
    errors = {}
    for absolute in (False, True):
        net, rule, params, state, batch = start(name, target_stepsize=1e-4, absolute=absolute)
        exact = flat(rule.gradients(net, params, state, batch, None).gradients)
        single = credit.Batch(batch.x.float(), batch.y)
        params, state = ({k: {n: t.float() for n, t in b.items()} for k, b in tree.items()} for tree in (params, state))
        found = flat(rule.gradients(net, params, state, single, None).gradients)
        assert found.dtype == torch.float32
        errors[absolute] = apart(found.double(), exact)
    assert errors[False] < 2e-5
    assert errors[True] > 20 * errors[False]


# ---- steady states


@pytest.mark.parametrize("hidden", SMOOTH)
def test_dfc_ss_at_the_end_of_time_is_the_newton_solution(hidden):
    hyper = {"hidden": hidden, "target_stepsize": 0.5} | SETTLED
    simulated = gradients("dfc_ss", **hyper)
    assert apart(gradients("dfc_ss", form="newton", newton_steps=5, **hyper), simulated) < 1e-11


def test_newton_solves_the_nonlinear_equation_of_the_steady_state():
    frame, feedback, delta, rule = state_at("dfc_ssa", target_stepsize=0.5, alpha=0.01)
    for steps, size in ((0, 1e-2), (1, 1e-5), (3, 1e-15)):
        settled, singular = newton(frame, feedback, delta, rule.alpha, steps)
        miss = settled.rates[-1] - delta + rule.alpha * settled.control
        assert miss.abs().max() <= size * delta.abs().max().clamp(min=1)
        assert not singular.any()


def test_dfc_ssa_is_dfc_ss_to_first_order_in_the_target_step():
    off = []
    for step in (0.1, 0.01, 0.001):
        hyper = {"target_stepsize": step} | SETTLED
        off.append(apart(gradients("dfc_ssa", target_stepsize=step, alpha=0.01), gradients("dfc_ss", **hyper)))
    assert off[0] < 0.05
    assert off[1] < 0.2 * off[0]
    assert off[2] < 0.2 * off[1]


def test_the_paper_s_leak_settles_where_a_smaller_leak_of_the_code_does():
    hyper = SETTLED | {"alpha": 0.5, "k_p": 2.0, "dt": 0.02, "target_stepsize": 0.3}
    paper = gradients("dfc_ss", leak="integral", **hyper)
    assert apart(paper, gradients("dfc_ss", **(hyper | {"alpha": 0.25}))) < 1e-9
    assert apart(gradients("dfc_ss", leak="integral", form="newton", newton_steps=5, **hyper), paper) < 1e-9


@pytest.mark.parametrize("sizes", [(6, 5, 3, 8), (6, 8), (9, 4, 9)])
@pytest.mark.parametrize("identity", [True, False])
def test_the_small_system_of_wide_outputs_gives_the_direct_solution(sizes, identity):
    net, rule, params, state, batch = start("dfc_ssa", sizes=sizes, alpha=0.2, solver="direct", loss="mse")
    if not identity:
        last = str(len(sizes) - 2)
        state["feedback"][last] = state["feedback"][last] + 0.1 * torch.randn_like(state["feedback"][last])
    direct = rule.gradients(net, params, state, batch, None)
    auto = credit.method("dfc_ssa", alpha=0.2, clip_norm=None)
    assert apart(flat(auto.gradients(net, params, state, batch, None).gradients), flat(direct.gradients)) < 1e-11
    if len(sizes) > 2:
        woodbury = credit.method("dfc_ssa", alpha=0.2, clip_norm=None, solver="woodbury")
        assert (
            apart(flat(woodbury.gradients(net, params, state, batch, None).gradients), flat(direct.gradients)) < 1e-11
        )


# ---- relations to other rules


def one_net_a_sample(damping):
    """A stack with one sample for each member, so that Q can be J^T of the sample."""
    seeds = list(range(5))
    net, rule, params, state, _ = start(
        "dfc_ssa", seeds=seeds, alpha=damping, target_stepsize=0.3, learning_rule="voltage_difference",
        initial_activations=True,
    )  # fmt: skip
    batch = small_batch(net, seeds, batch=1)
    jacobian = output_jacobian(net, params, net.forward(params, batch.x))
    state["feedback"] = {str(i): j.squeeze(1).mT.contiguous() for i, j in enumerate(jacobian)}
    return net, rule, params, state, batch


@pytest.mark.parametrize("damping", [0.1, 2.0])
def test_with_the_transposed_jacobian_as_feedback_dfc_ssa_is_the_minimum_norm_update(damping):
    net, rule, params, state, batch = one_net_a_sample(damping)
    ours = flat(rule.gradients(net, params, state, batch, None).gradients)
    linear = credit.method("mn", damping=damping, nonlinear=False).gradients(net, params, {}, batch, None)
    assert apart(ours, 2 * 0.3 * flat(linear.gradients)) < 1e-11
    trains = credit.method("mn", damping=damping, nonlinear=False, target_stepsize=0.3)
    assert apart(flat(trains.gradients(net, params, {}, batch, None).gradients), ours) < 1e-11


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_gauss_newton_in_closed_form_is_that_of_explicit_jacobians_of_the_parameters(damping):
    net = credit.dense([4, 5, 3], "tanh", bias=[True, False])
    params, batch = net.init(2, dtype=DOUBLE), small_batch(net, 5, batch=6)
    ours = flat(credit.method("gn", damping=damping).gradients(net, params, {}, batch, None).gradients)
    error = net.loss.gradient(net.predict(params, batch.x), batch.y)
    total = torch.zeros_like(ours)
    for x, g in zip(batch.x, error, strict=True):
        jacobian = flat_jacobian(net, params, x)
        gram = jacobian @ jacobian.mT + damping * torch.eye(3, dtype=DOUBLE)
        total += jacobian.mT @ torch.linalg.solve(gram, g) / 6
    assert apart(ours, total) < 1e-11


def flat_jacobian(net, params, x):
    result = torch.func.jacrev(lambda p: net.predict(p, x.unsqueeze(0)).squeeze(0))(params)
    return torch.cat([t.flatten(1) for block in result.values() for t in block.values()], 1)


@pytest.mark.parametrize("name", ["mn", "gn"])
def test_the_reference_rules_train_at_the_scale_of_dfc(name):
    net, rule, params, _, batch = start(name, damping=0.1, clip_norm=1e-3, target_stepsize=0.5)
    step = rule.gradients(net, params, {}, batch, None)
    for block in step.gradients.values():
        for g in block.values():
            assert (torch.linalg.vector_norm(g.flatten(1), dim=-1) <= 1e-3).all()


# ---- the dynamics


@pytest.mark.parametrize("proactive", [False, True])
@pytest.mark.parametrize("k_p", [0.0, 1.5])
def test_the_voltages_sum_up_to_the_control_that_was_applied(proactive, k_p):
    frame, feedback, delta, _ = state_at("dfc_ssa", target_stepsize=2.0)
    controller = Controller(0.01, k_p, 0.02, 60, 0.1, proactive=proactive)
    run = list(simulate(frame, feedback, delta, controller))
    controls = [s.control for s in run]
    applied = sum(controls[1:] if proactive else controls[:-1])
    lag = 1 / (0.02 / 0.1) - 1
    for i, q in enumerate(feedback):
        shifts = sum(s.somatic[i] - s.basal[i] for s in run)
        torch.testing.assert_close(shifts, applied @ q.mT - lag * run[-1].somatic[i], rtol=1e-11, atol=1e-13)


def test_the_efficient_controller_averages_over_one_point_less():
    hyper = {"time_points": 30}
    ours, efficient = (gradients("dfc", efficient=e, **hyper) for e in (False, True))
    assert apart(efficient, ours * 30 / 29) < 1e-12
    steps = (start("dfc", efficient=e, **hyper) for e in (False, True))
    ours, efficient = (r.gradients(net, p, s, b, None).info["teaching"] for net, r, p, s, b in steps)
    for a, b in zip(ours, efficient, strict=True):  # what teaches is the same, and zero at the point that is left out
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


def test_a_system_without_delay_is_one_whose_time_constant_is_the_step():
    for name in ("dfc", "dfc_ss"):
        hyper = {"dt": 0.01, "time_points": 30, "k_p": 0.2}
        instant = gradients(name, instant_system=True, instant_transmission=False, **hyper)
        assert apart(instant, gradients(name, tau=1e-5, **hyper)) < 1e-12


def test_residual_and_error_say_which_samples_have_converged_and_which_diverged():
    """Residual e - alpha u relative to the output: below 1e-5, or above 1; the error below epsilon^2 of its start."""
    output = torch.tensor([[3.0, 4.0]] * 4, dtype=DOUBLE)
    nothing, start_error = torch.zeros(4, 2, dtype=DOUBLE), torch.ones(4, 2, dtype=DOUBLE)
    error = torch.tensor([[4.9e-5, 0], [5.1e-5, 0], [0, 4.9], [0, 5.1]], dtype=DOUBLE)
    good, bad = converged(error, nothing, output, start_error, 0.1, 0.5)
    assert good.tolist() == [True, False, False, False]
    assert bad.tolist() == [False, False, False, True]
    error = torch.tensor([0.24, 0.26, -0.24, 24.0], dtype=DOUBLE)[:, None] * start_error
    steady = error / 0.1  # e = alpha u: no residual
    good, bad = converged(error, steady, output, start_error, 0.1, 0.5)
    assert good.tolist() == [True, False, True, False]
    assert not bad.any()
    assert not converged(error, steady, output, start_error, 0.2, 0.5)[0].any()  # another leak, another residual


@pytest.mark.parametrize("name", ["dfc", "dfc_ss"])
def test_only_converged_samples_teach_unless_all_shall(name):
    hyper = {"time_points": 30, "include_non_converged": False}
    assert not gradients(name, **hyper).any()
    hyper = SETTLED | {"include_non_converged": False}
    assert apart(gradients(name, **hyper), gradients(name, **SETTLED)) < 1e-12


def test_noise_in_the_forward_phase_can_be_given():
    net, rule, params, state, batch = start("dfc", noise=0.1, time_points=20, tau_apical=0.1)
    one, same = (flat(rule.gradients(net, params, state, batch, credit.Rand(SEEDS)).gradients) for _ in range(2))
    assert torch.equal(one, same)
    noise = {f"apical_noise.{i}": torch.zeros(2, 19, 9, n, dtype=DOUBLE) for i, n in enumerate((7, 5, 4))}
    silent = flat(rule.gradients(net, params, state, batch, credit.Rand(SEEDS, replay=noise)).gradients)
    assert apart(silent, gradients("dfc", time_points=20, tau_apical=0.1)) < 1e-14
    assert apart(one, silent) > 1e-3


# ---- linear forms


def test_the_linearised_form_differs_by_the_order_of_the_output_error():
    off = []
    for step in (0.5, 0.05, 0.005):
        hyper = {"target_stepsize": step, "time_points": 100}
        off.append(apart(gradients("dfc", form="linearised", **hyper), gradients("dfc", **hyper)))
    assert off[0] < 0.1
    assert off[1] < 0.2 * off[0]
    assert off[2] < 0.2 * off[1]


@pytest.mark.parametrize("proactive", [False, True])
@pytest.mark.parametrize("rule", ["nonlinear_difference", "voltage_difference"])
def test_the_linearised_form_is_exact_in_a_linear_net(proactive, rule):
    hyper = {"hidden": "linear", "proactive": proactive, "learning_rule": rule, "time_points": 70}
    ours, exact = start("dfc", form="linearised", **hyper), start("dfc", **hyper)
    ours, exact = (r.gradients(net, p, s, b, None) for net, r, p, s, b in (ours, exact))
    for a, b in zip(ours.info["teaching"], exact.info["teaching"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)
    for a, b in zip(ours.info["settled"].voltages(), exact.info["settled"].voltages(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("dfc", "linearised"),
        ("dfc_ss", "linearised"),
        ("dfc_ss", "newton"),
        ("dfc", "simulation"),
        ("dfc_ss", "simulation"),
    ],
)
def test_fast_forms_compare_themselves_with_the_simulation_once_an_epoch(name, form):
    net, rule, params, state, batch = start(name, form=form, **SETTLED)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    learner = Learner(net, params, rule, opt, state, credit.Rand(SEEDS))
    for epoch in range(2):
        learner.start_epoch("train", epoch)
        learner.start_pass("update")
        for _ in range(3):
            learner.update(batch)
        found = learner.means.get("simulation_difference", [])
        assert len(found) == (form != "simulation")
        assert all((difference < 0.05).all() for difference in found)
        assert ("spectral_radius" in learner.means) == (form != "newton")


@pytest.mark.parametrize(
    "change", [{"instant_transmission": False}, {"tau_apical": 0.1}, {"noise": 0.1}, {"absolute": True}]
)
def test_the_linear_forms_refuse_dynamics_that_they_do_not_describe(change):
    with pytest.raises(ConfigError, match=r"dfc.form = 'linearised'; needs noise 0.* instant_transmission"):
        credit.method("dfc", form="linearised", **dfc_hyper(**change))


# ---- stability


def test_the_spectral_radius_tells_whether_the_simulation_blows_up():
    frame, feedback, delta, _ = state_at("dfc_ssa", hidden="linear")
    gains = reduced.layer_gains(frame, feedback)
    fates = set()
    for dt in (0.01, 0.1, 0.3, 1.0):
        for proactive in (False, True):
            for instant in (False, True):
                controller = Controller(0.1, 1.5, dt, 3000, 0.2, None, instant, False, proactive)
                radius = reduced.spectral_radius(gains, controller)
                *_, last = simulate(frame, feedback, delta, controller)
                grown = ~(last.control.abs().amax(-1) < 1e6)
                assert torch.equal(grown, radius > 1)
                fates.add(bool(grown.any()))
    assert fates == {True, False}


def test_many_unknowns_grow_by_the_spectral_radius(monkeypatch):
    frame, feedback, _, _ = state_at("dfc_ssa")
    gains, unstable = reduced.layer_gains(frame, feedback), set()
    for dt in (0.02, 0.3, 1.0):
        controller = Controller(0.1, 5.0, dt, 100, 0.2)
        exact = reduced.spectral_radius(gains, controller)
        with monkeypatch.context() as patch:
            patch.setattr(reduced, "LARGE", 0)
            estimate = reduced.spectral_radius(gains, controller)
        torch.testing.assert_close(estimate, exact, rtol=0, atol=reduced.SLACK)
        assert torch.equal(estimate > 1, exact > 1)
        unstable.add(bool((exact > 1).any()))
    assert unstable == {True, False}


@pytest.mark.parametrize("name", ["dfc", "dfc_ss"])
def test_a_time_step_that_is_too_long_is_named_before_anything_is_learned(name):
    net, rule, params, state, batch = start(name, dt=1.0, k_p=5.0, tau=1.0)
    learner = Learner(net, params, rule, None, state, credit.Rand(SEEDS))
    learner.start_epoch("train", 1)
    assert (rule.inspect(net, params, state, batch, learner.rand, "update", epoch=1)["spectral_radius"] > 1).all()
    learner.start_epoch("train", 0)
    with pytest.raises(ConfigError, match=rf"{name}.controller.dt = 1.0 .* spectral radius .* shorter time step"):
        learner.update(batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dt", [1e-4, 1e-3, 0.02])
def test_feedback_of_the_wrong_sign_is_no_fault_of_the_time_step(dt, dtype):
    net, rule, params, state, batch = start("dfc", dt=dt, k_p=1.5, tau=0.2, alpha=0.0)
    params, state = ({k: {n: t.to(dtype) for n, t in d.items()} for k, d in tree.items()} for tree in (params, state))
    state["feedback"] = {k: -q for k, q in state["feedback"].items()}
    batch = credit.Batch(batch.x.to(dtype), batch.y)
    found = rule.inspect(net, params, state, batch, credit.Rand(SEEDS, dtype=dtype), "update", epoch=0)
    assert (found["spectral_radius"] > 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_time_step_is_too_long_where_most_samples_grow_by_it_alone(dtype):
    controller, fine = (Controller(0.0, 1.5, dt, 100, 0.2) for dt in (0.3, 3e-4))
    stable, wrong = torch.eye(3, dtype=dtype), torch.diag(torch.tensor([1.0, 1.0, -1e-2], dtype=dtype))
    samples = torch.stack([stable, stable, wrong, stable])[None]
    assert ((reduced.spectral_radius([samples.double()], fine) > 1 + 1e-6).tolist()) == [[False, False, True, False]]
    assert (reduced.spectral_radius([samples], controller) > 1.1).all()
    assert too_long([samples], controller).tolist() == [True]
    members = torch.cat([samples, -samples, samples])
    steps = dataclasses.replace(controller, dt=[0.3, 0.3, 1e-3])
    assert too_long([members], steps).tolist() == [True, False, False]
    nothing = torch.full_like(samples, torch.nan)
    assert too_long([nothing], controller).tolist() == [False]


def test_a_member_that_is_unstable_by_its_step_is_named_where_no_other_is_stable():
    net, rule, params, state, batch = start("dfc", dt=[0.005, 2.0], k_p=5.0, tau=1.0)
    state["feedback"] = {k: torch.stack([-q[0], q[1]]) for k, q in state["feedback"].items()}
    with pytest.raises(ConfigError, match=r"dfc.controller.dt = 2.0 with tau = 1.0, k_p = 5.0: .* shorter time step"):
        rule.inspect(net, params, state, batch, credit.Rand(SEEDS), "update", epoch=0)


def test_one_unstable_member_does_not_stop_the_others():
    net, rule, params, state, batch = start("dfc_ss", dt=[0.01, 1.0], k_p=5.0, tau=1.0, time_points=400)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    found = rule.inspect(net, params, state, batch, credit.Rand(SEEDS), "update", epoch=0)
    assert (found["spectral_radius"] > 1).tolist() == [False, True]
    _, _, _, info = rule.update(net, params, opt, state, batch, credit.Rand(SEEDS))
    alone = gradients("dfc_ss", seeds=SEEDS[:1], dt=0.01, k_p=5.0, tau=1.0, time_points=400)
    torch.testing.assert_close(flat(info["gradients"])[:1], alone, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("function", ["pretrain", "feedback_pass", "feedback_extra"])
@pytest.mark.parametrize("name", ["dfc", "dfc_ss", "dfc_ssa"])
def test_feedback_learning_says_which_optimiser_it_needs(name, function):
    rule, net = credit.method(name), small_net("dense")
    params = net.init(3)
    state = rule.init(net, params, 3)
    opt = credit.optimizer("sgd", lr=0.1).init(params)
    fixed = credit.method(name, train_feedback=False).optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    for one in (opt, fixed):
        with pytest.raises(ConfigError, match=rf"^{name}: the optimiser has none for .*; make it by rule.optimizer"):
            getattr(rule, function)(net, params, one, state, small_batch(net, 3), 3)


@pytest.mark.parametrize("name", FAMILY)
def test_an_update_needs_no_optimiser_but_that_of_the_forward_weights(name):
    net, rule, params, state, batch = start(name)
    expected = {i: {n: p.clone() for n, p in block.items()} for i, block in params.items()}
    step = rule.gradients(net, params, state, batch, credit.Rand(SEEDS, dtype=DOUBLE))
    opt = credit.optimizer("sgd", lr=0.1).init(params)
    _, _, _, info = rule.update(net, params, opt, state, batch, credit.Rand(SEEDS, dtype=DOUBLE))
    assert "means" not in info
    for i, block in params.items():
        for n, p in block.items():
            torch.testing.assert_close(p, expected[i][n] - 0.1 * step.gradients[i][n], rtol=1e-12, atol=1e-15)


# ---- stacks


@pytest.mark.parametrize("name", FAMILY)
def test_hyperparameters_may_differ_between_members(name):
    varied = {"alpha": (0.01, 0.5), "target_stepsize": (0.1, 0.4), "clip_norm": (1e-3, 10.0)}
    if name != "dfc_ssa":
        varied |= {"k_p": (0.0, 1.0), "dt": (0.02, 0.01), "tau": (0.2, 0.05), "tau_apical": (0.1, 0.3)}
        varied |= {"epsilon": (0.5, 0.1)}
    extra = {} if name == "dfc_ssa" else {"time_points": 40}
    together = gradients(name, **varied, **extra)
    for m, seed in enumerate(SEEDS):
        alone = gradients(name, seeds=[seed], **{k: v[m] for k, v in varied.items()}, **extra)
        torch.testing.assert_close(together[m : m + 1], alone, rtol=1e-11, atol=1e-17)


@pytest.mark.parametrize("rule", ["controller", "forward", "steady"])
def test_feedback_hyperparameters_may_differ_between_members(rule):
    varied = {
        "feedback_sigma": (0.02, 0.005), "feedback_alpha": (0.1, 0.5), "feedback_k_p": (0.0, 0.3),
        "feedback_dt": (0.002, 0.001), "feedback_lr": (0.1, 0.2), "feedback_decay": (0.1, 0.0), "alpha": (0.1, 0.2),
    }  # fmt: skip
    after = {}
    for seeds in (SEEDS, SEEDS[:1], SEEDS[1:]):
        picks = {k: v if len(seeds) == 2 else v[SEEDS.index(seeds[0])] for k, v in varied.items()}
        net, method, params, state, batch = start(
            "dfc_ssa", seeds=seeds, feedback_rule=rule, feedback="xavier_normal", feedback_homeostatic=True, **picks
        )
        opt = method.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
        method.feedback_pass(net, params, opt, state, batch, credit.Rand(seeds, dtype=DOUBLE))
        for m, seed in enumerate(seeds):
            after.setdefault(seed, []).append(torch.cat([q[m] for q in state["feedback"].values()]))
    for together, alone in after.values():
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", [*FAMILY, "mn", "gn"])
def test_a_member_that_is_not_finite_does_not_touch_the_others(name):
    net, rule, params, state, batch = start(name)
    clean = rule.gradients(net, params, state, batch, None)
    params["1"]["weight"][0] = math.nan
    if state:
        state["feedback"]["0"][0] = math.inf
    broken = rule.gradients(net, params, state, batch, None)
    torch.testing.assert_close(flat(broken.gradients)[1], flat(clean.gradients)[1], rtol=1e-11, atol=1e-16)
    broken.info["gradients"] = broken.gradients
    seen = Moment(net, rule, params, state, batch, broken.info, params, state, None)
    probes = [ConditionOne(), NullSpace()]
    if name in FAMILY:
        extra = {"k_p": 1.0, "tau": 0.2} if name == "dfc_ssa" else {}
        probes += [FeedbackAlignment(dampings=(0.0, 0.1)), ControllerStability(**extra), SSAAngle()]
    for probe in probes:
        for metric, layer, found in probe.measure(seen):
            assert found.shape == (2,), metric
            assert found[1].isfinite() or metric == "null_space_ratio" or layer, metric


@pytest.mark.parametrize("name", ["dfc", "dfc_ss"])
def test_a_net_without_stack_axis_measures_the_same(name):
    stacked, single = moment(name, seeds=[3], time_points=30), moment(name, seeds=3, time_points=30)
    probes = [FeedbackAlignment(dampings=(0.0, 0.1)), ConditionOne(), ControllerStability(), SSAAngle(), NullSpace()]
    for probe in probes:
        for (metric, layer, a), (_, _, b) in zip(probe.measure(stacked), probe.measure(single), strict=True):
            assert a.shape == b.shape == (1,)
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=f"{metric} {layer}")


# ---- measures


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_condition_two_holds_exactly_for_feedback_in_the_row_space_of_the_jacobian(seed):
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(1, 1, 3, 9, dtype=DOUBLE, generator=generator)
    mix = torch.randn(1, 3, 3, dtype=DOUBLE, generator=generator)
    inside = (jacobian[0].mT @ mix).reshape(1, 9, 3)
    torch.testing.assert_close(condition_two(jacobian, inside), torch.ones(1, 1, dtype=DOUBLE), rtol=0, atol=1e-9)
    outside = inside + torch.randn(1, 9, 3, dtype=DOUBLE, generator=generator)
    projection = jacobian.mT @ torch.linalg.solve(jacobian @ jacobian.mT, jacobian)
    expected = (projection @ outside.unsqueeze(1)).norm() / outside.norm()
    torch.testing.assert_close(condition_two(jacobian, outside)[0, 0], expected, rtol=1e-9, atol=0)


def test_angles_of_feedback_vanish_for_the_transposed_and_the_inverse_jacobian():
    jacobian = torch.randn(1, 1, 3, 9, dtype=DOUBLE)
    assert transpose_angle(jacobian, jacobian[:, 0].mT) < 1e-6
    for damping in (0.0, 0.5):
        gram = jacobian @ jacobian.mT + damping * torch.eye(3, dtype=DOUBLE)
        inverse = (jacobian.mT @ torch.linalg.inv(gram))[:, 0]
        assert pseudoinverse_angle(jacobian, inverse, damping) < 1e-5


def test_an_update_orthogonal_to_all_rows_lies_in_the_null_space():
    jacobian, rates = torch.randn(1, 2, 2, 3, dtype=DOUBLE), torch.randn(1, 2, 4, dtype=DOUBLE)
    rows = torch.einsum("mboi,mbj->mboij", jacobian, rates).reshape(4, 12)
    inside = (rows.mT @ torch.randn(4, dtype=DOUBLE)).reshape(1, 3, 4)
    basis = torch.linalg.svd(rows)[2]
    outside = basis[-1].reshape(1, 3, 4)
    assert null_space_ratio(jacobian, rates, inside) < 1e-12
    assert null_space_ratio(jacobian, rates, outside) > 1 - 1e-12
    unit = inside / inside.norm()
    torch.testing.assert_close(
        null_space_ratio(jacobian, rates, unit + outside), torch.tensor([0.5**0.5], dtype=DOUBLE)
    )


def test_the_angle_to_dfc_ssa_shrinks_while_the_controller_settles():
    angles, distances = [], []
    for points in (20, 200, 3000):
        found = {(m, i): v for m, i, v in SSAAngle().measure(moment("dfc_ss", dt=0.02, time_points=points))}
        angles.append(found["angle_ssa", ""].max())
        distances.append(found["distance_ssa", ""].max())
    assert angles[0] > angles[1] > angles[2]
    assert distances[0] > distances[1] > distances[2]
    assert angles[2] < 0.5


# ---- training


def trained(name, path=None, stop_after=None, **hyper):
    spec = make_spec(name, epochs=3, probes=hyper.pop("probes", ()), lr=2.0)
    spec["rule"] |= dfc_hyper(**hyper)
    return Training(spec, log=io.StringIO()), spec


LEARNING = {"feedback": "xavier_normal", "pretrain_epochs": 2, "extra_feedback_passes": 2}


def test_feedback_is_trained_before_and_around_every_epoch_of_the_forward_weights():
    probes = [
        {"probe": "feedback_alignment", "on": "pretrain", "every": 2},
        {"probe": "feedback_alignment", "on": "feedback_pass"},
        {"probe": "controller_stability", "k_p": 1.5, "tau": 0.2},
    ]
    training, _ = trained("dfc_ssa", probes=probes, **LEARNING)
    records = training.run()
    assert training.learner.steps == {"pretrain": 8, "feedback_pass": 12, "update": 12, "feedback_extra": 24}
    ratio = [r for r in records if r["metric"] == "condition2" and r["seed"] == 0]
    assert [(r["epoch"], r["step"]) for r in ratio] == [(0, 0), (0, 2), (0, 4), (0, 6), (1, 0), (2, 4), (3, 8)]
    assert sum(r["metric"] == "lambda_max_A_PI" for r in records) == 6
    losses = [r["value"] for r in records if r["metric"] == "train_loss" and r["seed"] == 0]
    assert losses[-1] < losses[0]


def test_feedback_learning_aligns_feedback_with_the_jacobian():
    net, rule, params, state, batch = start(
        "dfc_ssa", sizes=(20, 10, 5), feedback="xavier_normal", pretrain_lr=0.1, feedback_decay=0.01,
        feedback_time_points=300, feedback_dt=0.001, feedback_tau=0.005,
    )  # fmt: skip
    rand = credit.Rand(SEEDS, dtype=DOUBLE)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    jacobian = torch.cat(output_jacobian(net, params, net.forward(params, batch.x)), -1)

    def ratio():
        return condition_two(jacobian, torch.cat(list(state["feedback"].values()), -2)).mean(-1)

    before = ratio()
    for _ in range(150):
        rule.pretrain(net, params, opt, state, batch, rand)
    assert (ratio() > before + 0.05).all()


@pytest.mark.parametrize("hyper", [{}, {"train_feedback": False}])
def test_fixed_feedback_stays_and_has_no_passes(hyper):
    rule = credit.method("dfc", **hyper)
    names = [[p.update for p in phase.passes] for phase in rule.phases(5)]
    if hyper:
        assert names == [["update"]]
    else:
        assert names == [["pretrain"], ["feedback_pass", "update", "feedback_extra", "feedback_extra"]]


def test_a_frozen_output_keeps_the_identity_and_the_rest_learns():
    net, rule, params, state, batch = start("dfc_ssa", train_output_feedback=False)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    before = {i: q.clone() for i, q in state["feedback"].items()}
    rule.feedback_pass(net, params, opt, state, batch, credit.Rand(SEEDS, dtype=DOUBLE))
    assert [torch.equal(before[i], q) for i, q in state["feedback"].items()] == [False, False, True]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_an_interrupted_training_goes_on_where_it_was(tmp_path, optimizer):
    hyper = LEARNING | {"feedback_optimizer": optimizer, "feedback_lr": 1e-3, "pretrain_lr": 1e-3}
    whole, _ = trained("dfc_ssa", **hyper)
    whole = whole.run()
    path = tmp_path / "checkpoint"
    first, spec = trained("dfc_ssa", **hyper)
    for phase in first.learner.method.phases(3)[:1]:
        first._evaluate(0)
        for index in range(phase.epochs):
            first._epoch(phase, index)
    first._epoch(first.learner.method.phases(3)[1], 0)
    first.position = (1, 1)
    first._save(path)
    again = Training(spec, log=io.StringIO())
    assert again.run(path, 1e9) == whole


def test_the_optimisers_of_another_rule_are_refused():
    net, rule, params, state, _ = start("dfc_ssa")
    saved = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1}).state_dict()
    fixed = credit.method("dfc_ssa", train_feedback=False)
    with pytest.raises(CheckpointError, match="forward, pretrain, feedback; this run has forward"):
        fixed.optimizer(net, params, state, {"name": "sgd", "lr": 0.1}).load_state_dict(saved)


def test_noise_is_added_to_the_product_of_weights_on_request():
    net = small_net("dense")
    params = net.init(credit.Rand(SEEDS, dtype=DOUBLE))
    plain, noisy = (
        credit.method("dfc", feedback=f).init(net, params, credit.Rand(SEEDS))["feedback"]
        for f in ("weight_product", {"init": {"name": "weight_product", "noise": 0.1}})
    )
    assert torch.equal(plain["2"], noisy["2"])
    assert 0.02 < (plain["0"] - noisy["0"]).std() < 0.2


# ---- bad input


def test_a_singular_system_teaches_nothing_and_is_counted():
    net, rule, params, state, batch = start("dfc_ssa", alpha=0.0)
    whole = rule.gradients(net, params, state, batch, None)
    for q in state["feedback"].values():
        q[0] = 0.0
    step = rule.gradients(net, params, state, batch, None)
    assert step.info["sums"]["samples_singular"].tolist() == [9, 0]
    assert not flat(step.gradients)[0].any()
    torch.testing.assert_close(flat(step.gradients)[1], flat(whole.gradients)[1], rtol=1e-12, atol=1e-17)


def test_the_small_system_falls_back_where_the_output_feedback_is_singular():
    net, _, params, state, batch = start("dfc_ssa", sizes=(6, 5, 8), loss="mse")
    state["feedback"]["1"][1, 0] = 0.0
    frame = Deviation(net, params, net.forward(params, batch.x))
    feedback, delta = list(state["feedback"].values()), torch.randn(2, 9, 8, dtype=DOUBLE)
    ours, singular = linear_control(frame, frame.slopes, feedback, delta, 0.0, "woodbury")
    direct, _ = linear_control(frame, frame.slopes, feedback, delta, 0.0, "direct")
    torch.testing.assert_close(ours, direct, rtol=1e-9, atol=1e-12)
    assert not singular.any()


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alpha", -0.1),
        ("target_stepsize", 0.0),
        ("feedback.alpha", -1.0),
        ("feedback.sigma", 0.0),
        ("feedback.dt", 0.0),
        ("learning_rule", "voltage"),
        ("feedback.rule", "normal_controller"),
    ],
)
def test_constants_out_of_bounds_are_named(name, key, value):
    with pytest.raises(ConfigError, match=f"{name}.{key} = "):
        credit.method(name, **put({}, key, value, name))


@pytest.mark.parametrize(("key", "value"), [("dt", 0.0), ("k_p", -1.0), ("tau", 0.0), ("time_points", 1)])
def test_constants_of_the_dynamics_out_of_bounds_are_named(key, value):
    with pytest.raises(ConfigError, match=f"dfc.controller.{key} = "):
        credit.method("dfc", controller={key: value})


def test_the_number_of_time_points_is_one_for_all_members():
    with pytest.raises(ConfigError, match=r"dfc.controller.time_points = .*must be an integer >= 2"):
        credit.method("dfc", controller={"time_points": [30, 40]})


@pytest.mark.parametrize("name", FAMILY)
def test_feedback_of_the_wrong_shape_is_named(name):
    net, rule, params, state, batch = start(name)
    state["feedback"]["1"] = state["feedback"]["1"].mT
    with pytest.raises(ConfigError, match=r"feedback.1 has shape \(2, 4, 5\); expected \(2, 5, 4\)"):
        rule.gradients(net, params, state, batch, None)
    del state["feedback"]["1"]
    with pytest.raises(ConfigError, match=r"feedback.1 has shape none"):
        rule.feedback_gradients(net, params, state, batch, None)


def test_dropout_is_refused():
    with pytest.raises(ConfigError, match=r"dfc: net.keep = .* not defined with dropout"):
        credit.method("dfc").check_net(small_net("dense", keep=0.8))


def test_probes_say_which_rules_they_need():
    seen = moment("dfa")
    with pytest.raises(ConfigError, match="feedback_alignment needs direct feedback to every layer"):
        FeedbackAlignment().measure(seen)
    for probe in (ControllerStability(), SSAAngle()):
        with pytest.raises(ConfigError, match="needs a method of the DFC family"):
            probe.measure(seen)
    with pytest.raises(ConfigError, match=r"controller_stability.k_p is missing"):
        ControllerStability().measure(moment("dfc_ssa"))
    with pytest.raises(ConfigError, match="'A_PID'; must be among"):
        ControllerStability(matrices=("A_PID",))


def test_hyperparameters_are_combined_member_by_member():
    assert combine(lambda a, b: a + b, 1.0, 2.0) == 3.0
    assert combine(lambda a, b: a + b, (1.0, 2.0), 2.0) == (3.0, 4.0)


def test_the_controlled_state_is_a_forward_pass_with_shifted_voltages():
    net, _, params, state, batch = start("dfc_ssa")
    run = net.forward(params, batch.x)
    feedback, control = list(state["feedback"].values()), torch.randn(2, 9, 4, dtype=DOUBLE)
    settled = [spread_control(frame(net, params, run), feedback, control) for frame in (Deviation, Absolute)]
    rate = batch.x
    for i, block in enumerate(net.blocks):
        shifted = block.forward(params[str(i)], rate).pre + control @ feedback[i].mT
        rate = block.phi.value(shifted)
        for form in settled:
            torch.testing.assert_close(form.voltages()[i], shifted, rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(form.absolute_rates()[i], rate, rtol=1e-12, atol=1e-13)
