"""Predictive coding against recordings of the official code of Song et al. (2024), float64."""

from __future__ import annotations

import itertools

import pytest
import torch

import credit
from credit.methods.energy import state as energies
from credit.methods.energy.relaxation import relax
from credit.methods.energy.settings import Inference
from tests.golden.recordings import COMPLETE, HERE, PLACES, Recording, agree, alone, beside

TOLERANCE = 1e-12
SETTLED = 1e-8  # where a tie of the energy at rounding level decides about the rate
ACTIVATIONS = {
    "identity": "linear",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "leakyrelu": "leakyrelu_0.01",
}
REGIMES = {"A": Inference(0.1, 0.5), "B": Inference(1.0, 0.5), "C": Inference(0.1, 0.9, 1.1)}
NETS = {"453": [4, 5, 3], "6772": [6, 7, 7, 2]}
TIES = {
    *itertools.product(["453"], ["identity"], (0, 1), "C"), *itertools.product(NETS, ["sigmoid"], (0, 1), "B")
}  # fmt: skip
CASES = list(itertools.product(NETS, ACTIVATIONS, (0, 1), REGIMES))
sources = pytest.mark.parametrize("source", ["slices", "complete"])
every_case = pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c)))
FORMS = pytest.mark.parametrize("form", ["plain", "fast"])


def load(source: str, name: str, prefix: str = "") -> Recording:
    return Recording((HERE if source == "slices" else COMPLETE) / f"pc_{name}.npz", prefix, tensors=True)


def params_of(file, layers: int, end: str = "", place=None):
    names = {"weight": "W", "bias": "b"}
    return {
        str(i): {ours: beside(file[key], place) for ours, n in names.items() if (key := f"{n}{i + 1}{end}") in file}
        for i in range(layers)
    }


def step_of(name, net, params, batch, form, lr=0.01, **hyper):
    """Parameters after one update, and its info."""
    rule = credit.method(name, **hyper)
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": lr})
    given = net, params, opt, {}, batch
    if form == "plain":
        return rule.update(*given, 0)
    fast = rule.fast(*given, batch.x.shape[-2])
    assert fast is not None
    return fast(params, opt, {}, batch, 0)


def agree_with(ours, file, layers, end, tolerance, place=None):
    for i in range(layers):
        for name, key in (("weight", "W"), ("bias", "b")):
            if name in ours[str(i)]:
                agree(alone(ours[str(i)][name], place), file[f"{key}{i + 1}{end}"], tolerance)


def dense(sizes, act, bias):
    return credit.dense(sizes, hidden=ACTIVATIONS[act], loss="squared_error_sum", bias=bool(bias))


def batch_of(file, place=None, weights=None):
    return credit.Batch(beside(file["s"], place), beside(file["y"], place), weights)


@sources
@PLACES
@every_case
def test_inference_passes_through_the_recorded_states(source, case, place):
    which, act, bias, regime = case
    file = load(source, f"core_{which}", f"{act}__bias{bias}__{regime}__")
    check_course(file, dense(NETS[which], act, bias), REGIMES[regime], 24, batch_of(file, place), place, case in TIES)


def check_course(file, net, inference, steps, batch, place, ties):
    layers, tolerance = len(net), SETTLED if ties else TOLERANCE
    params = params_of(file, layers, place=place)
    course = list(relax(net, params, batch, steps, inference))
    now = course[-1].now
    last = energies.node_gradients(net, params, now, course[-1].deltas)
    for t, moment in enumerate(course):
        slopes = last if moment.slopes is None else moment.slopes
        for i, (x, mu, g) in enumerate(zip(moment.now.x, moment.now.mu, slopes, strict=True)):
            close(alone(x, place), file[f"x{i + 1}_t"][t], tolerance)
            close(alone(mu, place), file[f"mu{i + 1}_t"][t], tolerance)
            close(alone(g, place), file[f"gx{i + 1}_t"][t], tolerance)
            layer = 0.5 * energies.squares(moment.now.eps[i], len(net.lead(params)))
            close(alone(layer, place), file["energy_layer_t"][t, i], tolerance)
        close(alone(moment.now.output, place), file["out_t"][t], tolerance)
        for name, value in (("energy", moment.now.energy), ("loss", moment.now.loss), ("overall", moment.now.total(1))):
            close(alone(value, place), file[f"{name}_t"][t], tolerance)
        if not ties:
            close(alone(moment.rate, place), file["xlr_used_t"][t], tolerance)
            if t:
                close(file["xlr_after_t"][t - 1], file["xlr_used_t"][t], 0)
    for i, (x, g) in enumerate(zip(now.x, last, strict=True)):
        if not ties:
            close(alone(x, place) - file["xlr_used_t"][-1] * alone(g, place), file[f"x{i + 1}_T"], tolerance)


def close(ours, recorded, tolerance):
    """Of states whose single entries may pass through 0: relative to numbers around 1."""
    recorded = torch.as_tensor(recorded)
    assert ours.shape == recorded.shape
    worst, scale = float((ours - recorded).abs().max()), max(1.0, float(recorded.abs().max()))
    assert worst <= tolerance * scale, f"deviation {worst:.1e}"


@sources
@PLACES
@FORMS
@every_case
def test_weights_after_an_update_are_the_recorded_ones(source, case, place, form):
    which, act, bias, regime = case
    file = load(source, f"core_{which}", f"{act}__bias{bias}__{regime}__")
    net, inference = dense(NETS[which], act, bias), REGIMES[regime]
    check_update(file, net, inference, 24, batch_of(file, place), place, form, SETTLED if case in TIES else TOLERANCE)


def check_update(file, net, inference, steps, batch, place, form, tolerance, lr=0.01):
    layers = len(net)
    for rule, tag, hyper in (("pc", "pc", {"steps": steps, "inference": inference}), ("bp", "bp", {})):
        params = params_of(file, layers, place=place)
        close(alone(net.predict(params, batch.x), place), file["pred_before"], TOLERANCE)
        if rule == "bp" or form == "plain":
            step = credit.method(rule, **hyper).gradients(net, params, {}, batch, 0)
            for i in range(layers):
                for name, key in (("weight", "W"), ("bias", "b")):
                    if name in params[str(i)]:
                        recorded = file[f"{'bp_' if rule == 'bp' else ''}g{key}{i + 1}"]
                        close(alone(step.gradients[str(i)][name], place), recorded, tolerance)
        if rule == "bp":
            close(alone(step.info["loss"], place), file["bp_loss"][0], TOLERANCE)
        after, *_ = step_of(rule, net, params, batch, form if rule == "pc" else "plain", lr=lr, **hyper)
        agree_with(after, file, layers, f"_{tag}_after", tolerance, place)
        predicted = alone(net.predict(after, batch.x), place)
        close(predicted, file[f"pred_{tag}_after"], tolerance)
        change, wanted = predicted - file["pred_before"], alone(batch.y, place) - file["pred_before"]
        alignment = torch.cosine_similarity(change, wanted, dim=-1, eps=0).mean()
        close(alignment, file[f"align_{tag}"], 1e-7 if tolerance > TOLERANCE else 1e-10)


MASKED = {  # recorded losses on some of the outputs: net, inference, iterations, rate of the weights
    "forgetting": ([4, 5, 3], "sigmoid", 0, Inference(0.1, 0.9), 64, 0.01),
    "dqn": ([4, 5, 3], "sigmoid", 1, Inference(0.05, 1.0), 32, 0.01),
    "reversal": ([1, 1, 2], "identity", 0, Inference(0.1, 0.9), 256, 0.1),
}


def masked(file, which, place):
    """The mini-batch of a case, with weights of its outputs."""
    s, y, weights = file["s"], file["y"].clone(), torch.ones_like(file["pred_before"])
    if which == "forgetting":
        weights[:, -1] = 0
    elif which == "dqn":
        chosen = file["a"].long()
        weights = torch.zeros_like(weights).scatter_(1, chosen, 1.0)
        y = torch.zeros_like(weights).scatter_(1, chosen, y[:, :1])
    else:
        weights[:, 0] = 0
    return credit.Batch(beside(s, place), beside(y, place), beside_same(weights, place))


def beside_same(array, place):
    return array if place is None else torch.stack([array, array])


@sources
@PLACES
@pytest.mark.parametrize("which", MASKED)
def test_outputs_without_a_target_send_no_error(source, which, place):
    sizes, act, bias, inference, steps, _ = MASKED[which]
    file = load(source, "core_masked", f"{which}__")
    ties = which == "reversal"  # 256 iterations, after which nothing moves but rounding
    check_course(file, dense(sizes, act, bias), inference, steps, masked(file, which, place), place, ties)


@sources
@PLACES
@FORMS
@pytest.mark.parametrize("which", MASKED)
def test_weights_learn_from_the_chosen_outputs(source, which, place, form):
    sizes, act, bias, inference, steps, lr = MASKED[which]
    file, net = load(source, "core_masked", f"{which}__"), dense(sizes, act, bias)
    batch = masked(file, which, place)
    params, tolerance = params_of(file, len(net), place=place), SETTLED if which == "reversal" else TOLERANCE
    for rule, tag, hyper in (("pc", "pc", {"steps": steps, "inference": inference}), ("bp", "bp", {})):
        after, _, _, info = step_of(rule, net, params_of(file, len(net), place=place), batch,
                                    form if rule == "pc" else "plain", lr=lr, **hyper)  # fmt: skip
        agree_with(after, file, len(net), f"_{tag}_after", tolerance, place)
        close(alone(net.predict(after, batch.x), place), file[f"pred_{tag}_after"], tolerance)
        change = alone(net.predict(after, batch.x), place) - file["pred_before"]
        alignment = torch.cosine_similarity(change, file["y"] - file["pred_before"], dim=-1, eps=0).mean()
        close(alignment, file[f"align_{tag}"], 1e-7)
        step = credit.method(rule, **hyper).gradients(net, params, {}, batch, 0)
        for i in range(len(net)):
            for name, key in (("weight", "W"), ("bias", "b")):
                if name in params[str(i)]:
                    recorded = file[f"{'bp_' if rule == 'bp' else ''}g{key}{i + 1}"]
                    close(alone(step.gradients[str(i)][name], place), recorded, tolerance)
    close(alone(info["loss"], place), file["bp_loss"][0], TOLERANCE)


ADAM = {"name": "adam", "weight_decay": 0.01}


@sources
@PLACES
@pytest.mark.parametrize("rule", ["pc", "bp"])
def test_weights_that_learn_at_every_iteration_keep_their_optimiser(source, rule, place):
    """The recorded histories end every mini-batch with the state that the next begins with."""
    file = load(source, "core_adam_multibatch")
    net = credit.dense([6, 7, 7, 2], hidden="relu", loss="squared_error_sum")
    params = params_of(file, 3, f"_{rule}_init", place)
    hyper = {"steps": 16, "inference": Inference(0.5, 0.5), "weight_updates": "all"} if rule == "pc" else {"steps": 16}
    method = credit.method(rule, **hyper)
    opt = method.optimizer(net, params, {}, {**ADAM, "lr": 1e-3})
    for b in range(3):
        batch = credit.Batch(beside(file["S"][b], place), beside(file["Y"][b], place))
        watched = Watched(opt)
        params, _, _, info = method.update(net, params, watched, {}, batch, 0)
        close(alone(info["loss"], place), file[f"overall_{rule}"][b, 0], TOLERANCE)
        for t, seen in enumerate(watched.seen):
            for i in range(3):
                for name, key in (("weight", "W"), ("bias", "b")):
                    close(alone(seen[str(i)][name], place), file[f"{key}{i + 1}_{rule}_hist"][b, t], TOLERANCE)
        assert len(watched.seen) == 16


class Watched:
    """An optimiser that notes the parameters after every step."""

    takes_products = False

    def __init__(self, opt) -> None:
        self.opt, self.seen = opt, []

    def step(self, params, gradients):
        self.opt.step(params, gradients)
        self.seen.append({i: {n: p.clone() for n, p in block.items()} for i, block in params.items()})


@sources
@PLACES
@FORMS
def test_rates_start_anew_in_every_mini_batch(source, place, form):
    file, inference = load(source, "core_adam_multibatch"), Inference(1.0, 0.5)
    net = credit.dense([6, 7, 7, 2], hidden="sigmoid", loss="squared_error_sum", bias=False)
    params = params_of(file, 3, "_multi_init", place)
    for b in range(5):
        batch = credit.Batch(beside(file[f"multi_s{b}"], place), beside(file[f"multi_y{b}"], place))
        for t, moment in enumerate(relax(net, params, batch, 32, inference)):
            close(alone(moment.now.total(1), place), file[f"multi_overall{b}"][t], 1e-10)
        params, *_ = step_of("pc", net, params, batch, form, lr=0.05, steps=32, inference=inference)
        agree_with(params, file, 3, f"_multi_after{b}", SETTLED, place)  # the last iterations are ties


CONV = {"ppc": ("pc", "linear"), "rbp": ("bp", "relu"), "rbp_last": ("bp", "linear")}


@sources
@PLACES
@pytest.mark.parametrize("form", ["plain", "fast"])
@pytest.mark.parametrize("tag", CONV)
def test_a_convolutional_net_learns_at_every_iteration(source, tag, place, form):
    file = load_names(source)
    rule, output = CONV[tag]
    net = conv_net(output)
    assert sum(m == "ReLU" for m in file[f"{tag}_modules"]) == (4 if output == "relu" else 3)
    hyper = {"steps": 16, "inference": Inference(0.5, 0.5), "weight_updates": "all"} if rule == "pc" else {"steps": 16}
    method, params = credit.method(rule, **hyper), conv_params(file, tag, place)
    opt = method.optimizer(net, params, {}, {**ADAM, "lr": 1e-4})
    for b in range(2):
        batch = credit.Batch(*(beside(torch.as_tensor(file[k][b]), place) for k in "SY"))
        given = net, params, opt, {}, batch
        fast = method.fast(*given, 4) if form == "fast" else None
        params, _, _, info = fast(params, opt, {}, batch, 0) if fast else method.update(*given, 0)
        close(alone(info["loss"], place), file[f"{tag}_overall"][b, 0], TOLERANCE)
        if rule == "pc" and not fast:
            close(alone(info["rate"], place), file[f"{tag}_xlr"][b, -2], TOLERANCE)
        for i in range(4):
            for name, key in (("weight", "W"), ("bias", "b")):
                if name in params[str(i)]:
                    close(alone(params[str(i)][name], place), file[f"{key}{i + 1}_{tag}_after{b}"], TOLERANCE)
    first = beside(torch.as_tensor(file["S"][0]), place)
    close(alone(net.predict(params, first), place), file[f"{tag}_pred_after"], TOLERANCE)


def conv_params(file, tag, place=None):
    return {
        str(i): {ours: beside(torch.as_tensor(file[key]), place) for ours, n in (("weight", "W"), ("bias", "b"))
                 if (key := f"{n}{i + 1}_{tag}_init") in file}
        for i in range(4)
    }  # fmt: skip


@sources
@pytest.mark.parametrize("name", ["conv", "dense"])
def test_the_energy_of_every_iteration_is_that_of_the_weights_then(source, name):
    if name == "conv":
        file, tag = load_names(source), "ppc"
        net, params, lr = conv_net("linear"), conv_params(file, tag), 1e-4
        overall, batches = file["ppc_overall"], 2
    else:
        file = load(source, "core_adam_multibatch")
        net, params, lr = credit.dense([6, 7, 7, 2], hidden="relu", loss="squared_error_sum"), None, 1e-3
        params, overall, batches = params_of(file, 3, "_pc_init"), file["overall_pc"], 3
    opt = credit.method("pc").optimizer(net, params, {}, {**ADAM, "lr": lr})
    for b in range(batches):
        batch = credit.Batch(*(torch.as_tensor(file[k][b]) for k in "SY"))
        for t, moment in enumerate(relax(net, params, batch, 16, Inference(0.5, 0.5))):
            close(moment.now.total(1), overall[b][t], TOLERANCE)
            if name == "conv" and t:
                close(moment.rate, file["ppc_xlr"][b, t - 1], TOLERANCE)
            opt.step(params, energies.weight_gradients(net, moment.now, moment.deltas))


@sources
@pytest.mark.parametrize("name", ["conv-rbp", "conv-rbp_last", "dense"])
def test_the_loss_of_every_step_of_backpropagation_is_the_recorded_one(source, name):
    kind, _, tag = name.partition("-")
    if kind == "conv":
        file = load_names(source)
        net, params, lr = conv_net(CONV[tag][1]), conv_params(file, tag), 1e-4
        overall, batches = file[f"{tag}_overall"], 2
    else:
        file = load(source, "core_adam_multibatch")
        net, lr = credit.dense([6, 7, 7, 2], hidden="relu", loss="squared_error_sum"), 1e-3
        params, overall, batches = params_of(file, 3, "_bp_init"), file["overall_bp"], 3
    rule = credit.method("bp")
    opt = rule.optimizer(net, params, {}, {**ADAM, "lr": lr})
    for b in range(batches):
        batch = credit.Batch(*(torch.as_tensor(file[k][b]) for k in "SY"))
        for t in range(16):
            *_, info = rule.update(net, params, opt, {}, batch, 0)
            close(info["loss"], overall[b][t], TOLERANCE)


def conv_net(output):
    return credit.conv([2, 8, 8], [3, 4], [6], 3, kernel=[3, 2, 1], pool=None, hidden="relu", output=output,
                       loss="squared_error_sum", bias=[False, False, True, True])  # fmt: skip


def load_names(source):
    return Recording((HERE if source == "slices" else COMPLETE) / "pc_conv.npz")
