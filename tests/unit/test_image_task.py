"""Which images a run trains on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import credit
from credit.data.load import state_of
from credit.errors import ConfigError
from credit.tasks.base import Context
from credit.tasks.images import Images
from tests.conftest import prepared

SEEDS = [3, 8, 3]


def task(tmp_path, seeds=SEEDS, **settings):
    """30 images, each of one grey value of its own; 6 are held out."""
    x = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    arrays = {"train_x": x, "train_y": np.arange(30) % 3, "test_x": x[:6], "test_y": np.arange(6) % 3}
    prepared(tmp_path / "toy.npz", arrays, classes=3)
    context = Context(credit.Rand(seeds), len(seeds), torch.device("cpu"), torch.float32, tmp_path / "toy.npz")
    return Images(validation=6, **settings).build(context)


def grey(split):
    return (255 * split.x[..., 0, 0, 0]).round().long()


def test_every_run_draws_training_images_of_its_own_by_its_seed(tmp_path):
    drawn = task(tmp_path, train=10, train_drawn=True, batch_size=4)
    found, held_out = grey(drawn.splits["train"]), set(grey(drawn.splits["validation"]).tolist())
    assert found.shape == (3, 10)
    assert torch.equal(found[0], found[2])
    assert set(found[0].tolist()) != set(found[1].tolist())
    assert all(len(set(own.tolist()) - held_out) == 10 for own in found)
    assert torch.equal(drawn.splits["train"].y, found % 3)
    assert torch.equal(found, grey(task(tmp_path, train=10, train_drawn=True, batch_size=7).splits["train"]))
    assert torch.equal(grey(task(tmp_path, [8], train=10, train_drawn=True).splits["train"])[0], found[1])
    x, y = drawn.splits["train"].take(torch.tensor([[2, 0], [9, 1], [5, 5]]))
    assert x.shape == (3, 2, 1, 4, 4)
    assert torch.equal((255 * x[:, :, 0, 0, 0]).round().long() % 3, y)


@pytest.mark.parametrize("changes", [{"flip": 1.0}, {"crop": 1}, {"target": "input"}])
def test_drawn_images_may_be_augmented_or_be_the_target(tmp_path, changes):
    """Images of one grey value: no flip and no crop changes them."""
    made, seen = task(tmp_path, train=10, train_drawn=True, **changes), []

    class Learner:
        def visit(self, order, take, batch_size, whose=None):
            seen.append((order, *take(order)))

    made.epoch(Learner(), credit.Rand(SEEDS))
    ((order, x, y),) = seen
    plain, targets = made.splits["train"].take(order)
    torch.testing.assert_close(x, plain)
    torch.testing.assert_close(y, plain.flatten(2) if "target" in changes else targets)


def test_how_many_are_drawn_must_be_said(tmp_path):
    with pytest.raises(ConfigError, match=r"task.train_drawn = true; needs task.train"):
        task(tmp_path, train_drawn=True)
    assert grey(task(tmp_path, train=10).splits["train"]).shape == (10,), "else all have the first"


@pytest.mark.parametrize("target", ["class", "input"])
def test_a_task_says_which_arrays_it_read(tmp_path, target):
    assert task(tmp_path, target=target).prepared == state_of(tmp_path / "toy.npz")
