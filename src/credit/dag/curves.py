"""Whether jobs can write event files for TensorBoard where the configuration asks for them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

PACKAGE = "tensorboard"


def asked_for() -> str:
    """What a shell says before a job that is to write event files."""
    from credit.watching.live import TENSORBOARD  # planning does without

    return f"export {TENSORBOARD}=1; "


def unusable_tensorboard(environment: Path | bool | None = None) -> list[str]:
    """What is wrong, a line; nothing where the package is there.

    environment: file of the conda environment in which jobs run; without one they run in this one.
    """
    if environment:
        if re.search(rf"^\s*-\s*{PACKAGE}\b", Path(environment).read_text(encoding="utf-8"), flags=re.MULTILINE):
            return []
        return [
            f"config: tensorboard = true: {environment} lists no {PACKAGE}, so that jobs write no event files; add it "
            "there (which is another environment: results are made again), or leave out --sdm conda"
        ]
    if importlib.util.find_spec(PACKAGE):
        return []
    return [f"config: tensorboard = true: needs the package {PACKAGE}; pip install {PACKAGE}, or set it to false"]
