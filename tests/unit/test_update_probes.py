"""Probes of what one update does to outputs and activities, and of the way of the weights over many."""

from __future__ import annotations

import math

import pytest
import torch

import credit
from credit.methods.pc import PC
from credit.nets.base import Batch
from credit.probes.base import Moment
from credit.probes.path_length import PathLength
from credit.probes.prospective_index import ProspectiveIndex
from credit.probes.target_alignment import TargetAlignment
from tests.unit.test_train import make_spec, trained, values

SEEDS = pytest.mark.parametrize("seeds", [(0, 1, 2), 5])


def moved(sizes, seeds, factor=0.01, batch=4, hidden="linear", targets="values"):
    """A moment in which every weight has become a little larger; batch, shapes with and without a stack."""
    rand = credit.Rand(list(seeds) if isinstance(seeds, tuple) else seeds, dtype=torch.float64)
    net = credit.dense(sizes, hidden=hidden, loss="squared_error_sum")
    params = net.init(rand)
    after = {i: {name: (1 + factor) * p for name, p in block.items()} for i, block in params.items()}
    x, y = rand.normal("x", (batch, sizes[0])), rand.normal("y", (batch, sizes[-1]))
    if targets == "classes":
        y = y.argmax(-1)
    return Moment(net, credit.method("bp"), params, {}, Batch(x, y), {}, after, {}, rand)


@SEEDS
def test_target_alignment_is_a_mean_of_cosines_over_the_mini_batch(seeds):
    seen = moved([5, 4, 3], seeds, hidden="tanh")
    (_, _, alignment), (_, _, angle) = TargetAlignment().measure(seen)
    net, x = seen.net, seen.batch.x
    step = net.predict(seen.after, x) - net.predict(seen.params, x)
    way = seen.batch.y - net.predict(seen.params, x)
    ours = torch.atleast_1d(torch.cosine_similarity(step, way, dim=-1).mean(-1))
    torch.testing.assert_close(alignment, ours, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.cos(torch.deg2rad(angle)), alignment, rtol=1e-12, atol=0)


def test_classes_are_one_hot_targets():
    seen = moved([5, 4, 3], (0, 1), targets="classes")
    dense = Batch(seen.batch.x, torch.nn.functional.one_hot(seen.batch.y, 3).double())
    other = Moment(*[dense if v is seen.batch else v for v in vars(seen).values()])
    for (_, _, a), (_, _, b) in zip(TargetAlignment().measure(seen), TargetAlignment().measure(other), strict=True):
        assert torch.equal(a, b)


def test_a_net_without_hidden_layers_is_aligned_by_backpropagation():
    seen = moved([5, 3], (0, 1), batch=1)
    rule, params = seen.method, {i: {n: p.clone() for n, p in block.items()} for i, block in seen.params.items()}
    opt = rule.optimizer(seen.net, params, {}, {"name": "sgd", "lr": 0.1})
    after = rule.update(seen.net, params, opt, {}, seen.batch, seen.rand)[0]
    fields = {**vars(seen), "after": after}
    (_, _, alignment), (_, _, angle) = TargetAlignment().measure(Moment(**fields))
    torch.testing.assert_close(alignment, torch.ones(2, dtype=torch.float64), rtol=1e-12, atol=0)
    assert angle.isfinite().all()
    assert (angle < 1e-4).all()


def test_outputs_that_do_not_move_have_no_alignment():
    (_, _, alignment), (_, _, angle) = TargetAlignment().measure(moved([4, 3], (0, 1), factor=0.0))
    assert alignment.isnan().all()
    assert angle.isnan().all()


@SEEDS
def test_the_prospective_index_tells_whether_inference_foresees_the_change_or_its_opposite(seeds):
    seen = moved([5, 6, 4, 3], seeds, hidden="tanh")
    before, after = (seen.net.forward(p, seen.batch.x) for p in (seen.params, seen.after))
    foreseen = {}
    for factor in (3.0, -0.5):
        foreseen[factor] = [
            before.blocks[i].pre + factor * (after.blocks[i].pre - before.blocks[i].pre) for i in range(2)
        ]
    for factor, expected in ((3.0, 1.0), (-0.5, -1.0)):
        settled = {**vars(seen), "method": credit.method("pc"), "info": {"x": foreseen[factor]}}
        rows = ProspectiveIndex().measure(Moment(**settled))
        assert [row[:2] for row in rows] == [("prospective_index", "1"), ("prospective_index", "2")]
        for _, _, value in rows:
            assert value.shape == (len(seeds) if isinstance(seeds, tuple) else 1,)
            torch.testing.assert_close(value, torch.full_like(value, expected), rtol=1e-9, atol=0)


def test_a_way_there_and_back_has_a_length_but_leads_nowhere():
    seen = moved([4, 3, 2], (0, 1))
    there, size = seen, []
    for i in ("0", "1"):
        size.append((seen.after[i]["weight"] - seen.params[i]["weight"]).flatten(1).norm(dim=1))
    size = torch.stack(size).mean(0)
    memory: dict = {}
    first = PathLength().measure(Moment(**{**vars(there), "memory": memory}))
    back = {**vars(seen), "params": seen.after, "after": seen.params, "memory": memory}
    second = PathLength().measure(Moment(**back))
    torch.testing.assert_close(first[0][2], size, rtol=1e-12, atol=0)
    torch.testing.assert_close(first[1][2], size, rtol=1e-12, atol=0)
    torch.testing.assert_close(second[0][2], 2 * size, rtol=1e-12, atol=0)
    assert (second[1][2] == 0).all()


def test_a_path_looked_at_after_updates_is_the_one_looked_at_when_evaluating():
    spec = make_spec(lr=0.05, probes=[{"probe": "path_length", "every": 1}])
    updates = trained(spec).records
    spec = make_spec(lr=0.05, probes=[{"probe": "path_length", "on": "evaluate"}])
    spec["train"]["evaluate"] = {"every": 1, "unit": "update", "splits": ["test"]}
    evaluations = trained(spec).records
    for metric in ("path_length", "final_length"):
        for seed in (0, 1):
            ours, theirs = (values(records, metric=metric, seed=seed) for records in (updates, evaluations))
            assert theirs[0] == 0
            assert ours == pytest.approx(theirs[1:], rel=1e-12)
            assert len(ours) == 16
    path, final = (values(updates, metric=m, seed=0) for m in ("path_length", "final_length"))
    assert all(a < b for a, b in zip(path, path[1:], strict=False))
    assert final[0] == path[0]
    assert final[-1] < path[-1]


def test_only_every_so_many_looks_are_recorded():
    spec = make_spec(lr=0.05, probes=[{"probe": "path_length", "every": 1, "record": 4}])
    found = [r["step"] for r in trained(spec).records if r["metric"] == "path_length" and r["seed"] == 0]
    assert len(found) == 4
    assert math.gcd(*[b - a for a, b in zip(found, found[1:], strict=False)]) == 4


def test_a_probe_of_weights_alone_leaves_the_fast_form_in_use(monkeypatch):
    """Five updates an epoch, of which the last mini-batch is smaller, looked at one by one."""
    spec = make_spec("pc", lr=0.02, epochs=2, probes=[{"probe": "path_length", "every": 1}])
    spec["net"] |= {"loss": "squared_error_sum", "bias": False}
    spec["task"]["batch_size"] = 14
    spec["rule"]["steps"] = 8
    fast = trained(spec).records
    plain, calls = PC.update, []
    monkeypatch.setattr(PC, "update", lambda self, *args: calls.append(args[4].y.shape[1]) or plain(self, *args))
    assert trained(spec).records == fast
    assert 14 not in calls, "a full mini-batch goes to the fast form"
    monkeypatch.setattr(PC, "fast", lambda self, *args, **options: None)
    slow = trained(spec).records
    assert 14 in calls
    assert [r["metric"] for r in slow] == [r["metric"] for r in fast]
    assert [r["value"] for r in slow] == pytest.approx([r["value"] for r in fast], rel=1e-9)
