"""What a task trains: a stack of networks with its rule, optimiser, random streams and probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from credit.methods.base import Method, State
from credit.methods.fast import Fast
from credit.nets.base import Batch, Net
from credit.numerics.rand import Rand
from credit.numerics.trees import Params, clone
from credit.optim.base import OptimizerLike
from credit.probes.base import Moment, Probe
from credit.tasks.base import Take
from credit.training.fast import ask, batch_kind
from credit.training.frozen import put_back

AHEAD = 16  # samples
AT_ONCE = 1024  # samples that a fast form is handed together at most: bounds memory
Rows = list[tuple[str, str, Tensor]]  # (metric, layer, values (M,))


@dataclass(frozen=True)
class ProbeSlot:
    """A probe with its cadence: mini-batches 0, every, 2 every, ... of each pass named `on`; 0 is the first alone.

    `on` may also be "evaluate": then it measures at every evaluation, also at the one before training. memory: what
    the probe keeps between measurements.
    """

    probe: Probe
    every: int = 0
    on: str = "update"
    memory: dict[str, Any] = field(default_factory=dict)

    def due(self, function: str, batch: int) -> bool:
        """Whether the probe measures mini-batch number `batch` of a pass."""
        return function == self.on and (batch == 0 if self.every == 0 else batch % self.every == 0)

    def measure(self, moment: Moment) -> Rows:
        """What the probe measures with what it remembers."""
        return self.probe.measure(replace(moment, memory=self.memory))


@dataclass
class Learner:
    """Trains all members of a stack at once, mini-batch by mini-batch.

    A task calls `predict`, `visit` or `update`, and `note` for what it measures itself. `function` is the
    method's function that takes the mini-batches of the present pass; each has its own count of steps.
    fast: the method's fast forms by function and kind of mini-batch. They are dropped in a copy, since what they keep
    are views of one memory, which a copy would tear apart.
    """

    net: Net
    params: Params
    method: Method
    opt: OptimizerLike
    state: State
    rand: Rand
    probes: list[ProbeSlot] = field(default_factory=list)
    evaluate_every: int = 0  # updates; 0: never within an epoch
    on_evaluate: Callable[[], None] | None = None
    function: str = "update"
    steps: dict[str, int] = field(default_factory=dict)
    batch_in_pass: int = 0
    losses: list[Tensor] = field(default_factory=list)  # (M,) each, as in sums and means
    measured: list[tuple[int, Rows]] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)
    means: dict[str, list[Tensor]] = field(default_factory=dict)
    diverged: Tensor | None = None  # (M,) bool: whom the rule gave up in this epoch
    fast: dict[Any, Fast] = field(default_factory=dict)
    phase: str = ""
    epoch: int = 0  # of the phase

    @property
    def step(self) -> int:
        """Updates of the forward weights so far."""
        return self.steps.get("update", 0)

    def predict(self, x: Tensor) -> Tensor:
        """Outputs (M, B, n_out) of all members; x has a leading axis of 1 or M."""
        return self.net.predict(self.params, x.expand(len(self.rand.seeds), *x.shape[1:]))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "fast": {}}

    def start_epoch(self, phase: str = "", epoch: int = 0) -> None:
        """An epoch of a phase begins, counted from 0: forget what was accumulated over the last one."""
        if phase != self.phase:
            self.fast.clear()
        self.phase, self.epoch = phase, epoch
        self.diverged = None
        for container in (self.losses, self.measured, self.sums, self.means):
            container.clear()

    def start_pass(self, function: str) -> None:
        """The next mini-batches go to the method's `function`."""
        self.function, self.batch_in_pass = function, 0

    def visit(self, order: Tensor, take: Take, batch_size: int, whose: Tensor | None = None) -> None:
        """Consecutive mini-batches of `batch_size` samples, of which the last may be smaller.

        order: samples (M, n). take: indices (M, k) -> x (M, k, ...), y (M, k, ...) and, where single output errors
        count differently, weights (M, k, n_out). whose: see `Batch`; order and what is taken are then (S, ...). Several
        mini-batches go to the method at once where it has a fast form for that, and nothing is to be measured in
        between.
        """
        start, n, ahead = 0, order.shape[1], _Ahead(order, take, whose)
        while start < n:
            batch = ahead(start, min(start + batch_size, n))
            self._inspect(batch)
            fast = self._fast(batch, batch_size)
            count = 1 if fast is None else min(fast.at_once, AT_ONCE // batch_size, -(-(n - start) // batch_size))
            stop = min(start + max(count, 1) * batch_size, n)
            if count > 1 and not self._interrupted(count):
                self._together(fast, ahead(start, stop), count)
            else:
                self._one(batch, fast)
                for later in range(start + batch_size, stop, batch_size):
                    end = min(later + batch_size, stop)
                    self._one(ahead(later, end), fast if end - later == batch_size else None)
            start = stop

    def update(self, batch: Batch, learns: Tensor | None = None) -> None:
        """One step of all members, or of those of whom `learns` (M,) says so, with the probes that are due.

        The others keep weights, state and what the optimiser has of them; steps and draws are counted for the stack.
        """
        self._inspect(batch)
        still = None if learns is None or bool(learns.all()) else ~learns
        kept = None if still is None else (clone(self.params), clone(self.state), self.opt.state_dict())
        self._one(batch, self._fast(batch, batch.distinct.y.shape[1]))
        if kept is not None:
            opt = self.opt.state_dict()
            for now, before in zip((self.params, self.state, opt), kept, strict=True):
                put_back(now, before, still)
            self.opt.load_state_dict(opt)

    def _inspect(self, batch: Batch) -> None:
        """What the method measures of itself with the first mini-batch of a pass."""
        if self.batch_in_pass == 0:
            where = self.net, self.params, self.state, batch, self.rand
            for name, value in self.method.inspect(*where, self.function, self.epoch).items():
                self.means.setdefault(name, []).append(value)

    def _fast(self, batch: Batch, batch_size: int) -> Fast | None:
        key = self.function, batch_size, *batch_kind(batch)
        found = self.fast.get(key)
        if found is None:
            where = self.net, self.params, self.opt, self.state
            found = ask(self.method, *where, batch, batch_size, self.function)
            if found is not None:
                self.fast[key] = found
        return found

    def _one(self, batch: Batch, fast: Fast | None) -> None:
        """A single mini-batch; a fast form takes it where it takes one at a time and nothing looks but at weights."""
        due = [slot for slot in self.probes if slot.due(self.function, self.batch_in_pass)]
        before = (clone(self.params), clone(self.state)) if due else None
        looked_into = not all(getattr(slot.probe, "weights_alone", False) for slot in due)
        if not looked_into and fast is not None and (fast.at_once == 1 or fast.alone):
            self.params, self.opt, self.state, info = fast(self.params, self.opt, self.state, batch, self.rand)
        else:
            function = getattr(self.method, self.function)
            self.params, self.opt, self.state, info = function(
                self.net, self.params, self.opt, self.state, batch, self.rand
            )
        if before is not None:
            moment = Moment(self.net, self.method, *before, batch, info, self.params, self.state, self.rand)
            self.note([row for slot in due for row in slot.measure(moment)])
        self._count(info, 1)

    def _together(self, fast: Fast, batch: Batch, count: int) -> None:
        self.params, self.opt, self.state, info = fast(self.params, self.opt, self.state, batch, self.rand)
        self._count(info, count)

    def at_evaluation(self) -> Rows:
        """What the probes on "evaluate" measure: of the net as it is, without a mini-batch."""
        due = [slot for slot in self.probes if slot.on == "evaluate"]
        moment = Moment(
            self.net, self.method, self.params, self.state, None, {}, self.params, self.state, self.rand
        )  # fmt: skip
        return [row for slot in due for row in slot.measure(moment)]

    def note(self, rows: Rows) -> None:
        """Record measurements at the present step."""
        self.measured.append((self.steps.get(self.function, 0), rows))

    def _interrupted(self, count: int) -> bool:
        """Whether a probe falls into the next `count` mini-batches, or an evaluation between them."""
        batches = range(self.batch_in_pass, self.batch_in_pass + count)
        if any(slot.due(self.function, b) for slot in self.probes for b in batches):
            return True
        k = self.evaluate_every if self.function == "update" else 0
        return bool(k) and (self.step + count - 1) // k > self.step // k

    def _count(self, info: dict[str, Any], count: int) -> None:
        if self.function == "update" and "loss" in info:
            self.losses += _one_by_one(info["loss"])
        if "diverged" in info:
            self.diverged = info["diverged"] if self.diverged is None else self.diverged | info["diverged"]
        for name, value in info.get("sums", {}).items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        for name, value in info.get("means", {}).items():
            self.means.setdefault(name, []).extend(_one_by_one(value))
        self.batch_in_pass += count
        self.steps[self.function] = self.steps.get(self.function, 0) + count
        if self.function == "update" and self.evaluate_every and self.step % self.evaluate_every == 0:
            self.on_evaluate()

    def accumulated(self) -> Rows:
        """Rows of an epoch: the mean loss, then what the learning rule summed or averaged, in its own names."""
        rows: Rows = [("train_loss", "", torch.stack(self.losses).mean(0))] if self.losses else []
        rows += [(name, "", value.to(torch.float64)) for name, value in self.sums.items()]
        return rows + [(name, "", torch.stack(values).mean(0)) for name, values in self.means.items()]


class _Ahead:
    """Mini-batches of an order (M, n), a few of them taken ahead: to take one sample costs as much as a tiny update."""

    def __init__(self, order: Tensor, take: Take, whose: Tensor | None) -> None:
        self.order, self.take, self.whose, self.start, self.stop = order, take, whose, 0, 0
        self.taken: tuple[Tensor, ...] = ()

    def __call__(self, start: int, stop: int) -> Batch:
        if start < self.start or stop > self.stop:
            self.start, self.stop = start, min(max(stop, start + AHEAD), self.order.shape[1])
            self.taken = self.take(self.order[:, start : self.stop])
        part = slice(start - self.start, stop - self.start)
        return Batch(*(values[:, part] for values in self.taken), whose=self.whose)


def _one_by_one(values: Tensor) -> list[Tensor]:
    """(M,), or (K, M) of several mini-batches, as a list of (M,)."""
    return [values] if values.ndim < 2 else list(values)
