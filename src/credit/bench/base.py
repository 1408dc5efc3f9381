"""Measuring: medians of interleaved runs, so that a machine whose speed drifts still gives true ratios."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from credit.training.heap import keep_freed_memory


@dataclass(frozen=True)
class Row:
    """One measured quantity. target: the bound it is held against, as text like "<= 1.03", or ""."""

    benchmark: str
    quantity: str
    value: float
    unit: str
    target: str = ""

    @property
    def met(self) -> str:
        """yes, no, or "" without a target."""
        if not self.target:
            return ""
        sign, _, bound = self.target.partition(" ")
        return "yes" if (self.value <= float(bound) if sign == "<=" else self.value >= float(bound)) else "no"


def medians(
    runs: dict[str, Callable[[], None]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of every run, in turn (A B C A B C …) after one warm-up each, with the memory settings of a job.

    clock: `time.process_time` for CPU time, on a machine that others use too.
    """
    keep_freed_memory()
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], a: str, b: str) -> float:
    """Median over the pairs of a's time to b's."""
    return statistics.median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))


def machine() -> str:
    """Processor, cores and torch build, for the table."""
    model = next(
        (line.partition(":")[2].strip() for line in cpu_info() if line.startswith("model name")), platform.processor()
    )
    try:
        import torch

        build = f", torch {torch.__version__}"
    except ImportError:
        build = ""
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}{build}"


def cpu_info() -> list[str]:
    """Lines of /proc/cpuinfo, nothing where there is none."""
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
