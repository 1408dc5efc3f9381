"""What a GPU is worth: stacks of seeds, and the conv nets of target propagation. Ratios are of one run."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

import credit
from tests.gpu.places import CPU, Place

STACK = 1.5  # five seeds against one
CONV = 1 / 20  # a GPU against one thread of the CPU

pytestmark = pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" in os.environ, reason="timings need the machine to themselves: make gpu-test"
)

# Ernoult et al. (2022): LeNet and SimpleVGG on images 3 x 32 x 32, with the feedback of the committed settings.
NETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "LeNet": (
        {"channels": [32, 64], "hidden_sizes": [512], "kernel": (5, 1, 2), "pool": (3, 2, 1)},
        {"iterations": [41, 51, 24], "sigma": [0.41640228838517584, 0.3826261146623929, 0.1395382069358601],
         "lr": [0.0007188427494432325, 0.00012510321884615596, 0.03541466958291287]},
    ),
    "SimpleVGG": (
        {"channels": [128, 128, 256, 256, 512], "hidden_sizes": [], "kernel": (3, 1, 1), "pool": (3, 2, 1)},
        {"iterations": [20, 30, 35, 55, 20], "sigma": [0.4, 0.4, 0.2, 0.2, 0.08],
         "lr": [0.0001, 0.00035, 0.008, 0.008, 0.18]},
    ),
}  # fmt: skip


def updating(net, rule, place: Place, seeds: list[int], size: int, optimizer: dict[str, Any], there: bool = False):
    """A function that makes one update in float32, as the learner would: by the fast form, where there is one.

    there: whether noise is drawn on the device.
    """
    rand = credit.Rand(seeds, device=place.name)
    params = net.init(rand, "torch_default")
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, optimizer)
    batch = credit.Batch(rand.normal("x", (size, *net.shape_in)), rand.integers("y", (size,), net.n_out))
    rand = rand.drawn_there() if there else rand
    fast = rule.fast(net, params, opt, state, batch, size)

    def once() -> None:
        if fast is None:
            rule.update(net, params, opt, state, batch, rand)
        else:
            fast(params, opt, state, batch, rand)

    return once


def dense_ratio(name: str, place: Place, sizes: list[int], **measured) -> float:
    """Time of an update of five seeds over that of one, mini-batches of 128."""
    net = credit.dense(sizes, hidden="relu")
    times = [
        place.seconds(updating(net, credit.method(name), place, seeds, 128, {"name": "sgd", "lr": 0.01}), **measured)
        for seeds in ([0], [0, 1, 2, 3, 4])
    ]
    return times[1] / times[0]


def conv_times(name: str, kind: str, place: Place, shape=(3, 32, 32), size: int = 128) -> tuple[float, float, float]:
    """Seconds of an update at `place`, with noise of the CPU and with its own, and on one thread of the CPU."""
    settings, feedback = NETS[kind]
    net = credit.conv(shape, n_out=10, hidden="elu", **settings)
    rule = credit.method(name, **({"feedback": {**feedback, "momentum": 0.9}} if name == "ldrl" else {}))
    optimizer = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
    there = (
        place.seconds(updating(net, rule, place, [0], size, optimizer, own), warm=2, repeats=5) for own in (False, True)
    )
    updating(net, rule, CPU, [0], 2, optimizer)()  # what has to be compiled is compiled
    repeats = 1 if (name, kind) == ("ldrl", "SimpleVGG") else 3
    return *there, CPU.seconds(updating(net, rule, CPU, [0], size, optimizer), warm=0, repeats=repeats)


@pytest.mark.parametrize("name", ["bp", "dfa", "pepita", "ldrl", "dfc_ssa"])
def test_five_seeds_of_a_dense_net_cost_little_more_than_one(place, note, name):
    ratio = dense_ratio(name, place, [784, 256, 256, 10])
    note(f"{name}, 784-256-256-10, five seeds over one", f"{ratio:.2f}", f"{STACK:g}" if name == "bp" else "")
    if name == "bp":
        assert ratio <= STACK


@pytest.mark.parametrize("name", ["bp", "ldrl"])
@pytest.mark.parametrize("kind", NETS)
def test_conv_nets_take_a_fraction_of_the_cpu_s_time(place, note, name, kind):
    torch.set_num_threads(1)
    moved, there, here = conv_times(name, kind, place)
    what = f"{name}, {kind} 3x32x32, ms on the GPU, on one thread of the CPU"
    if name == "ldrl":
        note(f"{what}, noise of the CPU", f"{moved * 1e3:.1f}, {here * 1e3:.0f}: 1/{here / moved:.0f}")
    note(what, f"{there * 1e3:.1f}, {here * 1e3:.0f}: 1/{here / there:.0f}", f"1/{1 / CONV:g}")
    assert there <= CONV * here
