"""Cost of the grids of motor learning and fear conditioning, in one thread and process, with the task's own loop.

CPU time of the sessions, without the start of the jobs. One width of the initial weights is timed; the others take the
same time.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import time
from typing import Any

import torch

import credit
from credit.bench.base import Row, medians
from credit.tasks.base import Context
from credit.tasks.conditioning import PHASES, ConditioningConfig
from credit.tasks.motor import MotorConfig
from credit.training.learner import Learner

LR = (0.5, 0.1, 0.05, 0.01, 5e-3, 1e-3, 5e-4, 1e-4, 5e-5, 1e-5, 5e-6, 1e-6)
MEMORY_LR = (0.1, 0.05, 0.01, 5e-3, 1e-3, 5e-4)
RATES = (1.0, 0.1, 0.01, 1e-3)  # of each of three weights
MOTOR, FEAR = (24, 6), (8, 4)  # seeds, widths of the initial weights
HYPER = {
    "motor": {"steps": 256, "inference": {"lr": 0.1, "discount": 0.9}},
    "fear": {"steps": 200, "inference": {"lr": 0.5, "discount": 0.5}},
}


def session(name: str, config: MotorConfig | ConditioningConfig, seeds: list[int], optimizer: dict, **hyper: Any):
    """A function that trains a new stack of nets 2-2-n through one epoch of a task."""
    n_out = config.shape[1]
    net = credit.dense([2, 2, n_out], "linear", loss="squared_error_sum", bias=False, connections=["diagonal", "full"])

    def run() -> None:
        rand, rule = credit.Rand(seeds), credit.method(name, **hyper)
        params = net.init(rand, {"name": "normal", "std": 0.1})
        opt = rule.optimizer(net, params, {}, {"name": "sgd", **optimizer})
        task = config.build(Context(rand, len(seeds), torch.device("cpu"), torch.float32))
        task.epoch(Learner(net, params, rule, opt, {}, rand), rand)

    return run


def motor(name: str):
    """One width of the motor grid, 1728 nets."""
    points = list(itertools.product(LR, MEMORY_LR, range(MOTOR[0])))
    first, second, seeds = (list(column) for column in zip(*points, strict=True))
    hyper = HYPER["motor"] if name == "pc" else {}
    return session(name, MotorConfig(), seeds, {"lr": {"0": first, "1": second}}, **hyper)


def fear(name: str):
    """One width of the grid of conditioning, 512 nets for each of three groups."""
    points = list(itertools.product(RATES, RATES, RATES, range(FEAR[0])))
    first, light, noise, seeds = (list(column) for column in zip(*points, strict=True))
    optimizer = {"lr": {"0": first, "1": 1.0}, "units": {"1": {"0": light, "1": noise}}}
    hyper = HYPER["fear"] if name == "pc" else {}
    groups = [session(name, ConditioningConfig(group), seeds, optimizer, **hyper) for group in PHASES]

    def run() -> None:
        for group in groups:
            group()

    return run


def run(repeats: int = 3) -> list[Row]:
    """Rows of this benchmark; one thread."""
    torch.set_num_threads(1)
    runs = {f"{grid} {name}": made(name) for grid, made in (("motor", motor), ("fear", fear)) for name in ("pc", "bp")}
    seconds = {name: statistics.median(times) for name, times in medians(runs, repeats, time.process_time).items()}
    rows = [Row("behaviour", f"{name}, one width of the initial weights", s, "s") for name, s in seconds.items()]
    for grid, (_, widths), bound in (("motor", MOTOR, "<= 360"), ("fear", FEAR, "<= 60")):
        whole = widths * (seconds[f"{grid} pc"] + seconds[f"{grid} bp"])
        rows.append(Row("behaviour", f"{grid}, the whole grid, CPU time", whole, "s", bound))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [*rows, Row("behaviour", "memory of the process", peak, "GiB", "<= 2")]
