"""Figures must show the numbers of the table, all of them and no others, and be the same bytes every time.

The tables below are random numbers made for these tests; no figure of this project is drawn from them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from credit.analysis import names
from credit.analysis.tables import mean_ci, write_table
from credit.config.files import read_yaml
from credit.dag.targets import Workflow
from credit.errors import ConfigError
from credit.figures import looks, style
from credit.figures.cross import fig1, fig2, fig3
from credit.figures.curves import ENDED, mean_curve, median_curve, runs_over_epochs, smooth
from tests.conftest import REPOSITORY

ROOT = Path(__file__).parents[2]
COLUMNS = ["dataset", "method", "seed", "epoch", "metric", "layer", "value"]
FIVE = ("bp", "shallow", "fa", "dfa", "drtp")
DDTP = ("bp", "drl_dtp", "dtpdrl", "ddtp_linear", "ddtp_rhl", "ddtp_control")


def tidy(rows, verified=True):
    table = pd.DataFrame(rows, columns=COLUMNS)
    fixed = {"paper": "cross", "experiment": "test", "step": table["epoch"], "data_verified": verified}
    return table.assign(**fixed)


def images(datasets=("mnist", "fashion_mnist"), methods=FIVE, seeds=5, epochs=4, verified=True):
    """Random errors and losses, labelled as if from image classification."""
    rng, rows = np.random.default_rng(0), []
    for dataset in datasets:
        for k, method in enumerate(methods):
            for seed in range(seeds):
                for epoch in range(epochs + 1):
                    error = (0.02 * (k + 1) + 0.7 * 0.3**epoch) * rng.uniform(0.9, 1.1)
                    rows.append((dataset, method, seed, epoch, "test_error", "", error))
                    rows.append((dataset, method, seed, epoch, "train_loss", "", error**1.5))
    return tidy(rows, verified)


def teacher(methods=FIVE, seeds=3, epochs=6):
    """Random losses and angles, labelled as if from the student-teacher task; shallow has no hidden updates."""
    rng, rows = np.random.default_rng(1), []
    for method in methods:
        for seed in range(seeds):
            for epoch in range(epochs + 1):
                rows.append(("teacher", method, seed, epoch, "test_loss", "", rng.uniform(1, 50)))
                for angle in ("angle_bp", "angle_mn") if epoch else ():
                    for layer in ("1", "2", "3", ""):
                        value = 0.0 if (method, angle) == ("bp", "angle_bp") else rng.uniform(20, 95)
                        value = np.nan if method == "shallow" and layer in ("1", "2") else value
                        rows.append(("teacher", method, seed, epoch, angle, layer, value))
    return tidy(rows)


def diverging(table, method, seeds, epoch):
    """The same table with runs of `method` that stop at `epoch`."""
    mine = (table["method"] == method) & table["seed"].isin(seeds)
    notes = [(d, method, s, epoch, "diverged", "", 40.0) for d in table["dataset"].unique() for s in seeds]
    return pd.concat([table[~mine | (table["epoch"] < epoch)], tidy(notes)])


def texts(figure):
    figure.draw_without_rendering()
    return " | ".join(t.get_text() for t in figure.findobj(match=lambda a: hasattr(a, "get_text")))


def legend(figure):
    """Entries of the legend below the axes."""
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def points(axes):
    """(x, y) of all lines of axes, joined."""
    xy = [np.column_stack([np.asarray(v, float) for v in line.get_data()]) for line in axes.lines]
    return np.concatenate(xy)


# ---- looks


def test_no_two_methods_of_an_experiment_look_the_same():
    workflow = Workflow(read_yaml(REPOSITORY / "config" / "config.yaml"), REPOSITORY)
    for key, experiment in workflow.experiments.items():
        rules = {name: (own or {}).get("rule", name) for name, own in experiment.body["methods"].items()}
        found = [look[1:] for look in looks.method_styles(rules, rules).values()]
        assert len(set(found)) == len(found), key


def test_no_two_rules_look_the_same():
    found = list(looks.METHOD_STYLES.values())
    assert list(names.METHODS) == list(looks.METHOD_STYLES)
    assert len({s.marker for s in found}) == len(found)
    assert len({(s.colour, s.line) for s in found}) >= len(found) - 1
    assert len({s.label for s in found}) == len(found)


def test_every_marker_is_a_filled_shape():
    """Thin strokes cannot be seen on a line of their colour."""
    assert [s.label for s in looks.METHOD_STYLES.values() if not MarkerStyle(s.marker).is_filled()] == []


def seen_with(colour, matrix):
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)])
    return np.clip(matrix @ linear, 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize(
    "matrix",  # Machado, Oliveira & Fernandes (2009), severity 1
    [
        np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
        np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    ],
    ids=["protanopia", "deuteranopia"],
)
@pytest.mark.parametrize("group", [FIVE, DDTP], ids=["baselines", "DDTP"])
def test_rules_that_are_drawn_together_differ_for_colour_blind_readers(group, matrix):
    seen = [seen_with(looks.METHOD_STYLES[m].colour, matrix) for m in group]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(distances) > 0.1


def test_a_variant_keeps_its_rule_and_an_unknown_name_is_the_same_everywhere():
    variant, named = looks.method_style("di-2"), looks.method_style("tmax20", "dfc")
    assert variant.label == "DI-2"
    assert variant[1:3] == looks.METHOD_STYLES["di"][1:3]
    assert variant.line != looks.METHOD_STYLES["di"].line
    assert looks.method_style("dfc-fixed").label == "DFC (fixed)"
    assert (named.label, named.colour) == ("tmax20", looks.METHOD_STYLES["dfc"].colour)
    command = "from credit.figures.looks import method_style; print(method_style('novel'))"
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT / "src")}
    other = subprocess.run([sys.executable, "-c", command], env=env, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(looks.method_style("novel"))


def test_variants_of_a_rule_without_an_entry_have_its_colour_and_marker_and_stand_behind_it():
    rules = {"novel": "novel", "novel-uniform": "novel", "named": "novel", "anew": "anew"}
    found = looks.method_styles(rules, rules)
    assert list(found) == ["anew", "novel", "named", "novel-uniform"]
    for variant in ("named", "novel-uniform"):
        assert found[variant][1:3] == found["novel"][1:3] == looks.method_style("novel")[1:3]
        assert found[variant].line != found["novel"].line
        assert found[variant].label == variant
    assert looks.method_style("novel-uniform") == found["novel-uniform"], "by its name alone"


def test_methods_are_listed_in_a_fixed_order():
    given = ["novel", "dfa", "dfc-fixed", "bp", "tmax20", "dfc"]
    assert list(looks.method_styles(given, {"tmax20": "dfa"})) == ["bp", "dfa", "tmax20", "dfc", "dfc-fixed", "novel"]


# ---- curves


def test_bands_are_t_intervals_and_ranges_for_fewer_than_five_runs():
    rows = images(("mnist",), ("bp",), seeds=5)
    curve = mean_curve(rows, "test_error", scale=100)
    expected = mean_ci(100 * rows.query("epoch == 2 and metric == 'test_error'")["value"])
    assert (curve.middle[2], curve.low[2], curve.high[2]) == pytest.approx((expected.mean, *expected[3:]))
    four = rows[rows["seed"] < 4]
    values = four.query("epoch == 2 and metric == 'test_error'")["value"]
    curve = mean_curve(four, "test_error")
    assert (curve.low[2], curve.high[2]) == (values.min(), values.max())


def test_runs_that_diverged_are_not_part_of_a_mean():
    rows = diverging(images(("mnist",), ("bp",), seeds=4), "bp", [1], epoch=2)
    whole, lost = runs_over_epochs(rows, "test_error")
    assert list(whole.columns) == [0, 2, 3]
    assert list(lost.columns) == [1]
    assert lost.index.max() == 1
    expected = rows[(rows["seed"] != 1) & (rows["metric"] == "test_error")].groupby("epoch")["value"].mean()
    assert mean_curve(rows, "test_error").middle == pytest.approx(expected.to_numpy())


def test_medians_and_quartiles_are_taken_over_runs_after_smoothing():
    rows = teacher(("fa",), seeds=5)
    mine = rows[(rows["metric"] == "angle_bp") & (rows["layer"] == "2")]
    wide = mine.pivot(index="epoch", columns="seed", values="value")
    reach = [min(1, i, len(wide) - 1 - i) for i in range(len(wide))]
    smoothed = np.array([wide.iloc[i - r : i + r + 1].mean() for i, r in enumerate(reach)])
    curve = median_curve(rows, "angle_bp", "2", window=3)
    assert curve.middle == pytest.approx(np.median(smoothed, axis=1))
    assert curve.high == pytest.approx(np.quantile(smoothed, 0.75, axis=1))


def test_a_window_counts_epochs_and_not_points():
    wide = pd.DataFrame({0: [1.0, 2.0, 3.0, np.nan]}, index=[0, 5, 10, 15])
    assert smooth(wide, 5)[0].tolist()[:3] == [1.0, 2.0, 3.0]
    assert smooth(wide, 11)[0].tolist()[:3] == [1.0, 2.0, 3.0]
    assert smooth(wide, 11, "step")[0].tolist()[:3] == [1.0, 2.0, 3.0]
    uneven = pd.DataFrame({0: [0.0, 3.0, 9.0, 12.0]}, index=[0, 4, 5, 12])
    assert smooth(uneven, 3)[0].tolist() == [0.0, 6.0, 6.0, 12.0]
    assert np.isnan(smooth(wide, 30)[0].iloc[3])


@pytest.mark.parametrize("over", ["epoch", "step"])
def test_a_window_keeps_where_a_run_starts_and_ends_and_bends_no_straight_line(over):
    line = np.linspace(0.0, 1.0, 41)
    stopped = np.where(np.arange(41) <= 20, line, np.nan)
    smoothed = smooth(pd.DataFrame({0: line, 1: stopped}), 11, over)
    np.testing.assert_allclose(smoothed[0], line, atol=1e-12)
    np.testing.assert_allclose(smoothed[1], stopped, atol=1e-12, err_msg="up to where the run stops")


# ---- legends


def test_a_legend_lists_what_is_drawn_and_nothing_else():
    figure = Figure()
    axes, other = figure.subplots(1, 2)
    axes.plot([1, 2], [np.nan, np.nan], label="undefined")
    axes.plot([], [], label="empty")
    axes.plot([1, 2], [np.nan, 3.0], label="method\nlayer")
    axes.fill_between([1, 2], [np.nan, np.nan], [np.nan, np.nan], label="no band")
    other.fill_between([1, 2], [1, 1], [2, 2], label="band")
    other.scatter([], [], label="no points")
    other.scatter([1], [1], label="points")
    other.bar([1], [2], label=["bar"])
    names = ("undefined", "empty", "layer", "no band", "bar", "band", "no points", "points", "method", "unknown")
    style.legend_below(figure, [Line2D([], [], label=name) for name in names], images())
    assert legend(figure) == ["layer", "bar", "band", "points", "method"]


def test_a_legend_of_nothing_is_none_but_still_says_what_is_unverified():
    figure = Figure()
    style.legend_below(figure, [Line2D([], [], label="empty")], images(seeds=1))
    assert figure.legends == []
    style.legend_below(figure, [], images(seeds=1, verified=False))
    assert style.FOOTNOTE in texts(figure)


@pytest.mark.parametrize(("width", "columns"), [(20, 6), (6, 3), (4, 2), (2.6, 1)])
def test_lines_of_a_legend_fit_into_the_figure_and_are_about_as_long(width, columns):
    figure = Figure(figsize=(width, 3), layout="constrained")
    names = ["conv 1", "conv 2", "dense 1", "output", "standard deviation", "published, read off the figure"]
    for name in names:
        figure.gca().plot([1], [1], label=name)
    style.legend_below(figure, [Line2D([], [], label=name) for name in names], images(seeds=1))
    texts(figure)
    assert figure.legends[0]._ncols == columns
    assert figure.legends[0].get_window_extent().width <= figure.bbox.width


def test_methods_without_a_curve_are_not_in_the_legend():
    table = teacher(("bp", "fa"))
    table = table[(table["method"] == "bp") | (table["metric"] == "angle_mn")]
    angles = {"loss": "test_loss", "angles": ["angle_bp"]}
    assert legend(fig3.draw(table, angles)) == ["BP"]
    assert legend(fig2.draw(images(("mnist",), ("bp", "dfa")), {})) == ["BP", "DFA"]


# ---- figure 1


def test_figure_1_shows_means_runs_and_intervals():
    table = images(("mnist",), ("bp", "dfa"), seeds=3)
    final = 100 * table.query("epoch == 4 and metric == 'test_error' and method == 'dfa'")["value"]
    (axes,) = fig1.draw(table, {}).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["BP", "DFA"]
    m = mean_ci(final)
    row = points(axes)
    for x in (m.mean, m.low, m.high, *final):
        assert np.isclose(row[:, 0], x).any()
    assert len(row) == 2 * (1 + 2 + 3)


def test_figure_1_says_what_was_not_run_and_what_diverged():
    table = diverging(images(seeds=3), "drtp", [0, 2], epoch=2)
    table = table[~((table["dataset"] == "mnist") & (table["method"] == "fa"))]
    text = texts(fig1.draw(table, {}))
    assert "2 of 3 diverged" in text
    assert "not run" in text
    everything = diverging(images(("mnist",), ("bp",), seeds=2), "bp", [0, 1], epoch=2)
    assert "2 of 2 diverged" in texts(fig1.draw(everything, {}))


def test_figure_1_names_intervals_and_runs_where_there_are_any():
    assert legend(fig1.draw(images(seeds=3), {})) == ["mean and 95 % interval", "one run"]
    assert legend(fig1.draw(images(seeds=1), {})) == ["the only run"]
    lost = diverging(images(("mnist",), ("bp",), seeds=2), "bp", [0, 1], epoch=2)
    assert legend(fig1.draw(lost, {})) == []


def test_figure_1_has_arrows_where_an_interval_leaves_the_axis():
    table = tidy([("mnist", m, s, 1, "test_error", "", e) for m, errors in
                  (("bp", (0.2, 0.3)), ("fa", (0.2501, 0.2502))) for s, e in enumerate(errors)])  # fmt: skip
    figure = fig1.draw(table, {})
    (axes,) = figure.axes
    arrows = [(ln.get_marker(), ln.get_xdata()[0], ln.get_ydata()[0]) for ln in axes.lines if ln.get_marker() in "<>"]
    left, right = axes.get_xlim()
    assert arrows == [("<", left, 0), (">", right, 0)]
    assert left == 0, "which is near"
    assert legend(figure)[-1] == "interval goes on"
    far = table.assign(value=0.9 + 0.01 * table["value"])
    assert fig1.draw(far, {}).axes[0].get_xlim()[0] > 80


@pytest.mark.parametrize(("factor", "scale"), [(1.0, "linear"), (9.0, "log")])
def test_figure_1_is_logarithmic_only_where_methods_lie_far_apart(factor, scale):
    table = images(("mnist",), ("bp", "fa"), epochs=20)
    table.loc[table["method"] == "fa", "value"] *= factor
    (axes,) = fig1.draw(table, {}).axes
    assert axes.get_xscale() == scale


# ---- figure 2


def test_figure_2_has_a_column_per_data_set_and_a_row_per_metric():
    axes = fig2.draw(images(), {}).axes
    assert [a.get_title() for a in axes[:2]] == ["MNIST", "Fashion-MNIST"]
    assert [axes[0].get_ylabel(), axes[2].get_ylabel()] == ["test error [%]", "training loss"]
    assert axes[0].get_yscale() == "log"
    only = images()[lambda t: t["metric"] == "test_error"]
    assert len(fig2.draw(only, {}).axes) == 2


def test_figure_2_draws_the_means_from_the_first_epoch_on():
    table = images(("mnist",), ("bp",))
    line = fig2.draw(table, {}).axes[0].lines[0]
    mine = table[(table["metric"] == "test_error") & (table["epoch"] > 0)]
    assert list(line.get_xdata()) == [1, 2, 3, 4]
    assert line.get_ydata() == pytest.approx(100 * mine.groupby("epoch")["value"].mean().to_numpy())


def test_figure_2_does_not_let_diverged_runs_stretch_the_axis():
    table = diverging(images(("mnist",), ("bp",)), "bp", [1], epoch=3)
    table.loc[(table["seed"] == 1) & (table["metric"] == "train_loss"), "value"] = 1e30
    assert fig2.draw(table, {}).axes[1].get_ylim()[1] < 10


def test_figure_2_says_where_a_metric_was_not_recorded():
    table = images()
    table = table[~((table["dataset"] == "mnist") & (table["metric"] == "train_loss"))]
    assert "not recorded" in texts(fig2.draw(table, {}))


def test_figure_2_draws_values_that_have_no_logarithm():
    table = images(("mnist",), ("bp",))
    table["value"] = 0.0
    assert fig2.draw(table, {}).axes[0].get_yscale() == "linear"


# ---- figure 3


def test_figure_3_has_a_column_per_layer_and_one_for_the_network():
    axes = fig3.draw(teacher(), {"window": 3}).axes
    assert [a.get_title() for a in axes[:5]] == ["student–teacher", "layer 1", "layer 2", "layer 3", "whole network"]
    assert [axes[i].get_ylabel() for i in (0, 1, 5)] == ["test loss", "angle to BP [°]", "angle to MN [°]"]
    low, high = axes[1].get_ylim()
    assert low < 0
    assert 90 < high < 100
    assert len({a.get_ylim() for a in axes[1:5]}) == 1


def test_figure_3_has_no_curve_where_a_method_has_no_update():
    axes = fig3.draw(teacher(("bp", "shallow")), {}).axes
    assert [len(a.lines) for a in axes[1:5]] == [1, 1, 2, 2]


def test_figure_3_keeps_the_zero_angle_of_bp_behind_the_others():
    bp, fa = fig3.draw(teacher(("bp", "fa")), {}).axes[1].lines
    assert set(bp.get_ydata()) == {0.0}
    assert bp.get_zorder() < fa.get_zorder()


def test_figure_3_draws_what_is_there():
    table = diverging(teacher(seeds=2), "drtp", [0, 1], epoch=2)
    assert len(fig3.draw(table[table["metric"] != "angle_mn"], {}).axes) == 5
    assert len(fig3.draw(table[~table["metric"].str.startswith("angle")], {}).axes) == 1
    assert "not recorded" in texts(fig3.draw(table[table["metric"] != "test_loss"], {}))


# ---- all figures


def test_figure_1_draws_what_a_run_costs_beside(tmp_path):
    table, work = images(("mnist",)), {"bp": 1.0, "fa": 0.9, "dfa": 60.0}
    costs = tidy([("mnist", m, s, 1, "update_work", "", w) for m, w in work.items() for s in range(5)])
    errors, beside = fig1.draw(pd.concat([table, costs]), {"beside": "update_work"}).axes
    assert sorted(bar.get_width() for bar in beside.patches) == sorted(work.values())
    assert {t.get_text() for t in beside.texts} == {"1", "0.9", "60"}
    assert beside.get_xscale() == "log"
    places = {t.get_text(): t.xy[1] for t in beside.texts}
    labels = dict(zip(errors.get_yticks(), (t.get_text() for t in errors.get_yticklabels()), strict=True))
    assert labels[places["60"]] == "DFA"
    _, blank = fig1.draw(table, {"beside": "update_work"}).axes
    assert [t.get_text() for t in blank.texts] == ["not recorded"]


@pytest.mark.parametrize(("figure", "table"), [(fig1, images), (fig2, images), (fig3, teacher)])
def test_an_empty_selection_is_an_error_that_says_so(figure, table):
    with pytest.raises(ConfigError, match="nothing to draw"):
        figure.draw(table(), {"where": {"method": ["pc"]}})
    with pytest.raises(ConfigError, match="did you mean 'where'"):
        figure.draw(table(), {"wher": {}})
    with pytest.raises(ConfigError):
        figure.draw(table().assign(metric="something_else"), {})
    with pytest.raises(ConfigError, match="several values of lr"):
        figure.draw(table().assign(lr=lambda t: t["seed"] * 0.1), {})


@pytest.mark.parametrize("options", [{"window": 0}, {"window": "30"}, {"where": {"dataset": ["a", "teacher"]}}])
def test_figure_3_refuses_wrong_windows_and_several_data_sets(options):
    table = pd.concat([teacher(seeds=1), teacher(seeds=1).assign(dataset="a")])
    with pytest.raises(ConfigError, match="fig3"):
        figure = {"where": {"dataset": "teacher"}, **options}
        fig3.draw(table, figure)


@pytest.mark.parametrize("figure", [fig1, fig2])
def test_an_unverified_copy_of_the_data_is_marked(figure):
    table = pd.concat([images(("mnist",)), images(("cifar10",), verified=False)])
    text = texts(figure.draw(table, {}))
    assert "CIFAR-10 †" in text
    assert "MNIST †" not in text
    assert style.FOOTNOTE in text


@pytest.mark.parametrize("figure", [fig1, fig2])
def test_one_run_of_one_method_can_be_drawn(figure, tmp_path):
    drawn = figure.draw(images(("mnist",), ("novel",), seeds=1, epochs=1), {})
    style.save(drawn, tmp_path / "f.pdf", tmp_path / "f.png")


def plot(*arguments, **environment):
    command = [sys.executable, ROOT / "workflow" / "scripts" / "plot.py", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, check=False)


def test_files_are_the_same_bytes_in_every_process_and_name_no_version(tmp_path):
    write_table(tmp_path / "tidy.csv", images(("mnist",), seeds=2))
    spec = {"version": 1, "module": "credit.figures.cross.fig1", "options": {}, "rules": {"bp": "bp"}}
    contents = []
    for hash_seed, epoch in (("1", "0"), ("2", "1000000000")):
        out = [tmp_path / hash_seed / name for name in ("f.pdf", "f.png")]
        done = plot(json.dumps(spec), *out, tmp_path / "tidy.csv", PYTHONHASHSEED=hash_seed, SOURCE_DATE_EPOCH=epoch)
        assert done.stderr == ""
        contents.append([p.read_bytes() for p in out])
    assert contents[0] == contents[1]
    pdf, png = contents[0]
    assert b"CreationDate" not in pdf
    assert b"atplotlib" not in pdf + png
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_published_curves_reach_a_figure_as_a_table(tmp_path, monkeypatch):
    for name, seeds in (("tidy", 2), ("one", 1), ("two", 3)):
        write_table(tmp_path / f"{name}.csv", images(("mnist",), ("bp",), seeds=seeds))
    spec = json.dumps({"version": 1, "module": "credit.figures.cross.fig1", "options": {"metric": "test_error"}})
    monkeypatch.syspath_prepend(ROOT / "workflow" / "scripts")
    script, seen = importlib.import_module("plot"), []
    # which code a job may load is asked of jobs: a test process has loaded more
    monkeypatch.setattr(script, "making", lambda *made: contextlib.nullcontext())
    monkeypatch.setattr(fig1, "draw", lambda table, options: seen.append((table, options)) or fig1.Figure())
    files = [str(tmp_path / name) for name in ("f.pdf", "f.png", "tidy.csv")]
    for references in ([], [str(tmp_path / "one.csv"), str(tmp_path / "two.csv")]):
        monkeypatch.setattr(sys, "argv", ["plot.py", spec, *files, "--references", *references])
        script.main()
    assert seen[0][1]["references"] is None
    assert len(seen[1][1]["references"]) == 2 * len(seen[1][0])
    assert style.chosen({"references": None}, fig1.Options)["references"] is None


def test_a_figure_that_does_not_exist_ends_the_script_in_one_line(tmp_path):
    spec = json.dumps({"version": 1, "module": "credit.figures.cross.fig99"})
    done = plot(spec, tmp_path / "f.pdf", tmp_path / "f.png", tmp_path / "none.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("error: spec.module = 'credit.figures.cross.fig99'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "module", ["os", "credit.figures.style", "credit.figures.nowhere.fig1", "credit.tasks.x.y", ""]
)
def test_only_modules_of_figures_are_loaded(module, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "workflow" / "scripts")
    script = importlib.import_module("plot")
    with pytest.raises(ConfigError, match=r"spec\.module"):
        script.load(module)
    assert script.load("credit.figures.cross.fig1") is fig1


def test_figure_3_says_in_a_sentence_where_every_angle_is_zero():
    table = teacher()
    table.loc[(table["metric"] == "angle_bp") & (table["layer"] == "3"), "value"] = 1e-6
    axes = fig3.draw(table, {}).axes
    assert [fig3.NO_ANGLE in [text.get_text() for text in a.texts] for a in axes].count(True) == 1
    (said,) = [a for a in axes if fig3.NO_ANGLE in [text.get_text() for text in a.texts]]
    assert not said.axison
    assert said.get_title() == "layer 3"


def test_legends_say_what_bands_are_and_how_many_runs_there_are():
    title = fig2.draw(images(seeds=5), {}).legends[0].get_title().get_text()
    assert title == "bands: 95 % interval; n = 5 runs"
    table = images(seeds=3)
    fewer = table[(table["method"] != "fa") | (table["seed"] == 0)]
    assert fig2.draw(fewer, {}).legends[0].get_title().get_text() == "bands: range of runs; n = 1 to 3 runs"
    assert fig2.draw(images(seeds=1), {}).legends[0].get_title().get_text() == "n = 1 run"


def test_figure_2_marks_curves_that_end_early_and_names_methods_as_told():
    table = images(("mnist",), ("bp", "dfa"), seeds=2)
    figure = fig2.draw(table[(table["method"] == "bp") | (table["epoch"] < 3)], {"labels": {"dfa": "DFA (half)"}})
    assert legend(figure) == ["BP", "DFA (half)", ENDED]
    marks = [line for axes in figure.axes for line in axes.lines if line.get_label() == ENDED]
    assert [list(line.get_xdata()) for line in marks] == [[2], [2]]
