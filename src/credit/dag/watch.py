"""`credit watch`: the training jobs of a target while they run, with the curves of what they measure. Loads no torch.

It only reads: what running jobs say of themselves, on whichever machine they run (`credit.watching.live`), and results.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit.dag.commands import Present, as_target
from credit.dag.cost import needed_jobs
from credit.dag.exits import GOOD
from credit.dag.targets import Workflow
from credit.dag.units import clock, duration
from credit.dag.work import Work
from credit.errors import DataError
from credit.provenance.records import read_result
from credit.provenance.spec import canonical_json
from credit.watching.live import RUNNING, Live, live_path, read

if TYPE_CHECKING:
    from rich.live import Live as Screen

AFRESH = 2.0  # seconds between two pictures
SILENT = 60.0  # seconds without a word after which a job on another machine may be gone
LATEST = 5  # finished jobs that are shown
LARGEST = 16_000_000  # bytes of a result that is read for its curves
CURVES = ("test_error", "test_loss", "validation_error", "validation_loss", "train_loss")  # shown first
SHOWN = 3  # curves of a job
LENGTH = 40  # characters of a curve
STEPS = ("▁▂▃▄▅▆▇█", "_.-=+*#@")  # the second where the terminal has no such signs
FINISHED, WAITING, KILLED = "finished", "not made", "killed"
Curves = Mapping[str, list[list[float]]]  # {metric: [[epoch, step, value], ...]}


@dataclass
class Seen:
    """A job as it was found. date: of what it wrote last. read: of a result, that date and its curves."""

    path: str
    work: Work
    state: str = WAITING
    live: Live | None = None
    date: float = 0.0
    read: tuple[float, Curves] = (0.0, {})

    @property
    def name(self) -> str:
        """PAPER/EXPERIMENT DATASET METHOD shardS."""
        paper, *rest = Path(self.path).with_suffix("").parts[-5:]
        return f"{paper}/{' '.join(rest)}"

    @property
    def done(self) -> float:
        """Seconds of its work that are done."""
        if self.state == FINISHED:
            return self.work.seconds
        return self.work.done(self.live) if self.live else 0.0


class Watch:
    """All training jobs of a target. Raises ConfigError for what is no target."""

    def __init__(self, workflow: Workflow, target: str) -> None:
        self.workflow, self.target = workflow, target
        jobs = [job for found in needed_jobs(workflow, target).values() for job in found]
        self._specs = {path: canonical_json(spec) for path, spec in jobs}
        self.jobs = [Seen(path, Work(spec)) for path, spec in jobs]

    def look(self) -> None:
        """See what all jobs are at now."""
        for job in self.jobs:
            place = live_path(job.path)
            date = _date(place) if place else 0.0
            if self._is_made(job.path):
                job.state, job.live, job.date = FINISHED, None, _date(Path(job.path))
            elif not date:
                job.state, job.live = WAITING, None
            else:
                job.live = read(place) if date != job.date else job.live
                job.date = date
                job.state = state(job.live, date) if job.live else WAITING

    def _is_made(self, path: str) -> bool:
        present = self.workflow.present
        return present[path] is not None and not present.stale(self._specs[path], path)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left that could run."""
        return all(job.state == FINISHED for job in self.jobs)

    def lines(self, steps: str) -> Iterator[str]:
        """For people: a summary, what runs or was left, and the last that were finished. steps: signs of a curve."""
        yield self._summary()
        shown = [job for job in self.jobs if job.state not in (FINISHED, WAITING)]
        finished = sorted((job for job in self.jobs if job.state == FINISHED), key=lambda job: -job.date)
        for job in sorted(shown, key=lambda job: job.state != RUNNING) + finished[:LATEST]:
            yield ""
            yield f"{job.name}  {describe(job)}"
            found = curves(job)
            names = [name for name in CURVES if name in found]
            names = (names + [name for name in found if name not in names])[:SHOWN]
            width = max(map(len, names), default=0)
            for name in names:
                values = [value for _, _, value in found[name]]
                yield f"  {name:{width}}  {sparkline(values, steps)}  {values[-1]:.4g}"
        if len(finished) > LATEST:
            yield f"\nand {len(finished) - LATEST} more that are finished"

    def _summary(self) -> str:
        states = [job.state for job in self.jobs]
        counts = [f"{states.count(one)} {one}" for one in dict.fromkeys(states) if one not in (FINISHED, WAITING)]
        counts.append(f"{states.count(FINISHED)} of {len(states)} jobs finished")
        whole = sum(job.work.seconds for job in self.jobs)
        percent = 100 if self.is_done else int(100 * sum(job.done for job in self.jobs) / whole)
        return f"{self.target}: {', '.join(counts)}, {percent} % of the training work"


def state(live: Live, date: float) -> str:
    """`running`, `stopped`, `failed`, `killed`, or for how long nothing was heard of it."""
    if live.state != RUNNING:
        return live.state
    if live.host == os.uname().nodename:
        with suppress(PermissionError):  # of another user, who is there
            try:
                os.kill(live.process, 0)
            except ProcessLookupError:
                return KILLED
        return RUNNING
    silence = time.time() - date
    return f"silent for {clock(silence)}" if silence > max(SILENT, 5 * live.pause) else RUNNING


def describe(job: Seen) -> str:
    """State, epoch, share of the work, pace and time to go of a job."""
    live = job.live
    if live is None:
        return job.state
    at, epoch = live.position
    name, epochs = live.phases[at][:2] if at < len(live.phases) else live.phases[-1][:2]
    now = min(epoch + 1, epochs) if at < len(live.phases) else epochs
    trial = f"trial {live.trial + 1} of {live.trials}, " if live.trials else ""
    parts = [job.state, f"{trial}{name} epoch {now} of {epochs}", f"{int(100 * job.done / job.work.seconds)} %"]
    trained = _epochs(live)
    parts += [f"{live.seconds / trained:.2g} s an epoch"] if trained and not live.trials else []
    worked = job.done - job.work.done_before(live)
    if job.state == RUNNING and worked > 0.02 * job.work.seconds:
        parts.append(f"about {duration((job.work.seconds - job.done) * live.seconds / worked)} to go")
    if live.alive < live.members:
        parts.append(f"{live.members - live.alive} of {live.members} networks diverged")
    parts += [f"on {live.host}"] if live.host != os.uname().nodename else []
    return ", ".join(parts)


def _epochs(live: Live) -> float:
    """Epochs of all phases that this process has trained."""

    def behind(position: Sequence[int]) -> int:
        return sum(phase[1] for phase in live.phases[: position[0]]) + position[1]

    return behind(live.position) - behind(live.begun)


def curves(job: Seen) -> Curves:
    """Curves of a job, as it says, or from its result."""
    if job.live or job.state != FINISHED:
        return job.live.curves if job.live else {}
    if job.read[0] != job.date:
        job.read = job.date, _of_result(Path(job.path))
    return job.read[1]


def _of_result(path: Path) -> Curves:
    from credit.watching import curves

    try:
        too_large = path.suffix != ".jsonl" or path.stat().st_size > LARGEST
        return {} if too_large else curves.Curves(read_result(path)[1]).rows()
    except (OSError, DataError):  # `verify` says what is wrong with it
        return {}


def sparkline(values: Sequence[float], steps: str, length: int = LENGTH) -> str:
    """A curve as text: each sign stands for the mean of as many values as there are more than signs."""
    count = min(length, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in zip(edges, edges[1:])]
    low, high = min(means), max(means)
    scale = (len(steps) - 1) / (high - low) if high > low else 0.0
    return "".join(steps[round((mean - low) * scale)] for mean in means)


def _date(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


# ---- the command


def show_watch(present: Present, target: str, once: bool) -> int:
    """Show the jobs of a target until all are finished or Ctrl-C; once, or where standard output is no terminal, once.

    Raises ConfigError for what is no target.
    """
    target = as_target(target)
    watch = Watch(present.of(target), target)
    steps = STEPS[0] if "utf" in (sys.stdout.encoding or "").lower() else STEPS[1]
    if once or not sys.stdout.isatty():
        watch.look()
        print("\n".join(watch.lines(steps)))
    else:
        with suppress(KeyboardInterrupt):
            _follow(watch, steps)
    return GOOD


def _follow(watch: Watch, steps: str) -> None:
    from rich.console import Console
    from rich.live import Live as Screen

    console = Console()
    with Screen(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as screen:
        while True:
            watch.look()
            _draw(screen, list(watch.lines(steps)), console.height)
            if watch.is_done:
                return
            time.sleep(AFRESH)


def _draw(screen: Screen, lines: list[str], height: int) -> None:
    from rich.text import Text

    rest = len(lines) - (height - 1)
    lines = [*lines[: height - 2], f"… {rest + 1} more lines: credit watch --once"] if rest > 0 else lines
    screen.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
