"""Dynamic inversion against the official implementation of Podlaski & Machens (NeurIPS 2020).

The slices beside this file have the keys of the complete recordings; where those are at hand too, everything in them
is compared as well.
"""

from __future__ import annotations

import functools
import re

import pytest
import torch

import credit
from credit.methods.inversion import loops
from credit.methods.inversion.dynamics import gain, run_chain, run_linear, run_loop
from credit.methods.inversion.operators import expands, invert, loop_product, pseudo_invert
from credit.methods.inversion.stability import Descent, lambda_max, stabilize
from credit.probes.angles import angle, vector_angle
from tests.golden.recordings import COMPLETE, HERE, PLACES, Recording, agree, alone, beside, moved

FORMULA, FINITE = 1e-12, 1e-11
sources = pytest.mark.parametrize("source", ["slices", "complete"])


def load(source: str, name: str) -> Recording:
    """A recording, or its slice, as tensors."""
    return Recording((HERE if source == "slices" else COMPLETE) / f"di_{name}.npz", tensors=True)


def under(recording: Recording, prefix: str) -> list[str]:
    return [key for key in recording if key.startswith(prefix)]


# ---- operators

SETTINGS = [f"{shape}.{scale}" for shape in ("wide", "tall", "square", "mnistlike") for scale in ("small", "large")]
every_setting = pytest.mark.parametrize("setting", SETTINGS)


def signals(recording: Recording, setting: str):
    """(delta rows, slope rows, key suffix): a single sample and the batch of columns."""
    get = lambda key: recording[f"{setting}.{key}"]  # noqa: E731
    single = get("delta")[None], get("dh")[None], ""
    return [single, (get("DeltaBatch").mT, get("DHBatch").mT, "_batch")]


@sources
@every_setting
def test_one_layer_operators_agree_with_the_official_ones(source, setting):
    d = load(source, "unit")
    weight = d[f"{setting}.W"]
    for delta, slope, suffix in signals(d, setting):
        results = {
            "BP": delta @ weight,
            "FA": delta @ d[f"{setting}.B_random"].mT,
            "PBP": pseudo_invert(weight, delta),
        }
        for name, result in results.items():
            recorded = d[f"{setting}.{name}{suffix}"]
            agree(result * slope, recorded.mT if suffix else recorded[None], FORMULA)
        for key in under(d, f"{setting}.NDI."):
            kind, leak, batch = re.fullmatch(r".*NDI\.(\w+)\.alpha([\d.]+?)(\.batch)?", key).groups()
            if bool(batch) == bool(suffix):
                b = d[f"{setting}.B_{kind}"]
                agree(invert(weight, b, float(leak), delta) * slope, d[key].mT if batch else d[key][None], FORMULA)


@sources
@every_setting
@pytest.mark.parametrize("limit", [0, 10**9], ids=["tensors", "compiled"])
def test_finite_dynamics_agrees_with_the_official_loop(source, setting, limit, monkeypatch):
    monkeypatch.setattr(loops, "LIMIT", limit)
    d = load(source, "unit")
    weight, b, delta = (d[f"{setting}.{key}"] for key in ("W", "B_negT", "delta"))
    pattern = re.compile(r".*\.alpha([\d.]+)\.(linear|tanh)(?:\.(?:dt(0\.1)_)?tsteps(\d+))?")
    keys = under(d, f"{setting}.DI.")
    assert keys
    for key in keys:
        leak, dynamics, dt, tsteps = pattern.fullmatch(key).groups()
        steps, dt = int(tsteps or 1000) - 1, float(dt or 0.5)
        if limit == 0 and steps > 1000:
            continue  # minutes; the compiled loop is held to these
        arguments = (weight, b, float(leak), delta[None], dt, steps)
        agree(run_loop(*arguments, dynamics)[0], d[key], FINITE)
        if dynamics == "linear":
            agree(run_linear(*arguments)[0], d[key], FINITE)
            f = gain(loop_product(weight, b), float(leak), dt, steps)
            agree(f @ (b @ delta) if expands(weight) else b @ (f @ delta), d[key], FINITE)


@sources
@every_setting
def test_stability_and_angles_agree_with_the_official_functions(source, setting):
    d = load(source, "unit")
    weight = d[f"{setting}.W"]
    for kind in ("negT", "random"):
        ours = lambda_max(weight, d[f"{setting}.B_{kind}"], 0.01)
        agree(ours, d[f"{setting}.maxreal_eig.{kind}.alpha0.01"], 1e-13)
    agree(angle(d[f"{setting}.B_random"], -weight.mT), d[f"{setting}.mat_angle_B_negW"], FORMULA)
    agree(vector_angle(d[f"{setting}.BP"], d[f"{setting}.PBP"]), d[f"{setting}.vec_angle"], 1e-9)


@sources
@pytest.mark.parametrize("scale", ["small", "large"])
@pytest.mark.parametrize("limit", [0, 10**9], ids=["tensors", "compiled"])
def test_the_single_loop_agrees_with_the_official_one(source, scale, limit, monkeypatch):
    monkeypatch.setattr(loops, "LIMIT", limit)
    d = load(source, "sdi")
    weights, b, delta = [d[f"{scale}.W1"], d[f"{scale}.W2"]], d[f"{scale}.B"], d[f"{scale}.delta3"][None]
    slopes = [d[f"{scale}.dh1"][None], d[f"{scale}.dh2"][None]]
    slopes_of = {"tanh": None, "linear": [torch.ones_like(s) for s in slopes], "linearized": slopes}
    keys = [key for key in under(d, scale) if key.endswith("del1")]
    assert keys
    for key in keys:
        leak, tsteps, kind = re.fullmatch(r"\w+\.alpha([\d.]+)\.tsteps(\d+)\.(\w+)\.del1", key).groups()
        first, second = run_chain(weights, b, float(leak), delta, float(d["meta.dt"]), int(tsteps) - 1, slopes_of[kind])
        agree(first[0], d[key], FINITE)
        agree(second[0], d[key[:-1] + "2"], FINITE)


# ---- descent of the spectral abscissa

CASES = (
    "linear_cfg", "nonlinear_cfg_W1", "nonlinear_cfg_W2", "random_large", "tall_alpha0.01", "tall_alpha0_fails",
    "maxiter1",
)  # fmt: skip


@sources
@pytest.mark.parametrize("case", CASES)
def test_stabilizing_feedback_starts_like_the_official_descent_and_ends_as_well(source, case):
    d = load(source, "ssa")
    weight, start = d[f"{case}.W"], d[f"{case}.B_before"]
    leak, lr = float(d[f"{case}.alpha"]), float(d[f"{case}.lr"])
    longest, shortest = int(d[f"{case}.maxiters"]), int(d[f"{case}.miniters"])
    trace, first = d[f"{case}.s_trace"], d[f"{case}.B_first_steps"]
    agree(lambda_max(weight, start, leak), trace[0], 1e-9)
    agree(trace[0], d[f"{case}.s_before"], 1e-12)
    agree(trace[-1], d[f"{case}.s_after"], 1e-12)
    assert len(trace) == int(d[f"{case}.n_iters"]) + 1
    for k in range(1, min(6, len(first))):
        b, top = stabilize(weight, start, leak, Descent(lr, k, 0, target=-1.0))
        agree(b, first[k], 1e-9)
        assert abs(top - trace[k]) < 1e-9 * trace[0].abs().clamp(min=1e-3)
    b, top = stabilize(weight, start, leak, Descent(lr, longest, shortest))
    agree(lambda_max(weight, b, leak), top, 1e-9)
    assert (top < 0).item() is not bool(d[f"{case}.returned_None"])
    if top < 0:
        assert top <= -0.01 or top <= 0.8 * d[f"{case}.s_after"] or top.isclose(torch.tensor(-leak, dtype=top.dtype))


class Jump:
    """An optimiser that puts weights of its own in the place of those it is given."""

    def __init__(self, weight: torch.Tensor):
        self.weight = weight

    def step(self, params, gradients):
        params["1"]["weight"].copy_(self.weight)


def unstable(case: str, place: int | None, **hyper):
    """(update, recorded B by steps, weight): an update of `di` by which the recorded weight becomes that of a net whose
    feedback was stable before, but is not with it."""
    d = load("slices", "ssa")
    weight, start = beside(d[f"{case}.W"], place), beside(d[f"{case}.B_before"], place)
    n_up, n_low = weight.shape[-2:]
    leak = float(d[f"{case}.alpha"])
    if place is not None:
        leak = [leak, leak + 0.5] if place == 0 else [leak + 0.5, leak]
    rule = credit.method("di", leak=leak, euler_steps=3, ssa_lr=float(d[f"{case}.lr"]), **hyper)
    net = credit.dense([3, n_low, n_up], "tanh", loss="half_squared_error", bias=False)
    zeros = torch.zeros(*weight.shape[:-2], n_low, 3, dtype=torch.float64)
    params = {"0": {"weight": zeros}, "1": {"weight": -start.mT.clone()}}
    state = rule.init(net, params, credit.Rand(0 if place is None else [0, 1]))
    state["feedback"] = {"1": start.clone()}
    assert (lambda_max(params["1"]["weight"], start, 0.0) <= 1e-12).all()
    signals = (beside(torch.zeros(1, n, dtype=torch.float64), place) for n in (3, n_up))

    def update():
        return rule.update(net, params, Jump(weight), state, credit.Batch(*signals), credit.Rand(0))

    return update, d[f"{case}.B_first_steps"], state


@PLACES
@pytest.mark.parametrize("case", ["linear_cfg", "nonlinear_cfg_W1", "random_large", "tall_alpha0.01"])
@pytest.mark.parametrize("steps", [{"ssa_steps": 4, "ssa_min_steps": 0}, {"ssa_steps": 99, "ssa_min_steps": 4}])
def test_feedback_that_an_update_makes_unstable_is_moved_as_recorded(case, steps, place, monkeypatch):
    """With the weights after the update, the rule's own leak, and at least and at most so many steps."""
    if steps["ssa_min_steps"]:  # where the goal is reached at once, no step is left but these
        monkeypatch.setattr("credit.methods.inversion.rule.Descent", functools.partial(Descent, target=9.0))
    update, recorded, _ = unstable(case, place, **steps)
    _, _, state, info = update()
    ours, start = (alone(b, place) for b in (state["feedback"]["1"], beside(recorded[0], place)))
    moved(ours, start, recorded[4], recorded[0], 1e-8)
    assert alone(info["sums"]["restabilized"], place) == 1


def test_a_first_mini_batch_that_changes_no_weights_leaves_stable_feedback_as_well():
    update, recorded, state = unstable("random_large", None, ssa_steps=4, ssa_min_steps=0, skip_first=True)
    first = update()[3]
    assert torch.equal(state["feedback"]["1"], recorded[0])
    assert first["sums"]["restabilized"] == 0
