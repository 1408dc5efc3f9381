"""Online learning by the rules of dynamic inversion, sample after sample in chunks: the same as update by update."""

from __future__ import annotations

import pytest
import torch

import credit
from credit.methods.online import loops
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


def online_run(name, net, at_once, start=None, lr=(0.02, 0.05), **hyper):
    """(params, opt, state, losses) after 30 samples, `at_once` of them in a chunk."""
    _, rule, rand, params, state = prepared(name, net=net, **hyper)
    if start is not None:
        start(params)
    settings = {"name": "sgd", "lr": list(lr), "decay_unscaled": 1e-3, "weight_decay": 1e-2}
    opt = rule.optimizer(net, params, state, settings)
    batch = small_batch(net, [3, 8], 30)
    losses = []
    for k in range(0, 30, at_once):
        part = credit.Batch(*(t[:, k : k + at_once] for t in (batch.x, batch.y)))
        if at_once > 1:
            params, opt, state, info = rule.steps(net, params, opt, state, part, 1, rand)
            losses += list(info["loss"])
        else:
            params, opt, state, info = rule.update(net, params, opt, state, part, rand)
            losses.append(info["loss"])
    return params, opt, state, torch.stack(losses)


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
        rule.steps(net, params, opt, state, batch, 1, rand)


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


def test_what_does_not_fit_chunks_is_updated_one_by_one():
    net = credit.dense([70, 12, 4], "tanh")
    runs = []
    for together in (False, True):
        _, rule, rand, params, state = prepared("di", net=net)
        opt = rule.optimizer(net, params, state, {"name": "adam", "lr": 0.01})
        batch = small_batch(net, [3, 8], 9)
        if together:
            params, opt, state, info = rule.steps(net, params, opt, state, batch, 4, rand)
            assert info["loss"].shape == (3, 2)
            assert info["sums"]["restabilized"].tolist() == [0, 0]
        else:
            for rows in (slice(0, 4), slice(4, 8), slice(8, 9)):
                part = credit.Batch(batch.x[:, rows], batch.y[:, rows])
                params, opt, state, _ = rule.update(net, params, opt, state, part, rand)
        runs.append(params["0"]["weight"])
    assert torch.equal(*runs)


# ---- probes
