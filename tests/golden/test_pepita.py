"""PEPITA on dense nets against the official programs: numpy (float64) and PyTorch tutorial (float32)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import credit
from credit.analysis.slowness import fit_slowness
from credit.probes.alignment import product_angle
from credit.tasks.supervised import Split, Supervised
from credit.training.learner import Learner, ProbeSlot
from tests.golden.recordings import HERE, PLACES, Recording, alone, arrays, beside, moved
from tests.golden.recordings import agree as agree_to

EXACT, SINGLE = 1e-12, 1e-5  # relative to an array's largest entry
FC, TRAIN, TORCH, SLOWNESS = (
    Recording(HERE / f"pepita_{name}.npz", tensors=True) for name in ("numpy_fc", "numpy_train", "torch_fc", "slowness")
)
OPTIMISERS = {
    "mom": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "lr_in_velocity": True},
    "SGD": {"name": "sgd", "lr": 0.1, "lr_in_velocity": True},
}
RULES = {
    "ERIN": ("pepita_numpy", {}),
    "ERINsign": ("pepita_sign", {}),
    "BP": ("bp", {"masks": "after_sweep"}),
    "FA": ("fa", {"masks": "after_sweep"}),
    "DFA": ("dfa", {}),
}


def agree(ours, recorded, tolerance: float = EXACT) -> None:
    agree_to(torch.as_tensor(ours), recorded, tolerance)


def start_state(rule: str, data: dict[str, torch.Tensor], layers: int):
    """Recorded feedback in the form that the rule keeps."""
    if rule.startswith("ERIN"):
        return {"projection": data["F"].clone()}
    if rule == "DFA":
        return {"feedback": {str(i - 1): data[f"B{i}"] for i in range(1, layers)}}
    return {"feedback": {str(i): data[f"B{i}"].mT for i in range(1, layers) if rule == "FA"}}


# ---- numpy program, fully connected: three batches of four samples


def dense_case(data, optimiser: str, method, keep: str, sizes, place: int | None = None):
    net = credit.dense(sizes, "relu", bias=False, keep={"keep1": 1.0, "keep08": 0.8, "keep09": 0.9}[keep])
    params = {str(i): {"weight": beside(data[f"w{i}_init"], place)} for i in range(len(net))}
    return net, params, method.optimizer(net, params, {}, OPTIMISERS[optimiser])


def replay(data, rows: slice, hidden: int, place: int | None = None) -> credit.Rand:
    masks = {f"dropout.{i}": (data[f"mask{i}"][rows] > 0).double() for i in range(hidden) if f"mask{i}" in data}
    masks = {name: beside(mask, place).ceil() for name, mask in masks.items()}
    return credit.Rand(0 if place is None else [0, 1], dtype=torch.float64, replay=masks)


def batch_of(data, rows: slice, place: int | None = None) -> credit.Batch:
    return credit.Batch(beside(data["X"][rows], place), beside(data["T"][rows].argmax(-1), place))


def settings_agree(data, optimiser: str, keep: str) -> None:
    size, eta, gamma, kept, effective = data["meta(batch_size,eta,gamma,keep,effective_batch_size)"].tolist()
    settings = OPTIMISERS[optimiser]
    assert (size, effective) == (4, 4)
    assert (eta, kept) == (settings["lr"], {"keep1": 1.0, "keep08": 0.8}[keep])
    assert optimiser == "SGD" or gamma == settings["momentum"]


@PLACES
@pytest.mark.parametrize("rule", ["ERIN", "ERINsign"])
@pytest.mark.parametrize("hidden", [1, 2])
@pytest.mark.parametrize("keep", ["keep1", "keep08"])
@pytest.mark.parametrize("optimiser", ["mom", "SGD"])
def test_three_batches_agree_with_the_numpy_program(rule, hidden, keep, optimiser, second_pass, place):
    data = arrays(FC, f"{rule}.h{hidden}.{keep}.{optimiser}")
    settings_agree(data, optimiser, keep)
    name, options = RULES[rule]
    method = credit.method(name, **options, **second_pass)
    sizes = [6, 5, 4, 3] if hidden == 2 else [6, 5, 3]
    net, params, opt = dense_case(data, optimiser, method, keep, sizes, place)
    state = {"projection": beside(data["F"], place)}
    before = [(data[f"w{i}_init"], data[f"w{i}_init"]) for i in range(len(net))]
    for b in range(3):
        rows = slice(4 * b, 4 * b + 4)
        batch, rand = batch_of(data, rows, place), replay(data, rows, hidden, place)
        params, opt, state, info = method.update(net, params, opt, state, batch, rand)
        (first, _), (second, error) = info["passes"]
        agree(alone(second.blocks[0].input - batch.x, place), data["error_input"][rows])
        agree(alone(error, place), data["e2"][rows])
        for i in range(len(net)):
            agree(alone(first.blocks[i].pre, place), data[f"pass1.a{i}"][rows])
            agree(alone(second.blocks[i].pre, place), data[f"pass2.a{i}"][rows])
            out = alone(second.blocks[i].out, place)
            agree(out if i < hidden else out.softmax(-1), data[f"pass2.out{i}"][rows])
            agree(alone(info["deltas"][i], place) * 4, data[f"delta_a{i}"][rows])
            ours, recorded = alone(params[str(i)]["weight"], place).clone(), data[f"batch{b}.w{i}"]
            moved(ours, before[i][0], recorded, before[i][1], EXACT)
            before[i] = ours, recorded
            if optimiser == "mom":
                velocity = opt.state_dict()["slots"]["v"][str(i)]["weight"]
                agree(alone(velocity, place), data[f"batch{b}.v{i}"])


@PLACES
@pytest.mark.parametrize("rule", ["ERIN", "ERINsign"])
@pytest.mark.parametrize("hidden", [1, 2])
@pytest.mark.parametrize("keep", ["keep1", "keep08"])
@pytest.mark.parametrize(("optimiser", "sign"), [("mom", 1), ("SGD", -1)])
def test_gradients_of_three_samples_are_the_official_accumulators(rule, hidden, keep, optimiser, sign, place):
    data = arrays(FC, f"{rule}.h{hidden}.{keep}.{optimiser}")
    name, options = RULES[rule]
    method = credit.method(name, **options)
    net, params, _ = dense_case(data, optimiser, method, keep, [6, 5, 4, 3] if hidden == 2 else [6, 5, 3], place)
    rows, state = slice(3), {"projection": beside(data["F"], place)}
    step = method.gradients(net, params, state, batch_of(data, rows, place), replay(data, rows, hidden, place))
    for i in range(len(net)):
        agree(alone(step.gradients[str(i)]["weight"], place) * 3 * sign, data[f"sample2.dw_accum{i}"])


# ---- numpy program, training loop: three epochs of ten samples in batches of four, two samples carried over


class Nothing:
    """A probe that measures nothing: it keeps every update from the form that leaves nothing to be measured."""

    def measure(self, moment):
        return []


class Tracked(Learner):
    """A learner that notes the sum of absolute errors of every sample and pass of the member `at`."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.at, self.curve, self.probes = 0, [], [ProbeSlot(Nothing(), every=1)]

    def _count(self, info, count):
        errors = [error for _, error in info["passes"]] if "passes" in info else [info["error"] * len(info["error"][0])]
        self.curve += torch.stack([e[self.at].abs().sum(-1) for e in errors], -1).flatten().tolist()
        super()._count(info, count)


def members(array: torch.Tensor, place: int | None) -> torch.Tensor:
    """A stack of one, or of two of which one is the recorded one."""
    return array[None] if place is None else beside(array, place)


def training(rule: str, keep: str, kind: type[Learner], place: int | None):
    """Learner, task and streams that repeat a recorded run."""
    data = arrays(TRAIN, f"{rule}.{keep}")
    name, options = RULES[rule]
    method = credit.method(name, **options)
    net, params, _ = dense_case(data, "mom", method, keep, [8, 7, 3])
    params = {i: {"weight": members(block["weight"], place)} for i, block in params.items()}
    state = start_state(rule, data, 2)
    state = {"projection": members(state["projection"], place)} if "projection" in state else {
        "feedback": {i: members(b, place) for i, b in state["feedback"].items()}
    }  # fmt: skip
    opt = method.optimizer(net, params, state, OPTIMISERS["mom"])
    permutation = TRAIN["shuffle_perm_n10"].long()
    orders = [permutation]
    for _ in range(2):
        orders.append(orders[-1][permutation])  # the official loop shuffles the shuffled list
    draws = {"order": [members(order, place) for order in orders]}
    if keep == "keep09":
        kept = torch.as_tensor(np.random.RandomState(12).rand(30, 7) < 0.9).double()
        # Batches of 4, 4; 2 + 4, 4; 2 + 4, 4 samples; the last two of the run are never used.
        draws["dropout.0"] = [members(part, place).ceil() for part in kept.split([4, 4, 6, 4, 6, 4, 2])[:-1]]
    seeds = [0] if place is None else [0, 1]
    rand = credit.Rand(seeds, dtype=torch.float64, replay=draws)
    splits = {"train": Split(data["X"], data["labels"]), "test": Split(data["Xtest"], data["labels_test"])}
    task = Supervised(splits, (8,), 3, len(seeds), batch_size=4, partial="carry")
    return data, kind(net, params, method, opt, state, rand), task, orders[-1]


@PLACES
@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("keep", ["keep1", "keep09"])
@pytest.mark.parametrize("kind", [Tracked, Learner])
def test_the_training_loop_agrees_with_the_numpy_program(rule, keep, kind, place, monkeypatch):
    monkeypatch.setattr("credit.methods.modulation.passes.pays", lambda net, batch_size: True)
    data, learner, task, order = training(rule, keep, kind, place)
    at = learner.at = place or 0
    batch, eta, epochs, n, _, dropout_seed = data["meta(batch,eta,epochs,n,seed_init,seed_dropout)"].tolist()
    assert (batch, eta, epochs, n, dropout_seed) == (task.batch_size, OPTIMISERS["mom"]["lr"], 3, len(data["X"]), 12)
    accuracy, angles, norms = [], [], []

    def measure():
        if rule == "ERIN":
            angles.append(product_angle(learner.params, learner.state["projection"]).reshape(-1)[at])
            norms.append(learner.params["0"]["weight"][at].norm())

    measure()
    for _ in range(3):
        task.epoch(learner, learner.rand)
        accuracy.append(1 - task.evaluate(learner, learner.net.loss, ("test",))["test_error"][at])
        measure()
    agree(torch.stack(accuracy), data["val_acc"], 1e-6)
    agree(accuracy[-1], data["test_acc"], 1e-6)
    if kind is Tracked:
        used = len(learner.curve)
        assert used == len(data["E_curve"]) * 28 // 30
        agree(torch.tensor(learner.curve, dtype=torch.float64), data["E_curve"][:used])
    else:
        assert bool(learner.fast) == (rule == "ERIN" and keep == "keep09")  # the fused form of the update was used
    velocity = learner.opt.state_dict()["slots"]["v"]
    for i in range(2):
        start = data[f"w{i}_init"]
        moved(learner.params[str(i)]["weight"][at], start, data[f"w{i}_final"], start, EXACT)
        agree(velocity[str(i)]["weight"][at], data[f"v{i}_final"])
    if rule == "ERIN":
        agree(torch.stack(angles), data["angles"])
        agree(torch.stack(norms), data["norm_w0"])
    assert task.waiting[at].tolist() == order[8:].tolist()
    waiting = credit.Batch(*task.splits["train"].take(task.waiting))
    rest = torch.as_tensor(np.random.RandomState(12).rand(30, 7)[28:] < 0.9).double()
    rand = credit.Rand(learner.rand.seeds, dtype=torch.float64, replay={"dropout.0": members(rest, place).ceil()})
    step = learner.method.gradients(learner.net, learner.params, learner.state, waiting, rand)
    for i in range(2):
        agree(step.gradients[str(i)]["weight"][at] * 2, data[f"dw_leftover{i}"])


# ---- PyTorch tutorial: batches of four, the last of an epoch of two, rate divided by ten after each epoch


def settings_of_the_tutorial_agree(data, optimiser: str, keep: str) -> None:
    batch, eta, gamma, kept, epochs, *_ = data["meta(batch,eta0,gamma,keep,epochs,decay_epochs,seed)"].tolist()
    kept_here = 1.0 if keep == "keep1" else 0.9
    assert (batch, epochs) == (4, 3)
    assert (eta, gamma, kept) == pytest.approx((0.01, OPTIMISERS[optimiser].get("momentum", 0), kept_here), rel=1e-6)


@pytest.mark.parametrize("optimiser", ["mom", "SGD"])
@pytest.mark.parametrize("keep", ["keep1", "keep09"])
def test_three_epochs_agree_with_the_tutorial(optimiser, keep, second_pass):
    data = arrays(TORCH, f"{optimiser}.{keep}")
    method = credit.method("pepita_torch", **second_pass)
    net = credit.dense([12, 7, 10], "relu", bias=False, keep=1.0 if keep == "keep1" else 0.9)
    params = {str(i): {"weight": data[f"step.0.w_{i}"].clone()} for i in range(2)}
    schedule = {"milestones": [1, 2], "factor": 0.1}
    opt = method.optimizer(net, params, {}, {**OPTIMISERS[optimiser], "lr": 0.01, "schedule": schedule})
    state, first = {"projection": data["B"]}, arrays(data, "step.0")
    settings_of_the_tutorial_agree(data, optimiser, keep)
    for k in range(9):
        opt.set_epoch(k // 3)
        one = arrays(data, f"step.{k}")
        assert opt.lr_at(k // 3) == pytest.approx(float(one["eta"]), rel=1e-6)
        assert keep == "keep09" or (one["masks_0"] == 1).all()
        masks = {"dropout.0": (one["masks_0"] > 0).float()} if keep == "keep09" else {}
        batch = credit.Batch(one["inputs"], one["target"], divisor=4)
        params, opt, state, info = method.update(net, params, opt, state, batch, credit.Rand(0, replay=masks))
        agree(torch.softmax(info["output"], -1), one["outputs"], SINGLE)
        agree(torch.softmax(info["modulated"].output, -1), one["mod_outputs"], SINGLE)
        after = arrays(data, f"after.{k}")
        for i in range(2):
            agree(-info["gradients"][str(i)]["weight"] * 4, one[f"delta_w_{i}"], SINGLE)
            moved(params[str(i)]["weight"], first[f"w_{i}"], after[f"w_{i}"], first[f"w_{i}"], 1e-4)
            if optimiser == "mom":  # the tutorial's velocity is what is added
                agree(-opt.state_dict()["slots"]["v"][str(i)]["weight"], after[f"v_{i}"], SINGLE)


# ---- slowness


@pytest.mark.parametrize(
    ("curve", "factor", "chance", "points", "recorded"),
    [
        ("tutorial_cifar10_test_acc_percent", 1, 10, 60, "tutorial.fit60"),
        ("tutorial_cifar10_test_acc_percent", 1, 10, 100, "tutorial.fit100"),
        ("synthetic.curve", 1, 0.1, 60, "synthetic.fit60"),
        ("synthetic.curve", 0.3, 0.01, 100, "synthetic.fit100_100classes"),
    ],
)
def test_slowness_agrees_with_the_official_fit(curve, factor, chance, points, recorded):
    fit = fit_slowness(SLOWNESS[curve] * factor, chance, points)
    agree(torch.tensor(fit, dtype=torch.float64), SLOWNESS[f"{recorded}(accmax,slowness)"], 1e-9)
