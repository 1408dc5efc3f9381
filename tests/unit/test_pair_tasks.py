"""Single pairs, followed update by update, and points that a teacher labels."""

from __future__ import annotations

import io

import pytest
import torch

import credit
from credit.config import hyperparameters
from credit.dag.cost import samples
from credit.dag.start import task_shape
from credit.errors import ConfigError
from credit.nets import losses
from credit.probes.base import Moment
from credit.probes.weights import Weights
from credit.provenance.spec import VERSION
from credit.tasks.base import Context
from credit.tasks.labelled_teacher import LabelledTeacher
from credit.tasks.pairs import PairsConfig
from credit.training.loop import Training
from tests.unit.test_weight_probes import moment

SEEDS = [3, 8, 3]
GIVEN = {"input": (1.0,), "target": (0.0, 1.0)}


def built(part, seeds=SEEDS, **settings):
    rand = credit.Rand(seeds, dtype=torch.float64)
    return part(**settings).build(Context(rand, len(seeds), torch.device("cpu"), torch.float64)), rand


class Seen:
    """A learner that keeps what it is shown; every answer is the first input, twice."""

    def __init__(self):
        self.x, self.y, self.weights, self.notes = [], [], [], []

    def visit(self, order, take, batch_size, whose=None):
        for part in order.split(batch_size, 1):
            x, y, *weights = take(part)
            own = slice(None) if whose is None else whose
            self.x.append(x[own]), self.y.append(y[own]), self.weights.extend(weights)

    def predict(self, x):
        return x[..., :1].expand(*x.shape[:2], 2)

    def note(self, rows):
        self.notes.append((len(self.x), rows))


# ---- pairs


def test_pairs_are_drawn_input_first_and_taken_in_turn():
    task, rand = built(PairsConfig, n_in=3, n_out=2, std=0.1, points=3, per_epoch=2)
    learner = Seen()
    for _ in range(3):
        task.epoch(learner, rand)
    drawn = 0.1 * credit.Rand(SEEDS, dtype=torch.float64).normal("pairs", (3, 5))
    for k in range(6):
        assert torch.equal(learner.x[k], drawn[:, [k % 3], :3]) and torch.equal(learner.y[k], drawn[:, [k % 3], 3:])
    assert (task.shape_in, task.n_out) == ((3,), 2)
    assert learner.weights == []
    for own, (step, rows) in enumerate(learner.notes):
        assert step == own and [r[:2] for r in rows] == [("prediction", "1"), ("prediction", "2")]
        assert torch.equal(rows[1][2], drawn[:, own % 3, 0])


@pytest.mark.parametrize(("every", "steps"), [(0, []), (1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (9, [0])])
def test_predictions_are_recorded_before_every_so_many_updates(every, steps):
    task, rand = built(PairsConfig, **GIVEN, per_epoch=5, record_every=every)
    learner = Seen()
    task.epoch(learner, rand)
    assert [step for step, _ in learner.notes] == steps and len(learner.x) == 5
    assert all(torch.equal(x, torch.ones(3, 1, 1).double()) for x in learner.x)
    assert learner.y[0].tolist() == [[[0.0, 1.0]]] * 3


def test_several_pairs_may_make_a_mini_batch():
    task, rand = built(PairsConfig, n_in=2, points=3, batch_size=2, per_epoch=3)
    learner = Seen()
    task.epoch(learner, rand)
    assert torch.equal(torch.cat(learner.x, 1), torch.cat([task.x, task.x], 1)[task.whose])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"input": (1.0,)}, r"input = \[1.0\]; needs target as well"),
        ({"target": (1.0,)}, r"target = \[1.0\]; needs input as well"),
        ({"input": (), "target": (1.0,)}, r"input = \[\]; needs a number for each unit"),
        ({**GIVEN, "points": 2}, "points = 2; needs pairs that are drawn"),
        ({**GIVEN, "n_in": 7}, "n_in = 7; needs pairs that are drawn"),
        ({**GIVEN, "n_out": 7}, "n_out = 7; needs pairs that are drawn"),
        ({**GIVEN, "std": 0.1}, "std = 0.1; needs pairs that are drawn"),
        ({**GIVEN, "output_weights": (1.0,)}, r"output_weights = \[1.0\]; needs one for each of the 2 outputs"),
        ({"output_weights": (1.0, 0.0)}, r"output_weights = \[1.0, 0.0\]; needs one for each of the 1 outputs"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_before_and_when_they_are_used(settings, expected):
    with pytest.raises(ConfigError, match=f"^task.{expected}"):
        built(PairsConfig, **settings)
    with pytest.raises(ConfigError, match=f"^here.{expected}"):
        hyperparameters.check("credit.tasks.pairs", settings, "here")


def spec(task, rule, epochs=1, dtype="float64", splits=("points",), seeds=(0,), lr=0.2, **net):
    return {
        "version": VERSION, "kind": "train", "rule": rule, "seeds": list(seeds), "vary": {},
        "net": {"kind": "dense", "hidden": "linear", "loss": "squared_error_sum", "bias": False, **net}, "task": task,
        "train": {"epochs": epochs, "dtype": dtype, "threads": 1, "optimizer": {"name": "sgd", "lr": lr},
                  "evaluate": {"every": 1, "splits": list(splits)}},
        "probes": [{"probe": "weights", "every": 1}],
    }  # fmt: skip


def run(content, checkpoint=None):
    training = Training(content, log=io.StringIO())
    return training.run(checkpoint, 0.0)


def series(records, metric, layer, seed=0):
    found = (r for r in records if r["metric"] == metric and r["layer"] == layer and r["seed"] == seed)
    return {r["step"]: r["value"] for r in found}


def test_a_net_of_three_units_is_followed_by_outputs_and_weights_as_backpropagation_moves_them():
    task = {"name": "pairs", "input": [1.0], "target": [0.0, 1.0], "per_epoch": 6}
    records = run(spec(task, {"name": "bp"}, hidden_sizes=[1], init="xavier_normal"))
    w = series(records, "weight_1_1", "1")
    outs = [series(records, f"weight_{k}_1", "2") for k in (1, 2)]
    predicted = [series(records, "prediction", str(k)) for k in (1, 2)]
    assert [*w] == [*predicted[0]] == [0, 1, 2, 3, 4, 5]
    for t in range(5):
        error = [outs[0][t] * w[t], outs[1][t] * w[t] - 1]
        assert [p[t] for p in predicted] == pytest.approx([outs[k][t] * w[t] for k in (0, 1)], rel=1e-12)
        for k in (0, 1):
            assert outs[k][t + 1] == pytest.approx(outs[k][t] - 0.2 * error[k] * w[t], rel=1e-12)
        slope = sum(outs[k][t] * error[k] for k in (0, 1))
        assert w[t + 1] == pytest.approx(w[t] - 0.2 * slope, rel=1e-12)
    start = series(records, "points_loss", "")[0]
    assert start == pytest.approx((predicted[0][0] ** 2 + (predicted[1][0] - 1) ** 2) / 2, rel=1e-12)
    assert series(records, "points_loss", "")[6] < start


def test_an_output_whose_error_does_not_count_keeps_its_weights():
    task = {"name": "pairs", "input": [1.0], "target": [-1.0, 0.0], "output_weights": [1.0, 0.0], "per_epoch": 8}
    records = run(spec(task, {"name": "bp"}, hidden_sizes=[1]))
    first, second = (series(records, f"weight_{k}_1", "2") for k in (1, 2))
    assert len({*second.values()}) == 1 and len({*first.values()}) == 8
    loss = series(records, "points_loss", "")
    assert loss[0] == pytest.approx((series(records, "prediction", "1")[0] + 1) ** 2 / 2)


def test_a_resumed_run_of_pairs_goes_on_with_the_next(tmp_path, monkeypatch):
    task = {"name": "pairs", "n_in": 2, "n_out": 2, "points": 5, "per_epoch": 2}
    content = spec(task, {"name": "bp"}, epochs=4, seeds=(0, 1), hidden_sizes=[2])
    whole, original, count = run(content), Training._save, 0

    def save_then_die(self, target):
        nonlocal count
        original(self, target)
        count += 1
        if count == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        run(content, tmp_path / "run.ckpt")
    monkeypatch.setattr(Training, "_save", original)
    assert run(content, tmp_path / "run.ckpt") == whole


@pytest.mark.parametrize(
    ("task", "shape", "expected"),
    [
        ({"name": "pairs", **GIVEN, "per_epoch": 64, "points": 1}, ((1,), 2), (64, 1)),
        ({"name": "pairs", "input": None, "target": None, "n_in": 5, "n_out": 3, "points": 4}, ((5,), 3), (4, 4)),
        ({"name": "labelled_teacher", "n_in": 2, "n_out": 1, "points": 64}, ((2,), 1), (64, 64)),
    ],
)
def test_sizes_are_known_before_anything_runs(task, shape, expected):
    run = {"task": task, "train": {"evaluate": {"splits": ["points"]}}}
    assert task_shape(run) == shape
    assert samples(run) == (*expected, *shape)


def test_weights_are_followed_in_tiny_nets_alone():
    now = moment()
    rows = {(name, layer): value for name, layer, value in Weights().measure(now)}
    assert len(rows) == 62 and torch.equal(rows["weight_3_2", "2"], now.params["1"]["weight"][:, 2, 1])
    net = credit.dense([13, 5])
    params = net.init(credit.Rand([0]))
    with pytest.raises(ConfigError, match="probe weights: the net has 65 weights; must be at most 64"):
        Weights().measure(Moment(net, credit.method("bp"), params, {}, None, {}, params, {}, credit.Rand([0])))


# ---- a teacher that labels


def test_a_teacher_labels_points_with_the_sign_of_its_output_in_a_fixed_order():
    task, rand = built(LabelledTeacher)
    net = credit.dense([2, 2, 1], "relu", bias=False, loss="mse")
    for m, seed in enumerate(SEEDS):
        alone = credit.Rand(seed, dtype=torch.float64)
        params, x = net.init(alone, "torch_default", stream="teacher"), alone.normal("teacher.train", (64, 2))
        assert torch.equal(task.splits["train"].x[m], x)
        assert torch.equal(task.splits["train"].y[m], net.predict(params, x).sign())
    learner = Seen()
    task.epoch(learner, rand)
    assert len(learner.x) == 16 and torch.equal(torch.cat(learner.x, 1), task.splits["train"].x)


def test_an_answer_to_a_point_is_right_where_it_has_the_sign_of_the_label():
    task, _ = built(LabelledTeacher, points=40)

    class Right:
        def predict(self, x):
            output = 0.3 * task.splits["train"].y.clone()
            output[0, :10] *= -1
            output[1, :4] = torch.nan
            return output

    found = task.evaluate(Right(), losses.get("squared_error_sum"), ("points",))
    label = (task.splits["train"].y[0, :10] != 0).sum()
    assert found["points_error"].tolist() == pytest.approx([float(label) / 40, 0.1, 0.0])


def test_the_training_loss_is_that_before_each_update_averaged_over_mini_batches():
    content = spec({"name": "labelled_teacher"}, {"name": "bp"}, hidden_sizes=[2], hidden="relu", lr=1e-12)
    content |= {"probes": []}
    records = run({**content, "seeds": [0, 1]})
    for seed in (0, 1):
        before = series(records, "points_loss", "", seed)[0]
        assert series(records, "train_loss", "", seed)[16] == pytest.approx(before / 16, rel=1e-6)
