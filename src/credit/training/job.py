"""The two kinds of training jobs: a shard of seeds, and a hyperparameter search."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from credit.config.parts import code_roots
from credit.errors import ConfigError
from credit.provenance import records
from credit.provenance import snapshot as provenance
from credit.provenance.files import remove_leftovers, write_text
from credit.provenance.kept import kept_path
from credit.provenance.spec import column, members, put
from credit.training import kept
from credit.training.copies import DONE, Copies, mark
from credit.training.heap import keep_freed_memory
from credit.training.inputs import chosen_of, sort_inputs
from credit.training.longer import Shorter, say_from_the_start, shorter_run
from credit.training.loop import Interrupted, Outrun, Training
from credit.training.reuse import Block, keep_block
from credit.training.stopping import StopRequest
from credit.watching.report import Reporter


def train(
    spec: dict[str, Any], out: Path, inputs: Sequence[Path], device: str, checkpoint: Path, every: float, script: str,
    keep: Sequence[str] = (), store: Path | None = None,
) -> None:  # fmt: skip
    """Train the spec's shard of seeds and write the result file `out`; keep it in `store`.

    keep: what else stands beside it, of `credit.provenance.kept.KINDS`; where that is all that was missing, the result
    stays as it is. The last checkpoint stays, see `run_training`.

    Raises ConfigError, DataError, CheckpointError or ProvenanceError; then nothing is written.
    """
    data, choice, start = sort_inputs(inputs)
    chosen = chosen_of(spec, choice)
    copies = Copies(out, spec, chosen, *(kept_path(out, kind) for kind in keep))
    block = Block.of(spec, out, inputs, keep) if store else None
    try:
        with StopRequest() as stop:
            again = copies.before is not None  # on purpose, see `take_block`
            shorter = shorter_run(store, block, device_name(choose_device(device))) if block and not again else None
            run = Run(apply_choice(spec, chosen), data, start, checkpoint, every, copies, stop, tuple(keep), shorter)
            training, found = run_training(spec, run, device, script)
            header = {"spec": spec, "chosen": chosen, "provenance": found}
            # of its making nothing that differs from run to run
            kept.keep(keep, out, header | {"provenance": {"modules": found["modules"]}}, training)
            if copies.stands(found, training.records):
                checkpoint.unlink(missing_ok=True)  # no table that collects the result anew would remove it
            else:
                records.write_result(out, header, training.records)
            keep_block(store, block, found)
    except Outrun as note:
        print(note, file=sys.stderr)


def search(
    spec: dict[str, Any], out: Path, inputs: Sequence[Path], device: str, checkpoint: Path, every: float, script: str,
    store: Path | None = None,
) -> None:  # fmt: skip
    """Train the grid and write the best point to `out`, with every point's score; keep it in `store`.

    Raises ConfigError when every point diverged, or a run from which it starts did.
    """
    data, _, start = sort_inputs(inputs)
    block = Block.of(spec, out, inputs) if store else None
    try:
        with StopRequest() as stop:
            run = Run(spec, data, start, checkpoint, every, Copies(out, spec, {}), stop)
            training, found = run_training(spec, run, device, script)
            content = {"spec": spec, **choose(spec, training), "provenance": {"modules": found["modules"]}}
            write_text(out, json.dumps(records.sealed(content), indent=1, sort_keys=True) + "\n")
            keep_block(store, block, found)
    except Outrun as note:
        print(note, file=sys.stderr)


def choose(spec: dict[str, Any], training: Training) -> dict[str, Any]:
    """The best point of a grid and every point's score, as `choice.json` has them.

    Raises ConfigError when every point diverged.
    """
    scores = score(spec, training) if any(training.alive) else []
    sound = [s for s in scores if s["score"] is not None]
    if not sound:
        raise ConfigError(f"search: every point of {spec['vary']} diverged; give smaller values")
    best = min(sound, key=lambda s: s["score"])
    edges = {p: best["at"][p] in (min(v), max(v)) and len(v) > 1 for p, v in spec["vary"].items()}
    for path in (p for p, edge in edges.items() if edge):
        print(f"note: the best {path} = {best['at'][path]} is at the edge of the grid", file=sys.stderr)
    return {"choice": best["at"], "at_edge": edges, "criterion": spec["criterion"], "scores": scores}


@dataclass(frozen=True)
class Run:
    """One training: the spec with its chosen values, its inputs, and where and how often it saves.

    data: the prepared data set. start: the weights to start from. shorter: the run to go on from.
    """

    spec: dict[str, Any]
    data: Path | None
    start: list[Path]
    checkpoint: Path
    every: float  # seconds
    copies: Copies
    stop: StopRequest
    keep: tuple[str, ...] = ()
    shorter: Shorter | None = None


def run_training(spec: dict[str, Any], run: Run, device: str, script: str) -> tuple[Training, dict[str, Any]]:
    """Train between two looks at the code; returns the training and what is recorded about it.

    At the end a checkpoint says that all is done: the result may be lost still, with a job that reached its time limit
    or its node. A retry takes it up, and whoever collects the result removes it. Raises Outrun when another copy of
    the job has written the result.
    """
    keep_freed_memory()
    for path in (run.checkpoint, *run.copies.files):
        remove_leftovers(path)
    if run.copies.done():
        raise Outrun(DONE)
    snapshot = provenance.snapshot(*code_roots(spec, script))
    snapshot.check(spec.get("code"))
    begun = time.monotonic()
    training = Training(run.spec, run.data, choose_device(device), start=run.start)
    if spec["kind"] == "search" and any(training.lost):
        seed = training.stack[training.lost.index(True)]["seed"]
        raise ConfigError(f"search: seed {seed} starts from a run that diverged; name other search.seeds or start.seed")
    more = go_on(training, run.shorter) if run.shorter else {}
    snapshot.check(spec.get("code"), loaded=True)  # an undeclared import shows before hours of work, and again after
    try:
        with Reporter(training, run.copies.out, spec):
            training.run(run.checkpoint, run.every, run.stop, run.copies, run.keep)
    except Interrupted as error:
        raise SystemExit(f"{error}; checkpoint in {run.checkpoint}; {again()}") from error
    snapshot.check(spec.get("code"), loaded=True)
    if run.copies.outrun():
        raise Outrun(DONE)
    if training.finished:
        return training, training.finished
    more |= {"start": {"modules": records.read_metadata(run.start[0])["provenance"]["modules"]}} if run.start else {}
    more |= {"data": training.task.prepared} if training.task.prepared else {}
    found = provenance.record(
        snapshot, device=device_name(training.device.type), threads=torch.get_num_threads(),
        seconds=round(time.monotonic() - begun, 3), **more, **mark(),
    )  # fmt: skip
    training.finish(run.checkpoint, found, run.keep)
    return training, found


def go_on(training: Training, shorter: Shorter) -> dict[str, Any]:
    """Let a training begin where a shorter run ended, if its learning rule can; returns what its result says of it."""
    try:
        training.go_on(shorter.epochs, shorter.content, shorter.records)
    except ConfigError as error:
        say_from_the_start(str(error))
        return {}
    print(f"goes on from the end of a run of {shorter.epochs} epochs that differs in nothing else", file=sys.stderr)
    return {"continued": {"epochs": shorter.epochs, "seconds": shorter.seconds}}


def again() -> str:
    """Which command goes on: the one that was typed, unless it holds a whole spec."""
    if any(argument.startswith("{") for argument in sys.argv):
        return "the same command goes on from there"
    return f"to go on: {shlex.join(['python', *sys.argv])}"


def choose_device(device: str) -> str:
    """cpu or cuda; auto is cuda where there is one. Raises ConfigError when cuda is asked for and absent."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = cuda: torch finds no CUDA device on this machine; use cpu or auto")
    return device


def device_name(device: str) -> str:
    """What results call a device: cpu, or the name of the GPU."""
    return "cpu" if device == "cpu" else torch.cuda.get_device_name(device)


def apply_choice(spec: dict[str, Any], chosen: dict[str, float]) -> dict[str, Any]:
    """The spec with the chosen values put at their places (`train.optimizer.X`, `hyper.X`, `hyper.GROUP.X`).

    Raises ConfigError as `credit.provenance.spec.put`.
    """
    run = json.loads(json.dumps(spec))
    for path, value in chosen.items():
        if path.startswith("hyper."):
            run["rule"] = put(run["rule"], path.removeprefix("hyper."), value, "rule")
        else:
            run = put(run, path, value, "spec")
    return run


SELECT = {"last": lambda curve: curve[-1], "lowest": min, "mean": lambda curve: sum(curve) / len(curve)}


def score(spec: dict[str, Any], training: Training) -> list[dict[str, Any]]:
    """Score of every grid point: mean over seeds of the criterion; None when a seed diverged."""
    criterion, stack = spec["criterion"], members(spec)
    curves: list[list[float]] = [[] for _ in stack]
    names = {tuple(sorted(m.items())): i for i, m in enumerate(stack)}
    paths = [k for k in stack[0] if k != "seed"]
    for record in training.records:
        if record["metric"] == criterion["metric"] and record["epoch"] > 0:
            member = {"seed": record["seed"], **{p: record[column(p)] for p in paths}}
            value = record["value"]
            curves[names[tuple(sorted(member.items()))]].append(math.inf if value is None else value)
    if not any(curves):
        raise ConfigError(f"search.criterion.metric = {criterion['metric']!r} is not measured by this run")
    result = []
    for point in {tuple((p, m[p]) for p in paths): None for m in stack}:
        mine = [i for i, m in enumerate(stack) if all(m[p] == v for p, v in point)]
        values = [math.inf if not training.alive[i] else SELECT[criterion["select"]](curves[i]) for i in mine]
        mean = sum(values) / len(values)
        result.append({"at": dict(point), "score": mean if math.isfinite(mean) else None, "n": len(values)})
    return result
