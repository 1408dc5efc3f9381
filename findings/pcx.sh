#!/usr/bin/env bash
# pcx 0.6.3 (predictive coding in JAX), seen with jax 0.4.38, equinox 0.11.12, optax 0.2.5 on the CPU.
#
# `with pxu.step(model, STATUS.INIT): ...` starts the activities from a forward pass. The status outlives the `with`: an
# evaluation that follows writes its predictions over the activities and over the label, although the label's node is
# frozen and nothing is set, and finds an energy of 0. `pxu.step(model, (STATUS.INIT, None))` resets the status.
#
# Exits with 0 as long as this is so and with 1 once it has changed. Needs Python >= 3.11; installs JAX in a temporary
# folder.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    jax==0.4.38 jaxlib==0.4.38 equinox==0.11.12 optax==0.2.5 pcx==0.6.3

cd "$folder"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import jax
import jax.numpy as jnp
import pcx.functional as pxf
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
import pcx.utils as pxu

print(f"pcx {version('pcx')}, jax {version('jax')}")
inputs = jnp.array([[1.0, -1.0, 0.5, 2.0], [0.5, 1.0, -1.0, 1.0]])
labels = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class Net(pxc.EnergyModule):
    def __init__(self):
        super().__init__()
        self.layers = [pxnn.Linear(4, 5), pxnn.Linear(5, 3)]
        self.vodes = [pxc.Vode(), pxc.Vode()]
        self.vodes[-1].h.frozen = True

    def __call__(self, x, y=None):
        x = self.vodes[0](jnp.tanh(self.layers[0](x)))
        self.vodes[1](self.layers[1](x))
        if y is not None:
            self.vodes[1].set("h", y)


state = pxu.M(pxc.VodeParam | pxc.VodeParam.Cache).to((None, 0))


@pxf.vmap(state, in_axes=(0, 0), out_axes=0)
def start(x, y, *, model):
    model(x, y)


@pxf.vmap(state, in_axes=(0,), out_axes=None, axis_name="batch")
def energy(x, *, model):
    model(x)
    return jax.lax.psum(model.energy(), "batch")


def evaluated(status):
    """Status after the context, energy then, and how far the evaluation moved the label."""
    model = Net()
    with pxu.step(model, status, clear_params=pxc.VodeParam.Cache):
        start(inputs, labels, model=model)
    before = model.vodes[-1].h.get()
    assert jnp.array_equal(before, labels)
    found = float(energy(inputs, model=model))
    return model.status, found, float(jnp.abs(model.vodes[-1].h.get() - before).max())


kept, reset = evaluated(pxc.STATUS.INIT), evaluated((pxc.STATUS.INIT, None))
line = "{:32} status {!s:5} energy {:.4f}, label moved by {:.4f}"
print("expected after the context:      status None  energy > 0, label moved by 0")
print(line.format("found with INIT:", *kept))
print(line.format("found with (INIT, None):", *reset))
as_described = kept[0] == pxc.STATUS.INIT and kept[1] == 0 and kept[2] > 1e-2
if not (as_described and reset[0] is None and reset[1] > 1e-2 and reset[2] == 0):
    sys.exit("The behaviour has changed.")
print("As described.")
PY
