"""What it costs to give freed memory back: updates of a convolutional net with and without `credit.training.heap`.

The setting is for a whole process and cannot be undone, so that each is timed in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

import torch

from credit.bench.base import Row
from credit.bench.pepita import CASES, steps
from credit.training.heap import keep_freed_memory

CASE = "conv, MNIST"
SETTINGS = ("kept", "given back")


def measure(setting: str, count: int) -> dict[str, float]:
    """{"ms", "faults"}: CPU time and page faults of an update by BP in this process."""
    torch.set_num_threads(1)
    if setting == "kept":
        keep_freed_memory()
    shape, batch_size, *_ = CASES[CASE]
    run = steps(shape, batch_size, "bp", count)
    run()
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run()
    seconds, faults = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {"ms": 1e3 * seconds / count, "faults": faults / count}


def run(count: int = 30) -> list[Row]:
    """Rows of this benchmark."""
    # The scripts of the workflow find the package by their path, not by an installation.
    rows, environment = [], os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for setting in SETTINGS:
        command = [sys.executable, "-m", __name__, setting, str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        found = json.loads(done.stdout)
        name = f"{CASE}: one update by bp, freed memory {setting}"
        rows += [Row("heap", name, found["ms"], "ms"), Row("heap", name, found["faults"], "page faults")]
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
