"""Compiled loops on disk: one process after the other."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from credit.numerics import compiled

fcntl = pytest.importorskip("fcntl")

PROGRAM = """
import sys
import numpy as np
from credit.optim.loops import sgd

p, g = (np.ones((1, 3), sys.argv[1]) for _ in range(2))
sgd(p, g, np.ones((4, 1, 1), sys.argv[1]), 0)
"""


def test_lists_and_files_are_written_under_a_lock(tmp_path, monkeypatch):
    events, flock = [], fcntl.flock
    monkeypatch.setattr(compiled.numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", lambda *args: (events.append("lock"), flock(*args)))

    def double(x):
        return x * 2

    loop = compiled.compiled(double)
    files = loop._cache._cache_file
    for name in ("_load_index", "_save_index", "_save_data"):
        plain = getattr(files, name)
        monkeypatch.setattr(files, name, lambda *args, n=name, f=plain: (events.append(n), f(*args))[1])
    assert loop(np.ones(2)).tolist() == [2, 2]
    assert events == ["lock", "_load_index", "lock", "_load_index", "_save_index", "_save_data"]


def test_a_folder_without_locks_is_used_all_the_same(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with compiled.lock(tmp_path / "new"):
        pass
    (tmp_path / "file").touch()
    with compiled.lock(tmp_path / "file" / "below"):
        pass


def test_jobs_of_both_precisions_share_a_cold_folder(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for _ in range(2):
        jobs = [
            subprocess.Popen([sys.executable, "-c", PROGRAM, dtype], env=environment)
            for dtype in ("float32", "float64") * 2
        ]
        assert [job.wait() for job in jobs] == [0] * 4
