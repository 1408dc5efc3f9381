"""How far the training work of a call of Snakemake is, and when it will be done. Loads no torch.

The unit is the estimated CPU second of `credit.dag.cost`, so that a job counts by its work. What a second of it takes
here is found while the call runs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from credit.dag.units import clock, duration
from credit.dag.work import Work
from credit.watching.live import Live, live_path, read

WINDOW = 600.0  # seconds over which the pace is measured
EXPECTED, FADES = 20.0, 60.0  # seconds for which the estimate counts as a measurement, at first, and until it fades
SLOWEST = 1e-3  # estimated seconds a second: then nothing is known yet
TAKEN = "taken from the store"  # what the log of a job says that found its block, see `credit.training.reuse`


@dataclass
class Job:
    """A training or search that this call runs. result: what it makes. work: seconds. log: where it says what it does.

    stale: the date of a file that says nothing new: of one that was there before this call, or has been read.
    """

    result: str
    work: Work
    log: str = ""
    live: Live | None = None
    done: float = 0.0  # seconds of work that lie behind it
    saved: float = 0.0  # of which this call did none
    state: str = "waiting"  # running, finished, failed
    stale: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.stale = self._date()

    def _date(self) -> int | None:
        path = live_path(self.result)
        try:
            return path.stat().st_mtime_ns if path else None
        except OSError:
            return None

    @property
    def name(self) -> str:
        """Short, for people: EXPERIMENT DATASET METHOD shardS."""
        return " ".join(Path(self.result).with_suffix("").parts[-4:])

    @property
    def left(self) -> float:
        """Seconds of work that this call is still to do."""
        return 0.0 if self.state in ("finished", "failed") else max(self.work.seconds - self.done, 0.0)

    def look(self) -> None:
        """Read what the running job says."""
        self.state, date = "running", self._date()
        if date == self.stale:
            return
        self.stale, path = date, live_path(self.result)
        if path and (found := read(path)):
            self.live = found
            self.done = min(max(self.work.done(found), self.done), self.work.seconds)
            self.saved = self.work.done_before(found)

    def finish(self) -> None:
        """It has ended well: all is done, by this call unless the store had it."""
        if self.live is None and self._was_kept():
            self.saved = self.work.seconds
        self.state, self.done = "finished", self.work.seconds

    def _was_kept(self) -> bool:
        try:
            with Path(self.log).open(encoding="utf-8", errors="replace") as file:
                return TAKEN in file.read(10_000)
        except OSError:
            return False

    def time_left(self) -> float | None:
        """Seconds that this job alone takes, by its own pace; None while that says nothing."""
        worked = self.done - self.saved
        if self.live is None or worked < 0.02 * self.work.seconds:
            return None
        return self.left * self.live.seconds / worked


@dataclass(frozen=True)
class Standing:
    """Of all training jobs of a call. done, whole: seconds of work. to_go: seconds of time, None before they are known.

    kept: jobs whose blocks the store had before the call began; they are no work.
    """

    done: float
    whole: float
    jobs: int
    finished: int
    running: tuple[Job, ...]
    failed: int
    kept: int
    gone: float
    to_go: float | None

    @property
    def ended(self) -> bool:
        """Whether no job is left that could run."""
        return self.finished + self.failed == self.jobs

    @property
    def percent(self) -> int:
        """Of the work, rounded down: 100 stands for all."""
        return int(100 * self.done / self.whole) if self.finished < self.jobs and self.whole else 100

    def text(self, last: bool = False) -> str:
        """One line for people. last: nothing goes on."""
        parts = [f"{self.finished} of {self.jobs} jobs"]
        parts += [f"{len(self.running)} running"] if self.running and not last else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.kept} in the store"] if self.kept else []
        parts.append(f"{clock(self.gone)} gone")
        if self.to_go is not None and not last:
            parts.append(f"about {duration(self.to_go)} to go")
        return f"training {self.percent} %: {', '.join(parts)}"


class Tally:
    """Keeps the account of a call's training jobs. kept: number of those whose blocks the store has."""

    def __init__(self, jobs: Iterable[Job], kept: int = 0) -> None:
        self.jobs, self.kept = tuple(jobs), kept
        self.whole = sum(job.work.seconds for job in self.jobs)
        self._samples: deque[tuple[float, float, float]] = deque()  # time, seconds of work done here, jobs running

    def standing(self, now: float) -> Standing:
        """How far all is, `now` seconds after the start, by the present states of the jobs."""
        running = tuple(job for job in self.jobs if job.state == "running")
        worked = sum(max(job.done - job.saved, 0.0) for job in self.jobs)
        if not (running or worked):  # data is being prepared
            self._samples.clear()
        self._samples.append((now, worked, len(running)))
        while self._samples[-1][0] - self._samples[0][0] > WINDOW:
            self._samples.popleft()
        states = [job.state for job in self.jobs]
        return Standing(
            sum(job.done for job in self.jobs), self.whole, len(self.jobs), states.count("finished"), running,
            states.count("failed"), self.kept, now, self._to_go(running),
        )  # fmt: skip

    def _to_go(self, running: tuple[Job, ...]) -> float | None:
        """Seconds until all is done, by the pace of the last minutes: at least what the longest job takes alone."""
        if not running:
            return None
        (first, before, _), (last, worked, _) = self._samples[0], self._samples[-1]
        expected = EXPECTED * math.exp(-last / FADES)
        pace = (worked - before + expected * len(running)) / (last - first + expected)
        if pace < SLOWEST * len(running):
            return None
        side_by_side = max(sum(n for _, _, n in self._samples) / len(self._samples), 1.0)
        waiting = max((job.left for job in self.jobs if job.state == "waiting"), default=0.0)
        alone = [left for job in running if (left := job.time_left()) is not None]
        return max(sum(job.left for job in self.jobs) / pace, waiting * side_by_side / pace, *alone, 0.0)
