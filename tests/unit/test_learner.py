"""What rules and tasks may ask of the loop: several passes, fused loops, sums over an epoch, evaluation by updates."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import credit
from credit.methods.base import Pass, Phase
from credit.methods.bp import BP
from credit.tasks.supervised import Split, Supervised
from credit.training.learner import Learner, ProbeSlot
from credit.training.loop import Training
from tests.unit.test_train import make_spec, trained


@dataclass(frozen=True)
class Fused(BP):
    """Backpropagation that takes four mini-batches at once, and a second pass that only counts."""

    steps_at_once: ClassVar[int] = 4
    calls: ClassVar[list[int]] = []

    def __post_init__(self) -> None:
        """A rule of a test is no module of the package, so there are no declared hyperparameters to check."""

    def steps(self, net, params, opt, state, batch, batch_size, rand):
        losses = []
        for start in range(0, batch.x.shape[1], batch_size):
            one = credit.Batch(batch.x[:, start : start + batch_size], batch.y[:, start : start + batch_size])
            params, opt, state, info = self.update(net, params, opt, state, one, rand)
            losses.append(info["loss"])
        self.calls.append(len(losses))
        return params, opt, state, {"loss": torch.stack(losses)}

    def rehearse(self, net, params, opt, state, batch, rand):
        ones = torch.ones(batch.x.shape[0])
        return params, opt, state, {"sums": {"seen": ones * batch.x.shape[1]}, "means": {"level": ones * 3}}

    def phases(self, epochs):
        return (
            Phase("rehearsal", 1, (Pass("rehearse"),), record=False),
            Phase("train", epochs, (Pass("rehearse"), Pass())),
        )


class CountingProbe:
    """Reports how often it was asked."""

    def __init__(self):
        self.asked = 0

    def measure(self, moment):
        self.asked += 1
        same = torch.equal(moment.params["0"]["weight"], moment.after["0"]["weight"])
        return [("unchanged", "", torch.full((2,), float(same)))]


def start(rule, probes=(), samples=22, batch_size=4):
    net, rand = credit.dense([3, 4, 2], loss="mse"), credit.Rand([0, 1], dtype=torch.float64)
    params = net.init(rand)
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1})
    x, y = rand.normal("x", (samples, 3)), rand.normal("y", (samples, 2))
    task = Supervised({"train": Split(x, y, per_member=True)}, (3,), 2, 2, batch_size)
    return Learner(net, params, rule, opt, {}, rand, list(probes)), task


def run(rule, probes=()):
    learner, task = start(rule, probes)
    learner.start_pass("update")
    task.epoch(learner, learner.rand)
    return learner


def test_a_fused_loop_gets_the_same_mini_batches():
    Fused.calls.clear()
    fused, plain = run(Fused()), run(BP())
    assert Fused.calls == [4, 2]
    assert fused.step == plain.step == 6
    torch.testing.assert_close(fused.params["0"]["weight"], plain.params["0"]["weight"], rtol=0, atol=0)
    assert torch.equal(torch.stack(fused.losses), torch.stack(plain.losses))


def test_a_fused_loop_is_left_where_a_probe_is_due():
    Fused.calls.clear()
    probe = CountingProbe()
    fused = run(Fused(), [ProbeSlot(probe, every=5)])
    assert probe.asked == 2
    assert [step for step, _ in fused.measured] == [0, 5]
    assert Fused.calls == []
    torch.testing.assert_close(fused.params["0"]["weight"], run(BP()).params["0"]["weight"], rtol=0, atol=0)


def fused_training(epochs=2, probes=()):
    training = Training(make_spec(lr=0.01, epochs=epochs, seeds=(0, 1)), log=io.StringIO())
    training.learner.method = Fused()
    training.learner.probes = list(probes)
    training.run()
    return training


def test_a_phase_has_several_passes_with_steps_of_their_own():
    training = fused_training()
    assert training.learner.steps == {"rehearse": 3 * 4, "update": 2 * 4}
    seen = [(r["epoch"], r["value"]) for r in training.records if r["metric"] == "seen" and r["seed"] == 0]
    assert seen == [(0, 60), (1, 60), (2, 60)]
    assert {r["value"] for r in training.records if r["metric"] == "level"} == {3}


def test_a_probe_may_measure_another_pass():
    probe = CountingProbe()
    training = fused_training(probes=[ProbeSlot(probe, every=2, on="rehearse")])
    assert probe.asked == 3 * 2
    assert {r["value"] for r in training.records if r["metric"] == "unchanged"} == {1.0}


def test_evaluation_can_count_updates():
    spec = make_spec(lr=0.01)
    spec["train"]["evaluate"] = {"every": 3, "unit": "update", "splits": ["test"]}
    records = [r for r in trained(spec).records if r["metric"] == "test_loss" and r["seed"] == 0]
    assert [r["step"] for r in records] == [0, 3, 6, 9, 12, 15, 16]
    assert [r["epoch"] for r in records] == [0, 1, 2, 3, 3, 4, 4]


class Remembering(Supervised):
    """A task with a memory: it shows its samples in an order that changes from epoch to epoch."""

    turn = 0

    def epoch(self, learner, rand):
        self.turn += 1
        learner.note([("turn", "", torch.full((2,), float(self.turn)))])
        super().epoch(learner, rand)

    def state_dict(self):
        return {"turn": self.turn}

    def load_state_dict(self, state):
        self.turn = state["turn"]


def remembering(spec):
    training = Training(spec, log=io.StringIO())
    training.task.__class__ = Remembering
    return training


def test_a_task_with_a_memory_resumes_with_it(tmp_path, monkeypatch):
    spec = make_spec(lr=0.01)
    whole = remembering(spec)
    whole.run()
    first = remembering(spec)

    def save_then_die(self, path, original=Training._save):
        original(self, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "c", 0.0)
    monkeypatch.undo()
    second = remembering(spec)
    second.run(tmp_path / "c", 1e9)
    assert second.records == whole.records
    assert [r["value"] for r in second.records if r["metric"] == "turn" and r["seed"] == 0] == [1, 2, 3, 4]


@pytest.mark.parametrize("loss", ["mse", "half_squared_error", "squared_error_sum"])
def test_the_loss_of_a_split_does_not_depend_on_how_it_is_cut(loss, monkeypatch):
    net = credit.dense([3, 2], loss=loss)
    params = net.init(credit.Rand([0], dtype=torch.float64))
    rand = credit.Rand([0], dtype=torch.float64)
    split = Split(rand.normal("x", (50, 3))[0], rand.normal("y", (50, 2))[0])
    task = Supervised({"test": split}, (3,), 2, 1)
    learner = Learner(net, params, BP(), None, {}, rand)
    whole = task.evaluate(learner, net.loss, ("test",))["test_loss"]
    monkeypatch.setattr("credit.tasks.supervised.EVALUATION_BATCH", 7)
    pieces = task.evaluate(learner, net.loss, ("test",))["test_loss"]
    torch.testing.assert_close(whole, pieces, rtol=1e-12, atol=0)
    torch.testing.assert_close(whole, net.loss.value(net.predict(params, split.x[None]), split.y[None]))
