"""Cost of Deep Feedback Control: against backpropagation on the same net, and against the official code.

Arrays have the shapes of MNIST and of the student-teacher task, and random content, since the content changes no time.
Everything is computed in double precision, as the paper does. Rates are operations per second: those that have to be
done when the product with the clamped input is made once, divided by the time; noise is drawn beforehand.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch

import credit
from credit.bench._reference import official, product
from credit.bench.base import Row, medians, ratio
from credit.methods.base import Batch, Method
from credit.nets.base import Net

BATCH, POINTS, FEEDBACK_POINTS = 128, 100, 48
CLASSIFIER = credit.dense([784, 256, 256, 256, 10])
AUTOENCODER = credit.dense([784, 256, 32, 256, 784], ["tanh", "linear", "tanh"], loss="mse")
STUDENT = credit.dense([15, 10, 10, 5], loss="mse")
OFFICIAL = {"dfc_ssa": 0.0415, "dfc_ss": 1.0, "autoencoder": 13.4}  # seconds a mini-batch, one thread
STEPS = {"time_points": POINTS}
FIXED = {"train_feedback": False}
FIGURE_3 = {"controller": {"time_points": 250, "k_p": 1.5}, "alpha": 0.0015}
FIGURE_3_STEPS = 300 * 40  # mini-batches of its 300 epochs


class Run:
    """A learning rule with its net, ready to be timed on one mini-batch."""

    def __init__(self, net: Net, rule: Method, dtype: torch.dtype = torch.float64) -> None:
        self.net, self.rule, self.rand = net, rule, credit.Rand([0], dtype=dtype)
        self.params = net.init(self.rand)
        self.state = rule.init(net, self.params, self.rand)
        self.opt = rule.optimizer(net, self.params, self.state, {"name": "adam", "lr": 1e-5})
        x = self.rand.normal("x", (BATCH, *net.shape_in))
        wide = net.loss is CLASSIFIER.loss
        y = self.rand.integers("y", (BATCH,), net.n_out) if wide else self.rand.normal("y", (BATCH, net.n_out))
        self.batch = Batch(x, y)

    def update(self) -> None:
        """A training step of the forward weights."""
        self.rule.update(self.net, self.params, self.opt, self.state, self.batch, self.rand)

    def pretrain(self) -> None:
        """A training step of the feedback weights."""
        self.rule.pretrain(self.net, self.params, self.opt, self.state, self.batch, self.rand)

    def learn(self, passes: int) -> Callable[[], None]:
        """A training step of the forward weights with `passes` steps of the feedback weights."""

        def run() -> None:
            self.update()
            for _ in range(passes):
                self.pretrain()

        return run

    def given_noise(self) -> Callable[[], None]:
        """The gradient of the feedback weights without drawing the noise."""
        steps = self.rule.feedback.time_points - 1
        sizes = [block.n_out for block in self.net.blocks]
        noise = {f"feedback_noise.{i}": torch.randn(1, steps, BATCH, n).double() for i, n in enumerate(sizes)}
        return lambda: self.rule.feedback_gradients(self.net, self.params, self.state, self.batch, noise)


def rule(name: str, **hyper) -> Method:
    """A learning rule with fixed feedback."""
    return credit.method(name, **FIXED, **hyper)


def learner(**feedback) -> Method:
    """DFC-SSA with feedback weights that learn."""
    return credit.method("dfc_ssa", feedback={"init": "xavier_normal", **feedback}, pretrain_lr=1e-4)


def products(net: Net) -> dict[str, int]:
    """Multiplications a sample, of a step of backpropagation and of every time point of the simulations."""
    sizes = [net.shape_in[0], *(block.n_out for block in net.blocks)]
    weights = [a * b for a, b in pairwise(sizes)]
    above, units, n_out = sum(weights[1:]), sum(sizes[1:]), sizes[-1]
    return {
        "bp": 3 * sum(weights) - weights[0],
        "dfc": 2 * above + (units - n_out) * n_out,
        "dfc_ss": above + (units - n_out) * n_out,
        "feedback": above + 2 * units * n_out,
    }


def classifier(repeats: int) -> list[Row]:
    """784-256-256-256-10."""
    feedback = Run(CLASSIFIER, learner(time_points=FEEDBACK_POINTS))
    linear = Run(CLASSIFIER, learner(time_points=FEEDBACK_POINTS, form="linearised"))
    projected = Run(CLASSIFIER, learner(time_points=FEEDBACK_POINTS, form="projected"))
    runs = {
        "bp": Run(CLASSIFIER, credit.method("bp")).update,
        "dfc_ssa": Run(CLASSIFIER, rule("dfc_ssa")).update,
        "mn": Run(CLASSIFIER, credit.method("mn", damping=0.1, target_stepsize=0.1)).update,
        "dfc_ss": Run(CLASSIFIER, rule("dfc_ss", controller=STEPS)).update,
        "dfc": Run(CLASSIFIER, rule("dfc", controller=STEPS)).update,
        "dfc, linearised": Run(CLASSIFIER, rule("dfc", controller=STEPS, form="linearised")).update,
        "feedback": feedback.given_noise(),
        "feedback step": feedback.pretrain,
        "feedback step, linearised": linear.pretrain,
        "feedback step, projected": projected.pretrain,
        "product": product(),
    }
    seconds = medians(runs, repeats)
    middle = {name: statistics.median(s) for name, s in seconds.items()}
    rows = [Row("dfc", f"784-256-256-256-10: {n}", 1e3 * s, "ms") for n, s in middle.items() if n != "product"]
    rows += [Row("dfc", f"{n} / bp", ratio(seconds, n, "bp"), "ratio", "<= 3") for n in ("dfc_ssa", "mn")]
    count = products(CLASSIFIER)
    for name, points in {"dfc": POINTS, "dfc_ss": POINTS, "feedback": FEEDBACK_POINTS}.items():
        work = (points - 1) * count[name] / count["bp"]
        rate = statistics.median(work * b / s for s, b in zip(seconds[name], seconds["bp"], strict=True))
        rows.append(Row("dfc", f"{name}: rate / rate of bp", rate, "ratio", ">= 0.4"))
    for name in ("dfc_ssa", "dfc_ss"):
        gain = official(OFFICIAL[name], middle["product"]) / middle[name]
        rows.append(Row("dfc", f"official / {name}", gain, "ratio"))
    return rows


def single(repeats: int) -> list[Row]:
    """784-256-256-256-10 in single precision, in which most of Table 1 is run."""
    mn = credit.method("mn", damping=0.1, target_stepsize=0.1)
    rules = {"bp": credit.method("bp"), "dfc_ssa": rule("dfc_ssa"), "mn": mn}
    seconds = medians({n: Run(CLASSIFIER, r, torch.float32).update for n, r in rules.items()}, repeats)
    rows = [Row("dfc", f"single precision: {n}", 1e3 * statistics.median(s), "ms") for n, s in seconds.items()]
    ratios = {n: ratio(seconds, n, "bp") for n in ("dfc_ssa", "mn")}
    return rows + [Row("dfc", f"single precision: {n} / bp", r, "ratio", "<= 3") for n, r in ratios.items()]


def learned(repeats: int) -> list[Row]:
    """Steps of learned feedback on 784-256-256-256-10, with the time points of Table 1, in CPU time of the thread."""
    rows = []
    for dtype, steps, whole in ((torch.float32, "<= 2.3", "<= 9"), (torch.float64, "", "")):
        runs = {"bp": Run(CLASSIFIER, credit.method("bp"), dtype).update}
        for form in ("projected", "simulation"):
            run = Run(CLASSIFIER, learner(time_points=FEEDBACK_POINTS, form=form), dtype)
            runs |= {f"feedback step, {form}": run.pretrain, f"dfc_ssa + 3 steps, {form}": run.learn(3)}
        seconds, name = medians(runs, repeats, time.thread_time), str(dtype).removeprefix("torch.")
        least = {n: min(s) for n, s in seconds.items()}
        targets = {"feedback step, projected": steps, "dfc_ssa + 3 steps, projected": whole}
        rows += [Row("dfc", f"{name}: {n}", 1e3 * s, "ms") for n, s in least.items()]
        rows += [
            Row("dfc", f"{name}: {n} / bp", s / least["bp"], "ratio", targets.get(n, ""))
            for n, s in least.items()
            if n != "bp"
        ]
    return rows


def autoencoder(repeats: int) -> list[Row]:
    """784-256-32-256-784, whose steady state is that of 256 equations for every sample."""
    runs = {
        "bp": Run(AUTOENCODER, credit.method("bp")).update,
        "dfc_ssa": Run(AUTOENCODER, rule("dfc_ssa")).update,
        "product": product(),
    }
    seconds = medians(runs, repeats)
    gain = official(OFFICIAL["autoencoder"], statistics.median(seconds["product"]))
    ours = statistics.median(seconds["dfc_ssa"])
    return [
        Row("dfc", "autoencoder: dfc_ssa", 1e3 * ours, "ms"),
        Row("dfc", "autoencoder: dfc_ssa / bp", ratio(seconds, "dfc_ssa", "bp"), "ratio", "<= 45"),
        Row("dfc", "autoencoder: official / dfc_ssa", gain / ours, "ratio"),
    ]


def student(repeats: int) -> list[Row]:
    """15-10-10-5: the updates of the seven curves of Figure 3, without its measurements."""
    runs = {
        "dfc": Run(STUDENT, rule("dfc", **FIGURE_3)).update,
        "dfc_ss": Run(STUDENT, rule("dfc_ss", **FIGURE_3)).update,
        "dfc_ssa": Run(STUDENT, rule("dfc_ssa")).update,
        "dfa": Run(STUDENT, credit.method("dfa")).update,
        "feedback step": Run(STUDENT, learner()).pretrain,
    }
    middle = {name: statistics.median(s) for name, s in medians(runs, repeats).items()}
    rows = [Row("dfc", f"15-10-10-5: {n}", 1e3 * s, "ms") for n, s in middle.items()]
    controlled = middle["dfc"] + middle["dfc_ss"] + middle["dfc_ssa"]
    total = FIGURE_3_STEPS * (2 * controlled + 3 * 3 * middle["feedback step"] + middle["dfa"])
    return [*rows, Row("dfc", "all updates of Figure 3, one seed", total / 60, "min", "<= 60")]


def run(repeats: int = 15) -> list[Row]:
    """Rows of this benchmark; one thread."""
    torch.set_num_threads(1)
    few = max(1, repeats // 3)
    return [*classifier(repeats), *single(repeats), *learned(repeats), *autoencoder(few), *student(repeats)]
