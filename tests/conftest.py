"""What all tests share: nets and batches of every kind that a rule may be asked to train."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

import credit

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread():
    """Sums differ between thread counts; tests compare bits."""
    torch.set_num_threads(1)


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


def small_net(kind: str, loss: str = "softmax_cross_entropy", hidden: str = "tanh", keep: float = 1.0):
    """A net of 4 classes or outputs: dense 6-7-5-4, or conv on 2 x 8 x 8 images with pooling and a hidden layer."""
    if kind == "dense":
        return credit.dense([6, 7, 5, 4], hidden=hidden, loss=loss, keep=keep)
    return credit.conv([2, 8, 8], [3], [5], 4, kernel=3, padding=1, pool=(2, 2, 0), hidden=hidden, loss=loss, keep=keep)


def small_batch(net, seeds, batch: int = 9, stream: str = "batch"):
    """A random batch for `net`; stacked when `seeds` is a list."""
    rand = credit.Rand(seeds, dtype=torch.float64)
    x = rand.normal(f"{stream}.x", (batch, *net.shape_in))
    if type(net.loss).__name__ == "SoftmaxCrossEntropy":
        y = rand.integers(f"{stream}.y", (batch,), net.n_out)
    else:
        y = rand.normal(f"{stream}.y", (batch, net.n_out))
    return credit.Batch(x, y)
