"""Signals that ask a training job to stop."""

from __future__ import annotations

import signal
import threading
import time

AGAIN = 2.0  # seconds after which a further Ctrl-C is meant as one; a cluster may send the same signal twice at once


class StopRequest:
    """While entered, notes that the process was asked to stop, so that the loop can do so where its state is whole.

    SIGTERM is what a cluster sends before it takes a job away; SIGINT (Ctrl-C) and SIGHUP (the terminal was closed)
    ask for the same, but a second Ctrl-C does not wait for the end of the epoch. Before `wait` there is nothing to
    save, and the process ends at once. Signals that it was started to ignore (`nohup`) stay ignored, and threads other
    than the main one get none.
    """

    def __init__(self) -> None:
        self.requested = False
        self._waits = False
        self._first = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if (before := signal.getsignal(number)) is not signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def wait(self) -> None:
        """From now on the loop looks at `requested`."""
        self._waits = True

    def _note(self, number: int, frame: object) -> None:
        again = number == signal.SIGINT and self.requested and time.monotonic() - self._first > AGAIN
        if again or not self._waits:
            raise SystemExit("stopped on request; nothing was lost, the same command goes on")
        if not self.requested:
            self.requested, self._first = True, time.monotonic()
