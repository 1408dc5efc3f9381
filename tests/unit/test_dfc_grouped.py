"""Feedback phases of DFC in groups of samples side by side: the same as the plain forms, whatever net and noise."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import credit
from credit.methods.control import feedback as learning
from credit.methods.control import seen
from credit.methods.control.controller import Controller
from credit.methods.control.frame import Deviation
from credit.methods.control.loops.arrays import Noise
from credit.methods.control.noise import draw_over_time, draw_projected, full
from credit.methods.control.simulation import Simulation

DOUBLE, SINGLE = torch.float64, torch.float32
TOLERANCE = {DOUBLE: 1e-11, SINGLE: 1e-5}
DYNAMICS = {"alpha": 0.3, "k_p": 0.1, "dt": 0.01, "steps": 21, "tau": 0.05, "tau_apical": 0.3}
NETS = [
    ([9, 40, 36, 44, 3], "tanh", "linear"),
    ([9, 40, 36, 5], "relu", "tanh"),
    ([9, 40, 7], "sigmoid", "sigmoid"),
    ([9, 60, 60, 11], "linear", "linear"),
    ([9, 33, 50, 1], "elu", "relu"),
]


def problem(sizes=(9, 40, 36, 44, 2), hidden="tanh", output="linear", seeds=(3, 8), batch=37, dtype=DOUBLE, **dynamics):
    """Frame, feedback and controller of a net."""
    net = credit.dense(list(sizes), hidden, output, "mse")
    rand = credit.Rand(seeds, dtype=dtype)
    params = net.init(rand)
    feedback = [rand.normal(f"q.{i}", (n, sizes[-1])) for i, n in enumerate(sizes[1:])]
    frame = Deviation(net, params, net.forward(params, rand.normal("x", (batch, sizes[0]))))
    return frame, feedback, Controller(**(DYNAMICS | dynamics))


def noise_of(frame, controller, seeds=(3, 8)):
    return draw_projected(credit.Rand(seeds, dtype=frame.act[0].dtype), "noise", frame, controller.steps - 1)


def apart(ours, plain):
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, plain, strict=True))


def both(frame, feedback, controller, noise, factors=None):
    """How far the fast form is from the plain one."""
    factors = factors or [0.1] * (len(frame) - 1) + [0.2]
    assert seen.possible(frame, controller, noise)
    ours, plain = (form.correlated(frame, feedback, controller, factors, noise) for form in (seen, learning))
    assert [g.dtype for g in ours] == [g.dtype for g in plain]
    return apart(ours, plain)


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
@pytest.mark.parametrize(("sizes", "hidden", "output"), NETS)
def test_projected_noise_in_groups_gives_the_plain_sums(sizes, hidden, output, dtype):
    frame, feedback, controller = problem(sizes, hidden, output, dtype=dtype)
    assert both(frame, feedback, controller, noise_of(frame, controller)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dynamics", [{"tau_apical": None}, {"instant_system": True}, {"steps": 4}])
@pytest.mark.parametrize("batch", [1, 16, 48])
def test_projected_noise_in_groups_takes_every_batch_and_length(dynamics, batch):
    frame, feedback, controller = problem(batch=batch, **dynamics)
    assert both(frame, feedback, controller, noise_of(frame, controller)) < 1e-11


def test_constants_and_noise_may_differ_between_members():
    varied = {"alpha": (0.1, 0.4), "k_p": (0.0, 0.3), "dt": (0.01, 0.02), "tau": (0.05, 0.1), "tau_apical": (0.2, 0.3)}
    frame, feedback, controller = problem(**varied)
    factors = [0.1, (0.1, 0.3), 0.2, (0.0, 0.5)]
    assert both(frame, feedback, controller, noise_of(frame, controller), factors) < 1e-11


def test_given_noise_is_taken_as_it_is():
    frame, feedback, controller = problem()
    drawn = noise_of(frame, controller)
    names = {"noise.3": drawn[3].within.tensor(DOUBLE, torch.device("cpu")).transpose(1, 2)}
    for i, layer in enumerate(drawn[:3]):
        names |= {f"noise.{i}": layer.within.tensor(DOUBLE, torch.device("cpu"))}
        names |= {f"noise_rest.{i}": layer.rest.tensor(DOUBLE, torch.device("cpu"))}
    given = draw_projected(credit.Rand([3, 8], dtype=DOUBLE).with_replay(names), "noise", frame, controller.steps - 1)
    factors = [0.1] * 4
    ours, again = (seen.correlated(frame, feedback, controller, factors, noise) for noise in (drawn, given))
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    assert both(frame, feedback, controller, given) < 1e-11


@pytest.mark.parametrize("form", ["projected", "simulation"])
def test_threads_change_no_bit_and_a_net_without_stack_axis_is_one_of_a_stack(form):
    frame, feedback, controller = problem(seeds=[8], batch=70)
    alone = problem(seeds=8, batch=70)
    found = []
    for threads, one, seeds in ((1, (frame, feedback), [8]), (3, (frame, feedback), [8]), (2, alone[:2], 8)):
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(threads)
            if form == "projected":
                sums = seen.correlated(*one, controller, [0.1] * 4, noise_of(one[0], controller, seeds))
            else:
                draws = draw_over_time(credit.Rand(seeds, dtype=DOUBLE), "noise", one[0], controller.steps - 1)
                goal = torch.zeros_like(one[0].act[-1])
                sums = Simulation(*one, goal, controller, Noise(draws, [0.1] * 4), "grouped").correlated()
        finally:
            torch.set_num_threads(before)
        found.append(sums)
    for first, second, lone in zip(*found, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first[0], lone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
def test_a_sample_that_the_noise_cannot_reach_teaches_nothing(dtype):
    frame, feedback, controller = problem([9, 40, 36, 5], "relu", dtype=dtype, batch=20)
    for slope in frame.slopes[:-1]:
        slope[:, 3] = 0
    noise = noise_of(frame, controller)
    assert both(frame, feedback, controller, noise) < TOLERANCE[dtype]
    sums = seen.correlated(frame, feedback, controller, [0.1] * 3, noise)
    assert all(g.isfinite().all() for g in sums)


@pytest.mark.parametrize("form", ["projected", "simulation"])
def test_a_member_that_is_not_finite_does_not_touch_the_others(form):
    frame, feedback, controller = problem()
    broken = [q.clone() for q in feedback]
    broken[0][1] = torch.nan

    def sums(q):
        if form == "projected":
            return seen.correlated(frame, q, controller, [0.1] * 4, noise_of(frame, controller))
        draws = draw_over_time(credit.Rand([3, 8], dtype=DOUBLE), "noise", frame, controller.steps - 1)
        goal = torch.zeros_like(frame.act[-1])
        return Simulation(frame, q, goal, controller, Noise(draws, [0.1] * 4), "grouped").correlated()

    for ours, good in zip(sums(broken), sums(feedback), strict=True):
        assert torch.equal(ours[0], good[0])
        assert not ours[1].isfinite().all()


def test_other_noise_and_other_nets_take_the_plain_form(monkeypatch):
    monkeypatch.setattr(seen, "correlated", lambda *_: pytest.fail("in groups"))
    narrow, wide, single = ([9, 6, 40, 5], [9, 60, seen.WIDEST + 1], [9, 4])
    for sizes in (narrow, wide, single):
        frame, feedback, controller = problem(sizes)
        noise = noise_of(frame, controller)
        assert not seen.possible(frame, controller, noise)
        assert len(learning.linear_rule(frame, feedback, controller, [0.1] * len(frame), noise)) == len(frame)
    frame, feedback, controller = problem()
    draws = full(draw_over_time(credit.Rand([3, 8], dtype=DOUBLE), "noise", frame, controller.steps - 1))
    assert not seen.possible(frame, controller, draws)
    noise = noise_of(frame, controller)
    assert seen.possible(frame, controller, noise)
    for change in ({"proactive": True}, {"leak": "integral"}, {"instant_transmission": False}):
        assert not seen.possible(frame, dataclasses.replace(controller, **change), noise)


@pytest.mark.parametrize("engine", ["small", "large", "grouped"])
@pytest.mark.parametrize("dtype", [DOUBLE, SINGLE])
@pytest.mark.parametrize(("hidden", "seeds"), [("tanh", [3, 8]), ("relu", [8, 8, 3]), ("leakyrelu", [4])])
def test_noise_that_is_drawn_on_the_way_is_the_one_that_is_drawn_at_once(engine, dtype, hidden, seeds):
    frame, feedback, controller = problem(hidden=hidden, seeds=seeds, dtype=dtype, batch=45)
    sums = []
    for one in (engine, "plain"):
        draws = draw_over_time(credit.Rand(seeds, dtype=dtype), "noise", frame, controller.steps - 1)
        goal = torch.zeros_like(frame.act[-1])
        sums.append(Simulation(frame, feedback, goal, controller, Noise(draws, [0.01] * 4), one).correlated())
    assert apart(*sums) < TOLERANCE[dtype]


def test_the_feedback_phase_runs_in_groups_but_for_many_outputs(monkeypatch):
    asked = []
    from credit.methods.control import simulation

    monkeypatch.setattr(simulation.grouped, "correlated", lambda *a: asked.append("grouped") or [torch.zeros(1)])
    monkeypatch.setattr(Simulation, "_run", lambda self, collect: asked.append(self._engine()) or self)
    monkeypatch.setattr(Simulation, "sums", [], raising=False)
    for sizes in ([9, 10, 5], [9, 100, 100, 5], [9, 100, 100, 80]):
        frame, feedback, controller = problem(sizes)
        Simulation(frame, feedback, torch.zeros_like(frame.act[-1]), controller).correlated()
    assert asked == ["grouped", "grouped", "large"]
