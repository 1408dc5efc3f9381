"""The hand-coded rules and the generic trainer of Song et al. (2024) against their released code.

Its weights have shape (n_l, n_{l+1}); its nets apply f = tanh to the input too.
"""

from __future__ import annotations

import pytest
import torch

import credit
from credit.methods.backward.sweep import sweep
from credit.methods.settling import energies
from credit.methods.settling.chain import Chain
from credit.nets import activations
from credit.nets.base import Net, Trace
from credit.nets.dense import Dense
from credit.numerics.trees import clone
from tests.golden.recordings import HERE, PLACES, Recording, agree, alone, beside, both, moved

LR, TIGHT = 0.05, 1e-12
RULES = {
    "Predictive-Coding": ("pc_coded", {}),
    "GeneRec": ("generec", {"negative_phase": False}),
    "Hopfield": ("hopfield", {"negative_phase": False}),
    "Almeida-Pineda": ("almeida_pineda", {}),
}
NODES = {2: [4, 5, 3], 3: [4, 5, 5, 3]}
every_case = [
    pytest.mark.parametrize("depth", NODES),
    pytest.mark.parametrize("actions", ["reset_predict_learn", "reset_learn"]),
]


def load(name: str, prefix: str = "") -> Recording:
    return Recording(HERE / f"pc_{name}.npz", prefix, tensors=True)


def cases(function):
    for mark in (*every_case, PLACES):
        function = mark(function)
    return function


def net_of(sizes: list[int]) -> Net:
    return credit.dense(sizes, "tanh", loss="half_squared_error", bias=False)


def start(d: Recording, place: int | None) -> dict:
    return {name[1:]: {"weight": beside(d[name].mT, place)} for name in d if name in ("W0", "W1", "W2")}


@pytest.mark.parametrize("name", RULES)
@cases
def test_a_hand_coded_rule_moves_nodes_and_weights_as_recorded(name, depth, actions, place):
    d, shared = load("rules", f"{name}__{depth}__{actions}__"), load("rules")
    rule, hyper = RULES[name]
    rule = credit.method(rule, steps=12, inference=both(0.1, place), actions=actions.split("_"), **hyper)
    net, params = net_of(NODES[depth]), start(d, place)
    state = rule.init(net, params, credit.Rand(0 if place is None else [0, 1], dtype=torch.float64))
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": LR})
    batch = credit.Batch(beside(shared["s"], place), beside(shared["y"], place))
    for rep in range(2):
        params, opt, state, info = rule.update(net, params, opt, state, batch, None)
        assert state == {}
        for action, nodes in info["nodes"].items():
            for i, x in enumerate(nodes):
                agree(alone(x, place), d[f"rep{rep}_{action}_x{i}"], TIGHT)
        assert all((d[f"rep{rep}_reset_x{i}"] == 0).all() for i in range(depth + 1))
        if "predict" in actions:
            agree(alone(info["prediction"], place), d[f"rep{rep}_prediction"], TIGHT)
        for key in ("eps", "y"):
            for i, recorded in enumerate(info.get(key, ())):
                agree(alone(recorded, place), d[f"rep{rep}_{key}{i}"], TIGHT)
        for i, block in params.items():
            ours, recorded = alone(block["weight"], place), d[f"rep{rep}_W{i}_after"].mT
            agree(ours, recorded, TIGHT)
            moved(ours, alone(start(d, place)[i]["weight"], place), recorded, d[f"W{i}"].mT, TIGHT)


@cases
def test_hand_coded_backpropagation_is_bp_of_the_activated_input(depth, actions, place):
    """Its `learn` takes activities as they are: those of a forward pass after `predict`, after `reset` alone zeros."""
    d, shared = load("rules", f"Back-Propagation__{depth}__{actions}__"), load("rules")
    net, params, rule = net_of(NODES[depth]), start(d, place), credit.method("bp")
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": LR})
    batch = credit.Batch(beside(shared["s"].tanh(), place), beside(shared["y"], place))
    for rep in range(2):
        if "predict" in actions:
            params, opt, _, info = rule.update(net, params, opt, {}, batch, None)
            trace = info["trace"]
            agree(alone(info["output"], place), d[f"rep{rep}_prediction"], TIGHT)
        else:
            trace = at_rest(net, batch)
            weights = {i: block["weight"] for i, block in params.items()}
            opt.step(params, sweep(net, trace, net.loss.gradient(trace.output, batch.y), weights)[0])
        nodes = [shared["s"], *(alone(step.pre, place) for step in trace.blocks)]
        for action in actions.split("_"):
            for i, x in enumerate(nodes):
                agree(torch.zeros_like(x) if action == "reset" else x, d[f"rep{rep}_{action}_x{i}"], TIGHT)
        for i, block in params.items():
            agree(alone(block["weight"], place), d[f"rep{rep}_W{i}_after"].mT, TIGHT)


def at_rest(net, batch: credit.Batch) -> Trace:
    """All pre-activations zero."""
    x, steps = batch.x, []
    for block in net.blocks:
        steps.append(block.activate(x, x.new_zeros(*x.shape[:-1], block.n_out)))
        x = steps[-1].out
    return Trace(steps)


# ---- the generic trainer, recorded in single precision

FLOAT = 4e-7
LAYERED = {"Layered-Feedforward-None": "forward", "Layered-Recurrent-Symmetric": "recurrent"}
negative = pytest.mark.parametrize("negative", [0, 1], ids=["positive", "both"])


@pytest.mark.parametrize("name", LAYERED)
@negative
@PLACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_any_energy_descends_as_recorded(name, negative, place, dtype):
    d, shared = load("anyenergy", f"{name}__neg{negative}__"), load("anyenergy")
    hyper = {"connectivity": LAYERED[name], "negative_phase": bool(negative), "actions": ["predict", "learn"]}
    rule = credit.method("any_energy", steps=10, inference=both(0.1, place), learning_steps=2, **hyper)
    net = credit.dense([4, 5, 3], "tanh", loss="squared_error_sum", bias=False)
    params = {i: {"weight": block["weight"].to(dtype)} for i, block in start(d, place).items()}
    state = {"x": {str(i): beside(d[f"x{i}_init"].to(dtype), place) for i in range(3)}}
    opt = Followed(rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.02}))
    batch = credit.Batch(*(beside(shared[key].to(dtype), place) for key in ("s", "y")))
    params, _, state, info = rule.update(net, params, opt, state, batch, None)
    agree(alone(info["prediction"], place), d["prediction"], FLOAT)
    for action, nodes in info["nodes"].items():
        for i, x in enumerate(nodes):
            agree(alone(x, place), d[f"{action}_x{i}"], FLOAT)
    assert len(opt.after) == 2 * (1 + negative)
    for i in params:
        predicted = opt.after[1] if negative else start(d, place)
        agree(alone(predicted[i]["weight"], place), d[f"predict_W{i}"].mT, FLOAT)
        agree(alone(params[i]["weight"], place), d[f"learn_W{i}"].mT, FLOAT)
        agree(alone(state["x"][str(i)], place), d[f"learn_x{i}"], FLOAT)


class Followed:
    """An optimiser that remembers the parameters after every step."""

    def __init__(self, opt):
        self.opt, self.after = opt, []

    def step(self, params, gradients):
        self.opt.step(params, gradients)
        self.after.append(clone(params))


@negative
def test_energies_of_a_net_that_is_connected_all_to_all_have_the_recorded_gradients(negative):
    """One layer of nodes, of which 4 are the input and 3 the output; its weights stay symmetric, without diagonal."""
    d = load("anyenergy", f"Fully-connected-None-self-recurrent-Symmetric__neg{negative}__")
    shared, net, phi = load("anyenergy"), [energies.Connection(0, 0, 0)], activations.get("tanh")
    block = [Dense(12, 12, "tanh", bias=False)]
    x, weight, energy = d["x0_init"].double(), d["W0"].mT.double(), energies.ENERGIES["prediction"]
    for action in ("predict", "learn"):
        x[:, :4] = shared["s"]
        free = torch.ones(12, dtype=x.dtype)
        free[:4] = 0
        if action == "learn":
            x[:, 9:] = shared["y"]
            free[9:] = 0
        before, lr = None, 0.1
        for _ in range(10):
            total, slopes = energies.of_nodes(energy, Chain(block, [{"weight": weight}], phi), [x], net)
            lr, before = lr if before is None or total < before else 0.5 * lr, total
            x = x - lr * free * slopes[0]
        agree(x, d[f"{action}_x0"], FLOAT)
        if action == "predict":
            agree(x[:, 9:], d["prediction"], FLOAT)
        for _ in range(2 if action == "learn" or negative else 0):
            slope = energies.of_weights(energy, Chain(block, [{"weight": weight}], phi), [x], net)["0"]["weight"]
            slope = (0.5 * (slope + slope.mT)).fill_diagonal_(0)
            weight = weight - (0.02 if action == "learn" else -0.02) * slope
        agree(weight.mT, d[f"{action}_W0"], FLOAT)


# ---- target propagation, recorded in single precision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_target_propagation_through_pseudo_inverses_aligns_as_recorded(dtype):
    """One update of linear nets 64 wide, drawn as there: input, target, torch's own start of all layers, then theirs.

    The second net of four layers is nearly singular: its update overshoots, and turns the prediction away.
    """
    d = load("target_alignment")
    for depth, row in zip(d["depths_tp"], d["table_tp"], strict=True):
        for seed, recorded in zip(d["seeds3"], row, strict=True):
            torch.manual_seed(int(seed))
            s, y = torch.randn(1, 64), torch.randn(1, 64)
            layers = [torch.nn.Linear(64, 64, bias=False).weight.detach() for _ in range(depth)]
            drawn = {str(i): {"weight": torch.nn.init.xavier_uniform_(w).to(dtype)} for i, w in enumerate(layers)}
            net = credit.dense([64] * (depth + 1), "linear", loss="squared_error_sum", bias=False)
            rule, batch = credit.method("tp_pinv"), credit.Batch(s.to(dtype), y.to(dtype))
            before = net.predict(drawn, batch.x)
            opt = rule.optimizer(net, drawn, {}, {"name": "sgd", "lr": 0.001})
            after = net.predict(rule.update(net, drawn, opt, {}, batch, None)[0], batch.x)
            alignment = torch.nn.functional.cosine_similarity(after - before, batch.y - before).double()
            torch.testing.assert_close(alignment, recorded[None], rtol=0, atol=2e-6)
