"""What a task trains: a stack of networks with its rule, optimiser, random streams and probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from credit.methods.base import Method, State
from credit.nets.base import Batch, Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params, clone
from credit.probes.base import Moment, Probe

Rows = list[tuple[str, str, Tensor]]  # (metric, layer, values (M,))


@dataclass(frozen=True)
class ProbeSlot:
    """A probe with its cadence: mini-batches 0, every, 2 every, ... of each pass named `on`; 0 is the first alone.

    `on` may also be "evaluate": then it measures at every evaluation, also at the one before training.
    """

    probe: Probe
    every: int = 0
    on: str = "update"

    def due(self, function: str, batch: int) -> bool:
        """Whether the probe measures mini-batch number `batch` of a pass."""
        return function == self.on and (batch == 0 if self.every == 0 else batch % self.every == 0)


@dataclass
class Learner:
    """Trains all members of a stack at once, mini-batch by mini-batch.

    A task calls `predict`, `update` or `updates`, and `note` for what it measures itself. `function` is the
    method's function that takes the mini-batches of the present pass; each has its own count of steps.
    """

    net: Net
    params: Params
    method: Method
    opt: Any
    state: State
    rand: Rand
    probes: list[ProbeSlot] = field(default_factory=list)
    evaluate_every: int = 0  # updates; 0: never within an epoch
    on_evaluate: Callable[[], None] | None = None
    function: str = "update"
    steps: dict[str, int] = field(default_factory=dict)
    batch_in_pass: int = 0
    losses: list[Tensor] = field(default_factory=list)
    measured: list[tuple[int, Rows]] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)
    means: dict[str, list[Tensor]] = field(default_factory=dict)
    memory: dict[Any, Any] = field(default_factory=dict)  # of the method's `advance`

    @property
    def step(self) -> int:
        """Updates of the forward weights so far."""
        return self.steps.get("update", 0)

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (M, B, n_out) of all members; x has a leading axis of 1 or M."""
        return self.net.predict(self.params, x.expand(len(self.rand.seeds), *x.shape[1:]))

    def __getstate__(self) -> dict[str, Any]:
        # What `advance` keeps are views of one memory: a copy would tear them apart.
        return {**self.__dict__, "memory": {}}

    def start_pass(self, function: str) -> None:
        """The next mini-batches go to the method's `function`."""
        self.function, self.batch_in_pass = function, 0

    def start_epoch(self) -> None:
        """Forget what was accumulated over the last epoch."""
        for container in (self.losses, self.measured, self.sums, self.means):
            container.clear()

    def update(self, batch: Batch) -> None:
        """One step of all members, with the probes that are due."""
        due = [slot.probe for slot in self.probes if slot.due(self.function, self.batch_in_pass)]
        before = (clone(self.params), clone(self.state)) if due else None
        arguments = self.net, self.params, self.opt, self.state, batch, self.rand
        if before is None and self.function == "update":
            self.params, self.opt, self.state, info = self.method.advance(*arguments, self.memory)
        else:
            self.params, self.opt, self.state, info = getattr(self.method, self.function)(*arguments)
        if before is not None:
            moment = Moment(self.net, self.method, *before, batch, info, self.params, self.state, self.rand)
            self.note([row for probe in due for row in probe.measure(moment)])
        self._count(info, 1)

    def updates(self, batch: Batch, batch_size: int) -> None:
        """Consecutive mini-batches of `batch_size` samples in one call, through the rule's fused loop if it has one.

        batch: x (M, K batch_size, ...). Falls back to single updates where something is to be measured in between.
        """
        starts = range(0, batch.x.shape[1], batch_size)
        if self.function != "update" or len(starts) == 1 or self._interrupted(len(starts)):
            for start in starts:
                self.update(cut(batch, slice(start, start + batch_size)))
            return
        self.params, self.opt, self.state, info = self.method.steps(
            self.net, self.params, self.opt, self.state, batch, batch_size, self.rand
        )
        self._count(info, len(starts))

    def at_evaluation(self) -> Rows:
        """What the probes on "evaluate" measure: of the net as it is, without a mini-batch."""
        due = [slot.probe for slot in self.probes if slot.on == "evaluate"]
        moment = Moment(
            self.net, self.method, self.params, self.state, None, {}, self.params, self.state, self.rand
        )  # fmt: skip
        return [row for probe in due for row in probe.measure(moment)]

    def note(self, rows: Rows) -> None:
        """Record measurements at the present step."""
        self.measured.append((self.steps.get(self.function, 0), rows))

    def _interrupted(self, count: int) -> bool:
        """Whether a probe falls into the next `count` updates, or an evaluation between them."""
        batches = range(self.batch_in_pass, self.batch_in_pass + count)
        if any(slot.due(self.function, b) for slot in self.probes for b in batches):
            return True
        k = self.evaluate_every
        return bool(k) and (self.step + count - 1) // k > self.step // k

    def _count(self, info: dict[str, Any], count: int) -> None:
        if self.function == "update" and "loss" in info:
            loss = info["loss"]  # (M,), or (count, M) from a fused loop
            self.losses += [loss] if loss.ndim < 2 else list(loss)
        for name, value in info.get("sums", {}).items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        for name, value in info.get("means", {}).items():
            self.means.setdefault(name, []).append(value)
        self.batch_in_pass += count
        self.steps[self.function] = self.steps.get(self.function, 0) + count
        if self.function == "update" and self.evaluate_every and self.step % self.evaluate_every == 0:
            self.on_evaluate()

    def accumulated(self) -> Rows:
        """Rows of an epoch: the mean loss, then what the rule summed or averaged, in its own names."""
        rows: Rows = [("train_loss", "", torch.stack(self.losses).mean(0))] if self.losses else []
        rows += [(name, "", value.to(torch.float64)) for name, value in self.sums.items()]
        return rows + [(name, "", torch.stack(values).mean(0)) for name, values in self.means.items()]


def cut(batch: Batch, samples: slice) -> Batch:
    """Some samples of a stacked batch."""
    weights = None if batch.weights is None else batch.weights[:, samples]
    return Batch(batch.x[:, samples], batch.y[:, samples], weights, batch.divisor)
