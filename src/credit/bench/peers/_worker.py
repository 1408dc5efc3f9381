"""Predictive coding in JAX: every form is one compiled function from weights and a mini-batch to the new weights.

Run by `credit.bench.peers.pc` in an environment of its own, with nothing of this package, as `_worker.py FOLDER [jpc]`:
FOLDER holds the cases (`NAME.case.npz`), jpc says that JPC is there. The first update of every form is written to
FOLDER/FORM.CASE.npz. Then a line "COUNT FORM.CASE" of standard input is answered by the CPU seconds of an update, of
COUNT updates after one that is not counted.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

Weights = tuple[jax.Array, ...]  # (n_l, n_{l-1}) each
ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "leakyrelu_0.01": functools.partial(jax.nn.leaky_relu, negative_slope=0.01)}
WARM_UP = 2


def plain(case: dict) -> Callable:
    """Written out with nothing but JAX; the input product is in the loop, where the compiler may take it out."""
    phi, steps, rate = ACTIVATIONS[case["hidden"]], case["steps"], case["rate"]

    def predictions(weights: Weights, x: tuple[jax.Array, ...], s: jax.Array) -> list[jax.Array]:
        return [s @ weights[0].T] + [phi(h) @ w.T for h, w in zip(x, weights[1:], strict=True)]

    def energy(weights: Weights, x: tuple[jax.Array, ...], s: jax.Array, y: jax.Array) -> jax.Array:
        pairs = zip((*x, y), predictions(weights, x, s), strict=True)
        return 0.5 * sum(jnp.sum((a - mu) ** 2) for a, mu in pairs)

    def update(weights: Weights, s: jax.Array, y: jax.Array, lr: jax.Array) -> Weights:
        x = [s @ weights[0].T]
        for w in weights[1:-1]:
            x.append(phi(x[-1]) @ w.T)

        def step(_: int, x: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            slopes = jax.grad(energy, argnums=1)(weights, x, s, y)
            return jax.tree.map(lambda a, g: a - rate * g, x, slopes)

        x = jax.lax.fori_loop(0, steps, step, tuple(x))
        return jax.tree.map(lambda w, g: w - lr * g, weights, jax.grad(energy)(weights, x, s, y))

    return update


def jpc_form(case: dict) -> Callable:
    """JPC's energy and its start of the activities. Its energy is a mean over the batch, so rates are times B."""
    import equinox as eqx
    import jpc

    phi, steps, rate = ACTIVATIONS[case["hidden"]], case["steps"], case["rate"]
    sizes = case["sizes"]
    keys = jax.random.split(jax.random.PRNGKey(0), len(sizes) - 1)
    linear = [eqx.nn.Linear(a, b, use_bias=False, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)]
    first, *others = [eqx.nn.Sequential([layer]) for layer in linear[:1]] + [
        eqx.nn.Sequential([eqx.nn.Lambda(phi), layer]) for layer in linear[1:]
    ]
    skeleton = [first, *others]

    def model(weights: Weights) -> list:
        return eqx.tree_at(lambda m: [layer.layers[-1].weight for layer in m], skeleton, list(weights))

    def update(weights: Weights, s: jax.Array, y: jax.Array, lr: jax.Array) -> Weights:
        net, batch = model(weights), len(s)

        def step(_: int, x: list[jax.Array]) -> list[jax.Array]:
            slopes = jax.grad(lambda a: jpc.pc_energy_fn((net, None), a, y, x=s))(x)
            return jax.tree.map(lambda a, g: a - rate * batch * g, x, slopes)

        x = jax.lax.fori_loop(0, steps, step, jpc.init_activities_with_ffwd(net, s))
        slopes = jax.grad(lambda w: jpc.pc_energy_fn((model(w), None), x, y, x=s))(weights)
        return jax.tree.map(lambda w, g: w - lr * batch * g, weights, slopes)

    return update


def pcx_form(case: dict) -> Callable:
    """pcx's modules, its optimiser of the activities, and its scan, inside its jit."""
    import optax
    import pcx.functional as pxf
    import pcx.nn as pxnn
    import pcx.predictive_coding as pxc
    import pcx.utils as pxu

    phi, steps, rate, sizes = ACTIVATIONS[case["hidden"]], case["steps"], case["rate"], case["sizes"]

    class Net(pxc.EnergyModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [pxnn.Linear(a, b, bias=False) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
            self.vodes = [pxc.Vode() for _ in self.layers]
            self.vodes[-1].h.frozen = True

        def __call__(self, x, y=None):
            for i, (layer, vode) in enumerate(zip(self.layers, self.vodes, strict=True)):
                x = vode(layer(phi(x) if i else x))
            if y is not None:
                self.vodes[-1].set("h", y)
            return x

    by_sample = pxu.M(pxc.VodeParam | pxc.VodeParam.Cache).to((None, 0))

    def free() -> pxu.M_hasnot:  # a mask remembers what it is told to give
        return pxu.M_hasnot(pxc.VodeParam, frozen=True)

    @pxf.vmap(by_sample, in_axes=(0, 0), out_axes=0)
    def forward(s, y, *, net):
        return net(s, y)

    @pxf.vmap(by_sample, in_axes=(0,), out_axes=None, axis_name="batch")
    def energy(s, *, net):
        net(s)
        return jax.lax.psum(net.energy(), "batch")

    def relax(_, s, *, net, steps_of_x):
        with pxu.step(net, clear_params=pxc.VodeParam.Cache):
            _, slopes = pxf.value_and_grad(free().to([False, True]))(energy)(s, net=net)
        steps_of_x.step(net, slopes["net"])
        return (s,), None

    @pxf.jit()
    def learn(s, y, *, net, steps_of_x, steps_of_w):
        with pxu.step(net, (pxc.STATUS.INIT, None), clear_params=pxc.VodeParam.Cache):
            forward(s, y, net=net)
        steps_of_x.init(free()(net))
        pxf.scan(relax, length=steps)(s, net=net, steps_of_x=steps_of_x)
        steps_of_x.clear()
        with pxu.step(net, clear_params=pxc.VodeParam.Cache):
            _, slopes = pxf.value_and_grad(pxu.M(pxnn.LayerParam).to([False, True]))(energy)(s, net=net)
        steps_of_w.step(net, slopes["net"])

    made: dict[float, tuple] = {}

    def update(weights: Weights, s: jax.Array, y: jax.Array, lr: float) -> Weights:
        if lr not in made:
            net = Net()
            made[lr] = (
                net, pxu.Optim(lambda: optax.sgd(rate)), pxu.Optim(lambda: optax.sgd(lr), pxu.M(pxnn.LayerParam)(net))
            )  # fmt: skip
        net, steps_of_x, steps_of_w = made[lr]
        for layer, w in zip(net.layers, weights, strict=True):
            layer.nn.weight.set(w)
        learn(s, y, net=net, steps_of_x=steps_of_x, steps_of_w=steps_of_w)
        return tuple(layer.nn.weight.get() for layer in net.layers)

    return update


def forms(case: dict, jpc: bool) -> dict[str, Callable]:
    """Every form of a case, compiled but for pcx's, which compiles itself."""
    found = {"jax": jax.jit(plain(case)), "jax, vmap": jax.jit(jax.vmap(plain(case), (0, None, None, None)))}
    if jpc:
        found |= {"JPC": jax.jit(jpc_form(case))}
        found |= {"JPC, vmap": jax.jit(jax.vmap(jpc_form(case), (0, None, None, None)))}
    return found | {"pcx": pcx_form(case)}


def main(folder: Path, jpc: bool) -> None:
    """See the module."""
    runs = {}
    for file in sorted(folder.glob("*.case.npz")):
        arrays = dict(np.load(file))
        name, case = file.name.partition(".")[0], json.loads(str(arrays.pop("settings")))
        s, y = jnp.asarray(arrays.pop("s")), jnp.asarray(arrays.pop("y"))
        members = tuple(jnp.asarray(arrays[f"w{i}"]) for i in range(len(arrays)))  # (M, n_l, n_{l-1}) each
        for form, update in forms(case, jpc).items():
            weights = members if "vmap" in form else tuple(w[0] for w in members)
            first = jax.block_until_ready(update(weights, s, y, 1.0))
            np.savez(folder / f"{form}.{name}.npz", *map(np.asarray, first))
            runs[f"{form}.{name}"] = functools.partial(update, weights, s, y, 1e-6)
    for run in runs.values():
        for _ in range(WARM_UP):
            jax.block_until_ready(run())
    print(json.dumps(sorted(runs)), flush=True)
    for line in sys.stdin:
        count, _, name = line.strip().partition(" ")
        jax.block_until_ready(runs[name]())
        start = time.process_time()
        for _ in range(int(count)):
            jax.block_until_ready(runs[name]())
        print(json.dumps((time.process_time() - start) / int(count)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "jpc" in sys.argv[2:])
