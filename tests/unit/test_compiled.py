"""Compiled loops on disk: one process after the other."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

from credit.numerics import compiled
from credit.provenance.sources import PACKAGE, Sources

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


HELPER = """
from credit.numerics.compiled import compiled
@compiled
def helper(x):
    return x * {factor}
"""
CALLER = """
from credit.numerics.compiled import compiled
from credit.numerics.helper import helper
@compiled
def caller(x):
    return helper(x) + 1
if __name__ == "__main__":
    from credit.numerics.caller import caller
    print(caller(3.0), sum(caller.stats.cache_hits.values()))
"""


def copied_package(tmp_path):
    """A copy of the package with two compiled loops more, and a function that runs one: (result, cache hits)."""
    root = tmp_path / "src"
    shutil.copytree(PACKAGE, root / "credit", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "credit/numerics/helper.py").write_text(HELPER.format(factor=2))
    (root / "credit/numerics/caller.py").write_text(CALLER)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(root)}

    def run() -> tuple[float, int]:
        command = [sys.executable, "-m", "credit.numerics.caller"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        value, hits = done.stdout.split()
        return float(value), int(hits)

    return root / "credit", run


def test_an_edit_in_a_helper_of_another_module_is_compiled_anew(tmp_path):
    package, run = copied_package(tmp_path)
    assert [run(), run()] == [(7.0, 0), (7.0, 1)]
    caller = package / "numerics/caller.py"
    before = caller.stat()
    (package / "numerics/helper.py").write_text(HELPER.format(factor=5))
    assert (caller.stat().st_mtime, caller.stat().st_size) == (before.st_mtime, before.st_size)
    assert [run(), run()] == [(16.0, 0), (16.0, 1)]
    options = package / "numerics/compiled.py"
    options.write_text(options.read_text().replace('"nogil": True', '"nogil": False'))
    assert [run(), run()] == [(16.0, 0), (16.0, 1)]
    options.write_text(options.read_text() + "\n\n# a comment\n")
    assert run() == (16.0, 1)


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"cut off"])
def test_a_damaged_cache_is_compiled_again_and_mended(tmp_path, ending, content):
    _, run = copied_package(tmp_path)
    assert [run(), run()] == [(7.0, 0), (7.0, 1)]
    for path in (tmp_path / "cache").rglob(f"*{ending}"):
        path.write_bytes(content)
    assert [run(), run()] == [(7.0, 0), (7.0, 1)]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled.numba.config, "CACHE_DIR", str(tmp_path))

    def triple(x):
        return x * 3

    loop = compiled.compiled(triple)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop._cache._cache_file, "_save_data", full)
    assert loop(2.0) == 6.0


LOOPS = [
    name
    for name, path in Sources().modules.items()
    if "\n@compiled\n" in path.read_text(encoding="utf-8") and name != "credit.numerics.compiled"
]


@pytest.mark.parametrize("module", LOOPS)
def test_every_loop_on_disk_belongs_to_all_that_its_module_imports(module):
    found = [v for v in vars(importlib.import_module(module)).values() if isinstance(v, Dispatcher)]
    loops = [v for v in found if not isinstance(v._cache, NullCache)]  # others are a part of those that call them
    assert loops
    for loop in loops:
        sources = loop.py_func.__module__
        loop._cache.load_overload((), compiled.numba.core.registry.cpu_target.target_context)
        assert loop._cache._cache_file._source_stamp[1] == compiled.closure_digest(sources) != ""
