"""The linearised dynamics of DFC in its phases: exact in linear nets, of first order in others."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import credit
from credit.errors import ConfigError
from credit.methods.control import feedback as learning
from credit.methods.control import noise as noises
from credit.methods.control.linearised import layer_gains
from credit.methods.control.loops import recursion as linear
from credit.numerics import seen_noise
from credit.training.learner import Learner
from tests.conftest import dfc_hyper
from tests.unit.test_dfc import SEEDS, apart, gradients, start
from tests.unit.test_dfc_engines import problem

FLAGS = [
    {},
    {"proactive": True},
    {"tau_apical": 0.3},
    {"instant_system": True, "tau_apical": 0.3},
    {"leak": "integral"},
    {"k_p": (0.0, 2.0), "dt": (0.02, 0.03), "tau_apical": (0.2, 0.4)},
]


def relative(ours, exact):
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, exact, strict=True))


def at_rest(run):
    """The same dynamics with the feedforward output as the target, as in the feedback phase."""
    return dataclasses.replace(run, goal=torch.zeros_like(run.goal))


def correlated(run):
    sources = noises.full(run.noise.draws)
    return learning.correlated(run.frame, run.feedback, run.controller, run.noise.gains, sources)


@pytest.mark.parametrize("flags", FLAGS)
def test_the_linearised_feedback_phase_is_exact_in_a_linear_net(flags):
    run = at_rest(problem("linear", noisy=True, **flags)[0])
    assert relative(correlated(run), run.correlated()) < 1e-11


def test_the_linearised_feedback_phase_differs_by_the_order_of_the_noise():
    run = at_rest(problem("tanh", noisy=True)[0])
    found = []
    for size in (1e-2, 1e-4):
        weak = dataclasses.replace(run, noise=dataclasses.replace(run.noise, gains=[size] * 3))
        found.append(relative(correlated(weak), weak.correlated()))
    assert found[0] < 0.1
    assert found[1] < 0.02 * found[0]


@pytest.mark.parametrize("flags", [f for f in FLAGS if f])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_compiled_recursion_is_the_one_for_every_device(flags, noisy):
    run, _ = problem(**flags)
    gains = layer_gains(run.frame, run.feedback)
    noise = torch.randn(2, 37, 3, 24, 4, dtype=torch.float64) if noisy else None
    args = (gains, run.goal, run.controller, noise, True)
    ours, plain = linear.linear_run(*args), linear.stepwise(*args)
    for name, found, value in zip(plain._fields, ours, plain, strict=True):
        assert relative([found], [value]) < 1e-12, name


def test_projected_noise_is_the_noise_seen_through_the_jacobian_and_the_gradient():
    torch.manual_seed(3)
    xi, jacobian = torch.randn(2, 11, 5, 8).double(), torch.randn(2, 5, 3, 8).double()
    later = seen_noise.Later(torch.randn(2, 5, 11, 3).double())
    full = seen_noise.Full(xi, jacobian)
    root = torch.linalg.cholesky(jacobian @ jacobian.mT)
    by_sample = xi.transpose(1, 2)
    within = by_sample @ jacobian.mT @ torch.linalg.inv(root.mT)
    rest = torch.linalg.inv(later.root) @ (later.values.mT @ by_sample)  # any Y with Y^T L^T = xi^T w
    projected = seen_noise.Projected(within, rest, jacobian)
    assert relative([projected.seen(), projected.collected(later)], [full.seen(), full.collected(later)]) < 1e-9


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_projected_noise_has_the_distribution_of_full_noise(rank):
    torch.manual_seed(4)
    draws, k, n, steps = 40000, 3, 4, 6
    jacobian = (torch.randn(k, rank) @ torch.randn(rank, n)).double()
    later = torch.randn(steps, k).double()
    within, rest = torch.randn(draws, 1, steps, k).double(), torch.randn(draws, 1, k, n).double()
    ours = seen_noise.Projected(within, rest, jacobian.expand(draws, 1, k, n))
    collected = ours.collected(seen_noise.Later(later.expand(draws, 1, steps, k)))
    found = torch.cat([ours.seen().flatten(1), collected.flatten(1)], 1)
    each = torch.eye(steps * n).double().reshape(-1, steps, n)  # both are linear in the noise
    linear_map = torch.cat([(each @ jacobian.mT).flatten(1), (each.mT @ later).flatten(1)], 1)
    exact = linear_map.mT @ linear_map
    scale = exact.diagonal().sqrt().clamp(min=1e-3)
    assert float(((found.mT @ found / draws - exact) / scale / scale[:, None]).abs().max()) < 0.05
    assert float((found.mean(0) / scale).abs().max()) < 0.05


@pytest.mark.parametrize("form", ["linearised", "projected"])
def test_a_net_without_stack_axis_has_the_same_linearised_feedback_phase(form):
    net, rule, params, state, batch = start("dfc_ssa", seeds=[3], feedback_form=form)
    drawn = credit.Rand([3], dtype=torch.float64)
    expected, _ = rule.feedback_gradients(net, params, state, batch, drawn)
    one = {i: {k: v[0] for k, v in block.items()} for i, block in params.items()}
    lone = {"feedback": {i: v[0] for i, v in state["feedback"].items()}}
    single = credit.Batch(batch.x[0], batch.y[0])
    ours, _ = rule.feedback_gradients(net, one, lone, single, credit.Rand(3, dtype=torch.float64))
    assert relative(ours.values(), [g[0] for g in expected.values()]) < 1e-12


def test_feedback_gradients_of_projected_noise_have_the_mean_and_spread_of_the_linearised_ones():
    seeds = [*range(600)]
    found = {}
    for form in ("linearised", "projected"):
        net, rule, params, state, batch = start("dfc_ssa", [1] * 600, feedback_form=form, feedback_clip_norm=None)
        rand = credit.Rand(seeds, dtype=torch.float64)
        gradients = rule.feedback_gradients(net, params, state, batch, rand)[0]
        found[form] = torch.cat([g.flatten(1) for g in gradients.values()], 1)
    mean, spread = ({k: f(v) for k, v in found.items()} for f in (lambda v: v.mean(0), lambda v: v.std(0)))
    error = spread["linearised"] / len(seeds) ** 0.5
    assert float(((mean["projected"] - mean["linearised"]) / error).abs().max()) < 6
    assert float((spread["projected"] / spread["linearised"] - 1).abs().max()) < 0.2


def test_the_linearised_dfc_ss_is_exact_in_a_linear_net_and_close_elsewhere():
    flags = {"time_points": 40, "target_stepsize": 0.01}
    exact = gradients("dfc_ss", hidden="linear", **flags)
    assert apart(gradients("dfc_ss", hidden="linear", form="linearised", **flags), exact) < 1e-11
    exact = gradients("dfc_ss", **flags)
    assert 0 < apart(gradients("dfc_ss", form="linearised", **flags), exact) < 0.01


@pytest.mark.parametrize(
    "change",
    [{"feedback_rule": "forward"}, {"feedback_instant_transmission": False}, {"absolute": True}],
)
@pytest.mark.parametrize("form", ["linearised", "projected"])
def test_the_linearised_feedback_phase_refuses_what_it_does_not_describe(change, form):
    with pytest.raises(ConfigError, match=f"feedback.form = '{form}'; needs"):
        credit.method("dfc_ssa", **dfc_hyper(feedback_form=form, **change))


@pytest.mark.parametrize("change", [{"noise": 0.1}, {"tau_apical": 0.3}, {"leak": "integral"}])
def test_the_linearised_dfc_ss_refuses_dynamics_that_it_does_not_describe(change):
    with pytest.raises(ConfigError, match=r"dfc_ss.form = 'linearised'; needs"):
        credit.method("dfc_ss", form="linearised", **dfc_hyper(**change))


@pytest.mark.parametrize("form", ["linearised", "projected"])
def test_the_linearised_feedback_phase_is_compared_with_the_simulation_once_an_epoch(form):
    net, rule, params, state, batch = start("dfc_ssa", feedback_form=form)
    opt, rand = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1}), credit.Rand(SEEDS, dtype=torch.float64)
    learner = Learner(net, params, rule, opt, state, rand)
    for epoch in range(2):
        learner.start_epoch("train", epoch)
        for function in ("feedback_pass", "update", "feedback_extra"):
            learner.start_pass(function)
            learner.update(batch), learner.update(batch)
        (difference,) = learner.means["feedback_difference"]
        assert (difference < 0.1).all() and (difference > 0).all()
