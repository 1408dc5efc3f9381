"""Reversal learning: the net values options, chooses one by the softmax of its own values, and learns from the reward.

Source: Song et al. (2024), released code: reversal_task (Figure 6c).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.nets.base import Batch
from credit.nets.losses import Loss
from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner, Task

EVENTS = ("punished_stay", "punished_switch", "next_stay", "next_switch")


@dataclass
class Reversal(Task):
    """Trials of M members, each with its own choices; x (M, 1, 1) is 1 throughout.

    chances: of a reward for the correct option, and for another one. correct (M,): which one it is; streak (M,): how
    many choices in a row were correct, also over a reversal; armed (M,): whether there may be one. choice (M,): of the
    last trial; punished (M,): its value if it was punished, else NaN. rewards, rights (M,): sums over all trials.
    """

    x: Tensor
    n_out: int
    chances: tuple[float, float]
    streak_to_arm: int
    flip: float
    per_epoch: int
    trials: int = 0
    correct: Tensor = field(init=False)
    streak: Tensor = field(init=False)
    armed: Tensor = field(init=False)
    choice: Tensor = field(init=False)
    punished: Tensor = field(init=False)
    rewards: Tensor = field(init=False)
    rights: Tensor = field(init=False)
    KEPT: ClassVar[tuple[str, ...]] = ("correct", "streak", "armed", "choice", "punished", "rewards", "rights")

    def __post_init__(self) -> None:
        zero = self.x.new_zeros(len(self.x), dtype=torch.int64)
        self.correct, self.streak, self.choice, self.armed = zero, zero, zero, zero.bool()
        self.rewards, self.rights = zero, zero
        self.punished = torch.full_like(self.x[:, 0, 0], torch.nan)

    @property
    def shape_in(self) -> tuple[int, ...]:
        """(1,)."""
        return tuple(self.x.shape[2:])

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """The next trials. Of the streams reversal.choice, reversal.reward and reversal.flip each gives one a trial."""
        for _ in range(self.per_epoch):
            values = learner.predict(self.x)[:, 0]
            choice = chosen(values, rand.uniform("reversal.choice", ()))
            right = choice == self.correct
            chance = torch.where(right, *self.chances)
            reward = torch.where(rand.uniform("reversal.reward", ()) < chance, 1, -1)
            value = values.gather(1, choice.unsqueeze(1))[:, 0]
            learner.note(self._rows(choice, reward, right, value))
            learner.update(self._batch(choice, reward))
            self.choice, self.punished = choice, torch.where(reward < 0, value, torch.nan)
            self.rewards, self.rights, self.trials = self.rewards + reward, self.rights + right, self.trials + 1
            self._reverse(right, rand.uniform("reversal.flip", ()))

    def _rows(self, choice: Tensor, reward: Tensor, right: Tensor, value: Tensor) -> list[tuple[str, str, Tensor]]:
        """What is recorded of a trial, (M,) each; events are NaN where they have not happened."""
        after = ~self.punished.isnan()
        stays = choice == self.choice
        found = {"choice": choice + 1, "reward": reward, "right": right}
        for name, here in zip(EVENTS, (stays, ~stays) * 2, strict=True):
            what = self.punished if name.startswith("punished") else value
            found[name] = torch.where(after & here, what, torch.nan)
        return [(name, "", number.to(torch.float64)) for name, number in found.items()]

    def _batch(self, choice: Tensor, reward: Tensor) -> Batch:
        """The reward is the target of the chosen output, and no other one has an error."""
        weights = torch.nn.functional.one_hot(choice, self.n_out).to(self.x).unsqueeze(1)
        return Batch(self.x, weights * reward.to(self.x)[:, None, None], weights)

    def _reverse(self, right: Tensor, draw: Tensor) -> None:
        """Arm where so many choices in a row were correct; an armed member reverses with probability `flip`."""
        self.streak = torch.where(right, self.streak + 1, 0)
        self.armed = self.armed | (self.streak >= self.streak_to_arm)
        flips = self.armed & (draw < self.flip)
        self.correct = torch.where(flips, (self.correct + 1) % self.n_out, self.correct)
        self.armed = self.armed & ~flips

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"trials_reward", "trials_right": (M,)}: means over all trials so far; nothing before the first."""
        if "trials" not in splits or not self.trials:
            return {}
        sums = {"trials_reward": self.rewards, "trials_right": self.rights}
        return {name: total / self.trials for name, total in sums.items()}

    def state_dict(self) -> dict:
        """Number of trials, and of every member what the next one depends on."""
        return {"trials": self.trials, **{name: getattr(self, name) for name in self.KEPT}}

    def load_state_dict(self, state: dict) -> None:
        self.trials = state["trials"]
        for name in self.KEPT:
            setattr(self, name, state[name].to(self.x.device))


def chosen(values: Tensor, draw: Tensor) -> Tensor:
    """An option, int64 (M,), with the probabilities of the softmax of values (M, n); draw (M,): uniform in [0, 1)."""
    below = values.double().softmax(-1).cumsum(-1)[:, :-1]
    return (draw.double().unsqueeze(-1) >= below).sum(-1)


@dataclass(frozen=True)
class ReversalConfig:
    """Options with rewards of 1 and -1, of which one is the correct one, at first that of output 1.

    n_out: number of options. flip: probability of a reversal at the end of a trial, while one is armed. right_reward,
    wrong_reward: probability of 1 for choosing it, and for choosing another. streak: so many correct choices in a row,
    which a reversal does not interrupt, arm the next reversal; while armed, every trial ends with one with probability
    `flip`. Another option is then correct: the next one in the order of the outputs. per_epoch: trials.

    Recorded of every trial: "choice", the number of the output from 1 on, "reward", and "right", whether it was the
    correct one; after a punished trial, if the choice is the same, the values of the chosen options at the punishment,
    "punished_stay", and now, "next_stay"; else "punished_switch" and "next_switch". Values are those before learning.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "choice", "reward", "right", "punished_stay", "punished_switch", "next_stay", "next_switch", "{split}_reward",
        "{split}_right",
    )  # fmt: skip
    evaluated: ClassVar[tuple[str, ...]] = ("trials",)
    targets: ClassVar[str] = "values"
    batch_size: ClassVar[int] = 1

    n_out: Annotated[int, ">= 2"] = 2
    right_reward: Annotated[float, "[0, 1]"] = 0.7
    wrong_reward: Annotated[float, "[0, 1]"] = 0.4
    streak: Annotated[int, "> 0"] = 4
    flip: Annotated[float, "[0, 1]"] = 0.25
    per_epoch: Annotated[int, "> 0"] = 1

    def build(self, context: Context) -> Reversal:
        """The task, before its first trial."""
        x = torch.ones(context.members, 1, 1, dtype=context.dtype, device=context.device)
        return Reversal(x, self.n_out, (self.right_reward, self.wrong_reward), self.streak, self.flip, self.per_epoch)


part = ReversalConfig
