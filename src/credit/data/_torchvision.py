"""torchvision.datasets, also beside a torch build that torchvision's compiled part does not fit.

Such a build makes `import torchvision` stop at `operator torchvision::nms does not exist`. The data sets are
pure Python and need no operator; with the schemas of the two missing ones declared, the import goes through.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from functools import cache
from types import ModuleType

from credit.data.entry import Entry

_MISSING = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library = None  # the schemas live as long as this object


@cache
def datasets() -> ModuleType:
    """The module torchvision.datasets, whichever torch build is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("torchvision.datasets")
        except RuntimeError as e:
            if _MISSING not in str(e):
                raise
        _forget_half_import()
        _declare_operators()
        return importlib.import_module("torchvision.datasets")


def _forget_half_import() -> None:
    for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        del sys.modules[name]


def _declare_operators() -> None:
    global _library
    import torch

    _library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        _library.define(operator + _SCHEMA)


def reader(entry: Entry) -> type:
    """The torchvision class of a data set."""
    return getattr(datasets(), entry.torchvision)


def raw_folder(entry: Entry) -> str:
    """Where, below its root, torchvision expects the original files of a data set."""
    return f"{entry.torchvision}/raw" if entry.format == "idx" else "."
