"""What rules and tasks may ask of the loop: several passes, fused loops, sums over an epoch, evaluation by updates."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import credit
from credit.methods.base import Pass, Phase
from credit.methods.bp import BP
from credit.methods.fast import Fast
from credit.tasks.supervised import Split, Supervised
from credit.training.fast import may_inherit
from credit.training.learner import Learner, ProbeSlot
from credit.training.loop import Training
from tests.unit.test_train import make_spec, trained


@dataclass(frozen=True)
class Fused(BP):
    """Backpropagation that takes four mini-batches at once, and a second pass that only counts."""

    calls: ClassVar[list[int]] = []
    asked: ClassVar[list[tuple]] = []

    def __post_init__(self) -> None:
        """A rule of a test is no module of the package, so there are no declared hyperparameters to check."""

    def fast(self, net, params, opt, state, batch, batch_size, *, function="update"):
        self.asked.append((function, *batch.x.shape[1:]))

        def together(params, opt, state, batch, rand):
            infos = []
            for x, y in zip(batch.x.split(batch_size, 1), batch.y.split(batch_size, 1), strict=True):
                one = credit.Batch(x, y)
                params, opt, state, info = getattr(self, function)(net, params, opt, state, one, rand)
                infos.append(info)
            self.calls.append(len(infos))
            return params, opt, state, merged(infos)

        return Fast(together, at_once=4)

    def rehearse(self, net, params, opt, state, batch, rand):
        ones = torch.ones(batch.x.shape[0])
        size = float(batch.x.shape[1])
        return params, opt, state, {"sums": {"seen": ones * size}, "means": {"level": ones * 3, "size": ones * size}}

    def phases(self, epochs):
        return (
            Phase("rehearsal", 1, (Pass("rehearse"),), record=False),
            Phase("train", epochs, (Pass("rehearse"), Pass())),
        )


def merged(infos):
    """What a fast form reports of several mini-batches."""
    loss = {"loss": torch.stack([info["loss"] for info in infos])} if "loss" in infos[0] else {}
    sums = {k: sum(info["sums"][k] for info in infos) for k in infos[0].get("sums", {})}
    means = {k: torch.stack([info["means"][k] for info in infos]) for k in infos[0].get("means", {})}
    return loss | {"sums": sums, "means": means}


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
    Fused.calls.clear(), Fused.asked.clear()
    fused, plain = run(Fused()), run(BP())
    assert Fused.calls == [4, 2]
    assert Fused.asked == [("update", 4, 3)]
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


def test_a_fast_form_is_left_where_an_evaluation_falls_in_between():
    Fused.calls.clear()
    learner, task = start(Fused(), samples=64)
    steps = []
    learner.evaluate_every, learner.on_evaluate = 6, lambda: steps.append(learner.step)
    learner.start_pass("update")
    task.epoch(learner, learner.rand)
    assert steps == [6, 12]
    assert Fused.calls == [4, 4, 4]  # 1-4, [5-8 one by one], 9-12, 13-16


@pytest.mark.parametrize(("batch_size", "count"), [(4, 4), (300, 3), (600, 1), (1100, 1)])
def test_no_more_samples_are_taken_at_once_than_memory_is_meant_for(batch_size, count):
    Fused.calls.clear()
    learner, task = start(Fused(), samples=6 * batch_size, batch_size=batch_size)
    task.epoch(learner, learner.rand)
    assert Fused.calls[:1] == ([count] if count > 1 else [])
    assert learner.step == 6


@dataclass(frozen=True)
class Asked(Fused):
    """Takes one mini-batch at a time, and refuses the first."""

    def fast(self, net, params, opt, state, batch, batch_size, *, function="update"):
        found = super().fast(net, params, opt, state, batch, batch_size, function=function)
        return None if len(self.asked) == 1 else Fast(found.run)


def test_a_rule_is_asked_again_after_none_and_for_another_shape_or_pass():
    Fused.calls.clear(), Fused.asked.clear()
    learner, task = start(Asked(), samples=14)
    learner.start_epoch("train")
    for function in ("update", "update", "rehearse", "update"):
        learner.start_pass(function)
        task.epoch(learner, learner.rand)
    first, whole, rest = ("update", 4, 3), ("update", 4, 3), ("update", 2, 3)
    other = [("rehearse", 4, 3), ("rehearse", 2, 3)]
    assert Fused.asked == [first, whole, rest, *other]
    assert len(Fused.calls) == 4 * 4 - 1  # all but the one that was refused
    assert learner.sums["seen"].tolist() == [14, 14]


def test_fast_forms_do_not_outlive_a_phase_or_enter_a_copy():
    learner, task = start(Fused())
    learner.start_epoch("first")
    task.epoch(learner, learner.rand)
    assert learner.fast
    assert not copy.deepcopy(learner).fast
    bare = Learner(None, {}, None, None, {}, credit.Rand([0]), fast={"update": 1})
    assert not pickle.loads(pickle.dumps(bare)).fast
    learner.start_epoch("first")
    assert learner.fast
    learner.start_epoch("second")
    assert not learner.fast


def test_fast_forms_do_not_outlive_the_load_of_a_checkpoint(tmp_path):
    training = fused_training()
    assert training.learner.fast
    training._save(tmp_path / "c")
    training._resume(tmp_path / "c")
    assert not training.learner.fast


def test_a_fast_form_may_serve_any_pass_and_reports_what_single_mini_batches_do():
    @dataclass(frozen=True)
    class Slow(Fused):
        def fast(self, *args, **more):
            return None

    found = []
    for rule in (Fused(), Slow()):
        Fused.calls.clear()
        learner, task = start(rule)
        learner.start_pass("rehearse")
        task.epoch(learner, learner.rand)
        found.append({name: values.tolist() for name, _, values in learner.accumulated()})
        assert Fused.calls == ([4, 2] if type(rule) is Fused else [])
        assert learner.steps == {"rehearse": 6}
    assert found[0] == found[1]
    assert found[0] == {"seen": [22, 22], "level": [3, 3], "size": pytest.approx([22 / 6, 22 / 6])}


@dataclass(frozen=True)
class Inspecting(Fused):
    """Says of every inspection which pass and epoch it was, what it saw, and that nothing was learned yet."""

    seen: ClassVar[list[tuple]] = []

    def inspect(self, net, params, state, batch, rand, function, epoch):
        self.seen.append((function, epoch, batch.x.shape[1], float(params["0"]["weight"].sum())))
        return {"inspected": torch.full((2,), float(epoch))}


def test_a_rule_may_inspect_itself_with_the_first_mini_batch_of_every_pass():
    Inspecting.seen.clear()
    learner, task = start(Inspecting())
    expected = []
    for epoch in range(2):
        learner.start_epoch("train", epoch)
        for function in ("rehearse", "update", "update"):
            learner.start_pass(function)
            expected.append((function, epoch, 4, float(learner.params["0"]["weight"].sum())))
            task.epoch(learner, learner.rand)
        rows = {name: values.tolist() for name, _, values in learner.accumulated()}
        assert rows["inspected"] == [epoch, epoch]
        assert len(learner.means["inspected"]) == 3
    assert Inspecting.seen == expected


def test_the_training_loop_counts_the_epochs_of_every_phase_for_inspections():
    Inspecting.seen.clear()
    training = Training(make_spec(lr=0.01, epochs=2, seeds=(0, 1)), log=io.StringIO())
    training.learner.method = Inspecting()
    training.run()
    seen = [(function, epoch) for function, epoch, *_ in Inspecting.seen]
    assert seen == [("rehearse", 0)] + [(f, e) for e in range(2) for f in ("rehearse", "update")]


class Mixin:
    def _helper(self):
        return 2


def inheriting(**members):
    """A class between `Fused` and its child, the child being what is asked."""
    return type("Child", (type("Heir", (Fused,), members),), {})


def test_a_rule_that_changes_what_a_fast_form_stands_in_for_does_not_inherit_it():
    anything = lambda self, *args: None  # noqa: E731
    for name in ("update", "gradients"):
        assert not may_inherit(inheriting(**{name: anything}), "update")
    assert may_inherit(inheriting(rehearse=anything), "update")  # of another pass
    assert not may_inherit(inheriting(rehearse=anything), "rehearse")
    assert may_inherit(inheriting(init=anything, __post_init__=anything, _own=anything), "update")
    assert may_inherit(inheriting(update=anything, fast=anything), "update")  # it has a fast form of its own
    private = type("Private", (Fused,), {"_helper": anything, "fast": anything})
    assert may_inherit(type("Child", (private,), {}), "update")
    assert not may_inherit(type("Child", (private,), {"_helper": anything}), "update")
    assert not may_inherit(type("Child", (Mixin, private), {}), "update")


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
