"""Freed memory that stays with the process, seen from the page faults of the next allocation."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from credit.bench import heap as bench
from credit.training import heap, job

PROGRAM = """
import resource, sys
import torch
from credit.training.heap import keep_freed_memory

keep = sys.argv[1] == "keep"
if keep and not keep_freed_memory():
    print("none")
    raise SystemExit
torch.set_num_threads(1)

def step():
    tensors = [torch.full((8, 2**18), 1.0) for _ in range(16)]  # 8 MiB each

for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""


def faults(setting: str) -> str:
    # The library's default moves with what has been freed before; this one gives everything back.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", PROGRAM, setting]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.strip()


def test_memory_that_is_freed_is_there_for_the_next_update():
    kept = faults("keep")
    if kept == "none":
        pytest.skip("this C library has no mallopt")
    assert int(kept) < 100 < 2000 < int(faults("default"))


def test_a_library_that_refuses_the_limit_is_left_as_it_is(monkeypatch):
    calls = []

    class Library:
        @staticmethod
        def mallopt(name, value):
            calls.append(name)
            return 0

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Library)
    assert not heap.keep_freed_memory() and calls == [heap.M_MMAP_THRESHOLD]
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    assert not heap.keep_freed_memory()


def test_a_training_job_keeps_its_memory(monkeypatch):
    class Kept(Exception):
        pass

    def keep():
        raise Kept

    monkeypatch.setattr(job, "keep_freed_memory", keep)
    with pytest.raises(Kept):
        job.run_training({}, None, "cpu", __file__)


def test_the_benchmark_measures_both_in_processes_of_their_own():
    kept, faults_kept, given_back, _ = bench.run(count=2)
    assert kept.unit == given_back.unit == "ms" and min(kept.value, given_back.value) > 0
    assert faults_kept.unit == "page faults" and faults_kept.value >= 0
