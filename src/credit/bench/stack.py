"""What a stack saves: 32 small networks at once against one after another."""

from __future__ import annotations

import statistics

import torch
from torch import nn

import credit
from credit.bench.base import Row, medians, ratio
from credit.bench.rules import learner

SIZES = [30, 20, 10]
BATCH, MEMBERS, STEPS = 32, 32, 50


def steps(students: list, batches: list) -> None:
    """STEPS updates of every stack in turn."""
    for student, batch in zip(students, batches, strict=True):
        student.losses.clear()
        for _ in range(STEPS):
            student.update(batch)


def plain_steps(x: torch.Tensor, y: torch.Tensor) -> None:
    """STEPS updates of one network after another, x (M, B, n), y (M, B), as a PyTorch tutorial writes them."""
    loss = nn.CrossEntropyLoss()
    for inputs, targets in zip(x, y, strict=True):
        net = nn.Sequential(nn.Linear(SIZES[0], SIZES[1]), nn.Tanh(), nn.Linear(SIZES[1], SIZES[2]))
        opt = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(STEPS):
            opt.zero_grad()
            loss(net(inputs), targets).backward()
            opt.step()


def run(repeats: int = 7) -> list[Row]:
    """Rows of this benchmark; one thread."""
    torch.set_num_threads(1)
    seeds = list(range(MEMBERS))
    x = torch.randn(MEMBERS, BATCH, SIZES[0], generator=torch.Generator().manual_seed(0))
    y = torch.randint(SIZES[-1], (MEMBERS, BATCH), generator=torch.Generator().manual_seed(1))
    together = [learner("bp", seeds, SIZES)], [credit.Batch(x, y)]
    alone = [learner("bp", [s], SIZES) for s in seeds], [credit.Batch(x[s : s + 1], y[s : s + 1]) for s in seeds]
    runs = {
        "stack": lambda: steps(*together),
        "one by one": lambda: steps(*alone),
        "plain PyTorch, one by one": lambda: plain_steps(x, y),
    }
    seconds = medians(runs, repeats)
    rows = [
        Row("stack", f"{n}, {MEMBERS} nets, one step", statistics.median(s) / STEPS * 1e3, "ms")
        for n, s in seconds.items()
    ]
    return [
        *rows,
        Row("stack", "one by one / stack", ratio(seconds, "one by one", "stack"), "ratio", ">= 15"),
        Row(
            "stack", "plain PyTorch, one by one / stack", ratio(seconds, "plain PyTorch, one by one", "stack"), "ratio"
        ),
    ]
