"""Dynamic inversion against the official implementation of Podlaski & Machens (NeurIPS 2020).

The slices beside this file have the keys of the complete recordings; where those are at hand too, everything in them
is compared as well.
"""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

import credit
from credit.methods.inversion import loops
from credit.methods.inversion.dynamics import gain, run_chain, run_linear, run_loop
from credit.methods.inversion.operators import expands, invert, loop_product, pseudo_invert
from credit.methods.inversion.stability import Descent, lambda_max, stabilize
from credit.probes.angles import angle, vector_angle
from credit.probes.base import Moment
from credit.probes.feedback_stability import FeedbackStability
from credit.probes.inversion_angles import InversionAngles
from tests.golden.recordings import COMPLETE, HERE, Recording, agree

FORMULA, FINITE, TRAINING = 1e-12, 1e-11, 1e-10
sources = pytest.mark.parametrize("source", ["slices", "complete"])


def load(source: str, name: str) -> Recording:
    """A recording, or its slice, as tensors."""
    return Recording((HERE if source == "slices" else COMPLETE) / f"di_{name}.npz", tensors=True)


def under(recording: Recording, prefix: str) -> list[str]:
    return [key for key in recording if key.startswith(prefix)]


def texts(recording: Recording, key: str) -> list[str]:
    return [str(value) for value in Recording(recording.path)[key]]


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
        first, second = run_chain(weights, b, float(leak), delta, 0.5, int(tsteps) - 1, slopes_of[kind])
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
    for k in range(1, min(6, len(first))):
        b, top = stabilize(weight, start, leak, Descent(lr, k, 0, target=-1.0))
        agree(b, first[k], 1e-9)
        assert abs(top - trace[k]) < 1e-9 * trace[0].abs().clamp(min=1e-3)
    b, top = stabilize(weight, start, leak, Descent(lr, longest, shortest))
    agree(lambda_max(weight, b, leak), top, 1e-9)
    assert (top < 0).item() is not bool(d[f"{case}.returned_None"])
    if top < 0:
        assert top <= -0.01 or top <= 0.8 * d[f"{case}.s_after"] or top.isclose(torch.tensor(-leak, dtype=top.dtype))


# ---- training runs of the scripts

RULES = {"BP": "di_bp", "FA": "di_fa", "PBP": "pbp", "NDI": "ndi", "DI": "di", "SDI": "sdi"}
LINEAR = ("BP", "FA", "FA-2", "PBP", "NDI", "NDI-2", "NDI-3", "DI", "DI-2", "DI-3")
NONLINEAR = (*LINEAR, "SDI", "SDI-2", "SDI-3")
IMAGES = ("BP", "FA", "PBP", "NDI", "NDI-2")


class Run:
    """One model of a script, trained by our rule from the recorded start."""

    def __init__(self, recording: Recording, model: str, net, params, lr, decay=0.0, **options):
        self.recording, self.model, self.net = recording, model, net
        at = texts(recording, "meta.model_name").index(model)
        name, self.fback = texts(recording, "meta.model_type")[at], texts(recording, "meta.fback_type")[at]
        hyper = {"leak": float(recording["meta.leak_vals"][at])} if name in ("NDI", "DI", "SDI") else {}
        if name not in ("BP", "PBP"):
            scale = 50.0 if self.fback == "neg-transpose-fa" else 1.0
            hyper |= {"feedback": "neg_transpose", "feedback_scale": scale}
        if name == "SDI":
            options.pop("extra_slope", None)
        self.rule = credit.method(RULES[name], **hyper, **options)
        self.params = {i: {n: t.clone() for n, t in block.items()} for i, block in params.items()}
        self.state = self.rule.init(net, self.params, credit.Rand(0, dtype=torch.float64))
        settings = {"name": "sgd", "lr": lr, "decay_unscaled": decay}
        self.opt = self.rule.optimizer(net, self.params, self.state, settings)
        self.moment: Moment | None = None

    def use(self, feedback: dict[str, torch.Tensor], direct: torch.Tensor | None = None) -> None:
        """Replace feedback that was drawn."""
        if self.fback in ("random", "optim"):
            self.state["feedback"] = feedback
            if direct is not None and "direct" in self.state:
                self.state["direct"] = direct

    def update(self, batch) -> dict:
        before = {i: {n: t.clone() for n, t in block.items()} for i, block in self.params.items()}
        state, rand = self.state, credit.Rand(0)
        self.params, self.opt, self.state, info = self.rule.update(
            self.net, self.params, self.opt, self.state, batch, rand
        )
        self.moment = Moment(self.net, self.rule, before, state, batch, info, self.params, self.state, rand)
        return info

    def raw(self, batch) -> dict[str, torch.Tensor]:
        """Hidden deltas of the next update before they are clipped, with the official sign and names."""
        rule = dataclasses.replace(self.rule, clip=None)
        deltas = rule.gradients(self.net, self.params, self.state, batch, credit.Rand(0)).info["deltas"]
        return {f"del{i + 1}_raw": -delta[0] for i, delta in enumerate(deltas[:-1])}

    def compare(self, prefix: str, names: dict[str, torch.Tensor], tolerance: float = TRAINING) -> int:
        """Hold tensors to what was recorded under `prefix`; returns how many were."""
        found = [name for name in names if f"{prefix}.{name}" in self.recording]
        for name in found:
            agree(names[name], self.recording[f"{prefix}.{name}"], tolerance)
        return len(found)

    def weights(self, form: str = "{}{}") -> dict[str, torch.Tensor]:
        kinds = {"weight": "W", "bias": "b"}
        return {form.format(kinds[n], i): t for i, block in self.params.items() for n, t in block.items()}

    def probed(self) -> dict[tuple[str, str], torch.Tensor]:
        rows = [*FeedbackStability().measure(self.moment), *InversionAngles().measure(self.moment)]
        return {(metric, layer): value for metric, layer, value in rows}


def angles_agree(ours: list[torch.Tensor], recorded: torch.Tensor) -> None:
    """The official angles are arc cosines, which have lost half their digits near 0 and 180 degrees."""
    agree(torch.cos(torch.deg2rad(torch.stack(ours))), torch.cos(torch.deg2rad(recorded)), 1e-12)


@sources
@pytest.mark.parametrize("file", ["linear_regression", "linear_regression_norm"])
@pytest.mark.parametrize("model", LINEAR)
def test_the_linear_regression_runs_as_recorded(source, file, model):
    d = load(source, file)
    net = credit.dense([30, 20, 10], "linear", loss="half_squared_error", bias=False)
    params = {"0": {"weight": d["init.W0_tmp"]}, "1": {"weight": d["init.W1_tmp"]}}
    normalize = bool(d["meta.norm_delW"])
    run = Run(d, model, net, params, float(d["meta.eta"]), clip=10.0, skip_first=True, normalize=normalize)
    run.use({"1": d["init.B1_tmp_lrg"] if run.fback == "random" else d["init.B1_opt"]})
    x, teacher = d["init.x"].mT, d["init.T"]
    y, compared = x @ teacher.mT, 0
    for k, sample in enumerate(d["init.input_order"].long()):
        batch = credit.Batch(x[sample, None], y[sample, None])
        if f"{model}.it{k}.pre.del1_raw" in d:
            compared += run.compare(f"{model}.it{k}.pre", run.raw(batch))
        info = run.update(batch)
        compared += run.compare(f"{model}.it{k}.upd", {"del1": -info["deltas"][0][0], **run.weights()})
        squares = (y - net.predict(run.params, x)).square().sum()
        agree(squares, d[f"curve.{model}.error"][k], TRAINING)
        if run.rule.name == "di":
            probed = run.probed()
            agree(probed["lambda_max", "1"], d[f"curve.{model}.stability"][k, 0], TRAINING)
            names = ("angle_feedback", "angle_ndi", "angle_pbp")
            angles_agree([probed[name, "1"] for name in names], d[f"curve.{model}.angles"][k])
    assert compared
    assert run.compare(f"final.{model}", run.weights()) == 2


@sources
@pytest.mark.parametrize("model", NONLINEAR)
def test_the_nonlinear_regression_runs_as_recorded(source, model):
    d = load(source, "nonlinear_regression")
    net = credit.dense([30, 20, 10, 10], "tanh", loss="half_squared_error")
    start = f"{model}.it0.pre" if f"{model}.it0.pre.W0" in d else "BP.it0.pre"
    params = {str(i): {"weight": d[f"{start}.W{i}"], "bias": d[f"{start}.b{i}"]} for i in range(3)}
    options = {"clip": 1.0, "skip_first": True, "extra_slope": True}
    run = Run(d, model, net, params, float(d["meta.eta"]), **options)
    if run.fback in ("random", "optim"):
        of = f"{model}.it0.pre"
        run.use({"1": d[f"{of}.B1"], "2": d[f"{of}.B2"]}, d.get(f"{of}.B"))
    x, y, compared = d["init.x"].mT, d["init.y_true"].mT, 0
    for k, sample in enumerate(d["init.input_order"].long()):
        batch = credit.Batch(x[sample, None], y[sample, None])
        if f"{model}.it{k}.pre.del1_raw" in d:
            compared += run.compare(f"{model}.it{k}.pre", run.raw(batch))
        info = run.update(batch)
        # The script clips where it updates, which it does not on the first example.
        deltas = {f"del{i + 1}": -delta[0] for i, delta in enumerate(info["deltas"]) if k > 0}
        compared += run.compare(f"{model}.it{k}.upd", {**deltas, **run.weights()})
        agree((y - net.predict(run.params, x)).square().sum(), d[f"curve.{model}.error"][k], TRAINING)
        if run.rule.name in ("di", "sdi"):
            probed = run.probed()
            for j in (0, 1):
                agree(probed["lambda_max", f"{j + 1}"], d[f"curve.{model}.stability"][k, j], TRAINING)
            names = [("angle_feedback", "1"), ("angle_feedback", "2"), ("angle_ndi", "1"), ("angle_ndi", "2")]
            angles_agree([probed[name] for name in names], d[f"curve.{model}.angles"][k])
    assert compared


@sources
@pytest.mark.parametrize("model", IMAGES)
def test_the_classifier_trains_as_recorded(source, model):
    d = load(source, "mnist_classification")
    net, start = credit.dense([20, 16, 10], "tanh"), f"{model}.it0.pre"
    params = {str(i): {"weight": d[f"{start}.W{i}"], "bias": d[f"{start}.b{i}"]} for i in (0, 1)}
    run = Run(d, model, net, params, float(d["meta.eta"]), float(d["meta.w_decay"]))
    if run.fback == "random":
        run.use({"1": d[f"{start}.B1"]})
    x, y = d["data.X_train"].mT, d["data.y_train"].long()
    order, every = d["data.input_order"].long(), int(d["meta.save_itrs"])
    for k, sample in enumerate(order):
        info = run.update(credit.Batch(x[sample, None], y[sample, None]))
        deltas = {f"del{i + 1}": -delta[0] for i, delta in enumerate(info["deltas"])}
        run.compare(f"{model}.it{k}.pre", deltas)
        run.compare(f"{model}.it{k}.upd", run.weights())
        if k % every == 0:
            for split, labels in (("train", y), ("test", d["data.y_test"].long())):
                output = net.predict(run.params, d[f"data.X_{split}"].mT)
                wrong = net.loss.error_count(output, labels).double() / len(labels)
                assert wrong == d[f"curve.{model}.{split}_error"][k // every]
    assert run.compare(f"final.{model}", run.weights()) == 4


@sources
@pytest.mark.parametrize("start", ["normal", "orthogonal"])
@pytest.mark.parametrize("model", IMAGES)
def test_the_autoencoder_trains_as_recorded(source, start, model):
    d = load(source, f"mnist_autoencoding_{start}")
    net = credit.dense(
        [20, 12, 8, 3, 8, 12, 20], ["tanh", "tanh", "linear", "tanh", "tanh"], loss="squared_error_sum"
    )  # fmt: skip
    first = f"{model}.it0.pre"
    params = {str(i): {"weight": d[f"{first}.W_{i}"], "bias": d[f"{first}.b_{i}"]} for i in range(6)}
    run = Run(d, model, net, params, float(d["meta.eta"]), float(d["meta.w_decay"]))
    if run.fback == "random":
        run.use({str(i): d[f"{first}.B_{i}"] for i in range(1, 6)})
    compared = 0
    for k in range(4):
        x = d[f"{model}.it{k}.pre.X" if f"{model}.it{k}.pre.X" in d else f"BP.it{k}.pre.X"].mT
        compared += run.compare(f"{model}.it{k}.pre", run.weights("{}_{}"))
        info = run.update(credit.Batch(x, x))
        deltas = {f"del{i + 1}": -delta.mT for i, delta in enumerate(info["deltas"])}
        compared += run.compare(f"{model}.it{k}.pre", deltas)
        compared += run.compare(f"{model}.it{k}.upd", run.weights("{}_{}"))
    assert compared > 20
