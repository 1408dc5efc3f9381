"""Normal numbers in vector instructions, in blocks: their distribution, and that whoever makes them makes the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import credit
from credit.numerics import blocks, normal_loops
from credit.numerics.blocks import IN_LANES, Numbers, numbers, over_time
from credit.numerics.tiles import SIDE


def drawn(blocks=40, size=50 * normal_loops.ROUND, key=7, kind=np.float32):
    out = np.empty((1, blocks, size), kind)
    normal_loops.fill(0, blocks, np.array([key], np.int64), out)
    return out[0]


def test_they_are_independent_and_standard_normal():
    values = drawn(400).astype(float)
    flat, n = values.reshape(-1), values.size
    pairs = values.reshape(-1, 2, normal_loops.LANES)
    first, second = pairs[:, 0], pairs[:, 1]
    scores = {
        "mean": flat.mean() * n**0.5,
        "variance": (flat.var() - 1) * (n / 2) ** 0.5,
        "third moment": (flat**3).mean() * (n / 15) ** 0.5,
        "fourth moment": ((flat**4).mean() - 3) * (n / 96) ** 0.5,
        "beyond 3": (np.abs(flat) > 3).sum() / (2 * stats.norm.sf(3) * n) ** 0.5 - (2 * stats.norm.sf(3) * n) ** 0.5,
        "of a pair": (first * second).mean() * (n / 2) ** 0.5,
        "squares of a pair": ((first**2 - 1) * (second**2 - 1)).mean() / 2 * (n / 2) ** 0.5,
        "of generators side by side": (first[:, 1:] * first[:, :-1]).mean() * (n / 2) ** 0.5,
        "in time": (first[1:] * first[:-1]).mean() * (n / 2) ** 0.5,
        "of blocks": (values[1:] * values[:-1]).mean() * n**0.5,
    }
    assert max(map(abs, scores.values())) < 4.5, scores
    assert stats.kstest(flat, "norm").pvalue > 1e-3


def test_polynomials_are_as_good_as_single_precision():
    z, f = np.linspace(0, 0.25, 10001), np.linspace(-1 / 3, 1 / 3, 10000)

    def value(letter, count, x):
        return np.polynomial.polynomial.polyval(x, [float(getattr(normal_loops, f"{letter}{i}")) for i in range(count)])

    assert np.abs(value("S", 5, z) / (np.pi * np.sinc(np.sqrt(z))) - 1).max() < 1e-7
    assert np.abs(value("C", 6, z) - np.cos(np.pi * np.sqrt(z))).max() < 1e-7
    assert np.abs(value("L", 9, f) / (np.log1p(f) / f) - 1).max() < 1e-7


def test_blocks_and_pieces_of_them_come_in_any_order():
    whole = drawn(3, 5 * normal_loops.ROUND + 37)
    assert len(np.unique(whole)) > 0.99 * whole.size
    assert not np.array_equal(whole[0], drawn(1, key=8)[0][: whole.shape[1]])
    state, out = np.empty(normal_loops.STATE, np.uint32), np.empty(whole.shape[1], np.float32)
    for block in (2, 0, 1):
        normal_loops.begin(7, block, state)
        for start, end in ((0, 128), (128, 512), (512, len(out))):
            normal_loops.proceed(state, out[start:end])
        assert np.array_equal(out, whole[block])
    assert np.array_equal(drawn(3, whole.shape[1], kind=np.float64), whole.astype(float))


@pytest.mark.parametrize("order", [IN_LANES, (1, 0, -1), (-1, 0, 1)])
@pytest.mark.parametrize("batch", [5, 16, 33])
def test_numbers_of_a_sample_do_not_depend_on_the_members_nor_on_the_batch(order, batch):
    made = numbers(credit.Rand([4, 9, 4]), "noise", batch, (6, 3), order).tensor(torch.float64, torch.device("cpu"))
    alone = numbers(credit.Rand(9), "noise", 40, (6, 3), order).tensor(torch.float64, torch.device("cpu"))
    assert made.shape == (3, batch, 6, 3)
    assert torch.equal(made[0], made[2])
    assert torch.equal(made[1], alone[:batch])
    assert not torch.equal(made[0], made[1])


def test_every_draw_of_a_stream_has_a_key_of_its_own_that_can_be_continued():
    rand = credit.Rand([4, 9])
    first, second = (numbers(rand, "noise", 8, (2, 2), IN_LANES).keys for _ in range(2))
    assert len({*first, *second}) == 4
    again = credit.Rand([4, 9])
    again.keys("noise", 1)
    resumed = credit.Rand([4, 9])
    resumed.load_state_dict(again.state_dict())
    assert np.array_equal(resumed.keys("noise", 1), second)
    assert np.array_equal(credit.Rand([4, 9]).keys("other", 1) == first, [False, False])


def test_a_replay_gives_the_numbers_in_the_axes_of_the_draw():
    natural = torch.randn(2, 6, 5, 3)  # (M, T, B, n)
    rand = credit.Rand([1, 2]).with_replay({"noise": natural})
    given = numbers(rand, "noise", 5, (6, 3), IN_LANES, sample_axis=1)
    assert given.keys is None
    assert torch.equal(given.tensor(torch.float32, torch.device("cpu")), natural.transpose(1, 2))
    assert torch.equal(over_time(natural).tensor(torch.float32, torch.device("cpu")), natural.transpose(1, 2))
    laid = given.laid_out(torch.float64).view(2, 1, 6, 3, SIDE)
    assert torch.equal(laid[:, 0, ..., :5], natural.permute(0, 1, 3, 2).double())
    assert (laid[..., 5:] == 0).all()


def test_a_stream_that_draws_on_the_device_has_no_keys():
    rand = credit.Rand([1, 2])
    rand._there = True
    assert rand.keys("noise", 10) is not None
    assert rand.keys("noise", 2**14) is None


def test_equal_members_share_what_is_made(monkeypatch):
    made = []
    whole = Numbers._made
    monkeypatch.setattr(Numbers, "_made", lambda self, keys: made.append(len(keys)) or whole(self, keys))
    draws, whose = numbers(credit.Rand([4, 9, 4, 4]), "n", 3, (2, 2), IN_LANES).distinct(
        torch.float32, torch.device("cpu")
    )
    assert (made, draws.shape, whose.tolist()) == ([2], (2, 3, 2, 2), [0, 1, 0, 0])
    assert blocks.SIDE == SIDE
