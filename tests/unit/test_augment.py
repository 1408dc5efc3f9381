"""Random flips and crops of training images, against torch's padding and slicing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import credit
from credit.errors import ConfigError
from credit.tasks.augment import Augmentation
from credit.tasks.base import Context
from credit.tasks.images import Images
from credit.tasks.supervised import Split
from tests.conftest import prepared

SEEDS = [3, 8, 3]


def images(n=12, channels=2, height=5, width=7):
    x = torch.arange(n * channels * height * width, dtype=torch.float64).reshape(n, channels, height, width)
    return Split(x, torch.arange(n))


@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("crop", [0, 2, 4])
def test_images_are_flipped_then_cut_out_of_the_image_continued_by_its_edges(flip, crop):
    split, index = images(), torch.stack([torch.randperm(12) for _ in SEEDS])
    take = Augmentation(flip, crop).of(split.take, split.x, credit.Rand(SEEDS))
    x, y = take(index)
    assert torch.equal(y, index)
    rand = credit.Rand(SEEDS)
    flipped = rand.uniform("flip", (12,)) < flip
    rows, columns = (rand.integers(f"crop_{k}", (12,), 2 * crop + 1) if crop else None for k in ("rows", "columns"))
    for m in range(3):
        for b, i in enumerate(index[m].tolist()):
            image = split.x[i].flip(-1) if flip and flipped[m, i] else split.x[i]
            if crop:
                down, across = int(rows[m, i]), int(columns[m, i])
                image = F.pad(image[None], [crop] * 4, "replicate")[0, :, down : down + 5, across : across + 7]
            assert torch.equal(x[m, b], image)
    assert torch.equal(x[0][index[0].argsort()], x[2][index[2].argsort()])  # members of one seed


def test_a_sample_looks_the_same_however_many_are_taken_at_once():
    split = images()
    whole = Augmentation(0.5, 2).of(split.take, split.x, credit.Rand([3]))
    parts = Augmentation(0.5, 2).of(split.take, split.x, credit.Rand([3]))
    index = torch.randperm(12)[None]
    together = whole(index)[0]
    apart = torch.cat([parts(part)[0] for part in index.split(5, 1)], 1)
    assert torch.equal(together, apart)


class Seen:
    """A learner that keeps what it is shown."""

    def __init__(self):
        self.x = []

    def visit(self, order, take, batch_size, whose=None):
        self.x.append(take(order)[0])

    def update(self, batch):
        self.x.append(batch.x)


def task(tmp_path, rand, **settings):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 255, (30, 1, 6, 6)).astype(np.uint8)
    arrays = {"train_x": x, "train_y": np.arange(30) % 3, "test_x": x[:6], "test_y": np.arange(6) % 3}
    prepared(tmp_path / "toy.npz", arrays, classes=3)
    context = Context(rand, len(rand.seeds), torch.device("cpu"), torch.float64, tmp_path / "toy.npz")
    return Images(validation=6, batch_size=10, **settings).build(context)


@pytest.mark.parametrize("partial", ["own", "nominal", "carry"])
def test_every_epoch_is_drawn_anew_and_a_resumed_run_draws_the_same(tmp_path, partial):
    seen, rand = Seen(), credit.Rand(SEEDS, dtype=torch.float64)
    first = task(tmp_path, rand, flip=0.5, crop=2, partial=partial)
    first.epoch(seen, rand)
    saved = rand.state_dict(), first.state_dict()
    once = len(seen.x)
    first.epoch(seen, rand)
    again, other = Seen(), credit.Rand(SEEDS, dtype=torch.float64)
    second = task(tmp_path, other, flip=0.5, crop=2, partial=partial)
    other.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    second.epoch(again, other)
    assert all(map(torch.equal, again.x, seen.x[once:]))
    plain = task(tmp_path, credit.Rand(SEEDS, dtype=torch.float64)).splits
    assert torch.equal(first.splits["train"].x, plain["train"].x)  # the images themselves, and evaluations, stay
    assert not torch.equal(seen.x[0], seen.x[once])


def test_the_class_may_be_among_several_outputs(tmp_path):
    rand = credit.Rand(SEEDS)
    plain, more = (task(tmp_path, rand, **given) for given in ({}, {"top": [2, 3]}))

    class Guess:
        """A learner whose outputs are its class, then the next one."""

        def predict(self, x):
            return torch.tensor([[3.0, 2.0, 1.0]]).expand(len(SEEDS), x.shape[1], 3)

    loss = credit.nets.losses.get("softmax_cross_entropy")
    found = more.evaluate(Guess(), loss, ("test",))
    assert {k: v for k, v in found.items() if "top" not in k}.keys() == plain.evaluate(Guess(), loss, ("test",)).keys()
    assert found["test_error"].tolist() == pytest.approx([2 / 3] * len(SEEDS))
    assert found["test_top2_error"].tolist() == pytest.approx([1 / 3] * len(SEEDS))
    assert found["test_top3_error"].tolist() == [0.0] * len(SEEDS)
    with pytest.raises(ConfigError, match=r"task.top = \[2\]; needs classes"):
        task(tmp_path, rand, target="input", top=[2])


def test_changed_inputs_are_no_targets(tmp_path):
    with pytest.raises(ConfigError, match=r"task.target = 'input'; needs flip 0 and crop 0"):
        task(tmp_path, credit.Rand(SEEDS), target="input", crop=2)
