"""Freed memory that stays with the process, seen from the page faults of the next allocation."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from credit.heap import keep_freed_memory

keep = sys.argv[1] == "keep"
if keep and not keep_freed_memory():
    print("none")
    raise SystemExit
torch.set_num_threads(1)

def step():
    tensors = [torch.full((size, 2**18), 1.0) for size in (8, 40, 3)]  # MiB

for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""


def faults(setting: str) -> str:
    done = subprocess.run([sys.executable, "-c", PROGRAM, setting], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_memory_that_is_freed_is_there_for_the_next_update():
    kept = faults("keep")
    if kept == "none":
        pytest.skip("this C library has no mallopt")
    assert int(kept) < 100 < 2000 < int(faults("default"))
