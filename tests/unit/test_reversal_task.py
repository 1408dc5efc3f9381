"""Reversal learning: choices, rewards, reversals, what is recorded of them; the course of inference."""

from __future__ import annotations

import io

import pytest
import torch
from killed import records_after

import credit
from credit.config import hyperparameters
from credit.config.parts import METHODS
from credit.dag.cost import samples
from credit.dag.start import task_shape
from credit.errors import ConfigError
from credit.probes.base import Moment
from credit.probes.inference_course import InferenceCourse
from credit.provenance.spec import VERSION
from credit.tasks.base import Context
from credit.tasks.reversal import EVENTS, ReversalConfig, chosen
from credit.training.loop import Training

SEEDS = [3, 8, 5, 3]


class Learner:
    """Answers with values that were drawn beforehand, and keeps what it is taught."""

    def __init__(self, values):
        self.values, self.batches, self.rows = values, [], []

    def predict(self, x):
        assert torch.equal(x, torch.ones(len(SEEDS), 1, 1, dtype=x.dtype))
        return self.values[len(self.batches)].unsqueeze(1)

    def update(self, batch):
        self.batches.append(batch)

    def note(self, rows):
        assert [layer for _, layer, _ in rows] == [""] * len(rows)
        self.rows.append({name: value for name, _, value in rows})


def trained(trials, **settings):
    """A task after its trials, its learner, and random streams as they were before."""
    rand = credit.Rand(SEEDS, dtype=torch.float64)
    task = ReversalConfig(**settings).build(Context(rand, len(SEEDS), torch.device("cpu"), torch.float64))
    values = credit.Rand(SEEDS, dtype=torch.float64).normal("values", (trials, task.n_out)).transpose(0, 1)
    learner = Learner(values + torch.tensor([0.3, 0.0, 0.0, -0.3])[:, None])
    while task.trials < trials:
        task.epoch(learner, rand)
    return task, learner, credit.Rand(SEEDS, dtype=torch.float64)


def one_by_one(values, draws, chances, streak_to_arm, flip):
    """Trials of one member in plain Python: (correct, choice, reward, events) of each."""
    n, correct, history, armed, before, found = len(values[0]), 0, [], False, None, []
    for v, (u, w, z) in zip(values, draws, strict=True):
        weights = [torch.tensor(x).exp() for x in v]
        choice = next((k for k in range(n) if u < float(sum(weights[: k + 1]) / sum(weights))), n - 1)
        reward = 1 if w < chances[choice != correct] else -1
        events = dict.fromkeys(EVENTS)
        if before is not None and before[1] < 0:
            how = "stay" if before[0] == choice else "switch"
            events[f"punished_{how}"], events[f"next_{how}"] = before[2], v[choice]
        found.append((correct, choice, reward, events))
        before = choice, reward, v[choice]
        history.append(choice == correct)
        armed = armed or (len(history) >= streak_to_arm and all(history[-streak_to_arm:]))
        if armed and z < flip:
            correct, armed = (correct + 1) % n, False
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_out": 3, "streak": 2, "flip": 0.6},
        {"right_reward": 0.9, "wrong_reward": 0.1, "streak": 1, "per_epoch": 5},
    ],
)
def test_trials_are_those_of_a_single_member_told_in_plain_words(settings):
    task, learner, rand = trained(40, **settings)
    streams = [
        torch.stack([rand.uniform(f"reversal.{s}", ()) for _ in range(40)]) for s in ("choice", "reward", "flip")
    ]
    reversals = 0
    for m in range(len(SEEDS)):
        values = learner.values[:, m].tolist()
        draws = list(zip(*(s[:, m].tolist() for s in streams), strict=True))
        told = one_by_one(values, draws, task.chances, task.streak_to_arm, task.flip)
        reversals += sum(a[0] != b[0] for a, b in zip(told[1:], told[:-1], strict=True))
        for t, (correct, choice, reward, events) in enumerate(told):
            row = {name: float(value[m]) for name, value in learner.rows[t].items()}
            assert (row["choice"], row["reward"], row["right"]) == (choice + 1, reward, choice == correct)
            for name, value in events.items():
                assert row[name] == pytest.approx(float("nan") if value is None else value, nan_ok=True)
            batch = learner.batches[t]
            assert batch.weights[m, 0].tolist() == [float(k == choice) for k in range(task.n_out)]
            assert batch.y[m, 0, choice] == reward
        found = task.evaluate(learner, None, ("trials",))
        assert float(found["trials_reward"][m]) == pytest.approx(sum(r for _, _, r, _ in told) / 40)
        assert float(found["trials_right"][m]) == pytest.approx(sum(a == c for c, a, _, _ in told) / 40)
    assert reversals > 3
    for name, value in learner.rows[-1].items():  # members of one seed have the same draws and here other values
        assert name in ("choice", *EVENTS, "reward", "right") and value.shape == (len(SEEDS),)


def test_nothing_is_evaluated_before_the_first_trial():
    rand = credit.Rand(SEEDS)
    task = ReversalConfig().build(Context(rand, len(SEEDS), torch.device("cpu"), torch.float32))
    assert task.evaluate(None, None, ("trials",)) == {}


def test_options_are_chosen_as_often_as_the_softmax_of_their_values_says():
    values, draws = torch.tensor([[0.2, -1.0, 0.7]]), torch.arange(0, 1, 1 / 4096)
    found = chosen(values.expand(len(draws), 3), draws)
    shares = torch.bincount(found, minlength=3) / len(draws)
    torch.testing.assert_close(shares, values[0].softmax(-1), rtol=0, atol=3e-4)
    assert chosen(torch.tensor([[torch.nan] * 2]), torch.tensor([0.5])).tolist() == [0]  # of a member that diverged


def spec(rule=None, seeds=(0, 1, 2), rates=(0.1, 0.02), epochs=9, loss="squared_error_sum", **task):
    return {
        "version": VERSION, "kind": "train", "rule": rule or {"name": "bp"}, "seeds": list(seeds), "probes": [],
        "net": {"kind": "dense", "hidden_sizes": [1], "hidden": "linear", "output": "linear", "loss": loss,
                "bias": False, "init": {"name": "normal", "std": 0.3}},
        "task": {"name": "reversal", **task}, "vary": {"train.optimizer.lr": list(rates)},
        "train": {"epochs": epochs, "dtype": "float64", "threads": 1, "optimizer": {"name": "sgd"},
                  "evaluate": {"every": 1, "splits": ["trials"]}},
    }  # fmt: skip


def run(content, checkpoint=None):
    return Training(content, log=io.StringIO()).run(checkpoint, 0.0)


PC = {"name": "pc", "steps": 20}


@pytest.mark.parametrize("rule", [{"name": "bp"}, PC], ids=["bp", "pc"])
def test_a_resumed_run_records_what_an_uninterrupted_one_does(rule, tmp_path, monkeypatch):
    content = spec(rule, streak=1, flip=0.5, per_epoch=2)
    whole = run(content)
    again = records_after((1, 4), lambda checkpoint: run(content, checkpoint), tmp_path, monkeypatch)
    assert again == [whole] * 2
    assert {r["metric"] for r in whole} >= {*EVENTS, "reward", "choice", "right", "trials_reward", "trials_right"}


def test_a_member_is_the_same_in_any_stack():
    together, alone = run(spec(PC)), run(spec(PC, seeds=(1,), rates=(0.02,)))
    mine = [r for r in together if r["seed"] == 1 and r["lr"] == 0.02]
    assert [r["metric"] for r in mine] == [r["metric"] for r in alone]
    for ours, theirs in zip(mine, alone, strict=True):
        assert ours["value"] == (None if theirs["value"] is None else pytest.approx(theirs["value"], rel=1e-12))


def test_only_the_chosen_output_learns():
    training = Training(spec(epochs=1), log=io.StringIO())
    before = training.learner.params["1"]["weight"].clone()
    records = training.run()
    moved = (training.learner.params["1"]["weight"] != before)[..., 0]
    choices = [r["value"] - 1 for r in records if r["metric"] == "choice"]
    assert moved.int().argmax(1).tolist() == choices and moved.sum(1).tolist() == [1] * 6


@pytest.mark.parametrize("name", METHODS.names())
def test_every_learning_rule_that_trains_such_a_net_takes_part(name):
    """Feedback weights that learn in passes of their own have trials of their own. Hopfield's rule may diverge."""
    short = {"pretrain_epochs": 0, "extra_feedback_passes": 0}
    short = {key: value for key, value in short.items() if key in hyperparameters.fields(METHODS.module(name))}
    for loss in ("squared_error_sum", "mse", "softmax_cross_entropy"):
        try:
            records = run(spec({"name": name, **short}, epochs=3, loss=loss))
        except ConfigError:
            continue
        count = sum(r["metric"] == "choice" for r in records)
        assert count in (18, 36) or (name == "hopfield" and count >= 6)
        return
    assert name in CONVOLUTIONS


CONVOLUTIONS = ("pepita_conv", "pepita_conv_corrected")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"n_out": 1}, "n_out = 1; must be an integer >= 2"),
        ({"right_reward": 1.5}, r"right_reward = 1.5; must be .*\[0, 1\]"),
        ({"flip": -0.1}, r"flip = -0.1; must be .*\[0, 1\]"),
        ({"streak": 0}, "streak = 0; must be an integer > 0"),
        ({"trials": 9}, "trials"),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        hyperparameters.check("credit.tasks.reversal", settings, "here")


def test_sizes_are_known_before_anything_runs():
    task = {"name": "reversal", "n_out": 3, "per_epoch": 7}
    content = {"task": task, "train": {"evaluate": {"splits": ["trials"]}}}
    assert task_shape(content) == ((1,), 3)
    assert samples(content) == (7, 0, (1,), 3)


# ---- the course of inference


def moment(rule, sizes=(2, 3, 2, 1), members=2, batch=4):
    rand = credit.Rand(list(range(members)), dtype=torch.float64)
    net = credit.dense(sizes, "tanh", loss="squared_error_sum", bias=False)
    params, method = net.init(rand, dtype=torch.float64), credit.method("pc", **rule)
    given = credit.Batch(rand.normal("x", (batch, sizes[0])), rand.normal("y", (batch, sizes[-1])))
    info = method.gradients(net, params, {}, given, rand).info
    return Moment(net, method, params, {}, given, info, params, {}, rand), info


def test_the_course_of_inference_begins_fed_forward_and_ends_where_weights_learn():
    now, info = moment({"steps": 12, "inference": {"lr": 0.2}})
    rows = {(name, int(t[1:])): value for name, t, value in InferenceCourse().measure(now)}
    assert len(rows) == 12 * 5
    forward = now.net.forward(now.params, now.batch.x)
    for layer, (x, trace) in enumerate(zip(info["x"], forward.blocks, strict=False), 1):
        for unit in range(x.shape[-1]):
            first, last = (rows[f"node_{layer}_{unit + 1}", t] for t in (0, 11))
            assert torch.equal(first, trace.pre[:, 0, unit]) and torch.equal(last, x[:, 0, unit])


@pytest.mark.parametrize(
    ("rule", "sizes", "expected"),
    [
        ({"steps": 3, "weight_updates": "all"}, (2, 3, 1), "needs pc with weight_updates: last"),
        ({"steps": 3}, (2, 65, 1), "the net has 65 value nodes; must be at most 64"),
    ],
)
def test_a_course_that_cannot_be_told_is_refused(rule, sizes, expected):
    with pytest.raises(ConfigError, match=f"^probe inference_course: {expected}"):
        InferenceCourse().measure(moment(rule, sizes)[0])
