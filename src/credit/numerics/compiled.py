"""Loops compiled for the CPU. Nets and random draws import theirs when the first runs: the compiler is slow to load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numba


def compiled(function):
    """`numba.njit`, kept on disk where a folder for it can be written."""
    options = {"error_model": "numpy", "nogil": True}
    try:
        return _one_at_a_time(numba.njit(cache=True, **options)(function))
    except RuntimeError:  # neither the package nor the user's cache folder is writable: compile in every process
        return numba.njit(**options)(function)


def _one_at_a_time(dispatcher):
    """Let one process after the other look into the folder.

    numba writes a list of files and then the file: of two jobs that compile for different precisions at the same time,
    one would leave a list that names the other's file, and every job after them would stop.
    """
    cache = getattr(dispatcher, "_cache", None)
    for name in ("load_overload", "save_overload"):
        if hasattr(cache, name):
            setattr(cache, name, _locked(getattr(cache, name), Path(cache.cache_path)))
    return dispatcher


def _locked(function, folder: Path):
    def run(*args):
        with lock(folder):
            return function(*args)

    return run


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the lock file of a folder, where the file system knows locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((folder / "numba.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed
        yield
