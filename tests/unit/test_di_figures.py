"""Figures of dynamic inversion show the table's numbers and the recorded runs; published rows fit the experiments.

The tables below are random numbers made for these tests; no figure of this project is drawn from them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import CubicSpline

from credit.analysis.fidelity import compare, read_published
from credit.analysis.judgement import VERDICTS
from credit.analysis.summaries import summarise
from credit.analysis.tables import read_tables
from credit.dag.commands import configuration
from credit.dag.loading import load_experiments, narrowed
from credit.dag.settings import settings
from credit.errors import ConfigError
from credit.figures.di import fig3a, fig3g, fig4a, fig4b
from credit.figures.di._models import model_styles
from credit.figures.looks import METHOD_STYLES
from tests.conftest import REPOSITORY
from tests.unit.test_figures import legend, points, texts

CURVES = REPOSITORY / "config" / "published" / "curves"
LINEAR = ("bp", "fa-2", "pbp", "ndi", "di", "di-2", "di-3")
NONLINEAR = ("bp", "ndi", "di", "di-2", "sdi", "sdi-3")
RULES = {"bp": "di_bp", "fa-2": "di_fa"}


def tidy(rows, epoch=1):
    table = pd.DataFrame(rows, columns=["dataset", "method", "seed", "step", "metric", "layer", "value"])
    return table.assign(paper="di", experiment="test", epoch=epoch, data_verified=True)


def regression(datasets, methods, layers, seeds=3):
    """Random errors by samples, and probes of the methods that simulate DI."""
    rng, rows = np.random.default_rng(0), []
    for dataset in datasets:
        for method in methods:
            for seed in range(seeds):
                for step in range(0, 601, 100):
                    error = -step / 100 - rng.uniform(0, 1) * (step > 0)
                    rows.append((dataset, method, seed, step, "log10_nse", "", error))
                    if method.partition("-")[0] in ("di", "sdi"):
                        for layer in layers:
                            rows.append((dataset, method, seed, step, "lambda_max", layer, -rng.uniform(0.001, 0.1)))
                            for angle in ("feedback", "ndi", "pbp"):
                                rows.append((dataset, method, seed, step, f"angle_{angle}", layer, rng.uniform(0, 80)))
    return tidy(rows)


def training(metric, datasets, methods=("bp", "fa", "ndi", "ndi-undamped"), seeds=2):
    rng = np.random.default_rng(1)
    return tidy(
        [(d, m, s, k, metric, "", rng.uniform(0.05, 0.5)) for d in datasets for m in methods for s in range(seeds)
         for k in range(0, 201, 50)]
    )  # fmt: skip


def panel(figure, title):
    return next(axes for axes in figure.axes if axes.get_title() == title)


# ---- figures


def test_short_official_runs_have_room_and_leaping_angles_are_one_line_for_each_model_and_layer():
    table = regression(["teacher"], NONLINEAR, ["1", "2"])
    official = table[(table["seed"] == 0) & (table["step"] <= 200)]
    figure = fig3g.draw(table, {"rules": RULES, "references": official, "window": 3})
    assert len(figure.axes) == 5
    for axes in figure.axes:
        assert axes.get_xscale() == "symlog"
        assert axes.get_xlabel() == "samples seen"
        ends = axes.transAxes.inverted().transform(axes.transData.transform([(200, 1.0)]))
        assert ends[0, 0] > 0.4, "official runs to a third of the samples"
    for title in "jk":
        lines = [
            line for line in panel(figure, title).lines if len(line.get_xdata()) and line.get_linestyle() != "None"
        ]
        assert len(lines) == 2 * sum(m.partition("-")[0] == ("di" if title == "j" else "sdi") for m in NONLINEAR)
    assert any(line.get_label() == "one run" for line in panel(figure, "i").lines)


def test_the_error_is_divided_by_the_largest_of_all_models_of_a_seed():
    table = regression(["plain", "normalized"], LINEAR, ["1"])
    figure = fig3a.draw(table, {"rules": RULES})
    first = table[(table["metric"] == "log10_nse") & (table["dataset"] == "plain")]
    shifted = first["value"] - first.groupby("seed")["value"].transform("max")
    wide = first.assign(value=10**shifted).pivot_table(index=["method", "step"], columns="seed", values="value")
    drawn = points(panel(figure, "a  plain updates"))[:, 1]
    for value in wide.median(axis=1):
        assert np.isclose(drawn, value, rtol=1e-12).any()
    assert panel(figure, "a  plain updates").get_yscale() == "log"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["BP", "FA-2", "PBP", "NDI", "DI", "DI-2", "DI-3", "quartiles", "one run"]


def test_probes_are_drawn_for_the_first_samples_of_the_simulated_models_only():
    table = regression(["plain", "normalized"], LINEAR, ["1"])
    axes = panel(fig3a.draw(table, {"rules": RULES, "first": 300}), "e")
    xy = points(axes)
    assert xy[:, 0].max() == 300
    mine = table[(table["dataset"] == "plain") & (table["metric"] == "angle_ndi") & (table["step"] <= 300)]
    medians = mine.groupby(["method", "step"])["value"].median()
    assert all(np.isclose(xy[:, 1], value).any() for value in medians)
    assert len(medians) == 3 * 4


@pytest.mark.parametrize(("figure", "datasets", "methods", "layers", "title"), [
    (fig3a, ["plain", "normalized"], LINEAR, ["1"], "a  plain updates"),
    (fig3g, ["teacher"], NONLINEAR, ["1", "2"], "g"),
])  # fmt: skip
def test_official_runs_are_points_as_far_as_ours_go(figure, datasets, methods, layers, title):
    table = regression(datasets, methods, layers)
    theirs = tidy([(datasets[0], "bp", 7, step, "log10_nse", "", -0.5) for step in (0, 150, 599, 601)])
    axes = panel(figure.draw(table, {"rules": RULES, "references": theirs}), title)
    marks = [line for line in axes.lines if line.get_marker() == "." and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in marks] == [[0, 150, 599]]
    assert np.allclose(marks[0].get_ydata(), 10**-0.5)
    assert "official runs" in texts(figure.draw(table, {"rules": RULES, "references": theirs}))
    assert "official runs" not in texts(figure.draw(table, {"rules": RULES}))
    assert "official runs" not in legend(figure.draw(table, {"rules": RULES, "references": theirs.assign(dataset="x")}))
    assert {"quartiles", "one run"} <= set(legend(figure.draw(table, {"rules": RULES})))
    one = legend(figure.draw(table[table["seed"] == table["seed"].min()], {"rules": RULES}))
    assert "quartiles" not in one
    assert ({"layer 1", "layer 2"} <= set(one)) == (figure is fig3g)


def test_stability_has_its_sign_turned_and_unstable_models_have_no_point():
    table = regression(["teacher"], NONLINEAR, ["1", "2"])
    bad = (table["metric"] == "lambda_max") & (table["step"] == 200)
    table.loc[bad, "value"] = 0.5
    axes = panel(fig3g.draw(table, {"rules": RULES}), "h")
    assert axes.yaxis_inverted()
    xy = points(axes)
    shown = xy[np.isfinite(xy[:, 1])]
    assert 200 not in shown[:, 0]
    assert (shown[:, 1] > 0).all()
    di = table[(table["method"] == "di") & (table["metric"] == "lambda_max") & (table["layer"] == "2") & ~bad]
    assert all(np.isclose(shown[:, 1], -v).any() for v in di.groupby("step")["value"].median())


def test_a_figure_of_one_data_set_says_so():
    with pytest.raises(ConfigError, match="fig3g: draws one data set, found a, b"):
        fig3g.draw(regression(["a", "b"], NONLINEAR, ["1", "2"]), {"rules": RULES})
    with pytest.raises(ConfigError, match="fig3a: no log10_nse was recorded"):
        fig3a.draw(training("test_error", ["plain"]), {"rules": RULES})


@pytest.mark.parametrize(("figure", "metric", "datasets", "scale", "label"), [
    (fig4a, "test_error", ["mnist"], 100, "samples"), (fig4b, "test_mse", ["normal", "orthogonal"], 1, "mini-batches"),
])  # fmt: skip
def test_training_curves_are_means_over_runs_against_updates(figure, metric, datasets, scale, label):
    table = training(metric, datasets)
    drawing = figure.draw(table, {"rules": RULES})
    assert len(drawing.axes) == len(datasets)
    means = scale * table[table["dataset"] == datasets[-1]].groupby(["method", "step"])["value"].mean()
    xy = points(drawing.axes[-1])
    for (_, step), value in means.items():
        assert np.isclose(xy, [step, value]).all(axis=1).any()
    assert drawing.axes[-1].get_xlabel() == label


def test_variants_of_an_inversion_differ_in_colour_and_keep_line_and_marker():
    looks = model_styles(["di", "di-2", "di-3", "ndi-2", "sdi-2", "fa-2"], {"fa-2": "di_fa"})
    assert len({looks[m].colour for m in ("di", "di-2", "di-3")}) == 3
    assert looks["di-2"].colour == looks["ndi-2"].colour == looks["sdi-2"].colour
    assert {(looks[m].line, looks[m].marker) for m in ("di", "di-2", "di-3")} == {
        (METHOD_STYLES["di"].line, METHOD_STYLES["di"].marker)
    }
    assert looks["fa-2"].label == "FA-2"


# ---- recorded and published


@pytest.mark.parametrize("name", ["di_fig3a.csv", "di_fig3g.csv"])
def test_recorded_runs_start_alike_and_end_as_the_published_ranges_say(name):
    table = read_tables([CURVES / name])
    errors = table[table["metric"] == "log10_nse"]
    starts = errors[errors["step"] == 1].groupby(["dataset", "seed"])["value"]
    assert (starts.max() - starts.min()).max() < 1e-3
    assert errors["value"].max() <= 0


def test_references_of_figure_3a_are_means_and_spreads_of_the_recorded_runs():
    """Of logarithms of errors; between recorded samples by a cubic spline."""
    curves = read_tables([CURVES / "di_fig3a.csv"])
    published = read_published([REPOSITORY / "config" / "published" / "di.csv"])
    mine = published[(published["artefact"] == "di/fig3a_numbers") & (published["kind"] == "mean")]
    assert len(mine) == 67
    for row in mine.to_dict("records"):
        metric, _, step = row["metric"].rpartition("_")
        keys = {"dataset": row["dataset"], "method": row["method"], "metric": metric}
        runs = curves[np.logical_and.reduce([curves[k] == v for k, v in keys.items()])].sort_values("step")
        ends = [float(CubicSpline(run["step"], run["value"])(int(step))) for _, run in runs.groupby("seed")]
        assert (len(ends), np.mean(ends), np.std(ends, ddof=1)) == pytest.approx(
            (row["n"], row["mean"], row["std"]), rel=1e-4
        )


@pytest.fixture(scope="module", params=["paper", "quick"])
def experiments(request):
    files = [REPOSITORY / "config" / "quick.yaml"] if request.param == "quick" else []
    schemas = REPOSITORY / "workflow" / "schemas"
    chosen = settings(configuration(files, [], REPOSITORY), schemas / "config.schema.yaml")
    everything = load_experiments(REPOSITORY / "config" / "experiments", chosen, schemas / "experiment.schema.yaml")
    found = narrowed(everything, chosen)
    return request.param, {key: e for key, e in found.items() if key.startswith("di/")}


def test_every_experiment_resolves_with_the_published_settings(experiments):
    scale, found = experiments
    assert set(found) == {f"di/{name}" for name in ("fig3a", "fig3g", "fig4a", "fig4b", "dynamics")}
    for experiment in found.values():
        for dataset in experiment.datasets:
            for method in experiment.methods:
                run = experiment.cell(dataset, method).run
                assert run["train"]["dtype"] == "float64"
                if experiment.name in ("fig3a", "fig3g"):
                    assert (run["rule"]["clip"], run["rule"]["skip_first"]) == (
                        {"fig3a": 10, "fig3g": 1}[experiment.name],
                        True,
                    )
                    assert run["rule"]["normalize"] == (dataset == "normalized")
                    assert run["train"]["optimizer"]["lr"] == 0.01
                    steps = run["task"]["per_epoch"] * run["train"]["epochs"]
                    assert steps == run["task"]["samples"], "one pass"
    if scale == "paper":
        assert {e.name: (e.seeds, len(e.methods)) for e in found.values()} == {
            "fig3a": (20, 10), "fig3g": (10, 13), "fig4a": (5, 6), "fig4b": (3, 5), "dynamics": (5, 3),
        }  # fmt: skip


def test_published_rows_belong_to_cells_and_are_judged(experiments):
    scale, found = experiments
    if scale != "paper":
        return
    published = read_published([REPOSITORY / "config" / "published" / "di.csv"])
    tables = {f"di/{name}": (key, entry) for key, e in found.items() for name, entry in e.body["tables"].items()}
    for row in published.to_dict("records"):
        key, entry = tables[row["artefact"]]
        assert row["dataset"] in found[key].datasets
        assert row["method"] in found[key].methods
        names = [v.get("name", v.get("metric")) for v in entry["options"].get("values", [])]
        assert row["metric"] in (names or [entry["options"]["metric"]])
    entry = tables["di/fig3a_numbers"][1]
    pieces = [regression(["plain", "normalized"], LINEAR, ["1"]).assign(epoch=k) for k in (1, 2, 4, 8)]
    summary = summarise(pd.concat(pieces), "di/fig3a_numbers", entry["options"])
    verdicts = compare(published, summary)
    mine = verdicts[verdicts["artefact"] == "di/fig3a_numbers"]
    ran = mine["method"].isin(LINEAR)
    assert set(mine.loc[ran, "verdict"]) <= set(VERDICTS)
    assert set(verdicts.loc[verdicts["artefact"] == "di/fig4a_errors", "verdict"]) == {"not counted"}
