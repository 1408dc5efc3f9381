"""What a training job keeps beside its result: weights, predictions, state; see `credit.training.sealed`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from credit.provenance.kept import kept_path
from credit.training import weights
from credit.training.sealed import read, write

if TYPE_CHECKING:
    from credit.training.loop import Training

Predictions = dict[str, dict[str, Tensor]]  # {split: {"outputs": (M, N, n_out), "targets": ...}}


def keep(kinds: Sequence[str], result: Path, header: Mapping[str, Any], training: Training) -> None:
    """Write what is kept of a finished training beside its result, each file whole or not at all.

    kinds: of `credit.provenance.kept.KINDS`. header: spec, chosen, provenance.
    """
    for kind in kinds:
        path = kept_path(result, kind)
        if kind == "weights":
            weights.write(path, header, training.learner.params, training.alive)
        elif kind == "predictions":
            write_predictions(path, header, predicted(training), training.alive)
        else:
            write_state(path, header, training.end(), training.alive)


# ---- predictions


def predicted(training: Training) -> Predictions:
    """Outputs of the net as it is now, {split: {"outputs": (M, N, n_out), ...}}, see `Task.predictions`.

    Of members that diverged they are NaN.
    """
    found = training.task.predictions(training.learner)
    lost = torch.tensor([not one for one in training.alive])
    for split in found.values():
        for name, values in split.items():
            split[name] = own = values.detach().to("cpu", copy=True).contiguous()
            if name == "outputs":
                own[lost] = torch.nan
    return found


def write_predictions(path: Path, header: Mapping[str, Any], found: Predictions, alive: Sequence[bool]) -> None:
    """found: as `predicted` gives them; tensors are called SPLIT.NAME."""
    tensors = {f"{split}.{name}": values for split, entries in found.items() for name, values in entries.items()}
    write(path, {**header, "kept": "predictions"}, tensors, alive)


def read_predictions(path: str | Path) -> Predictions:
    """What `write_predictions` wrote. Raises DataError as `read`."""
    found: Predictions = {}
    for name, tensor in read(path)[1].items():
        split, _, short = name.partition(".")
        found.setdefault(split, {})[short] = tensor
    return found


# ---- state


def write_state(path: Path, header: Mapping[str, Any], content: Mapping[str, Any], alive: Sequence[bool]) -> None:
    """content: of a checkpoint, `Training.state`; what holds no tensors stands in the header, in its place."""
    plain, tensors = packed(content)
    write(path, {**header, "kept": "state", "content": plain}, tensors, alive)


def read_state(path: str | Path) -> dict[str, Any]:
    """A training's content at its end, as `Training.state` gave it. Raises DataError as `read`."""
    header, tensors = read(path)
    return unpacked(header["content"], tensors)


def packed(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """A tree of dicts, lists and tuples as JSON can hold it, and its tensors by the names that stand in their places.

    A tensor, of any shape, becomes {"tensor": NAME}, a tuple {"tuple": [...]}, a dict {"dict": [[key, value], ...]}.
    """
    tensors: dict[str, Tensor] = {}

    def pack(value: Any, at: str) -> Any:
        if isinstance(value, Tensor):
            tensors[at] = value
            return {"tensor": at}
        if isinstance(value, Mapping):
            return {"dict": [[key, pack(below, f"{at}.{key}" if at else str(key))] for key, below in value.items()]}
        if isinstance(value, list | tuple):
            items = [pack(below, f"{at}.{i}") for i, below in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        return value

    return pack(tree, ""), tensors


def unpacked(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree that `packed` took apart, with its tensors of any shape."""
    if isinstance(plain, list):
        return [unpacked(below, tensors) for below in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, value),) = plain.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "tuple":
        return tuple(unpacked(below, tensors) for below in value)
    return {key: unpacked(below, tensors) for key, below in value}
