"""What is checked of every learning rule on a device, written for any `Place`: tests try it without a GPU."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import credit
from credit.config import hyperparameters
from credit.config.parts import METHODS
from credit.methods.base import Method
from credit.provenance.spec import VERSION
from credit.training.learner import Learner
from credit.training.loop import Interrupted, Training
from credit.training.stopping import StopRequest
from tests.conftest import small_batch, small_net, small_net_for
from tests.gpu.places import CPU, Place, apart

SEEDS = [3, 8]

# Relative to the largest number of a tensor, after two mini-batches. The dynamics of dynamic inversion takes 999 steps.
CLOSE = {torch.float64: 1e-11, torch.float32: 5e-4}

PLAIN = {"name": "sgd", "lr": 0.05, "momentum": 0.9}

SHORT = {"time_points": 25}
HYPER = {name: {"controller": SHORT, "feedback": SHORT} for name in ("dfc", "dfc_ss")}  # else as they are by default
HYPER |= {n: {"steps": 8} for n in ("pc_coded", "generec", "hopfield", "almeida_pineda", "any_energy")}

# Rules that must know on the host what the device has found, with the reason.
WAITING = {
    "gn": "its pseudoinverse takes eigenvalues, whose solver reports to the host",
    "mn": "its pseudoinverse takes eigenvalues, whose solver reports to the host",
    "di": "looks after every step whether the feedback is still stable, and mends it on the CPU if not",
    "ndi": "solves again, by least squares, for the members whose system is singular",
    "pbp": "solves again, by least squares, for the members whose system is singular",
    "sdi": "stops its loop once the controller has come to rest",
    "tp_pinv": "takes singular values, whose solver reports to the host",
}


@dataclass(frozen=True)
class Case:
    """A learning rule with hyperparameters, on a small net of a kind with options of its own."""

    rule: str
    kind: str
    hyper: dict[str, Any] = field(default_factory=dict)
    net: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=PLAIN.copy)

    def __str__(self) -> str:
        own = self.optimizer if self.optimizer != PLAIN else {}
        hyper = {} if self.hyper == HYPER.get(self.rule) else self.hyper
        more = [f"{k}={v}" for part in (hyper, self.net, own) for k, v in part.items()]
        return "-".join([self.rule, self.kind, *more]).replace(" ", "")

    def start(self, place: Place, dtype: torch.dtype) -> Started:
        """Everything that an update takes, at a place."""
        net = small_net(self.kind, **self.net) if self.net else small_net_for(self.rule, self.kind)
        rule = credit.method(self.rule, **self.hyper)
        rand = credit.Rand(SEEDS, device=place.name, dtype=dtype)
        params = net.init(rand, "xavier_normal")
        state = rule.init(net, params, rand)
        opt = rule.optimizer(net, params, state, self.optimizer)
        batches = [small_batch(net, SEEDS, stream=f"batch{k}") for k in range(3)]
        return Started(net, rule, params, opt, state, rand, [
            credit.Batch(b.x.to(dtype).to(place.name), b.y.to(place.name)) for b in batches
        ])  # fmt: skip


@dataclass
class Started:
    """A stack that is ready to be trained; `results` of what it has trained."""

    net: Any
    rule: Method
    params: dict
    opt: Any
    state: dict
    rand: credit.Rand
    batches: list

    def gradients(self) -> dict:
        """Of the first mini-batch."""
        return self.rule.gradients(self.net, self.params, self.state, self.batches[0], self.rand).gradients

    def train(self, function: str, batches: list) -> None:
        """One call of the rule's `function` for each mini-batch."""
        for batch in batches:
            self.params, self.opt, self.state, _ = getattr(self.rule, function)(
                self.net, self.params, self.opt, self.state, batch, self.rand
            )

    def learner(self) -> Learner:
        """The loop's view of it."""
        return Learner(self.net, self.params, self.rule, self.opt, self.state, self.rand)


def every_case() -> list[Case]:
    """All rules of the registry on all their kinds of nets, then options that take other paths through the code."""
    found = [
        Case(name, kind, HYPER.get(name, {}))
        for name in METHODS.names()
        for kind in hyperparameters.constants(METHODS.module(name)).get("nets", ("dense",))
    ]
    dropout = {"keep": 0.7, "hidden": "relu"}
    return [
        *found,
        Case("bp", "dense", optimizer={"name": "adam", "lr": 0.01, "clip_norm": 0.5}),
        Case("bp", "dense", optimizer={"name": "sgd", "lr": [0.1, 0.2], "momentum": 0.5, "clip_norm": 0.5}),
        Case("bp", "conv", net=dropout),
        Case("pepita", "dense", net=dropout),
        Case("dfa", "dense", {"feedback_scale": [0.5, 1.5]}),
        Case("dfc_ssa", "dense", {"feedback": SHORT | {"form": "linearised"}}),
        Case("dfc_ssa", "dense", {"feedback": SHORT | {"form": "projected"}}),
        Case("dfc", "dense", HYPER["dfc"] | {"form": "linearised"}),
        Case("dfc_ss", "dense", HYPER["dfc_ss"] | {"form": "newton"}),
        Case("di_bp", "dense", {"clip": 0.01, "normalize": True}),
        Case("pc_coded", "dense", {"steps": 8, "inference": {"discount": 0.5}}),
        Case("almeida_pineda", "dense", {"steps": 8, "adjoint": "exact"}),
        Case("any_energy", "dense", {"steps": 8, "connectivity": "recurrent", "negative_phase": True}),
        Case("ldrl", "conv", net={"hidden": "elu"}),
        Case("ldrl", "conv", {"feedback": {"samples": 2}}),
        Case("ldrl", "dense", {"beta": [0.3, 0.6]}),
    ]


def agreement(case: Case, place: Place, dtype: torch.dtype) -> float:
    """How far a place is from the CPU in gradients, and in parameters and state after two mini-batches of every pass.

    Gradients are those of the plain form; passes too.
    """
    here, there = case.start(CPU, dtype), case.start(place, dtype)
    found = [apart(there.params, here.params), apart(there.state, here.state)]
    if here.rule.single_step:
        found.append(apart(there.gradients(), here.gradients()))
    for function in here.rule.pass_functions:
        for one in (here, there):
            one.train(function, one.batches[:2])
        found += [apart(there.params, here.params), apart(there.state, here.state)]
    return max(found)


def updates_without_waiting(case: Case, place: Place, warm: bool = False) -> None:
    """Mini-batches of every pass, and an epoch of the learner; what makes the host wait is the place's to refuse.

    warm: whether a first mini-batch goes unwatched.
    """
    one = case.start(place, torch.float32)
    for function in one.rule.pass_functions:
        one.train(function, one.batches[:1] if warm else [])
        with place.watched():
            one.train(function, one.batches[1:])
    if type(one.rule).inspect is not Method.inspect:  # it measures itself once a pass, for the record
        return
    learner, batch = one.learner(), one.batches[0]
    samples = torch.arange(batch.x.shape[1], device=place.name).expand(len(SEEDS), -1)
    with place.watched():
        learner.visit(samples, lambda index: (batch.x[:, : index.shape[1]], batch.y[:, : index.shape[1]]), 3)


def spec(rule: str, hyper: dict[str, Any], optimizer: dict[str, Any], keep: float = 1.0) -> dict[str, Any]:
    """A run of four epochs on a student-teacher task, in float64."""
    return {
        "version": VERSION, "kind": "train", "rule": {"name": rule, **hyper},
        "net": {"kind": "dense", "hidden_sizes": [6, 5], "hidden": "tanh", "loss": "mse", "keep": keep},
        "task": {"name": "teacher", "n_in": 4, "n_out": 2, "hidden_sizes": [8], "hidden": "relu", "init": "teacher",
                 "train": 60, "validation": 20, "test": 20, "batch_size": 16},
        "train": {"epochs": 4, "dtype": "float64", "threads": 1, "optimizer": optimizer,
                  "evaluate": {"every": 2, "splits": ["validation", "test"]}},
        "probes": [], "vary": {}, "seeds": [0, 1],
    }  # fmt: skip


RUNS = {
    "bp": spec("bp", {}, PLAIN, keep=0.8),
    "dfa-adam": spec("dfa", {}, {"name": "adam", "lr": 0.01}),
    "ldrl": spec("ldrl", {"feedback": {"iterations": 2, "lr": 0.1, "momentum": 0.9}}, PLAIN),
}


class _Late(StopRequest):
    """A request to stop that the loop does not see before the second epoch has ended."""

    seen = 0

    @property
    def requested(self) -> bool:
        self.seen += 1
        return self.seen > 2

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


def resumed(settings: dict[str, Any], first: Place, then: Place, folder: Path) -> tuple[float, float]:
    """A run that goes on at another place than it began at, against one that stays on the CPU.

    Returns how far apart parameters and losses are at the end. Raises AssertionError where it was not resumed.
    """
    path, whole = folder / "checkpoint", Training(settings, log=io.StringIO())
    whole.run()
    begun = Training(settings, device=first.name, log=io.StringIO())
    try:
        begun.run(path, 0.0, _Late())
    except Interrupted:
        pass
    else:
        raise AssertionError("the run was not stopped")
    log = io.StringIO()
    later = Training(settings, device=then.name, log=log)
    assert all(p.device.type == torch.device(then.name).type for b in later.learner.params.values() for p in b.values())
    later.run(path, 0.0)
    assert log.getvalue().startswith(f"resumed at epoch {begun.epoch}") and 0 < begun.epoch < 4
    keys = ("epoch", "step", "metric", "layer", "seed")
    ours, theirs = ([r for r in t.records if r["metric"].endswith("_loss")] for t in (later, whole))
    assert [[r[k] for k in keys] for r in ours] == [[r[k] for k in keys] for r in theirs]
    losses = (torch.tensor([r["value"] for r in rows], dtype=torch.float64) for rows in (ours, theirs))
    return apart(later.learner.params, whole.learner.params), apart(*losses)
