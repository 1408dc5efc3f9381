#!/usr/bin/env bash
# biotorch 0.0.16 (feedback alignment in PyTorch), seen with torch 2.13.0 on the CPU. Two surprises:
#
# 1. With the layer option `constrain_weights` every forward pass puts a new Parameter in the place of the weights. An
#    optimiser that was made before the first pass, as usual, keeps the old ones: weights never learn, biases alone do.
# 2. `dfa` sends the gradient of the loss that `forward` was given to the hidden layers and ignores how the loss is
#    scaled before `backward`. Four micro-batches with a quarter of the loss each give hidden layers four times the
#    gradient of the whole batch, the output layer the right one.
#
# Exits with 0 as long as both are so and with 1 once one has changed. Needs Python >= 3.11; installs torch (large) in
# a temporary folder.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
pip=("$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile)
"${pip[@]}" numpy==2.4.6 torch==2.13.0
# What else it asks for serves its benchmarks, not its layers.
"${pip[@]}" --no-deps biotorch==0.0.16

cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PY'
import contextlib
import io
import sys
from importlib.metadata import version

import torch
from biotorch.module.biomodule import BioModule
from torch import nn

print(f"biotorch {version('biotorch')}, torch {version('torch')}")
torch.set_num_threads(1)
inputs = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))
labels = torch.arange(32) % 3
cross_entropy = nn.CrossEntropyLoss()


def net(mode, constrain=False):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    options = {"constrain_weights": constrain, "gradient_clip": False, "init": "xavier"}
    with contextlib.redirect_stdout(io.StringIO()):  # it reports the conversion
        config = {"type": mode, "options": options}
        return BioModule(layers, mode=mode, copy_weights=False, layer_config=config, output_dim=3)


def change_of_training(constrain):
    """Largest change of a weight and of a bias by 50 steps of SGD."""
    model = net("fa", constrain)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(50):
        optimiser.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    change = {name: float((p - start[name]).detach().abs().max()) for name, p in model.named_parameters()}
    return [max(c for name, c in change.items() if name.endswith(kind)) for kind in (".weight", ".bias")]


def gradients(parts):
    """Of the weights of both layers, accumulated over equal parts of the batch."""
    model = net("dfa").train()
    for x, y in zip(inputs.chunk(parts), labels.chunk(parts)):
        (cross_entropy(model(x, y, cross_entropy), y) / parts).backward()
    return model.module[0].weight.grad, model.module[2].weight.grad


def ratio(a, b):
    return float((a * b).sum() / (b * b).sum())


print("\n1. fa, 50 steps of SGD: largest change of weights / of biases")
free, constrained = change_of_training(False), change_of_training(True)
print(f"   constrain_weights false         {free[0]:.3g} / {free[1]:.3g}")
print(f"   constrain_weights true          {constrained[0]:.3g} / {constrained[1]:.3g}")
print("   expected of a constrained norm  weights that learn all the same")
first = free[0] > 1e-2 and free[1] > 1e-2 and constrained[0] < 1e-5 and constrained[1] > 1e-2
print(f"   found                           {'weights at rest, biases alone learn' if first else 'SOMETHING ELSE'}")

print("\n2. dfa, gradient of four micro-batches with loss / 4 over that of the whole batch")
hidden, output = map(ratio, gradients(4), gradients(1))
print("   expected  hidden layer 1.000, output layer 1.000")
print(f"   found     hidden layer {hidden:.3f}, output layer {output:.3f}")
second = abs(hidden - 4) < 1e-3 and abs(output - 1) < 1e-3

if not (first and second):
    sys.exit("\nThe behaviour has changed.")
print("\nBoth are as described.")
PY
