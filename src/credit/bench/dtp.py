"""Cost of difference target propagation (L-DRL): against backpropagation, and against the official form of its step.

float32, batch 128, one thread, random pictures, since the content changes no time. A step at the published numbers of
iterations takes 5 to 50 seconds: the forward phase, the set-up of every feedback block and single iterations are timed,
the last multiplied by their number. Times are CPU times of interleaved runs. BP is plain PyTorch: autograd and
torch.optim.SGD, contiguous.
"""

from __future__ import annotations

import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

import credit
from credit.bench._targets import Official, backpropagation
from credit.bench.base import Row, medians, ratio
from credit.bench.memory import random_images, spec
from credit.bench.workflow import ROOT, measure
from credit.methods.base import Batch, forward
from credit.methods.targets.chain import Link, links
from credit.methods.targets.fused import Fused, fused
from credit.nets.conv import Conv
from credit.provenance.spec import canonical_json

BATCH, SHAPE = 128, (3, 32, 32)
SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
NETS = {  # name: settings of the net; iterations, sigma and lr by block; bounds
    "LeNet": (
        {"channels": [32, 64], "hidden_sizes": [512], "kernel": (5, 1, 2), "pool": (3, 2, 1)},
        {"iterations": (41, 51, 24), "sigma": (0.4164, 0.3826, 0.1395), "lr": (7.188e-4, 1.251e-4, 0.03541)},
        {"BP": 27, "official": 3.1, "own BP": 0.75, "bfloat16": 16},
    ),
    "SimpleVGG": (
        {"channels": [128, 128, 256, 256, 512], "hidden_sizes": [], "kernel": (3, 1, 1), "pool": (2, 2, 0)},
        {
            "iterations": (20, 30, 35, 55, 20),
            "sigma": (0.4, 0.4, 0.2, 0.2, 0.08),
            "lr": (1e-4, 3.5e-4, 8e-3, 8e-3, 0.18),
        },
        {"BP": 21, "official": 2.9, "own BP": 0.9, "bfloat16": 11},
    ),
}


class Ours:
    """A learning rule with its net, one mini-batch, and the fast form of its step."""

    def __init__(self, name: str, rule: str, x: torch.Tensor, labels: torch.Tensor, seed: int = 0, **hyper) -> None:
        self.net = credit.conv(SHAPE, n_out=10, hidden="elu", **NETS[name][0])
        self.rand, self.rule = credit.Rand([seed]), credit.method(rule, **hyper)
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

    def chain(self) -> dict[int, Link]:
        """The blocks with feedback, at the mini-batch."""
        run = forward(self.net, self.params, self.batch, self.rand)
        return links(self.net, self.params, run.trace, self.rule.feedback.collisions)

    def iterations(self, suffix: str = "") -> dict[str, Callable[[], None]]:
        """The set-up of every feedback block, and one iteration without the loss, which only the last one makes."""
        runs: dict[str, Callable[[], None]] = {}
        for i, link in self.chain().items():
            runs[f"set-up{suffix} {i}"] = lambda link=link: fused(link, self.rule.products)
            runs[f"iteration{suffix} {i}"] = self._iteration(i, fused(link, self.rule.products))
        return runs

    def _iteration(self, i: int, step: Fused) -> Callable[[], None]:
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


def mini_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Random pictures (B, C, H, W) and labels (B,)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, *SHAPE, generator=generator), torch.randint(10, (BATCH,), generator=generator)


def speeds(name: str, repeats: int) -> list[Row]:
    """Of one net."""
    _, feedback, bounds = NETS[name]
    x, labels = mini_batch()
    ours, low = (
        Ours(name, "ldrl", x, labels, feedback=feedback | {"iterations": 0}, products=p) for p in ("full", "bfloat16")
    )
    official = Official(ours.net, x, labels, feedback["sigma"], feedback["lr"])
    runs = {
        "BP": backpropagation(ours.net, x, labels),
        "bp": Ours(name, "bp", x, labels).step,
        "forward phase": ours.step,
        "official forward phase": official.forward_step,
    }
    runs |= ours.iterations() | low.iterations(" bfloat16")
    runs |= {f"official {i}": lambda i=i: official.iteration(i) for i in range(1, len(ours.net))}
    convs = {f"convolutions {i}": convolutions(b) for i, b in enumerate(ours.net.blocks) if i and isinstance(b, Conv)}
    seconds = medians(runs | convs, repeats, time.process_time)
    names = [n for n in seconds if not n.startswith("set-up")]
    for step, parts in {
        "step": ("forward phase", "iteration", "set-up"),
        "step bfloat16": ("forward phase", "iteration bfloat16", "set-up bfloat16"),
        "official step": ("official forward phase", "official"),
    }.items():
        seconds[step] = whole(seconds, feedback["iterations"], *parts)
        names.append(step)

    def row(quantity: str, top: str, bottom: str, target: str = "") -> Row:
        return Row("dtp", f"{name}: {quantity}", ratio(seconds, top, bottom), "ratio", target)

    rows = [Row("dtp", f"{name}: {n}", 1e3 * statistics.median(seconds[n]), "ms") for n in names]
    rows += [
        row("step / BP", "step", "BP", f"<= {bounds['BP']}"),
        row("official step / step", "official step", "step", f">= {bounds['official']}"),
        row("step with bfloat16 / BP", "step bfloat16", "BP", f"<= {bounds['bfloat16']}"),
        row("bp / BP", "bp", "BP", f"<= {bounds['own BP']}"),
    ]
    for n in convs:
        i = n.split()[1]
        rows.append(row(f"iteration {i}: rate / rate of torch's convolutions", n, f"iteration {i}", ">= 0.8"))
    return rows


def whole(
    seconds: dict[str, list[float]], iterations: Sequence[int], first: str, each: str, start: str | None = None
) -> list[float]:
    """Seconds of a step, from those of its parts."""
    blocks = [(n, f" {i + 1}") for i, n in enumerate(iterations)]
    return [
        seconds[first][k]
        + sum(n * seconds[each + b][k] + (seconds[start + b][k] if start else 0) for n, b in blocks)
        for k in range(len(seconds[first]))
    ]  # fmt: skip


def deviations(name: str, updates: int = 10) -> list[Row]:
    """What bfloat16 changes in the gradients of one iteration, and in training with five iterations a block.

    Beside it what another draw of the noise changes.
    """
    feedback = NETS[name][1]
    x, labels = mini_batch()
    rows, short = [], {"feedback": feedback | {"iterations": 5}}
    full, low, other = (
        Ours(name, "ldrl", x, labels, seed=seed, products=p, **short)
        for seed, p in ((0, "full"), (0, "bfloat16"), (1, "full"))
    )
    start = copy.deepcopy((full.params, full.state))
    for i, link in full.chain().items():
        if isinstance(link.layer, Conv):
            own, sigma = full.state["feedback"][str(i)], feedback["sigma"][i - 1]
            exact, near, far = (
                fused(link, p)(own, sigma, credit.Rand([seed]), "noise", loss=False).gradients["weight"]
                for seed, p in ((0, "full"), (0, "bfloat16"), (1, "full"))
            )
            rows.append(Row("dtp", f"{name}: bfloat16, gradient {i}", apart(near, exact), "of its norm"))
            rows.append(Row("dtp", f"{name}: another draw, gradient {i}", apart(far, exact), "of its norm"))
    for one in (full, low, other):
        one.params, one.state = copy.deepcopy(start)
        one.opt = one.rule.optimizer(one.net, one.params, one.state, SGD)
        for _ in range(updates):
            one.step()
    for what, of in (("forward", lambda o: o.params), ("feedback", lambda o: o.state["feedback"])):
        first = flat(start[0] if what == "forward" else start[1]["feedback"])
        exact, near, far = (flat(of(o)) - first for o in (full, low, other))
        place = f"{name}: {{}}, change of the {what} weights over {updates} updates"
        rows.append(Row("dtp", place.format("bfloat16"), apart(near, exact), "of its norm"))
        rows.append(Row("dtp", place.format("another draw"), apart(far, exact), "of its norm"))
    return rows


def flat(params: dict[str, dict[str, torch.Tensor]]) -> torch.Tensor:
    """All weights of {block: {"weight": ...}}, without biases, as one vector (n,)."""
    return torch.cat([block["weight"].flatten() for block in params.values()])


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| / |b|, of any shape."""
    return float((a - b).double().norm() / b.double().norm())


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
    rows = [row for name in NETS for row in speeds(name, repeats)]
    return [*rows, *(row for name in NETS for row in deviations(name)), *memory()]
