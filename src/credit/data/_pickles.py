"""Reads pickled batches of images without running code from them."""

from __future__ import annotations

import _codecs
import pickle
from pathlib import Path

import numpy as np

from credit.errors import DataError

_MULTIARRAY = np._core.multiarray
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _codecs.encode,  # how Python 3 writes bytes in protocol 2
    **{
        (module, name): getattr(_MULTIARRAY, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")  # names before and since numpy 2
        for name in ("_reconstruct", "scalar")
    },
    **{
        (module, "_frombuffer"): np._core.numeric._frombuffer
        for module in ("numpy.core.numeric", "numpy._core.numeric")
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it refers to {module}.{name}; only numpy arrays and plain values may be in it"
            )
        return _ALLOWED[module, name]


def load(path: Path) -> dict:
    """The dictionary pickled at `path`, by Python 2 or 3: arrays, lists, numbers and strings, with str keys.

    Strings that Python 2 wrote come back as bytes. Raises DataError naming the file for anything else.
    """
    try:
        with path.open("rb") as file:
            batch = _Unpickler(file, encoding="bytes").load()
        return {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
    ) as e:
        raise DataError(f"{path}: not a pickled batch of images: {e}; replace it by the original file") from e
