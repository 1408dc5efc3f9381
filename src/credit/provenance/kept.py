"""Files that a training job may write beside its result: which there are, and what they are called.

What is kept decides no number of a run: it is no part of its spec, and a file that is not asked for any more may stay.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from credit.errors import ConfigError

RESULT = ".jsonl"
# {what is kept: how its file's name ends, in place of the result's .jsonl}
KINDS = {"weights": ".safetensors", "predictions": ".predictions.safetensors", "state": ".state.safetensors"}
ENDS = rf"(?:{RESULT[1:]}|(?:(?:predictions|state)\.)?safetensors)"  # of results and what is kept, for patterns


def kept_path(result: str | Path, kind: str) -> Path:
    """Where the job that writes `result`, shardS.jsonl, keeps one of `KINDS`."""
    path = Path(result)
    return path.with_name(path.name.removesuffix(RESULT) + KINDS[kind])


def kind_of(path: str | Path) -> str | None:
    """Which of `KINDS` a file is by its name, None for others."""
    name = Path(path).name
    return next((kind for kind in ("predictions", "state", "weights") if name.endswith(KINDS[kind])), None)


def result_of(path: str | Path) -> Path:
    """The result beside which a file is kept; of others the path itself."""
    path, kind = Path(path), kind_of(path)
    return path if kind is None else path.with_name(path.name.removesuffix(KINDS[kind]) + RESULT)


def kinds(result: Path, outputs: Iterable[Path]) -> list[str]:
    """What a job that writes `result` keeps, from all files that it is to write. Raises ConfigError for other names."""
    known = {kept_path(result, kind): kind for kind in KINDS}
    for path in outputs:
        if path != result and path not in known:
            raise ConfigError(f"{path}: no file beside {result}; these are {', '.join(map(str, known))}")
    return [kind for path, kind in known.items() if path in {*outputs}]
