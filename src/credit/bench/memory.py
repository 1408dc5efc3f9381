"""Peak memory of a training job on images of MNIST's size, as a process of its own."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from credit.bench.base import Row
from credit.bench.workflow import ROOT, measure
from credit.provenance.spec import VERSION, canonical_json


def random_images(path: Path, counts: tuple[int, int] = (60_000, 10_000), shape=(1, 28, 28)) -> None:
    """A prepared data set of random images (C, H, W), `counts` of them for training and for the test."""
    draw = np.random.default_rng(0)
    arrays = {}
    for split, n in zip(("train", "test"), counts, strict=True):
        arrays[f"{split}_x"] = draw.integers(0, 256, (n, *shape), dtype=np.uint8)
        arrays[f"{split}_y"] = draw.integers(0, 10, n, dtype=np.uint8)
    meta = {"name": "random", "classes": 10, "scale": 255, "verified": True, "raw": {}}
    meta["arrays"] = {name: hashlib.sha256(array).hexdigest() for name, array in arrays.items()}
    np.savez(path, meta=json.dumps(meta), **arrays)


def spec() -> dict:
    """Two epochs of backpropagation with the net of the image experiment."""
    return {
        "version": VERSION, "kind": "train", "paper": "bench", "experiment": "memory", "dataset": "random",
        "method": "bp", "rule": {"name": "bp"}, "data": {"name": "random", "sha256": "", "verified": True},
        "net": {"kind": "dense", "hidden_sizes": [256, 256, 256]},
        "task": {"name": "images", "validation": 5000, "batch_size": 128, "mean": 0.13, "std": 0.31},
        "train": {
            "epochs": 2, "dtype": "float32", "threads": 1, "optimizer": {"name": "adam", "lr": 0.001},
            "evaluate": {"every": 1, "splits": ["validation", "test"]},
        },
        "probes": [], "vary": {}, "seeds": [0],
    }  # fmt: skip


def run() -> list[Row]:
    """Rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_images(folder / "random.npz")
        script = ROOT / "workflow" / "scripts" / "train.py"
        command = [sys.executable, str(script), canonical_json(spec()), "out.jsonl", "random.npz", "--device", "cpu"]
        _, memory, _ = measure(command, folder)
    return [Row("memory", "training job on MNIST, peak", memory, "MiB", "<= 1536")]
