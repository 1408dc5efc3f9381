"""Loops compiled for the CPU.

Modules of compiled loops are imported where the first loop runs, not before: the compiler takes a while to load.
"""

from __future__ import annotations

import numba


def compiled(function):
    """`numba.njit`, kept on disk where a folder for it can be written."""
    options = {"error_model": "numpy", "nogil": True}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package nor the user's cache folder is writable: compile in every process
        return numba.njit(**options)(function)
