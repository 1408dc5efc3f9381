"""A prepared data set in memory, and its split into training and validation. numpy only."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from credit.data.seal import check, opened, state
from credit.errors import DataError

_SPLIT_SEED = 20240229  # fixed: every run, seed and method validates on the same images
_DAMAGES = (OSError, ValueError, KeyError, AttributeError, EOFError, TypeError, zipfile.BadZipFile)
_MEMBERS = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (N, C, H, W) with grey levels 0 to `scale`, labels (N,) from 0 to n_classes - 1.

    Those of the user's own may be float32; `scale` is then what becomes 1. names: of the classes, where they are known.
    held_out: the last training samples, so many, are those that the user means for validation.

    verified: the original files are the published ones. raw: sha256 of every original file, by name. declared: digest
    of the entry of the catalogue. state: digest of all arrays.
    """

    name: str
    n_classes: int
    scale: float
    verified: bool
    raw: dict[str, str]
    declared: str
    state: str
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    names: tuple[str, ...] = ()
    held_out: int = 0


def load(path: str | Path) -> Dataset:
    """Read a file that `credit.data.prepare` wrote. Raises DataError if it is missing, damaged or foreign."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file; expected a prepared data set, {_rebuild(path)}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            meta = opened(str(archive["meta"]))
            arrays = {name: archive[name] for name in _MEMBERS}  # checks the CRC of each
        _check(arrays)
        check(arrays, meta["arrays"])
        facts = {key: meta[key] for key in ("name", "scale", "verified", "raw", "declared")}
        own = {"names": tuple(meta.get("names", ())), "held_out": meta.get("held_out", 0)}
        return Dataset(n_classes=meta["classes"], state=state(meta), **facts, **arrays, **own)
    except _DAMAGES as e:
        raise _damaged(path, e) from e


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(f"{path}: damaged, or not a prepared data set of this version ({reason}); {_rebuild(path)}")


def _check(arrays: dict[str, np.ndarray]) -> None:
    for split in ("train", "test"):
        x, y = arrays[f"{split}_x"], arrays[f"{split}_y"]
        if x.dtype not in (np.uint8, np.float32) or x.ndim != 4 or y.shape != x.shape[:1]:
            raise ValueError(
                f"{split}: expected images uint8 or float32 (N, C, H, W), found {x.dtype} {x.shape}, labels {y.shape}"
            )


def state_of(path: Path) -> str:
    """Digest of the arrays that a prepared data set says it holds. Raises DataError for what is none."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return state(opened(str(archive["meta"])))
    except _DAMAGES as e:
        raise _damaged(path, e) from e


def _rebuild(path: Path) -> str:
    return f"rebuild it: snakemake --cores 1 --force {path}"


def split(dataset: Dataset, validation: int, seed: int = _SPLIT_SEED) -> tuple[np.ndarray, np.ndarray]:
    """Indices into the training set, int64: training part (N - validation,) and validation part (validation,).

    The last `validation` entries of one permutation that depends on the size of the set and `seed` alone, not
    on the seed of a run. The training part keeps the permuted order: its first n images are a random
    sample. Samples that the user means for validation come last in it: as many as there are, and they are exactly
    these. Raises DataError unless 0 <= validation < N.
    """
    n = len(dataset.train_x)
    if not 0 <= validation < n:
        raise DataError(
            f"{dataset.name}: validation = {validation}; must be at least 0 and below its {n} training images"
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n)
    if dataset.held_out:
        meant = order >= n - dataset.held_out
        order = np.concatenate([order[~meant], order[meant]])
    return order[: n - validation], order[n - validation :]
