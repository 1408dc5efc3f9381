"""The compiled loops of DFC's controller against the simulation step by step."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

import credit
from credit.methods.control import simulation as _dfc_simulation
from credit.methods.control.controller import Controller
from credit.methods.control.frame import Deviation
from credit.methods.control.loops.arrays import Noise
from credit.methods.control.simulation import Simulation
from credit.nets import activations, differences
from credit.nets.activations import difference

DOUBLE = torch.float64
ENGINES = ["small", "large", "grouped"]
FLAGS = [
    {},
    {"proactive": True},
    {"instant_transmission": False},
    {"instant_transmission": False, "proactive": True, "tau_apical": 0.3},
    {"instant_system": True, "tau": 0.4},
    {"leak": "integral", "tau_apical": 0.2},
    {"k_p": (0.0, 2.0), "alpha": (0.1, 0.02), "dt": (0.02, 0.03), "tau": (0.1, 0.2)},
]
HIDDEN = ["tanh", "relu", "relu_closed", "leakyrelu", "linear"]


def problem(hidden="tanh", batch=37, size=0.3, noisy=False, dtype=DOUBLE, seeds=(3, 8), sizes=(6, 7, 5, 4), **flags):
    """(simulation, parameters); with `noisy`, one gain is different in the members."""
    net = credit.dense(list(sizes), hidden)
    rand = credit.Rand(seeds, dtype=dtype)
    params = net.init(rand)
    feedback = [rand.normal(f"q.{i}", (n, sizes[-1])) for i, n in enumerate(sizes[1:])]
    frame = Deviation(net, params, net.forward(params, rand.normal("x", (batch, sizes[0]))))
    goal = frame.goal(size * rand.normal("goal", (batch, sizes[-1])))
    controller = Controller(**({"alpha": 0.05, "k_p": 1.0, "dt": 0.02, "steps": 25, "tau": 0.1} | flags))
    noise = None
    if noisy:
        draws = [rand.normal(f"noise.{i}", (24, batch, n)) for i, n in enumerate(sizes[1:])]
        noise = Noise(draws, [0.02, (0.01, 0.05), *[0.0] * (len(sizes) - 3)])
    return Simulation(frame, feedback, goal, controller, noise, "plain"), params


class Plain(Deviation):
    """Deviations without compiled parts."""

    def rate(self, i, voltage):
        return difference(self.phi[i], self.pre[i], self.act[i], voltage)

    def step(self, i, base, shift):
        pre = self.pre[i] + base
        return difference(self.phi[i], pre, self.phi[i].value(pre), shift)


def each_tensor(frame, change, kind=Deviation):
    """The frame with all its tensors changed."""
    other = object.__new__(kind)
    for name, value in vars(frame).items():
        if isinstance(value, torch.Tensor):
            value = change(value)
        elif name not in ("phi", "members"):
            value = [None if t is None else change(t) for t in value]
        setattr(other, name, value)
    other.members = len(other.pre[0]) if other.pre[0].ndim > 2 else 0
    return other


def together(*lists):
    """Tensors by layer as one vector for each list."""
    return [torch.cat([t.flatten() for t in tensors]) for tensors in lists if tensors]


def outcome(simulation, params, engine, rule="nonlinear_difference", keep=None):
    """Everything that can be asked of a simulation, as vectors."""
    run = dataclasses.replace(simulation, engine=engine)
    if engine == "plain":
        run = dataclasses.replace(run, frame=each_tensor(run.frame, lambda t: t, Plain))
    total, last = run.taught(params, rule, keep)
    end = run.last()
    points = [last, end] if keep is None else [end]
    lists = [x for p in points for x in (p.apical, p.basal, p.somatic, p.rates, [p.control])]
    return together(*lists, total.signals, total.crossed, run.correlated())


def largest(ours, plain):
    """Largest deviation over all quantities, relative to the largest entry of each."""
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-300)) for a, b in zip(ours, plain, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("noisy", [False, True])
def test_compiled_loops_do_what_the_plain_one_does(engine, flags, noisy):
    run, params = problem(noisy=noisy, **flags)
    assert largest(outcome(run, params, engine), outcome(run, params, "plain")) < 1e-12


@pytest.mark.parametrize("engine", ["plain", *ENGINES])
def test_members_may_share_their_noise(engine):
    run, params = problem(noisy=True)
    draws = [xi[1:] for xi in run.noise.draws]
    copied = dataclasses.replace(run, noise=Noise([xi.expand(2, -1, -1, -1) for xi in draws], run.noise.gains))
    shared = dataclasses.replace(run, noise=Noise(draws, run.noise.gains, torch.tensor([0, 0])))
    assert largest(outcome(shared, params, engine), outcome(copied, params, engine)) == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("rule", ["nonlinear_difference", "voltage_difference", "derivative_matrix"])
def test_compiled_loops_know_the_activations_and_the_rules(engine, hidden, rule):
    run, params = problem(hidden)
    assert largest(outcome(run, params, engine, rule), outcome(run, params, "plain", rule)) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("noisy", [False, True])
def test_compiled_loops_leave_samples_out(engine, noisy):
    run, params = problem(noisy=noisy)
    keep = torch.arange(2 * 37).reshape(2, 37) % 3 > 0
    assert largest(outcome(run, params, engine, keep=keep), outcome(run, params, "plain", keep=keep)) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_a_long_way_from_rest_takes_the_exact_form(engine):
    run, params = problem(size=60.0, dt=0.1, steps=40)
    assert float(run.last().somatic[0].abs().max()) > 3
    assert largest(outcome(run, params, engine), outcome(run, params, "plain")) < 1e-11


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("flags", [{}, {"tau_apical": 0.3}, {"proactive": True}])
def test_an_output_feedback_that_is_the_identity_needs_no_product(engine, identity, flags):
    run, params = problem(sizes=(3, 4, 6), **flags)
    if identity:
        run.feedback[-1].copy_(torch.eye(6, dtype=DOUBLE))
    assert largest(outcome(run, params, engine), outcome(run, params, "plain")) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sizes", [(5, 3), (4, 6, 3)])
@pytest.mark.parametrize("batch", [1, 32, 64])
def test_compiled_loops_take_every_depth_and_batch(engine, sizes, batch):
    run, params = problem(sizes=sizes, batch=batch, steps=9)
    assert largest(outcome(run, params, engine), outcome(run, params, "plain")) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_single_precision_is_enough_however_small_the_control(engine):
    double, params = problem(size=1e-6)
    single = dataclasses.replace(
        double,
        frame=each_tensor(double.frame, torch.Tensor.float),
        feedback=[q.float() for q in double.feedback],
        goal=double.goal.float(),
    )
    exact = outcome(double, params, "plain")
    ours = outcome(single, {i: {k: v.float() for k, v in b.items()} for i, b in params.items()}, engine)
    assert all(one.dtype == torch.float32 for one in ours)
    assert largest([one.double() for one in ours], exact) < 5e-6


@pytest.mark.parametrize("engine", ENGINES)
def test_a_net_without_stack_axis_and_several_threads_change_nothing(engine):
    run, params = problem(seeds=(3,))
    alone = Simulation(
        each_tensor(run.frame, lambda t: t[0]),
        [q[0] for q in run.feedback],
        run.goal[0],
        run.controller,
        run.noise,
        engine,
    )
    single = {i: {k: v[0] for k, v in block.items()} for i, block in params.items()}
    expected = outcome(run, params, engine)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        ours = outcome(alone, single, engine)
    finally:
        torch.set_num_threads(threads)
    assert largest(ours, expected) < 1e-13


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_that_diverges_does_not_touch_the_others(engine):
    run, params = problem()
    expected = outcome(run, params, engine)
    broken = [q.clone() for q in run.feedback]
    broken[0][1] = math.nan
    net_end = dataclasses.replace(run, feedback=broken, engine=engine).last()
    assert net_end.somatic[0][1].isnan().all()
    good = dataclasses.replace(run, engine=engine).last()
    for ours, alone in zip(net_end.somatic, good.somatic, strict=True):
        assert torch.equal(ours[0], alone[0])
    assert all(one.isfinite().all() for one in expected)


def test_the_fraction_is_tanh_to_rounding_up_to_one_half():
    phi, rng = activations.get("tanh"), np.random.default_rng(0)
    pre, x = rng.normal(0, 2, 4000), rng.uniform(-0.5, 0.5, 4000)
    act, out = np.tanh(pre), np.empty(4000)
    differences.rates(differences.TANH, 0.0, x, pre, act, 1 - act * act, out, differences.CONSTANTS)
    a, d = torch.from_numpy(pre), torch.from_numpy(x)
    torch.testing.assert_close(torch.from_numpy(out), difference(phi, a, phi.value(a), d), rtol=1e-11, atol=1e-16)


def test_what_cannot_be_compiled_is_simulated_step_by_step(monkeypatch):
    run, params = problem("sigmoid")
    monkeypatch.setattr(_dfc_simulation, "prepare", lambda *_: pytest.fail("compiled"))
    assert torch.equal(dataclasses.replace(run, engine="auto").last().control, run.last().control)
    assert params
