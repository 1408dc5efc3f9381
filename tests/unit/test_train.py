"""The training loop: what it records, and that nothing it may survive changes what it records."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import pytest
import torch

from credit.errors import CheckpointError, ConfigError
from credit.methods.base import DIVERGED
from credit.provenance.spec import VERSION
from credit.training import checkpoint
from credit.training.job import apply_choice, score
from credit.training.loop import Training

TASK = {"name": "teacher", "n_in": 4, "n_out": 2, "hidden_sizes": [8], "hidden": "relu", "init": "teacher"}


def make_spec(method="bp", seeds=(0, 1), vary=None, epochs=4, dtype="float64", probes=(), **optimizer):
    return {
        "version": VERSION, "kind": "train", "rule": {"name": method},
        "net": {"kind": "dense", "hidden_sizes": [6, 5], "hidden": "tanh", "loss": "mse"},
        "task": {**TASK, "train": 60, "validation": 20, "test": 20, "batch_size": 16},
        "train": {
            "epochs": epochs, "dtype": dtype, "threads": 1, "optimizer": {"name": "sgd", **optimizer},
            "evaluate": {"every": 2, "splits": ["validation", "test"]},
        },
        "probes": list(probes), "vary": vary or {}, "seeds": list(seeds),
    }  # fmt: skip


def trained(spec, path=None, every=0.0):
    training = Training(spec, log=io.StringIO())
    training.run(path, every)
    return training


def values(records, **wanted):
    return [r["value"] for r in records if all(r[k] == v for k, v in wanted.items())]


def test_records_hold_every_metric_at_its_epochs():
    records = trained(make_spec(lr=0.01)).records
    assert [r["epoch"] for r in records if r["metric"] == "train_loss" and r["seed"] == 0] == [1, 2, 3, 4]
    assert [r["epoch"] for r in records if r["metric"] == "test_loss" and r["seed"] == 1] == [0, 2, 4]
    assert [r["step"] for r in records if r["metric"] == "test_loss" and r["seed"] == 1] == [0, 8, 16]
    assert set(records[0]) == {"seed", "epoch", "step", "metric", "layer", "value"}
    assert (
        values(records, metric="test_loss", seed=0, epoch=4)[0]
        < values(records, metric="test_loss", seed=0, epoch=0)[0]
    )


@pytest.mark.parametrize("method", ["bp", "fa", "dfa", "drtp", "shallow", "mn"])
def test_a_member_does_not_depend_on_the_block_that_it_is_trained_in(method):
    together = trained(make_spec(method, seeds=(0, 1, 2), lr=0.01)).records
    alone = trained(make_spec(method, seeds=(1,), lr=0.01)).records
    mine = [r for r in together if r["seed"] == 1]
    assert [r["metric"] for r in mine] == [r["metric"] for r in alone]
    assert [r["value"] for r in mine] == pytest.approx([r["value"] for r in alone], rel=1e-10)


def test_a_grid_is_one_stack_and_each_point_equals_its_own_run():
    grid = trained(make_spec(seeds=(0, 1), vary={"train.optimizer.lr": [0.003, 0.03]})).records
    for lr in (0.003, 0.03):
        alone = trained(make_spec(seeds=(0, 1), lr=lr)).records
        ours = [r for r in grid if r["lr"] == lr]
        assert [r["value"] for r in ours] == pytest.approx([r["value"] for r in alone], rel=1e-10)


def test_a_hyperparameter_of_the_rule_can_vary_within_a_stack():
    spec = make_spec("fa", lr=0.01, vary={"hyper.feedback_scale": [0.5, 2.0]})
    records = trained(spec).records
    for scale in (0.5, 2.0):
        one = make_spec("fa", lr=0.01)
        one["rule"]["feedback_scale"] = scale
        ours = [r["value"] for r in records if r["feedback_scale"] == scale]
        assert ours == pytest.approx([r["value"] for r in trained(one).records], rel=1e-10)


def test_a_hyperparameter_of_a_group_can_vary_within_a_stack():
    values, learning = [0.0, 0.3], {"init": "xavier_normal", "time_points": 5}
    for given in ("xavier_normal", learning):  # a bare value is the group's main field, also here
        spec = make_spec("dfc_ssa", lr=0.01, vary={"hyper.feedback.k_p": values, "hyper.feedback.lr": [0.1]}, epochs=1)
        spec["rule"] |= {"feedback": given, "pretrain_epochs": 1}
        records = trained(spec).records
        for k_p in values:
            one = make_spec("dfc_ssa", lr=0.01, epochs=1)
            group = learning if given is learning else {"init": given}
            one["rule"] |= {"feedback": {**group, "k_p": k_p, "lr": 0.1}, "pretrain_epochs": 1}
            ours = [r["value"] for r in records if r["feedback_k_p"] == k_p and r["feedback_lr"] == 0.1]
            assert ours == pytest.approx([r["value"] for r in trained(one).records], rel=1e-10)


def test_a_chosen_value_goes_to_the_group_or_to_the_optimiser_that_its_path_names():
    spec = make_spec("dfc_ssa", lr=0.5)
    spec["rule"]["feedback"] = {"init": "zeros", "lr": 0.1}
    chosen = {"hyper.feedback.lr": 0.2, "hyper.alpha": 0.3, "train.optimizer.momentum": 0.4}
    run = apply_choice(spec, chosen)
    assert run["rule"] == {"name": "dfc_ssa", "feedback": {"init": "zeros", "lr": 0.2}, "alpha": 0.3}
    assert run["train"]["optimizer"] == {"name": "sgd", "lr": 0.5, "momentum": 0.4}
    assert (spec["rule"]["feedback"]["lr"], "alpha" in spec["rule"]) == (0.1, False)


def test_a_search_scores_settings_of_groups():
    spec = make_spec(
        "dfc_ss", lr=0.01, epochs=1, vary={"hyper.feedback.k_p": [0.0, 0.3], "hyper.controller.k_p": [1.0]}
    )
    spec["rule"] |= {"feedback": {"time_points": 5}, "controller": {"time_points": 5}, "pretrain_epochs": 0}
    spec |= {"kind": "search", "criterion": {"metric": "validation_loss", "select": "last"}}
    scores = score(spec, trained(spec))
    assert [s["at"] for s in scores] == [{"hyper.feedback.k_p": k, "hyper.controller.k_p": 1.0} for k in (0.0, 0.3)]
    assert all(s["score"] > 0 and s["n"] == 2 for s in scores)


@pytest.mark.parametrize("method", ["bp", "fa"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_resuming_gives_the_same_bits(tmp_path, method, stop_after, monkeypatch):
    probes = [{"probe": "angles", "reference": "bp"}, {"probe": "path_length", "every": 1}]
    spec = make_spec(method, lr=0.01, momentum=0.9, probes=probes)
    whole = trained(spec).records
    path = tmp_path / "run.ckpt"
    first, count = Training(spec, log=io.StringIO()), 0
    original = Training._save

    def save_then_die(self, target):
        nonlocal count
        original(self, target)
        count += 1
        if count == stop_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        first.run(path, 0.0)
    monkeypatch.setattr(Training, "_save", original)
    log = io.StringIO()
    second = Training(spec, log=log)
    second.run(path, 1e9)
    assert f"resumed at epoch {stop_after} from {path}" in log.getvalue()
    assert json.dumps(second.records) == json.dumps(whole)


def test_a_checkpoint_of_another_spec_is_not_used(tmp_path):
    path = tmp_path / "run.ckpt"
    trained(make_spec(lr=0.01), path)
    other = make_spec(lr=0.02)
    assert checkpoint.load(path, Training(other, log=io.StringIO()).identity) is None
    assert trained(other, path, 1e9).records == trained(other).records


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_corrupt_checkpoint_is_named_with_the_way_out(tmp_path, content):
    path = tmp_path / "run.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.ckpt: corrupt checkpoint .*delete it"):
        trained(make_spec(lr=0.01), path)
    assert path.read_bytes() == content


def test_a_checkpoint_that_vanishes_is_none_and_one_that_cannot_be_read_is_not_called_corrupt(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    assert checkpoint.load(path, "") is None
    path.write_bytes(b"")
    monkeypatch.setattr(Path, "exists", lambda self: True)
    path.unlink()  # by another copy of the job, after a look at it
    assert checkpoint.load(path, "") is None
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"run\.ckpt: the checkpoint cannot be read: Is a directory"):
        checkpoint.load(path, "")


def test_a_diverging_member_is_recorded_and_the_others_go_on():
    spec = make_spec(seeds=(0, 1), epochs=6, vary={"train.optimizer.lr": [0.01, 1e6]})
    spec["net"]["hidden"] = "linear"  # nothing bounds the activations
    training = trained(spec)
    diverged = [r for r in training.records if r["metric"] == "diverged"]
    assert {(r["seed"], r["lr"]) for r in diverged} == {(0, 1e6), (1, 1e6)}
    assert all(r["value"] == r["step"] > 0 for r in diverged)
    alone = make_spec(seeds=(0, 1), epochs=6, lr=0.01)
    alone["net"]["hidden"] = "linear"
    ours = [r["value"] for r in training.records if r["lr"] == 0.01]
    assert ours == pytest.approx([r["value"] for r in trained(alone).records], rel=1e-10)
    last = max(r["epoch"] for r in diverged)
    assert not [r for r in training.records if r["lr"] == 1e6 and r["epoch"] > last]


@pytest.mark.parametrize("absurd", [("0", 2 * DIVERGED), ("2", DIVERGED**0.9)])  # the weight, or the loss
def test_a_member_whose_loss_or_weights_are_finite_but_absurd_has_diverged(absurd):
    training = Training(make_spec("shallow", seeds=(0,), epochs=3, lr=0.0), log=io.StringIO())
    layer, size = absurd
    training.learner.params[layer]["bias"][0, 0] = size
    lost = [r["epoch"] for r in training.run() if r["metric"] == "diverged"]
    assert lost == [1]
    assert not [r for r in training.records if r["epoch"] > 1]
    training = Training(make_spec("shallow", seeds=(0,), epochs=3, lr=0.0), log=io.StringIO())
    training.learner.params["0"]["bias"][0, 0] = 0.9 * DIVERGED
    assert not [r for r in training.run() if r["metric"] == "diverged"]


def test_training_stops_early_when_every_member_diverged():
    spec = make_spec(seeds=(0,), epochs=50, lr=1e9)
    spec["net"]["hidden"] = "linear"
    assert max(r["epoch"] for r in trained(spec).records) < 50


def test_probes_measure_before_the_update_on_the_first_mini_batch_of_each_epoch():
    probe = {"probe": "angles", "reference": "bp"}
    records = trained(make_spec("bp", lr=0.01, probes=[probe])).records
    angles = [r for r in records if r["metric"] == "angle_bp"]
    assert {r["layer"] for r in angles} == {"", "1", "2", "3"}
    assert max(r["value"] for r in angles) < 1e-5
    assert sorted({r["step"] for r in angles}) == [0, 4, 8, 12]


def test_probes_do_not_change_what_is_trained():
    probe = {"probe": "angles", "reference": "mn", "hyper": {"damping": 0.1}, "every": 2}
    plain = trained(make_spec("fa", lr=0.01)).records
    probed = trained(make_spec("fa", lr=0.01, probes=[probe])).records
    assert [r for r in probed if not r["metric"].startswith("angle")] == plain


def test_float32_follows_float64():
    single = trained(make_spec(lr=0.01, dtype="float32")).records
    double = trained(make_spec(lr=0.01)).records
    assert [r["value"] for r in single] == pytest.approx([r["value"] for r in double], rel=1e-2)


def test_a_rule_that_is_not_defined_for_the_net_is_refused_before_training(tmp_path):
    spec = make_spec("mn", lr=0.01)
    spec["net"] = {"kind": "conv", "channels": [2], "kernel": 1, "pool": None}
    with pytest.raises(ValueError, match="conv"):
        Training(spec, log=io.StringIO())


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ConfigError, match=r"train\.dtype"):
        Training(make_spec(lr=0.01, dtype="float16"), log=io.StringIO())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_agrees_with_the_cpu_to_rounding():
    spec = make_spec("fa", lr=0.01)
    gpu = Training(spec, device="cuda", log=io.StringIO())
    gpu.run()
    ours, theirs = [r["value"] for r in gpu.records], [r["value"] for r in trained(spec).records]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_a_full_disk_ends_a_checkpoint_with_the_error_of_the_system():
    with Path("/dev/full").open("wb", buffering=0) as full:
        sink = checkpoint._Sink(full)
        torch.save({"weights": torch.randn(100)}, sink)
    assert sink.error.errno == errno.ENOSPC
