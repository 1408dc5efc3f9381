"""Credit assignment without backpropagation: five papers, one code base.

Importing the package loads nothing else; names resolve on first use, because every cluster job parses the
Snakefile, which must not wait for torch.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_EXPORTS = {
    "dense": "credit.nets.dense",
    "conv": "credit.nets.conv",
    "resnet": "credit.nets.resnet",
    "from_torch": "credit.nets.sequential",
    "to_torch": "credit.nets.sequential",
    "method": "credit.methods.base",
    "Batch": "credit.methods.base",
    "Rand": "credit.numerics.rand",
    "optimizer": "credit.optim",
    "experiment": "credit.interactive.specs",
    "train": "credit.interactive.runs",
    "load": "credit.interactive.runs",
}


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'credit' has no attribute {name!r}; it has: {', '.join(sorted(_EXPORTS))}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__():
    return sorted([*globals(), *_EXPORTS])
