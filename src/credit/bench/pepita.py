"""Cost of PEPITA: a step against a step of backpropagation on the same net, and against the authors' programs.

The arrays have the shapes of MNIST and CIFAR-10 and random content, since the content changes no time. The authors'
programs were timed per mini-batch (CPU seconds, one thread): numpy for fully connected nets, PyTorch for the others.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

import credit
from credit.bench._reference import official, product
from credit.bench.base import Row, medians, ratio
from credit.methods.base import Batch
from credit.nets.base import Net
from credit.training.learner import Learner

SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "lr_in_velocity": True}
CASES = {  # name: (input, batch, rule, bound on rule / bp, official seconds, bound on official / rule)
    "784-1024-10": ((784,), 64, "pepita", 1.15, 0.147, 25),
    "3072-1024-10": ((3072,), 64, "pepita", 1.15, 0.583, 25),
    "conv, MNIST": ((1, 28, 28), 50, "pepita_conv", 1.6, 0.120, 6),
    "conv, CIFAR-10": ((3, 32, 32), 50, "pepita_conv", 1.6, 0.322, 6),
}
STACK = 3  # nets
TUTORIAL = "3072-1024-10"
TUTORIAL_BATCHES = 100 * 782  # 100 epochs of CIFAR-10


def net_for(shape: tuple[int, ...]) -> tuple[Net, str]:
    """The published net for inputs of this shape, and its initialisation."""
    if len(shape) == 1:
        return credit.dense([*shape, 1024, 10], "relu", bias=False, keep=0.9), "he_uniform"
    return credit.conv(shape, [32], [], 10, kernel=5, pool=2, hidden="relu", bias=False), "torch_default"


def steps(shape: tuple[int, ...], batch_size: int, rule_name: str, count: int, nets: int = 1) -> Callable[[], None]:
    """`count` updates of a stack of nets, as the learner makes them."""
    net, scheme = net_for(shape)
    rule, rand = credit.method(rule_name), credit.Rand(list(range(nets)))
    params = net.init(rand, scheme)
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, SGD)
    x, y = torch.rand(nets, batch_size, *shape), torch.randint(10, (nets, batch_size))
    learner = Learner(net, params, rule, opt, state, rand)

    def run() -> None:
        learner.losses.clear()
        for _ in range(count):
            learner.update(Batch(x, y))

    return run


def run(count: int = 30, repeats: int = 9) -> list[Row]:
    """Rows of this benchmark; one thread."""
    torch.set_num_threads(1)
    rows = []
    for name, (shape, batch_size, rule, bound, theirs, faster) in CASES.items():
        n = count if len(shape) == 1 else max(count // 6, 1)
        runs = {r: steps(shape, batch_size, r, n) for r in ("bp", rule)} | {"product": product()}
        if len(shape) == 1:
            runs["stack"] = steps(shape, batch_size, rule, n // STACK, STACK)
        seconds = medians(runs, repeats)
        ours = statistics.median(seconds[rule]) / n
        rows.append(Row("pepita", f"{name}: bp, one update", 1e3 * statistics.median(seconds["bp"]) / n, "ms"))
        rows.append(Row("pepita", f"{name}: {rule}, one update", 1e3 * ours, "ms"))
        rows.append(Row("pepita", f"{name}: {rule} / bp", ratio(seconds, rule, "bp"), "ratio", f"<= {bound}"))
        scaled = official(theirs, statistics.median(seconds["product"]))
        rows.append(Row("pepita", f"{name}: official / {rule}", scaled / ours, "ratio", f">= {faster}"))
        if "stack" in runs:
            each = statistics.median(seconds["stack"]) / (n // STACK * STACK)
            rows.append(Row("pepita", f"{name}: {rule} in a stack of {STACK}, one update of a net", 1e3 * each, "ms"))
            rows.append(Row("pepita", f"{name}: official / {rule} in a stack of {STACK}", scaled / each, "ratio"))
        if name == TUTORIAL:
            minutes = ours * TUTORIAL_BATCHES / 60
            rows.append(Row("pepita", "100 epochs of the CIFAR-10 tutorial, updates", minutes, "min", "<= 15"))
    return rows
