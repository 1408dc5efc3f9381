"""Deep Feedback Control against the official implementation, in float64.

The slices beside this file are always tested; the full set of recordings where a checkout of it lies next to the
repository (marked slow).
"""

from __future__ import annotations

import pytest
import torch

import credit
from credit.methods.control.controller import Controller, simulate
from credit.methods.control.frame import Absolute, Deviation
from credit.methods.control.loops.arrays import Noise
from credit.methods.control.simulation import Simulation
from credit.methods.mn import shift_gradients
from credit.nets.jacobian import chain, output_jacobian, slopes
from credit.numerics.linalg import largest_real_part
from credit.probes.angles import update_angles
from credit.probes.condition_one import ConditionOne, condition_one, rate_norms
from credit.probes.controller_stability import MATRICES, ControllerStability, stability_matrices
from credit.probes.feedback_alignment import FeedbackAlignment
from credit.probes.null_space import NullSpace
from credit.probes.ssa_angle import SSAAngle, analytic_state, ssa_reference
from tests.golden.dfc import (
    ALPHA,
    RULES,
    STEP,
    agree,
    batch_of,
    build,
    cases,
    every_way,
    gradients_agree,
    moment_of,
    near,
    rows,
    simulated_by,
    tensor,
)  # fmt: skip
from tests.golden.recordings import PLACES, alone, beside, both

# ---- DFC-SSA


@cases("core")
@pytest.mark.parametrize("rule", ["voltage_difference", "derivative_matrix", "nonlinear_difference"])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("solver", ["direct", "woodbury"])
@PLACES
def test_dfc_ssa(data, rule, initial, absolute, solver, place):
    name = f"ssa_{rule}" + ("_initact" if initial else "")
    if f"{name}_dW_0" not in data:
        pytest.skip("not in this slice")
    net, params, state, depth = build(data, place=place)
    method = credit.method(
        "dfc_ssa", target_stepsize=both(STEP, place), alpha=both(ALPHA, place), learning_rule=rule,
        initial_activations=initial, absolute=absolute, solver=solver, clip_norm=None,
    )  # fmt: skip
    step = method.gradients(net, params, state, batch_of(data, place), None)
    gradients_agree(step.gradients, data, name, place)
    agree(alone(step.info["loss"], place).squeeze(), data["loss_value"])
    agree(alone(step.info["error"], place), data["loss_grad_output"])
    agree(alone(step.info["target"], place), data["output_target"])
    agree(alone(step.info["control"], place), data["ssa_u"])
    for i in range(depth):
        agree(alone(step.info["settled"].shift[i], place), data[f"ssa_delta_v_{i}"])
        agree(alone(step.info["trace"].blocks[i].pre, place), data[f"ff_v_{i}"])
        agree(alone(step.info["trace"].blocks[i].out, place), data[f"ff_r_{i}"])
        if not initial:
            agree(alone(step.info["settled"].voltages()[i], place), data[f"ssa_v_{i}"])
            agree(alone(step.info["settled"].absolute_rates()[i], place), data[f"ssa_r_{i}"])


# ---- the simulated controller

COURSES = ["std", "pro", "noinst", "integral", "converged", "mixed"]


def constants(data, course: str, place: int | None = None) -> dict:
    value = {key.partition("_hp_")[2]: data[key].item() for key in data if key.startswith(f"dyn_{course}_hp_")}
    assert value["simulate_layerwise"] == value["inst_transmission"] or course == "noinst"
    return {
        "dt": both(value["dt_di"], place), "time_points": value["tmax_di"], "k_p": both(value["k_p"], place),
        "tau": both(value["time_constant_ratio"], place), "instant_transmission": value["inst_transmission"],
        "proactive": value["proactive_controller"],
    }  # fmt: skip


@cases("core")
@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("frame", [Deviation, Absolute])
def test_the_course_of_the_controller(data, course, frame):
    if f"dyn_{course}_u" not in data:
        pytest.skip("not in this recording")
    net, params, state, depth = build(data)
    frame = frame(net, params, net.forward(params, tensor(data["x"])))
    value = constants(data, course)
    controller = Controller(
        ALPHA, value["k_p"], value["dt"], value["time_points"], value["tau"],
        instant_transmission=value["instant_transmission"], proactive=value["proactive"],
    )  # fmt: skip
    delta = -STEP * tensor(data["loss_grad_output"])
    snapshots = list(simulate(frame, list(state["feedback"].values()), frame.goal(delta), controller))
    assert len(snapshots) == value["time_points"]
    snapshots = snapshots[-len(data[f"dyn_{course}_u"]) :]
    agree(torch.stack([s.control for s in snapshots]), data[f"dyn_{course}_u"])
    if f"dyn_{course}_error_norm" in data:
        errors = [(frame.goal(delta) - s.rates[-1]).norm(dim=-1) for s in snapshots]
        agree(torch.stack(errors), data[f"dyn_{course}_error_norm"])
    for i in range(depth if f"dyn_{course}_va_0" in data else 0):
        agree(torch.stack([s.apical[i] for s in snapshots]), data[f"dyn_{course}_va_{i}"])
        for name, part in (("vb", "basal"), ("vs", "somatic")):
            ours = [frame.absolute_voltage(i, getattr(s, part)[i]) for s in snapshots]
            agree(torch.stack(ours), data[f"dyn_{course}_{name}_{i}"])
        agree(torch.stack([frame.absolute_rate(i, s.rates[i]) for s in snapshots]), data[f"dyn_{course}_r_{i}"])


@cases("core")
@pytest.mark.parametrize("frame", [Deviation, Absolute])
def test_the_noisy_course_of_the_controller(data, frame):
    if "noisy_u" not in data:
        pytest.skip("not in this recording")
    net, params, state, depth = build(data)
    frame = frame(net, params, net.forward(params, tensor(data["x"])))
    value = {key.removeprefix("noisy_hp_"): data[key].item() for key in data if key.startswith("noisy_hp_")}
    controller = Controller(
        ALPHA, value["k_p"], value["dt"], value["tmax"], value["tau_ratio"], tau_apical=value["apical"]
    )
    sigmas = [value["sigma"]] * (depth - 1) + [value["sigma_output"]]
    noise = [tensor(data[f"noisy_noise_{i}"]) * controller.noise_gain(s) for i, s in enumerate(sigmas)]
    goal = frame.goal(-STEP * tensor(data["loss_grad_output"]))
    snapshots = list(simulate(frame, list(state["feedback"].values()), goal, controller, noise))
    agree(torch.stack([s.control for s in snapshots]), data["noisy_u"])
    for i in range(depth):
        agree(torch.stack([s.apical[i] for s in snapshots]), data[f"noisy_va_{i}"])
        for name, part in (("vb", "basal"), ("vs", "somatic")):
            ours = [frame.absolute_voltage(i, getattr(s, part)[i]) for s in snapshots]
            agree(torch.stack(ours), data[f"noisy_{name}_{i}"])
        agree(torch.stack([frame.absolute_rate(i, s.rates[i]) for s in snapshots]), data[f"noisy_r_{i}"])


@cases("core")
@every_way
def test_the_end_of_the_noisy_course(data, engine, absolute, place, monkeypatch):
    """By every engine: the voltages, rates and control that the recorded course ends with."""
    if "noisy_u" not in data:
        pytest.skip("not in this recording")
    simulated_by(engine, monkeypatch)
    net, params, state, depth = build(data, place=place)
    value = {key.removeprefix("noisy_hp_"): data[key].item() for key in data if key.startswith("noisy_hp_")}
    frame = (Absolute if absolute else Deviation)(net, params, net.forward(params, beside(tensor(data["x"]), place)))
    number = {key: both(value[key], place) for key in ("k_p", "dt", "tau_ratio", "apical")}
    controller = Controller(
        both(ALPHA, place), number["k_p"], number["dt"], value["tmax"], number["tau_ratio"], number["apical"]
    )
    sigmas = [both(value["sigma"], place)] * (depth - 1) + [both(value["sigma_output"], place)]
    draws = [beside(tensor(data[f"noisy_noise_{i}"]), place) for i in range(depth)]
    noise = Noise(draws, [controller.noise_gain(s) for s in sigmas])
    goal = frame.goal(beside(-STEP * tensor(data["loss_grad_output"]), place))
    last = Simulation(frame, list(state["feedback"].values()), goal, controller, noise).last()
    agree(alone(last.control, place), data["noisy_u"][-1])
    for i in range(depth):
        agree(alone(last.apical[i], place), data[f"noisy_va_{i}"][-1])
        for name, part in (("vb", "basal"), ("vs", "somatic")):
            ours = frame.absolute_voltage(i, getattr(last, part)[i])
            agree(alone(ours, place), data[f"noisy_{name}_{i}"][-1])
        agree(alone(frame.absolute_rate(i, last.rates[i]), place), data[f"noisy_r_{i}"][-1])


@cases("core")
@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("rule", ["ss", "dfc"])
@pytest.mark.parametrize("variant", ["", "_eff", "_masked"])
@every_way
def test_dfc_and_dfc_ss(data, course, rule, variant, engine, absolute, place, monkeypatch):
    name = f"dyn_{course}_{rule}{variant}"
    if f"{name}_dW_0" not in data:
        pytest.skip("not in this recording")
    if (rule, variant) == ("dfc", "_eff") and engine != "plain":
        pytest.skip("this form looks at every time point: no engine but the plain one has them")
    if course in ("mixed", "converged") and (engine, place) == ("plain", 0):
        pytest.skip("a long course; other engines have it in stacks")
    simulated_by(engine, monkeypatch)
    net, params, state, _ = build(data, place=place)
    method = credit.method(
        RULES[rule], target_stepsize=both(STEP, place), alpha=both(ALPHA, place), clip_norm=None, absolute=absolute,
        efficient=variant == "_eff", include_non_converged=variant != "_masked" and course != "mixed",
        controller=constants(data, course, place),
    )  # fmt: skip
    step = method.gradients(net, params, state, batch_of(data, place), None)
    gradients_agree(step.gradients, data, name, place)
    for key in (f"{name}_converged", f"dyn_{course}_converged"):
        if key in data and not (variant == "_eff" and key == f"dyn_{course}_converged"):
            assert alone(step.info["converged"], place).tolist() == data[key].astype(bool).tolist()
    if f"dyn_{course}_diverged" in data:
        assert alone(step.info["sums"]["samples_diverged"], place) == data[f"dyn_{course}_diverged"].sum()


# ---- references and measures


@cases("core")
@pytest.mark.parametrize("damping", [0.0, 0.1, 1.0])
def test_gauss_newton_and_minimum_norm(data, damping):
    if f"gn_g{damping}_dW_0" not in data:
        pytest.skip("not in this slice")
    net, params, _, depth = build(data)
    step = credit.method("gn", damping=damping).gradients(net, params, {}, batch_of(data), None)
    gradients_agree(step.gradients, data, f"gn_g{damping}")
    linear = credit.method("mn", damping=damping, nonlinear=False)
    step = linear.gradients(net, params, {}, batch_of(data), None)
    for i in range(depth):
        agree(step.info["deltas"][i], data[f"mn_g{damping}_delta_v_{i}"])
    rates = [tensor(data["x"]), *(tensor(data[f"ssa_r_{i}"]) for i in range(depth - 1))]
    for form in ("lin", "nonlin"):
        own = credit.method("mn", damping=damping, nonlinear=form == "nonlin")
        gradients = own.gradients(net, params, {}, batch_of(data), None).gradients
        gradients_agree(gradients, data, f"mn_g{damping}_{form}_ff")
        gradients, _ = shift_gradients(
            net, step.info["trace"], step.info["deltas"], form == "nonlin", 1 / len(rates[0]), rates
        )
        gradients_agree(gradients, data, f"mn_g{damping}_{form}_ss")


@cases("core")
def test_angles_ratios_and_norms_of_dfc_ssa(data):
    net, params, state, depth = build(data)
    rule = credit.method("dfc_ssa", target_stepsize=STEP, alpha=ALPHA, clip_norm=None)
    moment = moment_of(rule, net, params, state, batch_of(data))
    found = rows(FeedbackAlignment(dampings=(data["angle_damping"].item(),)), moment)
    near(found["condition2", ""], data["condition2"])
    near(found["angle_feedback_transpose", ""], data["angle_Q_JT"])
    near(found["angle_feedback_pinv_0.1", ""], data["angle_Q_Jpinv"])
    for reference, hyper in (("bp", {}), ("mn", {"damping": 0.1}), ("gn", {"damping": 0.1})):
        other = credit.method(reference, **hyper).gradients(net, params, {}, moment.batch, None).gradients
        angles = update_angles(moment.info["gradients"], other, stacked=False)
        near(torch.stack([angles[str(i + 1)] for i in range(depth)]), data[f"angle_{reference}_layers"])
        if reference != "bp":
            near(angles[""], data[f"angle_{reference}_network"])
    found = rows(NullSpace(), moment)
    near(torch.stack([found["null_space_ratio", str(i + 1)] for i in range(depth)]), data["nullspace_ratio_layers"])
    norms = rate_norms(moment.info["trace"])
    agree(condition_one(norms), data["dev_r"])
    found = rows(ConditionOne(), moment)
    near(found["condition1", ""], data["dev_r"].mean())
    near(found["norm_r", ""], data["norm_r_mean"].mean())
    near(found["norm_r_deviation", "0"], data["norm_r_input"].mean())
    for i in range(1, depth):
        near(found["norm_r_deviation", str(i)], data[f"norm_r_layer{i}"].mean())
        near(found["norm_r_deviation_std", str(i)], data[f"norm_r_layer{i}"].std())


@cases("core")
def test_stability_matrices_and_their_eigenvalues(data):
    if "eig_max_A_PI" not in data:
        pytest.skip("not in this slice")
    net, params, state, _ = build(data)
    rule = credit.method("dfc_ssa", target_stepsize=STEP, alpha=ALPHA)
    moment = moment_of(rule, net, params, state, batch_of(data))
    frame, voltages = moment.info["settled"].frame, moment.info["settled"].voltages()
    slopes = [phi.derivative(v, phi.value(v)) for phi, v in zip(frame.phi, voltages, strict=True)]
    k_p, tau = data["eig_k_p"].item(), data["eig_tau_ratio"].item()
    matrices = stability_matrices(frame.weights, slopes, list(state["feedback"].values()), ALPHA, k_p, tau)
    for ours, recorded in zip(MATRICES, ("A_tildeI", "A_I", "A_instI", "A_PI"), strict=True):
        if f"eig_matrix_{recorded}" in data:
            agree(matrices[ours], data[f"eig_matrix_{recorded}"])
        agree(largest_real_part(matrices[ours]), data[f"eig_max_{recorded}"])
    found = rows(ControllerStability(k_p=k_p, tau=tau), moment)
    near(found["lambda_max_A_PI", ""], data["eig_max_A_PI"].mean())
    near(found["lambda_max_A_PI_std", ""], data["eig_max_A_PI"].std())


@cases("core")
@pytest.mark.parametrize("rule", ["ss", "dfc"])
def test_the_angle_to_dfc_ssa(data, rule):
    if f"dyn_std_{rule}_ndi_angle_layers" not in data:
        pytest.skip("not in this slice")
    net, params, state, depth = build(data)
    method = credit.method(
        RULES[rule], target_stepsize=STEP, alpha=ALPHA, clip_norm=None, controller=constants(data, "std")
    )
    moment = moment_of(method, net, params, state, batch_of(data))
    gradients_agree(ssa_reference(moment, analytic_state(moment)), data, f"dyn_std_{rule}_ndiref")
    found = rows(SSAAngle(), moment)
    layers = torch.stack([found["angle_ssa", str(i + 1)] for i in range(depth)])
    near(layers, data[f"dyn_std_{rule}_ndi_angle_layers"])
    near(found["angle_ssa", ""], data[f"dyn_std_{rule}_ndi_angle_network"])


@cases("core")
@PLACES
def test_the_jacobian_is_that_of_the_recordings(data, place):
    """Of the output by the voltages and by the rates of all layers."""
    net, params, _, depth = build(data, place=place)
    trace = net.forward(params, beside(tensor(data["x"]), place))
    found = output_jacobian(net, params, trace)
    if "J" in data:  # otherwise in dfc_bp_mn.npz, see test_baselines.py
        agree(alone(torch.cat(found, -1), place), data["J"])
    weights = [params[str(i)]["weight"] for i in range(depth)]
    own, by_rates = slopes(net, trace), []
    for i in range(depth):
        by_rates.append(chain(weights, [torch.ones_like(s) if k == i else s for k, s in enumerate(own)])[i])
        agree(alone(found[i], place), alone(by_rates[i] * own[i].unsqueeze(-2), place))
    agree(alone(torch.cat(by_rates, -1), place), data["J_post"])


@cases("dfa")
@PLACES
def test_direct_feedback_alignment_as_in_the_dfc_code(data, place):
    net, params, state, depth = build(data, place=place)
    step_size = both(data["target_stepsize"].item(), place)
    method = credit.method("dfa", target_stepsize=step_size, clip_norm=1.0)
    batch = batch_of(data, place)
    step = method.gradients(net, params, state, batch, None)
    gradients_agree(step.gradients, data, "dfa", place)
    for i in range(depth):
        trace = step.info["trace"].blocks[i]
        slope = net.block(i).phi.derivative(trace.pre, trace.act)
        # A layer learns its target times the slope: phi' (target - r) is minus the target's step times our delta.
        toward = torch.as_tensor(data[f"dfa_target_{i}"]) - alone(trace.out, place)
        agree(alone(step.info["deltas"][i], place) * -STEP, toward * alone(slope, place), 1e-10)
