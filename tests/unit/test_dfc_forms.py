"""Forms of DFC and the settings that they exclude: what is accepted is right, everything else is refused by name."""

from __future__ import annotations

import functools
import io
import itertools

import pytest
import torch

import credit
from credit.config import hyperparameters
from credit.config.parts import METHODS
from credit.errors import ConfigError
from credit.training.learner import Learner
from credit.training.loop import Training
from tests.conftest import dfc_hyper, small_batch
from tests.unit.test_dfc import SEEDS, SETTLED, apart, flat, start
from tests.unit.test_train import make_spec

SETTINGS = {
    "efficient": (False, True), "absolute": (False, True), "include_non_converged": (True, False),
    "instant_transmission": (True, False), "output": ("linear", "tanh"), "solver": ("auto", "direct", "woodbury"),
}  # fmt: skip
FORMS = [("dfc", "linearised"), ("dfc_ss", "linearised"), ("dfc_ss", "newton")]


@functools.cache
def gradient(name, output, **settings):
    """Flat gradient (M, n) from a small target; raises ConfigError for what is refused."""
    loss = "softmax_cross_entropy" if output == "linear" else "half_squared_error"
    net, rand = credit.dense([6, 7, 5, 4], "tanh", output, loss), credit.Rand(SEEDS, dtype=torch.float64)
    params = net.init(rand)
    rule = credit.method(name, **dfc_hyper(clip_norm=None, target_stepsize=1e-3, **SETTLED, **settings))
    rule.check_net(net)
    net_settings = {"output": output, "hidden_sizes": [7, 5], "keep": 1.0}
    given = hyperparameters.check(METHODS.module(name), dfc_hyper(**settings), name)
    assert not hyperparameters.exclusions(METHODS.module(name), given, net_settings)
    step = rule.gradients(net, params, rule.init(net, params, rand), small_batch(net, SEEDS), 0)
    return flat(step.gradients)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_every_combination_equals_the_simulation_or_is_refused(name, form):
    accepted, refused = 0, 0
    for values in itertools.product(*SETTINGS.values()):
        given = dict(zip(SETTINGS, values, strict=True))
        reference = gradient(name, **given | {"form": "simulation", "solver": "auto", "absolute": False})
        try:
            ours = gradient(name, form=form, **given)
        except ConfigError as error:
            assert all("; needs " in line for line in str(error).splitlines()), given
            refused += 1
        else:
            assert apart(ours, reference) < 0.02, given
            accepted += 1
    assert accepted >= 10
    assert refused >= 10


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("dfc", {"form": "linearised", "efficient": True}, "dfc.form = 'linearised'; needs efficient false"),
        ("dfc_ss", {"form": "newton", "noise": 0.1}, "dfc_ss.form = 'newton'; needs noise 0"),
        ("dfc_ss", {"form": "newton", "noise": [0.0, 0.1]}, "dfc_ss.form = 'newton'; needs noise 0"),
        ("dfc_ss", {"form": "linearised", "noise": 0.1}, "dfc_ss.form = 'linearised'; needs noise 0"),
    ],
)
def test_what_excludes_each_other_is_named(name, settings, said):
    with pytest.raises(ConfigError, match=said):
        credit.method(name, **dfc_hyper(**settings))


@pytest.mark.parametrize("name", ["dfc", "dfc_ss", "dfc_ssa"])
@pytest.mark.parametrize(
    "net", [{"output": "tanh", "hidden_sizes": [7], "keep": 1.0}, {"output": "linear", "hidden_sizes": [], "keep": 1.0}]
)
def test_woodbury_needs_a_linear_output_above_a_hidden_layer(name, net):
    built = credit.dense([6, *net["hidden_sizes"], 4], "tanh", net["output"], "half_squared_error")
    rule = credit.method(name, solver="woodbury")
    with pytest.raises(ConfigError, match=f"{name}.solver = 'woodbury'; needs a net with hidden layers"):
        rule.check_net(built)
    given = hyperparameters.check(METHODS.module(name), {"solver": "woodbury"}, name)
    (problem,) = hyperparameters.exclusions(METHODS.module(name), given, net)
    assert problem.startswith("solver = 'woodbury'; needs")


@pytest.mark.parametrize("function", ["pretrain", "feedback_pass"])
@pytest.mark.parametrize("name", ["dfc", "dfc_ss", "dfc_ssa"])
def test_a_time_step_too_long_for_the_feedback_phase_is_named_before_anything_is_learned(name, function):
    net, rule, params, state, batch = start(name, feedback_dt=1.0, feedback_tau=1.0, feedback_k_p=5.0)
    learner = Learner(net, params, rule, None, state, credit.Rand(SEEDS))
    found = rule.inspect(net, params, state, batch, learner.rand, function, epoch=1)
    assert (found["feedback_spectral_radius"] > 1).all()
    learner.start_epoch("train", 0)
    learner.start_pass(function)
    with pytest.raises(ConfigError, match=rf"{name}.feedback.dt = 1.0 .*k_p = 5.0: .* shorter time step"):
        learner.update(batch)


@pytest.mark.parametrize("name", ["dfc", "dfc_ss", "dfc_ssa"])
def test_a_member_whose_feedback_phase_is_unstable_diverges_though_its_gradients_are_clipped(name):
    spec = make_spec(name, seeds=(1,), epochs=2, lr=0.01, vary={"hyper.feedback.k_p": [0.1, 1000.0]})
    spec["rule"] |= {"feedback": {"time_points": 200}, "pretrain_epochs": 1}
    training = Training(spec, log=io.StringIO())
    records = training.run()
    assert training.alive == [True, False]
    lost = {r["feedback_k_p"] for r in records if r["metric"] == "diverged"}
    assert lost == {1000.0}
    assert all(torch.isfinite(p).all() for block in training.learner.params.values() for p in block.values())


def test_rules_of_the_feedback_without_dynamics_have_no_radius():
    for rule_of_feedback in ("forward", "steady"):
        net, rule, params, state, batch = start("dfc_ssa", feedback_rule=rule_of_feedback)
        rand = credit.Rand(SEEDS, dtype=torch.float64)
        assert rule.inspect(net, params, state, batch, rand, "feedback_pass", epoch=0) == {}
