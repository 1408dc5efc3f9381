"""Tasks whose images every seed draws for itself: which images, labels, targets, orders, and what is wrong."""

from __future__ import annotations

import copy
import io
import math

import numpy as np
import pytest
import torch
from killed import records_after

import credit
from credit.dag.checks import task_problems
from credit.dag.cost import samples
from credit.data import catalog
from credit.data.load import state_of
from credit.errors import ConfigError
from credit.nets import losses
from credit.provenance.spec import VERSION
from credit.tasks.base import Context
from credit.tasks.classes import Classes
from credit.tasks.drift import Drift
from credit.tasks.two_tasks import TwoTasks
from credit.training.loop import Training
from tests.conftest import prepared

SEEDS = [3, 8, 3]
LOSS = losses.get("squared_error_sum")


def data(path, n_train=60, n_test=30, classes=6):
    """Images of one grey value each, the number of the image; those for testing count from 100. Classes take turns."""

    def images(first, n):
        return np.arange(first, first + n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)

    arrays = {"train_x": images(0, n_train), "train_y": np.arange(n_train) % classes}
    arrays |= {"test_x": images(100, n_test), "test_y": np.arange(n_test) % classes}
    prepared(path, arrays, classes=classes)
    return path


def built(tmp_path, part, seeds=SEEDS, dtype=torch.float32, **settings):
    rand = credit.Rand(seeds, dtype=dtype)
    path = data(tmp_path / "toy.npz")
    return part(**settings).build(Context(rand, len(seeds), torch.device("cpu"), dtype, path)), rand


def number(x):
    """Which images these are, (..., )."""
    return (255 * x[..., 0, 0, 0]).round().long()


class Seen:
    """A learner that keeps what it is shown, and answers as it is told: answer(image numbers (M, B)) -> (M, B, n)."""

    def __init__(self, answer=None):
        self.visits, self.answer = [], answer

    def visit(self, order, take, batch_size, whose=None):
        self.visits.append([(*take(part), whose) for part in order.split(batch_size, 1)])

    def predict(self, x):
        return self.answer(number(x).expand(len(SEEDS), -1))


def shown(learner, visit=-1):
    """Numbers of the images of a visit, one list for each seed."""
    return torch.cat([number(x) for x, *_ in learner.visits[visit]], 1).tolist()


# ---- which images


def test_of_every_class_a_seed_draws_its_own(tmp_path):
    task, _ = built(tmp_path, Classes, per_class=4, test_per_class=2)
    train, test = task.train_pool.x[task.train.index], task.test_pool.x[task.test.index]
    assert task.whose.tolist() == [0, 1, 0]
    for s in range(2):
        found = number(train[s]).tolist()
        assert [n % 6 for n in found] == [c for c in range(6) for _ in range(4)], "class by class"
        assert all(a < b for a, b in zip(found, found[1:]) if a % 6 == b % 6), "in the order of the data set"
        assert [(n - 100) % 6 for n in number(test[s]).tolist()] == [c for c in range(6) for _ in range(2)]
    assert number(train[0]).tolist() != number(train[1]).tolist()
    alone, _ = built(tmp_path, Classes, [8], per_class=4, test_per_class=2, batch_size=7)
    assert torch.equal(alone.train_pool.x[alone.train.index[0]], train[1])
    assert task.prepared == state_of(tmp_path / "toy.npz")


@pytest.mark.parametrize("per_class", [None, 10, 11])
def test_where_no_more_images_are_there_than_asked_for_one_is_left_out(tmp_path, per_class):
    task, _ = built(tmp_path, Classes, per_class=per_class, test_per_class=per_class)
    assert task.train.counts == (9,) * 6 and task.test.counts == (4,) * 6
    assert built(tmp_path, Classes, per_class=9)[0].train.counts == (9,) * 6
    lost = [set(range(60)) - set(number(task.train_pool.x[own]).tolist()) for own in task.train.index]
    assert all(sorted(n % 6 for n in one) == [*range(6)] for one in lost) and lost[0] != lost[1]


def test_only_images_that_somebody_draws_stay_in_memory_and_only_once(tmp_path):
    task, _ = built(tmp_path, Classes, per_class=2)
    drawn = {n for own in task.train.index for n in number(task.train_pool.x[own]).tolist()}
    assert sorted(drawn) == number(task.train_pool.x).tolist()
    assert len(task.test_pool.x) == 30


# ---- mini-batches


def test_members_of_one_seed_share_mini_batches_and_every_epoch_is_shuffled_anew(tmp_path):
    task, rand = built(tmp_path, Classes, per_class=5, batch_size=8)
    learner = Seen()
    for _ in range(2):
        task.epoch(learner, rand)
    sizes = [x.shape[:2] for x, *_ in learner.visits[0]]
    assert sizes == [(2, 8), (2, 8), (2, 8), (2, 6)] and learner.visits[0][0][2].tolist() == [0, 1, 0]
    first, second = shown(learner, 0), shown(learner, 1)
    mine = [sorted(number(task.train_pool.x[own]).tolist()) for own in task.train.index]
    assert [sorted(s) for s in first] == mine == [sorted(s) for s in second]
    assert first != second and first != mine
    for x, y, _ in learner.visits[0]:
        assert torch.equal(number(x) % 6, y)


def test_an_epoch_may_be_the_first_mini_batches_of_a_pass_or_leave_out_the_last(tmp_path):
    task, rand = built(tmp_path, Classes, batch_size=8, batches=2)
    learner = Seen()
    for _ in range(5):
        task.epoch(learner, rand)
    assert all(len(visit) == 2 for visit in learner.visits)
    assert len({n for visit in range(5) for n in shown(learner, visit)[0]}) > 32, "always others"
    task, rand = built(tmp_path, Classes, batch_size=8, batches=99, drop_last=True, test_batch_size=5)
    task.epoch(learner, rand)
    assert [x.shape[1] for x, *_ in learner.visits[-1]] == [8] * 6


@pytest.mark.parametrize("target_min", [-1.0, 0.5])
def test_other_outputs_may_have_another_target(tmp_path, target_min):
    task, rand = built(tmp_path, Classes, per_class=3, target_min=target_min, dtype=torch.float64)
    learner = Seen()
    task.epoch(learner, rand)
    for x, y, _ in learner.visits[0]:
        assert y.dtype == torch.float64 and torch.equal(y.argmax(-1), number(x) % 6)
        assert torch.equal(y.sum(-1), torch.full(y.shape[:2], 1 + 5 * target_min, dtype=torch.float64))
    values = built(tmp_path, Classes, target_min=target_min, dtype=torch.float64)[0]
    found = values.evaluate(Seen(lambda n: torch.zeros(*n.shape, 6, dtype=torch.float64)), LOSS, ("test",))
    assert found["test_loss"].tolist() == pytest.approx([24 * (1 + 5 * target_min**2) / 2] * 3)


# ---- what is wrong


def true_class(n):
    return (n - 100) % 6 if (n >= 100).all() else n % 6


def answers(wrong_at=(), nan_at=(), tied_at=()):
    """Right answers but for some images."""

    def answer(n):
        out = torch.nn.functional.one_hot(true_class(n), 6).double()
        for one in wrong_at:
            out[n == one] = out[n == one].roll(1, -1)
        for one in nan_at:
            out[n == one, 5] = torch.nan
        for one in tied_at:
            out[n == one] = 1.0
        return out

    return answer


@pytest.mark.parametrize("per_class", [1, 3, None], ids=["laid out", "whole pool", "all"])
def test_ties_and_what_is_not_finite_are_wrong(tmp_path, per_class):
    task, _ = built(tmp_path, Classes, test_per_class=per_class, average="samples")
    owned = [set(number(task.test_pool.x[own]).tolist()) for own in task.test.index[task.whose]]
    bad = {"wrong_at": (100, 107, 113), "nan_at": (101, 111, 121, 129), "tied_at": (104, 116, 122)}
    found = task.evaluate(Seen(answers(**bad)), LOSS, ("test",))
    every = {n for numbers in bad.values() for n in numbers}
    expected = [len(own & every) / len(own) for own in owned]
    assert found["test_error"].tolist() == pytest.approx(expected)
    assert found["test_error"][0] == found["test_error"][2]
    assert task.evaluate(Seen(answers()), LOSS, ("test",))["test_error"].tolist() == [0.0] * 3
    everything = task.evaluate(Seen(lambda n: torch.full((*n.shape, 6), torch.inf)), LOSS, ("test",))
    assert everything["test_error"].tolist() == [1.0] * 3
    assert len(owned[0]) < 30


def test_the_halves_of_the_test_images_are_those_of_every_class(tmp_path):
    task, _ = built(tmp_path, Classes)
    own = [number(task.test_pool.x[index]).tolist() for index in task.test.index[task.whose]]
    first = [{n for c in range(6) for n in [m for m in one if true_class(torch.tensor(m)) == c][:2]} for one in own]
    learner = Seen(answers(wrong_at=range(100, 115)))
    found = task.evaluate(learner, LOSS, ("validation", "held_out"))
    for m in range(3):
        second = set(own[m]) - first[m]
        assert found["validation_error"][m] == pytest.approx(sum(n < 115 for n in first[m]) / 12)
        assert found["held_out_error"][m] == pytest.approx(sum(n < 115 for n in second) / 12)
    assert found.keys() == {f"{s}_{m}" for s in ("validation", "held_out") for m in ("loss", "error")}


def test_a_validation_without_images_is_refused(tmp_path):
    task, _ = built(tmp_path, Classes, test_per_class=1)
    learner = Seen(lambda images: torch.zeros(*images.shape, 6))
    with pytest.raises(ConfigError, match="validation has no image, a class has 1 test image; needs 2"):
        task.evaluate(learner, LOSS, ("test", "validation"))
    assert torch.isfinite(task.evaluate(learner, LOSS, ("held_out",))["held_out_error"]).all()


def test_the_published_error_is_the_mean_over_mini_batches_of_a_shuffled_pass(tmp_path):
    """24 images in mini-batches of 10, 10 and 4: a wrong one in the last counts for 1/12, any other for 1/30."""
    task, rand = built(tmp_path, Classes, test_batch_size=10)
    ours = {n: answers(wrong_at=[n]) for n in number(task.test_pool.x[task.test.index[0]]).tolist()}
    state, found = rand.state_dict(), {}
    for n, answer in ours.items():
        rand.load_state_dict(state)
        found[n] = task.evaluate(Seen(answer), LOSS, ("test",))["test_error"][0].item()
    counts = {round(value, 9): [*found.values()].count(value) for value in found.values()}
    assert counts == {round(1 / 30, 9): 20, round(1 / 12, 9): 4}
    last = {n for n, value in found.items() if value > 0.05}
    again = {n for n, a in ours.items() if task.evaluate(Seen(a), LOSS, ("test",))["test_error"][0] > 0.05}
    assert last != again, "every test is shuffled anew"
    assert task.evaluate(Seen(answers(nan_at=range(100, 130))), LOSS, ("test",))["test_error"].tolist() == [1.0] * 3
    dropped, _ = built(tmp_path, Classes, test_batch_size=10, batch_size=10, drop_last=True)
    values = [dropped.evaluate(Seen(a), LOSS, ("test",))["test_error"][0].item() for a in [*ours.values()] * 8]
    assert {round(v, 9) for v in values} == {0.0, 0.05}


def test_the_loss_is_that_of_the_images_of_the_seed(tmp_path):
    for per_class in (1, 4):
        task, _ = built(tmp_path, Classes, test_per_class=per_class, per_class=2)
        learner = Seen(lambda n: (n.unsqueeze(-1) / 255).expand(*n.shape, 6).float())
        for name, pool, chosen in (("test", task.test_pool, task.test), ("train", task.train_pool, task.train)):
            x, y = pool.x[chosen.index], pool.classes[chosen.index]
            expected = LOSS.value(learner.predict(x[task.whose]), y[task.whose])
            torch.testing.assert_close(task.evaluate(learner, LOSS, (name,))[f"{name}_loss"], expected)
            mean = task.evaluate(learner, losses.get("softmax_cross_entropy"), (name,))[f"{name}_loss"]
            torch.testing.assert_close(mean, torch.full((3,), math.log(6)))


@pytest.mark.parametrize(
    ("part", "settings", "expected"),
    [
        (Classes, {"batch_size": 99, "drop_last": True, "test_batch_size": 3}, "task.drop_last = true; 54 training"),
        (Classes, {"test_batch_size": 25, "drop_last": True}, "task.drop_last = true; 24 test images give no mini"),
        (TwoTasks, {"masked": 3}, "task.masked = 3; must be below the number of outputs, 3"),
        (Drift, {"moved": 7}, "task.moved = 7; the data set has 6 classes"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, part, settings, expected):
    with pytest.raises(ConfigError, match=expected):
        built(tmp_path, part, **settings)


# ---- two tasks


def test_tasks_take_turns_and_label_their_classes_by_a_permutation_modulo_the_outputs(tmp_path):
    task, rand = built(tmp_path, TwoTasks, per_class=4, batch_size=5, turns=2)
    learner = Seen()
    for _ in range(8):
        task.epoch(learner, rand)
    assert [{n % 6 >= 3 for n in shown(learner, e)[0]} for e in range(8)] == [{k} for k in (0, 0, 1, 1, 0, 0, 1, 1)]
    assert [len(visit) for visit in learner.visits] == [3] * 8 and task.n_out == 3
    places = credit.Rand([3, 8]).permutation("labels", 6)
    for visit in learner.visits:
        for x, y, weights, _ in visit:
            assert torch.equal(y, (places % 3).gather(1, number(x) % 6))
            assert weights.shape == (*y.shape, 3) and weights[0, 0].tolist() == [1.0, 1.0, 0.0]


def test_labels_may_be_such_that_none_collide(tmp_path):
    seeds = [*range(12)]
    published, apart = (built(tmp_path, TwoTasks, seeds, collisions=c)[0].labels for c in (True, False))
    halves = apart.reshape(-1, 3).sort(1).values
    assert torch.equal(halves, torch.arange(3).expand(24, -1)) and len({*map(tuple, apart.tolist())}) > 6
    assert any(len(set(half)) < 3 for half in published.reshape(-1, 3).tolist())
    assert built(tmp_path, TwoTasks, masked=0)[0].weights is None


def test_both_tasks_are_tested_at_once_with_the_masked_output_among_the_answers(tmp_path):
    task, _ = built(tmp_path, TwoTasks, average="samples")
    labels = task.labels[task.whose]

    def answer(n):
        out = torch.nn.functional.one_hot(labels.gather(1, (n - 100) % 6), 3).float()
        out[..., 2] += 2.0 * ((n - 100) % 6 == 4)  # class 4 answers the masked output
        return out

    found = task.evaluate(Seen(answer), LOSS, ("test", "validation"))
    share = torch.where(labels[:, 4] == 2, 0.0, 1 / 3).double()
    assert torch.equal(found["task0_error"], torch.zeros(3).double())
    torch.testing.assert_close(found["task1_error"], share)
    torch.testing.assert_close(found["test_error"], share / 2)
    torch.testing.assert_close(found["validation_error"], share / 2)
    seen = torch.zeros(3)
    for own in range(3):
        for n in number(task.test_pool.x[task.test.index[task.whose][own]]).tolist():
            y = int(labels[own, (n - 100) % 6])
            out = answer(torch.full((3, 1), n))[own, 0]
            seen[own] += sum((out[k] - float(k == y)) ** 2 / 2 for k in range(2))
    torch.testing.assert_close(found["test_loss"], seen)


# ---- drift


def test_classes_exchange_labels_behind_an_epoch_and_are_tested_with_the_new_ones(tmp_path):
    task, rand = built(tmp_path, Drift, per_class=4, test_per_class=2, every=3, moved=4, batch_size=9)
    learner, known = Seen(), []
    for epoch in range(7):
        before = task.labels.clone(), task.train.index.clone(), task.test.index.clone(), task.target_min
        task.epoch(learner, rand)
        for x, y, _ in learner.visits[-1]:
            labels = y if epoch == 0 else y.argmax(-1)
            assert torch.equal(labels, before[0].gather(1, number(x) % 6)), "the epoch ends as it began"
            assert (y.dtype == torch.int64) == (epoch == 0)
            assert epoch == 0 or set(y.unique().tolist()) == {-1.0, 1.0}
        changed = [not torch.equal(a, b) for a, b in zip(before[1:3], (task.train.index, task.test.index))]
        assert changed == [epoch % 3 == 0] * 2
        known.append(task.labels.clone())
        mine = sorted(number(task.train_pool.x[task.train.index[1]]).tolist())
    assert sorted(n % 6 for n in mine) == [c for c in range(6) for _ in range(4)]
    assert torch.equal(torch.stack(known)[..., :2], torch.arange(2).expand(7, 2, 2))
    assert torch.equal(torch.stack(known).sort(-1).values, torch.arange(6).expand(7, 2, 6))
    assert len({str(labels.tolist()) for labels in known}) == 3

    def answer(n):
        return torch.nn.functional.one_hot(task.labels[task.whose].gather(1, (n - 100) % 6), 6).float()

    found = task.evaluate(Seen(answer), LOSS, ("test",))
    assert found["test_error"].tolist() == [0.0] * 3
    assert found["test_loss"].tolist() == [12 * 5 / 2] * 3


def test_targets_of_a_drift_may_stay_what_they_were(tmp_path):
    task, rand = built(tmp_path, Drift, later_target_min=0.0)
    learner = Seen()
    for _ in range(3):
        task.epoch(learner, rand)
    assert {y.dtype for visit in learner.visits for _, y, _ in visit} == {torch.int64}


# ---- before any job


@pytest.mark.parametrize(
    ("task", "outputs", "expected"),
    [
        ({"name": "classes", "per_class": 60, "test_per_class": None}, 10, (600, 10000)),
        ({"name": "classes", "per_class": 60, "test_per_class": 60}, 10, (600, 600)),
        ({"name": "classes", "per_class": None, "test_per_class": 9000, "batches": 200}, 10, (1600, 10000)),
        ({"name": "two_tasks", "per_class": 600, "test_per_class": None}, 5, (3000, 10000)),
        ({"name": "drift", "per_class": 120, "test_per_class": 100}, 10, (1200, 1000)),
    ],
)
def test_sizes_are_known_before_anything_runs(task, outputs, expected):
    run = {"task": {"batch_size": 8, **task}, "data": {"name": "fashion_mnist"}}
    run["train"] = {"evaluate": {"splits": ["test", "validation"]}}
    assert samples(run) == (*expected, (1, 28, 28), outputs)
    run["train"]["evaluate"]["splits"] = ["train"]
    assert samples(run)[1] == min((task["per_class"] or 6000) * 10, 60000)


def test_targets_of_minus_one_need_a_squared_error():
    run = {"net": {"loss": "softmax_cross_entropy"}, "train": {"evaluate": {"splits": ["test"]}}}
    run["task"] = {"name": "drift", "target_min": 0.0, "later_target_min": -1.0, "drop_last": True}
    problem = "task.later_target_min = -1.0; needs a squared error, net.loss is 'softmax_cross_entropy'"
    assert list(task_problems(run, None)) == [problem]
    run["net"]["loss"] = "squared_error_sum"
    assert not list(task_problems(run, catalog.dataset("fashion_mnist")))
    run["train"]["evaluate"]["splits"] = ["held-out"]
    (problem,) = task_problems(run, None)
    assert problem.startswith(
        "train.evaluate.splits = 'held-out' (did you mean 'held_out'?); must be one of: held_out, test"
    )


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({"name": "classes", "test_per_class": 1}, "task.test_per_class = 1; validation is half of the test images"),
        ({"name": "drift", "moved": 11}, "task.moved = 11; the data set has 10 classes"),
        ({"name": "two_tasks", "masked": 5}, "task.masked = 5; must be below the number of outputs, 5"),
    ],
)
def test_classes_that_are_not_there_are_missed_before_any_job(task, problem):
    run = {"net": {"loss": "squared_error_sum"}, "train": {"evaluate": {"splits": ["validation"]}}, "task": task}
    (found,) = task_problems(run, catalog.dataset("fashion_mnist"))
    assert found.startswith(problem)
    run["train"]["evaluate"]["splits"] = ["test"]
    run["task"] = {"name": task["name"], "test_per_class": 1, "moved": 10, "masked": 4}
    assert not list(task_problems(run, catalog.dataset("fashion_mnist")))


# ---- whole runs


def spec(task, epochs=6, seeds=(0, 1), rates=(0.01, 0.02)):
    return {
        "version": VERSION, "kind": "train", "rule": {"name": "bp"}, "seeds": list(seeds), "probes": [],
        "net": {"kind": "dense", "hidden_sizes": [5], "hidden": "sigmoid", "loss": "squared_error_sum", "bias": False},
        "task": task, "vary": {"train.optimizer.lr": list(rates)},
        "train": {"epochs": epochs, "dtype": "float64", "threads": 1, "optimizer": {"name": "sgd"},
                  "evaluate": {"every": 1, "splits": ["test", "held_out"]}},
    }  # fmt: skip


WHOLE = {
    "classes": {"name": "classes", "per_class": 7, "batch_size": 8},
    "two_tasks": {"name": "two_tasks", "per_class": 7, "batch_size": 8, "turns": 1},
    "drift": {"name": "drift", "per_class": 4, "test_per_class": 3, "every": 2, "moved": 3, "batch_size": 8},
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_resumed_run_records_what_an_uninterrupted_one_does(tmp_path, name, monkeypatch):
    path = data(tmp_path / "toy.npz")
    whole = Training(spec(WHOLE[name]), path, log=io.StringIO()).run()

    def run(checkpoint):
        return Training(spec(WHOLE[name]), path, log=io.StringIO()).run(checkpoint, 0.0)

    assert records_after((1, 4), run, tmp_path, monkeypatch) == [whole] * 2
    assert {r["metric"] for r in whole} >= {"test_error", "test_loss", "held_out_error", "train_loss"}


@pytest.mark.parametrize("name", WHOLE)
def test_a_member_is_the_same_in_any_stack(tmp_path, name):
    path = data(tmp_path / "toy.npz")
    together = Training(spec(WHOLE[name], seeds=(0, 1, 2)), path, log=io.StringIO()).run()
    alone = Training(spec(WHOLE[name], seeds=(1,), rates=(0.02,)), path, log=io.StringIO()).run()
    mine = [r for r in together if r["seed"] == 1 and r["lr"] == 0.02]
    assert [r["value"] for r in mine] == pytest.approx([r["value"] for r in alone], rel=1e-12)
    assert [r["metric"] for r in mine] == [r["metric"] for r in alone]


def test_what_no_error_reaches_stays(tmp_path):
    training = Training(spec(WHOLE["two_tasks"]), data(tmp_path / "toy.npz"), log=io.StringIO())
    before = copy.deepcopy(training.learner.params)
    training.run()
    after = training.learner.params
    assert torch.equal(after["1"]["weight"][:, 2], before["1"]["weight"][:, 2])
    assert not torch.equal(after["1"]["weight"][:, 1], before["1"]["weight"][:, 1])
