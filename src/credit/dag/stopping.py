"""What a call of Snakemake says at its end: that a job failed, or that it was asked to stop and how to go on."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

from credit.training.copies import MARK


def mark_call() -> None:
    """Mark this call, so that a job knows the result of another copy of itself; jobs inherit the mark."""
    os.environ[MARK] = uuid.uuid4().hex


def say_interrupts() -> None:
    """Have Ctrl-C while Snakemake plans end in one line, not in a screen of its inner life. The exit code stays."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("Stopped on request.", file=sys.stderr)
        else:
            before(kind, error, trace)

    sys.excepthook = hook


class Stop:
    """Whether this call was asked to stop, by Ctrl-C, SIGTERM or SIGHUP (the terminal was closed).

    Snakemake treats the first Ctrl-C and SIGTERM as before. It knows no SIGHUP, which would end it with its lock left
    behind: that counts as SIGTERM, unless it is ignored (`nohup`). A second Ctrl-C is for the jobs, which get it from
    the terminal: in the midst of ending, Snakemake would break off with a screen of tracebacks. The third reaches it.
    """

    def __init__(self) -> None:
        self.requested = False
        self._interrupts = 0

    def watch(self) -> None:
        """Look at the signals from now on. Snakemake has set its own handlers by then."""
        if threading.current_thread() is threading.main_thread():
            end = signal.getsignal(signal.SIGTERM)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                before = signal.getsignal(number)
                if number == signal.SIGHUP and before == signal.SIG_DFL:
                    before = end
                if callable(before):
                    signal.signal(number, self._noting(before))

    def _noting(self, before: Callable[[int, Any], Any]) -> Callable[[int, Any], None]:
        def note(number: int, frame: Any) -> None:
            self.requested = True
            _hide_failures()
            self._interrupts += number == signal.SIGINT
            if number != signal.SIGINT or self._interrupts != 2:
                before(number, frame)

        return note

    def last_words(self, logs: str) -> str:
        """What is printed where not all was made."""
        if self.requested:
            command = shlex.join(["snakemake", *sys.argv[1:]])
            return f"Stopped on request. Finished results and checkpoints are kept; to go on: {command}"
        return (
            f"A job failed; its log is named above (all logs: {logs}). Finished results are kept: mend it, run again."
        )


def _hide_failures() -> None:
    """For Snakemake a job that was stopped has failed, which fills a screen and says nothing: leave it out."""
    for handler in logging.getLogger("snakemake.logging").handlers:
        handler.addFilter(_is_no_failure)


def _is_no_failure(record: logging.LogRecord) -> bool:
    event = getattr(getattr(record, "event", None), "name", "")
    return event not in ("JOB_ERROR", "GROUP_ERROR") and not str(record.msg).startswith("RuleException:")
