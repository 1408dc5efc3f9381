"""Where a test computes: on a GPU, or, so that the tests themselves are tested, somewhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Place:
    """A device by the name that torch knows."""

    name: str

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, what makes the host wait for the device is an error."""
        if self.name != "cuda":
            yield
            return
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def seconds(self, run: Callable[[], Any], warm: int = 3, repeats: int = 20) -> float:
        """Median time of `run`, after `warm` calls whose time does not count."""
        times = []
        for k in range(warm + repeats):
            self.settle()
            start = time.perf_counter()
            run()
            self.settle()
            if k >= warm:
                times.append(time.perf_counter() - start)
        return sorted(times)[len(times) // 2]

    def settle(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.name == "cuda":
            torch.cuda.synchronize()


CPU = Place("cpu")


def apart(found: Any, expected: Any) -> float:
    """The largest difference of two nested dicts of tensors, relative to the largest number of its tensor.

    Raises AssertionError where their structure, shapes or types differ, or where one has a number that is not finite.
    """
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        return max((apart(found[k], expected[k]) for k in expected), default=0.0)
    found, expected = found.to("cpu"), expected.to("cpu")
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if not expected.numel():
        return 0.0
    found, expected = found.double(), expected.double()
    assert bool(expected.isfinite().all()) and bool(found.isfinite().all())
    difference, size = float((found - expected).abs().max()), float(expected.abs().max())
    return difference / size if size else difference


def moved(tree: Any, place: Place) -> Any:
    """A nested dict of tensors at a place."""
    if isinstance(tree, dict):
        return {k: moved(v, place) for k, v in tree.items()}
    return tree.to(place.name) if isinstance(tree, Tensor) else tree
