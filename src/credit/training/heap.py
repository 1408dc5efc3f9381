"""Freed memory stays with the process.

By default the GNU C library gives large pieces of memory back to the system as soon as they are free. An update frees
and asks for the same tens of megabytes every time, so that the system clears thousands of pages for each: half of the
time of a convolutional net of the size of LeNet's first layer (`credit.bench.heap`).
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 32 * 2**20  # bytes: larger ones still come from the system one by one; older libraries take no higher limit
SPARE = 512 * 2**20  # bytes at the end of the heap that are kept


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory; False where it cannot (macOS, musl).

    For the whole process and for good; it goes before MALLOC_ variables of the environment.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Either setting fixes the other one, which then must not stay at its small default.
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, SPARE))
