"""Figures and tables before any job: what they would show is held against what the runs will record."""

from __future__ import annotations

from typing import Any

import pytest
from small_checkout import FIT, REPOSITORY, Checkout

from credit.config.files import overlay, read_yaml
from credit.config.hyperparameters import constants
from credit.config.parts import PROBES, TASKS
from credit.dag.recorded import metrics, recorded, recorded_some
from credit.dag.targets import Workflow
from credit.errors import ConfigError
from credit.figures import options as figure_options
from credit.provenance.sources import Sources

ANGLES = [{"probe": "angles", "reference": "bp"}]
FIGURES = sorted(m for m in Sources().modules if m.startswith("credit.figures.") and m.count(".") == 3)


def figure(module: str = "credit.figures.cross.fig2", **options: Any) -> dict[str, Any]:
    return {"figures": {"curves": {"module": module, "options": options}}}


def panels(*settings: dict[str, Any], **options: Any) -> dict[str, Any]:
    return figure("credit.figures.dfc.panels", panels=list(settings), **options)


def table(**options: Any) -> dict[str, Any]:
    return {"tables": {"table1": {"options": {"metric": "test_loss", **options}}}}


def grid(changes: dict[str, Any]) -> dict[str, Any]:
    return overlay(changes, {"methods": {"fa": {"vary": {"hyper.feedback_scale": [1.0, 2.0]}}}})


def updates(*schemes: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Figure 4.3 of L-DRL and dfa, whose updates are held against backpropagation, those of L-DRL also at beta 0.5."""
    probe = {"probe": "update_distance"}
    methods = {"dfa": {"probes": [probe]}, "ldrl": {"probes": [probe, {**probe, "betas": [0.5]}]}}
    drawn = figure("credit.figures.dtp.fig43", schemes=list(schemes), where={"dataset": "near"}, **options)
    return {**drawn, "methods": methods}


REFUSED = {
    "unknown option": (figure(metrc=["x"]), r"figures\.curves\.options: key = 'metrc' \(did you mean 'metrics'"),
    "type": (figure(metrics="test_loss"), r"options\.metrics = 'test_loss'; must be a list of texts"),
    "out of bounds": (panels({"metric": "test_loss"}, window=0), r"options\.window = 0; must be an integer > 0"),
    "unknown selection": (figure("credit.figures.cross.fig1", select="best"), r"options\.select = 'best'; must be one"),
    "unknown metric": (figure(metrics=["test_los"]), r"options\.metrics = 'test_los' \(did you mean 'test_loss'\?\)"),
    "metric of a probe that is not there": (
        figure("credit.figures.cross.fig3", where={"dataset": "near"}, angles=["angle_bp"]), r"angles = 'angle_bp'"
    ),
    "metric of no method": (panels({"metric": "test_loss"}, {"metric": "angle"}), r"panels\[1\]\.metric = 'angle'"),
    "unknown key of a panel": (panels({"metric": "test_loss", "titel": "a"}), r"panels\[0\]: key = 'titel' \(did you"),
    "panel without metric": (panels({}), r"panels\[0\]\.metric is missing; must be text"),
    "number of limits": (panels({"metric": "test_loss", "limits": [0.0, 1.0, 2.0]}), r"limits = .*; must be a list of"),
    "number of limits of a figure": (
        figure("credit.figures.pc.conditions", panels=[{"at": {"near": 1}}], label="", y_limits=[0.5]),
        r"options\.y_limits = \[0\.5\]; must be a list of 2",
    ),
    "place of a condition": (
        figure("credit.figures.pc.conditions", panels=[{"at": {"near": "1"}}], label=""),
        r"panels\[0\]\.at\.near = '1'; must be a finite number",
    ),
    "number of labels": (
        figure("credit.figures.pc.plane", panels=[{"dataset": "near", "labels": []}]),
        r"panels\[0\]\.labels = \[\]; must be a list of 2",
    ),
    "another number of layers than of metrics": (
        figure("credit.figures.pc.traces", panels=[
            {"dataset": "near", "label": "", "metrics": ["test_loss"], "layers": ["", ""]}
        ]),
        r"panels\[0\]\.layers = \['', ''\]; must be a list of 1, as many as metrics",
    ),
    "figure of a fit without one": (figure("credit.figures.pc.fitted"), r"options\.fit is missing; must be a mapping"),
    "no panel": (panels(), r"options\.panels = \[\]; must hold at least one"),
    "limits": (panels({"metric": "test_loss", "x": "steps"}), r"panels\[0\]\.x = 'steps'; must be one of: epoch, step"),
    "nothing that it draws": (figure("credit.figures.pepita.alignment"), r"draws angle_projection, weight_norm; no"),
    "unknown method of a group": (panels({"metric": "test_loss"}, groups=[["bp", "fb"]]), r"options\.groups = 'fb'"),
    "unknown name of a mapping": (
        figure("credit.figures.pepita.curves", points={"fitt": 3}), r"options\.points: experiment = 'fitt' \(did you"
    ),
    "unknown method of an entry": (updates({"method": "ldrll", "label": ""}), r"schemes\[0\]\.method = 'ldrll' \(did"),
    "setting of an entry that was not measured": (
        updates({"method": "ldrl", "label": "", "beta": 0.7}), r"schemes\[0\]: metric = 'angle_bp_0.7' \(did you mean"
    ),
    "setting of an entry that another method has": (
        updates({"method": "dfa", "label": "", "beta": 0.5}), r"schemes\[0\]: metric = 'angle_bp_0.5'"
    ),
    "layer": (updates({"method": "ldrl", "label": ""}, layers={"1": "a", "3": "b"}), r"layers = '3'; no net has more"),
    "layer of a panel": (
        overlay(panels({"metric": "angle_bp", "layer": "9"}), {"probes": ANGLES}),
        r"panels\[0\]\.layer = '9'; no net has more than 2 layers",
    ),
    "layer of a condition": (table(where={"layer": "7"}), r"where\.layer = '7'; no net has more than 2 layers"),
    "layer of a condition in a figure": (figure(where={"layer": "7"}), r"where\.layer = '7'; no net has more than 2"),
    "layer of a metric of the whole net": (table(layer="out"), r"options\.layer = 'out'; test_loss is recorded for"),
    "layer in a value's condition": (
        table(values=[{"where": {"layer": ["1", "2"]}}]), r"values\[0\]\.where\.layer = '1'; test_loss is recorded for"
    ),
    "layer of a panel's metric of the whole net": (
        panels({"metric": "test_loss", "layer": "1"}), r"panels\[0\]\.layer = '1'; test_loss is recorded for the whole"
    ),
    "epoch of a condition": (table(where={"epoch": 77}), r"where\.epoch = 77; no run has more than 4 epochs"),
    "window": (table(window=500), r"options\.window = 500; no run records test_loss more than 5 times"),
    "no metric": (figure(metrics=[]), r"options\.metrics = .*; must name at least one metric"),
    "layer of a table": (
        overlay(table(metric="angle_bp", layer="9"), {"probes": ANGLES}),
        r"options\.layer = '9'; no net has more than 2 layers",
    ),
    "unknown data set of an entry": (
        figure("credit.figures.dtp.theorem", nets=[{"dataset": "nea", "title": ""}]), r"nets\[0\]\.dataset = 'nea'"
    ),
    "unknown column": (figure(where={"methd": "bp"}), r"options\.where = 'methd' \(did you mean 'method'\?\)"),
    "unknown method": (figure(where={"method": ["bp", "fb"]}), r"options\.where\.method = 'fb'"),
    "unknown data set": (table(where={"dataset": "neat"}), r"options\.where\.dataset = 'neat' \(did you mean 'near'\?"),
    "nothing left": (
        overlay(figure(where={"method": "fa", "experiment": "fitt"})), r"options\.where\.experiment = 'fitt'; no run"
    ),
    "seed": (table(where={"seed": 9}), r"where\.seed = 9; no run has this value"),
    "layer as a number": (table(where={"layer": 1}), r"where\.layer = 1; must be text, '1'"),
    "value of no grid": (grid(table(where={"feedback_scale": 3.0})), r"where\.feedback_scale = 3\.0; no run has this"),
    "grid in a figure": (
        grid(figure(metrics=["test_loss"])), r"fa on near has several values of feedback_scale \(1, 2\); choose one by"
    ),
    "grid in a figure that could tell it apart": (
        grid(figure("credit.figures.pc.courses", panels=[{"dataset": "near", "metrics": ["test_loss"]}],
                    metric="test_loss")),
        r"options: fa on near has several values of feedback_scale \(1, 2\); choose one by where\.feedback_scale",
    ),
    "grid in a table": (grid(table()), r"tables\.table1\.options: fa on near has several values of feedback_scale"),
    "column": (
        figure("credit.figures.dfc.feedback_learning", by="lr", damping=1), r"options\.by = 'lr'; there is nothing that"
    ),
    "one without the other": (
        figure("credit.figures.dfc.feedback_learning", by="lr"), r"options\.damping is missing; it goes with by = 'lr'"
    ),
    "two data sets": (figure("credit.figures.cross.fig3"), r"leaves the data sets near, far; the figure draws one"),
    "module": (figure("credit.figures.cross.fig9"), r"figures\.curves: credit\.figures\.cross\.fig9: no such module"),
    "metric of a table": (table(metric="tset_loss"), r"options\.metric = 'tset_loss' \(did you mean 'test_loss'\?\)"),
    "metric of a value": (table(values=[{}, {"metric": "x"}]), r"options\.values\[1\]\.metric = 'x'"),
    "chooser": (table(select="best_validation"), r"options\.validation = 'validation_error'"),
    "at without epoch": (table(select="at"), r"table1: options\.epoch = None; give it together with select: at"),
    "windows": (table(select="at", epoch=[1, 2], window=[1]), r"options\.window = \[1\]; must be one number, or one"),
    "epoch": (table(select="at", epoch=[1, 400]), r"options\.epoch = 400; no run has more than 4 epochs"),
    "names": (table(values=[{}, {}]), r"values\[1\]: another value of bp on near is called 'test_loss'; give each a"),
    "rows": (table(rows="dataset"), r"rows and columns are both 'dataset'; must be two of"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_or_tabulated_is_refused_in_one_line_before_any_job(tmp_path, case):
    changes, said = REFUSED[case]
    body = {**FIT, "figures": {}, "tables": {}}
    with pytest.raises(ConfigError, match=said) as e:
        Checkout(tmp_path, {"toy/fit": overlay(body, changes)}).workflow()
    lines = str(e.value).splitlines()
    assert all(line.startswith(f"{tmp_path}/config/experiments/toy/fit.yaml: ") for line in lines), lines
    assert len(lines) <= 1 + (case in ("unknown name of a mapping", "unknown data set of an entry", "column")), (
        lines
    )  # they draw nothing recorded, too


ACCEPTED = {
    "entries": updates({"method": "ldrl", "label": "", "beta": 0.5}, {"method": "dfa", "label": ""}, layers={"2": "a"}),
    "whole floats": panels({"metric": "test_loss", "window": 3.0}, window=5.0, columns=2.0),
    "one of the defaults": figure(),
    "layers with the whole net": table(where={"layer": ["", "1"]}, window=5),
    "layer of a probe": overlay(table(metric="angle_bp", layer="2", window=500), {"probes": ANGLES}),
    "one value of a grid": grid(table(where={"feedback_scale": 2})),
    "a value for each method": table(values=[{"where": {"method": "bp"}}, {"where": {"method": "fa"}}]),
    "a list with a name of the quick scale": overlay(
        table(where={"dataset": ["near", "tiny"]}), {"quick": {"datasets": {"tiny": {}}}}
    ),
    "what is not run at this scale": overlay(table(values=[{"where": {"dataset": "far"}}]), {"use_datasets": ["near"]}),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_can_be_drawn_and_tabulated_is_accepted(tmp_path, case):
    body = {**FIT, "figures": {}, "tables": {}}
    assert Checkout(tmp_path, {"toy/fit": overlay(body, ACCEPTED[case])}).workflow()


def test_narrowing_from_the_command_line_makes_no_mistake_of_it(tmp_path):
    changes = overlay(table(select="at", epoch=4, where={"seed": 3}), figure(where={"method": "fa"}))
    checkout = Checkout(tmp_path, {"toy/fit": overlay(FIT, changes)})
    assert checkout.workflow(seeds=1, epochs=1, methods="bp", datasets="far")


def test_the_figure_that_is_left_out_is_checked_too(tmp_path):
    checkout = Checkout(tmp_path, {"toy/fit": FIT, "toys/other": overlay(FIT, {**figure(metrics=["x"]), "tables": {}})})
    with pytest.raises(ConfigError, match=r"other\.yaml: figures\.curves\.options\.metrics = 'x'"):
        checkout.workflow(experiments="fit")


# ---- options


LISTS = {  # that a figure must be given
    "dfc.panels": "panels", "dtp.fig43": "schemes", "dtp.theorem": "nets", "pc.conditions": "panels",
    "pc.courses": "panels", "pc.plane": "panels", "pc.events": "panels", "pc.traces": "panels",
    "pc.inference": "epochs",
}  # fmt: skip


@pytest.mark.parametrize("module", FIGURES)
def test_every_figure_declares_its_options_and_documents_them(module):
    if module.rpartition(".")[2].startswith("_"):
        pytest.skip("no figure")
    required = {option: [] for end, option in LISTS.items() if module.endswith(end)}
    required |= {"label": "depth"} if module.endswith("pc.conditions") else {}
    required |= {"events": {}, "places": [], "lines": {}} if module.endswith("pc.events") else {}
    required |= {"fit": {}} if module.endswith("pc.fitted") else {}
    assert figure_options.check(module, required, "options")["where"] == {}
    assert figure_options.declared(module).keys() >= {"shows", "grids", "metric_options"}


# ---- metrics


@pytest.mark.parametrize("registry", [PROBES, TASKS], ids=str)
def test_every_probe_and_task_declares_what_it_records(registry):
    assert [name for name in registry.names() if "metrics" not in constants(registry.module(name))] == []


def test_names_are_made_of_settings():
    run = {
        "rule": {"name": "dfc"}, "task": {"name": "images", "target": "input"},
        "train": {"evaluate": {"splits": ["test"]}},
        "probes": [
            {"probe": "feedback_alignment", "dampings": (0.0, 0.1)},
            {"probe": "angles", "reference": "mn", "metric": ""},
            {"probe": "angles", "reference": "mn", "metric": "mine"},
            {"probe": "controller_stability", "matrices": ("A_I",), "masked": True},
        ],
    }  # fmt: skip
    found = metrics(run)
    assert found >= {"test_loss", "test_mse", "train_loss", "angle_mn", "mine", "lambda_max_masked_A_I"}
    assert found >= {"angle_feedback_pinv_0", "angle_feedback_pinv_0.1"}
    assert not found & {"test_error", "lambda_max_A_I", "angle_feedback_pinv_5"}
    assert recorded("samples_converged", found)
    assert not recorded("sample_converged", found)


def test_a_probe_that_a_method_does_not_have_is_refused(tmp_path):
    for probe, said in (
        ({"probe": "ssa_angle"}, r"probes\[0\]: ssa_angle is not defined for bp; it measures: dfc, dfc_ss, dfc_ssa"),
        (
            {"probe": "alignment", "on": "evaluate"},
            r"probes\[0\]: alignment is not defined for bp; it measures: pep",
        ),
        (
            {"probe": "controller_stability", "alpha": 0.1},
            r"probes\[0\]: controller_stability\.k_p is missing; dfc_ssa has none, the probe must give it",
        ),
        ({"probe": "weight_norm", "layers": [3]}, r"probes\[0\]: weight_norm\.layers = \[3\]; there is no layer 3"),
    ):
        folder = tmp_path / probe["probe"]
        folder.mkdir()
        with pytest.raises(ConfigError, match=said):
            method = {"dfc_ssa": {}} if probe["probe"].startswith("controller") else {"bp": {}}
            Checkout(folder, {"toy/fit": {**FIT, "methods": method, "probes": [probe]}}).workflow()


@pytest.mark.parametrize("scale", ["paper", "quick"])
def test_the_records_of_the_committed_pages_are_those_that_are_declared(scale):
    """Every experiment of this project, at both scales: what is declared covers what figures and tables name."""
    workflow = Workflow(read_yaml(REPOSITORY / "config" / "config.yaml") | {"scale": scale}, REPOSITORY)
    assert all(e.cell(d, m).metrics for e in workflow.experiments.values() for d in e.datasets for m in e.methods)


def test_a_figure_may_show_metrics_that_are_named_after_a_setting():
    names = {"angle_bp_0.1", "course_target_*", "test_loss"}
    assert all(recorded_some(shown, names) for shown in ("angle_bp_*", "course_target_*", "test_loss"))
    assert not any(recorded_some(shown, names) for shown in ("angle_mn_*", "angle_bp", "course_*_1", "test_lo"))


def of_pairs(layer, metric="prediction"):
    """A table of an experiment whose net has 2 layers and 3 outputs."""
    task = {"name": "pairs", "input": [1.0], "target": [0.0, 1.0, 0.0]}
    train = {"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.1}, "evaluate": {"splits": ["points"]}}
    body = {"title": "Pairs", "net": FIT["net"], "task": task, "train": train, "seeds": 1, "datasets": {"one": {}}}
    options = {"metric": metric, "layer": layer}
    return body | {"methods": {"bp": {}}, "tables": {"table1": {"options": options}}, "quick": {}}


def test_what_a_task_records_by_output_is_named_by_it(tmp_path):
    assert Checkout(tmp_path, {"toy/fit": of_pairs("3")}).workflow()


@pytest.mark.parametrize(
    ("layer", "metric", "said"),
    [
        ("4", "prediction", "options.layer = '4'; no net has more than 3 outputs"),
        ("1", "points_loss", "options.layer = '1'; points_loss is recorded for the whole net alone, must be ''"),
    ],
)
def test_outputs_that_no_net_has_are_refused(tmp_path, layer, metric, said):
    with pytest.raises(ConfigError, match=said):
        Checkout(tmp_path, {"toy/fit": of_pairs(layer, metric)}).workflow()
