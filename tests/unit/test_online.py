"""Online learning by the rules of dynamic inversion, sample after sample in chunks: the same as update by update."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import credit
from credit.methods.di_bp import InversionBP
from credit.methods.di_fa import InversionFA
from credit.methods.ndi import NDI
from credit.methods.online import loops
from credit.methods.pbp import PBP
from credit.tasks.supervised import Split, Supervised
from credit.training.fast import ask
from credit.training.learner import Learner
from tests.conftest import small_batch
from tests.unit.test_di import FAMILY, close, prepared


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "half_squared_error"])
def test_chunks_of_online_updates_are_the_updates_one_by_one(name, bias, loss):
    hyper = {"restabilize": False} if name == "di" else {}
    net = credit.dense([70, 12, 9, 4], "tanh", bias=bias, loss=loss)
    runs = [online_run(name, net, at_once, clip=1.0, skip_first=True, **hyper) for at_once in (1, 10)]
    assert_same_run(*runs)
    assert [int(state["updates"]) for _, _, state, _ in runs] == [30, 30]
    assert torch.equal(*(opt.state_dict()["steps"] for _, opt, _, _ in runs))


def test_feedback_is_made_stable_after_every_sample_of_a_chunk():
    """With the weights and at the step at which it is when samples come one by one."""
    net, runs = credit.dense([70, 12, 9, 4], "tanh", loss="half_squared_error"), []
    for at_once in (1, 10):
        _, rule, rand, params, state = prepared("di", net=net, euler_steps=9, ssa_steps=2, ssa_min_steps=1, clip=1.0)
        start = {i: b.neg_().clone() for i, b in state["feedback"].items()}  # positive feedback
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.02})
        batch, sums = small_batch(net, [3, 8], 20), 0
        for k in range(0, 20, at_once):
            part = cut(batch, k, k + at_once)
            fast = ask(rule, net, params, opt, state, cut(batch, k, k + 1), 1) if at_once > 1 else None
            run = fast or (lambda *args, rule=rule: rule.update(net, *args))
            params, opt, state, info = run(params, opt, state, part, rand)
            sums = sums + info["sums"]["restabilized"]
        runs.append((state["feedback"], sums))
    (one, times), (other, again) = runs
    assert times.tolist() == again.tolist()
    assert (times >= 20).all()
    for i, b in one.items():
        close(other[i] - start[i], b - start[i], 1e-8)


def online_run(name, net, at_once, start=None, lr=(0.02, 0.05), **hyper):
    """(params, opt, state, losses) after 30 samples, `at_once` of them in a chunk."""
    _, rule, rand, params, state = prepared(name, net=net, **hyper)
    if start is not None:
        start(params)
    settings = {"name": "sgd", "lr": list(lr), "decay_unscaled": 1e-3, "weight_decay": 1e-2}
    opt = rule.optimizer(net, params, state, settings)
    batch = small_batch(net, [3, 8], 30)
    losses = []
    k = 0
    while k < 30:
        part, count = cut(batch, k, k + 1), 1
        fast = ask(rule, net, params, opt, state, part, 1) if at_once > 1 else None
        if fast is None:
            params, opt, state, info = rule.update(net, params, opt, state, part, rand)
            losses.append(info["loss"])
        else:
            count = at_once - k % at_once
            params, opt, state, info = fast(params, opt, state, cut(batch, k, k + count), rand)
            losses += list(info["loss"])
        k += count
    return params, opt, state, torch.stack(losses)


def cut(batch, start, stop):
    return credit.Batch(batch.x[:, start:stop], batch.y[:, start:stop])


def assert_same_run(one, other, tolerance=1e-11):
    for i, block in one[0].items():
        for n, p in block.items():
            close(other[0][i][n], p, tolerance)
    close(other[3], one[3], tolerance)


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("di_bp", {}),
        ("di_fa", {}),
        ("pbp", {}),
        ("ndi", {"leak": (0.01, 0.3)}),
        ("ndi", {"feedback": "neg_pseudoinverse"}),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", ["tanh", "linear"])
def test_compiled_chunks_of_a_classifier_are_the_updates_one_by_one(name, hyper, bias, hidden, monkeypatch):
    compiled = Spy(loops.Chunk.run)
    monkeypatch.setattr(loops.Chunk, "run", lambda *a: compiled(*a))
    net = credit.dense([70, 13, 4], hidden, bias=bias)
    assert_same_run(*(online_run(name, net, at_once, **hyper) for at_once in (1, 10)))
    assert compiled.results == [10, 10, 10]


def test_a_class_that_does_not_exist_is_refused():
    net = credit.dense([70, 13, 4], "tanh")
    _, rule, rand, params, state = prepared("di_bp", net=net)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    batch = small_batch(net, [3, 8], 5)
    batch.y[0, 3] = 4
    with pytest.raises((RuntimeError, IndexError, ValueError), match="out of bounds"):
        ask(rule, net, params, opt, state, cut(batch, 0, 1), 1)(params, opt, state, batch, rand)


@pytest.mark.parametrize("name", ["pbp", "ndi"])
def test_singular_samples_of_a_compiled_chunk_are_left_to_least_squares(name, monkeypatch):
    compiled = Spy(loops.Chunk.run)
    monkeypatch.setattr(loops.Chunk, "run", lambda *a: compiled(*a))

    def silence(params):
        params["1"]["weight"][0] = 0.0

    hyper = {"leak": 0.0} if name == "ndi" else {}
    net = credit.dense([70, 13, 4], "tanh")
    assert_same_run(*(online_run(name, net, at_once, silence, (0.0, 0.05), **hyper) for at_once in (1, 10)))
    assert compiled.results == 3 * [*range(11)]


class Spy:
    """A function that remembers its results."""

    def __init__(self, function):
        self.function, self.results = function, []

    def __call__(self, *args):
        self.results.append(self.function(*args))
        return self.results[-1]


@pytest.mark.parametrize(
    ("batch_size", "settings", "hyper"),
    [(4, {}, {}), (1, {"name": "adam", "lr": 0.01}, {}), (1, {}, {"normalize": True}), (1, {}, {"skip_first": True})],
)
def test_what_does_not_fit_chunks_is_updated_one_by_one(batch_size, settings, hyper):
    net = credit.dense([70, 12, 4], "tanh")
    _, rule, rand, params, state = prepared("di", net=net, **hyper)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.01} | settings)
    batch = small_batch(net, [3, 8], 9)
    assert ask(rule, net, params, opt, state, cut(batch, 0, batch_size), batch_size) is None
    if rule.skip_first:  # the first mini-batch alone is one that chunks do not know
        params, opt, state, _ = rule.update(net, params, opt, state, cut(batch, 0, 1), rand)
        assert ask(rule, net, params, opt, state, cut(batch, 1, 2), 1).at_once == 100


CHANGED = {
    "below": lambda base: lambda self, *args: 2 * base.below(self, *args),
    "hidden_deltas": lambda base: lambda self, *args: [2 * d for d in base.hidden_deltas(self, *args)],
    "feedback_of": lambda base: lambda self, state, i, weight: -2 * weight.mT,
    "after_step": lambda base: lambda self, params, state: {"sum": params["1"]["weight"].mul_(0.9).sum((1, 2))},
    "slope": lambda base: False,
}


@pytest.mark.parametrize("changed", CHANGED)
@pytest.mark.parametrize("base", [NDI, PBP, InversionBP, InversionFA])
def test_a_rule_that_inherits_the_compiled_form_and_changes_what_it_stands_in_for_is_asked(base, changed):
    members = {changed: CHANGED[changed](base), "__post_init__": lambda self: None}
    rule = dataclass(frozen=True)(type("Changed", (base,), members))()
    net = credit.dense([70, 9, 5], "tanh", loss="softmax_cross_entropy")
    found = [online_run(rule, net, at_once) for at_once in (1, 10)]
    assert_same_run(*found, 1e-9)


@pytest.mark.parametrize(
    ("sizes", "loss", "hidden", "fits"),
    [
        ([7, 6, 4], "softmax_cross_entropy", "tanh", True),
        ([7, 6, 4], "softmax_cross_entropy", "linear", True),
        ([7, 6, 5, 4], "softmax_cross_entropy", "tanh", False),
        ([7, 4], "softmax_cross_entropy", "tanh", False),
        ([7, 6, 4], "mse", "tanh", False),
        ([7, 6, 4], "softmax_cross_entropy", "relu", False),
        ([7, 4, 6], "softmax_cross_entropy", "tanh", False),
    ],
)
def test_the_compiled_loop_is_for_classifiers_with_one_hidden_layer(sizes, loss, hidden, fits):
    net = credit.dense(sizes, hidden=hidden, loss=loss)
    params = net.init(credit.Rand([3, 8]), "xavier_normal")
    batch = credit.Batch(torch.randn(2, 9, 7), torch.zeros(2, 9, dtype=torch.int64))
    assert loops.possible(net, params, batch) == fits
    assert not loops.possible(net, params, credit.Batch(batch.x, batch.y + sizes[-1]))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_learner_takes_online_mini_batches_in_chunks_and_others_one_by_one(batch_size):
    net, runs = credit.dense([70, 12, 4], "tanh"), []
    batch = small_batch(net, [3, 8], 25)
    task = Supervised({"train": Split(batch.x, batch.y, per_member=True)}, (70,), 4, 2, batch_size)
    for together in (False, True):
        _, rule, rand, params, state = prepared("di", net=net)
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.01})
        learner = Learner(net, params, rule, opt, state, rand)
        if together:
            task.epoch(learner, rand)
        else:
            order = rand.permutation("order", 25)
            for start in range(0, 25, batch_size):
                part = credit.Batch(*task.splits["train"].take(order[:, start : start + batch_size]))
                learner.update(part)
        assert learner.step == len(learner.losses) == -(-25 // batch_size)
        assert learner.sums["restabilized"].tolist() == [0, 0]
        runs.append((learner.params, learner.opt, learner.state, torch.stack(learner.losses)))
    assert_same_run(*runs, 1e-11 if batch_size == 1 else 0)


# ---- probes
