"""Weights, predictions and state: written beside the result, judged, and read back."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import credit
from credit.config.files import overlay
from credit.dag import audit
from credit.dag.cost import is_done, job_cost, needed_jobs, plan
from credit.dag.keeping import beside
from credit.errors import ConfigError, DataError
from credit.provenance.kept import KINDS, kept_path, kind_of, kinds, result_of
from credit.provenance.records import read_metadata, read_result, write_result
from credit.provenance.snapshot import read_header
from credit.tasks.base import Context
from credit.tasks.classes import Classes
from credit.training import kept, sealed, weights
from credit.training.loop import Training
from tests.conftest import prepared
from tests.unit.small_checkout import FIT, Checkout, put
from tests.unit.test_train import make_spec

ALL = [*KINDS]


def trained(spec) -> Training:
    training = Training(spec, log=io.StringIO())
    training.run()
    return training


def write(folder: Path, spec: dict, keep=ALL, training: Training | None = None) -> tuple[Path, Training]:
    """What a job writes of `spec`, and the training."""
    training, out = training or trained(spec), folder / "shard0.jsonl"
    header = {"spec": spec, "chosen": {}, "provenance": {"modules": {"credit.x": "0"}}}
    kept.keep(keep, out, header, training)
    write_result(out, header, training.records)
    return out, training


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


# ---- names


def test_names_of_files_say_what_they_hold():
    for name in ("shard0", "shard12.short"):
        result = Path("runs", f"{name}.jsonl")
        assert kind_of(result) is None
        for kind in KINDS:
            file = kept_path(result, kind)
            assert (kind_of(file), result_of(file)) == (kind, result)
    assert kept_path("a/shard0.short.jsonl", "predictions") == Path("a/shard0.short.predictions.safetensors")
    out = Path("x/shard0.jsonl")
    assert kinds(out, [kept_path(out, "state"), out, kept_path(out, "weights")]) == ["weights", "state"]
    with pytest.raises(ConfigError, match=r"^y\.safetensors: no file beside x/shard0\.jsonl"):
        kinds(out, [Path("y.safetensors")])


# ---- arrays


@pytest.mark.parametrize("strided", ["transposed", "every other", "expanded", "shared"])
def test_arrays_that_do_not_lie_in_order_are_written_as_they_read(tmp_path, strided):
    base = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    x = {"transposed": base.T, "every other": base[:, ::2], "expanded": base[:1].expand(4, 6), "shared": base}[strided]
    path = tmp_path / "a.state.safetensors"
    sealed.write(path, {"spec": {}, "kept": "state"}, {"x": x, "y": base[0] if strided == "shared" else base}, [True])
    assert torch.equal(sealed.read(path)[1]["x"], x)
    assert np.array_equal(sealed.read(path)[1]["x"].numpy(), x.numpy())


def test_what_was_read_does_not_follow_the_file(tmp_path):
    out, _ = write(tmp_path, make_spec(lr=0.01))
    found = credit.load(out)
    before = [t.clone() for t in (found.params["0"]["weight"], found.predictions["test"]["outputs"])]
    (tmp_path / "other").mkdir()
    other, _ = write(tmp_path / "other", make_spec(lr=0.5))
    for kind in KINDS:
        kept_path(out, kind).write_bytes(kept_path(other, kind).read_bytes())  # over it, as cp does
    now = found.params["0"]["weight"], found.predictions["test"]["outputs"]
    assert all(map(torch.equal, before, now))


def test_the_same_numbers_give_the_same_bytes_also_in_another_process(tmp_path):
    out, training = write(tmp_path, make_spec("fa", lr=0.01, momentum=0.9))
    first = [kept_path(out, kind).read_bytes() for kind in KINDS]
    (tmp_path / "again").mkdir()
    again, _ = write(tmp_path / "again", make_spec("fa", lr=0.01, momentum=0.9), training=training)
    assert [kept_path(again, kind).read_bytes() for kind in KINDS] == first
    for data in first:
        assert list(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]) == ["credit"]


# ---- what is in them


def test_predictions_are_the_outputs_from_which_the_last_evaluation_came(tmp_path):
    out, training = write(tmp_path, make_spec(lr=0.05, seeds=(3, 5)))
    found = credit.load(kept_path(out, "predictions")).predictions
    assert set(found) == {"validation", "test"}
    for name, split in found.items():
        assert split["outputs"].shape == split["targets"].shape == (2, 20, 2)
        assert split["outputs"].dtype == torch.float64
        loss = (split["outputs"] - split["targets"]).square().mean((1, 2))
        last = [r["value"] for r in training.records if r["epoch"] == 4 and r["metric"] == f"{name}_loss"]
        assert loss.tolist() == pytest.approx(last, rel=1e-12)


def test_predictions_have_the_dtype_of_the_training_and_are_nan_for_who_diverged(tmp_path):
    spec = make_spec(vary={"train.optimizer.lr": [0.01, 1e30]}, seeds=(0,), dtype="float32")
    found = credit.load(write(tmp_path, spec)[0])
    assert found.diverged == [False, True]
    outputs = found.predictions["test"]["outputs"]
    assert outputs.dtype == torch.float32
    assert (outputs[0].isfinite().all(), outputs[1].isnan().all()) == (True, True)
    with pytest.raises(KeyError, match="2 members of seed 0"):
        found.member(0)


def test_predictions_of_classes_name_their_images(tmp_path):
    rand = np.random.default_rng(0)
    arrays = {f"{s}_x": rand.integers(0, 255, (n, 1, 3, 3), np.uint8) for s, n in (("train", 60), ("test", 40))}
    arrays |= {f"{s}_y": np.arange(n, dtype=np.uint8) % 4 for s, n in (("train", 60), ("test", 40))}
    prepared(tmp_path / "toy.npz", arrays, classes=4)
    rand = credit.Rand([1, 2], dtype=torch.float64)
    data = {"name": "toy", "verified": True}
    task = Classes(per_class=5, test_per_class=3).build(
        Context(rand, 2, torch.device("cpu"), torch.float64, tmp_path / "toy.npz", data)
    )
    net = credit.dense([9, 4])
    params = net.init(rand)

    class Learner:
        def predict(self, x):
            return net.predict(params, x.expand(2, *x.shape[1:]))

    found = task.predictions(Learner())["test"]
    assert found["outputs"].shape == (2, 12, 4)
    images = torch.from_numpy(arrays["test_x"]).double() / 255
    for m in range(2):
        own = images[found["index"][m]].expand(2, 12, 1, 3, 3)
        assert torch.allclose(found["outputs"][m], net.predict(params, own)[m], rtol=0, atol=1e-12)
        assert torch.equal(found["targets"][m], torch.from_numpy(arrays["test_y"])[found["index"][m]].long())
    assert not torch.equal(found["index"][0], found["index"][1])


def test_the_state_is_that_of_a_checkpoint_and_a_training_goes_on_from_it(tmp_path):
    spec = make_spec("fa", lr=0.01, momentum=0.9, probes=[{"probe": "path_length", "every": 1}])
    out, training = write(tmp_path, spec)
    content = kept.read_state(kept_path(out, "state"))
    assert equal(content, training.state())
    found = credit.load(out)
    rule = credit.method(**spec["rule"])
    rand = credit.Rand([0, 1], dtype=torch.float64)
    opt = rule.optimizer(found.net, found.params, found.state, spec["train"]["optimizer"])
    opt.load_state_dict(found.optimizer)
    x, y = torch.randn(2, 5, 4, dtype=torch.float64), torch.randn(2, 5, 2, dtype=torch.float64)
    learner = training.learner
    theirs = learner.method.update(learner.net, learner.params, learner.opt, learner.state, credit.Batch(x, y), rand)
    mine = rule.update(found.net, found.params, opt, found.state, credit.Batch(x, y), rand)
    for block, entries in theirs[0].items():
        for name, value in entries.items():
            assert torch.equal(mine[0][block][name], value)


TREES = [
    {},
    {"a": [1, 2.5, None, True, "x"], "b": (1, [torch.ones(2)])},
    {"tensor": {"dict": torch.zeros(0, 3)}},
    {1: {"x.y": 2}},
]


@pytest.mark.parametrize("tree", TREES, ids=range(len(TREES)))
def test_any_tree_of_plain_values_and_tensors_is_put_together_again(tree):
    plain, tensors = kept.packed(tree)
    assert equal(kept.unpacked(json.loads(json.dumps(plain)), tensors), tree)


# ---- load


def test_what_was_kept_is_loaded_from_any_of_the_files(tmp_path):
    out, training = write(tmp_path, make_spec("fa", lr=0.01, seeds=(3, 5)))
    for path in (out, *(kept_path(out, kind) for kind in KINDS)):
        found = credit.load(path)
        assert found.spec == json.loads(json.dumps(training.spec))
        assert found.members == [{"seed": 3}, {"seed": 5}]
        assert json.loads(found.records.to_json(orient="records", double_precision=15))[0] == pytest.approx(
            training.records[0]
        )
        assert equal(found.params, {b: dict(sorted(e.items())) for b, e in training.learner.params.items()})
        assert equal(found.state, training.learner.state)
        x = torch.randn(2, 3, 4, dtype=torch.float64)
        assert torch.equal(found.net.predict(found.params, x), training.learner.predict(x))
        assert torch.equal(found.member(5)["0"]["weight"], training.learner.params["0"]["weight"][1])


def test_what_was_not_kept_is_none(tmp_path):
    out, _ = write(tmp_path, make_spec(lr=0.01), [])
    found = credit.load(out)
    assert (found.params, found.state, found.predictions, found.diverged) == (None, None, None, [False, False])
    with pytest.raises(ValueError, match=r"keep: \[weights\]"):
        found.member(0)


def test_a_file_of_another_spec_beside_it_is_left_out(tmp_path):
    out, _ = write(tmp_path, make_spec(lr=0.01))
    (tmp_path / "other").mkdir()
    other, _ = write(tmp_path / "other", make_spec(lr=0.02))
    kept_path(other, "weights").replace(kept_path(out, "weights"))
    kept_path(out, "state").unlink()
    found = credit.load(out)
    assert (found.params, found.predictions is None) == (None, False)
    assert credit.load(kept_path(out, "weights")).predictions is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["cut off", "a number", "missing", "renamed"])
def test_a_damaged_file_is_named(tmp_path, kind, damage):
    out, _ = write(tmp_path, make_spec(lr=0.01), [kind])
    path = kept_path(out, kind)
    data = bytearray(path.read_bytes())
    if damage == "cut off":
        path.write_bytes(data[:-8])
    elif damage == "a number":
        data[-3] ^= 1
        path.write_bytes(data)
    elif damage == "missing":
        path.unlink()
    else:
        other = next(k for k in KINDS if k != kind)
        path = path.rename(kept_path(out, other))
    with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
        credit.load(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"choice\.json: not what a training job writes; these are shardS\.jsonl"):
        credit.load(tmp_path / "choice.json")
    with pytest.raises(DataError, match=r"shard0\.jsonl: cannot be read: No such file"):
        credit.load(tmp_path / "shard0.jsonl")


# ---- what asks for them


def workflow(folder: Path, config: dict | None = None, **changes):
    folder.mkdir(exist_ok=True)
    return Checkout(folder, {"toy/fit": overlay(FIT, changes)}).workflow(**(config or {}))


PLACE, RESULT = ("toy/fit", "near", "bp"), "results/runs/toy/fit/near/bp/shard0.jsonl"


def test_an_experiment_and_the_command_line_ask_and_no_spec_speaks_of_it(tmp_path):
    plain, fa = workflow(tmp_path / "plain"), {"fa": {}}
    some = workflow(tmp_path / "some", keep=["state"], methods={"bp": {"keep": ["predictions", "weights"]}} | fa)
    line = workflow(tmp_path / "line", {"keep": "weights,predictions"}, methods={"bp": {"keep": ["state"]}} | fa)
    assert [w.cell(*PLACE).keep for w in (plain, some, line)] == [(), ("weights", "predictions"), tuple(ALL)]
    assert line.cell("toy/fit", "near", "fa").keep == ("weights", "predictions")
    assert beside(some, RESULT) == {kind: kept_path(RESULT, kind) for kind in ("weights", "predictions")}
    assert beside(some, "results/runs/toy/fit/near/bp/choice.json") == beside(some, "x/shard0.jsonl") == {}
    specs = [w.train_spec(*PLACE, 0) for w in (plain, some, line)]
    assert specs[0] == specs[1] == specs[2]
    assert plain.collect_spec("toy/fit") == some.collect_spec("toy/fit") == line.collect_spec("toy/fit")
    assert line.keeping == {
        tuple(ALL): [f"toy/fit/{d}/bp" for d in ("near", "far")],
        ("weights", "predictions"): [f"toy/fit/{d}/fa" for d in ("near", "far")],
    }


def test_a_task_without_test_samples_keeps_no_predictions(tmp_path):
    regression = {"task": {"name": "regression", "n_in": 3, "n_out": 2}, "train": {"evaluate": {"splits": ["train"]}}}
    body = {"title": "r", "net": FIT["net"], "seeds": 1, "datasets": {"near": {}}, "methods": {"bp": {}}}
    body |= {**regression, "train": {**FIT["train"], **regression["train"]}}
    for name, config, more in (("line", {"keep": "predictions,weights"}, {}), ("own", {}, {"keep": ["predictions"]})):
        (tmp_path / name).mkdir()
        found = Checkout(tmp_path / name, {"toy/fit": {**body, **more}})
        if name == "line":
            assert found.workflow(**config).cell(*PLACE).keep == ("weights",)
        else:
            with pytest.raises(ConfigError) as error:
                found.workflow()
            line = (
                "methods.bp: keep = predictions; the task regression has no test samples, whose outputs could be kept"
            )
            assert str(error.value) == f"{tmp_path}/own/config/experiments/toy/fit.yaml: {line}"


@pytest.mark.parametrize("given", ["weight", ["state", "predicts"], "weights, x"])
def test_a_misspelt_kind_is_refused_in_one_line(tmp_path, given):
    with pytest.raises(ConfigError, match=r"^[^\n]*: keep = '\w+'.*must be one of: predictions, state, weights$"):
        workflow(tmp_path / "x", {"keep": given})


def test_the_plan_counts_what_is_kept_and_what_lacks_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, more = workflow(tmp_path / "a"), workflow(tmp_path / "b", {"keep": "predictions"})
    sizes = [plan(w, "toy/fit").whole.disk for w in (plain, more)]
    assert sizes[1] - sizes[0] == 16 * (32 + 32) * 2 * 8  # networks, samples, outputs, bytes
    spec = plain.train_spec(*PLACE, 0)
    assert job_cost(spec, ["state"]).disk > job_cost(spec, ["weights"]).disk > job_cost(spec).disk
    put(plain, RESULT)
    assert (plan(plain, RESULT).missing.jobs, plan(more, RESULT).missing.jobs) == (0, 1)
    file = str(kept_path(RESULT, "predictions"))
    assert [path for path, _ in needed_jobs(more, file)["toy/fit"]] == [RESULT]
    header = read_header(RESULT)
    sealed.write(file, {**header, "kept": "predictions"}, {"test.outputs": torch.zeros(2, 3, 2)}, [True, True])
    assert plan(more, RESULT).missing.jobs == 0
    other = {**header, "spec": {**spec, "seeds": [8, 9]}}
    sealed.write(file, {**other, "kept": "predictions"}, {"test.outputs": torch.zeros(2, 3, 2)}, [True, True])
    assert not is_done(RESULT, spec, [Path(file)])


def test_the_estimate_of_a_state_is_good_to_a_factor_of_two(tmp_path):
    for rule, wide in (("fa", 100), ("bp", 300)):
        spec = make_spec(rule, lr=0.01, momentum=0.9, epochs=1, seeds=(0,))
        spec["net"]["hidden_sizes"] = [wide, wide]
        out, _ = write(tmp_path, spec, ["state"])
        real, guess = kept_path(out, "state").stat().st_size, job_cost(spec, ["state"]).disk - job_cost(spec).disk
        assert 0.5 < real / guess < 2


def test_verify_judges_every_kept_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = workflow(tmp_path / "both", {"keep": "predictions,state"})
    put(both, RESULT)
    header = read_result(RESULT)[0]
    verdict = audit.verify(both, Path(RESULT))
    assert verdict.kind == "stale"
    lost = [f"shard0.{kind}.safetensors, the {kind} that it keeps: missing" for kind in ("predictions", "state")]
    assert verdict.lines == ("; ".join(lost),)
    header["provenance"] = {"modules": header["provenance"]["modules"]}
    files = {kind: kept_path(RESULT, kind) for kind in ("predictions", "state")}
    kept.write_predictions(files["predictions"], header, {"test": {"outputs": torch.zeros(2, 3, 2)}}, [True, True])
    kept.write_state(files["state"], header, {"params": {"0": {"weight": torch.ones(2)}}, "epoch": 3}, [True, True])
    assert [audit.verify(both, path).kind for path in (Path(RESULT), *files.values())] == ["good"] * 3
    assert read_metadata(files["state"])["content"]["dict"][1] == ["epoch", 3]
    plain = workflow(tmp_path / "plain")
    assert [audit.verify(plain, path).kind for path in (Path(RESULT), *files.values())] == [
        "good",
        "unknown",
        "unknown",
    ]
    data = bytearray(files["predictions"].read_bytes())
    data[-3] ^= 1
    files["predictions"].write_bytes(data)
    assert audit.verify(both, files["predictions"]).kind == "damaged"
    files["state"].replace(files["predictions"])
    found = audit.verify(both, files["predictions"])
    assert (found.kind, found.lines) == ("damaged", ("holds state, not predictions",))
    longer = workflow(tmp_path / "longer", {"keep": "predictions"}, train={"epochs": 9})
    weights.write(kept_path(RESULT, "weights"), header, {"0": {"weight": torch.zeros(2, 4, 3)}}, [True, True])
    assert audit.verify(longer, Path(RESULT)).kind == "stale"


def test_loading_what_was_kept_needs_no_training_and_planning_no_torch():
    code = "import sys, credit.dag.keeping, credit.provenance.kept; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
