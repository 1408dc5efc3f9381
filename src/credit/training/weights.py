"""Final weights of a training job: a `.safetensors` file beside its result, and what another job starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from credit.errors import ConfigError
from credit.numerics.trees import Params
from credit.provenance.spec import canonical_json, members
from credit.training import sealed


@dataclass(frozen=True)
class Kept:
    """Weights that a job ended with.

    params: {block: {name: (M, ...)}}, NaN for a member that diverged. spec: the job's own. chosen: values that its
    search gave. members: {"seed", PATH: value} of the M members. diverged: for each, whether it did.
    """

    params: Params
    spec: dict[str, Any]
    chosen: dict[str, float]
    members: list[dict[str, Any]]
    diverged: list[bool]

    def member(self, seed: int) -> Params:
        """{block: {name: (...)}}, the parameters of one network, without the stack axis.

        Raises KeyError for a seed that is not there, or of which there are several (`vary`).
        """
        found = [i for i, one in enumerate(self.members) if one["seed"] == seed]
        if len(found) != 1:
            raise KeyError(f"{len(found)} members of seed {seed}; there are {self.members}")
        return {block: {name: t[found[0]] for name, t in tensors.items()} for block, tensors in self.params.items()}


def write(path: str | Path, header: Mapping[str, Any], params: Params, alive: Sequence[bool]) -> None:
    """Write the parameters {block: {name: (M, ...)}} as tensors `BLOCK.NAME`, whole or not at all.

    header: spec, chosen, provenance. alive: for each member whether it is sound; NaN is written for the others.
    """
    own = final(params, alive)
    tensors = {f"{block}.{name}": value for block, entries in own.items() for name, value in entries.items()}
    sealed.write(path, header, tensors, alive)


def final(params: Params, alive: Sequence[bool]) -> Params:
    """Copies {block: {name: (M, ...)}} on the CPU, NaN for members of whom `alive` does not say that they are sound."""
    lost = torch.tensor([not one for one in alive])
    copies = {b: {n: value.detach().to("cpu", copy=True) for n, value in e.items()} for b, e in params.items()}
    for value in (value for entries in copies.values() for value in entries.values()):
        value[lost] = torch.nan
    return copies


def read(path: str | Path) -> Kept:
    """The weights in a file that `write` made, on the CPU; independent of what becomes of the file.

    Raises DataError for a file that is cut off, or not of this kind.
    """
    header, tensors = sealed.read(path)
    params: Params = {}
    for name in sorted(tensors):
        block, _, short = name.rpartition(".")
        params.setdefault(block, {})[short] = tensors[name]
    spec = header["spec"]
    return Kept(params, spec, header.get("chosen") or {}, members(spec), header["diverged"])


def begin(
    params: Params, stack: Sequence[Mapping[str, Any]], start: Mapping[str, Any], files: Sequence[Path]
) -> list[bool]:
    """Copy into `params` {block: {name: (M, ...)}} what other runs ended with, by the members' seeds.

    stack: the M members. start: the spec's entry of this name. files: the kept weights of its `runs`, in any order.
    Returns for each member whether the run that it starts from diverged; it keeps its own initialisation then.
    Raises ConfigError when a file is missing or of another run, or a shape differs; DataError for a damaged file.
    """
    place = f"{start['experiment']}/{start['dataset']}/{start['method']}"
    found: dict[int, tuple[Kept, int]] = {}
    for path in files:
        kept = read(path)
        if canonical_json(cell_of(kept.spec)) != canonical_json(start["spec"]):
            raise ConfigError(f"{path}: not the weights of {place} that this run was planned to start from; run again")
        _check_shapes(path, params, kept.params)
        found |= {member["seed"]: (kept, i) for i, member in enumerate(kept.members)}
    lost = []
    for m, member in enumerate(stack):
        seed = member["seed"] if start["seed"] == "paired" else start["seed"]
        if seed not in found:
            raise ConfigError(f"start: no weights of {place}, seed {seed}, among the inputs (shardS.safetensors)")
        kept, i = found[seed]
        lost.append(kept.diverged[i])
        for block, entries in params.items() if not lost[m] else ():
            for name, value in entries.items():
                value[m].copy_(kept.params[block][name][i])
    return lost


def cell_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the shards of a cell have in common: the spec of a training job without its seeds."""
    return {key: value for key, value in spec.items() if key != "seeds"}


def _check_shapes(path: Path, params: Params, kept: Params) -> None:
    mine, theirs = (
        {f"{b}.{n}": tuple(t.shape[1:]) for b, e in p.items() for n, t in e.items()} for p in (params, kept)
    )
    if mine != theirs:
        name = next(n for n in sorted({*mine, *theirs}) if mine.get(n) != theirs.get(n))
        raise ConfigError(f"{path}: parameter {name} has shape {theirs.get(name)}; this run's net has {mine.get(name)}")
