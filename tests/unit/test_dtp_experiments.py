"""The experiments of the difference target propagation papers: settings as published, and what becomes of bad ones."""

from __future__ import annotations

import math
import re

import pytest
import torch

import credit
from credit.config.files import overlay, read_yaml
from credit.dag.targets import Workflow
from credit.errors import ConfigError
from credit.nets.feedback import FeedbackBlock
from tests.conftest import REPOSITORY
from tests.unit.small_checkout import Checkout
from tests.unit.test_train import make_spec, trained

# learning rate before it is divided by target_stepsize, target_stepsize, pre-training and extra epochs of the feedback
MLPS = {
    ("mnist", "bp"): (2.970474733093798e-4, 1, 0, 0),
    ("mnist", "drl_dtp"): (6.185037324617764e-5, 0.21951187497378802, 0, 0),
    ("mnist", "dtpdrl"): (2.968902530985572e-5, 0.06858850589618244, 6, 1),
    ("mnist", "ddtp_linear"): (2.0354415171962153e-5, 0.06096940412767466, 6, 1),
    ("mnist", "ddtp_rhl"): (2.804754262888465e-5, 0.04351591164035645, 6, 1),
    ("mnist", "ddtp_control"): (8.882733337430332e-5, 0.09416689927228376, 6, 1),
    ("fashion_mnist", "bp"): (2.87604813303375e-4, 1, 0, 0),
    ("fashion_mnist", "drl_dtp"): (6.264712908427562e-5, 0.24133669284943418, 0, 0),
    ("fashion_mnist", "dtpdrl"): (7.101735983180753e-5, 0.08656715666379391, 6, 1),
    ("fashion_mnist", "ddtp_linear"): (8.703567590317672e-6, 0.017250397502053975, 6, 1),
    ("fashion_mnist", "ddtp_rhl"): (3.3750916220255054e-5, 0.026152245505732887, 6, 1),
}
CONV_RATES = (2.5935571806476586e-4, 8.85500279951265e-4, 1.423047695105589e-4, 3.3871035558126015e-6)


@pytest.fixture(scope="module")
def paper() -> Workflow:
    return Workflow(read_yaml(REPOSITORY / "config" / "config.yaml"), REPOSITORY)


@pytest.fixture(scope="module")
def supplied() -> Workflow:
    config = read_yaml(REPOSITORY / "config" / "config.yaml")
    return Workflow(overlay(config, {"data": {"user_files": "/there"}}), REPOSITORY)


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_tables_and_figures_are_there_at_both_scales(scale):
    workflow = Workflow(overlay(read_yaml(REPOSITORY / "config" / "config.yaml"), {"scale": scale}), REPOSITORY)
    assert {f"dtp/{name}" for name in ("table1", "table2", "ddtp", "beyond")} <= {*workflow.tables}
    assert {f"dtp/{name}" for name in ("fig42", "fig43", "theorem", "ddtp", "beyond")} <= {*workflow.figures}


@pytest.mark.parametrize(("dataset", "method"), MLPS)
def test_rates_of_the_mlps_are_divided_by_the_stepsize_once(paper, dataset, method):
    rate, stepsize, before, extra = MLPS[dataset, method]
    run = paper.cell("dtp/mlps", dataset, method).run
    assert math.isclose(run["train"]["optimizer"]["lr"], rate / stepsize, rel_tol=1e-15)
    assert run["rule"].get("target_stepsize", 1) == stepsize
    assert (run["rule"].get("pretrain_epochs", 0), run["rule"].get("extra_feedback_passes", 0)) == (before, extra)
    assert (run["train"]["dtype"], run["train"]["epochs"]) == ("float64", 100)
    assert run["net"]["bias"] == ((True,) * 4 + (False, True) if method == "ddtp_linear" else True)


def test_what_no_configuration_says_is_searched_on_images_that_are_held_out(paper):
    """Ours: DDTP-control on Fashion-MNIST, p-DDTP, and s-DDTP where its configuration is not that of CIFAR-10."""
    searched = {
        (key, d, m)
        for key in ("dtp/mlps", "dtp/lenet", "dtp/vgg")
        for d in paper.experiment(key).datasets
        for m in paper.experiment(key).methods
        if paper.cell(key, d, m).search
    }
    expected = {("dtp/lenet", d, "ddtp_linear-p") for d in ("mnist", "fashion_mnist", "cifar10")}
    expected |= {("dtp/lenet", d, "ddtp_linear-s") for d in ("mnist", "fashion_mnist")}
    assert searched == expected | {("dtp/mlps", "fashion_mnist", "ddtp_control")}
    for cell in searched:
        search = paper.cell(*cell).search
        assert search["task"]["validation"] == 5000
        assert not {*search["seeds"]} & {*range(paper.experiment(cell[0]).seeds)}


def test_the_conv_net_of_s_ddtp_has_rates_by_layer_and_inputs_over_three_standard_deviations(paper):
    run = paper.cell("dtp/lenet", "cifar10", "ddtp_linear-s").run
    rates = run["train"]["optimizer"]["lr"]
    for i, rate in enumerate(CONV_RATES):
        assert math.isclose(rates[str(i)], rate / 0.015962099947441903, rel_tol=1e-15)
    assert run["task"]["std"] == pytest.approx([3 * 0.2023, 3 * 0.1994, 3 * 0.2010], rel=1e-12)
    assert (run["rule"]["pretrain_epochs"], run["rule"]["extra_feedback_passes"]) == (10, 1)
    parallel = paper.cell("dtp/lenet", "cifar10", "ddtp_linear-p").run["rule"]
    assert (parallel["pretrain_epochs"], parallel["extra_feedback_passes"]) == (0, 0)
    assert 10 <= parallel["feedback"]["iterations"] <= 60


@pytest.mark.parametrize(
    ("key", "method", "rate"),
    [("dtp/lenet", "ldrl", 0.03618), ("dtp/vgg", "ldrl", 0.05), ("dtp/vgg_legacy", "ldrl-legacy", 0.08)],
)
def test_the_released_protocol_trains_on_everything_and_the_cosine_rises_again(paper, key, method, rate):
    run = paper.cell(key, "cifar10", method).run
    assert (run["task"]["validation"], run["train"]["evaluate"]["splits"]) == (0, ["test"])
    optimizer = run["train"]["optimizer"]
    assert (optimizer["lr"], optimizer["momentum"], optimizer["weight_decay"]) == (rate, 0.9, 1e-4)
    assert optimizer["schedule"] == {"name": "cosine", "epochs": 85, "final": 1e-5}
    assert run["train"]["epochs"] == 90


def test_the_rate_that_ends_in_nan_is_not_that_of_dtp_and_tp(paper):
    for method in ("dtp", "tp"):
        assert paper.cell("dtp/lenet", "mnist", method).run["train"]["optimizer"]["lr"] == 1e-3


HELD_OUT = {
    "dtp/lenet": ("bp-held_out", "ldrl-held_out", "ddtp_linear-s_held_out", "ddtp_linear-p_held_out"),
    "dtp/vgg": ("bp-held_out", "ldrl-held_out"),
}


@pytest.mark.parametrize("key", HELD_OUT)
@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_the_other_protocol_holds_images_out_and_changes_nothing_else(key, scale):
    """On every data set, also those that are left out where nobody supplies their files."""
    workflow = Workflow(overlay(read_yaml(REPOSITORY / "config" / "config.yaml"), {"scale": scale}), REPOSITORY)
    experiment = workflow.experiment(key)
    assert {m for m in experiment.body["methods"] if m.endswith("held_out")} == {*HELD_OUT[key]}
    for dataset in experiment.body["datasets"]:
        for method in HELD_OUT[key]:
            assert method not in experiment.methods
            held, base = experiment.cell(dataset, method), experiment.cell(dataset, re.split("[-_]held_out", method)[0])
            expected = overlay(
                base.run,
                {
                    "method": method,
                    "task": {"validation": 5000 if scale == "paper" else 237},
                    "train": {"evaluate": {"splits": ["validation", "test"]}},
                },
            )
            assert held.run == expected, f"{dataset}, {method}"
            assert held.search == base.search, f"{dataset}, {method}"


def test_imagenet_has_settings_of_its_own_and_counts_the_five_largest_outputs(paper, supplied):
    assert paper.experiment("dtp/vgg").datasets == ("cifar10",)
    assert supplied.experiment("dtp/vgg").datasets == ("cifar10", "imagenet32")
    cell = supplied.cell("dtp/vgg", "imagenet32", "ldrl")
    assert cell.run["rule"]["feedback"]["iterations"] == (25, 35, 40, 60, 25)
    assert (cell.run["train"]["optimizer"]["lr"], cell.run["task"]["batch_size"]) == (0.01, 256)
    assert "test_top5_error" in cell.metrics
    steps = supplied.cell("dtp/vgg", "imagenet32", "bp").run["train"]["optimizer"]["schedule"]
    assert (steps["milestones"], steps["factor"]) == ([30, 60], 0.1)


def test_the_page_lists_the_methods_of_every_experiment_and_those_that_run_where_they_are_named(paper):
    page = (REPOSITORY / "docs" / "dtp.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(dtp/\w+)` \| `([^`|]+)` \| (?:`([^`|]+)` )?\|$", page, re.MULTILINE)
    found = {key: (set(used.split()), set(named.split())) for key, used, named in listed}
    mine = [e for key, e in paper.experiments.items() if key.startswith("dtp/")]
    assert found == {e.key: ({*e.methods}, {*e.body["methods"]} - {*e.methods}) for e in mine}


# ---- bad input


BAD = {
    "iterations": ({"feedback": {"iterations": [1, 2]}}, r"feedback\.iterations = \[1, 2\]; needs one value, or"),
    "sigma": ({"feedback": {"sigma": [0.1]}}, r"feedback\.sigma = \[0\.1\]; needs .* one for each of 3 layers"),
    "rate": ({"feedback": {"lr": [0.1] * 4}}, r"feedback\.lr = \[0\.1, 0\.1, 0\.1, 0\.1\]; needs one value"),
    "no noise": ({"feedback": {"sigma": [0.1, 0.0, 0.1]}}, r"feedback\.sigma.*must be.* > 0"),
    "no step": ({"beta": 0.0}, r"hyper\.beta = 0\.0; must be a finite number > 0"),
    "count": ({"feedback": {"iterations": [1, -1, 2]}}, r"feedback\.iterations.*>= 0"),
}  # fmt: skip
TINY = {
    "title": "Tiny", "seeds": 1, "task": {"name": "images", "validation": 200},
    "net": {"kind": "conv", "channels": [2, 3], "kernel": [5, 1, 2], "pool": [3, 2, 1], "hidden_sizes": [4],
            "hidden": "elu", "init": "torch_default"},
    "train": {"epochs": 1, "optimizer": {"lr": 0.1}}, "datasets": {"digits": {"data": "digits"}},
    "methods": {"ldrl": {}},
}  # fmt: skip


def refusal(root, *changes) -> str:
    with pytest.raises(ConfigError) as error:
        Checkout(root, {"dtp/tiny": overlay(TINY, *changes)}).workflow()
    assert len(str(error.value).splitlines()) == 1
    assert "config/experiments/dtp/tiny.yaml" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("case", BAD)
def test_wrong_settings_of_the_feedback_are_named_before_any_job(tmp_path, case):
    hyper, said = BAD[case]
    assert re.search(said, refusal(tmp_path, {"methods": {"ldrl": {"hyper": hyper}}}))


def test_a_net_without_the_blocks_that_a_rule_needs_is_refused(tmp_path):
    for number, (method, net, said) in enumerate((
        ("ldrl", {"channels": [], "hidden_sizes": []}, "needs hidden layers"),
        ("ldrl", {"keep": 0.5}, "needs 1, the rule is not defined with dropout"),
        ("dtpdrl", {}, "dtpdrl is not defined for a conv net; it takes: dense"),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        body = {**TINY, "methods": {method: {}}}
        with pytest.raises(ConfigError, match=said):
            Checkout(folder, {"dtp/tiny": overlay(body, {"net": net})}).workflow()


def test_images_that_pooling_leaves_nothing_of_are_refused(tmp_path):
    said = refusal(tmp_path, {"net": {"channels": [2, 3, 4, 5], "pool": [2, 2, 0]}})
    assert "conv block 3 does not fit images of 8 x 8 pixels, 1 x 1 before that block" in said


@pytest.mark.parametrize("side", range(4, 14))
@pytest.mark.parametrize("pool", [2, (3, 2, 1), (3, 2, 0), (2, 3, 0), (3, 1, 1)])
@pytest.mark.parametrize("kernel", [(5, 1, 2), (3, 2, 1)])
def test_unpooling_restores_images_of_every_size_that_fits(side, pool, kernel):
    """Also where windows leave pixels over, or strides do: the sides of the layer's input are known."""
    try:
        net = credit.conv([2, side, side], [3], [4], 3, kernel=kernel, pool=pool, hidden="elu")
    except ValueError as error:
        assert "does not fit images" in str(error)
        return
    params = net.init(0, "torch_default", dtype=torch.float64)
    x = credit.Rand(1, dtype=torch.float64).normal("x", (5, 2, side, side))
    layer, trace = net.block(0), net.block(0).forward(params["0"], x)
    feedback = FeedbackBlock(layer, "add")
    spread = feedback.rates(trace.out, feedback.route(trace))
    assert spread.shape == trace.act.shape
    own = {"weight": params["0"]["weight"], "bias": torch.zeros(2)}
    assert feedback(own, trace.out, feedback.route(trace), trace).shape == x.shape


def divergences(rule: str, epochs: int = 6, **hyper) -> tuple[list[dict], list[dict]]:
    """(divergences, all other records) of two networks on a small task, whose rate is `lr` among `hyper`."""
    spec = make_spec(rule, lr=hyper.pop("lr", 0.01), epochs=epochs)
    spec["rule"] |= hyper
    records = trained(spec).records
    return [r for r in records if r["metric"] == "diverged"], [r for r in records if r["metric"] != "diverged"]


@pytest.mark.parametrize("rule", ["ldrl", "pldrl", "dtp", "tp"])
def test_a_forward_rate_that_ends_in_nan_is_recorded_as_a_divergence(rule):
    """As the authors report of DTP at the rate of L-DRL; here at a larger one, since the net is small."""
    lost, others = divergences(rule, lr=50.0)
    assert {r["seed"] for r in lost} == {0, 1}
    assert all(r["value"] is not None for r in others)
    assert max(r["epoch"] for r in others) < 6  # nothing is recorded of who is lost


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    ("rule", "feedback"),
    [
        ("ldrl", {"lr": 1e4}),
        ("dtp", {"lr": 1e4}),
        ("tp", {"lr": 1e4}),
        ("ddtp_linear", {"lr": 1e12, "optimizer": "sgd"}),
    ],
)
def test_feedback_that_ends_in_nan_is_a_divergence_also_where_it_learns_alone(rule, feedback, alone):
    lost, others = divergences(rule, feedback=feedback, learn_forward=not alone)
    assert {r["seed"] for r in lost} == {0, 1}
    assert all(r["value"] is not None for r in others)
