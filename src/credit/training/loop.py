"""The training loop: one stack of members -> records. Knows no paper, task or method by name."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from credit.config import hyperparameters
from credit.config.parts import METHODS, NETS, PROBES, TASKS
from credit.errors import ConfigError
from credit.methods.base import DIVERGED, Phase
from credit.methods.base import method as make_method
from credit.numerics.devices import full_precision
from credit.numerics.rand import Rand
from credit.numerics.trees import assign, to_device
from credit.provenance.files import checksum
from credit.provenance.spec import column, finite, members, spec_hash, spread
from credit.tasks.base import Context
from credit.training import weights
from credit.training.checkpoint import Checkpoint
from credit.training.copies import DONE, Copies
from credit.training.learner import Learner, ProbeSlot
from credit.training.stopping import StopRequest

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Interrupted(Exception):
    """The job was asked to stop; its checkpoint is complete."""


class Outrun(Exception):
    """Another copy of the job has finished; there is nothing left to do."""


def build_part(registry, settings: dict[str, Any], where: str, key: str = "name"):
    """Instance of the part that `settings[key]` names, its other entries checked as hyperparameters."""
    settings = dict(settings)
    name = settings.pop(key)
    module = registry.load(name)
    checked = hyperparameters.check(module.__name__, settings, f"{where} ({name})")
    return module.part(**hyperparameters.instances(module.part, checked))


class Training:
    """One run of a spec: builds everything, trains phase by phase, collects records, survives being killed.

    start: files of the weights that the spec's `start` names. Raises ConfigError before the first update when spec,
    task, method and weights do not fit together.
    """

    def __init__(
        self, spec: dict[str, Any], data: Path | None = None, device: str = "cpu", log=sys.stderr,
        start: Sequence[Path] = (),
    ):  # fmt: skip
        self.spec, self.log = spec, log
        self.settings = {"evaluate": {}, **spec["train"]}
        self.stack = members(spec)
        torch.set_num_threads(int(self.settings.get("threads", 1)))
        if self.settings["dtype"] not in DTYPES:
            raise ConfigError(f"train.dtype = {self.settings['dtype']!r}; must be one of: {', '.join(DTYPES)}")
        dtype = DTYPES[self.settings["dtype"]]
        self.device = torch.device(device)
        if self.device.type == "cuda":
            full_precision()
        self.rand = Rand([m["seed"] for m in self.stack], device=self.device, dtype=dtype)
        context = Context(self.rand, len(self.stack), self.device, dtype, data, spec.get("data"))
        self.task = build_part(TASKS, spec["task"], "task").build(context)
        # A checkpoint belongs to a spec, to the very samples that it was trained on, and to where it started.
        begun = {"start": sorted(map(checksum, start))} if start else {}
        self.identity = spec_hash({"spec": spec, "data": self.task.prepared, **begun})
        self.learner = self._learner(dtype, start)
        self.alive = [True] * len(self.stack)
        self.records: list[dict[str, Any]] = []
        self.position = (0, 0)  # phase, epoch within it: the next to train
        self.begun = self.position  # where this process began to train
        self.epoch = 0  # epochs recorded so far
        self.evaluated_at = 0  # updates before the last evaluation
        self.finished: dict[str, Any] | None = None  # what is recorded of a training that a checkpoint has finished
        self._end: dict[str, Any] | None = None  # the state behind the last epoch, where something followed
        self._checkpoint: Checkpoint | None = None

    def _learner(self, dtype: torch.dtype, start: Sequence[Path]) -> Learner:
        net_config = build_part(NETS, self.spec["net"], "net", "kind")
        net = net_config.build(self.task.shape_in, self.task.n_out)
        rule = dict(self.spec["rule"])
        name = rule.pop("name")
        rule = hyperparameters.spelled(METHODS.module(name), rule)
        rule = make_method(name, **spread(rule, "hyper", self.stack))
        rule.check_net(net)
        params = net.init(self.rand, net_config.init)
        self.lost = [False] * len(self.stack)  # members that start from a run that diverged
        if self.spec.get("start"):  # before the learning rule's state, which may be made from the weights
            self.lost = weights.begin(params, self.stack, self.spec["start"], start)
        state = rule.init(net, params, self.rand)
        settings = spread(self.settings["optimizer"], "train.optimizer", self.stack)
        opt = rule.optimizer(net, params, state, settings)
        chosen = []
        for entry in self.spec.get("probes", []):
            cadence = {key: entry[key] for key in ("every", "on") if key in entry}
            settings = {key: value for key, value in entry.items() if key not in cadence}
            chosen.append(ProbeSlot(build_part(PROBES, settings, "probes", "probe"), **cadence))
        rand = self.rand.drawn_there() if self.settings.get("noise") == "device" else self.rand
        learner = Learner(net, params, rule, opt, state, rand, chosen)
        evaluate = self.settings["evaluate"]
        if evaluate.get("unit") == "update":
            learner.evaluate_every, learner.on_evaluate = evaluate["every"], lambda: self._evaluate(self.epoch + 1)
        return learner

    def run(
        self, checkpoint_path: Path | None = None, every_seconds: float = 60.0, stop: StopRequest | None = None,
        copies: Copies | None = None, keep: Collection[str] = (),
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Train to the end and return the records. Resumes from `checkpoint_path` when it fits the spec.

        stop: looked at after every epoch. copies: looked at whenever a checkpoint is due. keep: what a finished
        checkpoint must hold, see `finish`. Raises Interrupted when asked to stop, Outrun when another has finished.
        """
        self._resume(checkpoint_path, copies, keep)
        stop = stop or StopRequest()
        stop.wait()
        phases = self.learner.method.phases(self.settings["epochs"])
        if self.epoch == 0 and not self.records:
            self._note_lost(torch.tensor(self.lost), 0)
            self._evaluate(0)
        saved = time.monotonic()
        while self.position[0] < len(phases):
            phase = phases[self.position[0]]
            if self.position[1] >= phase.epochs or not any(self.alive):
                self.position = (self.position[0] + 1, 0)
                continue
            self._epoch(phase, phase.first + self.position[1])
            self.position = (self.position[0], self.position[1] + 1)
            if checkpoint_path and (stop.requested or time.monotonic() - saved >= every_seconds):
                if copies and copies.outrun():
                    raise Outrun(DONE)
                self._save(checkpoint_path)
                saved = time.monotonic()
            if stop.requested:
                raise Interrupted(f"stopped on request after epoch {self.epoch}")
        if not self.finished:
            self._evaluate_end("state" in keep)
        return self.records

    def finish(self, path: Path, made: dict[str, Any], keep: Collection[str] = ()) -> None:
        """Leave a checkpoint that says that all is done, so that a retry need not train.

        made: what is recorded of this training. keep: what is to be made of it beside the records.
        """
        content = {
            "position": list(self.position), "epoch": self.epoch, "alive": self.alive,
            "params": self.learner.params if keep else {}, **(self.end() if "state" in keep else {}),
            "records": json.dumps(self.records), "finished": json.dumps(made), "kept": sorted(keep),
        }  # fmt: skip
        self._at(path).save(content)

    def state(self) -> dict[str, Any]:
        """What a training needs to go on from here, but for its records: plain values and tensors."""
        learner = self.learner
        return {
            "position": list(self.position), "epoch": self.epoch,
            "evaluated_at": self.evaluated_at, "steps": learner.steps, "alive": self.alive,
            "recorded": len(self.records),
            "params": learner.params, "state": learner.state, "opt": learner.opt.state_dict(),
            "rand": self.rand.state_dict(), "task": self.task.state_dict(),
            "probes": [slot.memory for slot in learner.probes],
        }  # fmt: skip

    def end(self) -> dict[str, Any]:
        """`state` behind the last epoch: what a longer run goes on from, which would not have been evaluated there.

        Of the records the first `recorded` are also the longer run's.
        """
        return self.state() if self._end is None else self._end

    def go_on(self, epochs: int, content: dict[str, Any], records: list[dict[str, Any]]) -> None:
        """Begin where a run of `epochs` epochs ended that differs in nothing else.

        content: its `end`. records: all of its own. Raises ConfigError where the stages of the learning rule do not
        allow it; nothing is changed then.
        """
        phases = self.learner.method.phases
        shorter, longer = phases(epochs), phases(self.settings["epochs"])
        *done, last = shorter
        further = longer[len(done)] if len(done) < len(longer) else last
        if [*done, replace(last, epochs=further.epochs)] != [*longer[: len(shorter)]] or further.epochs < last.epochs:
            raise ConfigError(f"the stages of {self.learner.method.name} depend on the number of epochs")
        self._restore({**content, "position": (len(done), last.epochs)}, records[: content["recorded"]])

    def _epoch(self, phase: Phase, index: int) -> None:
        learner, start = self.learner, time.monotonic()
        learner.opt.set_epoch(index)
        learner.start_epoch(phase.name, index)
        first_step = learner.step
        for item in phase.passes:
            learner.start_pass(item.update)
            self.task.epoch(learner, self.rand)
        self.epoch += phase.record
        self._note_divergence(first_step)
        for step, rows in learner.measured:
            self._record(self.epoch, step, rows)
        rows = learner.accumulated()
        self._record(self.epoch, learner.step, rows)
        if phase.record and self._by_epoch and not self.epoch % self._by_epoch:
            self._evaluate(self.epoch)
        loss = next((value for name, _, value in rows if name == "train_loss"), None)
        self._progress(phase, loss, time.monotonic() - start)

    @property
    def _by_epoch(self) -> int:
        """Epochs from evaluation to evaluation; 0 where updates are counted."""
        evaluate = self.settings["evaluate"]
        return evaluate.get("every", 1) if evaluate.get("unit", "epoch") == "epoch" else 0

    def _evaluate_end(self, keep: bool) -> None:
        """The evaluation behind the last epoch, where none was due. keep: whether the state before it is needed."""
        undue = self._by_epoch and self.epoch % self._by_epoch
        if any(self.alive) and (undue or self.evaluated_at != self.learner.step):
            self._end = copy.deepcopy(self.state()) if keep else None
            self._evaluate(self.epoch)

    def _evaluate(self, epoch: int) -> None:
        self.evaluated_at = self.learner.step
        wanted = tuple(self.settings["evaluate"].get("splits", ("validation", "test")))
        results = self.task.evaluate(self.learner, self.learner.net.loss, wanted)
        rows = [(name, "", value) for name, value in results.items()]
        self._record(epoch, self.learner.step, rows + self.learner.at_evaluation())

    def _record(self, epoch: int, step: int, rows: list[tuple[str, str, Tensor]]) -> None:
        columns = [{column(k): v for k, v in m.items()} for m in self.stack]
        for metric, layer, values in rows:
            for m, value in enumerate(values.tolist()):
                if self.alive[m]:
                    place = {"epoch": epoch, "step": step, "metric": metric, "layer": layer}
                    self.records.append({**columns[m], **place, "value": finite(value)})

    def _note_divergence(self, first_step: int) -> None:
        """Freeze members with a loss or a parameter that is not finite or beyond `DIVERGED`, or of which the rule says
        so; the others go on."""
        flat_params = [p for block in self.learner.params.values() for p in block.values()]
        sound = torch.stack([_sound(p).flatten(1).all(1) for p in flat_params]).all(0)
        if self.learner.diverged is not None:
            sound = sound & ~self.learner.diverged
        losses = _sound(torch.stack(self.learner.losses)) if self.learner.losses else None
        if losses is not None:
            sound = sound & losses.all(0)
        for m in (~sound).nonzero().flatten().tolist():
            if self.alive[m]:
                bad = self.learner.step
                if losses is not None and not bool(losses[:, m].all()):
                    bad = first_step + int((~losses[:, m]).nonzero()[0])
                self._note_lost(torch.arange(len(self.stack)) == m, bad)
            for p in flat_params:
                p[m].zero_()

    def _note_lost(self, lost: Tensor, step: int) -> None:
        """Record that members diverged at a step, (M,) bool; nothing more is recorded of them."""
        others, self.alive = self.alive, lost.tolist()
        self._record(self.epoch, step, [("diverged", "", torch.full((len(self.stack),), float(step)))])
        self.alive = [a and not now for a, now in zip(others, self.alive)]

    def _progress(self, phase: Phase, train_loss: Tensor | None, seconds: float) -> None:
        loss = "" if train_loss is None else f"  train loss {', '.join(f'{v:.4g}' for v in train_loss.tolist()[:5])}"
        dead = self.alive.count(False)
        note = f"  {dead} of {len(self.alive)} members diverged" if dead else ""
        print(f"{phase.name} epoch {self.epoch}/{self.settings['epochs']}  {seconds:.2f} s{loss}{note}", file=self.log)
        self.log.flush()

    def _at(self, path: Path) -> Checkpoint:
        if self._checkpoint is None or self._checkpoint.path != path:
            self._checkpoint = Checkpoint(path, self.identity)
        return self._checkpoint

    def _save(self, path: Path) -> None:
        self._at(path).save({**self.state(), "records": json.dumps(self.records)})

    def _resume(self, path: Path | None, copies: Copies | None = None, keep: Collection[str] = ()) -> None:
        content = self._at(path).load() if path else None
        if content is None:
            return
        made = json.loads(content.get("finished", "null"))
        if made and copies and not copies.takes(made):
            return
        if made and not {*keep} <= {*content["kept"]}:  # nothing to make it of
            return
        self._restore(content, json.loads(content["records"]))
        self.finished = made
        if made:
            self.evaluated_at = self.learner.step
            self._end = {key: content[key] for key in self.state()} if "state" in content["kept"] else None
        print(f"resumed at epoch {self.epoch} from {path}{', which has finished' if made else ''}", file=self.log)
        self.log.flush()

    def _restore(self, content: dict[str, Any], records: list[dict[str, Any]]) -> None:
        """Be where a training was, with its records; of one that is done there may be no more than its weights."""
        learner = self.learner
        self.position, self.epoch = tuple(content["position"]), content["epoch"]
        self.begun = self.position
        self.alive, self.records = content["alive"], records
        learner.fast.clear()
        assign(learner.params, content["params"])
        if "opt" in content:
            learner.steps, self.evaluated_at = content["steps"], content["evaluated_at"]
            learner.state = to_device(content["state"], self.device)
            learner.opt.load_state_dict(content["opt"])
            self.rand.load_state_dict(content["rand"])
            self.task.load_state_dict(content["task"])
            for slot, memory in zip(learner.probes, content["probes"], strict=True):
                slot.memory.update(to_device(memory, self.device))


def _sound(x: Tensor) -> Tensor:
    """Whether numbers are finite and not beyond `DIVERGED`, elementwise."""
    return x.abs() <= DIVERGED  # not of NaN
