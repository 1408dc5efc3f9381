"""Samples that fill no mini-batch at the end of an epoch: averaged, divided by the nominal size, or carried over."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

import credit
from credit.errors import ConfigError
from credit.methods.base import Method
from credit.methods.fast import Fast
from credit.tasks.images import Images
from credit.tasks.supervised import Split, Supervised
from credit.training.learner import Learner
from tests.conftest import small_batch, small_net


@dataclass(frozen=True)
class Recorder(Method):
    """A rule that only remembers its mini-batches."""

    at_once: int = 1
    seen: list = field(default_factory=list)

    def __post_init__(self) -> None:
        """A rule of a test is no module of the package, so there are no declared hyperparameters to check."""

    def update(self, net, params, opt, state, batch, rand):
        self.seen.append((batch.x[..., 0].long().tolist(), batch.divisor))
        return params, opt, state, {}

    def fast(self, net, params, opt, state, batch, batch_size, *, function="update"):
        def together(params, opt, state, batch, rand):
            for x, y in zip(batch.x.split(batch_size, 1), batch.y.split(batch_size, 1), strict=True):
                self.update(net, params, opt, state, credit.Batch(x, y, None, batch.divisor), rand)
            return params, opt, state, {}

        return Fast(together, self.at_once)


def recorder(at_once=1):
    return Learner(None, {}, Recorder(at_once), None, {}, credit.Rand([0, 1]))


def task(n=10, **options):
    x = torch.arange(n, dtype=torch.float64)
    return Supervised({"train": Split(x[:, None], x[:, None])}, (1,), 1, 2, batch_size=4, **options)


def epochs(task, count, at_once=1):
    """Samples and divisors of every mini-batch, and the order of every epoch."""
    learner = recorder(at_once)
    for _ in range(count):
        task.epoch(learner, learner.rand)
    again = credit.Rand([0, 1])
    return learner.method.seen, [again.permutation("order", len(task.splits["train"])).tolist() for _ in range(count)]


def rows(order, start, stop):
    return [member[start:stop] for member in order]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_a_last_mini_batch_may_be_averaged_over_its_own_samples(at_once):
    seen, (order,) = epochs(task(), 1, at_once)
    assert seen == [(rows(order, 0, 4), None), (rows(order, 4, 8), None), (rows(order, 8, 10), None)]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_a_last_mini_batch_may_be_divided_by_the_nominal_size(at_once):
    seen, (order,) = epochs(task(partial="nominal"), 1, at_once)
    assert seen == [(rows(order, 0, 4), None), (rows(order, 4, 8), None), (rows(order, 8, 10), 4)]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_left_over_samples_may_join_the_first_mini_batch_of_the_next_epoch(at_once):
    seen, (first, second) = epochs(task(partial="carry"), 2, at_once)
    joined = [a + b for a, b in zip(rows(first, 8, 10), rows(second, 0, 4), strict=True)]
    assert seen == [
        (rows(first, 0, 4), None), (rows(first, 4, 8), None), (joined, 4), (rows(second, 4, 8), None),
    ]  # fmt: skip


@pytest.mark.parametrize("partial", ["own", "nominal", "carry"])
def test_without_a_rest_nothing_differs(partial):
    seen, orders = epochs(task(8, partial=partial), 2)
    assert seen == [(rows(order, i, i + 4), None) for order in orders for i in (0, 4)]


def test_what_waits_survives_a_restart():
    whole, half, rest = task(partial="carry"), task(partial="carry"), task(partial="carry")
    expected, learner = recorder(), recorder()
    for _ in range(2):
        whole.epoch(expected, expected.rand)
    half.epoch(learner, learner.rand)
    rest.load_state_dict(half.state_dict())
    rest.epoch(learner, learner.rand)
    assert learner.method.seen == expected.method.seen


@pytest.mark.parametrize(("partial", "updates"), [("own", 3), ("nominal", 3), ("carry", 2)])
def test_mini_batches_are_counted(partial, updates):
    assert task(partial=partial).batches_per_epoch() == updates


def test_nothing_can_be_carried_when_no_mini_batch_is_full():
    with pytest.raises(ConfigError, match=r"task.batch_size = 4; must be at most the 3 samples"):
        task(3, partial="carry")


def test_dropping_and_carrying_contradict_each_other():
    with pytest.raises(ConfigError, match=r"task.partial = 'carry'; contradicts drop_last = true"):
        Images(drop_last=True, partial="carry").build(None)


@pytest.mark.parametrize("name", ["bp", "fa", "dfa", "drtp", "shallow", "pepita"])
@pytest.mark.parametrize(("loss", "factor"), [("softmax_cross_entropy", 9 / 12), ("squared_error_sum", 1.0)])
def test_the_divisor_of_a_batch_replaces_its_size(name, loss, factor):
    net, rule = small_net("dense", loss), credit.method(name)
    batch, gradients = small_batch(net, [3, 8]), []
    for divisor in (None, 12):
        rand = credit.Rand([3, 8], dtype=torch.float64)
        params = net.init(rand)
        state = rule.init(net, params, rand)
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
        *_, info = rule.update(net, params, opt, state, credit.Batch(batch.x, batch.y, None, divisor), rand)
        gradients.append(info["gradients"])
    for i, block in gradients[0].items():
        for n, g in block.items():
            torch.testing.assert_close(gradients[1][i][n], factor * g, rtol=1e-13, atol=0)
