"""Runs in memory: trained here, or read from what a job has written and kept."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import torch

from credit.config.parts import NETS
from credit.dag.start import task_shape
from credit.errors import ConfigError, DataError
from credit.interactive.data import prepared
from credit.nets.base import Net
from credit.numerics.trees import Params, clone
from credit.provenance.kept import KINDS, kept_path, kind_of, result_of
from credit.provenance.records import read_metadata, read_result
from credit.provenance.spec import column, members, read_spec
from credit.training import kept, weights
from credit.training.inputs import read_choice
from credit.training.job import apply_choice, choose_device
from credit.training.kept import Predictions
from credit.training.loop import Training, build_part

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trained:
    """A training at its end, a stack of M members.

    spec: what defines it. chosen: values that its search gave. members: {"seed", PATH: value} of the M members, in the
    order of the stack. diverged: for each, whether it did; its weights and outputs are NaN then. records: all that was
    measured, one a row: seed, epoch, step, metric, layer, value. net: takes the parameters. params: {block: {name:
    (M, ...)}}. state: what the learning rule keeps, a nested dict. optimizer: its `state_dict`. predictions: {split:
    {"outputs": (M, N, n_out), "targets": ...}}, see `credit.tasks.base.Task.predictions`. None stands for what was not
    kept, and for what a learning rule or a task has not.
    """

    spec: dict[str, Any]
    chosen: dict[str, float]
    members: list[dict[str, Any]]
    diverged: list[bool]
    net: Net
    records: pd.DataFrame | None = None
    params: Params | None = None
    state: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None
    predictions: Predictions | None = None

    def member(self, seed: int) -> Params:
        """{block: {name: (...)}}, the parameters of one network, without the stack axis.

        Raises KeyError for a seed that is not there, or of which there are several, ValueError where no weights are.
        """
        if self.params is None:
            raise ValueError("the weights of this run were not kept: keep: [weights]")
        return weights.Kept(self.params, self.spec, self.chosen, self.members, self.diverged).member(seed)


def train(
    spec: Mapping[str, Any], *, chosen: Mapping[str, float] | str | Path | None = None,
    start: Iterable[str | Path] = (), data: str | Path | None = None, device: str = "cpu", log: TextIO | None = None,
) -> Trained:  # fmt: skip
    """Train what a spec says, here; the records are those of the workflow's job of the same spec, bit for bit.

    chosen: of a method whose settings are searched, their values {PATH: value}, or the choice.json of the search.
    start: kept weights (.safetensors) of the runs that it starts from. data: a prepared data set, .npz; by default that
    of the workflow, which is fetched and prepared where it is not there yet. log: where progress goes; default stderr.
    Neither the spec's `code` nor its `env` is compared with what runs, and nothing is written but data. Raises
    ConfigError or DataError before the first update.
    """
    spec = read_spec(json.dumps(spec))
    run = apply_choice(spec, _choice(spec, chosen))
    name = (spec.get("data") or {}).get("name")
    path = None if name is None else Path(data) if data else prepared(name)
    threads = torch.get_num_threads()
    try:
        training = Training(run, path, choose_device(device), log or sys.stderr, [Path(one) for one in start])
        found = training.run()
    finally:
        torch.set_num_threads(threads)
    learner = training.learner
    return Trained(
        spec, _choice(spec, chosen), training.stack, [not one for one in training.alive], learner.net,
        _frame(found), weights.final(learner.params, training.alive), clone(learner.state) or None,
        copy.deepcopy(learner.opt.state_dict()), kept.predicted(training) or None,
    )  # fmt: skip


def load(path: str | Path) -> Trained:
    """What a training job has left: its result, shardS.jsonl, with what it has kept beside it; or one of these files.

    Tensors are on the CPU, and stay what they are whatever becomes of the files. A file beside `path` that is of
    another spec is left out. Raises DataError for a file that is missing, damaged or changed, and for other files.
    """
    path, kind = Path(path), kind_of(path)
    if kind is None and path.suffix != ".jsonl":
        ends = ", ".join(f"shardS{end}" for end in KINDS.values())
        raise DataError(f"{path}: not what a training job writes; these are shardS.jsonl, {ends}")
    result = result_of(path)
    header = _header(path, kind)
    spec = header["spec"]
    there = [k for k in KINDS if k == kind or _is_of(kept_path(result, k), k, spec)]
    files = {k: kept_path(result, k) for k in there}
    records = read_result(result)[1] if kind is None or _is_of(result, None, spec) else None
    whole = kept.read_state(files["state"]) if "state" in files else {}
    found = weights.read(files["weights"]) if "weights" in files else None
    stack = members(spec)
    lost = [_header(file, k)["diverged"] for k, file in files.items()]
    return Trained(
        spec, header.get("chosen") or {}, stack, lost[0] if lost else _diverged(records, stack), _net(spec),
        None if records is None else _frame(records), found.params if found else whole.get("params"),
        whole.get("state") or None, whole.get("opt"),
        kept.read_predictions(files["predictions"]) if "predictions" in files else None,
    )  # fmt: skip


def _choice(spec: dict[str, Any], chosen: Mapping[str, float] | str | Path | None) -> dict[str, float]:
    """Values of what a search chooses. Raises ConfigError for others, and where they are missing."""
    searched = sorted(spec.get("searched") or [])
    given = read_choice(Path(chosen), spec) if isinstance(chosen, str | Path) else dict(chosen or {})
    if sorted(given) != searched:
        example = "chosen={" + ", ".join(f"{path!r}: …" for path in searched) + "} or the search's choice.json"
        wanted = f"a search chooses them: give {example}" if searched else "nothing of this spec is searched"
        raise ConfigError(f"chosen = {sorted(given)}; must be the values of {searched}; {wanted}")
    return given


def _header(path: Path, kind: str | None) -> dict[str, Any]:
    try:
        return read_result(path)[0] if kind is None else read_metadata(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _is_of(path: Path, kind: str | None, spec: dict[str, Any]) -> bool:
    """Whether a file is there, and of this spec."""
    return path.exists() and _header(path, kind)["spec"] == spec


def _net(spec: dict[str, Any]) -> Net:
    return build_part(NETS, spec["net"], "net", "kind").build(*task_shape(spec))


def _diverged(records: list[dict[str, Any]], stack: list[dict[str, Any]]) -> list[bool]:
    lost = [r for r in records if r["metric"] == "diverged"]
    columns = [{column(k): v for k, v in m.items()} for m in stack]
    return [any(one.items() <= r.items() for r in lost) for one in columns]


def _frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(records)
