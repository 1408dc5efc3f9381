"""Motor learning and fear conditioning against recordings of the official code of Song et al. (2024), in float32."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import credit
from credit.analysis.fits import best, least_squares
from credit.tasks.base import Context
from credit.tasks.conditioning import ConditioningConfig
from credit.tasks.motor import CUES, FIELDS, NAMES, REST, MotorConfig, Session, drawn
from credit.training.learner import Learner
from tests.golden.recordings import COMPLETE, HERE, Recording

sources = pytest.mark.parametrize("source", ["slices", "complete"])
MOTOR = {"pc": {"steps": 256, "inference": {"lr": 0.1, "discount": 0.9}}, "bp": {}}
FEAR = {"pc": {"steps": 200, "inference": {"lr": 0.5, "discount": 0.5}}, "bp": {}}


def load(source, name):
    return Recording((HERE if source == "slices" else COMPLETE) / f"pc_{name}.npz")


def learner_of(name, hyper, weights, optimizer, n_out, dtype=torch.float32):
    """A learner of nets 2-2-n_out with a hidden unit for each input; weights: of both layers, (M, n, k)."""
    rule, members = credit.method(name, **hyper), len(weights[0])
    net = credit.dense([2, 2, n_out], "linear", loss="squared_error_sum", bias=False, connections=["diagonal", "full"])
    params = {str(i): {"weight": w.to(dtype).contiguous().clone()} for i, w in enumerate(weights)}
    opt = rule.optimizer(net, params, {}, {"name": "sgd", **optimizer})
    rand = credit.Rand(list(range(members)), dtype=dtype)
    return Learner(net, params, rule, opt, {}, rand), Context(rand, members, torch.device("cpu"), dtype)


# ---- motor learning


def recorded_session(file, std):
    """The recorded trials as a session of tests of seven, with the trials before the first washout as its training.

    Where the recorded washouts are shorter, there is rest.
    """
    kinds = [next(k for k in range(1, 7) if (CUES[k][1], *FIELDS[k]) == tuple(row)) for row in file[f"{std}_trials"]]
    firsts = file[f"{std}_pred_trial_index"].reshape(-1, 2)[:, 0].tolist()
    start = firsts[0] - 2
    found, begin = kinds[:start], start
    for first in firsts:
        found += [REST] * (6 - (first - begin)) + kinds[begin : first + 3]
        begin = first + 3
    assert begin == len(kinds)
    return Session(torch.tensor([found]), torch.tensor(file[f"{std}_group"])[None], start, 9)


@sources
@pytest.mark.parametrize("rule", ["pc", "bp"])
@pytest.mark.parametrize("std", [0, 1], ids=["small", "larger"])
def test_adaptation_in_a_recorded_session_is_the_recorded_one(source, rule, std, monkeypatch):
    file, members = load(source, "coin"), 72
    name = f"stream_std{(1e-5, 0.1)[std]:g}"
    monkeypatch.setattr("credit.tasks.motor.drawn", lambda config, rand: recorded_session(file, name))
    first, second = (
        torch.tensor(x).flatten().tolist() for x in np.meshgrid(file["lr"], file["memory_lr"], indexing="ij")
    )
    weights = [torch.tensor(file[f"{name}_W{i}"]).expand(members, 2, 2) for i in (1, 2)]
    learner, context = learner_of(rule, MOTOR[rule], weights, {"lr": {"0": first, "1": second}}, 2)
    learner.rand = credit.Rand([int(file["seeds"][0])] * members)
    task = MotorConfig().build(context)
    task.epoch(learner, learner.rand)
    found = task.evaluate(learner, learner.net.loss, ("probes",))
    ours = torch.stack([found[name] for name in NAMES], -1).numpy().reshape(12, 6, 4)
    place = list(np.round(np.log10(file["init_std"]))).index((-5, -1)[std])
    recorded = file["values"][("pc", "bp").index(rule), place, :, :, 0]
    deviation = np.abs(ours - recorded).max(-1) / np.abs(recorded).max(-1)
    assert deviation.max() < (1e-3 if rule == "pc" else 2e-5)


def keys_of(trials, base, size):
    """Numbers (size,) by whose order `base` becomes these trials."""
    places = {kind: [i for i, b in enumerate(base) if b == kind] for kind in set(base)}
    keys = [0.5] * size
    for rank, trial in enumerate(trials):
        keys[places[trial].pop(0)] = rank / len(trials)
    return keys


def test_the_recorded_trials_are_a_session_of_the_task():
    file, config = load("slices", "coin"), MotorConfig()
    session = recorded_session(file, "stream_std0.1")
    kinds, start = session.kinds[0].tolist(), session.training
    bounds = [i for i in range(1, start) if kinds[i] in (3, 6) and kinds[i - 1] in (1, 2)]
    ends = [*(b - 2 for b in bounds[1:]), start]
    lengths = [end - b - 34 for b, end in zip(bounds, ends, strict=True)]
    draws = {name: [] for name in ("channels", "fields", "washout_trials", "second_trials", "test_trials", "probes")}
    split = []
    for cycle in range(0, 24, 3):  # which of two washouts ends where is only seen where the trials of a cue balance
        ways = itertools.product(itertools.permutations((28, 32, 36)), itertools.permutations((12, 16, 20)))
        split += next(
            list(zip(*way, strict=True)) for way in ways
            if all(a + b == lengths[cycle + i] and kinds[bounds[cycle + i] + 34 :][:a].count(1) * 2 == a
                   for i, (a, b) in enumerate(zip(*way, strict=True)))
        )  # fmt: skip
    for b, (one, two) in zip(bounds, split, strict=True):
        pair, blocks = (1, 2), [kinds[b + 8 * k :][:8] for k in range(4)]
        draws["channels"].append([keys_of(kinds[b - 2 : b], pair, 2), keys_of(kinds[b + 32 : b + 34], pair, 2)])
        draws["fields"].append([keys_of(part, [3] * 4 + [6] * 4, 8) for part in blocks])
        for name, at, n, size in (("washout_trials", 34, one, 36), ("second_trials", 34 + one, two, 20)):
            draws[name].append(keys_of(kinds[b + at :][:n], [1] * (n // 2) + [2] * (n // 2), size))
    tests = [[k for k in kinds[start + 9 * i :][:6] if k != REST] for i in range(32)]
    draws["test_trials"] = [keys_of(t, [1] * (len(t) // 2) + [2] * (len(t) // 2), 6) for t in tests]
    draws["probes"] = [keys_of(group, range(4), 4) for group in session.probes[0].reshape(8, 4).tolist()]
    first, second = zip(*split, strict=True)
    lists = {"washouts": first, "second_washouts": second, "test_washouts": [len(t) for t in tests]}
    for name, taken in lists.items():
        values = getattr(config, name)
        cycles = [taken[i : i + 3] for i in range(0, len(taken), 3)]
        draws[name] = [keys_of([*c, *(set(values) - {*c} if len(c) < 3 else ())], values, 3) for c in cycles]
    rand = credit.Rand([0], dtype=torch.float64).with_replay(
        {f"motor.{name}": torch.tensor([keys], dtype=torch.float64) for name, keys in draws.items()}
    )
    ours = drawn(config, rand)
    assert ours.training == start and ours.test == session.test
    assert torch.equal(ours.kinds, session.kinds) and torch.equal(ours.probes, session.probes)


def test_fits_of_the_whole_motor_grid_are_the_recorded_ones():
    file = load("complete", "coin")
    runs, data = file["values"], file["data_means"]
    fit = least_squares(runs.mean(-2), data)
    np.testing.assert_allclose(fit.scale, file["k"], rtol=1e-12)
    np.testing.assert_allclose(fit.error, file["fit_error"], rtol=1e-12)
    spreads = np.abs(fit.scale) * (runs.std(-2, ddof=1) / np.sqrt(24)).mean(-1)
    for rule, at, error in ((0, (4, 7, 2), 0.000676), (1, (5, 0, 3), 0.0353)):
        point = best(fit.error[rule].ravel(), spreads[rule].ravel())
        assert np.unravel_index(point, (6, 12, 6)) == at
        assert fit.error[rule].ravel()[point] == pytest.approx(error, rel=2e-3)


# ---- fear conditioning


def starts(seed, std):
    """Weights of the second layer as the official code draws them, (1, 2)."""
    torch.manual_seed(int(seed))
    return torch.empty(1, 2).normal_(0.1, float(std)).abs()


def rates_of(points):
    """Optimiser settings of members with (m_L rate, m_N rate, perception rate)."""
    light, noise, perception = (list(map(float, column)) for column in zip(*points, strict=True))
    return {"lr": {"0": perception, "1": 1.0}, "units": {"1": {"0": light, "1": noise}}}


GROUPS = ("LN+", "LN+,L-", "N+")


@sources
@pytest.mark.parametrize("rule", ["pc", "bp"])
@pytest.mark.parametrize("group", range(3), ids=GROUPS)
def test_fear_is_the_recorded_one_for_every_rate_seed_and_width(source, rule, group):
    file = load(source, "fear")
    recorded = file["values"][("pc", "bp").index(rule), :, :, :, :, group]
    grid, widths, seeds = file["lr_grid"], file["init_std"], file["seeds"]
    of = {(w, s): starts(s, w) for w in widths for s in seeds}
    points = list(itertools.product(widths, grid, grid, grid, seeds))
    weights = [torch.eye(2).expand(len(points), 2, 2), torch.stack([of[p[0], p[4]] for p in points])]
    learner, context = learner_of(rule, FEAR[rule], weights, rates_of([p[1:4] for p in points]), 1)
    task = ConditioningConfig(GROUPS[group]).build(context)
    task.epoch(learner, learner.rand)
    ours = task.evaluate(learner, learner.net.loss, ("stimuli",))["fear"].numpy().reshape(recorded.shape)
    deviation = np.abs(ours - recorded)  # rounding decides in a few runs whether an energy at rest has fallen
    assert (deviation <= 1e-6).mean() > 0.985 and deviation.max() < (5e-6 if rule == "pc" else 1e-6)


@sources
@pytest.mark.parametrize("run", range(5))
def test_an_official_run_of_conditioning_is_followed_update_by_update(source, run):
    file = load(source, "fear")
    seed, std, light, noise, perception, group, is_pc = file["official_configs"][run]
    rule = "pc" if is_pc else "bp"
    weights = [torch.eye(2)[None], starts(seed, std)[None]]
    learner, context = learner_of(rule, FEAR[rule], weights, rates_of([(light, noise, perception)]), 1)
    task, ours = ConditioningConfig(GROUPS[int(group)]).build(context), []
    visit = learner.visit

    def one_by_one(order, take, size, whose):
        for part in order.split(1, 1):
            visit(part, take, size, whose)
            first, second = (learner.params[i]["weight"][0] for i in "01")
            fear = task.evaluate(learner, learner.net.loss, ())["fear"]
            ours.append([*map(float, (first[0, 0], first[1, 1], *second[0], fear[0]))])

    learner.visit = one_by_one
    task.epoch(learner, learner.rand)
    np.testing.assert_allclose(ours, file[f"official_{run}"], rtol=0, atol=2e-6)


@sources
def test_fits_of_fear_are_the_recorded_ones(source):
    file = load(source, "fear")
    runs, data = file["values"], file["data_means"]
    fit = least_squares(runs.mean(-1), data, offset=True)
    np.testing.assert_allclose(fit.scale, file["k"], rtol=1e-8)
    np.testing.assert_allclose(fit.offset, file["b"], rtol=1e-8)
    np.testing.assert_allclose(fit.error, file["fit_error"], rtol=1e-4)
    spreads = np.abs(fit.scale) * (runs.std(-1, ddof=1) / np.sqrt(8)).mean(-1)
    points = [best(fit.error[0, w].ravel(), spreads[0, w].ravel()) for w in range(4)]
    assert [np.unravel_index(p, (4, 4, 4)) for p in points[:1]] == [(3, 0, 3)]
    assert np.take(fit.error[0, 0].ravel(), points[0]) == pytest.approx(2.30, abs=0.005)
    tied = best(fit.error[1, 0].ravel(), spreads[1, 0].ravel())  # all points of backpropagation are as good
    assert spreads[1, 0].ravel()[tied] == spreads[1, 0].min()
