"""The regressions of dynamic inversion: one pass in a fixed order, an error that is the error, records that go on."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import credit
from credit.tasks.base import Context
from credit.tasks.regression import Regression, is_linear
from credit.training.learner import Learner
from credit.training.loop import Training

SMALL = {"n_in": 5, "n_out": 3, "samples": 12, "per_epoch": 4, "init": {"name": "uniform", "scale": 1.0}}
TANH = {**SMALL, "hidden_sizes": (4,), "bias": True, "init": {"name": "uniform", "scale": 0.5, "bias": 0.5}}


def built(seeds=(1, 2), **settings):
    rand = credit.Rand(list(seeds), dtype=torch.float64)
    return Regression(**settings).build(Context(rand, len(seeds), torch.device("cpu"), torch.float64)), rand


def student(rand, hidden="linear", bias=False):
    net = credit.dense([5, 4, 3], hidden, loss="half_squared_error", bias=bias)
    rule = credit.method("di_bp")
    params = net.init(rand, {"name": "uniform", "scale": 0.3, "bias": 0.3 if bias else 0.0})
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.05})
    return Learner(net, params, rule, opt, rule.init(net, params, rand), rand)


class Listener:
    """A learner that keeps the samples which it is handed."""

    def __init__(self):
        self.x = []

    def visit(self, order, take, batch_size, whose=None):
        self.x += [take(index)[0] for index in order.split(batch_size, 1)]


def test_an_epoch_is_the_next_part_of_one_pass_which_visits_every_sample_once():
    task, rand = built(**SMALL)
    first, second = Listener(), Listener()
    for _ in range(3):
        task.epoch(first, rand)
    for _ in range(3):
        task.epoch(second, rand)
    x = task.splits["train"].x
    for listener in (first, second):
        seen = torch.cat(listener.x, 1)
        assert seen.shape == x.shape
        for m in range(2):
            assert sorted(map(tuple, seen[m].tolist())) == sorted(map(tuple, x[m].tolist()))
    assert not torch.equal(torch.cat(first.x, 1), torch.cat(second.x, 1))


def test_epochs_need_not_divide_the_pass():
    task, rand = built(**{**SMALL, "per_epoch": 5})
    listener = Listener()
    for _ in range(3):
        task.epoch(listener, rand)
    assert (len(listener.x), task.seen) == (15, 3)


def test_samples_depend_on_the_seed_alone_and_the_linear_teacher_has_no_noise():
    together, _ = built(seeds=(1, 2), **SMALL)
    alone, _ = built(seeds=(2,), **SMALL)
    for key in ("x", "y"):
        assert torch.equal(getattr(together.splits["train"], key)[1], getattr(alone.splits["train"], key)[0])
    split = together.splits["train"]
    torch.testing.assert_close(split.x @ together.teacher.mT, split.y, rtol=0, atol=1e-14)
    assert together.teacher.abs().max() <= 1


@pytest.mark.parametrize(
    ("settings", "hidden", "bias"), [(SMALL, "linear", False), (SMALL, "tanh", True), (TANH, "tanh", True)]
)
def test_the_error_is_that_of_all_samples_relative_to_the_untrained_net(settings, hidden, bias):
    task, rand = built(**settings)
    learner = student(rand, hidden, bias)
    assert is_linear(learner.net) == (hidden == "linear")

    def direct():
        x, y = task.splits["train"].x, task.splits["train"].y
        return (learner.predict(x) - y).square().sum((-2, -1))

    start = direct()
    assert task.evaluate(learner, None, ("train",))["log10_nse"].tolist() == [0.0, 0.0]
    for _ in range(6):
        task.epoch(learner, rand)
    found = task.evaluate(learner, None, ("train",))["log10_nse"]
    torch.testing.assert_close(found, torch.log10(direct() / start), rtol=1e-12, atol=0)
    assert (found < 0).all()


def test_the_error_of_a_linear_net_is_right_where_differences_cancel():
    task, rand = built(**SMALL)
    learner = student(rand)
    learner.params["0"]["weight"].zero_()[:, :3, :3] = torch.eye(3)
    learner.params["1"]["weight"].zero_()
    learner.params["1"]["weight"][:, :, :3] = task.teacher[..., :3] * (1 + 1e-12)
    learner.params["0"]["weight"][:, 3, 3] = 1
    task.teacher[..., 3:] = 0
    expected = (1e-12 * task.splits["train"].x[..., :3] @ task.teacher[..., :3].mT).square().sum((-2, -1))
    torch.testing.assert_close(task.squared_error(learner), expected, rtol=2e-3, atol=0)


def spec(**changes):
    content = {
        "paper": "di", "experiment": "x", "dataset": "plain", "method": "di", "kind": "train", "seeds": [0, 1],
        "rule": {"name": "di", "leak": 0.01, "clip": 10.0, "skip_first": True}, "vary": {},
        "net": {"kind": "dense", "hidden_sizes": [4], "hidden": "linear", "bias": False, "loss": "half_squared_error",
                "init": {"name": "uniform", "scale": 0.01}},
        "task": {"name": "regression", **SMALL},
        "probes": [{"probe": "inversion_angles", "every": 2}],
        "train": {"epochs": 3, "dtype": "float64", "optimizer": {"name": "sgd", "lr": 0.01},
                  "evaluate": {"every": 2, "unit": "update", "splits": ["train"]}},
    }  # fmt: skip
    return {**content, **changes}


def test_runs_are_recorded_by_samples_and_by_parts_of_the_pass():
    records = Training(spec()).run()
    errors = [r for r in records if r["metric"] == "log10_nse" and r["seed"] == 1]
    assert [(r["epoch"], r["step"]) for r in errors] == [(0, 0)] + [(1 + (s - 1) // 4, s) for s in range(2, 13, 2)]
    angles = [r for r in records if r["metric"] == "angle_ndi" and r["seed"] == 0]
    assert [r["step"] for r in angles] == [0, 2, 4, 6, 8, 10]


def test_a_pass_goes_on_from_its_saved_state():
    task, rand = built(**SMALL)
    learner = student(rand)
    task.evaluate(learner, None, ("train",))
    task.epoch(Listener(), rand)
    state, streams = task.state_dict(), rand.state_dict()
    resumed, again = built(**SMALL)
    resumed.load_state_dict(state)
    again.load_state_dict(streams)
    assert torch.equal(resumed.untrained, task.untrained)
    for _ in range(4):  # beyond the end of the pass
        ours, theirs = Listener(), Listener()
        task.epoch(ours, rand)
        resumed.epoch(theirs, again)
        assert torch.equal(torch.cat(ours.x, 1), torch.cat(theirs.x, 1))


def test_members_of_a_grid_share_their_seeds_teacher():
    task, _ = built(seeds=(4, 4), **SMALL)
    assert torch.equal(task.splits["train"].x[0], task.splits["train"].x[1])
    assert torch.equal(task.teacher[0], task.teacher[1])


def test_a_tanh_teacher_has_no_matrix():
    assert built(**TANH)[0].teacher is None
    assert dataclasses.asdict(Regression())["hidden_sizes"] == ()
