"""Final weights: written beside the result, read back, and what another run starts from."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import pytest
import torch
from test_train import make_spec, trained

from credit.errors import ConfigError, DataError
from credit.nets.conv import ConvConfig
from credit.nets.dense import DenseConfig
from credit.nets.geometry import parameter_shapes
from credit.provenance.records import read_metadata
from credit.training import checkpoint, weights
from credit.training.loop import Training


def keep(folder: Path, spec: dict, name: str = "shard0") -> tuple[Path, Training]:
    """The weights that a training of `spec` ends with, and the training."""
    training = trained(spec)
    path = folder / f"{name}.safetensors"
    header = {"spec": spec, "chosen": {}, "provenance": {"modules": {"credit.x": "0"}}}
    weights.write(path, header, training.learner.params, training.alive)
    return path, training


def start_from(spec: dict, upstream: dict, seed="paired") -> dict:
    """`spec`, started from the runs of `upstream`."""
    place = {"experiment": "toy/pre", "dataset": "near", "method": "bp", "seed": seed, "runs": [upstream["seeds"]]}
    return spec | {"start": place | {"spec": weights.cell_of(upstream)}}


def begun(spec: dict, *files: Path, log=None) -> Training:
    return Training(spec, start=files, log=log or io.StringIO())


def tensors(training: Training) -> list[torch.Tensor]:
    return [t for block in training.learner.params.values() for t in block.values()]


# ---- the file


def test_what_was_written_is_read_back_bit_for_bit(tmp_path):
    spec = make_spec(lr=0.01, seeds=(3, 5))
    path, training = keep(tmp_path, spec)
    kept = weights.read(path)
    assert kept.spec == json.loads(json.dumps(spec))
    assert (kept.members, kept.diverged) == ([{"seed": 3}, {"seed": 5}], [False, False])
    for block, entries in training.learner.params.items():
        for name, value in entries.items():
            assert torch.equal(kept.params[block][name], value)
            assert torch.equal(kept.member(5)[block][name], value[1])
    x = torch.randn(7, 4, dtype=torch.float64)
    net = training.learner.net
    assert torch.allclose(net.predict(kept.member(3), x), net.predict(training.learner.params, x.expand(2, 7, 4))[0])


def test_a_seed_that_is_not_there_has_no_member(tmp_path):
    with pytest.raises(KeyError, match="0 members of seed 9"):
        weights.read(keep(tmp_path, make_spec(lr=0.01, epochs=0))[0]).member(9)


@pytest.mark.parametrize("layout", ["transposed", "strided", "views of one buffer", "expanded"])
def test_tensors_of_any_layout_are_stored_as_they_look(tmp_path, layout):
    whole = torch.arange(48.0).reshape(2, 4, 6)
    params = {
        "transposed": {"0": {"weight": whole.transpose(1, 2)}},
        "strided": {"0": {"weight": whole[:, ::2, ::3]}},
        "views of one buffer": {"0": {"weight": whole[:, :2], "bias": whole[:, 1:]}},
        "expanded": {"0": {"weight": whole[:, :1].expand(2, 4, 6)}},
    }[layout]
    header = {"spec": make_spec(lr=0.1), "chosen": {}, "provenance": {}}
    weights.write(tmp_path / "a.safetensors", header, params, [True, True])
    found = weights.read(tmp_path / "a.safetensors").params
    assert all(torch.equal(found["0"][name], value) for name, value in params["0"].items())
    assert torch.equal(whole, torch.arange(48.0).reshape(2, 4, 6))


def test_the_same_weights_give_the_same_bytes(tmp_path):
    spec = make_spec(lr=0.01)
    assert keep(tmp_path, spec, "a")[0].read_bytes() == keep(tmp_path, spec, "b")[0].read_bytes()


def test_loaded_weights_do_not_follow_their_file(tmp_path):
    path, _ = keep(tmp_path, make_spec(lr=0.01))
    other, _ = keep(tmp_path, make_spec(lr=0.5), "other")
    kept = weights.read(path)
    before = kept.params["0"]["weight"].clone()
    path.write_bytes(other.read_bytes())
    assert torch.equal(kept.params["0"]["weight"], before)


@pytest.mark.parametrize("damage", ["cut off", "grown", "empty", "text", "of someone else"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path, _ = keep(tmp_path, make_spec(lr=0.01))
    data = path.read_bytes()
    path.write_bytes({
        "cut off": data[:-8], "grown": data + b"12345678", "empty": b"", "text": b"not weights at all",
        "of someone else": data.replace(b'"credit"', b'"kredit"'),
    }[damage])  # fmt: skip
    for look in (read_metadata, weights.read):
        with pytest.raises(DataError, match=r"shard0\.safetensors: not the weights of a training job, or cut off"):
            look(path)


def test_a_number_that_was_changed_later_is_recognised(tmp_path):
    path, _ = keep(tmp_path, make_spec(lr=0.01))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert read_metadata(path)
    with pytest.raises(DataError, match=r"shard0\.safetensors: its content was changed after it was written"):
        weights.read(path)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    path, training = keep(tmp_path, make_spec(lr=0.01))
    path.unlink()
    monkeypatch.setattr(Path, "write_bytes", full)
    header = {"spec": training.spec, "chosen": {}, "provenance": {}}
    with pytest.raises(DataError, match="No space left"):
        weights.write(path, header, training.learner.params, training.alive)
    assert list(tmp_path.iterdir()) == []


# ---- starting from it


def test_the_first_evaluation_equals_the_last_one_upstream_exactly(tmp_path):
    upstream = make_spec(lr=0.05, seeds=(0, 1, 2))
    path, first = keep(tmp_path, upstream)
    spec = start_from(make_spec("fa", lr=0.01, seeds=(0, 1, 2), epochs=0), upstream)
    found = begun(spec, path).run()
    last = [r for r in first.records if r["epoch"] == 4 and r["metric"] in ("validation_loss", "test_loss")]
    mine = [r for r in found if r["epoch"] == 0]
    assert [(r["seed"], r["metric"], r["value"]) for r in mine] == [(r["seed"], r["metric"], r["value"]) for r in last]


def test_runs_are_paired_by_seed_however_the_shards_are_cut(tmp_path):
    upstream = [make_spec(lr=0.05, seeds=seeds) for seeds in ((0, 1), (2, 3), (4, 5))]
    files, runs = zip(*(keep(tmp_path, one, f"shard{i}") for i, one in enumerate(upstream)))
    whole = {seed: runs[seed // 2].learner.params["0"]["weight"][seed % 2] for seed in range(6)}
    for seeds in ((0, 1, 2, 3, 4), (3,), (4, 1)):
        spec = start_from(make_spec("fa", lr=0.01, seeds=seeds), upstream[0])
        params = begun(spec, *reversed(files)).learner.params
        for m, seed in enumerate(seeds):
            assert torch.equal(params["0"]["weight"][m], whole[seed])


def test_one_run_can_serve_all_seeds_and_all_points_of_a_grid(tmp_path):
    upstream = make_spec(lr=0.05, seeds=(0, 1))
    path, first = keep(tmp_path, upstream)
    spec = make_spec(seeds=(7, 8), vary={"train.optimizer.lr": [0.01, 0.02]})
    params = begun(start_from(spec, upstream, seed=1), path).learner.params
    assert len(params["0"]["weight"]) == 4
    assert all(torch.equal(w, first.learner.params["0"]["weight"][1]) for w in params["0"]["weight"])


def test_feedback_that_is_made_from_the_weights_sees_those_that_it_starts_from(tmp_path):
    upstream = make_spec(lr=0.05)
    path, first = keep(tmp_path, upstream)
    learner = begun(start_from(make_spec("dfc_ssa", lr=0.01), upstream), path).learner
    fresh = Training(make_spec("dfc_ssa", lr=0.01), log=io.StringIO()).learner
    expected = learner.method.init(learner.net, first.learner.params, learner.rand)
    name = next(iter(expected))
    flat = lambda tree: torch.cat([t.flatten() for t in tree[name].values()])  # noqa: E731
    assert torch.equal(flat(learner.state), flat(expected))
    assert not torch.equal(flat(learner.state), flat(fresh.state))


def test_weights_of_another_precision_are_converted(tmp_path):
    upstream = make_spec(lr=0.05)
    path, first = keep(tmp_path, upstream)
    params = begun(start_from(make_spec(lr=0.01, dtype="float32"), upstream), path).learner.params
    assert torch.equal(params["1"]["weight"], first.learner.params["1"]["weight"].float())


@pytest.mark.parametrize("problem", ["no file", "another run", "another net", "another seed"])
def test_weights_that_do_not_fit_are_refused_before_training(tmp_path, problem):
    upstream = make_spec(lr=0.05)
    path, _ = keep(tmp_path, upstream)
    spec = make_spec(lr=0.01, seeds=(0, 9) if problem == "another seed" else (0, 1))
    if problem == "another net":
        spec["net"]["hidden_sizes"] = [6, 4]
    spec = start_from(spec, make_spec(lr=0.06) if problem == "another run" else upstream)
    message = {
        "no file": r"no weights of toy/pre/near/bp, seed 0, among the inputs",
        "another run": r"shard0\.safetensors: not the weights of toy/pre/near/bp that this run was planned",
        "another net": r"parameter 1\.bias has shape \(5,\); this run's net has \(4,\)",
        "another seed": r"no weights of toy/pre/near/bp, seed 9",
    }[problem]
    with pytest.raises(ConfigError, match=message):
        begun(spec, *([] if problem == "no file" else [path]))


def test_a_member_whose_start_diverged_is_recorded_so_from_the_beginning_and_the_others_train_as_ever(tmp_path):
    upstream = make_spec(lr=0.05, seeds=(0, 1, 2))
    path, first = keep(tmp_path, upstream)
    weights.write(path, {"spec": upstream, "chosen": {}, "provenance": {}}, first.learner.params, [True, False, True])
    kept = weights.read(path)
    assert kept.diverged == [False, True, False]
    assert kept.params["0"]["weight"][1].isnan().all()
    training = begun(start_from(make_spec("fa", lr=0.01, seeds=(0, 1, 2)), upstream), path)
    records = training.run()
    assert [r for r in records if r["seed"] == 1] == [
        {"seed": 1, "epoch": 0, "step": 0, "metric": "diverged", "layer": "", "value": 0.0}
    ]
    sound, _ = keep(tmp_path, upstream, "sound")
    others = begun(start_from(make_spec("fa", lr=0.01, seeds=(0, 1, 2)), upstream), sound).run()
    assert [r for r in records if r["seed"] != 1] == [r for r in others if r["seed"] != 1]
    assert training.alive == [True, False, True]  # what it keeps itself is marked in turn


def test_a_run_that_diverged_keeps_weights_that_say_so(tmp_path):
    path, training = keep(tmp_path, make_spec(vary={"train.optimizer.lr": [0.01, 1e300]}, seeds=(0,)))
    assert training.alive == [True, False]
    kept = weights.read(path)
    assert kept.diverged == [False, True]
    assert all(t[0].isfinite().all() and t[1].isnan().all() for b in kept.params.values() for t in b.values())


def test_a_checkpoint_belongs_to_the_weights_that_the_run_started_from(tmp_path):
    upstream = make_spec(lr=0.05)
    path, _ = keep(tmp_path, upstream)
    spec = start_from(make_spec(lr=0.01), upstream)
    whole, log = begun(spec, path).run(), io.StringIO()
    first = begun(spec, path)
    count = 0

    def stop(phase, index):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        Training._epoch(first, phase, index)

    first._epoch = stop
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "x.ckpt", 0.0)
    assert begun(spec, path, log=log).run(tmp_path / "x.ckpt", 1e9) == whole
    assert "resumed at epoch 2" in log.getvalue()
    other = copy.deepcopy(upstream)
    changed, training = keep(tmp_path, other, "changed")
    training.learner.params["0"]["bias"].add_(1)
    weights.write(changed, {"spec": other, "chosen": {}, "provenance": {}}, training.learner.params, training.alive)
    assert checkpoint.load(tmp_path / "x.ckpt", begun(spec, changed).identity) is None


@pytest.mark.parametrize(
    ("part", "settings", "shape"),
    [
        (DenseConfig, {"hidden_sizes": (5, 4)}, (7,)),
        (DenseConfig, {"hidden_sizes": (), "bias": False}, (3, 4, 4)),
        (ConvConfig, {"channels": (3, 6), "hidden_sizes": (8,)}, (2, 28, 24)),
        (ConvConfig, {"channels": (3,), "kernel": (3, 2, 1), "pool": None}, (1, 9, 9)),
        (ConvConfig, {"channels": (4,), "pool": (3, 2, 1), "bias": (True, False)}, (1, 20, 20)),
    ],
)
def test_shapes_that_are_compared_before_any_job_are_those_of_the_net(part, settings, shape):
    config = part(**settings)
    net = config.build(shape, 6)
    real = {f"{i}.{name}": tuple(s) for i, block in enumerate(net.blocks) for name, s in block.shapes().items()}
    assert parameter_shapes(vars(config), shape, 6) == real
