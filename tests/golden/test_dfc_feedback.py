"""Learning of DFC's feedback weights against the official implementation, in float64."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

import credit
from credit.methods.control import feedback as learning
from credit.methods.control.frame import Absolute, Deviation
from credit.methods.control.loops.arrays import Noise
from credit.methods.control.simulation import Simulation
from credit.optim.clipping import norms
from tests.golden.dfc import (
    ALPHA,
    RULES,
    agree,
    batch_of,
    build,
    cases,
    every_way,
    gradients_agree,
    simulated_by,
    tensor,
)
from tests.golden.recordings import PLACES, alone, beside, both, moved

# ---- learning of the feedback weights

PHASES = ["layerwise_inst", "blockwise_noinst", "smallsigma", "integral", "homeostatic"]


def feedback_constants(value: dict, place: int | None) -> dict:
    numbers = {
        "alpha": "alpha_fb", "dt": "dt_di_fb", "k_p": "k_p_fb", "tau": "time_constant_ratio_fb",
        "tau_apical": "apical_time_constant_fb", "sigma": "sigma_fb", "sigma_output": "sigma_output_fb",
    }  # fmt: skip
    layerwise, instant = value.get("simulate_layerwise"), value.get("inst_transmission_fb", True)
    assert layerwise is None or layerwise == instant
    found = {name: both(value[key], place) for name, key in numbers.items()}
    return found | {"time_points": value["tmax_di_fb"], "instant_transmission": instant}


def learner_of(data, phase: str, absolute: bool, place: int | None, **options):
    """(rule, state, net, parameters, depth, noise) of a recorded phase."""
    name = f"fb_{phase}"
    net, params, state, depth = build(data, place=place)
    value = {key.partition("_hp_")[2]: data[key].item() for key in data if key.startswith(f"{name}_hp_")}
    feedback = feedback_constants(value, place) | {"decay": data["opt_feedback_wd"].item()}
    constant = value.get("homeostatic_constant")
    if phase == "homeostatic":
        feedback |= {"homeostatic": True, "decay": value["homeostatic_wd_fb"], "homeostatic_norm": constant}
        state["homeostatic"] = beside(torch.tensor(constant, dtype=torch.float64)[None], place).reshape(
            () if place is None else (2,)
        )
    noise = {f"feedback_noise.{i}": beside(tensor(data[f"{name}_noise_{i}"]), place) for i in range(depth)}
    rule = credit.method("dfc_ssa", absolute=absolute, feedback=feedback | options.pop("feedback", {}), **options)
    return rule, state, net, params, depth, noise


def needs(data, key: str) -> None:
    if key not in data:
        pytest.skip("not in this recording")


@cases("feedback")
@pytest.mark.parametrize("phase", PHASES)
@every_way
def test_the_gradient_of_the_feedback_weights(data, phase, engine, absolute, place, monkeypatch):
    """Before the joint clip, and its norm."""
    needs(data, f"fb_{phase}_dQ_0")
    simulated_by(engine, monkeypatch)
    rule, state, net, params, depth, noise = learner_of(data, phase, absolute, place, feedback={"clip_norm": None})
    gradients, _ = rule.feedback_gradients(net, params, state, batch_of(data, place), noise)
    for i in range(depth):
        agree(alone(gradients[str(i)], place), data[f"fb_{phase}_dQ_{i}"])
    found = norms(list(gradients.values()), net.stacked(params))
    agree(alone(found, place), data[f"fb_{phase}_gradnorm_before_clip"])


@cases("feedback")
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
@PLACES
def test_a_step_of_the_feedback_weights(data, phase, frozen, optimizer, place):
    """Clipped jointly, which acts in the homeostatic steps alone. These have the optimiser's decay as well, which no
    published option combines: here it is given to the optimiser."""
    needs(data, f"fb_{phase}_dQ_0")
    optimiser = {
        "optimizer": optimizer.lower(), "lr": data["opt_lr_fb"].item(), "clip_norm": data["opt_clip"].item(),
    }  # fmt: skip
    if optimizer == "Adam":
        betas = (data["opt_beta1_fb"].item(), data["opt_beta2_fb"].item())
        optimiser |= {"betas": betas, "eps": data["opt_epsilon_fb"].item()}
    rule, state, net, params, depth, noise = learner_of(
        data, phase, False, place, feedback=optimiser, train_output_feedback=not frozen
    )
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    if phase == "homeostatic":
        decay = {"homeostatic": False, "homeostatic_norm": None, "decay": data["opt_feedback_wd"].item()}
        plain = dataclasses.replace(rule, feedback=dataclasses.replace(rule.feedback, **decay))
        opt = plain.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    start = copy.deepcopy(state["feedback"])
    rule.feedback_pass(net, params, opt, state, batch_of(data, place), noise)
    for i in range(depth):
        after = f"fb_{phase}_Qnew_{optimizer}" + ("_frozenout" if frozen else "")
        ours, before = (alone(q[str(i)], place) for q in (state["feedback"], start))
        moved(ours, before, data[f"{after}_{i}"], data[f"Q_{i}"], 1e-10)


@cases("feedback")
@pytest.mark.parametrize("phase", PHASES)
@every_way
def test_the_course_of_a_feedback_phase(data, phase, engine, absolute, place, monkeypatch):
    """All of it step by step, its end by every engine."""
    name = f"fb_{phase}"
    needs(data, f"{name}_u")
    simulated_by(engine, monkeypatch)
    rule, state, net, params, depth, noise = learner_of(data, phase, absolute, place)
    frame = (Absolute if absolute else Deviation)(net, params, net.forward(params, batch_of(data, place).x))
    controller = rule.feedback.constants()
    gains = [controller.noise_gain(s) for s in rule.feedback.noise(depth)]
    draws = learning.draw(net.rand(params, noise), "feedback_noise", frame, controller.steps - 1)
    goal = frame.goal(torch.zeros_like(frame.act[-1]))
    run = Simulation(frame, list(state["feedback"].values()), goal, controller, Noise(draws, gains))
    course = list(run.snapshots()) if engine == "plain" else [run.last()]
    past = slice(None) if engine == "plain" else slice(-1, None)
    agree(torch.stack([alone(s.control, place) for s in course]), data[f"{name}_u"][past])
    for i in range(depth if f"{name}_va_0" in data else 0):
        parts = {
            "va": [s.apical[i] for s in course],
            "vs": [frame.absolute_voltage(i, s.somatic[i]) for s in course],
            "r": [frame.absolute_rate(i, s.rates[i]) for s in course],
        }
        for part, values in parts.items():
            ours = torch.stack([alone(v, place) for v in values])
            agree(ours, data[f"{name}_{part}_{i}"][past])


@cases("feedback")
@pytest.mark.parametrize(("kind", "recorded"), [("forward", "special"), ("steady", "old")])
@PLACES
def test_the_two_other_rules_for_the_feedback_weights(data, kind, recorded, place):
    net, params, state, depth = build(data, place=place)
    sigma = data[f"{recorded}_hp_sigma_fb"].item()
    assert kind == "forward" or data["old_hp_alpha_di"] == ALPHA
    noise = {f"feedback_noise.{i}": beside(tensor(data[f"{recorded}_noise_{i}"]) / sigma, place) for i in range(depth)}
    learns = {"rule": kind, "sigma": both(sigma, place), "clip_norm": None}
    method = credit.method("dfc_ssa", feedback=learns, alpha=both(ALPHA, place))
    gradients, _ = method.feedback_gradients(net, params, state, batch_of(data, place), noise)
    for i in range(depth):
        agree(alone(gradients[str(i)], place), data[f"{recorded}_dQ_{i}"])


@cases("core")
@PLACES
def test_the_initial_feedback_as_a_product_of_the_weights(data, place):
    net, params, _, depth = build(data, place=place)
    state = credit.method("dfc_ssa", feedback="weight_product").init(net, params, 0 if place is None else [0, 1])
    for i in range(depth):
        agree(alone(state["feedback"][str(i)], place), data[f"Q_weight_product_{i}"])


@cases("loop")
@every_way
def test_alternating_steps_of_feedback_and_forward_weights(data, engine, absolute, place, monkeypatch):
    simulated_by(engine, monkeypatch)
    net, params, state, depth = build(data, "0", place)
    value = {key.removeprefix("hp_"): data[key].item() for key in data if key.startswith("hp_")}
    kind = str(data["method"])
    feedback = feedback_constants(value, place) | {
        "clip_norm": both(value["clip_grad_norm"], place), "optimizer": "adam", "lr": value["lr_fb"],
        "eps": value["epsilon_fb"], "betas": (value["beta1_fb"], value["beta2_fb"]), "decay": value["feedback_wd"],
    }  # fmt: skip
    hyper = {
        "absolute": absolute, "target_stepsize": both(value["target_stepsize"], place), "feedback": feedback,
        "alpha": both(value["alpha_di"], place), "clip_norm": both(value["clip_grad_norm"], place),
    }  # fmt: skip
    if kind != "ssa":
        controller = {
            "dt": both(value["dt_di"], place), "time_points": value["tmax_di"], "k_p": both(value["k_p"], place),
            "tau": both(value["time_constant_ratio"], place), "proactive": value["proactive_controller"],
            "instant_transmission": value["inst_transmission"],
        }  # fmt: skip
        hyper |= {"controller": controller, "efficient": kind == "ss"}
    method = credit.method(RULES[kind], **hyper)
    settings = {
        "name": "adam", "lr": value["lr"], "betas": [value["beta1"], value["beta2"]], "eps": value["epsilon"]
    }  # fmt: skip
    opt = method.optimizer(net, params, state, settings)
    before = {name: data[name] for name in data if name.startswith(("W0_", "b0_", "Q0_"))}
    before = {name.replace("0_", "_", 1): start for name, start in before.items()}
    ours = {name: torch.as_tensor(start) for name, start in before.items()}
    assert data["K"] == len(data["X"])

    def step(name: str, tensors, k: int) -> None:
        for i in range(depth):
            now, recorded = alone(tensors[str(i)], place).clone(), data[f"step{k}_{name}_{i}"]
            moved(now, ours[f"{name}_{i}"], recorded, before[f"{name}_{i}"], 1e-10)
            ours[f"{name}_{i}"], before[f"{name}_{i}"] = now, recorded

    for k in range(sum(key.endswith("_loss") for key in data)):
        batch = credit.Batch(beside(tensor(data["X"][k]), place), beside(tensor(data["Y"][k]), place))
        noise = {f"feedback_noise.{i}": beside(tensor(data[f"step{k}_noise_{i}"]), place) for i in range(depth)}
        params, opt, state, _ = method.feedback_pass(net, params, opt, state, batch, noise)
        step("Q", state["feedback"], k)
        params, opt, state, info = method.update(net, params, opt, state, batch, None)
        agree(alone(info["loss"], place), data[f"step{k}_loss"])
        gradients_agree(info["gradients"], data, f"step{k}", place)
        step("W", {i: block["weight"] for i, block in params.items()}, k)
        step("b", {i: block["bias"] for i, block in params.items()}, k)
