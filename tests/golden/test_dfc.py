"""Deep Feedback Control against the official implementation, in float64.

The slices beside this file are always tested; the full set of recordings where a checkout of it lies next to the
repository (marked slow).
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import credit
from credit.methods.control.controller import Controller, simulate
from credit.methods.control.frame import Absolute, Deviation
from credit.methods.mn import shift_gradients
from credit.nets.jacobian import output_jacobian
from credit.numerics.linalg import largest_real_part
from credit.probes.angles import update_angles
from credit.probes.base import Moment
from credit.probes.condition_one import ConditionOne, condition_one, rate_norms
from credit.probes.controller_stability import MATRICES, ControllerStability, stability_matrices
from credit.probes.feedback_alignment import FeedbackAlignment
from credit.probes.null_space import NullSpace
from credit.probes.ssa_angle import SSAAngle, analytic_state, ssa_reference
from tests.golden.recordings import COMPLETE, HERE, Recording
from tests.golden.recordings import agree as agree_to

EXACT = 1e-11  # relative to an array's largest entry
EXACT_ANGLE = 1e-9  # absolute
STEP, ALPHA = 0.5, 0.01  # of all recordings but the loops
RULES = {"ss": "dfc_ss", "dfc": "dfc", "ssa": "dfc_ssa"}


def slices(kind: str) -> dict[str, Recording]:
    """{case: arrays} of one kind of recording."""
    whole = Recording(HERE / f"dfc_{kind}.npz")
    return {case: whole.under(f"{case}/") for case in dict.fromkeys(key.partition("/")[0] for key in whole)}


SLICES = {kind: slices(kind) for kind in ("core", "feedback", "loop", "dfa")}


def cases(kind: str):
    """Parametrisation over the slices, and over the full recordings where they are."""
    params = [pytest.param(data, id=f"slice-{name}") for name, data in SLICES[kind].items()]
    files = sorted(COMPLETE.glob(f"dfc_{kind}_*.npz"))
    if not files:
        reason = "the full recordings are not beside this repository"
        params.append(pytest.param(None, id="full", marks=pytest.mark.skip(reason=reason)))
    for path in files:
        params.append(pytest.param(path, id=f"full-{path.stem}", marks=pytest.mark.slow))
    return pytest.mark.parametrize("data", params, indirect=True)


@pytest.fixture
def data(request) -> Recording:
    """Arrays of a recording."""
    return request.param if isinstance(request.param, Recording) else Recording(request.param)


def agree(ours: torch.Tensor, recorded: np.ndarray, tolerance: float = EXACT) -> None:
    agree_to(ours, recorded, tolerance)


def near(ours: torch.Tensor, recorded: np.ndarray) -> None:
    """Angles and ratios."""
    assert (ours.squeeze() - torch.as_tensor(recorded)).abs().max() <= EXACT_ANGLE


def rows(probe, moment: Moment) -> dict[tuple[str, str], torch.Tensor]:
    return {(metric, layer): value for metric, layer, value in probe.measure(moment)}


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(array).clone()


def build(data, suffix: str = ""):
    """Net, parameters, state and depth of a recording."""
    depth = sum(key.startswith(f"W{suffix}_") for key in data)
    weights = [tensor(data[f"W{suffix}_{i}"]) for i in range(depth)]
    hidden = str(data["activation"]) if "activation" in data else "tanh"
    hidden = {"relu": "relu_closed"}.get(hidden, hidden)  # the official relu has derivative 1 at exactly 0
    loss = {"ce": "softmax_cross_entropy", "mse": "mse"}[str(data["loss"]) if "loss" in data else "ce"]
    net = credit.dense([weights[0].shape[1], *(w.shape[0] for w in weights)], hidden, loss=loss)
    params = {str(i): {"weight": w, "bias": tensor(data[f"b{suffix}_{i}"])} for i, w in enumerate(weights)}
    names = [f"Q{suffix}_{i}" for i in range(depth)]
    state = {"feedback": {str(i): tensor(data[name]) for i, name in enumerate(names) if name in data}}
    return net, params, state, depth


def batch_of(data) -> credit.Batch:
    x = tensor(data["x"])
    return credit.Batch(x, tensor(data["y"]) if "y" in data else torch.zeros(len(x), dtype=torch.int64))


def gradients_agree(gradients, data, name: str) -> None:
    for i, block in gradients.items():
        agree(block["weight"], data[f"{name}_dW_{i}"])
        agree(block["bias"], data[f"{name}_db_{i}"])


def moment_of(rule, net, params, state, batch) -> Moment:
    step = rule.gradients(net, params, state, batch, None)
    step.info["gradients"] = step.gradients
    return Moment(net, rule, params, state, batch, step.info, params, state, None)


# ---- DFC-SSA


@cases("core")
@pytest.mark.parametrize("rule", ["voltage_difference", "derivative_matrix", "nonlinear_difference"])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("solver", ["direct", "woodbury"])
def test_dfc_ssa(data, rule, initial, absolute, solver):
    name = f"ssa_{rule}" + ("_initact" if initial else "")
    if f"{name}_dW_0" not in data:
        pytest.skip("not in this slice")
    net, params, state, depth = build(data)
    method = credit.method(
        "dfc_ssa", target_stepsize=STEP, alpha=ALPHA, learning_rule=rule, initial_activations=initial,
        absolute=absolute, solver=solver, clip_norm=None,
    )  # fmt: skip
    step = method.gradients(net, params, state, batch_of(data), None)
    gradients_agree(step.gradients, data, name)
    agree(step.info["target"], data["output_target"])
    agree(step.info["control"], data["ssa_u"])
    for i in range(depth):
        agree(step.info["settled"].shift[i], data[f"ssa_delta_v_{i}"])
        if not initial:
            agree(step.info["settled"].voltages()[i], data[f"ssa_v_{i}"])
            agree(step.info["settled"].absolute_rates()[i], data[f"ssa_r_{i}"])


# ---- the simulated controller

COURSES = ["std", "pro", "noinst", "integral", "converged", "mixed"]


def constants(data, course: str) -> dict:
    value = {key.partition("_hp_")[2]: data[key].item() for key in data if key.startswith(f"dyn_{course}_hp_")}
    return {
        "dt": value["dt_di"], "time_points": value["tmax_di"], "k_p": value["k_p"],
        "tau": value["time_constant_ratio"], "instant_transmission": value["inst_transmission"],
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
        somatic = [frame.absolute_voltage(i, s.somatic[i]) for s in snapshots]
        agree(torch.stack(somatic), data[f"noisy_vs_{i}"])


@cases("core")
@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("rule", ["ss", "dfc"])
@pytest.mark.parametrize("variant", ["", "_eff", "_masked"])
@pytest.mark.parametrize("absolute", [False, True])
def test_dfc_and_dfc_ss(data, course, rule, variant, absolute):
    name = f"dyn_{course}_{rule}{variant}"
    if f"{name}_dW_0" not in data:
        pytest.skip("not in this recording")
    net, params, state, _ = build(data)
    method = credit.method(
        RULES[rule], target_stepsize=STEP, alpha=ALPHA, clip_norm=None, absolute=absolute,
        efficient=variant == "_eff", include_non_converged=variant != "_masked" and course != "mixed",
        controller=constants(data, course),
    )  # fmt: skip
    step = method.gradients(net, params, state, batch_of(data), None)
    gradients_agree(step.gradients, data, name)
    for key in (f"{name}_converged", f"dyn_{course}_converged"):
        if key in data and not (variant == "_eff" and key == f"dyn_{course}_converged"):
            assert step.info["converged"].tolist() == data[key].astype(bool).tolist()


# ---- learning of the feedback weights

PHASES = ["layerwise_inst", "blockwise_noinst", "smallsigma", "integral", "homeostatic"]


def feedback_constants(value: dict) -> dict:
    return {
        "alpha": value["alpha_fb"], "dt": value["dt_di_fb"], "k_p": value["k_p_fb"], "time_points": value["tmax_di_fb"],
        "tau": value["time_constant_ratio_fb"], "tau_apical": value["apical_time_constant_fb"],
        "sigma": value["sigma_fb"], "sigma_output": value["sigma_output_fb"],
        "instant_transmission": value.get("inst_transmission_fb", True),
    }  # fmt: skip


@cases("feedback")
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("absolute", [False, True])
def test_the_gradient_and_the_step_of_the_feedback_weights(data, phase, absolute):
    name = f"fb_{phase}"
    if f"{name}_dQ_0" not in data:
        pytest.skip("not in this recording")
    net, params, state, depth = build(data)
    value = {key.partition("_hp_")[2]: data[key].item() for key in data if key.startswith(f"{name}_hp_")}
    feedback = feedback_constants(value) | {"decay": data["opt_feedback_wd"].item()}
    if phase == "homeostatic":
        feedback |= {"homeostatic": True, "decay": value["homeostatic_wd_fb"]}
        state["homeostatic"] = torch.tensor(value["homeostatic_constant"], dtype=torch.float64)
    noise = {f"feedback_noise.{i}": tensor(data[f"{name}_noise_{i}"]) for i in range(depth)}
    method = credit.method("dfc_ssa", absolute=absolute, feedback=feedback | {"clip_norm": None})
    gradients, _ = method.feedback_gradients(net, params, state, batch_of(data), noise)
    for i in range(depth):
        agree(gradients[str(i)], data[f"{name}_dQ_{i}"])
    if phase == "homeostatic":
        return  # its recorded steps have the optimiser's decay on top, which no published option combines
    for optimizer in ("Adam", "SGD"):
        for frozen in (False, True):
            learning = feedback | {"optimizer": optimizer.lower(), "lr": 0.01, "eps": 1e-6}
            method = credit.method("dfc_ssa", absolute=absolute, feedback=learning, train_output_feedback=not frozen)
            own = copy.deepcopy(state)
            opt = method.optimizer(net, params, own, {"name": "sgd", "lr": 0.1})
            method.feedback_pass(net, params, opt, own, batch_of(data), noise)
            for i in range(depth):
                after = f"{name}_Qnew_{optimizer}" + ("_frozenout" if frozen else "")
                agree(own["feedback"][str(i)], data[f"{after}_{i}"])


@cases("feedback")
@pytest.mark.parametrize(("rule", "recorded"), [("forward", "special"), ("steady", "old")])
def test_the_two_other_rules_for_the_feedback_weights(data, rule, recorded):
    net, params, state, depth = build(data)
    sigma = data[f"{recorded}_hp_sigma_fb"].item()
    noise = {f"feedback_noise.{i}": tensor(data[f"{recorded}_noise_{i}"]) / sigma for i in range(depth)}
    method = credit.method("dfc_ssa", feedback={"rule": rule, "sigma": sigma, "clip_norm": None}, alpha=ALPHA)
    gradients, _ = method.feedback_gradients(net, params, state, batch_of(data), noise)
    for i in range(depth):
        agree(gradients[str(i)], data[f"{recorded}_dQ_{i}"])


@cases("core")
def test_the_initial_feedback_as_a_product_of_the_weights(data):
    net, params, _, depth = build(data)
    state = credit.method("dfc_ssa", feedback="weight_product").init(net, params, 0)
    for i in range(depth):
        agree(state["feedback"][str(i)], data[f"Q_weight_product_{i}"])


@cases("loop")
@pytest.mark.parametrize("absolute", [False, True])
def test_alternating_steps_of_feedback_and_forward_weights(data, absolute):
    net, params, state, depth = build(data, "0")
    value = {key.removeprefix("hp_"): data[key].item() for key in data if key.startswith("hp_")}
    kind = str(data["method"])
    feedback = feedback_constants(value) | {
        "clip_norm": value["clip_grad_norm"], "optimizer": "adam", "lr": value["lr_fb"], "eps": value["epsilon_fb"],
        "betas": (value["beta1_fb"], value["beta2_fb"]), "decay": value["feedback_wd"],
    }  # fmt: skip
    hyper = {
        "absolute": absolute, "target_stepsize": value["target_stepsize"], "alpha": value["alpha_di"],
        "clip_norm": value["clip_grad_norm"], "feedback": feedback,
    }  # fmt: skip
    if kind != "ssa":
        controller = {
            "dt": value["dt_di"], "time_points": value["tmax_di"], "k_p": value["k_p"],
            "tau": value["time_constant_ratio"], "proactive": value["proactive_controller"],
        }  # fmt: skip
        hyper |= {"controller": controller, "efficient": kind == "ss"}
    method = credit.method(RULES[kind], **hyper)
    settings = {
        "name": "adam", "lr": value["lr"], "betas": [value["beta1"], value["beta2"]], "eps": value["epsilon"]
    }  # fmt: skip
    opt = method.optimizer(net, params, state, settings)
    for k in range(sum(key.endswith("_loss") for key in data)):
        batch = credit.Batch(tensor(data["X"][k]), tensor(data["Y"][k]))
        noise = {f"feedback_noise.{i}": tensor(data[f"step{k}_noise_{i}"]) for i in range(depth)}
        params, opt, state, _ = method.feedback_pass(net, params, opt, state, batch, noise)
        for i in range(depth):
            agree(state["feedback"][str(i)], data[f"step{k}_Q_{i}"])
        params, opt, state, info = method.update(net, params, opt, state, batch, None)
        agree(info["loss"], data[f"step{k}_loss"])
        gradients_agree(info["gradients"], data, f"step{k}")
        for i in range(depth):
            agree(params[str(i)]["weight"], data[f"step{k}_W_{i}"])
            agree(params[str(i)]["bias"], data[f"step{k}_b_{i}"])


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
def test_the_jacobian_is_that_of_the_recordings(data):
    if "J" not in data:
        pytest.skip("in dfc_bp_mn.npz, see test_baselines.py")
    net, params, _, _ = build(data)
    agree(torch.cat(output_jacobian(net, params, net.forward(params, tensor(data["x"]))), -1), data["J"])


@cases("dfa")
def test_direct_feedback_alignment_as_in_the_dfc_code(data):
    net, params, state, _ = build(data)
    method = credit.method("dfa", target_stepsize=data["target_stepsize"].item(), clip_norm=1.0)
    step = method.gradients(net, params, state, batch_of(data), None)
    gradients_agree(step.gradients, data, "dfa")
