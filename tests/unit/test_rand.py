"""Random streams: independence of members and streams, checkpoints, replay."""

from __future__ import annotations

import hashlib

import pytest
import torch

from credit.errors import CheckpointError, ConfigError
from credit.numerics import rand
from credit.numerics.rand import Rand, stream_seed

DRAWS = {
    "normal": lambda r: r.normal("s", (3, 4)),
    "uniform": lambda r: r.uniform("s", (3, 4), -2.0, 5.0),
    "permutation": lambda r: r.permutation("s", 17),
    "bernoulli": lambda r: r.bernoulli("s", (3, 4), 0.3),
    "integers": lambda r: r.integers("s", (3, 4), 6),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_a_member_draws_the_same_whoever_shares_the_stack(kind):
    draw = DRAWS[kind]
    stack, other, single = draw(Rand([7, 1, 3])), draw(Rand([3, 9])), draw(Rand(3))
    assert stack.shape == (3, *single.shape)
    assert torch.equal(stack[2], single)
    assert torch.equal(other[0], single)
    assert not torch.equal(stack[0], stack[1])


@pytest.mark.parametrize("kind", DRAWS)
def test_a_draw_in_one_stream_never_shifts_another(kind):
    quiet, busy = Rand([1, 2]), Rand([1, 2])
    busy.normal("other", (5,))
    busy.permutation("another", 8)
    assert torch.equal(DRAWS[kind](quiet), DRAWS[kind](busy))


def test_successive_draws_of_a_stream_differ_and_streams_differ():
    rand = Rand(0)
    first, second, other = rand.normal("a", (20,)), rand.normal("a", (20,)), rand.normal("b", (20,))
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_seed_of_a_stream_is_the_head_of_a_sha256():
    head = hashlib.sha256(b"5/noise").hexdigest()[:16]
    assert stream_seed(5, "noise") == int(head, 16) & (2**63 - 1)
    expected = torch.randn(4, generator=torch.Generator().manual_seed(stream_seed(5, "noise")))
    assert torch.equal(Rand(5).normal("noise", (4,)), expected)


def test_draws_have_the_right_range_dtype_and_distribution():
    rand = Rand([0, 1], dtype=torch.float64)
    uniform = rand.uniform("u", (2000,), -2.0, 5.0)
    assert uniform.dtype == torch.float64
    assert uniform.min() >= -2 and uniform.max() < 5 and abs(uniform.mean() - 1.5) < 0.1
    ones = rand.bernoulli("b", (5000,), 0.3)
    assert ones.dtype == torch.float64
    assert set(ones.unique().tolist()) == {0.0, 1.0} and abs(ones.mean() - 0.3) < 0.02
    assert sorted(rand.integers("i", (500,), 6).unique().tolist()) == list(range(6))
    permutation = rand.permutation("p", 50)
    assert permutation.dtype == torch.int64
    assert torch.equal(permutation.sort(-1).values, torch.arange(50).expand(2, 50))
    normal = rand.normal("n", (5000,))
    assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05


@pytest.mark.parametrize("p", [2**-12, 1 - 2**-12])
def test_probabilities_near_the_ends_are_drawn_as_they_are(p):
    rare = (Rand(1).bernoulli("b", (2**22,), p) == (p < 0.5)).sum()
    assert abs(rare - 2**10) < 5 * 2**5  # five standard deviations
    assert Rand(1).bernoulli("b", (1001,), 0.0).sum() == 0 and Rand(1).bernoulli("b", (1001,), 1.0).sum() == 1001


def test_a_saved_state_continues_with_the_same_numbers(tmp_path):
    rand = Rand([4, 8])
    rand.normal("a", (3,)), rand.permutation("b", 9)
    torch.save(rand.state_dict(), tmp_path / "rand.pt")
    expected = rand.normal("a", (3,)), rand.permutation("b", 9), rand.normal("new", (2,))
    resumed = Rand([4, 8])
    resumed.normal("left over", (2,))
    resumed.load_state_dict(torch.load(tmp_path / "rand.pt", weights_only=True))
    actual = resumed.normal("a", (3,)), resumed.permutation("b", 9), resumed.normal("new", (2,))
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))


def test_a_state_of_other_seeds_is_refused():
    with pytest.raises(CheckpointError, match=r"seeds \[1, 2\], this run has \[1, 3\]"):
        Rand([1, 3]).load_state_dict(Rand([1, 2]).state_dict())


def test_replayed_draws_are_returned_in_order_and_the_stream_stays_where_it_is():
    first, second = torch.ones(2, 3), torch.full((2, 3), 2.0)
    rand = Rand([0, 1])
    replayed = rand.with_replay({"noise": [first, second], "order": torch.tensor([[1, 0], [0, 1]])})
    assert torch.equal(replayed.normal("noise", (3,)), first)
    assert torch.equal(replayed.uniform("noise", (3,)), second)
    assert replayed.permutation("order", 2).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="'noise' holds 2 draws; draw 3"):
        replayed.normal("noise", (3,))
    assert torch.equal(rand.normal("noise", (3,)), Rand([0, 1]).normal("noise", (3,)))


def test_a_replay_takes_the_dtype_of_the_draw():
    replay = {"mask": torch.tensor([True, False]), "noise": torch.ones(2)}
    rand = Rand(0, dtype=torch.float64, replay=replay)
    assert rand.bernoulli("mask", (2,), 0.5).tolist() == [1.0, 0.0]
    assert rand.normal("noise", (2,)).dtype == torch.float64


def test_a_replay_of_another_shape_names_stream_and_shapes():
    rand = Rand([0, 1], replay={"feedback.0": torch.ones(3)})
    with pytest.raises(ValueError, match=r"'feedback.0', draw 1: expected shape \(2, 3\), given \(3,\)"):
        rand.normal("feedback.0", (3,))


def test_a_stack_without_members_is_an_error():
    with pytest.raises(ValueError, match="seeds"):
        Rand([])


def test_members_with_one_seed_draw_the_same_numbers_again_and_again():
    together, alone = Rand([4, 7, 4]), Rand([4, 7])
    for _ in range(2):
        drawn, expected = together.normal("noise", (3,)), alone.normal("noise", (3,))
        assert torch.equal(drawn, expected[[0, 1, 0]])
    resumed = Rand([4, 7, 4])
    resumed.load_state_dict(together.state_dict())
    assert torch.equal(resumed.normal("noise", (3,)), together.normal("noise", (3,)))


def test_streams_that_would_draw_the_same_numbers_are_refused(monkeypatch):
    monkeypatch.setattr(rand, "stream_seed", lambda seed, name: (seed << 32) + len(name))
    one = Rand([3, 4])
    with pytest.raises(ConfigError, match=r"seeds: stream 'abc' of seed 4 .* of seed 3; take another seed"):
        one.normal("abc", (2,))
    one = Rand(3)
    one.normal("abc", (2,))
    one.normal("abc", (2,))
    for other in (one, one.with_replay({})):
        with pytest.raises(ConfigError, match=r"stream 'xyz' of seed 3 would draw .* 'abc' of seed 3"):
            other.normal("xyz", (2,))


def test_a_generator_uses_the_low_32_bits_of_its_seed():
    """Why streams may clash at all; should torch take more of them, the check can go."""
    draws = [torch.randn(4, generator=torch.Generator().manual_seed(s)) for s in (7, 7 + 2**32, 7 + 2**31)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_members_of_one_seed_may_be_drawn_for_once():
    whole, once = Rand([4, 9, 4, 4]), Rand([4, 9, 4, 4])
    rand, whose = once.distinct()
    assert rand.seeds == [4, 9] and whose.tolist() == [0, 1, 0, 0]
    for _ in range(2):
        assert torch.equal(rand.permutation("p", 7)[whose], whole.permutation("p", 7))
        assert torch.equal(rand.normal("n", (2, 3))[whose], whole.normal("n", (2, 3)))
    saved = once.state_dict()
    expected = rand.permutation("p", 7)
    again = Rand([4, 9, 4, 4])
    other, _ = again.distinct()
    again.load_state_dict(saved)
    assert torch.equal(other.permutation("p", 7), expected)


@pytest.mark.parametrize(
    "rand",
    [Rand([1, 2]), Rand(3), Rand([1, 1], replay={"p": torch.tensor([[1, 0], [0, 1]])})],
    ids=["of different seeds", "single", "replayed"],
)
def test_where_nothing_is_shared_all_draw_for_themselves(rand):
    assert rand.distinct() == (rand, None)
