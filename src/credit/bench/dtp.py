"""Cost of difference target propagation (L-DRL): against backpropagation, and against the official form of its step.

float32, batch 128, one thread, random pictures, since the content changes no time. A step at the published numbers of
iterations takes 5 to 50 seconds: the forward phase, the set-up of every feedback block and single iterations are timed,
the last multiplied by their number. Times are CPU times of interleaved runs. BP is plain PyTorch: autograd and
torch.optim.SGD, contiguous.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

import credit
from credit.bench._targets import Official, backpropagation
from credit.bench.base import Row, medians
from credit.bench.memory import random_images, spec
from credit.bench.workflow import ROOT, measure
from credit.methods.base import Batch, forward
from credit.methods.targets.chain import links
from credit.methods.targets.fused import fused
from credit.nets.conv import Conv
from credit.provenance.spec import canonical_json

BATCH, SHAPE = 128, (3, 32, 32)
SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
NETS = {  # name: settings of the net; iterations, sigma and lr by block; bounds on step / BP, official / step, bp / BP
    "LeNet": (
        {"channels": [32, 64], "hidden_sizes": [512], "kernel": (5, 1, 2), "pool": (3, 2, 1)},
        {"iterations": (41, 51, 24), "sigma": (0.4164, 0.3826, 0.1395), "lr": (7.188e-4, 1.251e-4, 0.03541)},
        (27, 3.1, 0.75),
    ),
    "SimpleVGG": (
        {"channels": [128, 128, 256, 256, 512], "hidden_sizes": [], "kernel": (3, 1, 1), "pool": (2, 2, 0)},
        {
            "iterations": (20, 30, 35, 55, 20),
            "sigma": (0.4, 0.4, 0.2, 0.2, 0.08),
            "lr": (1e-4, 3.5e-4, 8e-3, 8e-3, 0.18),
        },
        (21, 2.9, 0.9),
    ),
}


class Ours:
    """A learning rule with its net, one mini-batch, and the fast form of its step."""

    def __init__(self, name: str, rule: str, x: torch.Tensor, labels: torch.Tensor, **hyper) -> None:
        self.net = credit.conv(SHAPE, n_out=10, hidden="elu", **NETS[name][0])
        self.rand, self.rule = credit.Rand([0]), credit.method(rule, **hyper)
        self.params = self.net.init(self.rand, "torch_default")
        self.state = self.rule.init(self.net, self.params, self.rand)
        self.opt = self.rule.optimizer(self.net, self.params, self.state, SGD)
        self.batch = Batch(x[None], labels[None])
        self.fast = self.rule.fast(self.net, self.params, self.opt, self.state, self.batch, BATCH)

    def step(self) -> None:
        """One update."""
        (self.fast or self._plain)(self.params, self.opt, self.state, self.batch, self.rand)

    def _plain(self, *given) -> None:
        self.rule.update(self.net, *given)

    def iterations(self) -> dict[str, Callable[[], None]]:
        """The set-up of every feedback block, and one iteration without the loss, which only the last one makes."""
        run = forward(self.net, self.params, self.batch, self.rand)
        chain = links(self.net, self.params, run.trace, self.rule.feedback.collisions)
        runs: dict[str, Callable[[], None]] = {}
        for i, link in chain.items():
            runs[f"set-up {i}"] = lambda link=link: fused(link)
            runs[f"iteration {i}"] = self._iteration(i, fused(link))
        return runs

    def _iteration(self, i: int, step) -> Callable[[], None]:
        sigma = self.rule.sigma(i, self.state)

        def run() -> None:
            found = step(self.state["feedback"][str(i)], sigma, self.rand, f"noise.{i}", loss=False)
            self.opt.others["feedback"].step(self.state["feedback"], {str(i): found.gradients})

        return run


def convolutions(layer: Conv) -> Callable[[], None]:
    """Torch's four convolutions of an iteration: forth, back, and two gradients of the weight."""
    x, z = torch.randn(BATCH, *layer.shape_in), torch.randn(BATCH, *layer.shape_pre)
    weight, window = torch.randn(layer.shapes()["weight"]), {"padding": layer.padding}

    def run() -> None:
        F.conv2d(x, weight, **window)
        conv2d_input(x.shape, weight, z, **window)
        conv2d_weight(x, weight.shape, z, **window)
        conv2d_weight(x, weight.shape, z, **window)

    return run


def speeds(name: str, repeats: int) -> list[Row]:
    """Of one net."""
    _, feedback, (bound, gain, own) = NETS[name]
    count = feedback["iterations"]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, *SHAPE, generator=generator)
    labels = torch.randint(10, (BATCH,), generator=generator)
    ours = Ours(name, "ldrl", x, labels, feedback=feedback | {"iterations": 0})
    official = Official(ours.net, x, labels, feedback["sigma"], feedback["lr"])
    runs = {
        "BP": backpropagation(ours.net, x, labels),
        "bp": Ours(name, "bp", x, labels).step,
        "forward phase": ours.step,
        "official forward phase": official.forward_step,
    }
    runs |= ours.iterations()
    runs |= {f"official {i}": lambda i=i: official.iteration(i) for i in range(1, len(ours.net))}
    convs = {f"convolutions {i}": convolutions(b) for i, b in enumerate(ours.net.blocks) if i and isinstance(b, Conv)}
    seconds = medians(runs | convs, repeats, time.process_time)

    def whole(first: str, iteration: str, start: str | None = None) -> list[float]:
        total = [0.0] * repeats
        for k in range(repeats):
            total[k] = seconds[first][k] + sum(n * seconds[f"{iteration} {i + 1}"][k] for i, n in enumerate(count))
            total[k] += 0 if start is None else sum(seconds[f"{start} {i + 1}"][k] for i in range(len(count)))
        return total

    seconds["step"], seconds["official step"] = (
        whole("forward phase", "iteration", "set-up"), whole("official forward phase", "official")
    )  # fmt: skip

    def row(quantity: str, top: str, bottom: str, target: str = "") -> Row:
        pairs = zip(seconds[top], seconds[bottom], strict=True)
        return Row("dtp", f"{name}: {quantity}", statistics.median(a / b for a, b in pairs), "ratio", target)

    names = [n for n in seconds if not n.startswith("set-up")]
    rows = [Row("dtp", f"{name}: {n}", 1e3 * statistics.median(seconds[n]), "ms") for n in names]
    rows += [
        row("step / BP", "step", "BP", f"<= {bound}"),
        row("official step / step", "official step", "step", f">= {gain}"),
        row("bp / BP", "bp", "BP", f"<= {own}"),
    ]
    for n in convs:
        i = n.split()[1]
        rows.append(row(f"iteration {i}: rate / rate of torch's convolutions", n, f"iteration {i}", ">= 0.8"))
    return rows


def memory() -> list[Row]:
    """Peak memory of a training job of SimpleVGG with CIFAR-10's number of pictures, two mini-batches learned."""
    net, feedback, _ = NETS["SimpleVGG"]
    job = spec() | {"method": "ldrl", "net": {"kind": "conv", "hidden": "elu", **net}}
    job["rule"] = {"name": "ldrl", "feedback": feedback | {"iterations": 1}}
    job["task"] |= {"validation": 50_000 - 2 * BATCH, "batch_size": BATCH}
    job["train"] |= {"epochs": 1, "optimizer": SGD, "evaluate": {"every": 1, "splits": ["test"]}}
    with tempfile.TemporaryDirectory() as folder:
        random_images(Path(folder) / "random.npz", (50_000, 10_000), SHAPE)
        script = ROOT / "workflow" / "scripts" / "train.py"
        command = [sys.executable, str(script), canonical_json(job), "out.jsonl", "random.npz", "--device", "cpu"]
        _, peak, _ = measure(command, Path(folder))
    return [Row("dtp", "SimpleVGG: training job, peak memory", peak, "MiB", "<= 3072")]


def run(repeats: int = 5) -> list[Row]:
    """Rows of this benchmark; one thread."""
    torch.set_num_threads(1)
    return [*(row for name in NETS for row in speeds(name, repeats)), *memory()]
