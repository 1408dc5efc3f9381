"""Training by the rules of dynamic inversion against runs of the official scripts of Podlaski & Machens (2020).

Every run is repeated alone and as either member of a stack, whose other member has other weights, data and numbers.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import credit
from credit.data.load import split
from credit.probes.base import Moment
from credit.probes.feedback_stability import FeedbackStability
from credit.probes.inversion_angles import InversionAngles
from credit.tasks.images import Images, Reconstruction
from credit.tasks.supervised import Split
from credit.training.learner import Learner
from tests.conftest import prepared
from tests.golden.recordings import READING, Recording, agree, alone, beside, both, moved
from tests.golden.test_di import load, sources

TRAINING = 1e-10
WHERE = {"alone": ("slices", None), "first": ("slices", 0), "second": ("slices", 1), "complete": ("complete", None)}
if READING:
    WHERE = {"alone": WHERE["alone"]}
everywhere = pytest.mark.parametrize(("source", "place"), list(WHERE.values()), ids=list(WHERE))
RULES = {"BP": "di_bp", "FA": "di_fa", "PBP": "pbp", "NDI": "ndi", "DI": "di", "SDI": "sdi"}
LINEAR = ("BP", "FA", "FA-2", "PBP", "NDI", "NDI-2", "NDI-3", "DI", "DI-2", "DI-3")
NONLINEAR = (*LINEAR, "SDI", "SDI-2", "SDI-3")
IMAGES = ("BP", "FA", "PBP", "NDI", "NDI-2")


def texts(recording: Recording, key: str) -> list[str]:
    return [str(value) for value in Recording(recording.path)[key]]


class Run:
    """One model of a script, trained by our rule from the recorded start. place: in the stack; None: alone."""

    def __init__(self, recording: Recording, model: str, net, params, lr, decay=0.0, place=None, **options):
        self.recording, self.model, self.net, self.place = recording, model, net, place
        at = texts(recording, "meta.model_name").index(model)
        name, self.fback = (texts(recording, f"meta.{kind}_type")[at] for kind in ("model", "fback"))
        leak = float(recording["meta.leak_vals"][at])
        hyper = {"leak": both(leak, place)} if name in ("NDI", "DI", "SDI") else {}
        if name not in ("BP", "PBP"):
            scale = 50.0 if self.fback == "neg-transpose-fa" else 1.0
            hyper |= {"feedback": "neg_transpose", "feedback_scale": both(scale, place)}
        if name == "SDI":
            options.pop("extra_slope", None)
        if "clip" in options:
            options["clip"] = both(options["clip"], place)
        self.rule = credit.method(RULES[name], **hyper, **options)
        self.params = {i: {n: beside(t, place) for n, t in block.items()} for i, block in params.items()}
        self.seeds = 0 if place is None else [0, 1]
        self.state = self.rule.init(net, self.params, credit.Rand(self.seeds, dtype=torch.float64))
        self.opt = self.rule.optimizer(net, self.params, self.state, {"name": "sgd", "lr": lr, "decay_unscaled": decay})
        self.moment: Moment | None = None

    def use(self, feedback: dict[str, torch.Tensor], direct: torch.Tensor | None = None) -> None:
        """Replace feedback that was drawn; what follows from the weights must be the recorded one."""
        if self.fback in ("random", "optim"):
            self.state["feedback"] = {i: beside(b, self.place) for i, b in feedback.items()}
            if direct is not None and "direct" in self.state:
                self.state["direct"] = beside(direct, self.place)
            return
        for i, b in feedback.items():
            agree(alone(self.state["feedback"][i], self.place), b, 1e-12)

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> credit.Batch:
        return credit.Batch(beside(x, self.place), beside(y, self.place))

    def update(self, batch) -> dict:
        before = {i: {n: t.clone() for n, t in block.items()} for i, block in self.params.items()}
        state, rand = self.state, credit.Rand(self.seeds)
        self.params, self.opt, self.state, info = self.rule.update(
            self.net, self.params, self.opt, self.state, batch, rand
        )
        self.moment = Moment(self.net, self.rule, before, state, batch, info, self.params, self.state, rand)
        return info

    def deltas(self, info, first: int = 1) -> dict[str, torch.Tensor]:
        """All deltas with the official sign and names, samples along the last axis."""
        found = [-alone(delta, self.place).mT.squeeze(-1) for delta in info["deltas"]]
        return {f"del{i}": delta for i, delta in enumerate(found, first)}

    def raw(self, batch) -> dict[str, torch.Tensor]:
        """Deltas of the next update before they are clipped."""
        rule = dataclasses.replace(self.rule, clip=None)
        info = rule.gradients(self.net, self.params, self.state, batch, credit.Rand(self.seeds)).info
        return self.deltas(info)

    def compare(self, prefix: str, names: dict[str, torch.Tensor], tolerance: float = TRAINING) -> int:
        """Hold tensors to what was recorded under `prefix`; returns how many were."""
        found = [name for name in names if f"{prefix}.{name}" in self.recording]
        for name in found:
            agree(names[name], self.recording[f"{prefix}.{name}"], tolerance)
        return len(found)

    def own(self) -> dict:
        """Parameters of the recorded member."""
        return {i: {n: alone(t, self.place) for n, t in block.items()} for i, block in self.params.items()}

    def weights(self, form: str = "{}{}") -> dict[str, torch.Tensor]:
        kinds = {"weight": "W", "bias": "b"}
        return {form.format(kinds[n], i): t for i, block in self.own().items() for n, t in block.items()}

    def probed(self) -> dict[tuple[str, str], torch.Tensor]:
        rows = [*FeedbackStability().measure(self.moment), *InversionAngles().measure(self.moment)]
        return {(metric, layer): alone(value, self.place) for metric, layer, value in rows}


def angles_agree(ours: list[torch.Tensor], recorded: torch.Tensor) -> None:
    """The official angles are arc cosines, which have lost half their digits near 0 and 180 degrees."""
    agree(torch.cos(torch.deg2rad(torch.stack(ours))), torch.cos(torch.deg2rad(recorded)), 1e-12)


@everywhere
@pytest.mark.parametrize("file", ["linear_regression", "linear_regression_norm"])
@pytest.mark.parametrize("model", LINEAR)
def test_the_linear_regression_runs_as_recorded(source, file, model, place):
    d = load(source, file)
    net = credit.dense([30, 20, 10], "linear", loss="half_squared_error", bias=False)
    start = {"W0": d["init.W0_tmp"], "W1": d["init.W1_tmp"]}
    params = {"0": {"weight": start["W0"]}, "1": {"weight": start["W1"]}}
    options = {"clip": 10.0, "skip_first": True, "normalize": bool(d["meta.norm_delW"])}
    run = Run(d, model, net, params, float(d["meta.eta"]), place=place, **options)
    if run.fback in ("random", "optim"):
        run.use({"1": d["init.B1_tmp_lrg"] if run.fback == "random" else d["init.B1_opt"]})
    x, teacher = d["init.x"].mT, d["init.T"]
    y, compared = x @ teacher.mT, 0
    for k, sample in enumerate(d["init.input_order"].long()):
        batch = run.batch(x[sample, None], y[sample, None])
        if f"{model}.it{k}.pre.del1_raw" in d:
            compared += run.compare(f"{model}.it{k}.pre", {"del1_raw": run.raw(batch)["del1"]})
        info = run.update(batch)
        compared += run.compare(f"{model}.it{k}.upd", {"del1": run.deltas(info)["del1"], **run.weights()})
        squares = (y - net.predict(run.own(), x)).square().sum()
        agree(squares, d[f"curve.{model}.error"][k], TRAINING)
        if run.rule.name == "di":
            probed = run.probed()
            agree(probed["lambda_max", "1"], d[f"curve.{model}.stability"][k, 0], TRAINING)
            names = ("angle_feedback", "angle_ndi", "angle_pbp")
            angles_agree([probed[name, "1"] for name in names], d[f"curve.{model}.angles"][k])
    assert compared
    for name, ours in run.weights().items():
        moved(ours, start[name], d[f"final.{model}.{name}"], start[name], TRAINING)


@everywhere
@pytest.mark.parametrize("model", NONLINEAR)
def test_the_nonlinear_regression_runs_as_recorded(source, model, place):
    d = load(source, "nonlinear_regression")
    net = credit.dense([30, 20, 10, 10], "tanh", loss="half_squared_error")
    start = f"{model}.it0.pre" if f"{model}.it0.pre.W0" in d else "BP.it0.pre"
    params = {str(i): {"weight": d[f"{start}.W{i}"], "bias": d[f"{start}.b{i}"]} for i in range(3)}
    options = {"clip": 1.0, "skip_first": True, "extra_slope": True}
    run = Run(d, model, net, params, float(d["meta.eta"]), place=place, **options)
    of = f"{model}.it0.pre"
    if f"{of}.B1" in d and d[f"{of}.B1"].numel():
        run.use({"1": d[f"{of}.B1"], "2": d[f"{of}.B2"]}, d.get(f"{of}.B"))
    x, y, compared = d["init.x"].mT, d["init.y_true"].mT, 0
    for k, sample in enumerate(d["init.input_order"].long()):
        batch = run.batch(x[sample, None], y[sample, None])
        raw = run.raw(batch)
        if f"{model}.it{k}.pre.del1_raw" in d:
            compared += run.compare(f"{model}.it{k}.pre", {f"{name}_raw": delta for name, delta in raw.items()})
        info = run.update(batch)
        # The script clips where it updates, which it does not on the first example.
        deltas = run.deltas(info) if k > 0 else raw
        compared += run.compare(f"{model}.it{k}.upd", {**deltas, **run.weights()})
        agree((y - net.predict(run.own(), x)).square().sum(), d[f"curve.{model}.error"][k], TRAINING)
        if run.rule.name in ("di", "sdi"):
            probed = run.probed()
            for j in (0, 1):
                agree(probed["lambda_max", f"{j + 1}"], d[f"curve.{model}.stability"][k, j], TRAINING)
            names = [("angle_feedback", "1"), ("angle_feedback", "2"), ("angle_ndi", "1"), ("angle_ndi", "2")]
            angles_agree([probed[name] for name in names], d[f"curve.{model}.angles"][k])
    assert compared


def test_the_first_example_of_the_nonlinear_regression():
    d = load("slices", "nonlinear_regression")
    first = d.under("BP.it0.pre.")
    net = credit.dense([30, 20, 10, 10], "tanh", loss="half_squared_error")
    params = {str(i): {"weight": first[f"W{i}"], "bias": first[f"b{i}"]} for i in range(3)}
    sample = int(d["init.input_order"][0])
    assert torch.equal(first["x"], d["init.x"][:, sample])
    batch = credit.Batch(first["x"][None], d["init.y_true"][None, :, sample])
    info = credit.method("di_bp").gradients(net, params, {}, batch, credit.Rand(0)).info
    agree(info["output"][0], first["y"], TRAINING)
    agree(-info["error"][0], first["e"], TRAINING)
    for i in (0, 1):
        trace = info["trace"].blocks[i]
        agree(net.block(i).phi.derivative(trace.pre, trace.act)[0], first[f"dh{i + 1}"], TRAINING)


@everywhere
@pytest.mark.parametrize("model", IMAGES)
def test_the_classifier_trains_as_recorded(source, model, place):
    d = load(source, "mnist_classification")
    net, start = credit.dense([20, 16, 10], "tanh"), d.under(f"{model}.it0.pre.")
    params = {str(i): {"weight": start[f"W{i}"], "bias": start[f"b{i}"]} for i in (0, 1)}
    run = Run(d, model, net, params, float(d["meta.eta"]), float(d["meta.w_decay"]), place)
    if run.fback == "random":
        run.use({"1": start["B1"]})
    x, y = d["data.X_train"].mT, d["data.y_train"].long()
    assert torch.equal(torch.nn.functional.one_hot(y, 10).mT, d["data.y_train_1H"].long())
    order, every = d["data.input_order"].long(), int(d["meta.save_itrs"])
    assert d[f"curve.{model}.err_itrs"].tolist() == list(range(0, len(order), every))
    for k, sample in enumerate(order):
        info = run.update(run.batch(x[sample, None], y[sample, None]))
        run.compare(f"{model}.it{k}.pre", run.deltas(info))
        run.compare(f"{model}.it{k}.upd", run.weights())
        if k % every == 0:
            for part, labels in (("train", y), ("test", d["data.y_test"].long())):
                output = net.predict(run.own(), d[f"data.X_{part}"].mT)
                wrong = net.loss.error_count(output, labels).double() / len(labels)
                assert wrong == d[f"curve.{model}.{part}_error"][k // every]
    for name, ours in run.weights().items():
        moved(ours, start[name], d[f"final.{model}.{name}"], start[name], 1e-9)


def test_pixels_are_normalised_as_recorded(tmp_path):
    """(x / 255 - mean) / std with the mean and deviation of all raw training pixels, for test images too."""
    d = load("slices", "mnist_classification")
    mean, std = float(d["data.X_mean"]), float(d["data.X_std"])
    raw = {part: (d[f"data.X_{part}"].mT * std + mean) for part in ("train", "test")}
    levels = {f"{part}_x": x.round().to(torch.uint8).reshape(-1, 1, 4, 5).numpy() for part, x in raw.items()}
    labels = {f"{part}_y": d[f"data.y_{part}"].numpy().astype(np.uint8) for part in raw}
    prepared(tmp_path / "recorded.npz", levels | labels)
    context = SimpleNamespace(
        data=tmp_path / "recorded.npz", declared=None, members=1, device="cpu", dtype=torch.float64
    )  # fmt: skip
    task = Images(validation=0, mean=mean / 255, std=std / 255).build(context)
    order, _ = split(SimpleNamespace(train_x=raw["train"], name="", held_out=0), 0)
    for part, index in (("train", order), ("test", slice(None))):
        agree(task.splits[part].x.flatten(1), d[f"data.X_{part}"].mT[index], 1e-12)
        assert torch.equal(task.splits[part].y, d[f"data.y_{part}"].long()[index])


@everywhere
@pytest.mark.parametrize("start", ["normal", "orthogonal"])
@pytest.mark.parametrize("model", IMAGES)
def test_the_autoencoder_trains_as_recorded(source, start, model, place):
    d = load(source, f"mnist_autoencoding_{start}")
    run = autoencoder(d, model, place)
    compared = 0
    for k in range(4):
        x = d[f"{model}.it{k}.pre.X" if f"{model}.it{k}.pre.X" in d else f"BP.it{k}.pre.X"].mT
        compared += run.compare(f"{model}.it{k}.pre", run.weights("{}_{}"))
        if f"{model}.it{k}.pre.W_0" in d:
            for name, ours in run.weights("{}_{}").items():
                of = [d[f"{model}.it{at}.pre.{name}"] for at in (0, k)]
                moved(ours, of[0], of[1], of[0], 1e-7)
        info = run.update(run.batch(x, x))
        compared += run.compare(f"{model}.it{k}.pre", run.deltas(info))
        compared += run.compare(f"{model}.it{k}.upd", run.weights("{}_{}"))
    assert compared > 20


def autoencoder(d: Recording, model: str, place: int | None) -> Run:
    net = credit.dense(
        [20, 12, 8, 3, 8, 12, 20], ["tanh", "tanh", "linear", "tanh", "tanh"], loss="squared_error_sum"
    )  # fmt: skip
    first = d.under(f"{model}.it0.pre.")
    params = {str(i): {"weight": first[f"W_{i}"], "bias": first[f"b_{i}"]} for i in range(6)}
    run = Run(d, model, net, params, float(d["meta.eta"]), float(d["meta.w_decay"]), place)
    if run.fback == "random":
        run.use({str(i): first[f"B_{i}"] for i in range(1, 6)})
    return run


@sources
@pytest.mark.parametrize("start", ["normal", "orthogonal"])
@pytest.mark.parametrize("model", IMAGES)
def test_the_curves_of_the_autoencoder_are_those_recorded(source, start, model):
    """Mean squared error per pixel of all images after every third mini-batch: whole curves, and their changes."""
    d = load(source, f"mnist_autoencoding_{start}")
    run = autoencoder(d, model, place=0)
    x = {"train": d["data.X_train_after_shuffle"].mT, "test": d["data.X_test"].mT}
    size, every = int(d["meta.batch_size"]), int(d["meta.save_rate"])
    splits = {name: Split(images, images) for name, images in x.items()}
    task = Reconstruction(splits, (20,), 20, 2, size)
    order = torch.arange(len(x["train"])).expand(2, -1)
    rand = credit.Rand([0, 1], dtype=torch.float64, replay={"order": order})
    curves = {"train": [], "test": []}

    def note():
        found = task.evaluate(learner, run.net.loss, ("train", "test"))
        for name, curve in curves.items():
            curve.append(found[f"{name}_mse"][0])

    learner = Learner(run.net, run.params, run.rule, run.opt, run.state, rand, evaluate_every=every, on_evaluate=note)
    task.epoch(learner, rand)
    for name, curve in curves.items():
        recorded = d[f"curve.{model}.{name}_error"]
        assert len(recorded) == int(d["meta.num_iters"])
        agree(torch.stack(curve), recorded, 1e-12)
        moved(torch.stack(curve)[1], curve[0], recorded[1], recorded[0], 1e-6)
