"""Tasks of behaviour: motor learning in two contexts, and fear conditioning."""

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
from credit.provenance.spec import VERSION
from credit.tasks.base import Context
from credit.tasks.conditioning import ConditioningConfig
from credit.tasks.motor import (
    CHANNEL_1,
    CHANNEL_2,
    CUES,
    FIELDS,
    MINUS_1,
    MINUS_2,
    NAMES,
    PLUS_1,
    PLUS_2,
    PROBES,
    REST,
    MotorConfig,
    drawn,
)
from credit.training.loop import Training

SEEDS = [3, 8, 3]
CHANNELS = [CHANNEL_1, CHANNEL_2]
SMALL = {"name": "motor", "blocks": 2, "test_blocks": 2, "washouts": [4, 6], "second_washouts": [2], "repeats": 2}
WHOLE = {"motor": SMALL, "conditioning": {"name": "conditioning", "group": "LN+,L-", "per_phase": 5}}


def built(part, seeds=SEEDS, dtype=torch.float64, **settings):
    rand = credit.Rand(seeds, dtype=dtype)
    return part(**settings).build(Context(rand, len(seeds), torch.device("cpu"), dtype)), rand


def spec(task, rule="pc", seeds=(0, 1), lr=(0.1, 0.02), epochs=1, bias=False, **train):
    hyper = {"steps": 6} if rule == "pc" else {}
    return {
        "version": VERSION, "kind": "train", "rule": {"name": rule, **hyper}, "seeds": list(seeds), "probes": [],
        "net": {"kind": "dense", "hidden_sizes": [2], "hidden": "linear", "loss": "squared_error_sum", "bias": bias,
                "connections": ["diagonal", "full"]},
        "task": task, "vary": {"train.optimizer.lr.0": list(lr)},
        "train": {"epochs": epochs, "dtype": "float64", "threads": 1,
                  "optimizer": {"name": "sgd", "lr": {"0": 1.0, "1": 0.05}},
                  "evaluate": {"every": 1, "splits": ["probes" if task["name"] == "motor" else "stimuli"]}, **train},
    }  # fmt: skip


def run(content, checkpoint=None):
    return Training(content, log=io.StringIO()).run(checkpoint, 0.0)


class Seen:
    """A learner that keeps what it is shown; the difference of its outputs is the number of trials seen so far."""

    def __init__(self, members):
        self.members, self.x, self.y = members, [], []

    def visit(self, order, take, batch_size, whose=None):
        assert batch_size == 1
        for part in order.split(1, 1):
            x, y = take(part)
            own = slice(None) if whose is None else whose
            self.x.append(x[own]), self.y.append(y[own])

    def predict(self, x):
        self.asked = x
        outputs = torch.tensor([float(len(self.x)), 0.0], dtype=x.dtype)
        return outputs.expand(self.members, x.shape[1], 2)


# ---- motor learning


@pytest.mark.parametrize("triplets", [False, True])
def test_a_session_has_the_trials_that_are_said(triplets):
    config = MotorConfig(triplets=triplets)
    session = drawn(config, credit.Rand([0, 1, 2]))
    length = 24 * (36 + 32 + 16 + 6 * triplets)
    assert session.kinds.shape == (3, length + 32 * 9) and (session.training, session.test) == (length, 9)
    for kinds, probes in zip(session.kinds.tolist(), session.probes.tolist(), strict=True):
        at = 0
        sums = {"first": [], "second": []}
        for _ in range(24):
            assert sorted(kinds[at : at + 2]) == CHANNELS == sorted(kinds[at + 34 : at + 36])
            for group in range(4):
                part = kinds[at + 2 + 8 * group :][:8]
                assert sorted(part) == [PLUS_1] * 4 + [MINUS_2] * 4
            at += 36
            if triplets:
                end = next(i for i in range(at, length) if kinds[i] in (PLUS_1, MINUS_2)) - 1
                sums["first"].append(end - at)
                last = next(i for i in range(end + 3, length) if kinds[i] in (PLUS_1, MINUS_2)) - 1
                sums["second"].append(last - end - 3)
                assert kinds[end] == kinds[end + 2] == kinds[last] == kinds[last + 2] == CHANNEL_1
                assert {kinds[end + 1], kinds[last + 1]} == {PLUS_1, MINUS_2}
                for washout in (kinds[at:end], kinds[end + 3 : last]):
                    assert set(washout) == {*CHANNELS} and washout.count(CHANNEL_1) * 2 == len(washout)
                at = last + 3
            else:
                end = next((i for i in range(at, length) if kinds[i] in (PLUS_1, MINUS_2)), length + 2) - 2
                assert set(kinds[at:end]) == {*CHANNELS} and kinds[at:end].count(CHANNEL_1) * 2 == end - at
                sums["first"].append(end - at)
                at = end
        assert at == length
        if triplets:
            for part, values in (("first", [28, 32, 36]), ("second", [12, 16, 20])):
                for cycle in range(0, 24, 3):
                    assert sorted(sums[part][cycle : cycle + 3]) == values
        tests = [kinds[length + 9 * i :][:9] for i in range(32)]
        for i in range(0, 32, 4):
            assert sorted(probes[i : i + 4]) == [0, 1, 2, 3]
        for test, probe in zip(tests, probes, strict=True):
            assert test[6:] == [CHANNEL_1, PROBES[probe], CHANNEL_1]
            washout = [kind for kind in test[:6] if kind != REST]
            assert len(washout) in (2, 4, 6) and washout.count(CHANNEL_1) * 2 == len(washout)
            assert test[: 6 - len(washout)] == [REST] * (6 - len(washout))


def test_sessions_depend_on_the_seed_alone_and_every_one_is_another():
    one = drawn(MotorConfig(), credit.Rand([0, 1]))
    other = drawn(MotorConfig(), credit.Rand([1], dtype=torch.float64))
    assert torch.equal(one.kinds[1], other.kinds[0]) and torch.equal(one.probes[1], other.probes[0])
    assert not torch.equal(one.kinds[0], one.kinds[1])
    task, rand = built(MotorConfig, blocks=1, test_blocks=1)
    learners = [Seen(3), Seen(3)]
    for learner in learners:
        task.epoch(learner, rand)
    assert not torch.equal(torch.cat(learners[0].x, 1), torch.cat(learners[1].x, 1))


def test_a_seed_of_washouts_that_do_not_come_out_even_rests_before_its_tests():
    config = MotorConfig(blocks=2, washouts=(2, 8), second_washouts=(4, 6, 10), test_blocks=1)
    session = drawn(config, credit.Rand(list(range(6))))
    trained = [(row[: session.training] != REST).sum().item() for row in session.kinds]
    assert session.training == 2 * 36 + 10 + 16 and {*trained} <= {72 + 10 + n for n in (10, 14, 16)}
    assert len({*trained}) > 1
    for row, n in zip(session.kinds, trained, strict=True):
        assert (row[:n] != REST).all() and (row[n : session.training] == REST).all()


def test_adaptation_is_the_change_of_the_response_over_a_triplet_in_the_direction_of_the_field():
    task, rand = built(MotorConfig, blocks=1, test_blocks=3)
    learner = Seen(3)
    assert task.evaluate(learner, None, ("probes",)) == {}
    task.epoch(learner, rand)
    found = task.evaluate(learner, None, ("probes",))
    assert learner.asked.tolist() == [[[1.0, 0.0]]]
    for name, sign in zip(NAMES, (1, 1, -1, -1), strict=True):
        assert found[name].tolist() == [2.0 * sign] * 3  # two trials lie between the readings
    session = drawn(task.config, credit.Rand([3, 8]))
    x, y = torch.cat(learner.x, 1), torch.cat(learner.y, 1)
    assert x.shape == (3, session.kinds.shape[1], 2)
    for member, own in enumerate((0, 1, 0)):
        assert torch.equal(x[member], torch.tensor(CUES).double()[session.kinds[own]])
        assert torch.equal(y[member], torch.tensor(FIELDS).double()[session.kinds[own]])
    assert [CUES[k] + FIELDS[k] for k in (MINUS_1, PLUS_2)] == [(1, 0, 0, 1), (0, 1, 1, 0)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"washouts": ()}, r"washouts = \[\]; needs at least one number of trials"),
        ({"second_washouts": (2, 3)}, r"second_washouts = \[2, 3\]; needs even numbers, half of the trials"),
        ({"test_washouts": (1,)}, r"test_washouts = \[1\]; needs even numbers"),
    ],
)
def test_washouts_that_no_trials_can_fill_are_refused_before_and_when_they_are_used(settings, expected):
    with pytest.raises(ConfigError, match=f"^task.{expected}"):
        built(MotorConfig, **settings)
    with pytest.raises(ConfigError, match=f"^here.{expected}"):
        hyperparameters.check("credit.tasks.motor", settings, "here")


# ---- fear conditioning


@pytest.mark.parametrize(
    ("group", "first", "second"),
    [("N+", [0.0, 1.0], [0.0, 0.0]), ("LN+", [1.0, 1.0], [0.0, 0.0]), ("LN+,L-", [1.0, 1.0], [1.0, 0.0])],
)
def test_animals_are_conditioned_and_then_something_else_follows(group, first, second):
    task, rand = built(ConditioningConfig, group=group, per_phase=3)
    learner = Seen(3)
    task.epoch(learner, rand)
    assert [x.tolist() for x in learner.x] == [[[first]] * 3] * 3 + [[[second]] * 3] * 3
    assert [y.tolist() for y in learner.y] == [[[[1.0]]] * 3] * 3 + [[[[0.0]]] * 3] * 3
    task.evaluate(learner, None, ("stimuli",))
    assert learner.asked.tolist() == [[[0.0, 1.0], [1.0, 0.0]]]


def test_backpropagation_follows_the_formula_and_nothing_teaches_nothing():
    content = spec({"name": "conditioning", "group": "N+", "per_phase": 4}, "bp", seeds=(0,), lr=(0.1,))
    training = Training(content, log=io.StringIO())
    (w,), (m,) = (training.learner.params[i]["weight"].clone()[:, -1, -1].tolist() for i in "01")
    records = training.run()
    for _ in range(4):
        error = 1 - m * w
        w, m = w + 0.1 * error * m, m + 0.05 * error * w
    fear = [r["value"] for r in records if r["metric"] == "fear"]
    assert fear[-1] == pytest.approx(w * m, rel=1e-12)


def test_an_unknown_group_is_refused():
    with pytest.raises(ConfigError, match=r"here.group = 'L\+'; must be one of: 'N\+'|here.group = 'L\+'"):
        hyperparameters.check("credit.tasks.conditioning", {"group": "L+"}, "here")


# ---- both


@pytest.mark.parametrize("name", WHOLE)
def test_a_resumed_run_records_what_an_uninterrupted_one_does(tmp_path, name, monkeypatch):
    content = spec(WHOLE[name], epochs=3)
    whole = run(content)
    again = records_after((1, 2), lambda checkpoint: run(content, checkpoint), tmp_path, monkeypatch)
    assert again == [whole] * 2


def test_what_was_measured_is_not_lost_between_a_session_and_its_evaluation():
    task, rand = built(MotorConfig, blocks=1, test_blocks=1)
    task.epoch(Seen(3), rand)
    other, _ = built(MotorConfig, blocks=1, test_blocks=1)
    other.load_state_dict(task.state_dict())
    assert torch.equal(other.adaptation, task.adaptation)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("rule", ["pc", "bp", "dfa"])
def test_a_member_is_the_same_in_any_stack(name, rule):
    together = run(spec(WHOLE[name], rule, seeds=(0, 1, 2)))
    alone = run(spec(WHOLE[name], rule, seeds=(1,), lr=(0.02,)))
    mine = [r for r in together if r["seed"] == 1 and r["lr_0"] == 0.02]
    assert [r["metric"] for r in mine] == [r["metric"] for r in alone]
    assert [r["value"] for r in mine] == pytest.approx([r["value"] for r in alone], rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("name", WHOLE)
def test_the_fast_form_of_predictive_coding_trains_as_the_plain_one(name, monkeypatch):
    fast = run(spec(WHOLE[name]))
    monkeypatch.setattr(METHODS.load("pc").part, "fast", lambda *a, **k: None)
    plain = run(spec(WHOLE[name]))
    assert [r["value"] for r in fast] == pytest.approx([r["value"] for r in plain], rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("name", WHOLE)
def test_sizes_are_known_before_anything_runs(name):
    outputs = {"motor": 2, "conditioning": 1}[name]
    content = {"task": WHOLE[name], "train": {"evaluate": {"splits": ["probes"]}}}
    assert task_shape(content) == ((2,), outputs)
    assert samples(content)[1:] == (0, (2,), outputs) and samples(content)[0] > 0
