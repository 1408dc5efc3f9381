"""Recordings of the official code of Deep Feedback Control, and nets of ours that repeat them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import credit
from credit.methods.control.simulation import Simulation
from credit.probes.base import Moment
from tests.golden.recordings import COMPLETE, HERE, READING, Recording, alone, beside
from tests.golden.recordings import agree as agree_to

EXACT = 1e-11  # relative to an array's largest entry
EXACT_ANGLE = 1e-9  # absolute
STEP, ALPHA = 0.5, 0.01  # of all recordings but the loops
RULES = {"ss": "dfc_ss", "dfc": "dfc", "ssa": "dfc_ssa"}
WAYS = {  # of simulating: by which engine, in absolute values or deviations, and where in a stack
    "plain": ("plain", False, None), "absolute": ("plain", True, None), "small": ("small", False, None),
    "large": ("large", False, None), "plain-first": ("plain", False, 0), "small-second": ("small", False, 1),
    "large-second": ("large", False, 1),
}  # fmt: skip
if READING:
    WAYS = {"plain": WAYS["plain"]}
every_way = pytest.mark.parametrize(("engine", "absolute", "place"), list(WAYS.values()), ids=list(WAYS))


def slices(kind: str) -> dict[str, Recording]:
    """{case: arrays} of one kind of recording."""
    whole = Recording(HERE / f"dfc_{kind}.npz")
    return {case: whole.under(f"{case}/") for case in dict.fromkeys(key.partition("/")[0] for key in whole)}


SLICES = {kind: slices(kind) for kind in ("core", "feedback", "loop", "dfa")}


def cases(kind: str):
    """Parametrisation over the slices, and over the full recordings where they are."""
    params = [pytest.param(data, id=f"slice-{name}") for name, data in SLICES[kind].items()]
    files = sorted(COMPLETE.glob(f"dfc_{kind}_*.npz"))
    if not files:
        reason = "the full recordings are not beside this repository"
        params.append(pytest.param(None, id="full", marks=pytest.mark.skip(reason=reason)))
    for path in files:
        params.append(pytest.param(path, id=f"full-{path.stem}", marks=pytest.mark.slow))
    return pytest.mark.parametrize("data", params, indirect=True)


def agree(ours: torch.Tensor, recorded: np.ndarray, tolerance: float = EXACT) -> None:
    agree_to(ours, recorded, tolerance)


def near(ours: torch.Tensor, recorded: np.ndarray) -> None:
    """Angles and ratios."""
    assert (ours.squeeze() - torch.as_tensor(recorded)).abs().max() <= EXACT_ANGLE


def rows(probe, moment: Moment) -> dict[tuple[str, str], torch.Tensor]:
    return {(metric, layer): value for metric, layer, value in probe.measure(moment)}


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(array).clone()


def build(data, suffix: str = "", place: int | None = None):
    """Net, parameters, state and depth of a recording, as a member of a stack where `place` says so."""
    if place is not None and not data.prefix:
        pytest.skip("stacks are tested with the slices")
    depth = sum(key.startswith(f"W{suffix}_") for key in data)
    weights = [tensor(data[f"W{suffix}_{i}"]) for i in range(depth)]
    hidden = str(data["activation"]) if "activation" in data else "tanh"
    hidden = {"relu": "relu_closed"}.get(hidden, hidden)  # the official relu has derivative 1 at exactly 0
    loss = {"ce": "softmax_cross_entropy", "mse": "mse"}[str(data["loss"]) if "loss" in data else "ce"]
    sizes = [weights[0].shape[1], *(w.shape[0] for w in weights)]
    assert data["dims"].tolist() == sizes
    assert "output_activation" not in data or str(data["output_activation"]) == "linear"
    assert "target_stepsize" not in data or data["target_stepsize"] == STEP
    assert "alpha_di" not in data or data["alpha_di"] == ALPHA
    net = credit.dense(sizes, hidden, loss=loss)
    params = {
        str(i): {"weight": beside(w, place), "bias": beside(tensor(data[f"b{suffix}_{i}"]), place)}
        for i, w in enumerate(weights)
    }
    names = [f"Q{suffix}_{i}" for i in range(depth)]
    state = {"feedback": {str(i): beside(tensor(data[name]), place) for i, name in enumerate(names) if name in data}}
    return net, params, state, depth


def batch_of(data, place: int | None = None) -> credit.Batch:
    x = tensor(data["x"])
    y = tensor(data["y"]) if "y" in data else torch.zeros(len(x), dtype=torch.int64)
    assert "batch" not in data or data["batch"] == len(x)
    return credit.Batch(beside(x, place), beside(y, place))


def gradients_agree(gradients, data, name: str, place: int | None = None) -> None:
    for i, block in gradients.items():
        agree(alone(block["weight"], place), data[f"{name}_dW_{i}"])
        agree(alone(block["bias"], place), data[f"{name}_db_{i}"])


def moment_of(rule, net, params, state, batch) -> Moment:
    step = rule.gradients(net, params, state, batch, None)
    step.info["gradients"] = step.gradients
    return Moment(net, rule, params, state, batch, step.info, params, state, None)


def simulated_by(engine: str, monkeypatch) -> None:
    """Let one engine simulate the controller, whatever the size of the net."""
    monkeypatch.setattr(Simulation, "_engine", lambda self: engine)
