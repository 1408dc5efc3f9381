"""Figures of the DFC paper show the numbers of their tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.inset import InsetIndicator

from credit.config.files import read_yaml
from credit.errors import ConfigError
from credit.figures.dfc import feedback_learning, fig1d, fig2, panels
from credit.figures.looks import METHOD_STYLES
from tests.conftest import REPOSITORY
from tests.unit.test_figures import legend, points, texts, tidy

CURVES = ("dfc", "dfc-fixed", "dfa")
RULES = {"dfc-fixed": "dfc"}


def measured(epochs=6, seeds=3):
    """Random conditions and angles; DFA has angles alone, and its last layer another one."""
    rng, rows = np.random.default_rng(2), []
    for method in CURVES:
        for seed in range(seeds):
            for epoch in range(1, epochs + 1):
                rows += [("teacher", method, seed, epoch, "angle_mn", x, rng.uniform(10, 60)) for x in ("", "1")]
                if method != "dfa":
                    rows.append(("teacher", method, seed, epoch, "condition2", "", rng.uniform(0.75, 0.95)))
    return tidy(rows)


def test_each_panel_shows_the_median_of_its_quantity_in_the_rule_s_colour():
    table = measured()
    chosen = [{"metric": "condition2", "limits": [0.7, 1.0]}, {"metric": "angle_mn", "layer": "1", "line": 0.0}]
    figure = panels.draw(table, {"panels": chosen, "rules": RULES})
    first, second = figure.axes
    assert (len(first.lines), len(second.lines)) == (2, 4), "DFA has no condition 2; a line marks 0"
    assert tuple(first.get_ylim()) == (0.7, 1.0)
    for line, method, style in zip(first.lines, CURVES, ("-", "--"), strict=False):
        mine = table[(table["method"] == method) & (table["metric"] == "condition2")]
        expected = mine.groupby("epoch")["value"].median()
        np.testing.assert_allclose(line.get_ydata(), expected)
        assert to_rgb(line.get_color()) == to_rgb(METHOD_STYLES["dfc"].colour)
        assert line.get_linestyle() == style
    assert "angle to MN [°]" in texts(figure)


def test_limits_widen_rather_than_hide_a_curve():
    figure = panels.draw(measured(), {"panels": [{"metric": "angle_mn", "limits": [30, 40]}], "rules": RULES})
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    drawn = points(axes)[:, 1]
    assert low <= drawn.min()
    assert drawn.max() <= high


def test_places_without_a_panel_are_not_aligned_with_the_others(monkeypatch):
    """Where a removed one is, matplotlib stops or not, as the order of its memory is."""
    aligned = []
    monkeypatch.setattr(panels.Figure, "align_ylabels", lambda figure, axes: aligned.extend(np.ravel(axes)))
    options = {"panels": [{"metric": "condition2"}] * 5, "columns": 3, "rules": RULES}
    figure = panels.draw(measured(), options)
    assert len(figure.axes) == 5
    assert aligned == figure.axes


def test_a_group_of_methods_gets_a_line_of_panels():
    chosen = [{"metric": "condition2"}, {"metric": "angle_mn"}]
    options = {"panels": chosen, "groups": [["dfc", "dfc-fixed"], ["dfa"], ["gn"]], "rules": RULES}
    counts = [len(a.lines) for a in panels.draw(measured(), options).axes]
    assert counts == [2, 2, 0, 1], "a group of which nothing was run has no panels"
    assert "not recorded" in texts(panels.draw(measured(), options))


def test_measurements_before_and_after_the_first_epoch_are_told_apart():
    rows = [("mnist", "dfc", 0, int(step > 4), "condition2", "", 0.1 * step) for step in range(9)]
    table = tidy(rows).assign(step=[0, 1, 2, 3, 4, 0, 1, 2, 3])
    for on, expected in (("pretrain", [0.0, 0.1, 0.2, 0.3, 0.4]), ("train", [0.5, 0.6, 0.7, 0.8])):
        figure = panels.draw(table, {"panels": [{"metric": "condition2", "x": "step", "on": on}]})
        np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), expected)


@pytest.mark.parametrize(
    ("panel", "message"),
    [({"metrik": "condition2"}, "metrik"), ({"layer": "1"}, "metric is missing"), ({"metric": "gone"}, "none was rec")],
)
def test_panels_that_cannot_be_drawn_are_named(panel, message):
    with pytest.raises(ConfigError, match=message):
        panels.draw(measured(), {"panels": [panel]})


def swept(column=None):
    rng, rows = np.random.default_rng(3), []
    for value in (0.0, 0.5, 1.0) if column else (0.0,):
        for seed in range(3):
            for step in range(0, 40, 5):
                for metric in ("angle_feedback_pinv_5", "angle_feedback_pinv_0", "angle_feedback_transpose"):
                    rows.append((value, step, seed, metric, rng.uniform(0, 60)))
                rows.append((value, step, seed, "condition2", rng.uniform(0.6, 1)))
    frame = pd.DataFrame(rows, columns=["setting", "step", "seed", "metric", "value"])
    table = tidy([("tanh", "dfc_ssa", s, 0, m, "", v) for s, m, v in frame[["seed", "metric", "value"]].to_numpy()])
    table = table.assign(step=frame["step"].to_numpy())
    return table.assign(**{column: frame["setting"].to_numpy()}) if column else table


def test_feedback_learning_has_a_curve_for_every_value_of_the_setting():
    table = swept("feedback_alpha")
    figure = feedback_learning.draw(table, {"by": "feedback_alpha", "damping": 5})
    assert [len(a.lines) for a in figure.axes] == [3, 3, 3]
    mine = table.query("feedback_alpha == 0.5 and metric == 'angle_feedback_pinv_5'")
    line = figure.axes[0].lines[1]
    np.testing.assert_allclose(line.get_ydata(), mine.groupby("step")["value"].median())
    assert line.get_label() == "0.5"
    assert "α of the controller" in texts(figure)
    assert "bands: quartiles; n = 3 runs" in texts(figure)
    assert legend(figure) == ["0", "0.5", "1"]


def test_without_a_setting_feedback_learning_has_a_curve_for_every_damping():
    figure = feedback_learning.draw(swept(), {})
    assert [line.get_label() for line in figure.axes[0].lines] == ["0", "5"]
    assert [len(a.lines) for a in figure.axes] == [2, 1, 1]
    with pytest.raises(ConfigError, match="no angle_feedback_pinv"):
        feedback_learning.draw(swept().query("metric == 'condition2'"), {})


def course(samples=2, time=12):
    rows = []
    for s in range(1, samples + 1):
        rows.append(("teacher", "dfc", 0, 1, f"course_target_{s}", "", float(s)))
        for t in reversed(range(time)):  # the order of the table must not matter
            rows.append(("teacher", "dfc", 0, 1, f"course_output_{s}", str(t), s * (1 - 0.5**t)))
            rows.append(("teacher", "dfc", 0, 1, f"course_control_{s}", str(t), 0.1 * s * t))
    return tidy(rows)


def test_the_course_of_every_sample_is_drawn_in_time():
    figure = fig1d.draw(course(), {})
    top, bottom = figure.axes[1], figure.axes[-1]
    np.testing.assert_allclose(top.lines[0].get_ydata(), 2.0)
    np.testing.assert_array_equal(top.lines[1].get_xdata(), range(12))
    np.testing.assert_allclose(top.lines[1].get_ydata(), 2 * (1 - 0.5 ** np.arange(12)))
    (control,) = bottom.lines
    np.testing.assert_allclose(control.get_ydata(), 0.2 * np.arange(1, 12))
    assert len(figure.axes) == 4, "no curve twice, no second axis"
    assert [a.get_ylabel() for a in figure.axes] == ["output r [1]"] * 2 + ["control u [1]"] * 2
    assert {a.get_xlabel() for a in figure.axes[2:]} == {"time [steps of the simulation]"}
    assert legend(figure) == ["target", "output", "control"]
    assert fig1d.ONE in texts(figure)
    with pytest.raises(ConfigError, match="course_target"):
        fig1d.draw(measured(), {})


def test_every_point_of_the_plane_is_drawn():
    rng, rows = np.random.default_rng(4), []
    for name in [f"random.{k}" for k in range(30)] + [f"damped.{k}" for k in range(4)] + ["pseudoinverse", "transpose"]:
        rows += [("teacher", "mn", 0, 0, f"pc{c}", name, rng.normal()) for c in (1, 2)]
    table = tidy(rows)
    figure = fig2.draw(table, {})
    assert legend(figure) == ["random", "damped pseudoinverses", "pseudoinverse", "transpose"]
    assert legend(fig2.draw(table[table["layer"] != "transpose"], {})) == legend(figure)[:3]
    axes, near, bar = figure.axes
    assert bar.get_xlabel() == fig2.DENSITY
    assert bar.get_xlim()[0] == 0.0, "the bar begins where densities do"
    box = next(child for child in axes.get_children() if isinstance(child, InsetIndicator))
    x, y, width, height = box.rectangle.get_bbox().bounds
    assert (x, x + width) == pytest.approx(near.get_xlim())
    assert (y, y + height) == pytest.approx(near.get_ylim())
    clouds = [
        c for c in axes.collections if len(c.get_offsets()) > 1 or c.get_label() in ("pseudoinverse", "transpose")
    ]
    assert [len(c.get_offsets()) for c in clouds] == [30, 4, 1, 1]
    transpose = table[table["layer"] == "transpose"].sort_values("metric")["value"]
    np.testing.assert_allclose(np.ravel(clouds[-1].get_offsets()), transpose)
    with pytest.raises(ConfigError, match="no pc1 and pc2"):
        fig2.draw(measured(), {})


def test_groups_of_one_panel_stand_in_a_line_and_what_is_nothing_is_a_sentence():
    table = pd.concat([measured(), tidy([("teacher", "dfc", 0, 1, "null_space_ratio", x, 3e-15) for x in "12"])])
    chosen = [{"metric": "condition2"}, {"metric": "null_space_ratio", "said": True}]
    options = {"panels": chosen, "groups": [["dfc", "dfc-fixed"], ["dfa"]], "rules": RULES}
    figure = panels.draw(table, options)
    assert [a.get_subplotspec().rowspan.start for a in figure.axes] == [0, 0]
    assert [a.get_title() for a in figure.axes] == ["DFC", "DFA"]
    assert "null-space ratio: at most 3.0e-15 in every layer" in texts(figure)
    missing = panels.draw(measured(), options)
    assert "null-space ratio: not recorded" in texts(missing)


def test_marked_values_labels_bands_and_runs_stand_in_the_legend():
    chosen = [{"metric": "condition2", "line": 0.9, "marks": "0.9, as said"}]
    labels = {"dfc": "DFC (trained feedback)"}
    figure = panels.draw(measured(), {"panels": chosen, "rules": RULES, "labels": labels})
    assert legend(figure) == ["DFC (trained feedback)", "DFC (fixed)", "0.9, as said"]
    assert figure.legends[0].get_title().get_text() == "bands: quartiles; n = 3 runs"


def settings_of(experiment, figure):
    body = read_yaml(REPOSITORY / "config" / "experiments" / "dfc" / f"{experiment}.yaml")
    return body, body["figures"][figure]["options"]


@pytest.mark.parametrize("figure", ["s1_angles", "s1_conditions", "s1_stability", "s1_norms", "fig3"])
def test_panels_of_the_student_are_few_and_have_titles_of_their_own(figure):
    _, options = settings_of("student_teacher", figure)
    shown = [panel for panel in options["panels"] if not panel.get("said")]
    titles = [panel["title"] for panel in shown]
    assert len(set(titles)) == len(titles)
    assert len(titles) <= 6
    assert not (options.get("groups") and len(titles) > 4), "wider than a page"
    assert "null_space_ratio" not in {panel["metric"] for panel in shown}, "zero throughout"


@pytest.mark.parametrize(
    ("experiment", "figure"),
    [("benchmarks", "table1_curves"), ("student_teacher", "fig3"), ("student_teacher", "s1_angles")],
)
def test_legends_say_of_every_variant_of_dfc_whether_its_feedback_is_trained(experiment, figure):
    body, options = settings_of(experiment, figure)
    controlled = [m for m in body["methods"] if m.startswith("dfc")]
    for method in controlled:
        if method in options["labels"] or figure == "table1_curves":
            kind = "fixed" if "fixed" in method else "trained"
            assert f"{kind} feedback" in options["labels"][method]
    assert len(set(options["labels"].values())) == len(options["labels"])
