"""Says while Snakemake runs how far the training work of this call is: a bar on a terminal, else lines. Loads no torch.

Snakemake says what runs, has ended and has failed; jobs say themselves how far they are, in files that all machines of
a cluster share (`credit.watching.live`). All of it happens in one thread, which ends with the call.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # read when a call trains: planning does without
    from credit.dag.standing import Job, Standing

AUTO, BAR, LINES, OFF = MODES = ("auto", "bar", "lines", "off")
AFRESH = 1.0  # seconds between two pictures of a bar
PATIENCE = 5.0  # seconds for which the end waits for a file system that does not answer


class View(Protocol):
    """Shows a standing, every `period` seconds, and at the end."""

    period: float

    def show(self, standing: Standing) -> None:
        """The present one."""

    def end(self, standing: Standing) -> None:
        """The last one."""


class Lines:
    """A line every `period` seconds, as it fits into a log."""

    def __init__(self, period: float) -> None:
        self.period, self._ended = period, False

    def show(self, standing: Standing, last: bool = False) -> None:
        """A line on standard error, in one piece; none after that which says that all jobs have ended."""
        if not self._ended:
            sys.stderr.write(f"{standing.text(last)}\n")
            sys.stderr.flush()
        self._ended = standing.ended

    def end(self, standing: Standing) -> None:
        """The last line."""
        self.show(standing, last=True)


def view(mode: str, period: float) -> View | None:
    """What shows progress: `auto` is a bar on a terminal, and lines elsewhere; `bar` draws one in any case."""
    capable = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if mode == OFF or sys.stderr is None:
        return None
    if mode == BAR or (mode == AUTO and capable):
        with suppress(ImportError):  # of an environment that is older than this need of it
            from credit.dag.bar import Bar  # rich takes its time, and is for terminals only

            return Bar(AFRESH)
    return Lines(period)


def is_quiet(workflow: Any) -> bool:
    """Whether Snakemake was asked to show no progress (`--quiet`, `--quiet progress`, `--quiet all`)."""
    return bool({one.name for one in workflow.output_settings.quiet or ()} & {"PROGRESS", "ALL"})


class Progress:
    """Of one call of Snakemake. mode: of `MODES`. period: seconds between two lines."""

    def __init__(self, mode: str, period: float) -> None:
        self.mode, self.period = mode, period
        self._thread: threading.Thread | None = None

    def begin(self, workflow: Any, jobs: Mapping[Any, Job], kept: int = 0) -> None:
        """Follow the jobs of a Snakemake workflow, {its job: ours}, from now on. kept: further ones, which the store
        has."""
        if self._thread or not jobs or workflow.touch or is_quiet(workflow):
            return
        self._view = view(self.mode, self.period)
        if self._view:
            from credit.dag.standing import Tally

            self._workflow, self._jobs, self._tally = workflow, dict(jobs), Tally(jobs.values(), kept)
            self._clock, self._ended, self._last = time.monotonic(), threading.Event(), self._tally.standing(0.0)
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Show the last standing, and leave the terminal as it was. Nothing happens the second time."""
        thread, self._thread = self._thread, None
        if thread:
            self._ended.set()
            thread.join(PATIENCE)
            with suppress(OSError, ValueError):  # nobody listens any more
                self._view.end(self._standing())

    def _run(self) -> None:
        with suppress(OSError, ValueError):
            while not self._ended.wait(self._view.period):
                self._view.show(self._standing())

    def _standing(self) -> Standing:
        """The present one; whatever is wrong with it ends no call, which is a matter of results."""
        try:
            self._last = self._look()
        except Exception as error:
            if not self._ended.is_set():
                print(f"progress is not shown any more: {error!r}", file=sys.stderr)
            self._ended.set()
        return self._last

    def _look(self) -> Standing:
        scheduler, dag = self._workflow.scheduler, self._workflow.dag
        running, failed = set(_single(scheduler.running)), set(_single(scheduler.failed))
        for each, job in self._jobs.items():
            if job.state == "finished":
                continue
            if dag.finished(each):
                job.finish()
            elif each in failed:
                job.state = "failed"
            elif each in running:
                job.look()
            elif job.state == "running":  # it has failed, and is to be tried again
                job.state = "waiting"
        return self._tally.standing(time.monotonic() - self._clock)


def _single(jobs: Iterable[Any]) -> Iterator[Any]:
    """Jobs, those of groups one by one. The set that is given may change meanwhile."""
    for job in list(jobs):
        yield from job if job.is_group() else [job]
