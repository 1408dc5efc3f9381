"""Single pairs of an input and a target, one after another: where a few updates are followed one by one.

Source: Song et al. (2024), released code: target_alignment, example_122, less_erratic, reversal_task (reason-simple)
(Figures 3a, 3d, 3e).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets.losses import Loss
from credit.numerics.rand import Rand
from credit.tasks import suited
from credit.tasks.base import Context, Learner, Task
from credit.tasks.supervised import gathered_rows


@dataclass
class Pairs(Task):
    """x (S, n, n_in), y (S, n, n_out), in turn; an epoch is `per_epoch` updates. weights (n_out,): of output errors."""

    x: Tensor
    y: Tensor
    whose: Tensor | None
    batch_size: int
    per_epoch: int
    record_every: int
    weights: Tensor | None = None
    seen: int = 0  # samples, of all epochs

    @property
    def shape_in(self) -> tuple[int, ...]:
        """(n_in,)."""
        return tuple(self.x.shape[2:])

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self.y.shape[2]

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """The next updates. Predictions are recorded in between: an answer costs less than an update."""
        size, whose = self.batch_size, self.whose
        order = (self.seen + torch.arange(self.per_epoch * size, device=self.x.device)) % self.x.shape[1]
        for part in order.split((self.record_every or self.per_epoch) * size):
            own = part.expand(len(self.x), -1)
            if self.record_every:
                self._record(learner, own[:, :1])
            learner.visit(own, self._take, size, whose)
        self.seen += len(order)

    def _record(self, learner: Learner, index: Tensor) -> None:
        output = learner.predict(self._of_members(gathered_rows(self.x, index)))[:, 0]
        learner.note([("prediction", str(k), value) for k, value in enumerate(output.unbind(-1), 1)])

    def _take(self, index: Tensor) -> tuple[Tensor, ...]:
        x, y = gathered_rows(self.x, index), gathered_rows(self.y, index)
        return (x, y) if self.weights is None else (x, y, self.weights.expand_as(y))

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"points_loss": (M,)}: the loss of all pairs."""
        output, y = learner.predict(self._of_members(self.x)), self._of_members(self.y)
        weights = () if self.weights is None else (self.weights.expand_as(y),)
        return {"points_loss": loss.value(output, y, *weights)}

    def _of_members(self, values: Tensor) -> Tensor:
        return values if self.whose is None else values.index_select(0, self.whose)

    def state_dict(self) -> dict:
        """How many samples were seen."""
        return {"seen": self.seen}

    def load_state_dict(self, state: dict) -> None:
        self.seen = state["seen"]


@dataclass(frozen=True)
class PairsConfig:
    """One pair that is given, `input` and `target`; or `points` pairs that every seed draws for itself.

    input, target: numbers of the given pair. points: number of drawn pairs. n_in, n_out, std: of drawn ones; entries
    are normal with that width, those of the input drawn first. per_epoch: updates. batch_size: pairs of an update,
    which are taken in turn. output_weights: one for each output, with which its error counts; left out: all the same.

    record_every: before every such update, the output for its (first) pair is recorded as "prediction", with the number
    of the output, counted from 1, as layer; 0: never. What happens in between may be done in one go.
    """

    metrics: ClassVar[tuple[str, ...]] = ("prediction", "points_loss")
    by_output: ClassVar[tuple[str, ...]] = ("prediction",)  # with the number of the output in place of a layer's
    evaluated: ClassVar[tuple[str, ...]] = ("points",)
    targets: ClassVar[str] = "values"
    excludes: ClassVar[str] = "credit.tasks.suited.pairs"

    input: tuple[float, ...] | None = None
    target: tuple[float, ...] | None = None
    n_in: Annotated[int, "> 0"] = 1
    n_out: Annotated[int, "> 0"] = 1
    std: Annotated[float, "> 0"] = 1.0
    points: Annotated[int, "> 0"] = 1
    batch_size: Annotated[int, "> 0"] = 1
    per_epoch: Annotated[int, "> 0"] = 1
    record_every: Annotated[int, ">= 0"] = 1
    output_weights: tuple[Annotated[float, ">= 0"], ...] | None = None

    def build(self, context: Context) -> Pairs:
        """The task. Raises ConfigError where lists are missing, or not as long as belongs to them."""
        if problems := list(suited.pairs(asdict(self), None)):
            raise ConfigError("\n".join(f"task.{problem}" for problem in problems))
        rand, whose = context.rand.distinct()

        def listed(values: tuple[float, ...]) -> Tensor:
            return torch.tensor(values, dtype=context.dtype, device=context.device)

        if self.input is None:
            x, y = self._drawn(rand)
        else:
            x, y = (listed(values).expand(len(rand.seeds), 1, -1) for values in (self.input, self.target))
        weights = None if self.output_weights is None else listed(self.output_weights)
        return Pairs(x, y, whose, self.batch_size, self.per_epoch, self.record_every, weights)

    def _drawn(self, rand: Rand) -> tuple[Tensor, Tensor]:
        """All pairs of one stream, each its input first."""
        drawn = rand.normal("pairs", (self.points, self.n_in + self.n_out)) * self.std
        return drawn[..., : self.n_in].contiguous(), drawn[..., self.n_in :].contiguous()


part = PairsConfig
