"""A thread that says how far the training beside it is: once in seconds, whatever that is doing."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from credit.watching.curves import Curves, Point, place, points
from credit.watching.events import Events, events_of
from credit.watching.live import FAILED, RUNNING, STOPPED, Live, live_path, write

FIRST, SHORTEST, LONGEST = 0.3, 1.0, 10.0  # seconds to the first word, and between two
SHARE = 200  # a word is followed by so many times the time that it took: it costs the training half a percent at most
DONE = ("Outrun",)  # by another copy of the job
TRIAL = "trial"  # what varies between the networks of a search that draws its trials, see `credit.training.trials`
ASKED_TO_STOP = ("Interrupted", "SystemExit", "KeyboardInterrupt")


class Trained(Protocol):
    """What is looked at of `credit.training.loop.Training`; nothing is called but `phases`, a function of its rule."""

    settings: Mapping[str, Any]
    stack: Sequence[Mapping[str, Any]]
    learner: Any
    records: Sequence[Mapping[str, Any]]
    alive: Sequence[bool]
    begun: tuple[int, int]
    position: tuple[int, int]
    epoch: int


@dataclass
class Process:
    """What all trainings of a process have in common that make one result: a search that draws trials has several.

    first: the trial with which it began, at the time of day `started`, on the monotonic clock `clock`. written: of its
    last word, on that clock.
    """

    first: int
    started: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.monotonic)
    written: float = -math.inf


_PROCESSES: dict[Path, Process] = {}


class Reporter:
    """While entered, says how far the training is that makes `result`. spec: of its job.

    It reads plain numbers, and takes the records as they are made. Whatever goes wrong with it is a line in the job's
    log, and no more.
    """

    def __init__(self, training: Trained, result: Path, spec: Mapping[str, Any]) -> None:
        self.training, self.path = training, live_path(result)
        self._result = result
        self._trial, self._trials = training.stack[0].get(TRIAL, 0), spec.get("sampler", {}).get("trials", 0)
        own = Process(self._trial)
        self._process = _PROCESSES.setdefault(Path(result).absolute(), own) if self._trials else own
        self._events: Events | None = None
        self._seen, self._curves = 0, Curves()
        self._pause, self._state = FIRST, RUNNING
        self._phases: list[list[Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def __enter__(self) -> Reporter:
        if self.path:
            if self._trial == self._process.first:
                with suppress(OSError):
                    self.path.unlink(missing_ok=True)
            self._events = events_of(self._result, *([f"{TRIAL}{self._trial}"] if self._trials else []))
            phases = self.training.learner.method.phases(self.training.settings["epochs"])
            self._phases = [[p.name, p.epochs, [one.update for one in p.passes], p.record] for p in phases]
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self.path:
            return
        self._ended.set()
        self._thread.join()
        with suppress(Exception):
            self._end(kind)

    def _end(self, kind: type[BaseException] | None) -> None:
        done = kind is None or kind.__name__ in DONE
        news = [] if done and not self._events else self._news(all_of_them=True)
        if self._events:
            self._events.add(news)
            self._events.close()
        if not done:
            self._state = STOPPED if kind.__name__ in ASKED_TO_STOP else FAILED
            self._write()
        elif kind is not None or self._next_trial() >= self._trials:
            self.path.unlink(missing_ok=True)
        elif time.monotonic() - self._process.written > SHORTEST:
            self._write()

    def _next_trial(self) -> int:
        return self._trial + len({member.get(TRIAL) for member in self.training.stack})

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._pause):
                self._say()
        except Exception as error:
            print(f"progress is not reported any more: {error}", file=sys.stderr)

    def _say(self) -> None:
        begun = time.monotonic()
        news = self._news()
        if self._events:
            self._events.add(news)
        self._pause = min(LONGEST, max(SHORTEST, (begun - self._process.clock) / 60))
        with suppress(OSError):  # no room, or no right: the job itself will say so where that matters
            self._write()
        self._pause = max(self._pause, SHARE * (time.monotonic() - begun))

    def _write(self) -> None:
        write(self.path, self.live())
        self._process.written = time.monotonic()

    def _news(self, all_of_them: bool = False) -> list[Point]:
        """Points of the records since the last time; the last one may be in the making, and waits."""
        new = self.training.records[self._seen :]
        if not all_of_them and new:
            last = place(new[-1])
            while new and place(new[-1]) == last:
                new.pop()
        self._seen += len(new)
        found = list(points(new))
        self._curves.add(found)
        return found

    def live(self) -> Live:
        """Where the training is now."""
        training, learner = self.training, self.training.learner
        position = list(training.position)
        turn, batch = self._within(position, learner)
        first = self._trial == self._process.first
        return Live(
            state=self._state,
            phases=[[name, epochs, len(passes), record] for name, epochs, passes, record in self._phases],
            begun=list(training.begun) if first else [0, 0],
            position=position, turn=turn, batch=batch, epoch=training.epoch, epochs=training.settings["epochs"],
            members=len(training.alive), alive=sum(training.alive),
            started=self._process.started, seconds=time.monotonic() - self._process.clock, pause=self._pause,
            curves=self._curves.rows(), trial=self._trial, trials=self._trials, first_trial=self._process.first,
        )  # fmt: skip

    def _within(self, position: list[int], learner: Any) -> tuple[int, int]:
        """(pass, mini-batches done in it) of the present epoch; between two epochs (0, 0)."""
        if position[0] >= len(self._phases):
            return 0, 0
        name, _, passes, _ = self._phases[position[0]]
        if (learner.phase, learner.epoch) != (name, position[1]) or learner.function not in passes:
            return 0, 0
        return passes.index(learner.function), learner.batch_in_pass
