"""The experiments of the DFC paper: settings as published, anchors that its tables hold, and their own probes."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

import credit
from credit.analysis.values import values
from credit.config.files import overlay, read_yaml
from credit.dag.targets import Workflow
from credit.errors import ConfigError
from credit.nets.jacobian import output_jacobian
from credit.probes.admissible_feedback import AdmissibleFeedback, admissible, principal_plane
from credit.probes.base import Moment
from credit.probes.controller_course import ControllerCourse
from tests.conftest import REPOSITORY, small_batch
from tests.unit.test_train import make_spec, trained

FAMILY = [m + end for m in ("dfc", "dfc_ss", "dfc_ssa") for end in ("", "-fixed")]


@pytest.fixture(scope="module", params=["paper", "quick"])
def workflow(request) -> Workflow:
    config = read_yaml(REPOSITORY / "config" / "config.yaml")
    return Workflow(overlay(config, {"scale": request.param}), REPOSITORY)


@pytest.fixture(scope="module")
def paper() -> Workflow:
    return Workflow(read_yaml(REPOSITORY / "config" / "config.yaml"), REPOSITORY)


def test_all_figures_and_tables_of_the_paper_are_there_at_both_scales(workflow):
    figures = {name.removeprefix("dfc/") for name in workflow.figures if name.startswith("dfc/")}
    pipelines = {
        f"alignment_{d}{end}" for d in ("mnist", "fashion_mnist", "mnist_autoencoder") for end in ("", "_fixed")
    }
    singles = {"fig1d", "fig2", "fig3", "s2", "s3", "s4", "s1_stability", "s1_norms", "s1_angles", "s1_conditions"}
    assert figures == pipelines | singles | {"table1_curves", "frozen_feedback"}
    assert {n for n in workflow.tables if n.startswith("dfc/")} == {
        f"dfc/{name}" for name in ("fig1d", "fig3", "s2", "s3", "s4", "table1", "frozen_feedback")
    }


def test_table_1_has_its_32_cells_with_published_settings(paper):
    experiment = paper.experiment("dfc/benchmarks")
    assert set(experiment.methods) == {"bp", "dfa", *FAMILY}
    assert (len(experiment.datasets), experiment.seeds) == (4, 5)
    lengths = {d: experiment.cell(d, "bp").run["train"]["epochs"] for d in experiment.datasets}
    assert lengths == {"mnist": 100, "fashion_mnist": 100, "mnist_train": 100, "mnist_autoencoder": 25}
    assert experiment.cell("mnist_train", "dfc").run["train"]["dtype"] == "float64"
    cell = experiment.cell("mnist", "dfc").run
    optimizer = cell["train"]["optimizer"]
    assert math.isclose(optimizer["lr"], 9.265965477237583e-05 / 0.07794471150634391, rel_tol=1e-15)
    assert (optimizer["eps"], optimizer["betas"]) == (9.446010081075931e-08, [0.99, 0.99])
    rule = cell["rule"]
    controller, feedback = rule["controller"], rule["feedback"]
    assert (controller["dt"], controller["time_points"], rule["include_non_converged"]) == (0.02, 1000, False)
    assert (feedback["init"], feedback["tau_apical"]) == ("xavier_normal", 0.32469417320648936)
    fixed = experiment.cell("fashion_mnist", "dfc_ss-fixed").run["rule"]
    assert (fixed["alpha"], fixed["controller"]["dt"]) == (0.7985041176538932, 0.0005)
    assert (fixed["controller"]["time_points"], fixed["efficient"]) == (3000, True)
    assert (fixed["train_feedback"], fixed["feedback"]["init"]) == (False, "weight_product")


@pytest.mark.parametrize("method", ["dfa", *FAMILY])
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "mnist_autoencoder"])
def test_alignment_is_measured_in_training_as_in_table_1(paper, dataset, method):
    """Only the simulation differs, and the noise of the autoencoder's output."""
    table1, alignment = (paper.cell(f"dfc/{name}", dataset, method).run for name in ("benchmarks", "alignment"))
    assert alignment["net"] == table1["net"]
    assert alignment["task"] == table1["task"]
    assert alignment["train"] == table1["train"]
    ours, published = alignment["rule"], table1["rule"]
    free = {"controller", "include_non_converged", "efficient", "feedback"}
    assert {k for k, v in ours.items() if v != published[k]} <= free
    if "feedback" in ours and method != "dfa":
        assert ours["feedback"] | {"sigma_output": published["feedback"]["sigma_output"]} == published["feedback"]


@pytest.mark.parametrize("method", ["dfc_ssa", "dfc_ss", "dfc", "dfc_ss-fixed", "dfc-fixed"])
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "mnist_train", "mnist_autoencoder"])
def test_a_fast_method_is_the_published_one_in_another_form(paper, dataset, method):
    fast = f"{method}_fast" if "-" in method else f"{method}-fast"
    ours, published = (paper.cell("dfc/benchmarks", dataset, name).run for name in (fast, method))
    changed = {k: v for k, v in ours["rule"].items() if v != published["rule"][k]}
    forms = {} if method == "dfc_ssa" else {"form": "linearised"}
    if "fixed" not in method:
        forms["feedback"] = published["rule"]["feedback"] | {"form": "projected"}
    assert changed == ({} if dataset == "mnist_autoencoder" else forms)
    assert {k for k in ours | published if ours.get(k) != published.get(k)} <= {"method", "rule"}


@pytest.mark.parametrize(("method", "freeze"), [("learning", None), ("frozen_27", 27), ("frozen_0", 0)])
def test_feedback_that_rests_is_trained_as_in_the_column_of_training_losses(paper, method, freeze):
    ours, published = (
        paper.cell(f"dfc/{name}", "mnist_train", cell).run
        for name, cell in (("freeze", f"dfc_ssa-{method}"), ("benchmarks", "dfc_ssa-fast"))
    )
    assert {k for k in ours | published if ours.get(k) != published.get(k)} - {"experiment", "method"} <= {"rule"}
    assert ours["rule"] == published["rule"] | {"freeze_feedback_after": freeze}
    assert paper.experiment("dfc/freeze").seeds == 3


def test_every_published_number_has_a_place_in_a_table(paper):
    published = pd.read_csv(REPOSITORY / "config" / "published" / "dfc.csv")
    table1 = published[published["artefact"] == "dfc/table1"]
    assert len(table1) == 32 and not table1["method"].str.contains("fast").any(), "a printed number counts once"
    for row in table1[table1["stand_in"].notna()].to_dict("records"):
        assert row["stand_in"] == f"{row['method']}{'_' if '-' in row['method'] else '-'}fast"
        assert paper.cell("dfc/benchmarks", row["dataset"], row["stand_in"])
    assert table1["stand_in"].notna().sum() == 15, "of five methods on three data sets another form is trained"
    for row in published[published["artefact"] != "dfc/follow_up"].to_dict("records"):
        artefact = paper.tables[row["artefact"]]
        (key,) = artefact.experiments
        cell = paper.cell(key, row["dataset"], row["method"]).run
        held = {v.label: v for v in values(artefact.entry["options"]) if row["dataset"] in _of(v, "dataset", row)}
        assert row["metric"] in held, row
        value = held[row["metric"]]
        assert row["method"] in _of(value, "method", row)
        if math.isfinite(row["epoch"]):
            assert row["epoch"] == (cell["train"]["epochs"] if value.epoch is None else value.epoch)


def _of(value, column, row):
    wanted = value.where.get(column, row[column])
    return wanted if isinstance(wanted, list) else [wanted]


# ---- probes


def course_moment(name="dfc_ss", seeds=(3, 8), sizes=(6, 7, 5, 1), **hyper):
    net = credit.dense(list(sizes), "tanh", loss="mse")
    rand = credit.Rand(list(seeds), dtype=torch.float64)
    params, rule = net.init(rand), credit.method(name, **hyper)
    state, batch = rule.init(net, params, rand), small_batch(net, list(seeds))
    info = rule.gradients(net, params, state, batch, rand).info
    return Moment(net, rule, params, state, batch, info, params, state, rand)


def test_the_course_ends_where_the_simulation_of_the_whole_batch_does():
    seen = course_moment(controller={"time_points": 40}, alpha=0.01)
    rows = {(metric, layer): value for metric, layer, value in ControllerCourse(samples=2).measure(seen)}
    assert len(rows) == 2 * (1 + 2 * 40)
    settled = seen.info["settled"]
    for s in (0, 1):
        output = seen.info["output"] + settled.rates[-1]
        torch.testing.assert_close(rows[f"course_output_{s + 1}", "39"], output[:, s, 0], rtol=1e-12, atol=0)
        torch.testing.assert_close(rows[f"course_control_{s + 1}", "39"], settled.control[:, s, 0], rtol=1e-12, atol=0)
        torch.testing.assert_close(rows[f"course_output_{s + 1}", "0"], seen.info["output"][:, s, 0])
        torch.testing.assert_close(rows[f"course_target_{s + 1}", ""], seen.info["target"][:, s, 0])
    with pytest.raises(ConfigError, match="dfc or dfc_ss"):
        ControllerCourse().measure(course_moment("dfc_ssa"))


def test_admissible_feedback_fulfils_conditions_2_and_3():
    seen = course_moment("mn", sizes=(5, 2, 2))
    trace = seen.net.forward(seen.params, seen.batch.x)
    jacobian = torch.cat(output_jacobian(seen.net, seen.params, trace), -1)[0, 0]
    drawn = admissible(jacobian, 50, credit.Rand(4, dtype=torch.float64))
    assert drawn.shape == (50, 4, 2)
    projection = torch.linalg.pinv(jacobian) @ jacobian
    torch.testing.assert_close(projection @ drawn, drawn, rtol=0, atol=1e-12)
    assert (torch.linalg.eigvals(jacobian @ drawn).real >= 0).all()


def test_the_plane_keeps_most_of_the_distances():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flat = points @ torch.randn(3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plane = principal_plane(torch.cat([flat, flat]) * torch.tensor(1.0))
    exact = torch.linalg.svdvals(flat - flat.mean(0))
    torch.testing.assert_close(plane.norm(dim=0), math.sqrt(2) * exact[:2], rtol=1e-10, atol=0)


def test_admissible_feedback_names_every_point_and_leaves_the_streams_of_training_alone():
    seen = course_moment("mn", sizes=(5, 2, 2))
    probe, before = AdmissibleFeedback(draws=20, dampings=5), seen.rand.state_dict()["streams"].keys()
    rows = probe.measure(seen)
    assert [r[:2] for r in rows[-2:]] == [("pc1", "transpose"), ("pc2", "transpose")]
    assert len(rows) == 2 * (20 + 5 + 2)
    assert all(value.shape == (2,) for *_, value in rows)
    assert seen.rand.state_dict()["streams"].keys() == before
    again = {r[:2]: r[2] for r in probe.measure(seen)}
    assert all(torch.equal(again[r[:2]], r[2]) for r in rows)
    gap = again["pc1", "damped.0"] - again["pc1", "pseudoinverse"]
    assert gap.abs().max() < 1e-3, "the least damping is next to none"


def test_a_reference_can_be_recorded_under_another_name():
    probes = [{"probe": "angles", "reference": "mn", "metric": "angle_mn_undamped"}]
    found = {r["metric"] for r in trained(make_spec("dfa", epochs=1, probes=probes, lr=0.01)).records}
    assert "angle_mn_undamped" in found
    assert "angle_mn" not in found
