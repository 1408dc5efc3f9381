"""Signals that ask a call of Snakemake to stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from credit.dag.stopping import Stop, say_interrupts

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def snakemake() -> Iterator[Callable[..., list[int]]]:
    """Its handlers of SIGINT and SIGTERM, and SIGHUP as given; returns the signals that reach them from then on."""
    before = {number: signal.getsignal(number) for number in WATCHED}

    def start(hangup: signal.Handlers = signal.SIG_DFL) -> list[int]:
        reached: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: reached.append(number))
        signal.signal(signal.SIGHUP, hangup)
        return reached

    yield start
    for number, handler in before.items():
        signal.signal(number, handler)


def sent(*numbers: signal.Signals) -> bool:
    """Whether a stop is seen after these signals."""
    stop = Stop()
    stop.watch()
    for number in numbers:
        os.kill(os.getpid(), number)
    return stop.requested


def test_ctrl_c_and_termination_reach_snakemake(snakemake):
    reached = snakemake()
    assert not sent()
    assert sent(signal.SIGINT)
    assert sent(signal.SIGTERM)
    assert set(reached) == {signal.SIGINT, signal.SIGTERM}


def test_a_second_ctrl_c_is_for_the_jobs_and_a_third_reaches_snakemake(snakemake):
    reached = snakemake()
    assert sent(signal.SIGINT, signal.SIGINT)
    assert reached == [signal.SIGINT]
    reached = snakemake()
    assert sent(signal.SIGINT, signal.SIGINT, signal.SIGINT)
    assert reached == [signal.SIGINT] * 2


def test_a_closed_terminal_ends_snakemake_as_a_termination_does(snakemake):
    reached = snakemake()
    assert sent(signal.SIGHUP)
    assert reached == [signal.SIGHUP]  # the handler of SIGTERM, called with the signal's own number


def test_a_closed_terminal_is_ignored_under_nohup(snakemake):
    reached = snakemake(signal.SIG_IGN)
    assert not sent(signal.SIGHUP)
    assert reached == []


def test_an_interrupt_of_planning_is_one_line_and_other_errors_are_shown(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: shown.append(error))
    say_interrupts()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capsys.readouterr().err == "Stopped on request.\n"
    assert not shown
    sys.excepthook(ValueError, error := ValueError(), None)
    assert shown == [(ValueError, error, None)]
