"""Motor learning in two contexts: force fields that cues announce, and single trials that probe what was learned.

Source: Song et al. (2024), released code: coin_fig3_new (Figure 5f), after an experiment of Heald, Lengyel & Wolpert
(Nature 2021), "Contextual inference underlies the learning of sensorimotor repertoires".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets.losses import Loss
from credit.numerics.rand import Rand
from credit.tasks import suited
from credit.tasks.base import Context, Learner, Task

REST, CHANNEL_1, CHANNEL_2, PLUS_1, PLUS_2, MINUS_1, MINUS_2 = range(7)
CUES = ((0, 0), (1, 0), (0, 1), (1, 0), (0, 1), (1, 0), (0, 1))  # inputs of these trials
FIELDS = ((0, 0), (0, 0), (0, 0), (1, 0), (1, 0), (0, 1), (0, 1))  # and targets: plus, minus, or none
PROBES = (PLUS_1, PLUS_2, MINUS_1, MINUS_2)
NAMES = ("adaptation_1_plus", "adaptation_2_plus", "adaptation_1_minus", "adaptation_2_minus")


@dataclass(frozen=True)
class Session:
    """kinds (S, N): trials of S sessions, one after another; probes (S, K): which of `PROBES` a test has.

    training: trials before the tests; test: trials of one, the last three of which are its triplet.
    """

    kinds: Tensor
    probes: Tensor
    training: int
    test: int


@dataclass
class Motor(Task):
    """Sessions of `config`, drawn anew in every epoch; adaptation (M, 4) of the last one, by probe."""

    config: MotorConfig
    dtype: torch.dtype
    device: torch.device
    adaptation: Tensor | None = None
    shape_in: tuple[int, ...] = (2,)
    n_out: int = 2

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """One session. Responses to the first cue are read before the first and the last trial of every triplet."""
        rand, whose = rand.distinct()
        session = drawn(self.config, rand)
        kinds, start = session.kinds.to(self.device), 0
        of = session.probes if whose is None else session.probes[whose.cpu()]
        sums = torch.zeros(len(of), len(PROBES), dtype=torch.float64)
        for test in range(of.shape[1]):
            first = session.training + (test + 1) * session.test - 3
            before = self._response(learner, kinds, start, first, whose)
            after = self._response(learner, kinds, first, first + 2, whose)
            start = first + 2
            sign = torch.where(of[:, test] < 2, 1.0, -1.0)  # plus fields are met by the first output
            sums.scatter_add_(1, of[:, [test]], (sign * (after - before))[:, None])
        learner.visit(kinds[:, start:], self._take, 1, whose)
        self.adaptation = sums / self.config.test_blocks

    def _response(self, learner: Learner, kinds: Tensor, start: int, stop: int, whose: Tensor | None) -> Tensor:
        """Trials from `start` to `stop`, then how much more the first output answers to the first cue, (M,)."""
        learner.visit(kinds[:, start:stop], self._take, 1, whose)
        cue = torch.tensor([[CUES[CHANNEL_1]]], dtype=self.dtype, device=self.device)
        plus, minus = learner.predict(cue)[:, 0].to("cpu", torch.float64).unbind(-1)
        return plus - minus

    def _take(self, kinds: Tensor) -> tuple[Tensor, Tensor]:
        cues, fields = (torch.tensor(t, dtype=self.dtype, device=self.device) for t in (CUES, FIELDS))
        return cues[kinds], fields[kinds]

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"adaptation_1_plus", ...: (M,)} of the last session, in which it was measured; nothing before the first."""
        return {} if self.adaptation is None else dict(zip(NAMES, self.adaptation.unbind(1), strict=True))

    def state_dict(self) -> dict:
        """What was measured last."""
        return {} if self.adaptation is None else {"adaptation": self.adaptation}

    def load_state_dict(self, state: dict) -> None:
        self.adaptation = state.get("adaptation")


@dataclass(frozen=True)
class MotorConfig:
    """Trials "1+", "2+", "1-", "2-", with a cue and a force field, and channel trials "10" and "20" with target 0.

    Every trial is an update. An epoch is a session:

    `blocks` blocks: "10" and "20" in random order; `groups` times `repeats` "1+" and as many "2-", shuffled; "10" and
    "20" again; two washouts, channel trials of both cues in equal numbers, shuffled. With `triplets`, each washout
    is followed by "10", a probe, "10"; the probe is "1+" or "2-", after the second washout the other one.
    `test_blocks` blocks: four tests in random order, one for each probe "1+", "2+", "1-", "2-": a washout, then "10",
    the probe, "10".

    washouts, second_washouts, test_washouts: their numbers of trials, which are drawn without replacement until all are
    used up. Adaptation is how much the response to the first cue has changed, in the direction of the probe's field,
    between the first and the last trial of its triplet, each before that trial's update; mean over the test blocks.

    blocks, test_blocks: of a session. groups: of either field in a block. repeats: trials of either field in a group.
    triplets: probes in the training too.

    In a session of few trials for its washouts there are trials without cue and target ("rest"), so that all seeds have
    their probes at the same time; nets without biases learn nothing from them.

    The defaults are what the released code runs, as its trials were recorded: twice as many trials in the washouts of
    the training as its settings (14, 16, 18 and 6, 8, 10) name, and no triplets between them.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "adaptation_1_plus", "adaptation_2_plus", "adaptation_1_minus", "adaptation_2_minus",
    )  # fmt: skip
    evaluated: ClassVar[tuple[str, ...]] = ("probes",)
    targets: ClassVar[str] = "values"
    excludes: ClassVar[str] = "credit.tasks.suited.motor"
    shape: ClassVar[tuple[int, int]] = (2, 2)  # inputs, outputs
    trials: ClassVar[int] = 2304  # of an epoch, about

    blocks: Annotated[int, "> 0"] = 24
    test_blocks: Annotated[int, "> 0"] = 8
    groups: Annotated[int, "> 0"] = 4
    repeats: Annotated[int, "> 0"] = 4
    washouts: tuple[Annotated[int, "> 0"], ...] = (28, 32, 36)
    second_washouts: tuple[Annotated[int, "> 0"], ...] = (12, 16, 20)
    test_washouts: tuple[Annotated[int, "> 0"], ...] = (2, 4, 6)
    triplets: bool = False

    def build(self, context: Context) -> Motor:
        """The task. Raises ConfigError for washouts that no trials can fill."""
        if problems := list(suited.motor(asdict(self), None)):
            raise ConfigError("\n".join(f"task.{problem}" for problem in problems))
        return Motor(self, context.dtype, context.device)


def drawn(config: MotorConfig, rand: Rand) -> Session:
    """Sessions of all seeds of `rand`. Orders are those of uniform numbers, one stream for each of what is shuffled."""
    blocks, tests, c = config.blocks, len(PROBES) * config.test_blocks, config
    lengths = [_replenished(rand, *a) for a in (("washouts", c.washouts, blocks),
               ("second_washouts", c.second_washouts, blocks), ("test_washouts", c.test_washouts, tests))]  # fmt: skip
    orders = {
        name: rand.uniform(f"motor.{name}", shape).cpu()
        for name, shape in {
            "channels": (blocks, 2, 2), "fields": (blocks, c.groups, 2 * c.repeats), "probes": (c.test_blocks, 4),
            "washout_trials": (blocks, max(c.washouts)), "second_trials": (blocks, max(c.second_washouts)),
            "test_trials": (tests, max(c.test_washouts)), **({"triplets": (blocks, 2)} if c.triplets else {}),
        }.items()
    }  # fmt: skip
    most = sum(_most(w, blocks) for w in (c.washouts, c.second_washouts))
    training = blocks * (4 + 2 * c.groups * c.repeats + 6 * c.triplets) + most
    sessions, probes = [], []
    for s in range(len(orders["probes"])):
        mine, long = {name: keys[s] for name, keys in orders.items()}, [washouts[s] for washouts in lengths]
        trials = [trial for block in range(blocks) for trial in _block(c, mine, block, long)]
        trials += [REST] * (training - len(trials))
        order = mine["probes"].argsort(dim=-1, stable=True).flatten().tolist()
        for test, probe in enumerate(order):
            washout = _washout(mine["test_trials"][test], long[2][test])
            trials += [REST] * (max(c.test_washouts) - len(washout)) + washout
            trials += [CHANNEL_1, PROBES[probe], CHANNEL_1]
        sessions.append(trials)
        probes.append(order)
    return Session(torch.tensor(sessions), torch.tensor(probes), training, max(c.test_washouts) + 3)


def _block(config: MotorConfig, keys: dict[str, Tensor], block: int, lengths: Sequence[list[int]]) -> list[int]:
    """The trials of one block of the training of one session."""
    pairs = [_shuffled(part, (CHANNEL_1, CHANNEL_2)) for part in keys["channels"][block]]
    fields = [PLUS_1] * config.repeats + [MINUS_2] * config.repeats
    trials = [*pairs[0], *(t for group in keys["fields"][block] for t in _shuffled(group, fields)), *pairs[1]]
    probes = _shuffled(keys["triplets"][block], (PLUS_1, MINUS_2)) if config.triplets else ()
    for part, name in enumerate(("washout_trials", "second_trials")):
        trials += _washout(keys[name][block], lengths[part][block])
        trials += [CHANNEL_1, probes[part], CHANNEL_1] if probes else []
    return trials


def _washout(keys: Tensor, length: int) -> list[int]:
    return _shuffled(keys[:length], [CHANNEL_1] * (length // 2) + [CHANNEL_2] * (length // 2))


def _shuffled(keys: Tensor, trials: Sequence[int]) -> list[int]:
    return [trials[i] for i in keys.argsort(dim=-1, stable=True).tolist()]


def _replenished(rand: Rand, name: str, values: Sequence[int], count: int) -> list[list[int]]:
    """`count` of the values for each seed, drawn without replacement until all are used up, then from all again."""
    keys = rand.uniform(f"motor.{name}", (-(-count // len(values)), len(values))).cpu()
    order = keys.argsort(dim=-1, stable=True).flatten(1)[:, :count].tolist()
    return [[values[i] for i in mine] for mine in order]


def _most(values: Sequence[int], count: int) -> int:
    """The largest sum of `count` of the values that are drawn so."""
    whole, rest = divmod(count, len(values))
    return whole * sum(values) + sum(sorted(values)[len(values) - rest :])


part = MotorConfig
