"""Options that exclude each other: what is accepted equals the plain reference, everything else is refused first."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_checkout import FIT, Checkout

import credit
from credit.config.fields import plain
from credit.config.parts import METHODS
from credit.dag.checks import PartChecker
from credit.errors import ConfigError
from tests.conftest import dfc_hyper, small_batch, small_net, small_net_for

SEEDS = [3, 8]
DOUBLE = torch.float64
SMALL = 1e-6  # output targets so near that first order is all there is


def built_rule(name, net, hyper):
    """A learning rule on a fresh net: (rule, params, state)."""
    rule = credit.method(name, **dfc_hyper(**hyper))
    rule.check_net(net)
    rand = credit.Rand(SEEDS, dtype=DOUBLE)
    params = net.init(rand)
    for block_name, block in params.items():  # of 0, a unit above dead ones would sit on the kink of relu
        if "bias" in block:
            block["bias"] = 0.1 * rand.normal(f"bias_{block_name}", tuple(block["bias"].shape[1:]))
    return rule, params, rule.init(net, params, rand)


def gradient(name, net, hyper):
    """Flat gradient (M, n), noise included."""
    rule, params, state = built_rule(name, net, hyper)
    step = rule.gradients(net, params, state, small_batch(net, SEEDS, 4), credit.Rand(SEEDS, dtype=DOUBLE))
    return torch.cat([g.flatten(1) for block in step.gradients.values() for g in block.values()], 1)


def settles(name, net, hyper):
    """Whether the simulated dynamics comes to rest."""
    rule, params, state = built_rule(name, net, hyper)
    rand = credit.Rand(SEEDS, dtype=DOUBLE)
    found = rule.inspect(net, params, state, small_batch(net, SEEDS, 4), rand, "update", epoch=1)
    return bool((found["spectral_radius"] < 1).all())


def apart(a, b):
    return float(((a - b).norm(dim=-1) / b.norm(dim=-1).clamp(min=1e-300)).max())


# ---- Deep Feedback Control


@st.composite
def dfc_settings(draw):
    """A rule of the family with options of every kind, and a net."""
    name = draw(st.sampled_from(["dfc", "dfc_ss", "dfc_ssa"]))
    forms = {"dfc": ["simulation", "linearised"], "dfc_ss": ["simulation", "linearised", "newton"], "dfc_ssa": [None]}
    hyper = {
        "form": draw(st.sampled_from(forms[name])),
        "efficient": draw(st.booleans()),
        "noise": draw(st.sampled_from([0.0, 0.0, 0.1])),
        "tau_apical": draw(st.sampled_from([None, None, 0.1])),
        "instant_transmission": draw(st.sampled_from([True, True, False])),
        "instant_system": draw(st.booleans()),
        "proactive": draw(st.booleans()),
        "leak": draw(st.sampled_from(["control", "control", "integral"])),
        "include_non_converged": draw(st.sampled_from([True, True, False])),
    }
    if name == "dfc_ssa":
        hyper = {"initial_activations": draw(st.booleans())}
    hyper |= {
        "solver": draw(st.sampled_from(["auto", "direct", "woodbury"])),
        "absolute": draw(st.booleans()),
        "learning_rule": draw(st.sampled_from(["nonlinear_difference", "voltage_difference", "derivative_matrix"])),
        "alpha": draw(st.sampled_from([0.01, 0.5])),
    }
    sizes = draw(st.sampled_from([(6, 7, 5, 4), (6, 5, 3, 8), (6, 4)]))
    net = {
        "hidden": draw(st.sampled_from(["tanh", "relu", "linear", "step", "softmax"])),
        "output": draw(st.sampled_from(["linear", "linear", "tanh", "sigmoid", "softmax", "step"])),
        "loss": draw(st.sampled_from(["mse", "half_squared_error", "squared_error_sum", "softmax_cross_entropy"])),
        "keep": draw(st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.8])),
    }
    return name, hyper, sizes, net


@settings(max_examples=250, deadline=None, derandomize=True)
@given(dfc_settings())
def test_an_accepted_form_of_dfc_is_the_plain_one_and_others_are_refused(chosen):
    name, hyper, sizes, kind = chosen
    net = credit.dense(list(sizes), **kind)
    common = {"clip_norm": None, "target_stepsize": SMALL}
    if name != "dfc_ssa":
        common |= {"dt": 0.05, "k_p": 0.2, "time_points": 5000 if hyper["form"] == "newton" else 40}
    if name == "dfc_ssa":
        reference = {"absolute": not hyper["absolute"], "solver": "direct"}
    else:
        reference = {"form": "simulation", "absolute": hyper["form"] == "simulation" and not hyper["absolute"]}
    refused = reasons(name, hyper, sizes, kind)
    if refused:
        with pytest.raises(ConfigError, match=refused[0]):
            gradient(name, net, common | hyper)
        return
    approximate = name != "dfc_ssa" and hyper["form"] != "simulation"
    if approximate:  # the state at rest must be reached, and near it all must be linear
        assume(settles(name, net, common | hyper | reference))
    found, plain = (gradient(name, net, common | one) for one in (hyper, hyper | reference))
    assert found.isfinite().all()
    assert apart(found, plain) < (1e-4 if approximate else 2e-6)


def reasons(name, hyper, sizes, net):
    """Why a combination is refused, as it was found by hand: [text that the message has, ...]."""
    found = []
    form = hyper.get("form")
    if form == "linearised":
        plain = not hyper["noise"] and hyper["tau_apical"] is None and hyper["leak"] == "control"
        plain = plain and (hyper["instant_transmission"] or hyper["instant_system"]) and not hyper["absolute"]
        if not plain or (name == "dfc" and hyper["efficient"]):
            found.append(f"{name}.form = 'linearised'; needs ")
    if form == "newton" and hyper["noise"]:
        found.append("dfc_ss.form = 'newton'; needs noise 0")
    names = [net["hidden"]] * (len(sizes) - 2) + [net["output"]]
    if net["keep"] < 1:
        found.append("net.keep = 0.8; needs 1")
    if "softmax" in names:
        found.append("= 'softmax'; needs another activation")
    if "step" in names and form in ("linearised", "newton"):
        found.append("needs activations that are continuous")
    if hyper["solver"] == "woodbury" and (net["output"] != "linear" or len(sizes) < 3):
        found.append("solver = 'woodbury'; needs a net with hidden layers")
    return found


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        (
            {"feedback_form": "linearised", "feedback_rule": "forward"},
            "feedback.form = 'linearised'; needs feedback.rule",
        ),
        ({"feedback_form": "projected", "absolute": True}, "feedback.form = 'projected'; needs .* absolute false"),
        ({"feedback_rule": "steady", "feedback_sigma_output": 0.1}, "feedback.sigma_output = 0.1; needs feedback.rule"),
        ({"feedback_homeostatic_norm": 1.0}, "feedback.homeostatic_norm = 1.0; needs feedback.homeostatic true"),
        ({"feedback_optimizer": "adam", "feedback_betas": (0.9,)}, "feedback.betas"),
    ],
)
def test_options_of_feedback_that_would_do_nothing_are_refused(hyper, message):
    with pytest.raises(ConfigError, match=rf"^dfc_ssa.{message}"):
        credit.method("dfc_ssa", **dfc_hyper(**hyper))


def test_with_the_paper_s_leak_samples_converge_too():
    net = small_net("dense")
    hyper = {"dt": 0.05, "time_points": 3000, "k_p": 1.0, "alpha": 0.01, "clip_norm": None}
    hyper |= {"leak": "integral", "target_stepsize": 0.05}
    every, converged = (
        gradient("dfc", net, hyper | {"include_non_converged": all_teach}) for all_teach in (True, False)
    )
    assert apart(converged, every) < 1e-12


# ---- every rule on every net


def nets():
    for hidden, output in itertools.product(("tanh", "relu", "softmax", "step"), ("linear", "softmax", "step", "tanh")):
        yield {"kind": "dense", "hidden_sizes": (7, 5), "hidden": hidden, "output": output, "keep": 1.0}
    yield {"kind": "dense", "hidden_sizes": (7, 5), "hidden": "linear", "output": "linear", "keep": 1.0}
    for sizes, keep in (((), 1.0), ((5,), 1.0), ((7, 5), 0.8)):
        yield {"kind": "dense", "hidden_sizes": sizes, "hidden": "tanh", "output": "linear", "keep": keep}
    for output, keep in itertools.product(("linear", "softmax"), (1.0, 0.8)):
        yield {"kind": "conv", "hidden_sizes": (5,), "channels": (3,), "hidden": "relu", "output": output, "keep": keep}
    for channels, blocks in itertools.product(((3,), (3, 4)), (1, 2)):
        yield {"kind": "resnet", "channels": channels, "blocks": (blocks,) * len(channels)}


def built(net):
    if net["kind"] == "resnet":
        return credit.resnet([2, 8, 8], net["channels"], net["blocks"], 4)
    how = {key: net[key] for key in ("hidden", "output", "keep")}
    if net["kind"] == "dense":
        return credit.dense([6, *net["hidden_sizes"], 4], **how)
    return credit.conv([2, 8, 8], net["channels"], net["hidden_sizes"], 4, kernel=(3, 1, 1), pool=(2, 2, 0), **how)


@pytest.mark.parametrize("name", METHODS.names())
def test_a_rule_trains_a_net_or_refuses_it_and_the_configuration_agrees(name):
    rule = credit.method(name)
    for settings_ in nets():
        net, workflow = built(settings_), PartChecker("fit.yaml")
        workflow.capable({"name": name, **plain(rule)}, settings_, "m")
        said = [line.replace("fit.yaml: m: ", "method ") for line in workflow.problems]
        planned = [
            line.replace("fit.yaml: m.hyper.", f"{name}.").replace("method net.", f"method {name}: net.")
            for line in said
        ]
        rand = credit.Rand(SEEDS, dtype=DOUBLE)
        params = net.init(rand)
        try:
            rule.check_net(net)
        except ConfigError as refused:
            assert str(refused).splitlines() == planned, settings_
            with pytest.raises(ConfigError, match=f"^{re.escape(str(refused))}$"):
                rule.init(net, params, rand)
            continue
        assert not planned, settings_
        state, batch = rule.init(net, params, rand), small_batch(net, SEEDS, 4)
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.01})
        for function in rule.pass_functions:
            getattr(rule, function)(net, params, opt, state, batch, rand)
        assert all(p.isfinite().all() for block in params.values() for p in block.values()), settings_


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.parametrize(("drawn", "members"), [([1, 2, 3], [1, 2]), ([1, 2, 3], [1]), ([1], 1), (1, [1, 2])])
def test_random_streams_of_other_members_are_refused_before_anything_is_drawn(name, drawn, members):
    rule = credit.method(name)
    net = small_net_for(name, rule.nets[0])
    params = net.init(credit.Rand(members))
    with pytest.raises(ConfigError, match=r"^rand draws for (\d members|a single network); the parameters are of "):
        rule.init(net, params, credit.Rand(drawn))
    for rand in (credit.Rand(members), 3, None):
        rule.init(net, params, rand)


MOMENTUM = {"optimizer": "adam", "momentum": 0.9}
EXCLUDED = [
    ("dfc", {"form": "linearised", "efficient": True}, {}, "form = 'linearised'; needs efficient false"),
    ("dfc", {"form": "linearised", "controller": {"tau_apical": 0.1}}, {}, "form = 'linearised'; needs noise 0"),
    ("dfc", {"form": "linearised", "noise": 0.1}, {}, "form = 'linearised'; needs noise 0"),
    ("dfc_ss", {"form": "newton", "noise": 0.1}, {}, "form = 'newton'; needs noise 0"),
    ("dfc_ssa", {"solver": "woodbury"}, {"output": "tanh"}, "solver = 'woodbury'; needs a net with hidden layers"),
    ("dfc_ssa", {"feedback": {"form": "projected", "rule": "steady"}}, {}, "feedback.form = 'projected'; needs"),
    ("dfc_ssa", {}, {"keep": 0.8}, "net.keep = 0.8; needs 1"),
    ("dfc", {}, {"hidden": "softmax"}, "net.hidden = 'softmax'; needs another activation"),
    ("mn", {}, {"keep": 0.8}, "net.keep = 0.8; needs 1"),
    ("gn", {}, {"output": "softmax"}, "net.output = 'softmax'; needs another activation"),
    ("di", {"ssa_steps": 5}, {}, "ssa_min_steps = 10; must be at most ssa_steps = 5"),
    ("ndi", {"feedback": {"name": "optimized", "leak": []}}, {}, r"feedback.leak = \[\]; must hold one number"),
    ("sdi", {"dynamics": "linearized"}, {"hidden": "relu"}, "dynamics = 'linearized'; divides by the slope"),
    ("pldrl", {"feedback": {"iterations": 3}}, {}, "feedback.iterations = 3; must be 1"),
    ("ldrl", {"feedback": {"lr": [0.1, 0.2]}}, {}, r"feedback.lr = \[0.1, 0.2\]; needs one value, or one for each"),
    ("dtp", {}, {"keep": 0.8}, "net.keep = 0.8; needs 1"),
    ("tp", {"feedback": {"iterations": [1, 2, 3]}}, {}, r"feedback.iterations = \[1, 2, 3\]; needs one value"),
    ("ddtp_linear", {"feedback": MOMENTUM}, {}, "feedback.momentum = 0.9; needs feedback.optimizer 'sgd'"),
    (
        "ldrl",
        {"feedback": {**MOMENTUM, "momentum": 0.5}},
        {},
        "feedback.momentum = 0.5; needs feedback.optimizer 'sgd'",
    ),
    ("pldrl", {"feedback": {"momentum": 0.5}}, {}, "feedback.momentum = 0.5; needs feedback.optimizer 'sgd'"),
    ("ldrl", {"feedback": {"tied": True}}, {}, "feedback.tied = True; needs feedback.init 'symmetric'"),
    ("dtp", {"feedback": {"tied": True, "init": {"name": "normal", "std": 1.0}}}, {}, "feedback.tied = True; needs"),
    (
        "ddtp_rhl",
        {"feedback": {"optimizer": "sgd", "eps": 0.1}},
        {},
        "feedback.eps = 0.1; needs feedback.optimizer 'adam'",
    ),
    ("dtpdrl", {"feedback": {"optimizer": "sgd", "betas": [0.5, 0.6]}}, {}, r"feedback.betas = \[0.5, 0.6\]; needs"),
    ("dfc", {"feedback": {"betas": [0.5, 0.6]}}, {}, r"feedback.betas = \[0.5, 0.6\]; needs feedback.optimizer 'adam'"),
    ("dfc_ss", {"feedback": {"optimizer": "rmsprop", "eps": 0.1}}, {}, "feedback.eps = 0.1; needs feedback.optimizer"),
    ("dtpdrl", {"feedback": {"iterations": [1, 2]}}, {}, r"feedback.iterations = \[1, 2\]; needs one value"),
]


@pytest.mark.parametrize(("rule", "hyper", "net", "message"), EXCLUDED)
def test_what_excludes_each_other_is_refused_when_the_workflow_is_read(tmp_path, rule, hyper, net, message):
    body = {**{k: v for k, v in FIT.items() if k != "quick"}, "methods": {"m": {"rule": rule, "hyper": hyper}}}
    body["net"] = {**body["net"], **net}
    with pytest.raises(ConfigError) as refused:
        Checkout(tmp_path, {"toy/fit": body}).workflow()
    (line,) = set(str(refused.value).splitlines())
    assert re.match(rf".*config/experiments/toy/fit.yaml: methods.m.*{message}", line), line


@pytest.mark.parametrize(
    ("rule", "feedback"),
    [
        ("ldrl", {"tied": True, "init": "symmetric"}),
        ("ldrl", {"tied": True, "init": {"name": "symmetric"}}),
        ("ldrl", {"optimizer": "adam"}),
        ("ldrl", {"optimizer": "adam", "momentum": 0.0}),
        ("pldrl", {"optimizer": "sgd", "momentum": [0.5, 0.6]}),
        ("dtpdrl", {"optimizer": "sgd", "momentum": 0.5}),
        ("ddtp_linear", {"betas": [0.5, 0.6], "eps": 0.1}),
        ("dfc", {"optimizer": "adam", "betas": [0.5, 0.6], "eps": 0.1}),
    ],
)
def test_options_of_feedback_that_have_an_effect_are_taken(rule, feedback):
    made = credit.method(rule, feedback=feedback)
    assert credit.method(rule, **plain(made)) == made  # as a resolved specification gives them, with all defaults


@pytest.mark.parametrize(
    ("rule", "feedback", "message"),
    [
        ("ldrl", {"lr": -1.0}, "must be a finite number > 0 or a list of finite numbers > 0"),
        ("dtp", {"sigma": [[0.1], [0.2]]}, "must be a finite number > 0 or a list of finite numbers > 0"),
        ("ldrl", {"momentum": 2.0}, r"must be a finite number in \[0, 1\), or a list with one for each member"),
        ("dfc", {"betas": [2.0, 0.5]}, r"must be a list of finite numbers in \[0, 1\)"),
        ("ddtp_linear", {"betas": 0.5}, r"must be a list of finite numbers in \[0, 1\)"),
    ],
)
def test_a_message_promises_values_by_member_only_where_a_list_has_no_other_meaning(rule, feedback, message):
    with pytest.raises(ConfigError, match=rf"^{rule}.feedback.\w+ = .*; {message}$"):
        credit.method(rule, feedback=feedback)


def test_what_is_varied_must_not_exclude_each_other_either(tmp_path):
    own = {"rule": "dfc_ss", "hyper": {"form": "newton"}, "vary": {"hyper.noise": [0.0, 0.1]}}
    body = {**{k: v for k, v in FIT.items() if k != "quick"}, "methods": {"m": own}}
    with pytest.raises(ConfigError, match=r"fit.yaml: methods.m: vary: hyper.form = 'newton'; needs noise 0"):
        Checkout(tmp_path, {"toy/fit": body}).workflow()


def test_the_reference_of_a_probe_must_be_defined_for_the_net(tmp_path):
    body = {**{k: v for k, v in FIT.items() if k != "quick"}, "methods": {"bp": {}}}
    body["net"] = {**body["net"], "keep": 0.8}
    body["probes"] = [{"probe": "angles", "reference": "mn"}]
    with pytest.raises(ConfigError, match=r"probes\[0\].reference = 'mn'; net.keep = 0.8; needs 1"):
        Checkout(tmp_path, {"toy/fit": body}).workflow()
