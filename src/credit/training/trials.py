"""A search whose trials are drawn one after another, or a few at a time: trained, scored and recorded.

What was drawn and scored stands in the checkpoint, trial by trial, and decides what is drawn next; a search that was
killed goes on behind the last trial there, and within the one that was being trained, from a checkpoint of its own.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from credit.config.space import at_edge
from credit.errors import CheckpointError, ConfigError
from credit.provenance import records
from credit.provenance.files import remove_leftovers, write_text
from credit.provenance.spec import canonical_json
from credit.training.checkpoint import Checkpoint
from credit.training.copies import Copies
from credit.training.inputs import sort_inputs
from credit.training.job import SELECT, Run, again, apply_choice, run_training
from credit.training.loop import Outrun, Training
from credit.training.reuse import Block, keep_block
from credit.training.sampler import Draws, Point
from credit.training.stopping import StopRequest

TRIAL = "trial"  # stands for all that is drawn, as what varies between the networks of a training
Trial = dict[str, Any]


def sample(
    spec: dict[str, Any], out: Path, inputs: Sequence[Path], device: str, checkpoint: Path, every: float, script: str,
    store: Path | None = None,
) -> None:  # fmt: skip
    """Draw and train the trials of a search, write the best point to `out`, with every trial; keep it in `store`.

    Raises ConfigError when every trial diverged, or a run from which it starts did; CheckpointError for one whose
    trials are not those of this search.
    """
    data, _, start = sort_inputs(inputs)
    block, beside = Block.of(spec, out, inputs), out.with_name(f"{out.name}.{TRIAL}.ckpt")
    try:
        with StopRequest() as stop:
            run = Run(spec, data, start, beside, every, Copies(out, spec, {}), stop)
            log = Log(spec, checkpoint, block.key if block else "", run.copies)
            for number, points in log.ahead():
                _train_batch(log, run, number, points, device, script)
                beside.unlink(missing_ok=True)
            beside.unlink(missing_ok=True)  # of a search that was killed once it had kept its last trial
            content = {"spec": spec, **choose(spec, log.trials), "provenance": {"modules": log.made["modules"]}}
            write_text(out, json.dumps(records.sealed(content), indent=1, sort_keys=True) + "\n")
            if store:
                keep_block(store, block, log.made)
    except Outrun as note:
        beside.unlink(missing_ok=True)
        print(note, file=sys.stderr)


class Log:
    """The trials of a search so far, kept at `path`.

    trials: as in `choice.json`. made: what is recorded of their training, with the seconds of all. owner: what the log
    is of; one of another owner is not read. Raises CheckpointError for a log with trials that are not drawn.
    """

    def __init__(self, spec: Mapping[str, Any], path: Path, owner: str, copies: Copies):
        remove_leftovers(path)
        self.sampler, self.path = spec["sampler"], path
        self.draws, self.trials, self.made = Draws(self.sampler), [], {}
        self._kept = Checkpoint(path, owner)
        content = self._kept.load()
        made = json.loads(content["made"]) if content else {}
        there = json.loads(content["trials"]) if content else []
        if len(there) < self.sampler["trials"] or copies.takes(made):  # a finished one may be made again on purpose
            self._draw_again(there, made)

    def _draw_again(self, there: Sequence[Trial], made: Mapping[str, Any]) -> None:
        for number, points in self.ahead(len(there)):
            batch = there[number : number + len(points)]
            if [trial["at"] for trial in batch] != points:
                raise CheckpointError(
                    f"{self.path}: holds other trials than are drawn here; delete it to start the search from the "
                    "beginning"
                )
            self.trials += batch
            self.draws.tell([trial["score"] for trial in batch])
        self.made = dict(made)
        if there:
            print(f"resumed after {len(there)} of {self.sampler['trials']} trials from {self.path}", file=sys.stderr)

    def ahead(self, until: int | None = None) -> Iterator[tuple[int, list[Point]]]:
        """(number of the first trial, points) of every batch up to a trial, by default the last one.

        Before the next is asked for, the scores of one must be told.
        """
        last = self.sampler["trials"]
        while (number := len(self.trials)) < (last if until is None else until):
            yield number, self.draws.ask(min(self.sampler["parallel"], last - number))

    def add(self, trials: Sequence[Trial], found: Mapping[str, Any] | None) -> None:
        """Keep the trials of a batch. found: what is recorded of their training, None where nothing was trained."""
        self.trials += trials
        self.draws.tell([trial["score"] for trial in trials])
        if found:
            seconds = self.made.get("seconds", 0.0) + found["seconds"]
            self.made = {**found, "seconds": round(seconds, 3)}
        content = {"trials": json.dumps(self.trials), "made": json.dumps(self.made)}
        self._kept.save({"position": [len(self.trials), 0], **content})


def _train_batch(log: Log, run: Run, number: int, points: list[Point], device: str, script: str) -> None:
    """Train and score a batch of trials, side by side, and keep them in the log. A point that was drawn before is not
    trained again."""
    if run.stop.requested:
        raise SystemExit(f"stopped on request after {number} trials; checkpoint in {log.path}; {again()}")
    known = {canonical_json(trial["at"]): trial for trial in log.trials}
    texts = [canonical_json(point) for point in points]
    fresh = {number + texts.index(text): points[texts.index(text)] for text in texts if text not in known}
    found = None
    if fresh:
        print(f"trials {', '.join(map(str, fresh))} of {log.sampler['trials']}", file=sys.stderr)
        batch_run = replace(run, spec=trial_spec(run.spec, fresh))
        training, found = run_training(run.spec, batch_run, device, script)
        known |= {canonical_json(trial["at"]): trial for trial in scored(batch_run.spec, fresh, training)}
    batch = []
    for n, text in enumerate(texts, number):
        first = known[text]
        batch.append(first if first[TRIAL] == n else {**first, TRIAL: n, "repeats": first.get("repeats", first[TRIAL])})
        score = "diverged" if first["score"] is None else f"{first['score']:.6g}"
        print(f"trial {n}: {score} at {_written(first['at'])}", file=sys.stderr)
    log.add(batch, found)


def _written(at: Point) -> str:
    return ", ".join(f"{path} = {value}" for path, value in at.items())


def trial_spec(spec: Mapping[str, Any], trials: Mapping[int, Point]) -> dict[str, Any]:
    """The spec of the training of these trials side by side, {number: point}; seeds vary fastest within the stack."""
    seeds, drawn = len(spec["seeds"]), {}
    for path in next(iter(trials.values())):
        values = [point[path] for point in trials.values() for _ in range(seeds)]
        drawn[path] = values[0] if all(value == values[0] for value in values) else values
    rest = {key: value for key, value in spec.items() if key != "sampler"}
    return apply_choice({**rest, "vary": {TRIAL: list(trials)}}, drawn)


def scored(spec: Mapping[str, Any], trials: Mapping[int, Point], training: Training) -> list[Trial]:
    """What is recorded of trials: where each was, its score and that of every seed, the epochs trained, divergence.

    The score is the mean over seeds of the criterion, None when a seed diverged. Raises ConfigError for a criterion
    that the training did not measure.
    """
    metric, select = spec["criterion"]["metric"], SELECT[spec["criterion"]["select"]]
    curves: dict[tuple[int, int], list[float]] = {}
    for record in training.records:
        if record["metric"] == metric and record["epoch"] > 0:
            value = math.inf if record["value"] is None else record["value"]
            curves.setdefault((record[TRIAL], record["seed"]), []).append(value)
    if any(training.alive) and not curves:
        raise ConfigError(f"search.criterion.metric = {metric!r} is not measured by this run")
    runs: dict[int, list[dict[str, Any]]] = {number: [] for number in trials}
    for member, alive in zip(training.stack, training.alive, strict=True):
        score = select(curves[member[TRIAL], member["seed"]]) if alive else math.nan
        runs[member[TRIAL]].append({
            "seed": member["seed"], "score": score if math.isfinite(score) else None,
            "epochs": _epochs(training, member), "diverged": not alive,
        })  # fmt: skip
    found = []
    for number, point in trials.items():
        values = [run["score"] for run in runs[number]]
        score = None if None in values else sum(values) / len(values)
        found.append({TRIAL: number, "at": point, "score": score, "n": len(values), "runs": runs[number]})
    return found


def _epochs(training: Training, member: Mapping[str, Any]) -> int:
    """Epochs that a network was trained for; of one that diverged those up to there."""
    mine = (r["epoch"] for r in training.records if r[TRIAL] == member[TRIAL] and r["seed"] == member["seed"])
    return max(mine, default=0)


def choose(spec: Mapping[str, Any], trials: Sequence[Trial]) -> dict[str, Any]:
    """The best trial's point, and every trial, as `choice.json` has them.

    Raises ConfigError when every trial diverged.
    """
    space, sound = spec["sampler"]["space"], [trial for trial in trials if trial["score"] is not None]
    if not sound:
        raise ConfigError(f"search: every one of {len(trials)} trials diverged; give smaller values in search.space")
    best = min(sound, key=lambda trial: trial["score"])
    edges = {path: at_edge(entry, best["at"][path]) for path, entry in space.items()}
    for path in (path for path, edge in edges.items() if edge):
        print(f"note: the best {path} = {best['at'][path]} is at the edge of the space", file=sys.stderr)
    return {"choice": best["at"], "at_edge": edges, "criterion": spec["criterion"], "scores": list(trials)}
