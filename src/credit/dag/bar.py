"""The progress bar on a terminal, below what Snakemake prints: all training work, and the jobs that run."""

from __future__ import annotations

import io
import logging
import sys
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from credit.dag.standing import Job, Standing
from credit.dag.units import duration

NAMES = 44  # characters of a job's name, at most a third of the terminal
ROWS = 6  # jobs that are shown, at most a third of the terminal
SNAKEMAKE = "snakemake.logging"  # whose handlers have taken hold of standard error before the bar is there


class Above(io.TextIOBase):
    """A stream that prints whole lines above the bar, as they are: neither folded nor coloured otherwise."""

    def __init__(self, console: Console, stream: TextIO) -> None:
        self._console, self._stream, self._rest = console, stream, ""

    def write(self, text: str) -> int:
        """Print what of it is whole lines, and keep the rest."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)

    def flush(self) -> None:
        """Nothing: lines are printed when they end."""

    def finish(self) -> None:
        """Print what is left, without an end of line."""
        if self._rest:
            self._stream.write(self._rest)
            self._rest = ""

    def isatty(self) -> bool:
        """As the stream below."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream below."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """Of the stream below."""
        return self._stream.encoding


class Bar:
    """Draws when it is told to: it has no thread of its own."""

    def __init__(self, period: float) -> None:
        self.period = period
        self._streams = {"stderr": sys.stderr} | ({"stdout": sys.stdout} if sys.stdout.isatty() else {})
        self._console = Console(file=sys.stderr, force_terminal=True)
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="crop")),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TextColumn("{task.percentage:>3.0f} %", table_column=Column(no_wrap=True, min_width=5)),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)),
            console=self._console, auto_refresh=False, transient=True, expand=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._all = self._bar.add_task("training", total=100, note="")
        self._rows: dict[str, int] = {}
        self._above = {name: Above(self._console, stream) for name, stream in self._streams.items()}
        self._handlers: list[tuple[logging.StreamHandler, TextIO]] = []
        self._begin()

    def _begin(self) -> None:
        for name, above in self._above.items():
            setattr(sys, name, above)
        for handler in logging.getLogger(SNAKEMAKE).handlers:
            for name, stream in self._streams.items():
                if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                    handler.setStream(self._above[name])
                    self._handlers.append((handler, stream))
        self._bar.start()
        self._console.show_cursor()  # a kill leaves no terminal without one

    def show(self, standing: Standing) -> None:
        """Draw it."""
        parts = standing.text().partition(": ")[2].split(", ")
        if standing.to_go is not None:  # what is most asked for is the last that a narrow terminal cuts off
            parts = [parts[-1], *parts[:-1]]
        self._bar.update(self._all, completed=standing.percent, note=", ".join(parts))
        names = min(NAMES, self._console.width // 3)
        shown = standing.running[: max(1, min(ROWS, self._console.height // 3))]
        for result in self._rows.keys() - {job.result for job in shown}:
            self._bar.remove_task(self._rows.pop(result))
        for job in shown:
            if job.result not in self._rows:
                self._rows[job.result] = self._bar.add_task("", total=job.work.seconds, note="")
            self._bar.update(
                self._rows[job.result],
                description=f"  {shortened(job.name, names)}",
                completed=job.done,
                note=note(job),
            )
        self._bar.refresh()

    def end(self, standing: Standing) -> None:
        """Take it away, give the streams back, and leave a line."""
        self._bar.stop()
        for handler, stream in self._handlers:
            handler.setStream(stream)
        for name, stream in self._streams.items():
            if getattr(sys, name) is self._above[name]:
                setattr(sys, name, stream)
            self._above[name].finish()
        self._console.print(standing.text(last=True), highlight=False, soft_wrap=True)


def shortened(name: str, length: int) -> str:
    """A name, or the end of it, which tells one job from another."""
    return name if len(name) <= length else f"…{name[len(name) - max(length - 1, 0) :]}"


def note(job: Job) -> str:
    """What a job does, in a few words."""
    if job.live is None:
        return "starts"
    phases, (at, epoch) = job.live.phases, job.live.position
    if at >= len(phases):
        return "ends"
    name, epochs, _, _ = phases[at]
    left = job.time_left()
    to_go = "" if left is None else f"about {duration(left)} to go, "
    trial = f"trial {job.live.trial + 1} of {job.live.trials}, " if job.live.trials else ""
    return f"{to_go}{trial}{name} epoch {min(epoch + 1, epochs)} of {epochs}"
