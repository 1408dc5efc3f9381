"""The file in which a running job says how far it is, for its driver and for `credit watch`, on whichever machine.

    results/…/logs/live/PAPER/EXPERIMENT/DATASET/METHOD/shardS.json      of …/runs/PAPER/EXPERIMENT/DATASET/METHOD/…

It is replaced as a whole, so that a reader never sees a part, and removed by a job that has trained to its end. What a
job that was stopped or has failed leaves says so; one that was killed leaves what it wrote last.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FORMAT = 1
TENSORBOARD = "CREDIT_TENSORBOARD"  # set for jobs by the workflow where the configuration asks for event files
RUNNING, STOPPED, FAILED = "running", "stopped", "failed"


@dataclass(frozen=True)
class Live:
    """Where a training is.

    phases: [name, epochs, passes in each epoch, whether its epochs are recorded]. begun, position: (phase, epoch of it)
    that this process trained first, that it trains now. turn, batch: of the present epoch, the pass and how many of its
    mini-batches are done. epoch, epochs: recorded so far, and in all. members, alive: networks, and those that did not
    diverge. curves: {metric: [[epoch, step, value], ...]}. started: time of day, seconds: since then. pause: seconds
    until the next word is due. trial, trials, first_trial: of a search that draws its trials, the first of those that
    are trained now, all of them, and where this process began; the rest is of what is trained now.
    """

    state: str
    phases: list[list[Any]]
    begun: list[int]
    position: list[int]
    turn: int
    batch: int
    epoch: int
    epochs: int
    members: int
    alive: int
    started: float
    seconds: float
    pause: float
    host: str = field(default_factory=lambda: os.uname().nodename)
    process: int = field(default_factory=os.getpid)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    trial: int = 0
    trials: int = 0
    first_trial: int = 0


def beside(result: str | Path, *folder: str) -> Path | None:
    """The path of a result with `folder` in place of its `runs`, without its ending; None where it lies in no runs."""
    parts = Path(result).with_suffix("").parts
    if "runs" not in parts:
        return None
    at = len(parts) - 1 - parts[::-1].index("runs")
    return Path(*parts[:at], *folder, *parts[at + 1 :])


def live_path(result: str | Path) -> Path | None:
    """Where the job that makes a result says how far it is; None for one that lies in no runs."""
    place = beside(result, "logs", "live")
    return place and place.with_name(f"{place.name}.json")


def write(path: Path, live: Live) -> None:
    """Replace what the file says. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{live.host}.{live.process}.part")  # two copies of a job may write
    try:
        part.write_text(json.dumps({"format": FORMAT, **asdict(live)}), encoding="utf-8")
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def read(path: Path) -> Live | None:
    """What the file says; None where there is none, or it is not of this format."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {each.name for each in fields(Live)}
        return Live(**{k: v for k, v in content.items() if k in known}) if content.get("format") == FORMAT else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None
