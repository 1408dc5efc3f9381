"""Random numbers for stacks of networks: one stream per member and purpose, which can be replayed.

Every stream has its own generator, seeded from the member's seed and the stream's name. Therefore a draw in
one stream (say `"dropout.0"`) never shifts another, and a member's draws do not depend on the members beside
it. Numbers are drawn on the CPU in single precision and then moved and converted, so that runs on CPU and GPU, in
single and in double precision, see the same ones.
"""

from __future__ import annotations

import functools
import hashlib
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from credit.errors import CheckpointError, ConfigError
from credit.numerics import devices
from credit.numerics.devices import moved

DRAWN = torch.float32
LARGE = 2**14  # numbers of a member: from here on `drawn_there` draws elsewhere
Replay = Mapping[str, Tensor | Sequence[Tensor]]


def stream_seed(seed: int, name: str) -> int:
    """63-bit seed of stream `name` of the member `seed`: the first 8 bytes of sha256("SEED/NAME").

    torch's generator on the CPU uses the low 32 bits of it alone, so that two streams may clash: `Rand` refuses that.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") & (2**63 - 1)


class Rand:
    """Named random streams of a stack of members, or of a single network.

    seeds: one seed per member; draws then have shape (M, *shape). A single int: draws have shape `shape`.
    dtype: of normal, uniform and bernoulli draws. replay: see `with_replay`; only_replay: nothing else is drawn.
    """

    def __init__(
        self,
        seeds: Sequence[int] | int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        replay: Replay | None = None,
        only_replay: bool = False,
    ) -> None:
        self.stacked = not isinstance(seeds, numbers.Integral)
        given = list(seeds) if self.stacked and isinstance(seeds, Iterable) else [seeds]
        if not given or any(isinstance(s, bool) or not isinstance(s, numbers.Integral) for s in given):
            raise ConfigError(f"seeds = {seeds!r}; must be an int, or one int per member of the stack")
        self.seeds = [int(s) for s in given]
        self.device, self.dtype = torch.device(device), dtype
        self._streams: dict[str, list[torch.Generator]] = {}
        self._taken: dict[int, tuple[int, str]] = {}  # the 32 bits that a generator uses, and its seed and stream
        self._replay = _Replay(replay or {}, only_replay)
        self._there = False

    @property
    def members(self) -> int:
        """Size M of the stack, 0 for a single network."""
        return len(self.seeds) if self.stacked else 0

    def with_replay(self, replay: Replay) -> Rand:
        """The same streams, but the named draws are given: a tensor for one draw, a list for successive ones.

        Tensors have the shape that the draw would have, stack axis included. Replayed draws leave the stream
        of that name untouched. A draw of another shape, or one more than was given, raises ValueError.
        """
        other = Rand(self.seeds if self.stacked else self.seeds[0], self.device, self.dtype, replay)
        other._streams, other._taken, other._there = self._streams, self._taken, self._there
        return other

    def drawn_there(self) -> Rand:
        """The same streams, but `normal` makes `LARGE` draws on the device, where that is not the CPU.

        A stream then gives the seed alone: draws are others than the CPU's, at a fraction of the time, and positions
        of streams stay such as any device can go on from.
        """
        other = self.with_replay({})
        other._replay, other._there = self._replay, self.device.type != "cpu"
        return other

    def distinct(self) -> tuple[Rand, Tensor | None]:
        """The same streams, drawn once for each of S seeds, (S, *shape), and which of them is whose, (M,).

        Where no members of a stack have the same seed, or draws are replayed, which are one for each member: this Rand
        itself, and None.
        """
        if not self.stacked or len(set(self.seeds)) == len(self.seeds) or self._replay:
            return self, None
        other = _Distinct(self)
        return other, moved(torch.tensor([other.seeds.index(s) for s in self.seeds]), self.device)

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Standard normal draws, (M, *shape)."""
        if self._there and math.prod(shape) >= LARGE:
            return self._draw(name, shape, self.dtype, lambda g: self._normal_there(shape, g))
        return self._draw(name, shape, self.dtype, lambda g: torch.randn(shape, generator=g, dtype=DRAWN))

    def keys(self, name: str, count: int) -> np.ndarray | None:
        """A number below 2^63 from the stream of every member, int64 (M,), or (1,) without a stack, for generators of
        `count` draws that `numerics.blocks` makes elsewhere; members with the same seed share it.

        None where `normal` has to be asked, whose draws are replayed, or made on the device.
        """
        if self._replay.holds(name) or (self._there and count >= LARGE):
            return None
        generators = dict(zip(self.seeds, self._generators(name), strict=True))
        drawn = {s: int(torch.randint(2**63 - 1, (), generator=g)) for s, g in generators.items()}
        return np.array([drawn[s] for s in self.seeds], np.int64)

    def uniform(self, name: str, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform draws from [low, high), (M, *shape)."""
        return self._draw(
            name, shape, self.dtype, lambda g: self._unit(shape, g).to(self.dtype).mul_(high - low).add_(low)
        )

    def bernoulli(
        self, name: str, shape: Sequence[int], p: float, value: float = 1.0, out: Tensor | None = None
    ) -> Tensor:
        """`value` with probability p and 0 otherwise, as floating-point numbers, (M, *shape).

        p is rounded to a multiple of 2^-16: four draws come of one random word. A replay gives ones and zeros.
        out: memory for the draws of a stack on the CPU, in one piece.
        """
        if self._replay.holds(name):
            draws = self._draw(name, shape, self.dtype, lambda g: None) * value
            return draws if out is None else out.copy_(draws)
        if out is None or not self.stacked:
            dtype = self.dtype
            draws = self._draw(name, shape, dtype, lambda g: _dropped(g, p, value, torch.empty(shape, dtype=dtype)))
            return draws if out is None else out.copy_(draws)
        first: dict[int, Tensor] = {}  # members with the same seed share their draws
        for seed, generator, member in zip(self.seeds, self._generators(name), out, strict=True):
            first[seed] = member.copy_(first[seed]) if seed in first else _dropped(generator, p, value, member)
        return out

    def integers(self, name: str, shape: Sequence[int], high: int) -> Tensor:
        """Uniform int64 draws from 0 to high - 1, (M, *shape)."""
        return self._draw(name, shape, torch.int64, lambda g: torch.randint(high, tuple(shape), generator=g))

    def permutation(self, name: str, n: int) -> Tensor:
        """A permutation of 0 to n - 1 for every member, int64 (M, n)."""
        return self._draw(name, (n,), torch.int64, lambda g: torch.randperm(n, generator=g))

    def state_dict(self) -> dict:
        """Positions of all streams used so far: {"seeds": (M,), "streams": {name: (M, bytes) uint8}}."""
        streams = {name: torch.stack([g.get_state() for g in generators]) for name, generators in self._streams.items()}
        return {"seeds": torch.tensor(self.seeds), "streams": streams}

    def load_state_dict(self, state: dict) -> None:
        """Continue where `state_dict` was taken. Raises CheckpointError when it has other seeds."""
        seeds = state["seeds"].tolist()
        if seeds != self.seeds:
            raise CheckpointError(
                f"random state was saved with seeds {seeds}, this run has {self.seeds}; "
                "delete the checkpoint to start again"
            )
        self._streams.clear()
        for name, positions in state["streams"].items():
            for generator, position in zip(self._generators(name), positions, strict=True):
                generator.set_state(position.cpu().clone())  # set_state crashes on a view with an offset

    def _unit(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        return torch.rand(tuple(shape), generator=generator, dtype=DRAWN)

    def _normal_there(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        return devices.normal(shape, int(torch.randint(2**63 - 1, (), generator=generator)), self.device, DRAWN)

    def _generators(self, name: str) -> list[torch.Generator]:
        if name not in self._streams:
            distinct = {s: self._generator(s, name) for s in dict.fromkeys(self.seeds)}
            self._streams[name] = [distinct[s] for s in self.seeds]
        return self._streams[name]

    def _generator(self, seed: int, name: str) -> torch.Generator:
        """Raises ConfigError for a stream that would draw what another one draws."""
        start = stream_seed(seed, name)
        other = self._taken.setdefault(start & (2**32 - 1), (seed, name))
        if other != (seed, name):
            theirs = f"stream {other[1]!r} of seed {other[0]}"
            raise ConfigError(
                f"seeds: stream {name!r} of seed {seed} would draw the numbers of {theirs}; take another seed for one"
            )
        return torch.Generator().manual_seed(start)

    def _draw(
        self, name: str, shape: Sequence[int], dtype: torch.dtype, one: Callable[[torch.Generator], Tensor]
    ) -> Tensor:
        shape = tuple(shape)
        expected = (len(self.seeds), *shape) if self.stacked else shape
        if self._replay.holds(name):
            return moved(self._replay.next(name, expected), self.device, dtype)
        generators = dict(zip(self.seeds, self._generators(name), strict=True))
        drawn = {s: one(g) for s, g in generators.items()}  # members with the same seed share their draws
        draws = [drawn[s] for s in self.seeds]
        if self.stacked:
            return moved(draws[0].unsqueeze(0) if len(draws) == 1 else torch.stack(draws), self.device, dtype)
        return moved(draws[0], self.device, dtype)


class _Distinct(Rand):
    """The streams of another Rand, of each seed once."""

    def __init__(self, owner: Rand) -> None:
        super().__init__(list(dict.fromkeys(owner.seeds)), owner.device, owner.dtype)
        self._owner, self._there = owner, owner._there

    def _generators(self, name: str) -> list[torch.Generator]:
        found = dict(zip(self._owner.seeds, self._owner._generators(name), strict=True))
        return [found[seed] for seed in self.seeds]


class _Replay:
    """Draws that are given instead of drawn, each used once."""

    def __init__(self, draws: Replay, only: bool = False) -> None:
        self._only = only  # a draw that is not given is an error
        self._draws = {name: [d] if isinstance(d, Tensor) else list(d) for name, d in draws.items()}
        self._used = dict.fromkeys(self._draws, 0)

    def __bool__(self) -> bool:
        return bool(self._draws) or self._only

    def holds(self, name: str) -> bool:
        """Whether a stream is replayed. Raises ValueError for another one where all must be given."""
        if self._only and name not in self._draws:
            raise ValueError(f"stream {name!r} is drawn, but only these draws are given: {', '.join(self._draws)}")
        return name in self._draws

    def next(self, name: str, expected: tuple[int, ...]) -> Tensor:
        draws, i = self._draws[name], self._used[name]
        if i == len(draws):
            raise ValueError(f"replay of stream {name!r} holds {len(draws)} draws; draw {i + 1} was asked for")
        if tuple(draws[i].shape) != expected:
            raise ValueError(
                f"replay of stream {name!r}, draw {i + 1}: expected shape {expected}, given {tuple(draws[i].shape)}"
            )
        self._used[name] += 1
        return draws[i]


def _dropped(generator: torch.Generator, p: float, value: float, out: Tensor) -> Tensor:
    """`value` with probability p, else 0, in the memory of `out`."""
    words = torch.empty(-(-out.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    _compiled().below(words.numpy().view(np.uint16), round(p * 2**16), value, out.view(-1).numpy())
    return out


@functools.cache
def _compiled():
    from credit.numerics import rand_loops as _rand_compiled  # takes a while, and most commands draw nothing

    return _rand_compiled


def as_rand(rand: Rand | int | Replay | None, like: Tensor, members: int) -> Rand:
    """What a learning rule may be given as its randomness: a `Rand`, a seed, the draws themselves by name, or nothing.

    A seed s gives the members of a stack the seeds s, s + 1, ...; nothing is seed 0. Where draws are given, all that
    are asked for must be among them. like: of any shape, has the device and dtype that a new Rand
    takes. members: of the stack, 0 without one.
    """
    if isinstance(rand, Rand):
        return rand
    first = rand if isinstance(rand, int) else 0
    seeds = [first + m for m in range(members)] if members else first
    given = rand if isinstance(rand, Mapping) else None
    return Rand(seeds, like.device, like.dtype, given, only_replay=given is not None)
