"""How far weights wander, and how far they get (Song et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.numerics.trees import Params
from credit.probes.base import Moment


@dataclass(frozen=True)
class PathLength:
    """Metrics path_length and final_length: the sum of the Frobenius norms of what a layer's weights were changed by
    since they were first looked at, and the norm of the whole change; both are means over the layers.

    Looks at every update if it is `on: update` with `every: 1`, or `on: evaluate` where evaluations are as frequent;
    what happens between two looks counts as a straight line. record: only every so many looks are recorded, of those at
    evaluations also the one before training. What it remembers is in the checkpoint.
    """

    metrics: ClassVar[tuple[str, ...]] = ("path_length", "final_length")
    weights_alone: ClassVar[bool] = True  # may be measured at evaluations, without a mini-batch

    record: Annotated[int, "> 0"] = 1

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[("path_length", "", (M,)), ("final_length", "", (M,))], or nothing at a look that is not recorded."""
        memory, keep = moment.memory, len(moment.net.lead(moment.params))
        if not memory:
            begun = _weights(moment.params)
            memory.update(start=begun, last=begun, path=_lengths(begun, begun, keep), looks=-(moment.batch is None))
        now = _weights(moment.after)
        memory["path"] = memory["path"] + _lengths(now, memory["last"], keep)
        memory["last"] = now
        memory["looks"] += 1
        if memory["looks"] % self.record:
            return []
        rows = (("path_length", memory["path"]), ("final_length", _lengths(now, memory["start"], keep)))
        return [(name, "", torch.atleast_1d(lengths.mean(0))) for name, lengths in rows]


def _weights(params: Params) -> dict[str, Tensor]:
    """Copies of all weights, without biases, {BLOCK.NAME: (M, ...)}."""
    named = {f"{i}.{name}": p for i, block in params.items() for name, p in block.items()}
    return {name: p.clone() for name, p in named.items() if name.endswith("weight")}


def _lengths(now: dict[str, Tensor], before: dict[str, Tensor], keep: int) -> Tensor:
    """Frobenius norms of the differences, (layers, M), or (layers,) for keep = 0, where there is no axis of members."""
    changes = [(now[name] - before[name]).flatten(keep) for name in now]
    return torch.stack([torch.linalg.vector_norm(change, dim=-1, dtype=torch.float64) for change in changes])


part = PathLength
