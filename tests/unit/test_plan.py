"""Estimates: arithmetic against hand computation, which jobs a target needs, and what counts as done."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from small_checkout import FIT, REPOSITORY, Checkout, put, put_choice, searching

from credit.config.files import overlay, read_yaml
from credit.config.parts import NETS
from credit.dag import cost as plan
from credit.dag.targets import Workflow
from credit.errors import ConfigError
from credit.numerics.rand import Rand
from credit.provenance.spec import members

CONV = {
    "kind": "conv",
    "channels": (8, 16),
    "kernel": (5, 1, 2),
    "pool": (3, 2, 1),
    "hidden_sizes": (32,),
}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


# ---- multiply-adds


def test_a_dense_net_multiplies_once_per_weight():
    assert plan.multiply_adds({"hidden_sizes": (256, 256, 256)}, (1, 28, 28), 10) == 784 * 256 + 2 * 256 * 256 + 2560
    assert plan.multiply_adds({}, (5,), 2) == 10


def test_a_conv_net_multiplies_once_per_weight_and_position():
    first = 8 * 32 * 32 * 3 * 25  # 32 x 32 positions, pooled to 16 x 16
    second = 16 * 16 * 16 * 8 * 25  # pooled to 8 x 8
    assert plan.multiply_adds(CONV, (3, 32, 32), 10) == first + second + 16 * 64 * 32 + 32 * 10


@pytest.mark.parametrize("pool", [None, (2,), (2, 2), (3, 2, 1)])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_positions_agree_with_those_that_torch_computes(pool, stride, padding):
    settings = CONV | {"kernel": (5, stride, padding), "pool": pool}
    hyper = {k: v for k, v in settings.items() if k != "kind"}
    net = NETS.load("conv").part(**hyper).build((3, 32, 32), 10)
    trace, total = net.forward(net.init(Rand(0)), torch.zeros(1, 3, 32, 32)), 0
    for i, step in enumerate(trace.blocks):
        positions = math.prod(step.pre.shape[2:])
        total += math.prod(net.block(i).shapes()["weight"]) * positions
    assert plan.multiply_adds(settings, (3, 32, 32), 10) == total


# ---- one job


def spec(checkout, method="bp", **changes):
    return checkout.change(**changes).workflow().train_spec("toy/fit", "near", method, 0)


def test_the_time_of_a_job_is_operations_and_calls_and_the_start(checkout):
    found = plan.job_cost(spec(checkout, task={"batch_size": 20}))
    macs, networks, epochs, evaluations = 3 * 4 + 4 * 2, 2, 4, 5
    training = networks * macs * 6 * 64 * epochs
    evaluation = networks * macs * 2 * (32 + 32) * evaluations
    teachers = 2 * (3 * 5 + 5 * 2) * (64 + 32 + 32) * 2
    seconds = (training + evaluation + teachers) / plan.RATE["float64"] + epochs * 4 * plan.CALL + plan.START
    assert found.seconds == pytest.approx(seconds, rel=1e-12)
    assert (found.jobs, found.runs) == (1, 2)


def test_the_size_of_a_result_is_that_of_its_records(checkout):
    probes = [{"probe": "angles", "reference": "bp"}, {"probe": "angles", "reference": "bp", "every": 2}]
    found = plan.job_cost(spec(checkout, task={"batch_size": 16}, probes=probes, train={"evaluate": {"every": 3}}))
    evaluations = 1 + 2  # at the start, after epochs 3 and 4; two splits, a loss each
    rows = 1 + 2  # an angle for each of two layers and for the net; 1 + 2 times an epoch of 4 mini-batches
    assert found.disk == plan.HEADER + 2 * plan.RECORD * (evaluations * 2 + 4 * (1 + 3 * rows))


def test_half_the_precision_is_about_twice_as_fast(checkout):
    wide = {"net": {"hidden_sizes": [2000, 2000]}}
    slow = plan.job_cost(spec(checkout, **wide)).seconds - plan.START
    fast = plan.job_cost(spec(checkout, **wide, train={"dtype": "float32"})).seconds - plan.START
    assert 1.5 < slow / fast < 3


def test_a_rule_says_what_it_costs_beside_backpropagation(checkout):
    dear = plan.job_cost(spec(checkout, "mn", methods={"mn": {}})).seconds
    assert dear > plan.job_cost(spec(checkout)).seconds


def test_a_grid_trains_every_point_from_every_seed(checkout):
    checkout.write("toy/fit", searching())
    cost = plan.job_cost(checkout.workflow().search_spec("toy/fit", "near", "bp"))
    assert (cost.runs, cost.disk) == (4, plan.HEADER)


def test_an_epoch_of_mnist_takes_about_a_second():
    workflow = Workflow(overlay(read_yaml(REPOSITORY / "config" / "config.yaml")), REPOSITORY)
    run = workflow.train_spec("cross/images", "mnist", "bp", 0)
    assert len(members(run)) == 1
    assert (plan.job_cost(run).seconds - plan.START) / run["train"]["epochs"] == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("experiments", "minutes"),
    [
        (("feedback_damping", "feedback_leak", "feedback_gain"), 17 / 2),  # 17 with steps that took twice as long
        (("student_teacher",), 5 * 21),  # one seed took 21 minutes
    ],
)
def test_simulations_are_estimated_to_a_factor_of_two(experiments, minutes):
    workflow = Workflow(overlay(read_yaml(REPOSITORY / "config" / "config.yaml")), REPOSITORY)
    found = sum(plan.plan(workflow, f"dfc/{name}").whole.seconds for name in experiments)
    assert 0.5 < found / (60 * minutes) < 2


def test_a_faster_form_of_feedback_learning_is_estimated_faster():
    workflow = Workflow(overlay(read_yaml(REPOSITORY / "config" / "config.yaml")), REPOSITORY)
    seconds = [
        plan.job_cost(workflow.train_spec("dfc/benchmarks", "mnist", name, 0)).seconds
        for name in ("dfc_ssa", "dfc_ssa-fast", "dfc_ssa-fixed")
    ]
    assert seconds[0] > 2 * seconds[1] > 3 * seconds[2]


@pytest.mark.parametrize(
    ("task", "samples"),
    [
        ({"validation": 5000}, (55000, 15000, (1, 28, 28), 10)),
        ({"validation": 0}, (60000, 10000, (1, 28, 28), 10)),
        ({"validation": 5000, "train": 1000}, (1000, 15000, (1, 28, 28), 10)),
        ({"validation": 5000, "target": "input"}, (55000, 15000, (1, 28, 28), 784)),
    ],
)
def test_samples_of_a_data_set_are_counted_from_the_catalogue(task, samples):
    train = {"evaluate": {"splits": ["validation", "test"]}}
    task = {"name": "images", "target": "class", **task}
    assert plan.samples({"task": task, "data": {"name": "mnist"}, "train": train}) == samples


# ---- targets


def keys(workflow, target):
    return plan.needed_experiments(workflow, target)


@pytest.fixture
def several(tmp_path):
    plain = {k: v for k, v in FIT.items() if k not in ("figures", "tables")}
    figure = {"experiments": ["one/fit", "cross/own"], "options": {"metric": "test_loss"}}
    own = {f"{rule}-own": {"rule": rule} for rule in plain["methods"]}
    both = {**plain, "methods": own, "figures": {"fig1": figure}}
    return Checkout(tmp_path, {"one/fit": FIT, "one/more": plain, "two/fit": plain, "cross/own": both}).workflow()


@pytest.mark.parametrize(
    ("target", "needed"),
    [
        ("all", ("cross/own", "one/fit", "one/more", "two/fit")),
        ("results/report.html", ("cross/own", "one/fit", "one/more", "two/fit")),
        ("one", ("one/fit", "one/more")),
        ("cross", ("cross/own", "one/fit")),
        ("two/fit", ("two/fit",)),
        ("results/figures/fig1.pdf", ("cross/own", "one/fit")),
        ("results/figures/fig1.png", ("cross/own", "one/fit")),
        ("results/figures/one/curves.pdf", ("one/fit",)),
        ("results/tables/one/table1.csv", ("one/fit",)),
        ("results/tables/one/table1.md", ("one/fit",)),
        ("results/tables/one/more.csv", ("one/more",)),
        ("results/tables/fidelity.csv", ("one/fit",)),
    ],
)
def test_a_target_needs_these_experiments(several, target, needed):
    assert keys(several, target) == needed


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("al", r"target = 'al' \(did you mean 'all'\?\)"),
        ("results/figures/one/curve.pdf", r"did you mean 'results/figures/one/curves.pdf'"),
        ("results/quick/figures/fig1.pdf", "add --configfile config/quick.yaml"),
        ("results/runs/one/fit/near/bp/shard9.jsonl", r"did you mean 'results/runs/one/fit/near/bp/shard1.jsonl'"),
        ("results/runs/one/fitt/near/bp/shard0.jsonl", r"experiment = 'one/fitt'"),
    ],
)
def test_what_is_no_target_is_answered_with_the_nearest(several, target, message):
    with pytest.raises(ConfigError, match=message):
        plan.plan(several, target)


@pytest.mark.parametrize("target", ["one/more", "results/tables/one/more.csv", "results/figures/one/curves.png"])
def test_a_target_of_which_nothing_is_left_is_told_from_one_that_does_not_exist(tmp_path, target):
    fit, more = FIT, {**FIT, "methods": {"bp": {}}, "figures": {}, "tables": {}}
    checkout = Checkout(
        tmp_path,
        {
            "one/fit": {**fit, "methods": {"bp": {}}},
            "one/more": more,
            "two/own": overlay(fit, {"figures": {}, "tables": {}}),
        },
    )
    with pytest.raises(ConfigError, match=r"methods, datasets and experiments leave nothing of one/(fit|more)$"):
        plan.plan(checkout.workflow(methods="fa"), target)


def test_a_plan_adds_up(several):
    whole = plan.plan(several, "all").whole
    assert (whole.jobs, whole.runs) == (4 * 2 * 2 * 2, 4 * 2 * 2 * 4)
    parts = [plan.plan(several, key).whole for key in several.experiments]
    assert whole.seconds == pytest.approx(sum(p.seconds for p in parts))


def test_what_two_targets_share_is_counted_once(several):
    first, both = plan.plan(several, "one/fit").whole, plan.plan(several, "one/fit", "results/figures/one/curves.pdf")
    assert both.whole == plan.plan(several, "results/figures/one/curves.pdf", "one/fit").whole
    keys = [part.experiment for part in both.parts]
    assert len(keys) == len({*keys})
    assert both.whole.jobs == sum(plan.plan(several, key).whole.jobs for key in keys) >= first.jobs
    runs = [f"results/runs/one/fit/near/bp/shard{shard}.jsonl" for shard in (0, 1)]
    assert plan.plan(several, *runs, runs[0]).whole.jobs == 2


def test_narrowing_and_seeds_change_the_plan(checkout):
    found = plan.plan(checkout.workflow(methods="bp", datasets="near", seeds=6), "all").whole
    assert (found.jobs, found.runs) == (3, 6)


def test_a_run_needs_its_search(checkout):
    checkout.write("toy/fit", searching())
    found = plan.plan(checkout.workflow(), "results/runs/toy/fit/near/bp/shard1.jsonl").whole
    assert (found.jobs, found.runs) == (2, 2 + 4)


def test_data_sets_are_part_of_a_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = {**FIT, "task": {"name": "images"}, "datasets": {"mnist": {"data": "mnist"}}, "quick": {}}
    workflow = Checkout(tmp_path, {"toy/fit": body}).workflow()
    [data] = plan.plan(workflow, "all").data
    assert (data.name, data.present) == ("mnist", False)
    assert 70000 * 784 < data.disk < 70000 * 784 + 20e6


# ---- what is done


def test_only_results_of_the_present_spec_count_as_done(checkout):
    workflow = checkout.workflow(methods="bp", datasets="near")
    first, second = workflow.runs("toy/fit")
    put(workflow, first)
    assert plan.plan(workflow, "all").missing.jobs == 1
    put(workflow, second)
    assert plan.plan(workflow, "all").missing == plan.Cost()
    Path(second).write_text("cut off")
    assert plan.plan(workflow, "all").missing.jobs == 1
    changed = checkout.change(train={"epochs": 5}).workflow(methods="bp", datasets="near")
    assert plan.plan(changed, "all").missing.jobs == 2


def test_searches_count_too(checkout):
    checkout.write("toy/fit", searching())
    workflow = checkout.workflow()
    put_choice(workflow, "results/runs/toy/fit/near/bp/choice.json")
    found = plan.plan(workflow, "all")
    assert (found.whole.jobs, found.missing.jobs) == (3, 2)


# ---- for people


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (39.2, "40 s"), (60, "60 s"), (61, "2 min"), (3600, "1.0 h"), (9000, "2.5 h")]
)
def test_durations_are_short(seconds, text):
    assert plan.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 kB"), (1, "1 kB"), (2.5e6, "2.5 MB"), (3e9, "3.0 GB")])
def test_sizes_are_short(count, text):
    assert plan.size(count) == text


def test_a_training_is_told_by_its_results_whatever_its_rule_is_called():
    place = "results/quick/runs/toy/fit/near/fa"
    for name in ("shard0.jsonl", "shard12.short.jsonl", "shard0.safetensors", "choice.json"):
        assert plan.trains(["elsewhere.txt", f"{place}/{name}"])
    others = ["results/tables/toy/fit.csv", "results/data/mnist.npz", "results/figures/toy/a.pdf", f"{place}/notes.txt"]
    assert not plan.trains(others)


def test_a_run_announces_what_takes_longer_than_an_hour(checkout):
    def banner(workflow, mode, count=8):
        specs = [spec for _, spec in plan.experiment_jobs(workflow, "toy/fit")]
        return plan.banner(workflow, mode, specs[:count])

    assert banner(checkout.workflow(), "this environment").splitlines() == [
        "credit: scale paper, device auto, jobs run in this environment, results in results/"
    ]
    longer = checkout.change(train={"epochs": 10_000_000}).workflow()
    assert "to be trained in this call: 8 jobs, 16 networks trained, about" in banner(longer, "conda")
    assert "in this call: 6 jobs, 12 networks trained, about" in banner(longer, "conda", 6)
    text = banner(longer, "conda")
    assert "credit plan TARGET" in text
