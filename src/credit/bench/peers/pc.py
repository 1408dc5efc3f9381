"""Predictive coding against other libraries: `python -m credit.bench.peers.pc [--jpc CHECKOUT] [--rounds N]`.

float32, one thread on one core, medians of the CPU times of updates that take turns. The others' forms are the best
ones that run as a single compiled function (`credit.bench.peers._worker`), "jax" is written out without a library. They
get an environment of their own, made by pip in a temporary folder. JPC is in no package index: it is left out unless a
checkout is named. All take T steps of the activities at a constant rate and then the gradient of the weights, which is
`steps: T + 1` here, and are first held together by their first update.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import credit
from credit.bench.base import machine
from credit.methods.base import Batch
from credit.training.heap import keep_freed_memory

PINNED = ("jax==0.4.38", "jaxlib==0.4.38", "equinox==0.11.12", "optax==0.2.5", "pcx==0.6.3")
MEMBERS, BATCH, RATE = 39, 60, 0.1
WORKER = Path(__file__).parent / "_worker.py"


@dataclass(frozen=True)
class Case:
    """A net, the steps of its activities, how near the first update must be, and the bound on others / ours.

    count: updates in a turn of one net, for stacks one.
    """

    sizes: list[int]
    hidden: str
    steps: int
    tolerance: float
    bound: float
    count: int


CASES = {
    "a": Case([784, 32, 32, 10], "sigmoid", 64, 1e-6, 2.2, 20),
    "b": Case([784, *[64] * 14, 10], "leakyrelu_0.01", 128, 4e-3, 1.7, 3),
}


@dataclass
class Inputs:
    """Weights (M, n_l, n_{l-1}) of every layer, inputs (B, n_0), one-hot targets (B, n_L)."""

    weights: list[np.ndarray]
    s: np.ndarray
    y: np.ndarray


def drawn(case: Case) -> Inputs:
    """Xavier's uniform weights and a random mini-batch that all members share."""
    rng, f = np.random.default_rng(0), np.float32
    pairs = zip(case.sizes[:-1], case.sizes[1:], strict=True)
    weights = [(rng.uniform(-1, 1, (MEMBERS, b, a)) * np.sqrt(6 / (a + b))).astype(f) for a, b in pairs]
    classes = rng.integers(case.sizes[-1], size=BATCH)
    return Inputs(weights, rng.random((BATCH, case.sizes[0])).astype(f), np.eye(case.sizes[-1], dtype=f)[classes])


@dataclass
class Ours:
    """`pc` on the first members of a case. It takes several mini-batches in a call, as the training loop gives them."""

    case: Case
    given: Inputs
    members: int
    lr: float
    count: int = 1
    params: dict = field(init=False)

    def __post_init__(self) -> None:
        count = self.members
        net = credit.dense(self.case.sizes, hidden=self.case.hidden, bias=False, loss="squared_error_sum")
        rule = credit.method("pc", steps=self.case.steps + 1, inference={"lr": RATE, "discount": 1.0})
        self.rand = credit.Rand(list(range(count)))
        self.params = {str(i): {"weight": torch.tensor(w[:count])} for i, w in enumerate(self.given.weights)}
        self.state = rule.init(net, self.params, self.rand)
        self.opt = rule.optimizer(net, self.params, self.state, {"name": "sgd", "lr": self.lr})
        s, y = (torch.tensor(a).unsqueeze(0) for a in (self.given.s, self.given.y))
        whose = torch.zeros(count, dtype=torch.int64)
        self.run = rule.fast(net, self.params, self.opt, self.state, Batch(s, y, whose=whose), BATCH)
        self.batch = Batch(s.repeat(1, self.count, 1), y.repeat(1, self.count, 1), whose=whose)

    def update(self) -> None:
        """`count` updates."""
        self.run(self.params, self.opt, self.state, self.batch, self.rand)


class Others:
    """The worker in its environment."""

    def __init__(self, python: Path, folder: Path, jpc: bool) -> None:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        command = [str(python), str(WORKER), str(folder), *(["jpc"] if jpc else [])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"XLA_FLAGS": flags}
        )
        self.names: list[str] = self._answer()

    def seconds(self, name: str, count: int) -> float:
        """CPU seconds of an update of FORM.CASE, of so many."""
        self._process.stdin.write(f"{count} {name}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{WORKER.name} ended with status {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End of the worker."""
        self._process.stdin.close()
        self._process.wait()


def environment(folder: Path, jpc: str | None) -> Path:
    """The Python of a new environment with the pinned versions, and with a checkout of JPC if one is named."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = [*PINNED, *([str(Path(jpc).resolve())] if jpc else [])]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
    return python


def deviations(first: dict[str, list[np.ndarray]], given: dict[str, Inputs]) -> dict[str, float]:
    """Of the first weights (n_l, n_{l-1}) after an update, by FORM.CASE, from ours: the largest of all layers."""
    found = {}
    for name, new in first.items():
        form, _, case = name.rpartition(".")
        if form == "pc":
            continue
        changes = [(a - w[0], b - w[0]) for a, b, w in zip(new, first[f"pc.{case}"], given[case].weights, strict=True)]
        found[name] = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in changes)
    return found


def measure(folder: Path, python: Path, jpc: bool, rounds: int) -> list[str]:
    """Lines of the table."""
    given = {name: drawn(case) for name, case in CASES.items()}
    for name, case in CASES.items():
        settings = {"sizes": case.sizes, "hidden": case.hidden, "steps": case.steps, "rate": RATE}
        arrays = {f"w{i}": w for i, w in enumerate(given[name].weights)} | {"s": given[name].s, "y": given[name].y}
        np.savez(folder / f"{name}.case.npz", settings=json.dumps(settings), **arrays)
    others = Others(python, folder, jpc)
    first: dict[str, list[np.ndarray]] = {}
    for name in others.names:
        with np.load(folder / f"{name}.npz") as arrays:
            layers = [arrays[k] for k in arrays.files]
            first[name] = [w[0] for w in layers] if many(name) else layers
    runs = {}
    for name, case in CASES.items():
        ours = Ours(case, given[name], 1, 1.0)
        ours.update()
        first[f"pc.{name}"] = [p["weight"][0].numpy() for p in ours.params.values()]
        runs[f"pc.{name}"] = Ours(case, given[name], 1, 1e-6, case.count)
        runs[f"pc, stack.{name}"] = Ours(case, given[name], MEMBERS, 1e-6)
    seconds: dict[str, list[float]] = {name: [] for name in (*runs, *others.names)}
    for _ in range(rounds):
        for name, taken in seconds.items():
            count = 1 if many(name) else CASES[name.rpartition(".")[2]].count
            taken.append(cpu_seconds(runs[name]) if name in runs else others.seconds(name, count))
    others.close()
    return table(seconds, deviations(first, given))


def many(name: str) -> bool:
    """Whether a form takes all members at once."""
    return "vmap" in name or "stack" in name


def cpu_seconds(ours: Ours) -> float:
    """Of an update, after a call that is not counted."""
    ours.update()
    start = time.process_time()
    ours.update()
    return (time.process_time() - start) / ours.count


def table(seconds: dict[str, list[float]], deviation: dict[str, float]) -> list[str]:
    """Milliseconds of an update of one member, and ratios to ours: to the single net, or to the stack for `vmap`."""
    lines = [
        "| | case | ms per update and member | × ours | bound | first update deviates by | allowed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(seconds, key=lambda n: (n.rpartition(".")[2], many(n))):
        form, _, key = name.rpartition(".")
        case, stacked = CASES[key], many(form)
        own = seconds[f"pc, stack.{key}" if stacked else f"pc.{key}"]
        each = 1e3 * statistics.median(seconds[name]) / (MEMBERS if stacked else 1)
        if name not in deviation:
            lines.append(f"| {form} | {key} | {each:.3g} | | | | |")
            continue
        times = statistics.median(a / b for a, b in zip(seconds[name], own, strict=True))
        bound = "" if stacked or form == "jax" else f"≥ {case.bound}"
        lines.append(
            f"| {form} | {key} | {each:.3g} | {times:.2f} | {bound} | {deviation[name]:.1e} | {case.tolerance} |"
        )
    return lines


def main() -> None:
    """See the module. Raises CalledProcessError when the environment cannot be made."""
    parser = argparse.ArgumentParser(description="predictive coding against other libraries")
    parser.add_argument("--jpc", help="checkout of JPC 1.0.0, which no package index has")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--python", type=Path, help="an environment that has all this already")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # of the others too, which start threads by the core
    with tempfile.TemporaryDirectory() as folder:
        python = options.python or environment(Path(folder) / "environment", options.jpc)
        data = Path(folder) / "cases"
        data.mkdir()
        lines = measure(data, python, bool(options.jpc), options.rounds)
    print(f"{machine()}; {', '.join(PINNED)}\n")
    print("\n".join(lines))
    if not options.jpc:
        print("\nJPC is left out: no package index has it; name a checkout by --jpc.")


if __name__ == "__main__":
    sys.exit(main())
