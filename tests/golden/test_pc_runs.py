"""Short runs of predictive coding and backpropagation against recordings of the official code of Song et al. (2024).

The official code draws from torch's generator: the pair first, then each layer by torch's default, then again by the
scheme of the experiment.
"""

from __future__ import annotations

import pytest
import torch

import credit
from credit.methods.energy.settings import Inference
from credit.probes.base import Moment
from credit.probes.path_length import PathLength
from credit.probes.prospective_index import ProspectiveIndex
from credit.probes.target_alignment import TargetAlignment
from tests.golden.recordings import COMPLETE, HERE, Recording

sources = pytest.mark.parametrize("source", ["slices", "complete"])
SCHEMES = {
    "xavier_uniform": torch.nn.init.xavier_uniform_,
    "xavier_uniform tanh": lambda w: torch.nn.init.xavier_uniform_(w, 5 / 3),
    "xavier_normal": torch.nn.init.xavier_normal_,
    "orthogonal": torch.nn.init.orthogonal_,
}


def load(source, name, tensors=False):
    return Recording((HERE if source == "slices" else COMPLETE) / f"pc_{name}.npz", tensors=tensors)


def drawn(seeds, sizes, scheme, scale=1.0):
    """x and y (M, 1, n), and weights of all layers, of several seeds."""
    found = []
    for seed in seeds:
        torch.manual_seed(int(seed))
        pair = scale * torch.randn(1, sizes[0]), scale * torch.randn(1, sizes[-1])
        layers = [torch.nn.Linear(a, b, bias=False).weight for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        for weight in layers:
            SCHEMES[scheme](weight)
        found.append((*pair, [w.detach() for w in layers]))
    x, y, weights = zip(*found, strict=True)
    stacks = {str(i): {"weight": torch.stack(layer)} for i, layer in enumerate(zip(*weights, strict=True))}
    return credit.Batch(torch.stack(x), torch.stack(y)), stacks


def net_of(sizes, hidden="linear", **options):
    return credit.dense(sizes, hidden=hidden, loss="squared_error_sum", bias=False, **options)


def updated(net, params, batch, name, lr, form="plain", **hyper):
    """Parameters after one update, in memory of their own, and its info."""
    rule = credit.method(name, **hyper)
    params = {i: {"weight": block["weight"].clone()} for i, block in params.items()}
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": lr})
    fast = rule.fast(net, params, opt, {}, batch, batch.x.shape[-2]) if form == "fast" else None
    params, _, _, info = fast(params, opt, {}, batch, 0) if fast else rule.update(net, params, opt, {}, batch, 0)
    return params, info


def alignment(net, before, after, batch):
    seen = Moment(net, credit.method("bp"), before, {}, batch, {}, after, {}, 0)
    return TargetAlignment().measure(seen)[0][2]


@sources
@pytest.mark.parametrize("rule", ["pc", "bp"])
@pytest.mark.parametrize("act", ["id", "tanh"])
def test_an_update_of_four_layers_is_the_recorded_one(source, act, rule):
    file, prefix = load(source, "target_alignment", tensors=True), f"ex_{act}_{rule}_"
    batch, params = drawn([1482555873], [64] * 5, "xavier_uniform" if act == "id" else "xavier_uniform tanh")
    assert torch.equal(batch.x[0], file[f"{prefix}s"])
    assert torch.equal(batch.y[0], file[f"{prefix}y"])
    net = net_of([64] * 5, {"id": "linear", "tanh": "tanh"}[act])
    after, info = updated(net, params, batch, rule, 0.001, **({"steps": 128} if rule == "pc" else {}))
    for i in range(4):
        assert torch.equal(params[str(i)]["weight"][0], file[f"{prefix}W{i + 1}"])
        change = after[str(i)]["weight"][0] - params[str(i)]["weight"][0]
        recorded = file[f"{prefix}W{i + 1}_after"] - file[f"{prefix}W{i + 1}"]
        torch.testing.assert_close(change, recorded, rtol=1e-3, atol=1e-7)
    for end, weights in (("before", params), ("after", after)):
        torch.testing.assert_close(net.predict(weights, batch.x)[0], file[f"{prefix}pred_{end}"], rtol=0, atol=2e-5)
    for i, x in enumerate(info.get("x", ())):
        last = x[0] - info["rate"][0] * slope(net, params, batch, info, i)[0]  # recorded after one more step
        torch.testing.assert_close(last, file[f"{prefix}x{i + 1}_T"], rtol=0, atol=2e-4)
    assert float(alignment(net, params, after, batch)) == pytest.approx(
        float(file[f"{prefix}target_alignment"]), abs=1e-4
    )


def slope(net, params, batch, info, i):
    from credit.methods.energy import state

    now = state.at(net, params, batch, info["x"])
    return state.node_gradients(net, params, now, state.deltas(net, now))[i]


TABLES = {  # recorded table: activation, scheme, rate, depths
    "table_depth": ("linear", "xavier_uniform", 0.001),
    "table_depth_acf_nn.Tanh()": ("tanh", "xavier_uniform tanh", 0.001),
    "table_depth_init_orthogonal_": ("linear", "orthogonal", 0.001),
    "table_orth_lr0.01": ("linear", "orthogonal", 0.01),
}


@sources
@pytest.mark.parametrize("table", TABLES)
def test_target_alignment_by_depth_is_the_recorded_one(source, table):
    file, (act, scheme, lr) = load(source, "target_alignment"), TABLES[table]
    recorded = file[table]
    for place, depth in enumerate(file["depths"][: recorded.shape[1]]):
        sizes = [64] * (int(depth) + 1)
        batch, params = drawn(file["seeds3"], sizes, scheme)
        net = net_of(sizes, act)
        for rule, hyper, row in (("pc", {"steps": 128}, 0), ("bp", {}, 1)):
            after, _ = updated(net, params, batch, rule, lr, "fast", **hyper)
            ours = alignment(net, params, after, batch)
            assert ours.tolist() == pytest.approx(recorded[row, place].tolist(), abs=2e-3), (rule, depth)


@sources
@pytest.mark.parametrize("form", ["plain", "fast"])
@pytest.mark.parametrize("rule", ["pc", "bp"])
def test_the_three_weights_of_the_interference_example_take_the_recorded_way(source, rule, form):
    file = load(source, "112", tensors=True)
    net, tolerance = net_of([1, 1, 2]), 2e-6 if form == "plain" else 1e-4  # ties of the energy are rounding
    batch = credit.Batch(torch.ones(1, 1), torch.tensor([[0.0, 1]]))
    hyper = {"steps": 128} if rule == "pc" else {}
    params = ones(net)
    for t in range(64):
        close(net.predict(params, batch.x)[0], file[f"pred_{rule}"][t], tolerance)
        for i, block in params.items():
            close(block["weight"], file[f"W{int(i) + 1}_{rule}"][t], tolerance)
        params, _ = updated(net, params, batch, rule, 0.2, form, **hyper)


def ones(net):
    return net.init(0, "ones")


def close(ours, recorded, tolerance):
    torch.testing.assert_close(ours.double(), recorded.double(), rtol=0, atol=tolerance)


RATES = ("0.5", "0.1", "0.05", "0.01", "0.005")


@sources
@pytest.mark.parametrize("rule", ["pc", "bp"])
def test_every_rate_of_the_interference_example_takes_the_recorded_way(source, rule):
    """All rates in one stack and one call: 2048 updates."""
    file, net = load(source, "112", tensors=True), net_of([1, 1, 2])
    params = net.init(credit.Rand([0] * 5, dtype=torch.float64), "ones", dtype=torch.float64)
    batch = credit.Batch(
        torch.ones(5, 1, 1, dtype=torch.float64), torch.tensor([[0.0, 1]], dtype=torch.float64).expand(5, 1, 2)
    )
    method = credit.method(rule, **({"steps": 128} if rule == "pc" else {}))
    opt = method.optimizer(net, params, {}, {"name": "sgd", "lr": [float(r) for r in RATES]})
    fast = method.fast(net, params, opt, {}, batch, 1)
    way = []
    for _ in range(2048):
        way.append(net.predict(params, batch.x)[:, 0].clone())
        params, *_ = fast(params, opt, {}, batch, 0) if fast else method.update(net, params, opt, {}, batch, 0)
    way = torch.stack(way, 1)
    for ours, rate in zip(way, RATES, strict=True):
        if rule == "bp":
            torch.testing.assert_close(ours, file[f"lr{rate}_bp"], rtol=0, atol=5e-5)
        else:
            torch.testing.assert_close(ours, file[f"lr{rate}_pc_explicit"], rtol=0, atol=1e-9)
            torch.testing.assert_close(ours[:60], file[f"lr{rate}_pc_first60"], rtol=0, atol=5e-5)


@sources
@pytest.mark.parametrize("rule", ["pc", "bp"])
def test_first_steps_of_the_interference_example_are_recorded_ones(source, rule):
    file, net = load(source, "112", tensors=True), net_of([1, 1, 2])
    batch = credit.Batch(torch.ones(1, 1), torch.tensor([[0.0, 1]]))
    for lr, (before, after) in zip(file[f"first_lrs_{rule}"].tolist(), file[f"first_{rule}"], strict=True):
        params = ones(net)
        close(net.predict(params, batch.x)[0], before, 1e-6)
        params, _ = updated(net, params, batch, rule, lr, **({"steps": 128} if rule == "pc" else {}))
        close(net.predict(params, batch.x)[0], after, 1e-6)


EXAMPLE = {  # recorded way: what is followed, rate of bp and of pc, which layers learn
    "traj": ("weights", {"bp": 0.4, "pc": 1.3969543147208123}, False),
    "traj_small_lr": ("weights", {"bp": 0.05, "pc": 0.05}, False),
    "traj_output": ("outputs", {"bp": 0.4, "pc": 1.3969543147208123}, False),
    "traj_small_lr_output": ("outputs", {"bp": 0.05, "pc": 0.05}, False),
    "learn_last": ("outputs", {"bp": 0.4, "pc": 0.4}, True),
}


@sources
@pytest.mark.parametrize("rule", ["pc", "bp"])
@pytest.mark.parametrize("name", EXAMPLE)
def test_the_example_with_two_gains_takes_the_recorded_way(source, name, rule):
    what, rates, last = EXAMPLE[name]
    recorded = load(source, "example122", tensors=True)[f"{name}_{rule}"]
    net = net_of([1, 2, 2], connections=["full", "diagonal"])
    init = [{"name": "zeros"}, {"name": "given", "values": [[1, 0], [0, 2]]}]
    params = net.init(0, init)
    batch = credit.Batch(*(torch.ones(1, n) for n in (1, 2)))
    lr = {"0": rates[rule], "1": rates[rule] if last else 0.0}
    hyper = {"steps": 128, "inference": Inference(0.1, 0.8)} if rule == "pc" else {}
    for row in recorded:
        now = params["0"]["weight"].flatten() if what == "weights" else net.predict(params, batch.x)[0]
        close(now, row, 5e-6)
        params, _ = updated(net, params, batch, rule, lr, **hyper)


@sources
@pytest.mark.parametrize(("table", "learns"), [("wprime", (100,)), ("wstar", tuple(range(100, 200)))])
def test_the_prospective_index_by_layer_is_the_recorded_one(source, table, learns):
    file, sizes = load(source, "prospective_index"), [64] * 7
    batch, params = drawn(file["seeds"], sizes, "xavier_normal")
    inference = Inference(0.1, 0.5, updates=tuple(range(100)))
    net, hyper = net_of(sizes), {"steps": 200, "inference": inference, "weight_updates": learns}
    after, info = updated(net, params, batch, "pc", 0.01, **hyper)
    seen = Moment(net, credit.method("pc"), params, {}, batch, info, after, {}, 0)
    ours = torch.stack([value for _, _, value in ProspectiveIndex().measure(seen)])
    torch.testing.assert_close(ours.double(), torch.as_tensor(file[table]), rtol=0, atol=1e-4)


@sources
@pytest.mark.parametrize("rule", ["pc", "bp"])
def test_paths_of_weights_are_as_long_as_recorded(source, rule):
    file = load(source, "less_erratic")
    hyper = {"steps": 200, "inference": Inference(0.1, 0.9)} if rule == "pc" else {}
    seeds, rates, recorded = file[f"{rule}_seeds"], file[f"{rule}_lrs"], file[rule]
    some = slice(None) if rule == "pc" else slice(0, None, 7)
    lengths = paths(seeds, rates[some], rule, hyper)
    torch.testing.assert_close(lengths, torch.as_tensor(recorded[some][..., :2]), rtol=5e-4, atol=0)
    seed, rate, path, final, _ = file[f"official_{rule}"]
    ours = paths([int(seed)], [rate], rule, hyper)[0, 0]
    assert ours.tolist() == pytest.approx([path, final], rel=5e-4)


def paths(seeds, rates, rule, hyper):
    """Length of the path and of the way in all, (rates, seeds, 2), after 64 updates on one pair."""
    sizes = [32] * 4
    batch, params = drawn(seeds, sizes, "xavier_normal", 0.1)
    m = len(rates)
    params = {i: {"weight": block["weight"].repeat(m, 1, 1)} for i, block in params.items()}
    batch = credit.Batch(batch.x.repeat(m, 1, 1), batch.y.repeat(m, 1, 1))
    net, method = net_of(sizes, "sigmoid"), credit.method(rule, **hyper)
    lr = [float(r) for r in rates for _ in seeds]
    opt = method.optimizer(net, params, {}, {"name": "sgd", "lr": lr})
    fast, probe, memory = method.fast(net, params, opt, {}, batch, 1), PathLength(record=64), {}
    for _ in range(64):
        before = {i: {"weight": block["weight"].clone()} for i, block in params.items()}
        params, *_ = fast(params, opt, {}, batch, 0) if fast else method.update(net, params, opt, {}, batch, 0)
        rows = probe.measure(Moment(net, method, before, {}, batch, {}, params, {}, 0, memory))
    return torch.stack([value.double().view(m, len(seeds)) for _, _, value in rows], -1)
