"""Feedback weights of DFC that rest after an epoch: what rests, what goes on as before, and what it costs."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch

import credit
from credit.dag.cost import formula
from credit.errors import ConfigError
from credit.training.loop import Training
from tests.conftest import dfc_hyper
from tests.unit.test_costs import DYNAMIC, RUN
from tests.unit.test_train import make_spec

NAMES = ["feedback_noise.0", "feedback_noise.1", "feedback_noise.2"]


def training(freeze=None, epochs=4, vary=None, **optimizer):
    spec = make_spec("dfc_ssa", epochs=epochs, vary=vary, **({"lr": 2.0} | optimizer))
    spec["rule"] |= dfc_hyper(
        feedback="xavier_normal", pretrain_epochs=2, extra_feedback_passes=1, feedback_time_points=8,
        feedback_optimizer="adam", feedback_lr=1e-3, pretrain_lr=1e-3, freeze_feedback_after=freeze,
    )  # fmt: skip
    return Training(spec, log=io.StringIO())


def snapshots(run, monkeypatch):
    """What the training holds after every epoch: {epoch: (Q, optimisers of Q, streams of its noise)}."""
    found, whole = {}, Training._epoch

    def epoch(self, phase, index):
        whole(self, phase, index)
        opt = self.learner.opt.state_dict()
        streams = self.rand.state_dict()["streams"]
        found[phase.name, index] = {
            "feedback": {i: q.clone() for i, q in self.learner.state["feedback"].items()},
            "optimisers": {name: opt[name] for name in ("pretrain", "feedback")},
            "streams": {name: streams[name] for name in NAMES if name in streams},
        }

    monkeypatch.setattr(Training, "_epoch", epoch)
    run.run()
    monkeypatch.setattr(Training, "_epoch", whole)
    return found


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("freeze", [0, 2])
def test_weights_optimiser_and_draws_of_the_feedback_rest_from_the_end_of_that_epoch_on(freeze, monkeypatch):
    run = training(freeze)
    seen = snapshots(run, monkeypatch)
    last = ("train", freeze - 1) if freeze else ("pretrain", 1)
    assert list(seen) == [*(("pretrain", i) for i in range(2)), *(("train", i) for i in range(4))]
    for epoch in range(freeze, 4):
        assert same(seen["train", epoch], seen[last])
    assert not same(seen["pretrain", 0]["feedback"], seen[last]["feedback"])
    assert seen[last]["streams"].keys() == set(NAMES)
    steps = {name: run.learner.steps.get(name, 0) for name in ("update", "feedback_pass", "feedback_extra")}
    assert steps == {"update": 16, "feedback_pass": 4 * freeze, "feedback_extra": 4 * freeze}


def test_until_then_the_training_is_the_one_that_never_rests():
    never, frozen = (training(freeze).run() for freeze in (None, 2))
    early = [[r for r in records if r["epoch"] <= 2] for records in (never, frozen)]
    assert early[0] == early[1]
    late = [[r for r in records if r["epoch"] > 2 and r["metric"] == "train_loss"] for records in (never, frozen)]
    assert [(r["epoch"], r["step"]) for r in late[0]] == [(r["epoch"], r["step"]) for r in late[1]]
    assert late[0] != late[1]


def test_as_many_epochs_as_there_are_is_never():
    assert [training(freeze).run() for freeze in (4, 9)] == [training().run()] * 2


def test_schedules_of_the_forward_weights_count_on():
    run = training(1, schedule={"milestones": [2], "factor": 0.5})
    rates, whole = [], run.learner.opt.forward.set_epoch
    run.learner.opt.forward.set_epoch = lambda epoch: (whole(epoch), rates.append(run.learner.opt.forward.lr_at(epoch)))
    run.run()
    assert rates == [2.0, 2.0, 2.0, 2.0, 1.0, 1.0]  # two epochs of pre-training, four of training


def test_an_interrupted_training_rests_where_it_would_have(tmp_path, monkeypatch):
    whole = training(2).run()
    for stop_after in (1, 2, 3, 4, 5):
        path, whole_epoch, done = tmp_path / f"{stop_after}", Training._epoch, []

        def epoch(self, phase, index, whole_epoch=whole_epoch, done=done, stop_after=stop_after, path=path):
            if len(done) == stop_after:
                self._save(path)
                raise KeyboardInterrupt
            done.append(index)
            whole_epoch(self, phase, index)

        monkeypatch.setattr(Training, "_epoch", epoch)
        with pytest.raises(KeyboardInterrupt):
            training(2).run()
        monkeypatch.setattr(Training, "_epoch", whole_epoch)
        assert training(2).run(path, 1e9) == whole


def test_members_of_a_stack_rest_together():
    vary = {"hyper.feedback.lr": [1e-3, 1e-2]}
    run = training(1, vary=vary)
    assert {r["feedback_lr"] for r in run.run()} == {1e-3, 1e-2}
    assert run.learner.steps["feedback_pass"] == 4


@pytest.mark.parametrize("rule", ["dfc", "dfc_ss", "dfc_ssa"])
def test_feedback_that_rests_costs_nothing(rule):
    passes = {None: 3 + 7 * 2, 0: 3, 4: 3 + 4 * 2, 7: 3 + 7 * 2, 50: 3 + 7 * 2}
    seconds = {k: formula(rule)(replace(RUN, hyper={**DYNAMIC, "freeze_feedback_after": k})).seconds for k in passes}
    each = (seconds[4] - seconds[0]) / 8
    assert each > 0
    for k, n in passes.items():
        assert seconds[k] - seconds[0] == pytest.approx((n - 3) * each)


def test_feedback_that_does_not_learn_cannot_be_told_to_rest():
    with pytest.raises(ConfigError, match=r"dfc\.freeze_feedback_after = 3; needs train_feedback true"):
        credit.method("dfc", train_feedback=False, freeze_feedback_after=3)
    with pytest.raises(ConfigError, match=r"freeze_feedback_after = -1; must be"):
        credit.method("dfc", freeze_feedback_after=-1)
