"""The experiments behind the theory figures of the L-DRL paper: published settings, numbers of iterations, anchors."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from credit.analysis.tables import read_table
from credit.analysis.values import values
from credit.config.files import overlay, read_yaml
from credit.dag.targets import Workflow
from tests.conftest import REPOSITORY

CURVES = REPOSITORY / "config" / "published" / "curves"
FIGURES = ("fig42", "fig43", "theorem")
DRL = {"sigma": 0.00921040366516759, "lr": 4.5157498494467095e-3, "decay": 6.169295107849636e-5, "optimizer": "adam",
       "eps": 7.529093372180766e-7, "betas": (0.9, 0.999), "activation": "linear", "init": "xavier_normal"}  # fmt: skip


def workflow_at(scale: str) -> Workflow:
    config = read_yaml(REPOSITORY / "config" / "config.yaml")
    return Workflow(overlay(config, {"scale": scale}), REPOSITORY)


@pytest.fixture(scope="module")
def paper() -> Workflow:
    return workflow_at("paper")


@pytest.fixture(scope="module")
def quick() -> Workflow:
    return workflow_at("quick")


def run(workflow, experiment, method, dataset="cifar10"):
    return workflow.experiment(f"dtp/{experiment}").cell(dataset, method).run


def test_the_figures_are_there_at_both_scales(paper, quick):
    for workflow in (paper, quick):
        assert {f"dtp/{name}" for name in FIGURES} <= set(workflow.figures)


def iterations(cell) -> list[int]:
    """Of every feedback block, over the whole run: as many in the updates as in the passes before."""
    rule, blocks = cell["rule"], 3
    each = rule["feedback"]["iterations"]
    each = [each] * blocks if isinstance(each, int) else each
    assert cell["task"]["train"] == cell["task"]["batch_size"], "an epoch is one mini-batch"
    return [cell["train"]["epochs"] * k for k in each], [rule.get("pretrain_epochs", 0) * k for k in each]


def test_figure_4_2_has_the_settings_of_its_curves(paper):
    committed, ours = (run(paper, "fig42", m)["rule"]["feedback"] for m in ("ldrl-committed", "ldrl"))
    assert (committed["sigma"][2], committed["lr"][2]) == (0.1395382069358601, 0.03541466958291287)
    assert (ours["sigma"], ours["lr"], ours["momentum"]) == (0.1, 0.01, 0.9)
    direct = run(paper, "fig42", "ddtp_linear")["rule"]
    assert DRL.items() <= direct["feedback"].items()
    assert (direct["pretrain_epochs"], direct["extra_feedback_passes"]) == (0, 0)
    for method in ("ldrl", "ldrl-committed", "ddtp_linear"):
        cell = run(paper, "fig42", method)
        assert iterations(cell)[0] == [0, 0, 5000]
        assert (cell["task"]["train"], cell["task"]["train_drawn"], cell["rule"]["learn_forward"]) == (256, True, False)
        assert cell["net"]["bias"] is True
        (probe,) = cell["probes"]
        assert (probe["probe"], probe["epsilon"], probe["on"]) == ("feedback_weights", 1e-8, "evaluate")
    assert paper.experiment("dtp/fig42").seeds == 5


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_iterations_of_the_axis_are_those_of_the_runs(request, scale):
    workflow = request.getfixturevalue(scale)
    options = workflow.figures["dtp/fig42"].entry["options"]
    experiment = workflow.experiment("dtp/fig42")
    for dataset in experiment.datasets:
        for method in experiment.methods:
            cell = experiment.cell(dataset, method).run
            assert list(cell["rule"]["feedback"]["iterations"]) == [0, 0, options["iterations"]]


def test_figure_4_3_has_its_schemes_with_5000_iterations(paper):
    cells = {m: run(paper, "fig43", m) for m in paper.experiment("dtp/fig43").methods}
    for method in ("ldrl", "ldrl-add", "ddtp_linear", "ddtp_linear-cleared"):
        assert iterations(cells[method]) == ([5000] * 3, [0] * 3)
    for method in ("ldrl-random", "ldrl-symmetric", "ddtp_linear-random"):
        assert iterations(cells[method]) == ([0] * 3, [0] * 3)
    feedback = cells["ldrl"]["rule"]["feedback"]
    assert (feedback["sigma"], feedback["lr"]) == ((0.2, 0.2, 0.1), (1e-4, 2.5e-3, 1e-2))
    assert {m: c["rule"]["feedback"]["stale_gradients"] for m, c in cells.items() if m.startswith("ddtp")} == {
        "ddtp_linear-random": False, "ddtp_linear": True, "ddtp_linear-cleared": False,
    }  # fmt: skip
    assert cells["ldrl-add"]["rule"] == cells["ldrl"]["rule"] | {"feedback": feedback | {"collisions": "add"}}
    copied = cells["ldrl-symmetric"]["rule"]["feedback"]
    assert (copied["init"], copied["tied"]) == ("symmetric", True)
    for method, cell in cells.items():
        direct = method.startswith("ddtp")
        assert cell["rule"]["target_stepsize" if direct else "beta"] == (0.015962099947441903 if direct else 0.4655)
        assert not direct or DRL.items() <= cell["rule"]["feedback"].items()
        assert (cell["net"]["bias"], cell["rule"]["learn_forward"]) == (False, False)
        probe, *exact = cell["probes"]
        assert (probe["first"], probe["after"], probe["scaled"]) == ("update" if direct else "reference", direct, False)
        assert (probe["epsilon"], probe["divided_by"]) == (1e-8, 0.4655 if direct else 1)
        assert [(p["betas"], p["epsilon"], p["scaled"]) for p in exact] == ([((0.4655,), 0, True)] if direct else [])


def test_every_scheme_of_figure_4_3_has_its_bars(paper):
    options = paper.figures["dtp/fig43"].entry["options"]
    assert {s["method"] for s in options["schemes"]} == set(paper.experiment("dtp/fig43").methods)
    ours = [(s["method"], s.get("beta")) for s in options["schemes"] if s.get("ours")]
    assert ours == [("ddtp_linear-cleared", None), ("ddtp_linear-cleared", 0.4655), ("ldrl-add", None)]


def test_the_sweep_of_the_theorem(paper):
    betas = [1e-6, 1e-4, 5e-3, 0.1, 0.4655, 0.7]
    for net in ("linear", "vgg", "lenet"):
        for method in ("ldrl", "ldrl-random", "ldrl-symmetric", "ldrl-symmetric_add"):
            cell = run(paper, "theorem", method, net)
            assert list(cell["probes"][0]["betas"]) == betas
            assert cell["train"]["dtype"] == "float64"
            assert cell["net"]["bias"] is False
            (probe,) = cell["probes"]
            assert (probe["first"], probe["scaled"], probe["epsilon"]) == ("update", True, 0)
    linear = run(paper, "theorem", "ldrl", "linear")["net"]
    assert (linear["hidden"], linear["pool"]) == ("linear", None)


# ---- published numbers


def test_recorded_points_of_the_theorem_are_those_of_the_official_code():
    recorded = np.load(REPOSITORY / "tests" / "golden" / "dtp_beta_sweep_sym.npz")
    table = read_table(CURVES / "dtp_theorem.csv")
    assert len(table) == 2 * len(recorded.files)
    for net in ("vgg", "lenet"):
        names = [k.split("/")[2] for k in recorded.files if k.startswith(f"{net}/beta0.1/")]
        for key in (k for k in recorded.files if k.startswith(net)):
            _, beta, name = key.split("/")
            mine = table[(table["dataset"] == net) & (table["layer"] == str(names.index(name) + 1))]
            found = mine.set_index("metric")["value"]
            at = f"{float(beta[4:]):g}"
            np.testing.assert_allclose(found[[f"distance_bp_{at}", f"angle_bp_{at}"]], recorded[key], rtol=1e-5)


def test_published_numbers_of_the_figures_have_a_place_in_their_tables(paper):
    published = pd.read_csv(REPOSITORY / "config" / "published" / "dtp.csv")
    mine = published[published["artefact"].isin(["dtp/fig42_numbers", "dtp/fig43_numbers"])]
    assert len(mine) == 35
    assert (mine["precision"] > 0).all() and (mine["kind"] == "mean").all(), "a reading is no better than its plot"
    assert mine["std"].notna().sum() == 4, "the spreads that the authors released"
    for row in mine.to_dict("records"):
        artefact = paper.tables[row["artefact"]]
        (key,) = artefact.experiments
        held = {v.label: v for v in values(artefact.entry["options"])}
        value = held[row["metric"]]
        assert value.unit == ("" if isinstance(row["unit"], float) else row["unit"])
        cell = paper.cell(key, row["dataset"], row["method"]).run
        assert row["epoch"] == (cell["train"]["epochs"] if value.epoch is None else value.epoch)
        assert math.isfinite(row["mean"])


@pytest.mark.parametrize(
    ("figure", "artefact"), [("dtp_fig42.csv", "fig42_numbers"), ("dtp_fig43.csv", "fig43_numbers")]
)
def test_points_of_a_figure_are_the_numbers_that_are_held_against(figure, artefact):
    """All points that are judged are drawn, with the same values."""
    published = pd.read_csv(REPOSITORY / "config" / "published" / "dtp.csv")
    drawn = read_table(CURVES / figure)
    for row in published[published["artefact"] == f"dtp/{artefact}"].to_dict("records"):
        metric, _, last = row["metric"].rpartition("_")
        if figure == "dtp_fig43.csv":
            mine = drawn[(drawn["metric"] == f"{metric}_bp") & (drawn["layer"] == last)]
        else:
            mine = drawn[(drawn["metric"] == metric) & (drawn["epoch"] == int(last))]
        (value,) = mine.loc[mine["method"] == row["method"], "value"]
        assert value == row["mean"]
