"""Target propagation against recordings of the official code of Ernoult et al. (ICML 2022), float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import credit
from credit.methods.base import forward
from credit.methods.targets.chain import links
from credit.methods.targets.losses import difference_reconstruction, reconstruction
from credit.nets.feedback import FeedbackBlock
from credit.nets.pooling import Pool
from credit.numerics.rand import as_rand
from credit.probes.distances import angle_with_epsilon, distance
from tests.golden.recordings import COMPLETE, HERE, PLACES, Recording, alone, beside, both, moved
from tests.golden.recordings import agree as agree_to

TOLERANCE = 1e-12
RULES = {"ldrl": "ldrl", "vanilla": "dtp", "tp": "tp"}
NAMES = {
    "lenet": ["conv_0.conv", "conv_1.conv", "fc1.linear1", "fc2.linear1"],
    "vgg": ["conv_0.conv", "conv_1.conv", "conv_2.conv", "fc.linear"],
    "res": ["layer_0.conv", "layer_1", "layer_2", "fc.linear"],
}
STAGE = {f"0.{name}.weight": f"0.{there}.weight" for name, there in
         {"conv1": "conv1", "conv2": "conv2", "shortcut": "shortcut.conv"}.items()}  # fmt: skip
BLOCKS = (1, 2, 3)
sources = pytest.mark.parametrize("source", ["slices", "complete"])
every_net = pytest.mark.parametrize("which", ["lenet", "vgg"])
with_residual = pytest.mark.parametrize("which", ["lenet", "vgg", "res"])


def load(source: str, name: str) -> Recording:
    return Recording((HERE if source == "slices" else COMPLETE) / f"dtp_{name}.npz")


def net_of(which: str, bias: bool = True):
    if which == "res":
        return credit.resnet([3, 8, 8], [4, 6], [1, 1], 5)
    if which == "lenet":
        return credit.conv([3, 12, 12], [4, 6], [16], 5, kernel=(5, 1, 2), pool=(3, 2, 1), hidden="elu", bias=bias)
    return credit.conv([3, 16, 16], [4, 6, 8], [], 5, kernel=(3, 1, 1), pool=(2, 2, 0), hidden="elu", bias=bias)


def params_of(file, which, prefix, first=0):
    names = {"weight": "weight", "bias": "bias", **STAGE}
    pairs = ((i, block, ours, f"{prefix}{block}.{theirs}") for i, block in enumerate(NAMES[which]) if i >= first
             for ours, theirs in names.items())  # fmt: skip
    found = {}
    for i, _, ours, key in pairs:
        if key in file:
            found.setdefault(str(i), {})[ours] = torch.tensor(file[key])
    return found


def gradients_of(file, key):
    """By our names of the parameters, of one feedback block."""
    names = {theirs: ours for ours, theirs in STAGE.items()}
    found = {k.removeprefix(f"{key}/grad/"): file[k] for k in file if k.startswith(f"{key}/grad/")}
    return {names.get(k, k.rpartition(".")[2]): g for k, g in found.items()}


def batch_of(file, prefix=""):
    return credit.Batch(torch.tensor(file[f"{prefix}x"]), torch.tensor(file[f"{prefix}labels"]))


def agree(ours, recorded, tolerance=TOLERANCE):
    agree_to(ours, recorded, tolerance)


def chain_of(file, which):
    net, params = net_of(which), params_of(file, which, "F/")
    return links(net, params, forward(net, params, batch_of(file), 0).trace, "overwrite")


# ---- the losses of the feedback blocks


def sequential_draws(file, key, samples):
    """Noise of `samples` draws, in which the official code takes dx and dy in turn, as one draw with the copies of a
    sample adjacent."""
    draws = [torch.tensor(file[f"{key}/unit_noise_{k}"]) for k in range(2 * samples)]
    return (torch.stack(draws[start::2], 1).flatten(0, 1) for start in (0, 1))


@sources
@with_residual
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("kind", "samples"), [("ldrl", 1), ("ldrl_3s", 3), ("ldrl_par3", 3)])
def test_the_local_difference_reconstruction_loss(source, which, block, kind, samples):
    file = load(source, f"fbloss_{which}")
    key = f"fb/{kind}/{block}"
    if f"{key}/loss" not in file:
        pytest.skip("not in the slice")
    if kind == "ldrl_par3":
        dx, dy = (torch.tensor(file[f"{key}/unit_noise_{k}"]) for k in (0, 1))
    else:
        dx, dy = sequential_draws(file, key, samples)
    own, sigma = params_of(file, which, "G/", 1)[str(block)], float(file["cfg/noise_per_layer"][block])
    rand = as_rand({"s_input": dx, "s_output": dy}, next(iter(own.values())), 0)
    step = difference_reconstruction(chain_of(file, which)[block], own, sigma, rand, "s", samples)
    agree(step.loss, file[f"{key}/loss"])
    if f"{key}/r_noise" in file:
        link, reconstructed = chain_of(file, which)[block], {}
        above = link.layer.forward(link.params, link.below + sigma * dx)
        for name, out, trace in (("r_noise", above.out, above), ("r_noise_y", link.trace.out + sigma * dy, link.trace)):
            reconstructed[name] = link.feedback(own, out, link.feedback.route(trace), trace).reshape(link.below.shape)
            agree(reconstructed[name], file[f"{key}/{name}"])
        clean = link.feedback(own, link.trace.out, link.route, link.trace).reshape(link.below.shape)
        far, n = {name: r - clean for name, r in reconstructed.items()}, len(clean)
        agree(-2 * sigma * (dx * far["r_noise"]).sum() / n, file[f"{key}/term_input"], 1e-11)
        agree(far["r_noise_y"].square().sum() / n, file[f"{key}/term_output"], 1e-11)
    recorded = gradients_of(file, key)
    assert np.abs(recorded.pop("bias", 0.0)).max() < 1e-14  # the rule gives none
    assert set(step.gradients) == set(recorded)
    for name, gradient in recorded.items():
        agree(step.gradients[name], gradient)


@sources
@with_residual
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("kind", "samples"), [("vanilla", 1), ("vanilla_par3", 3)])
def test_the_denoising_reconstruction_loss(source, which, block, kind, samples):
    file = load(source, f"fbloss_{which}")
    key = f"fb/{kind}/{block}"
    if f"{key}/loss" not in file:
        pytest.skip("not in the slice")
    own, sigma = params_of(file, which, "G/", 1)[str(block)], float(file["cfg/noise_per_layer"][block])
    rand = as_rand({"s_input": torch.tensor(file[f"{key}/unit_noise_0"])}, next(iter(own.values())), 0)
    link = chain_of(file, which)[block]
    step = reconstruction(link, own, sigma, rand, "s", samples, clean=kind == "vanilla_par3")
    agree(step.loss, file[f"{key}/loss"])
    recorded = gradients_of(file, key)
    assert set(step.gradients) == set(recorded)
    for name, gradient in recorded.items():
        agree(step.gradients[name], gradient)


@sources
@with_residual
@pytest.mark.parametrize("block", BLOCKS)
def test_a_feedback_block_maps_clean_activities_back(source, which, block):
    file = load(source, f"fbloss_{which}")
    link, own = chain_of(file, which)[block], params_of(file, which, "G/", 1)[str(block)]
    back = link.feedback(own, link.trace.out, link.route, link.trace)
    agree(back.reshape(link.below.shape), file[f"r/{block}"])
    for i, activity in ((block, link.trace.out), (block - 1, link.below)):
        if f"s/{i}" in file:
            agree(activity, file[f"s/{i}"])
    if block < len(NAMES[which]) - 1 and f"pool_indices/conv_{block}.pool" in file:
        assert torch.equal(link.route, torch.tensor(file[f"pool_indices/conv_{block}.pool"]))
    if block == 1 and "pool_indices/conv_0.pool" in file:
        trace = forward(net_of(which), params_of(file, which, "F/"), batch_of(file), 0).trace.blocks[0]
        assert torch.equal(
            FeedbackBlock(net_of(which).block(0)).route(trace), torch.tensor(file["pool_indices/conv_0.pool"])
        )


# ---- targets and forward gradients


@sources
@with_residual
@pytest.mark.parametrize("feedback", ["rand", "sym"])
@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("beta", ["0.7", "0.005"])
def test_targets_local_losses_and_forward_gradients(source, which, feedback, kind, beta):
    file, key = load(source, f"targets_{which}_{feedback}"), f"{kind}/beta{beta}"
    if f"{key}/loss" not in file:
        pytest.skip("not in the slice")
    net, params = net_of(which), params_of(file, which, "F/")
    rule = credit.method(RULES[kind], beta=float(beta))
    step = rule.gradients(net, params, {"feedback": params_of(file, which, "G/", 1)}, batch_of(file), 0)
    if "logits" in file:
        agree(step.info["output"], file["logits"])
    for i in range(len(net)):
        agree(step.info["targets"][i], file[f"{key}/target/{i}"])
        agree(step.info["local_losses"][i], file[f"{key}/layer_loss/{i}"], 1e-11)
    recorded = params_of(file, which, f"{key}/grad/")
    assert {i: set(block) for i, block in recorded.items()} == {i: set(b) for i, b in step.gradients.items()}
    for i, block in recorded.items():
        for part, gradient in block.items():
            torch.testing.assert_close(step.gradients[i][part], gradient, rtol=TOLERANCE, atol=1e-14)
    agree(sum(step.info["local_losses"].values()), file[f"{key}/loss"], 1e-11)
    exact = credit.method("bp").gradients(net, params, {}, batch_of(file), 0).gradients
    for i, block in params_of(file, which, "bp_grad/").items():
        for part, gradient in block.items():
            torch.testing.assert_close(exact[i][part], gradient, rtol=TOLERANCE, atol=1e-14)


@sources
@every_net
def test_symmetric_initialisation_copies_the_forward_weights(source, which):
    file = load(source, f"targets_{which}_sym")
    net, params = net_of(which), params_of(file, which, "F/")
    state = credit.method("ldrl", feedback="symmetric").init(net, params, 0)
    recorded = params_of(file, which, "G/", 1)
    assert recorded.keys() == state["feedback"].keys()
    for i, block in recorded.items():
        assert all(torch.equal(state["feedback"][i][n], p) for n, p in block.items())
        state["feedback"][i]["weight"].zero_()
    assert all(params[i]["weight"].abs().max() > 0 for i in params)  # a copy, not the same memory


# ---- whole training steps


@sources
@every_net
@PLACES
def test_two_training_steps(source, which, place, monkeypatch):
    """Losses, weights as changes, and how far feedback was from forward weights before every iteration."""
    file = load(source, f"train_{which}")

    def stacked(tree):
        return {i: {n: beside(p, place) for n, p in block.items()} for i, block in tree.items()}

    start = {"F": params_of(file, which, "F0/"), "G": params_of(file, which, "G0/", 1)}
    net, params, state = net_of(which), stacked(start["F"]), {"feedback": stacked(start["G"])}
    iterations, sigma, lr = (file[f"cfg/{k}"][1:].tolist() for k in ("iters", "noise", "lr_b"))
    rate, momentum, decay, beta = (float(v) for v in file["cfg/f_lr_mom_wd_beta"])
    learns = {"iterations": [int(k) for k in iterations], "sigma": sigma, "lr": lr}
    rule, measured = credit.method("ldrl", beta=both(beta, place), feedback=learns), {}
    settings = {"name": "sgd", "lr": rate, "momentum": momentum, "weight_decay": decay}
    opt = rule.optimizer(net, params, state, settings)
    learn = type(rule).feedback_step

    def noted(self, link, params, sigma, rand, stream):
        pair = link.feedback.copied(link.params)["weight"], params["weight"]
        pair = [alone(w, place).flatten() for w in pair]
        measured.setdefault(stream, []).append((distance(*pair), angle_with_epsilon(*pair)))
        return learn(self, link, params, sigma, rand, stream)

    monkeypatch.setattr(type(rule), "feedback_step", noted)
    for b in range(2):
        noise = iter(beside(torch.tensor(file[f"b{b}/unit_noise_{k:02d}"]), place) for k in range(18))
        draws = {}
        for i, k in enumerate(iterations, 1):
            for _ in range(int(k)):
                draws.setdefault(f"feedback_noise.{i}_input", []).append(next(noise))
                draws.setdefault(f"feedback_noise.{i}_output", []).append(next(noise))
        batch = batch_of(file, f"b{b}/")
        batch = credit.Batch(beside(batch.x, place), beside(batch.y, place))
        measured.clear()
        params, opt, state, info = rule.update(net, params, opt, state, batch, draws)
        agree(alone(sum(info["local_losses"].values()), place), file[f"b{b}/forward_loss"])
        for kind, tree, after in (("F", params, "F_after_step"), ("G", state["feedback"], "G_after_feedback")):
            for i, block in start[kind].items():
                for part in block:
                    recorded = torch.tensor(file[f"b{b}/{after}/{NAMES[which][int(i)]}.{part}"])
                    ours = alone(tree[i][part], place)
                    if (kind, part) == ("G", "bias"):
                        agree(ours, recorded)  # has no gradient
                    else:
                        moved(ours, start[kind][i][part], recorded, start[kind][i][part], 1e-11)
        for i in BLOCKS:
            agree(alone(torch.stack(info["feedback_losses"][i], -1), place), file[f"b{b}/fb_losses/layer{i}"])
            far, angles = (torch.stack(found) for found in zip(*measured[f"feedback_noise.{i}"], strict=True))
            agree(far, file[f"b{b}/fb_distances/layer{i}"])
            agree(angles, file[f"b{b}/fb_angles/layer{i}"])


@sources
def test_the_parallel_form(source):
    file = load(source, "parallel_vgg")
    net, params = net_of("vgg"), params_of(file, "vgg", "F/")
    rule, feedback = credit.method("pldrl", feedback={"samples": 3}), params_of(file, "vgg", "G/", 1)
    chain, total = links(net, params, forward(net, params, batch_of(file), 0).trace, "overwrite"), 0.0
    for i, sigma in zip(BLOCKS, (0.4, 0.2, 0.08), strict=True):
        dx, dy = (torch.tensor(file[f"unit_noise_{2 * (i - 1) + k}"]) for k in (0, 1))
        rand = as_rand({"s_input": dx, "s_output": dy}, dx, 0)
        step = rule.feedback_step(chain[i], feedback[str(i)], sigma, rand, "s")
        total = total + step.loss
        agree(step.gradients["weight"], file[f"G_grad/{NAMES['vgg'][i]}.weight"])
        assert (step.gradients["bias"] == 0).all()
        assert np.abs(file[f"G_grad/{NAMES['vgg'][i]}.bias"]).max() < 1e-14
    agree(total, file["feedback_loss"])


# ---- pooling, rates


@sources
def test_where_pooling_windows_share_a_place_the_last_value_stays(source):
    file = load(source, "unpool_overlap")
    pool, act = Pool(3, 2, 1), torch.tensor(file["input"])
    index = pool.index(act)
    assert torch.equal(index, torch.tensor(file["indices"]))
    found = act.flatten(2).gather(2, index.flatten(2)).reshape(index.shape)
    agree(found, file["pooled"])
    values = torch.tensor(file["to_unpool"])
    assert torch.equal(pool.unpooled(values, index, (4, 4), add=False), torch.tensor(file["unpooled"]))
    assert pool.unpooled(values, index, (4, 4), add=True).flatten()[5] == values.sum()


@sources
def test_the_cosine_schedule_rises_again_after_its_end(source):
    file = load(source, "lr_schedule")
    for key, recorded in file.items():
        lr = float(key.rpartition("lr0_")[2])
        schedule = {"name": "cosine", "epochs": 85, "final": 1e-5}
        opt = credit.optimizer("sgd", lr=lr, schedule=schedule).init({"0": {"weight": torch.zeros(2, 2)}})
        ours = torch.tensor([opt.lr_at(epoch) for epoch in range(90)], dtype=torch.float64)
        agree(ours, recorded)
        assert recorded[89] > recorded[85]
