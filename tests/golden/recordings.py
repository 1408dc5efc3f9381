"""Recorded arrays, read when they are asked for, and a note of which were.

`test_every_array.py` runs the golden tests with this module as a plugin of pytest (-p tests.golden.recordings), which
then writes down what they have read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
NOTE = "CREDIT_TEST_RECORDINGS"  # variable that names the file for the note; every test is then run in one way alone
READING = NOTE in os.environ
COMPLETE = HERE.parents[2] / "shared" / ("" if READING else "oracles")  # whole recordings, if beside the checkout
READ: dict[str, set[str]] = {}  # of the files of this folder: names of the arrays that were read


@cache
def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


class Recording(Mapping):
    """Arrays of one file, or of those whose names start with `prefix`, under the rest of their names.

    tensors: whether they come as tensors of their own memory; otherwise as they were stored.
    """

    def __init__(self, path: Path, prefix: str = "", tensors: bool = False):
        if not path.exists():
            pytest.skip(f"the complete recordings are not here ({path})")
        self.path, self.prefix, self.tensors = path, prefix, tensors
        self.names = [k.removeprefix(prefix) for k in _arrays(path) if k.startswith(prefix)]
        self.known = frozenset(self.names)

    def __getitem__(self, key: str) -> np.ndarray | torch.Tensor:
        if key not in self.known:
            raise KeyError(f"{self.prefix}{key}")
        if self.path.parent == HERE:
            READ.setdefault(self.path.name, set()).add(self.prefix + key)
        array = _arrays(self.path)[self.prefix + key].copy()
        return torch.as_tensor(array) if self.tensors else array

    def __contains__(self, key: object) -> bool:
        return key in self.known

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def under(self, prefix: str) -> Recording:
        """Those whose names start with `prefix` too."""
        return Recording(self.path, self.prefix + prefix, self.tensors)


def arrays(archive: Recording, prefix: str) -> Recording:
    """The recordings whose names start with `prefix` and a dot."""
    return archive.under(f"{prefix}.")


def agree(ours: torch.Tensor, recorded: np.ndarray | torch.Tensor, tolerance: float) -> None:
    """The largest deviation, relative to the largest entry of the recorded array, is within the tolerance.

    However small these are: what is 0 in the recording must be 0.
    """
    recorded = torch.as_tensor(recorded)
    assert ours.shape == recorded.shape
    if recorded.numel():
        worst = (ours.double() - recorded.double()).abs().max()
        scale = recorded.double().abs().max()
        assert worst <= tolerance * scale, f"deviation {float(worst):.2e} of entries up to {float(scale):.2e}"


def moved(ours: torch.Tensor, start: torch.Tensor, recorded, recorded_start, tolerance: float) -> None:
    """What an array has become since `start`, compared as a change: one that never moves would pass by its size.

    Two numbers whose difference is taken were rounded, in the recording and here: so much is allowed beside.
    """
    recorded, recorded_start = (torch.as_tensor(r) for r in (recorded, recorded_start))
    assert ours.shape == recorded.shape
    change, expected = ours.double() - start.double(), recorded.double() - recorded_start.double()
    size = float(expected.abs().max())
    lost = 4 * torch.finfo(recorded.dtype).eps * float(recorded_start.double().abs().max())
    assert size == 0 or lost < 0.1 * size, f"changes up to {size:.1e} were lost in rounding"
    worst = float((change - expected).abs().max())
    assert worst <= tolerance * size + lost, f"deviation {worst:.1e} of changes up to {size:.1e}"


PLACES = pytest.mark.parametrize("place", [None] if READING else [None, 0, 1], ids=lambda at: f"member{at}")


def beside(array: torch.Tensor, place: int | None) -> torch.Tensor:
    """A stack of two, the array at `place` and another like it; without a place, a copy."""
    if place is None:
        return array.clone()
    other = 0.9 * array.flip(-1) if array.is_floating_point() else array
    return torch.stack([array, other] if place == 0 else [other, array])


def alone(array: torch.Tensor, place: int | None) -> torch.Tensor:
    """The member at `place` of a stack."""
    return array if place is None else array[place]


def both(value: float, place: int | None) -> float | list[float]:
    """A hyperparameter of the member at `place` beside another one."""
    return value if place is None else [value, 0.7 * value] if place == 0 else [0.7 * value, value]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was read, where a file for it is named."""
    if READING:
        found = {name: sorted(keys) for name, keys in READ.items()}
        Path(os.environ[NOTE]).write_text(json.dumps(found))
