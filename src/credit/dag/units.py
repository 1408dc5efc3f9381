"""Seconds and bytes as people read them."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`, rounded up below an hour."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{math.ceil(seconds / 60)} min" if seconds > 60 else f"{math.ceil(seconds)} s"


def clock(seconds: float) -> str:
    """`0:40`, `12:05` or `3:30:00`, rounded down."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Bytes as `12 kB`, `3.4 MB` or `1.2 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{math.ceil(count / 1e3)} kB"
