"""Freed memory stays with the process.

By default the GNU C library gives large blocks back to the system as soon as they are free. An update frees and asks
for the same tens of megabytes every time, so that the system clears thousands of pages for each: half of the time of a
convolutional net of the size of LeNet's first layer (`credit.bench.heap`).
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
BLOCK = 64 * 2**20  # bytes: larger blocks, such as a data set's, still come from the system one by one
SPARE = 512 * 2**20  # bytes at the end of the heap that are kept


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory, for this process; False where it cannot (macOS, musl)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(M_MMAP_THRESHOLD, BLOCK), mallopt(M_TRIM_THRESHOLD, SPARE)])
