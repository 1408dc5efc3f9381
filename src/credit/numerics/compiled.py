"""Loops compiled for the CPU. Nets and random draws import theirs when the first runs: the compiler is slow to load."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import numba

from credit.provenance.snapshot import code_digest


def compiled(function):
    """`numba.njit`, kept on disk where a folder for it can be written.

    What is kept belongs to the source of the function's module and of all that this imports: numba alone looks at the
    text of the one file, and would run the old code of a helper that was edited elsewhere.
    """
    options = {"error_model": "numpy", "nogil": True}
    try:
        return _guarded(numba.njit(cache=True, **options)(function))
    except RuntimeError:  # neither the package nor the user's cache folder is writable: compile in every process
        return numba.njit(**options)(function)


def _guarded(dispatcher):
    """Let one process after the other look into the folder, and take what cannot be read for absent.

    numba writes a list of files and then the file: of two jobs that compile for different precisions at the same time,
    one would leave a list that names the other's file, and every job after them would stop.
    """
    cache, module = dispatcher._cache, dispatcher.py_func.__module__

    @functools.cache  # when the first loop is asked for: digests take a while
    def stamp() -> None:
        cache._cache_file._source_stamp = (cache._cache_file._source_stamp, closure_digest(module))

    for name in ("load_overload", "save_overload"):
        setattr(cache, name, _attempt(getattr(cache, name), cache, stamp))
    return dispatcher


def _attempt(function, cache, stamp):
    """`function` of a cache under its lock; None where a damaged list or file, or a full disk, stands in its way."""
    index, folder = Path(cache._cache_file._index_path), Path(cache.cache_path)

    def run(*args):
        with lock(folder):
            stamp()
            try:
                return function(*args)
            except Exception:  # whatever unpickling a damaged file raises
                with contextlib.suppress(OSError):
                    index.unlink(missing_ok=True)
            with contextlib.suppress(Exception):
                return function(*args)
        return None

    return run


def closure_digest(module: str) -> str:
    """Digest of a module of this package with all that it imports, "" for a function from elsewhere."""
    return code_digest(module) if module.partition(".")[0] == __name__.partition(".")[0] else ""


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
