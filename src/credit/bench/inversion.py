"""Cost of dynamic inversion: against backpropagation, NDI, and the authors' programs, on the paper's nets.

Arrays have the shapes of the experiments and random content, which changes no time. The authors' programs (numpy, and
loops compiled by numba) were timed on one thread, in CPU seconds per sample.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

import credit
from credit.bench._reference import official, product
from credit.bench.base import Row, medians, ratio
from credit.methods.base import Batch
from credit.methods.inversion.dynamics import run_linear
from credit.methods.inversion.operators import invert
from credit.nets.base import Net
from credit.tasks.supervised import Split, Supervised
from credit.training.learner import Learner

DOUBLE = torch.float64
CLASSIFIER = {"bp": 6.7e-3, "fa": 6.5e-3, "pbp": 6.7e-3, "ndi-undamped": 6.6e-3, "ndi": 6.7e-3}  # official, a sample
LOOP = 6.0e-3  # official loop of 999 steps, one sample, 10 x 1000 units
MODELS = {
    "bp": ("di_bp", {}),
    "fa": ("di_fa", {}),
    "pbp": ("pbp", {}),
    "ndi-undamped": ("ndi", {"leak": 0.0}),
    "ndi": ("ndi", {"leak": 0.01}),
    "di": ("di", {"leak": 0.01, "restabilize": False}),
}
SMALL = {"name": "uniform", "scale": 0.01}
EPOCH, SEEDS, EVALUATIONS = 60_000, 5, 12


def learner(name: str, net: Net, members: int, lr: float, decay: float) -> Learner:
    """A stack of one of the MNIST experiments' models, in float64."""
    rule_name, hyper = MODELS[name]
    rule, rand = credit.method(rule_name, **hyper), credit.Rand(list(range(members)), dtype=DOUBLE)
    params = net.init(rand, SMALL)
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": lr, "decay_unscaled": decay})
    return Learner(net, params, rule, opt, state, rand)


def epochs(students: dict[str, Learner], task: Supervised) -> dict[str, Callable[[], None]]:
    """One pass of the task for each of the students."""

    def one(student: Learner) -> Callable[[], None]:
        def run() -> None:
            student.losses.clear()
            task.epoch(student, student.rand)

        return run

    return {name: one(student) for name, student in students.items()}


def classifier(samples: int, repeats: int) -> list[Row]:
    """784-1000-10, one sample at a time: one net, and the five seeds of Figure 4a as a stack."""
    net = credit.dense([784, 1000, 10], "tanh")
    split = Split(torch.rand(samples, 784, dtype=DOUBLE), torch.randint(10, (samples,)))
    test = Split(torch.rand(10_000, 784, dtype=DOUBLE), torch.randint(10, (10_000,)))
    task = Supervised({"train": split, "test": test}, (784,), 10, 1, 1)
    runs = epochs({m: learner(m, net, 1, 1e-3, 1e-6) for m in MODELS}, task) | {"product": product()}
    seconds = medians(runs, repeats)
    here = statistics.median(seconds["product"])
    rows = []
    for name in MODELS:
        ours = statistics.median(seconds[name]) / samples
        rows.append(Row("inversion", f"classifier, {name}, a sample", 1e3 * ours, "ms"))
        if name in CLASSIFIER:
            gain = official(CLASSIFIER[name], here) / ours
            rows.append(Row("inversion", f"classifier, official / {name}", gain, "ratio", ">= 20"))
    stacks = {m: learner(m, net, SEEDS, 1e-3, 1e-6) for m in MODELS}
    loss = net.loss
    runs = epochs(stacks, task) | {
        f"test {m}": lambda s=s: task.evaluate(s, loss, ("test",)) for m, s in stacks.items()
    }
    seconds = medians(runs, max(repeats // 3, 1))
    for name, theirs in CLASSIFIER.items():
        ours = statistics.median(seconds[name]) / samples / SEEDS
        gain = official(theirs, here) / ours
        rows.append(Row("inversion", f"classifier, {SEEDS} nets as a stack, official / {name}", gain, "ratio", ">= 20"))
    total = sum(
        statistics.median(seconds[m]) / samples * EPOCH + EVALUATIONS * statistics.median(seconds[f"test {m}"])
        for m in MODELS
    )
    rows.append(Row("inversion", "Figure 4a, an epoch of all models, 5 seeds", total / 60, "min", "<= 15"))
    return rows


def dynamics(repeats: int) -> list[Row]:
    """999 steps of DI on 10 x 1000 units, batch 64, against NDI and the loop."""
    rand = credit.Rand([0], dtype=DOUBLE)
    weight, delta = rand.uniform("w", (10, 1000), -0.01, 0.01), rand.normal("d", (64, 10))
    feedback = -weight.mT.contiguous()
    runs = {
        "DI": lambda: [run_linear(weight, feedback, 0.01, delta, 0.5, 999) for _ in range(20)],
        "NDI": lambda: [invert(weight, feedback, 0.01, delta) for _ in range(20)],
        "product": product(),
    }
    seconds = medians(runs, repeats)
    ours = statistics.median(seconds["DI"]) / 20
    theirs = official(64 * LOOP, statistics.median(seconds["product"]))
    return [
        Row("inversion", "DI, 10 x 1000 units, batch 64", 1e3 * ours, "ms"),
        Row("inversion", "DI / NDI", ratio(seconds, "DI", "NDI"), "ratio", "<= 3"),
        Row("inversion", "official loop / DI", theirs / ours, "ratio", ">= 100"),
    ]


def autoencoder(batches: int, repeats: int) -> list[Row]:
    """784-500-250-30-250-500-784, batch 100: a whole step of NDI and PBP against one of BP."""
    sizes, hidden = [784, 500, 250, 30, 250, 500, 784], ["tanh", "tanh", "linear", "tanh", "tanh"]
    net = credit.dense(sizes, hidden, loss="squared_error_sum")
    x = torch.rand(100 * batches, 784, dtype=DOUBLE)
    task = Supervised({"train": Split(x, x)}, (784,), 784, 1, 100)
    names = ("bp", "ndi", "pbp")
    seconds = medians(epochs({m: learner(m, net, 1, 1e-6, 1e-10) for m in names}, task), repeats)
    rows = [Row("inversion", f"autoencoder, {m}", 1e3 * statistics.median(seconds[m]) / batches, "ms") for m in names]
    return rows + [
        Row("inversion", f"autoencoder, {m} / bp", ratio(seconds, m, "bp"), "ratio", "<= 3") for m in names[1:]
    ]


def regressions(steps: int, repeats: int) -> list[Row]:
    """Updates of the regressions with all seeds as a stack, carried to the length of Figures 3a-f and 3g-k."""
    minutes = {}
    for figure, (sizes, hidden, rules, members, length) in {
        "3a-f": ([30, 20, 10], "linear", [*LINEAR, "di", "di", "di"], 20, 6000),
        "3g-k": ([30, 20, 10, 10], "tanh", [*LINEAR, "di", "di", "di", "sdi", "sdi", "sdi"], 10, 20_000),
    }.items():
        net = credit.dense(sizes, hidden, loss="half_squared_error", bias=figure == "3g-k")
        runs = {rule: _updates(rule, net, members, steps) for rule in dict.fromkeys(rules)}
        seconds = {rule: statistics.median(s) / steps for rule, s in medians(runs, repeats).items()}
        minutes[figure] = sum(seconds[rule] for rule in rules) * length / 60
    # both cores of the stated machine share the models
    return [
        Row(
            "inversion",
            "Figure 3a-f, updates of all models, 20 seeds, per core of two",
            minutes["3a-f"] / 2,
            "min",
            "<= 2",
        ),
        Row(
            "inversion",
            "Figure 3g-k, updates of all models, 10 seeds, per core of two",
            minutes["3g-k"] / 2,
            "min",
            "<= 30",
        ),
    ]


LINEAR = ["di_bp", "di_fa", "di_fa", "pbp", "ndi", "ndi", "ndi"]


def _updates(rule_name: str, net: Net, members: int, steps: int) -> Callable[[], None]:
    rule, rand = credit.method(rule_name, clip=10.0), credit.Rand(list(range(members)), dtype=DOUBLE)
    params = net.init(rand, SMALL)
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 1e-4})
    x = rand.normal("x", (steps, 30))
    y = rand.uniform("y", (steps, 10), -0.01, 0.01)

    def run() -> None:
        for k in range(steps):
            rule.update(net, params, opt, state, Batch(x[:, k : k + 1], y[:, k : k + 1]), rand)

    return run


def run(samples: int = 400, repeats: int = 9) -> list[Row]:
    """Rows of this benchmark; one thread."""
    torch.set_num_threads(1)
    return [*classifier(samples, repeats), *dynamics(repeats), *autoencoder(3, repeats), *regressions(60, 5)]
