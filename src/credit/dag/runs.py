"""Named runs, each with a folder of its own below `results/`: what may be a name, and whose a path is.

Loads no torch.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from credit.config.paths import NOTHING
from credit.errors import ConfigError

RESULTS = "results"
STORE = f"{RESULTS}/store"  # of finished blocks; all runs and scales share it
SCALES = ("paper", "quick")
KINDS = ("runs", "tables", "figures")  # folders of results, in the folder of every run and scale
TAKEN = frozenset(
    {*KINDS, *SCALES, "bench", "data", "logs", "records", "store", "tensorboard"}
)  # what stands in `results/` itself
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
AS_CONFIGURED = ""  # the run of a path that names none

_WANTED = "must be text that begins with a letter, then letters, digits, - and _"


def root(run: str | None, scale: str) -> str:
    """Folder of all results of a run at a scale."""
    return "/".join([RESULTS, *([run] if run else []), *([scale] if scale != SCALES[0] else [])])


def run_name(value: Any, data_folder: str, where: str) -> str | None:
    """A configured name, None for none. Raises ConfigError, naming `where`, for what cannot be one.

    data_folder: of the data sets, whose name below `results/` is taken too.
    """
    if value is None or (isinstance(value, str) and value.strip() in NOTHING):
        return None
    if not isinstance(value, str) or (NAME.fullmatch(value) and _read_otherwise(value)):
        changed = "numbers, dates and words such as yes or nan are read as something else (2024_01 as 202401)"
        raise ConfigError(f"{where}: run = {value}: {_WANTED}; {changed}")
    if not NAME.fullmatch(value):
        raise ConfigError(f"{where}: run = {value!r}: {_WANTED}, 100 at most")
    if value.lower() in {*TAKEN, _below_results(data_folder)}:
        raise ConfigError(f"{where}: run = {value!r}: {RESULTS}/{value.lower()} is something else; take another name")
    return value


def _read_otherwise(text: str) -> bool:
    """Whether a text alone is no text in YAML, or a number on the command line: `on`, `null`, `nan`."""
    try:
        float(text)
    except ValueError:
        return yaml.safe_load(text) != text
    return True


def _below_results(folder: str) -> str:
    return Path(os.path.relpath(folder, RESULTS)).parts[0].lower() if folder else ""


def place_of(path: str | Path) -> tuple[str | None, str | None]:
    """(scale, run) of a result, by its path: quick for …/quick/runs/…, the run NAME for results/NAME/runs/….

    The scale is None where the path does not say it; the run is None for none, `AS_CONFIGURED` where the path does not
    say.
    """
    parts = Path(path).parts
    kinds = [i for i, name in enumerate(parts) if name in KINDS and i]
    above = parts[: kinds[-1]] if kinds else ()
    scale = above[-1] if above and above[-1] in SCALES[1:] else None
    above = above[:-1] if scale else above
    if above[-1:] == (RESULTS,):
        return scale or SCALES[0], None
    if above[-2:-1] == (RESULTS,) and NAME.fullmatch(above[-1]) and above[-1] not in TAKEN:
        return scale or SCALES[0], above[-1]
    return scale, AS_CONFIGURED
