"""Event files of TensorBoard, of the curves of a training while it runs: for looking, since they hold float32 only.

They lie in results/…/tensorboard/PAPER/EXPERIMENT/DATASET/METHOD/shardS/, one more for every start of the job.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from credit.watching.curves import Point
from credit.watching.live import TENSORBOARD, beside

FOLDER = "tensorboard"


class Events:
    """The event file of one job: a scalar for every metric, of layers METRIC/LAYER, against the number of updates."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # A start of the job, from a checkpoint or not, has all records from the first on: what earlier files hold is
        # withdrawn as a whole, also what a job that was killed wrote after its last checkpoint.
        self._writer = SummaryWriter(str(folder), purge_step=0)
        self._steps: dict[str, int] = {}

    def add(self, found: Iterable[Point]) -> None:
        """Write further points, for whoever looks now. Points of one step, as in pre-training, follow each other."""
        for point in found:
            tag = f"{point.metric}/{point.layer}" if point.layer else point.metric
            step = max(point.step, self._steps.get(tag, -1) + 1)
            self._steps[tag] = step
            self._writer.add_scalar(tag, point.value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def events_of(result: Path, *below: str) -> Events | None:
    """The event file of a result's job, where the caller asks for one, in a folder `below` that of the job; a line
    where it cannot be."""
    folder = beside(result, FOLDER) if os.environ.get(TENSORBOARD) else None
    if folder is None:
        return None
    try:
        return Events(folder.joinpath(*below))
    except Exception as error:  # of an optional package, in whichever version: no reason to end a training
        print(f"no event files for TensorBoard: {error}", file=sys.stderr)
        return None
