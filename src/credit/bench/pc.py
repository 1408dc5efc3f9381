"""Cost of predictive coding: against steps of backpropagation of the same stack, and against the official trainer.

float32, one thread, random inputs, since the content changes no time. Members are seeds times rates, and those of one
seed share their mini-batch. CPU times of interleaved runs. The official trainer's times were measured on a machine
where a product of 2048² took 0.1 s; they are carried over by the same product, which takes its turn here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import credit
from credit.bench.base import Row, medians, ratio
from credit.methods.base import Batch
from credit.numerics.compiled import compiled

REFERENCE, SIDE = 0.1, 2048  # seconds of a product of square matrices where the official trainer was timed


@dataclass(frozen=True)
class Case:
    """A stack, its mini-batches and iterations, the official trainer's seconds of an update of one net, and bounds."""

    sizes: list[int]
    hidden: str
    seeds: int
    rates: int
    batch: int
    steps: int
    official: float
    bounds: dict[str, str] = field(default_factory=dict)
    inference: dict[str, float] = field(default_factory=lambda: {"lr": 0.1, "discount": 0.5})
    ahead: int = 1  # mini-batches in one call, which the training loop makes up to 1024

    @property
    def updates(self) -> int:
        """Updates of single nets in one call."""
        return self.members * self.ahead

    @property
    def members(self) -> int:
        """Of the stack."""
        return self.seeds * self.rates


CASES = {
    "784-32-32-10, B 60, T 64": Case(
        [784, 32, 32, 10], "sigmoid", 3, 13, 60, 64, 42.2e-3, {"bp": "<= 4.5", "official": ">= 90"}
    ),
    "784-64x14-10, B 60, T 128": Case(
        [784, *[64] * 14, 10], "leakyrelu_0.01", 3, 13, 60, 128, 331e-3,
        {"bp": "<= 21", "official": ">= 26", "products": ">= 0.75"},
    ),
    "784-32-32-10, B 1, T 64": Case(
        [784, 32, 32, 10], "sigmoid", 3, 6, 1, 64, 28.7e-3, {"bp": "<= 2.5", "official": ">= 250"}
    ),
    "784-32x3-5, B 500, T 64": Case(
        [784, 32, 32, 32, 5], "sigmoid", 21, 6, 500, 64, 105e-3, {"bp": "<= 5.8"}
    ),
    "2-2-2, B 1, T 256": Case(
        [2, 2, 2], "linear", 24, 72, 1, 256, 90e-3, {"us": "<= 2", "official": ">= 40000"},
        {"lr": 0.1, "discount": 0.9}, ahead=16,
    ),
}  # fmt: skip
CONV = {
    "channels": [64, 128], "hidden_sizes": [512], "n_out": 10, "kernel": (3, 2, 1), "pool": None, "hidden": "relu",
    "bias": [False, False, True, True],
}  # fmt: skip
CONV_BATCH, CONV_STEPS, CONV_OFFICIAL = 200, 16, 2.65


def learning(name: str, net, members: int, batch: Batch, samples: int, optimizer: dict, init: str, **hyper: Any):
    """A function that makes the updates of a batch (S, K samples, ...) as the training loop: at once, or in turn."""
    rule, rand = credit.method(name, **hyper), credit.Rand(list(range(members)))
    params = net.init(rand, init)
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, optimizer)
    x, y = batch.distinct.x, batch.distinct.y
    parts = [Batch(*t, whose=batch.whose) for t in zip(x.split(samples, 1), y.split(samples, 1), strict=True)]
    parts = parts if batch.weights is None else [batch]
    fast = rule.fast(net, params, opt, state, parts[0], samples)
    given = parts if fast is None or fast.at_once < len(parts) else [batch]

    def update() -> None:
        for part in given:
            if fast is None:
                rule.update(net, params, opt, state, part, rand)
            else:
                fast(params, opt, state, part, rand)

    return update


def reference() -> Callable[[], None]:
    """The product by which times are carried over."""
    a = torch.randn(SIDE, SIDE)
    return lambda: torch.mm(a, a)


@compiled
def multiply(steps, h, eps, w, transposed, guess, pulled):
    """Products of `steps` iterations of one net: every layer's predictions and what its errors pull below."""
    for _ in range(steps):
        for layer in range(len(w)):
            np.dot(h[layer], transposed[layer], guess[layer])
            np.dot(eps[layer], w[layer], pulled[layer])


def products(case: Case) -> Callable[[], None]:
    """The products of a stack's update, by the library alone and at the very shapes."""
    rng, pairs = np.random.default_rng(0), list(zip(case.sizes[1:-1], case.sizes[2:], strict=True))

    def drawn(*shapes: tuple[int, int]) -> tuple[np.ndarray, ...]:
        return tuple(rng.random(shape, np.float32) for shape in shapes)

    below, above = ([(case.batch, pair[k]) for pair in pairs] for k in (0, 1))
    w = drawn(*((n, k) for k, n in pairs))
    arrays = drawn(*below), drawn(*above), w, tuple(np.ascontiguousarray(a.T) for a in w), drawn(*above), drawn(*below)

    def run() -> None:
        for _ in range(case.members):
            multiply(case.steps, *arrays)

    return run


def dense(name: str, case: Case, repeats: int) -> list[Row]:
    """Of one stack of dense nets."""
    generator = torch.Generator().manual_seed(0)
    net = credit.dense(case.sizes, hidden=case.hidden, bias=False, loss="squared_error_sum")
    samples = case.batch * case.ahead
    x = torch.rand(case.seeds, samples, case.sizes[0], generator=generator)
    y = torch.randint(case.sizes[-1], (case.seeds, samples), generator=generator)
    given = net, case.members, Batch(x, y, whose=torch.arange(case.seeds).repeat_interleave(case.rates)), case.batch
    sgd = {"name": "sgd", "lr": 1e-6}, "xavier_uniform"
    runs = {
        "pc": learning("pc", *given, *sgd, steps=case.steps, inference=case.inference),
        "bp": learning("bp", *given, *sgd),
        "reference": reference(),
    }
    if "products" in case.bounds:
        runs["products"] = products(case)
    seconds = medians(runs, repeats, time.process_time)
    each = {n: statistics.median(seconds[n]) / case.updates for n in ("pc", "bp")}
    rows = [Row("pc", f"{name}: {n}, a member", 1e6 * s, "us", case.bounds.get("us", "") if n == "pc" else "")
            for n, s in each.items()]  # fmt: skip
    rows.append(Row("pc", f"{name}: pc / bp", ratio(seconds, "pc", "bp"), "ratio", case.bounds.get("bp", "")))
    if "products" in case.bounds:
        quantity = f"{name}: rate / rate of the library's products"
        rows.append(Row("pc", quantity, ratio(seconds, "products", "pc"), "ratio", case.bounds["products"]))
    return [*rows, carried(name, seconds, case.official * case.updates, case.bounds.get("official", ""))]


def carried(name: str, seconds: dict[str, list[float]], official: float, bound: str) -> Row:
    """The official trainer's seconds for the same update, carried over, to ours."""
    factor = statistics.median(a / b for a, b in zip(seconds["reference"], seconds["pc"], strict=True))
    return Row("pc", f"{name}: official, carried over / pc", official / REFERENCE * factor, "ratio", bound)


def convolutional(repeats: int) -> list[Row]:
    """Of the net of Figure 4i: 16 iterations, each with a step of Adam, against 16 steps of backpropagation."""
    generator = torch.Generator().manual_seed(0)
    net = credit.conv((3, 32, 32), loss="squared_error_sum", **CONV)
    x = torch.rand(1, CONV_BATCH, 3, 32, 32, generator=generator)
    y = torch.randint(10, (1, CONV_BATCH), generator=generator)
    given = net, 1, Batch(x, y), CONV_BATCH
    adam = {"name": "adam", "lr": 1e-5, "weight_decay": 0.01}, "torch_default"
    runs = {
        "pc": learning("pc", *given, *adam, steps=CONV_STEPS, inference={"lr": 0.5}, weight_updates="all"),
        "bp": learning("bp", *given, *adam, steps=CONV_STEPS),
        "reference": reference(),
    }
    seconds, name = medians(runs, repeats, time.process_time), "conv net, B 200, 16 steps"
    rows = [Row("pc", f"{name}: {n}", statistics.median(seconds[n]), "s") for n in ("pc", "bp")]
    rows.append(Row("pc", f"{name}: pc / bp", ratio(seconds, "pc", "bp"), "ratio", "<= 1.4"))
    return [*rows, carried(name, seconds, CONV_OFFICIAL, ">= 1.3")]


Q_SIZES, Q_BATCH, Q_STEPS, Q_MEMBERS, Q_OFFICIAL = [4, 128, 128, 2], 60, 32, 18, 26.8e-3


def q_learning(repeats: int) -> list[Row]:
    """Of the net of Figure 4k: every member with a mini-batch of its own, an error of one output alone."""
    generator = torch.Generator().manual_seed(0)
    net = credit.dense(Q_SIZES, hidden="sigmoid", bias=True, loss="squared_error_sum")
    x = torch.randn(Q_MEMBERS, Q_BATCH, Q_SIZES[0], generator=generator)
    chosen = torch.randint(Q_SIZES[-1], (Q_MEMBERS, Q_BATCH, 1), generator=generator)
    weights = torch.zeros(Q_MEMBERS, Q_BATCH, Q_SIZES[-1]).scatter_(-1, chosen, 1.0)
    batch = Batch(x, weights * torch.randn(weights.shape, generator=generator), weights)
    given, sgd = (net, Q_MEMBERS, batch, Q_BATCH), ({"name": "sgd", "lr": 1e-6}, "torch_default")
    runs = {
        "pc": learning("pc", *given, *sgd, steps=Q_STEPS, inference={"lr": 0.05, "discount": 1.0}),
        "bp": learning("bp", *given, *sgd),
        "reference": reference(),
    }
    seconds, name = medians(runs, repeats, time.process_time), "Q-learning, 4-128-128-2, B 60, T 32"
    each = {n: statistics.median(seconds[n]) / Q_MEMBERS for n in ("pc", "bp")}
    rows = [Row("pc", f"{name}: {n}, a member", 1e6 * s, "us") for n, s in each.items()]
    rows.append(Row("pc", f"{name}: pc / bp", ratio(seconds, "pc", "bp"), "ratio"))
    return [*rows, carried(name, seconds, Q_OFFICIAL * Q_MEMBERS, ">= 20")]


def run(repeats: int = 7) -> list[Row]:
    """Rows of this benchmark; one thread."""
    torch.set_num_threads(1)
    rows = [row for name, case in CASES.items() for row in dense(name, case, repeats)]
    return [*rows, *q_learning(repeats), *convolutional(max(repeats // 2, 3))]
