"""Deep Q-learning: environments against gymnasium's, replay, statistics, exploration, and what a run does with them."""

from __future__ import annotations

import copy
import io
import json

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import credit
from credit.config import hyperparameters
from credit.dag.checks import experience_problems, task_problems
from credit.dag.cost import samples
from credit.dag.start import task_shape
from credit.errors import ConfigError
from credit.nets.base import Batch
from credit.provenance.spec import VERSION
from credit.tasks.base import Context
from credit.tasks.control import Control
from credit.tasks.reinforcement.acting import compiled_greedy, greedy
from credit.tasks.reinforcement.environments import CompiledEnvironments, Environments
from credit.tasks.reinforcement.exploration import epsilon, explored
from credit.tasks.reinforcement.names import SPACES
from credit.tasks.reinforcement.replay import CompiledReplay, Replay, drawn
from credit.tasks.reinforcement.returns import Returns
from credit.tasks.reinforcement.running import CompiledStatistics, RunningStatistics
from credit.training.learner import Learner
from credit.training.loop import Training
from tests.unit.small_checkout import Checkout

SEEDS = [3, 8, 3]
SMALL = {"episodes": 2, "updates": 2, "batch_size": 8, "capacity": 200, "learn_from": 40, "limit": 30, "window": 3}


def built(seeds=SEEDS, dtype=torch.float64, **settings):
    rand = credit.Rand(seeds, dtype=dtype)
    task = Control(**{"environment": "CartPole-v1", **SMALL, **settings})
    return task.build(Context(rand, len(seeds), torch.device("cpu"), dtype)), rand


class Seen:
    """A learner that keeps its mini-batches; values of actions are those of a fixed matrix."""

    def __init__(self, task):
        generator = torch.Generator().manual_seed(1)
        shape = len(task.returns.total), task.n_out, *task.shape_in
        self.w = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.batches, self.learns = [], []

    def predict(self, x):
        return x @ self.w.mT

    def update(self, batch, learns=None):
        self.batches.append(batch)
        self.learns.append(learns.clone())


# ---- environments


@pytest.mark.parametrize("name", SPACES)
def test_sizes_and_limits_are_those_of_gymnasium(name):
    spec = gymnasium.spec(name)
    made = gymnasium.make(name, disable_env_checker=True)
    assert SPACES[name] == (*made.observation_space.shape, made.action_space.n, spec.max_episode_steps)


@pytest.mark.parametrize("name", SPACES)
def test_compiled_steps_are_those_of_gymnasium(name):
    """Each from the very state that gymnasium has; random actions, and such as push the way things move."""
    rng, one, own = np.random.default_rng(0), gymnasium.make(name), CompiledEnvironments(name, [5])
    for episode in range(12):
        first, _ = one.reset(seed=5 if episode == 0 else None)
        assert np.array_equal(first, own.reset()[0])
        ended, count = False, 0
        while not ended:
            state = np.array(one.unwrapped.state, float)
            own.states[0, : len(state)] = state
            pushed = int(state[1] > 0) * 2 if name == "MountainCar-v0" else int(state[-1] > 0) * (SPACES[name][1] - 1)
            action = pushed if episode % 2 else int(rng.integers(SPACES[name].actions))
            observation, reward, terminated, truncated, _ = one.step(action)
            found, rewards, over = own.step(np.array([0]), np.array([action]))
            ended, count = terminated or truncated, count + 1
            assert found[0] == pytest.approx(observation, rel=1e-6, abs=1e-7)
            now = np.array(one.unwrapped.state, float)
            assert own.states[0, : len(now)] == pytest.approx(now, rel=1e-13, abs=1e-14)
            assert (rewards[0], over[0]) == (reward, ended)
        assert count <= SPACES[name].limit


@pytest.mark.parametrize("kind", [Environments, CompiledEnvironments])
def test_an_episode_ends_also_where_its_time_is_up(kind):
    env = kind("MountainCar-v0", [0, 1], limit=7)
    env.reset()
    for step in range(1, 8):
        live = np.array([0, 1])
        _, rewards, ended = env.step(live, np.array([1, 1]))
        assert rewards.tolist() == [-1, -1] and ended.tolist() == [step == 7] * 2


@pytest.mark.parametrize("kind", [Environments, CompiledEnvironments])
def test_environments_are_seeded_once_and_go_on_from_what_was_saved(kind):
    alone, env = gymnasium.make("Acrobot-v1"), kind("Acrobot-v1", [4, 9, 4])
    starts = [env.reset() for _ in range(3)]
    for k, found in enumerate(starts):
        expected, _ = alone.reset(seed=9 if k == 0 else None)
        assert np.array_equal(found[1], expected) and np.array_equal(found[0], found[2])
    saved = json.loads(json.dumps(env.state_dict()))
    other = kind("Acrobot-v1", [4, 9, 4])
    other.load_state_dict(saved)
    assert np.array_equal(other.reset(), env.reset())
    untouched = kind("Acrobot-v1", [4, 9, 4])
    untouched.load_state_dict(kind("Acrobot-v1", [4, 9, 4]).state_dict())
    assert np.array_equal(untouched.reset(), starts[0])


# ---- acting


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu", "linear"])
@pytest.mark.parametrize("bias", [True, False])
def test_compiled_actions_are_those_of_the_net(hidden, bias, dtype):
    net, rand = credit.dense([4, 9, 7, 3], hidden, loss="squared_error_sum", bias=bias), credit.Rand(SEEDS, dtype=dtype)
    params = net.init(rand)
    learner = Learner(net, params, credit.method("bp"), None, {}, rand)
    plain, fast = (kind(learner, torch.zeros(0, dtype=dtype)) for kind in (greedy, compiled_greedy))
    assert fast.__qualname__ != plain.__qualname__
    for _ in range(50):
        x, live = rand.normal("x", (4,)).numpy(), np.array([0, 2])
        assert np.array_equal(fast(x, live), plain(x, live))
    params["2"]["weight"][0, 1] = torch.nan
    assert plain(x, live)[0] == fast(x, live)[0] == 1
    for p in params["2"].values():
        p.zero_()
    assert plain(x, live).tolist() == fast(x, live).tolist() == [0, 0], "of equal ones the first"


# ---- replay, statistics, exploration, returns


@pytest.mark.parametrize("kind", [Replay, CompiledReplay])
@settings(deadline=None)  # the first one compiles
@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_buffer_keeps_the_last_transitions(kind, capacity, count, seed):
    rng, replay, kept = np.random.default_rng(seed), kind(2, capacity, 1, np.float64), ([], [])
    for t in range(count):
        live = np.flatnonzero(rng.random(2) < 0.7)
        values = 100.0 * live + t
        replay.put(live, values[:, None], live, values, values[:, None] + 0.5, live)
        for m in live:
            kept[m].append(100.0 * m + t)
    for m in (0, 1):
        last = kept[m][-capacity:]
        assert replay.size[m] == len(last)
        assert sorted(replay.kept.reward[m, : len(last)]) == last
    other = Replay(2, capacity, 1, np.float64)
    other.load_state_dict(replay.state_dict())
    index = np.array([[k % max(n, 1) for k in range(4)] for n in replay.size])
    assert all(np.array_equal(a, b) for a, b in zip(other.take(index), replay.take(index)))
    assert np.array_equal(other.place, replay.place) and np.array_equal(other.size, replay.size)


@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_mini_batches_hold_nothing_twice(batch, more, seed):
    uniform = np.random.default_rng(seed).random((2, 3, batch), np.float32)
    found = drawn(uniform, np.array([batch + more, 0]))
    assert found.min() >= 0 and found[0].max() < batch + more and found[1].max() < batch
    assert all(len({*one}) == batch for own in found for one in own.tolist())


def test_every_set_is_drawn_as_often():
    uniform = np.random.default_rng(0).random((1, 20000, 2))
    found = np.sort(drawn(uniform, np.array([5]))[0], 1)
    sets, counts = np.unique(found, axis=0, return_counts=True)
    assert len(sets) == 10 and np.abs(counts - 2000).max() < 5 * np.sqrt(2000 * 0.9)


@pytest.mark.parametrize("kind", [RunningStatistics, CompiledStatistics])
@settings(deadline=None)
@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_statistics_are_those_of_all_that_was_seen(kind, count, seed):
    rng, statistics, seen = np.random.default_rng(seed), kind(2, 3, np.float64), ([], [])
    for _ in range(count):
        live = np.flatnonzero(rng.random(2) < 0.8)
        x = rng.normal(5, 2, (len(live), 3))
        found = statistics.normalised(x, live)
        for row, m, own in zip(found, live, x):
            seen[m].append(own)
            mean, deviation = np.mean(seen[m], 0), np.std(seen[m], 0)
            expected = own - mean if len(seen[m]) == 1 else (own - mean) / deviation
            assert row == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_statistics_are_the_same_bit_by_bit(dtype):
    rng, plain, fast = np.random.default_rng(0), RunningStatistics(4, 3, dtype), CompiledStatistics(4, 3, dtype)
    for _ in range(500):
        live = np.flatnonzero(rng.random(4) < 0.7)
        x = rng.normal(1, 3, (len(live), 3)).astype(np.float32)
        assert np.array_equal(plain.normalised(x, live), fast.normalised(x, live))
    assert all(torch.equal(value, fast.state_dict()[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("kind", [RunningStatistics, CompiledStatistics])
def test_where_a_component_never_changed_nothing_is_divided(kind):
    statistics = kind(1, 2, np.float64)
    for x in ([1.0, 3.0], [1.0, 5.0]):
        found = statistics.normalised(np.array([x]), np.array([0]))
    assert found.tolist() == [[0.0, 1.0]]


def test_random_actions_become_rarer():
    found = [epsilon(k, 0.08, 5e-5, 0.01) for k in (0, 200, 1000, 1399, 1400, 9999)]
    assert found == pytest.approx([0.08, 0.07, 0.03, 0.01005, 0.01, 0.01], rel=1e-12)
    uniform = np.random.default_rng(0).random((30000, 2), np.float32)
    actions = explored(np.full(30000, 7), uniform, 0.3, 3)
    shares = [(actions == k).mean() for k in (0, 1, 2, 7)]
    assert shares == pytest.approx([0.1, 0.1, 0.1, 0.7], abs=0.01)


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=9), st.integers(1, 4))
def test_returns_are_averaged_over_the_last_and_over_the_run(values, window):
    returns = Returns(1, window)
    assert all(value.isnan().all() for value in returns.measured().values())
    for value in values:
        returns.add(np.array([value]))
    means = [np.mean(values[max(0, k - window) : k]) for k in range(1, len(values) + 1)]
    found = {name: value.item() for name, value in returns.measured().items()}
    expected = {"episode_return": values[-1], "mean_return": means[-1], "run_return": np.mean(means)}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


# ---- the task


def by_hand(task, learner, seed, member, episodes):
    """Returns, and all transitions in order, of one member in an environment of its own, step by step."""
    o, env = task.settings, gymnasium.make(task.settings.environment, max_episode_steps=task.settings.limit)
    rand, seen, transitions, returns = credit.Rand(seed, dtype=torch.float64), [], [], []

    def normalised(x):
        seen.append(np.asarray(x, float))
        deviation = np.std(seen, 0)
        return (seen[-1] - np.mean(seen, 0)) / (deviation if (deviation > 0).all() else 1.0)

    for k in range(episodes):
        uniform = rand.uniform("explore", (o.limit, 2)).tolist()
        now, ended, total = normalised(env.reset(seed=seed if k == 0 else None)[0]), False, 0.0
        for first, second in uniform:
            action = int(np.argmax(learner.w[member].numpy() @ now))
            if first < max(o.epsilon_min, o.epsilon - o.epsilon_fall * k):
                action = int(second * task.n_out)
            observation, reward, terminated, truncated, _ = env.step(action)
            following, ended, total = normalised(observation), terminated or truncated, total + reward
            transitions.append((now, action, reward, following, float(ended)))
            now = following
            if ended:
                break
        returns.append(total)
    return returns, transitions


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", SPACES)
def test_episodes_are_those_of_every_member_alone(name, compiled):
    task, rand = built(environment=name, epsilon=0.3, capacity=1000, compiled=compiled)
    learner = Seen(task)
    for _ in range(3):
        task.epoch(learner, rand)
    for m, seed in enumerate(SEEDS):
        returns, transitions = by_hand(task, learner, seed, m, 6)
        assert task.returns.recent[m].tolist() == returns[3:]
        assert task.replay.size[m] == len(transitions)
        for k, (now, action, reward, following, ended) in enumerate(transitions):
            found = [part[m, k] for part in task.replay.kept]
            assert found[1:3] == [action, reward] and found[4] == ended
            assert np.concatenate([found[0], found[3]]) == pytest.approx(np.concatenate([now, following]), abs=1e-5)


def test_targets_are_of_the_chosen_action_and_end_with_the_episode():
    task, rand = built(learn_from=5, batch_size=6)
    learner = Seen(task)
    task.epoch(learner, rand)
    assert len(learner.batches) == 4 and all(learns.all() for learns in learner.learns)
    batch = learner.batches[-1]
    for m in range(len(SEEDS)):
        kept = [part[m, : task.replay.size[m]] for part in task.replay.kept]
        for x, y, weights in zip(batch.x[m].numpy(), batch.y[m].numpy(), batch.weights[m].numpy()):
            (k,) = np.flatnonzero((kept[0] == x).all(1))
            best = (learner.w[m].numpy() @ kept[3][k]).max()
            target = kept[2][k] + 0.98 * best * (1 - kept[4][k])
            assert weights.tolist() == [float(a == kept[1][k]) for a in range(2)]
            assert y == pytest.approx(weights * target, rel=1e-12)


def test_who_has_not_seen_enough_learns_nothing():
    task, rand = built(range(8), learn_from=40, epsilon=1.0, epsilon_min=1.0, epsilon_fall=0.0, episodes=1)
    learner, some = Seen(task), False
    for _ in range(6):
        before = len(learner.learns)
        task.epoch(learner, rand)
        ready = task.replay.size > 40
        some |= 0 < ready.sum() < 8
        assert len(learner.learns) - before == (2 if ready.any() else 0)
        assert all(learns.tolist() == ready.tolist() for learns in learner.learns[before:])
    assert some, "the case is there"


def test_members_do_not_depend_on_those_beside_them():
    task, rand = built()
    learner = Seen(task)
    alone, own = built([8])
    single = Seen(task)
    single.w = learner.w[1:2]
    for _ in range(4):
        task.epoch(learner, rand)
        alone.epoch(single, own)
    n = alone.replay.size[0]
    assert task.replay.size[1] == n and np.array_equal(
        task.replay.kept.following[1, :n], alone.replay.kept.following[0, :n]
    )
    assert torch.equal(task.returns.measured()["run_return"][1:2], alone.returns.measured()["run_return"])


# ---- learning


def spec(rule, seeds=(0, 1), dtype="float64", epochs=6, lr=0.01, hidden=(6,), optimizer="sgd", **settings):
    task = {"name": "control", "environment": "CartPole-v1", **SMALL, **settings}
    return {
        "version": VERSION, "kind": "train", "rule": rule, "seeds": list(seeds), "vary": {}, "task": task,
        "net": {"kind": "dense", "hidden_sizes": list(hidden), "hidden": "sigmoid", "output": "linear",
                "loss": "squared_error_sum", "bias": True, "init": "torch_default"},
        "train": {"epochs": epochs, "dtype": dtype, "threads": 1, "optimizer": {"name": optimizer, "lr": lr},
                  "evaluate": {"every": 1, "splits": ["episodes"]}},
        "probes": [],
    }  # fmt: skip


def trained(content, checkpoint=None):
    training = Training(content, log=io.StringIO())
    return training.run(checkpoint, 0.0), training.learner.params


def same(a, b):
    return all(torch.equal(a[i][name], b[i][name]) for i in a for name in a[i])


def test_an_update_of_backpropagation_is_the_formula():
    """Gradient of half the squared error of the chosen action, written out sample by sample."""
    training = Training(spec({"name": "bp"}, seeds=[0], lr=0.1), log=io.StringIO())
    learner, task = training.learner, training.task
    for _ in range(3):
        task._play(learner, training.rand)
    given = task._batch(learner, task.replay.take(np.arange(8)[None]))
    (w1, b1), (w2, b2) = ((p["weight"][0].numpy().copy(), p["bias"][0].numpy().copy()) for p in learner.params.values())
    steps = [np.zeros_like(p) for p in (w1, b1, w2, b2)]
    kept = task.replay.kept
    for k in range(8):
        x, action, reward, following, ended = (part[0, k] for part in kept)
        h, h2 = (1 / (1 + np.exp(-(w1 @ s + b1))) for s in (x, following))
        target = reward + 0.98 * (w2 @ h2 + b2).max() * (1 - ended)
        error = w2[action] @ h + b2[action] - target
        below = error * w2[action] * h * (1 - h)
        steps[0] += np.outer(below, x)
        steps[1] += below
        steps[2][action] += error * h
        steps[3][action] += error
    learner.update(given)
    for after, before, step in zip(
        [*learner.params["0"].values(), *learner.params["1"].values()], (w1, b1, w2, b2), steps
    ):
        assert after[0].numpy() == pytest.approx(before - 0.1 * step, rel=1e-12, abs=1e-13)


def inferred(w, b, x, target, action, steps, rate):
    """Gradients of weights and biases after `steps` - 1 steps of the nodes of one sample, each a loop over units."""

    def f(v):
        return 1 / (1 + np.exp(-v))

    nodes = [w[0] @ x + b[0]]
    for weight, bias in zip(w[1:-1], b[1:-1]):
        nodes.append(weight @ f(nodes[-1]) + bias)
    for t in range(steps):
        below = [x, *map(f, nodes)]
        mu = [weight @ h + bias for weight, h, bias in zip(w, below, b)]
        eps = [node - guess for node, guess in zip(nodes, mu)]
        error = np.zeros(len(mu[-1]))
        error[action] = target - mu[-1][action]  # y - o, as other errors
        eps.append(error)
        if t < steps - 1:
            nodes = [v - rate * (e - f(v) * (1 - f(v)) * (weight.T @ above))
                     for v, e, weight, above in zip(nodes, eps, w[1:], eps[1:])]  # fmt: skip
    return [np.outer(e, h) for e, h in zip(eps, below)], eps


@pytest.mark.parametrize("form", ["fast", "plain"])
def test_an_update_of_predictive_coding_is_the_formula(form, monkeypatch):
    """Every sample relaxes by itself, since the rate is never cut; sums over the mini-batch."""
    rule = {"name": "pc", "steps": 32, "inference": {"lr": 0.05, "discount": 1.0}}
    training = Training(spec(rule, seeds=[0, 1], lr=0.1, hidden=(7, 5)), log=io.StringIO())
    learner, task = training.learner, training.task
    if form == "plain":
        monkeypatch.setattr(learner, "_fast", lambda *_: None)
    for _ in range(3):
        task._play(learner, training.rand)
    batch = task._batch(learner, task.replay.take(np.arange(8)[None].repeat(2, 0)))
    before, found = {name: [[p[name][m].numpy().copy() for p in learner.params.values()] for m in (0, 1)]
                     for name in ("weight", "bias")}, []  # fmt: skip
    learner.update(batch)
    for m in (0, 1):
        for k in range(8):
            action = int(batch.weights[m, k].argmax())
            sample = batch.x[m, k].numpy(), float(batch.y[m, k, action]), action
            found.append(inferred(before["weight"][m], before["bias"][m], *sample, 32, 0.05))
        for layer, after in enumerate(learner.params.values()):
            steps = [sum(one[part][layer] for one in found[-8:]) for part in (0, 1)]
            for name, step in zip(("weight", "bias"), steps):
                expected = before[name][m][layer] + 0.1 * step
                assert after[name][m].numpy() == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "rule",
    [{"name": "bp"}, {"name": "pc", "steps": 8}, {"name": "dfa"}, {"name": "ddtp_linear"}],
    ids=lambda r: r["name"],
)
def test_a_killed_run_goes_on_to_the_same_numbers(rule, compiled, tmp_path, monkeypatch):
    content = spec(rule, compiled=compiled, dtype="float32")
    (whole, params), original, count = trained(content), Training._save, 0

    def save_then_die(self, target):
        nonlocal count
        original(self, target)
        count += 1
        if count in (2, 4):
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_save", save_then_die)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trained(content, tmp_path / "run.ckpt")
    monkeypatch.setattr(Training, "_save", original)
    records, again = trained(content, tmp_path / "run.ckpt")
    assert records == whole and same(again, params)
    assert {r["metric"] for r in records} >= {*Control.metrics, "train_loss"}


def test_a_member_learns_in_a_stack_what_it_learns_alone():
    rule = {"name": "pc", "steps": 8}
    records, params = trained(spec(rule, seeds=(0, 1, 2)))
    for m in range(3):
        own, single = trained(spec(rule, seeds=(m,)))
        for name, values in single["0"].items():
            assert params["0"][name][m].numpy() == pytest.approx(values[0].numpy(), rel=1e-9)
        returns = [
            [r["value"] for r in rows if r["seed"] == m and r["metric"] == "run_return"] for rows in (records, own)
        ]
        assert returns[0] == returns[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["bp", "pc", "dfa", "ldrl", "dfc", "di", "pepita", "generec"])
def test_who_does_not_learn_stays_as_it_is(name, optimizer):
    """Weights, what the rule keeps, and moments of the optimiser: also with rules that have noise or feedback."""
    net = credit.dense([4, 6, 2], hidden="tanh", loss="squared_error_sum", bias=name != "di")
    rand = credit.Rand([0, 1, 2])
    params = net.init(rand)
    rule = credit.method(name)
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": optimizer, "lr": 0.01})
    learner, generator = Learner(net, params, rule, opt, state, rand), torch.Generator().manual_seed(0)

    def update(learns):
        x, y = (torch.randn(3, 8, n, generator=generator) for n in (4, 2))
        learner.update(Batch(x, y, torch.ones(3, 8, 2)), learns)

    def everything():
        return copy.deepcopy([learner.params, learner.state, learner.opt.state_dict()])

    def leaves(tree):
        if isinstance(tree, (dict, list)):
            for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
                yield from () if key in ("steps", "epoch") else leaves(value)
        elif isinstance(tree, torch.Tensor) and tree.shape[:1] == (3,):
            yield tree

    update(None)
    before = everything()
    update(torch.tensor([True, False, True]))
    pairs = list(zip(leaves(before), leaves(everything()), strict=True))
    assert pairs and all(torch.equal(a[1], b[1]) for a, b in pairs)
    assert not torch.equal(*(w[0]["0"]["weight"][0] for w in (before, everything())))


def test_q_learning_balances_a_pole_better_than_chance():
    settings = {"episodes": 5, "updates": 10, "batch_size": 60, "learn_from": 500, "capacity": 5000, "limit": 100}
    content = spec({"name": "bp"}, seeds=(0,), epochs=40, hidden=(32,), lr=2e-3, dtype="float32", **settings, window=20)
    records, _ = trained(content)
    means = [r["value"] for r in records if r["metric"] == "mean_return"]
    assert max(means[1:]) > 2 * means[3]


# ---- settings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"environment": "CartPole-v0"}, r"environment = 'CartPole-v0'; must be one of.*CartPole-v1"),
        ({}, "environment is missing"),
        ({"capacity": 30, "learn_from": 30}, "capacity = 30; needs more than learn_from, which is 30"),
        ({"batch_size": 42}, "batch_size = 42; needs as many transitions when learning starts, at 41"),
        ({"epsilon": 0.0}, "epsilon = 0.0; needs epsilon_min or more, which is 0.01"),
        ({"discount": 1.5}, r"discount = 1.5; must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, expected):
    given = settings if not settings else {"environment": "CartPole-v1", **SMALL, **settings}
    with pytest.raises(ConfigError, match=f"here.{expected}"):
        hyperparameters.check("credit.tasks.control", given, "here")


@pytest.mark.parametrize("settings", [{"environment": "CartPole-v0"}, {"capacity": 30, "learn_from": 30}])
def test_a_task_made_in_python_refuses_them_too(settings):
    with pytest.raises(ConfigError, match=r"task[.](environment|capacity) = "):
        built(**settings)


@pytest.mark.parametrize(
    ("learn_from", "limit", "refused"), [(599, 30, False), (600, 30, True), (2000, None, False), (10000, None, True)]
)
def test_a_run_too_short_to_learn_anything_is_refused_before_any_job(tmp_path, learn_from, limit, refused):
    task = {**spec({"name": "bp"})["task"], "learn_from": learn_from, "limit": limit, "capacity": 20000}
    most = f"20 episodes of at most {limit or 500} steps have"
    message = f"task.learn_from = {learn_from}; nothing would be learned, {most}"
    found = list(experience_problems(task, 10))
    assert len(found) == refused and all(problem.startswith(message) for problem in found)
    body = {
        "title": "control", "net": {"kind": "dense", "hidden_sizes": [2], "loss": "squared_error_sum"}, "task": task,
        "train": {"epochs": 10, "optimizer": {"lr": 0.1}, "evaluate": {"splits": ["episodes"]}},
        "datasets": {"here": {}}, "methods": {"bp": {}}, "seeds": 2,
        "tables": {"t": {"options": {"metric": "run_return"}}},
    }  # fmt: skip
    checkout = Checkout(tmp_path, {"toy/fit": body})
    if refused:
        with pytest.raises(ConfigError, match=message):
            checkout.workflow()
        return
    checkout.workflow()
    checkout.workflow(epochs=1)  # a run that is cut short may learn less than is meant


def test_a_net_whose_outputs_do_not_fit_is_refused_before_training():
    task, _ = built(environment="Acrobot-v1")
    net = credit.dense([6, 4, 2], loss="squared_error_sum")
    learner = Learner(net, net.init(credit.Rand(SEEDS)), credit.method("bp"), None, {}, credit.Rand(SEEDS))
    with pytest.raises(ConfigError, match="has 2 outputs; needs one for each of the 3 actions of Acrobot-v1"):
        task.evaluate(learner, net.loss, ("episodes",))


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        ({}, []),
        ({"kind": "conv"}, ["net.kind = 'conv'; needs dense, observations of CartPole-v1 are vectors"]),
        ({"output": "tanh"}, ["net.output = 'tanh'; needs linear, since values of actions have no bounds"]),
        ({"loss": "softmax_cross_entropy"}, ["needs classes"]),
    ],
)
def test_nets_that_give_no_values_of_actions_are_refused_before_any_job(net, expected):
    content = spec({"name": "bp"})
    found = list(task_problems({**content, "net": content["net"] | net}, None))
    assert len(found) == len(expected) and all(e in f for e, f in zip(expected, found))


@pytest.mark.parametrize("name", SPACES)
def test_sizes_are_known_before_anything_runs(name):
    task = {"name": "control", "environment": name, "episodes": 100, "updates": 10, "batch_size": 60}
    run = {"task": task, "train": {"evaluate": {"splits": ["episodes"]}}}
    shape = (SPACES[name].observations,), SPACES[name].actions
    assert task_shape(run) == shape and samples(run) == (60000, 0, *shape)
    built_task, _ = built(environment=name)
    assert (built_task.shape_in, built_task.n_out) == shape
