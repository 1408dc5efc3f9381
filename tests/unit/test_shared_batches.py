"""Members of one seed share a mini-batch: nothing is copied for them that nobody asks for, and no bit depends on it."""

from __future__ import annotations

import copy

import pytest
import torch

import credit
from credit.nets.base import Batch
from credit.training.fast import batch_kind
from credit.training.learner import Learner
from tests.unit.test_methods import CASES, leaves, start

GRID = [3, 8, 3, 8]  # as the members of a grid: seeds vary fastest


def samples(seeds, shape, n_out=4, count=11):
    """x (S, N, ...), y (S, N) of distinct seeds, and how to take them."""
    rand = credit.Rand(list(dict.fromkeys(seeds)), dtype=torch.float64)
    x, y = rand.normal("x", (count, *shape)), rand.integers("y", (count,), n_out)

    def take(index):
        rows = torch.arange(len(index)).unsqueeze(-1)
        return x[rows, index], y[rows, index]

    return take, rand.permutation("order", count)


def whose(seeds):
    distinct = list(dict.fromkeys(seeds))
    return torch.tensor([distinct.index(s) for s in seeds])


def after(name, kind, seeds, batch_size, shared):
    """What two passes leave: weights, state and losses."""
    net, rule, rand, params, state = start(name, kind, seeds)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.01})
    learner = Learner(net, params, rule, opt, state, rand)
    take, order = samples(seeds, net.shape_in)
    own = whose(seeds)
    laid_out = [values[own] for values in take(order)]
    every = torch.arange(order.shape[1]).expand(len(seeds), -1)
    for function in rule.pass_functions[:2]:
        learner.start_pass(function)
        if shared:
            learner.visit(order, take, batch_size, own)
        else:
            learner.visit(every, lambda index: [values[:, index[0]] for values in laid_out], batch_size)
    return [*leaves(learner.params), *leaves(learner.state), torch.stack(learner.losses)]


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case[1] != "resnet"])
@pytest.mark.parametrize("seeds", [GRID, [5, 5]], ids=str)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_no_rule_sees_a_difference(name, kind, seeds, batch_size):
    ours, theirs = (after(name, kind, seeds, batch_size, shared) for shared in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_what_members_share_is_laid_out_when_it_is_asked_for():
    x, y, weights = torch.randn(2, 5, 3), torch.randint(4, (2, 5)), torch.rand(2, 5, 4)
    batch = Batch(x, y, weights, divisor=7, whose=whose(GRID))
    assert batch.distinct.x is x and batch.distinct.weights is weights and batch.distinct.divisor == 7
    assert not {"x", "y", "weights"} & vars(batch).keys()
    assert batch_kind(batch) == batch_kind(copy.deepcopy(batch)) != batch_kind(Batch(x, y, weights, 7))
    assert not {"x", "y", "weights"} & vars(batch).keys()
    for m, s in enumerate([0, 1, 0, 1]):
        assert torch.equal(batch.x[m], x[s]) and torch.equal(batch.y[m], y[s])
        assert torch.equal(batch.weights[m], weights[s])
    assert batch.x is batch.x


def test_a_single_seed_is_not_copied_at_all():
    x, y = torch.randn(1, 5, 3), torch.randint(4, (1, 5))
    batch = Batch(x, y, whose=torch.zeros(6, dtype=torch.int64))
    assert batch.x.shape == (6, 5, 3) and batch.x.data_ptr() == x.data_ptr()
    assert batch.y.shape == (6, 5) and batch.y.data_ptr() == y.data_ptr()
    assert batch.weights is None


def test_a_mini_batch_of_which_nothing_is_shared_is_itself():
    batch = Batch(torch.randn(2, 5, 3), torch.randn(2, 5, 4))
    assert batch.distinct is batch and batch.whose is None and batch.divisor is None


@pytest.mark.parametrize("own", [None, whose(GRID)])
def test_weights_that_a_task_takes_reach_the_rule(own):
    net, rule, rand, params, state = start("bp", "dense", GRID, "squared_error_sum")
    params = {i: {n: t[:1].expand_as(t).clone() for n, t in block.items()} for i, block in params.items()}
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.01})
    learner = Learner(net, params, rule, opt, state, rand)
    before = copy.deepcopy(params)
    take, order = samples(GRID, net.shape_in)
    mask = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    if own is None:
        order, distinct = order[whose(GRID)], take
        take = lambda index: tuple(v[whose(GRID)] for v in distinct(index[:2]))  # noqa: E731
    learner.visit(order, lambda index: (*take(index), mask.expand(*index.shape, 4)), 4, own)
    for name in ("weight", "bias"):
        change = learner.params["2"][name] - before["2"][name]
        assert (change[:, 3] == 0).all() and (change[:, :3] != 0).any()
        assert torch.equal(change[0], change[2]) and not torch.equal(change[0], change[1])
