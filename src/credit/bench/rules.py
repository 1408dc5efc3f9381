"""Cost of the learning rules: one epoch of an MNIST-size net, against plain PyTorch and against backpropagation.

The arrays have MNIST's shapes and random content, since the content changes no time.
"""

from __future__ import annotations

import statistics

import torch
from torch import nn

import credit
from credit.bench.base import Row, medians, ratio
from credit.tasks.supervised import Split, Supervised
from credit.training.learner import Learner

SIZES = [784, 256, 256, 256, 10]
BATCH = 128


def learner(name: str, seeds: list[int], sizes: list[int] = SIZES) -> Learner:
    """A stack with Adam."""
    net, rule = credit.dense(sizes), credit.method(name)
    rand = credit.Rand(seeds)
    params = net.init(rand)
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": "adam", "lr": 1e-3})
    return Learner(net, params, rule, opt, state, rand)


def plain_epoch(x: torch.Tensor, y: torch.Tensor):
    """The loop that a PyTorch tutorial writes, over x (N, 784) and y (N,) in memory."""
    layers: list[nn.Module] = []
    for a, b in zip(SIZES[:-1], SIZES[1:], strict=True):
        layers += [nn.Linear(a, b), nn.Tanh()]
    net = nn.Sequential(*layers[:-1])
    opt, loss = torch.optim.Adam(net.parameters(), lr=1e-3), nn.CrossEntropyLoss()

    def epoch() -> None:
        total = 0.0
        for index in torch.randperm(len(x)).split(BATCH):
            opt.zero_grad()
            value = loss(net(x[index]), y[index])
            value.backward()
            opt.step()
            total += value.item()

    return epoch


def our_epoch(name: str, task: Supervised):
    """One epoch of a rule, as the training loop runs it."""
    student = learner(name, [0])

    def epoch() -> None:
        student.losses.clear()
        task.epoch(student, student.rand)

    return epoch


def run(samples: int = 55_000, repeats: int = 5) -> list[Row]:
    """Rows of this benchmark; one thread."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(samples, 784, generator=generator)
    y = torch.randint(10, (samples,), generator=generator)
    task = Supervised({"train": Split(x, y)}, (784,), 10, 1, BATCH)
    runs = {"plain PyTorch": plain_epoch(x, y)} | {
        n: our_epoch(n, task) for n in ("bp", "fa", "dfa", "drtp", "shallow")
    }
    seconds = medians(runs, repeats)
    rows = [Row("rules", f"{n}, one epoch of {samples}", statistics.median(s), "s") for n, s in seconds.items()]
    rows.append(Row("rules", "bp / plain PyTorch", ratio(seconds, "bp", "plain PyTorch"), "ratio", "<= 1.0"))
    for name, bound in (("fa", "<= 1.03"), ("dfa", "<= 1.0"), ("drtp", "<= 1.0")):
        rows.append(Row("rules", f"{name} / bp", ratio(seconds, name, "bp"), "ratio", bound))
    return rows
