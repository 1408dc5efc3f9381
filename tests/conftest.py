"""What all tests share: nets and batches of every kind that a rule may be asked to train."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch

import credit
from credit.methods.control.settings import Dynamics, Feedback

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests begin first: last, they would keep one core busy beside idle ones."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


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
    return credit.conv([2, 8, 8], [3], [5], 4, kernel=(3, 1, 1), pool=(2, 2, 0), hidden=hidden, loss=loss, keep=keep)


LINEAR = ("tp_pinv",)  # rules that no other nets are for


def small_net_for(rule: str, kind: str, loss: str = "softmax_cross_entropy"):
    """A small net that the rule is defined for."""
    return small_net(kind, loss, "linear" if rule in LINEAR else "tanh")


def small_batch(net, seeds, batch: int = 9, stream: str = "batch"):
    """A random batch for `net`; stacked when `seeds` is a list."""
    rand = credit.Rand(seeds, dtype=torch.float64)
    x = rand.normal(f"{stream}.x", (batch, *net.shape_in))
    if type(net.loss).__name__ == "SoftmaxCrossEntropy":
        y = rand.integers(f"{stream}.y", (batch,), net.n_out)
    else:
        y = rand.normal(f"{stream}.y", (batch, net.n_out))
    return credit.Batch(x, y)


def prepared(
    path, arrays: dict, name: str = "toy", classes: int = 10, scale: int = 255, format_: str = "digits"
) -> None:
    """Write the arrays train_x, train_y, test_x, test_y as `credit.data.prepare` does."""
    from credit.data.seal import fingerprint, sealed

    facts = {"name": name, "classes": classes, "scale": scale, "verified": True, "raw": {}, "format": format_}
    facts |= {"declared": "", "arrays": {key: fingerprint(array) for key, array in arrays.items()}}
    np.savez(path, meta=sealed(facts), **arrays)


def dfc_hyper(**short) -> dict:
    """Hyperparameters of DFC by short names, those of table columns: k_p is the controller's, feedback_k_p that of
    feedback learning, feedback its initialisation."""
    result: dict = {}
    groups = {"": ("controller", vars(Dynamics())), "feedback_": ("feedback", vars(Feedback()))}
    for name, value in short.items():
        prefix = "feedback_" if name.startswith("feedback_") else ""
        group, fields = groups[prefix]
        if name == "feedback":
            result.setdefault("feedback", {})["init"] = value
        elif name.removeprefix(prefix) in fields and name != "alpha":
            result.setdefault(group, {})[name.removeprefix(prefix)] = value
        else:
            result[name] = value
    return result
