"""Figures of prospective configuration show the numbers of their tables, and the published ones beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from credit.analysis.bootstrap import bootstrap_interval
from credit.analysis.fits import fits
from credit.analysis.fitting import fitting
from credit.errors import ConfigError, NothingLeft
from credit.figures.looks import METHOD_STYLES
from credit.figures.pc import by_layer, conditions, courses, fitted, paths, plane, rates
from tests.unit.test_figures import legend, texts, tidy
from tests.unit.test_fits import data as measured_values
from tests.unit.test_fits import swept as fitted_runs

RATES = (0.01, 0.1, 1.0)
DEPTHS = {"l1": 1, "l4": 4, "l15": 15}


def swept(datasets=DEPTHS, methods=("bp", "pc"), rates=RATES, seeds=3, epochs=6, metrics=("test_error",)):
    """Random errors that fall with the epochs; 0.1 is the best rate of bp, 0.01 that of pc."""
    rng, rows = np.random.default_rng(4), []
    for dataset in datasets:
        for method in methods:
            best = {"bp": 0.1}.get(method, 0.01)
            for lr in rates:
                for seed in range(seeds):
                    base = 0.2 + 0.1 * abs(np.log10(lr / best)) + 0.05 * (method == "bp")
                    for epoch in range(1, epochs + 1):
                        for metric in metrics:
                            error = base + 0.3 * 0.5**epoch + rng.uniform(0, 0.02)
                            rows.append((lr, (dataset, method, seed, epoch, metric, "", error)))
    return tidy([row for _, row in rows]).assign(lr=[lr for lr, _ in rows])


def known(rows, **columns):
    """Rows (dataset, method, epoch, metric, value) as a file of curves has them."""
    return tidy([(d, m, 0, e, metric, "", v) for d, m, e, metric, v in rows]).assign(**columns)


def lines_of(axes, method):
    colour = to_rgb(METHOD_STYLES[method].colour)
    return [
        ln for ln in axes.lines if to_rgb(ln.get_color()) == colour and ln.get_label() == METHOD_STYLES[method].label
    ]


def mean_of(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table.groupby("seed")["value"].mean()


# ---- conditions

PANELS = [{"title": "depth", "at": dict(sorted(DEPTHS.items()))}]  # as a specification has them
BEST = {"panels": PANELS, "label": "layers", "select": "mean", "best": "lr"}


def test_the_best_mean_over_runs_is_drawn_against_the_condition_with_its_interval():
    table = swept()
    figure = conditions.draw(table, BEST)
    (axes,) = figure.axes
    for method, lr in (("bp", 0.1), ("pc", 0.01)):
        (line,) = lines_of(axes, method)
        assert list(line.get_xdata()) == [1, 4, 15]
        runs = [mean_of(table, dataset=d, method=method, lr=lr).to_numpy() for d in DEPTHS]
        assert list(line.get_ydata()) == pytest.approx([100 * r.mean() for r in runs])
        limits = [bootstrap_interval(100 * r) for r in runs]
        ends = [c.get_segments() for c in axes.collections if to_rgb(c.get_color()[0]) == to_rgb(line.get_color())]
        found = sorted((s[:, 1].min(), s[:, 1].max()) for s in ends[0])
        assert found == [pytest.approx(tuple(map(float, limit))) for limit in sorted(limits)]
    assert axes.get_ylabel() == "mean test error [%]"
    assert legend(figure) == ["BP", "PC", "68 % interval"]


def test_a_published_value_stands_at_its_condition_in_the_colour_of_its_method():
    theirs = known([("l15", "pc", 64, "test_error", 0.417), ("l9", "pc", 64, "test_error", 0.9)])
    figure = conditions.draw(swept(), {**BEST, "references": theirs})
    dots = [ln for ln in figure.axes[0].lines if ln.get_label() == "published, read off the figure"]
    assert [(ln.get_xdata()[0], ln.get_ydata()[0]) for ln in dots] == [(15, pytest.approx(41.7))]
    assert to_rgb(dots[0].get_color()) == to_rgb(METHOD_STYLES["pc"].colour)
    assert legend(figure)[-1] == "published, read off the figure"


def test_conditions_may_be_names_and_have_panels():
    panels = [{"title": "a", "at": {"l1": 1, "l15": 64}}, {"at": {"l4": 8}}, {"at": {"l7": 3}}]
    figure = conditions.draw(swept(), {**BEST, "panels": panels, "even": "falling"})
    assert [axes.get_title() for axes in figure.axes] == ["a", ""], "no panel of what was not run"
    assert list(lines_of(figure.axes[0], "bp")[0].get_xdata()) == [0, 1]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["64", "1"]
    turned = conditions.draw(swept(), {**BEST, "panels": panels, "even": "rising"})
    assert [t.get_text() for t in turned.axes[0].get_xticklabels()] == ["1", "64"]
    with pytest.raises(ConfigError, match=r"none of options\.panels was run, only l1, l15, l4"):
        conditions.draw(swept(), {**BEST, "panels": panels[2:]})


def test_every_run_may_be_a_dot_and_a_setting_may_be_pooled():
    table = swept(rates=(0.1, 1.0)).assign(metric="target_alignment")
    options = {"panels": PANELS, "label": "layers", "metric": "target_alignment", "select": "final", "dots": True}
    with pytest.raises(ConfigError, match="several values of lr"):
        conditions.draw(table, options)
    figure = conditions.draw(table, {**options, "pool": "lr"})
    (axes,) = figure.axes
    assert len(axes.lines) == 0
    dots = {c.get_label(): c.get_offsets() for c in axes.collections}
    assert {label: len(places) for label, places in dots.items()} == {"BP": 18, "PC": 18}
    mine = table[(table["method"] == "pc") & (table["epoch"] == 6)]
    assert sorted(dots["PC"][:, 1]) == pytest.approx(sorted(mine["value"]))
    assert legend(figure) == ["BP", "PC"]
    few = {**options, "pool": "lr", "panels": [{"at": {"l1": 1, "l4": 4}}]}
    (axes,) = conditions.draw(table, few).axes
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


# ---- rates


def test_every_value_of_the_varied_setting_has_its_mean_in_a_panel_for_each_data_set():
    table, theirs = swept(), known([("l4", "bp", 64, "test_error", 0.5)], lr=0.1)
    options = {"select": "mean", "titles": {"l15": "15 layers"}, "references": theirs}
    figure = rates.draw(table, options)
    assert [axes.get_title() for axes in figure.axes] == ["l1", "l4", "15 layers"]
    for axes, dataset in zip(figure.axes, DEPTHS, strict=True):
        assert axes.get_xscale() == "log"
        (line,) = lines_of(axes, "pc")
        assert list(line.get_xdata()) == list(RATES)
        runs = [mean_of(table, dataset=dataset, method="pc", lr=lr).mean() for lr in RATES]
        assert list(line.get_ydata()) == pytest.approx([100 * r for r in runs])
    dots = [ln for ln in figure.axes[1].lines if ln.get_label() == "published, read off the figure"]
    assert [(ln.get_xdata()[0], ln.get_ydata()[0]) for ln in dots] == [(0.1, 50)]
    assert {"learning rate", "mean test error [%]"} <= {*texts(figure).split(" | ")}


def test_a_short_axis_of_rates_has_plain_numbers():
    table = swept(datasets=("l1",), rates=(0.05, 0.1, 0.3))
    (axes,) = rates.draw(table, {"select": "lowest"}).axes
    ticks = [label.get_text() for label in axes.get_xticklabels(which="both") if label.get_text()]
    assert {"0.05", "0.1", "0.3"} <= {*ticks} and not [t for t in ticks if "10^" in t]
    assert axes.get_ylabel() == "lowest test error [%]"


def test_below_the_sweep_stand_the_courses_at_the_best_value():
    table = swept(datasets=("l4",))
    figure = rates.draw(table, {"select": "lowest", "curves": True})
    sweep, course = figure.axes
    assert course.get_xlabel() == "epoch, at the best learning rate"
    assert [axes.get_ylabel() for axes in figure.axes] == ["lowest test error [%]", "test error [%]"]
    for method, lr in (("bp", 0.1), ("pc", 0.01)):
        (line,) = lines_of(course, method)
        mine = table[(table["method"] == method) & (table["lr"] == lr)]
        assert list(line.get_ydata()) == pytest.approx(list(100 * mine.groupby("epoch")["value"].mean()))
    assert len(lines_of(sweep, "pc")[0].get_xdata()) == 3


def test_a_run_that_diverged_counts_from_then_on_in_sweeps_and_courses():
    table = swept(datasets=("l4",), seeds=2)
    gone = (table["method"] == "pc") & (table["lr"] == 0.01) & (table["seed"] == 1) & (table["epoch"] > 4)
    table.loc[gone & (table["epoch"] == 5), ["metric", "value"]] = ["diverged", 44.0]
    table = table[~(gone & (table["epoch"] == 6))]
    figure = rates.draw(table, {"select": "mean", "diverged": 1.0, "curves": True, "titles": {}})
    sweep, best = figure.axes
    mine = table[(table["method"] == "pc") & (table["lr"] == 0.01) & (table["metric"] == "test_error")]
    first, second = (mine[mine["seed"] == s]["value"] for s in (0, 1))
    expected = (first.mean() + (second.sum() + 2) / 6) / 2
    assert lines_of(sweep, "pc")[0].get_ydata()[0] == pytest.approx(100 * expected)
    (line,) = lines_of(best, "bp")
    assert np.isfinite(line.get_ydata()).all()
    alone = rates.draw(table[table["lr"] == 0.01], {"select": "mean", "diverged": 1.0, "curves": True})
    (line,) = lines_of(alone.axes[1], "pc")
    assert line.get_ydata()[-1] == pytest.approx(100 * (first.iloc[-1] + 1) / 2)
    without = rates.draw(table[table["lr"] == 0.01], {"select": "mean", "curves": True})
    (line,) = lines_of(without.axes[1], "pc")
    assert line.get_ydata()[-1] == pytest.approx(100 * first.iloc[-1])


# ---- courses


def test_a_method_whose_every_run_diverged_at_once_leaves_a_blank():
    table = swept({"l1": 1}, epochs=2)
    lost = table["method"] == "pc"
    table.loc[lost & (table["epoch"] == 1), ["metric", "value"]] = ["diverged", 3.0]
    figure = rates.draw(table[~lost | (table["epoch"] == 1)], {"select": "lowest", "curves": True})
    assert [len(lines_of(axes, "bp")) for axes in figure.axes] == [1, 1]
    assert not [line for axes in figure.axes for line in lines_of(axes, "pc") if len(line.get_xdata())]


def test_courses_are_means_at_the_chosen_point_with_a_line_style_for_each_metric():
    table = swept(datasets=("plain",), metrics=("task0_error", "task1_error", "test_error"))
    options = {
        "panels": [{"dataset": "plain", "metrics": ["task0_error", "task1_error"], "title": "t", "label": "error [%]"}],
        "select": "mean", "best": "lr", "first": 4, "last": 5,
        "references": known([("plain", "pc", 3, "task1_error", 0.7)]),
    }  # fmt: skip
    figure = courses.draw(table, options)
    (axes,) = figure.axes
    found = {ln.get_label(): ln for ln in axes.lines}
    assert len(found) == 5
    for method, lr in (("bp", 0.1), ("pc", 0.01)):
        for name, metric in (("test error, task 0", "task0_error"), ("test error, task 1", "task1_error")):
            line = found[f"{METHOD_STYLES[method].label}\n{name}"]
            mine = table[(table["method"] == method) & (table["lr"] == lr) & (table["metric"] == metric)]
            expected = 100 * mine[mine["epoch"] <= 5].groupby("epoch")["value"].mean()
            assert list(line.get_ydata()) == pytest.approx(list(expected))
    styles = {label.partition("\n")[2]: ln.get_linestyle() for label, ln in found.items() if "\n" in label}
    assert len(set(styles.values())) == 2
    theirs = found["published, read off the figure"]
    assert (theirs.get_xdata()[0], theirs.get_ydata()[0]) == (3, pytest.approx(70))
    assert "BP: learning rate 0.1; PC: learning rate 0.01" in texts(figure)
    assert {"test error, task 0", "test error, task 1", "68 % interval"} <= {*legend(figure)}
    panels = [{"dataset": "plain", "metrics": ["task0_error", "task1_error"]}]
    (axes,) = courses.draw(table, {"panels": panels, "best": "lr"}).axes
    assert axes.get_ylabel() == "test error, task 0 [%]\ntest error, task 1 [%]"


def test_an_epoch_may_hold_several_of_what_the_axis_counts():
    table = swept(datasets=("plain",))
    options = {"panels": [{"dataset": "plain"}], "best": "lr", "highest": True, "axis": "episode", "per_epoch": 100}
    (axes,) = courses.draw(table, options | {"references": known([("plain", "pc", 3, "test_error", 0.7)])}).axes
    (line,) = lines_of(axes, "bp")
    last = table[(table["epoch"] == table["epoch"].max()) & (table["method"] == "bp")]
    means = last.groupby("lr")["value"].mean()
    assert list(line.get_xdata()) == [100.0 * e for e in range(1, int(table["epoch"].max()) + 1)]
    assert line.get_ydata()[-1] == pytest.approx(100 * means.max())
    assert axes.get_xlabel() == "episode"
    assert [ln.get_xdata()[0] for ln in axes.lines if ln.get_label() == "published, read off the figure"] == [300]


def test_norms_may_be_summed_over_layers():
    rows = [
        ("plain", "bp", s, e, "weight_norm", layer, s + e + 10.0 * int(layer))
        for s in range(3)
        for e in range(4)
        for layer in "12"
    ]
    table = pd.concat([tidy(rows), tidy([("plain", "bp", 0, 1, "test_error", "", 0.5)])])
    panels = [{"dataset": "plain", "metrics": ["weight_norm"], "total": True, "label": "sum of norms"}]
    (axes,) = courses.draw(table, {"panels": panels}).axes
    (line,) = lines_of(axes, "bp")
    assert list(line.get_ydata()) == pytest.approx([2 * (1 + e) + 30 for e in (1, 2, 3)])
    assert axes.get_ylabel() == "sum of norms"


def test_panels_of_what_was_not_run_are_left_out():
    panels = [{"dataset": "plain"}, {"dataset": "l4"}]
    assert len(courses.draw(swept(), {"panels": panels, "where": {"lr": 0.1}}).axes) == 1
    with pytest.raises(ConfigError, match="no panel was run, only l1, l15, l4"):
        courses.draw(swept(), {"panels": panels[:1], "where": {"lr": 0.1}})
    with pytest.raises(ConfigError, match="several values of lr"):
        courses.draw(swept(), {"panels": panels})


# ---- layers and paths


def test_every_run_is_a_point_at_its_layer():
    rows = [
        ("net", m, s, 1, "prospective_index", layer, 0.9 + 0.01 * s + 0.001 * int(layer))
        for m in ("pc", "pc-settled")
        for s in range(5)
        for layer in "123"
    ]
    theirs = tidy([("net", "pc", s, 0, "prospective_index", "2", 0.95) for s in range(2)])
    figure = by_layer.draw(tidy(rows), {"references": theirs, "known": "official run"})
    (axes,) = figure.axes
    points = {}
    for dots in axes.collections:
        points.setdefault(dots.get_label(), []).extend(map(tuple, dots.get_offsets()))
    assert {label: len(p) for label, p in points.items()} == {"PC": 15, "PC (settled)": 15}
    assert sorted(y for x, y in points["PC"] if round(x) == 1) == pytest.approx([0.902, 0.912, 0.922, 0.932, 0.942])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "3"]
    assert legend(figure) == ["PC", "PC (settled)", "official run"]
    with pytest.raises(ConfigError, match="no prospective_index was recorded"):
        by_layer.draw(tidy([("net", "pc", 0, 1, "test_error", "", 0.1)]), {})


def test_paths_have_half_a_standard_error_in_both_directions():
    rng, rows = np.random.default_rng(7), []
    for method in ("bp", "pc"):
        for lr in (0.1, 0.2):
            for seed in range(4):
                for metric in ("path_length", "final_length"):
                    rows.append((lr, ("net", method, seed, 1, metric, "", rng.uniform(1, 2) * lr)))
    table = tidy([row for _, row in rows]).assign(lr=[lr for lr, _ in rows])
    theirs = pd.concat(
        [known([("net", "pc", 1, m, v)], lr=0.1) for m, v in (("path_length", 5.0), ("final_length", 2.0))]
    )
    figure = paths.draw(table, {"references": theirs})
    (axes,) = figure.axes
    mine = table[(table["method"] == "pc") & (table["lr"] == 0.2)].pivot(index="seed", columns="metric", values="value")
    line = max(lines_of(axes, "pc"), key=lambda ln: ln.get_markersize())
    place = float(line.get_xdata()[0]), float(line.get_ydata()[0])
    assert place == pytest.approx((mine["final_length"].mean(), mine["path_length"].mean()))
    halves = {"final_length": [], "path_length": []}
    for c in axes.collections:
        for segment in c.get_segments():
            middle = segment.mean(0)
            if middle == pytest.approx(place):
                halves["final_length" if np.ptp(segment[:, 0]) else "path_length"].append(np.ptp(segment) / 2)
                extent = np.ptp(segment, axis=0).max()
                metric = "final_length" if np.ptp(segment[:, 0]) > 0 else "path_length"
                assert extent == pytest.approx(mine[metric].std(ddof=1) / np.sqrt(4))
    assert all(len(found) == 1 for found in halves.values())
    (dot,) = [ln for ln in axes.lines if ln.get_label() == "published, read off the figure"]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (2.0, 5.0)
    assert {"half a standard error", "largest learning rate", "smallest learning rate"} <= {*legend(figure)}
    empty = tidy([("net", "pc", 0, 1, "test_error", "", 0.1)]).assign(lr=0.1)
    with pytest.raises(ConfigError, match="final_length"):
        paths.draw(empty, {})


# ---- planes


def followed(rates=(0.1, 0.4), updates=6, seeds=2):
    """Outputs that go from (1, 1) to (0, 1), the second with a dip, and seeds that differ."""
    rows = []
    for lr in rates:
        for method in ("bp", "pc"):
            for seed in range(seeds):
                for epoch in range(1, updates + 1):
                    at = (1 - lr) ** (epoch - 1)
                    for layer, value in (("1", at + 0.01 * seed), ("2", 1 - (0.5 if method == "bp" else 0.1) * at)):
                        rows.append((lr, ("example", method, seed, epoch, "prediction", layer, value)))
    return tidy([row for _, row in rows]).assign(lr=[lr for lr, _ in rows])


PLANE = {"panels": [{"dataset": "example", "labels": ["first", "second"]}]}


def test_the_path_of_two_outputs_is_drawn_update_by_update_as_mean_over_runs():
    table = followed(rates=(0.4,))
    theirs = known([("example", "pc", 2, "prediction", 0.5)] * 2).assign(layer=["1", "2"])
    figure = plane.draw(table, {**PLANE, "last": 4, "references": theirs})
    axes, bar = figure.axes
    for method, dip in (("bp", 0.5), ("pc", 0.1)):
        (line,) = lines_of(axes, method)
        at = 0.6 ** np.arange(4)
        assert list(line.get_xdata()) == pytest.approx(list(at + 0.005))
        assert list(line.get_ydata()) == pytest.approx(list(1 - dip * at))
    first, second = (c for c in axes.collections if len(c.get_offsets()) == 4)
    assert np.array_equal(first.get_facecolors(), second.get_facecolors()), "the colour tells the iteration"
    assert len({tuple(colour) for colour in first.get_facecolors()}) == 4
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("first", "second", "iteration")
    (dot,) = [ln for ln in axes.lines if ln.get_label() == "published, read off the figure"]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (0.5, 0.5)
    assert legend(figure) == ["BP", "PC", "published, read off the figure"]


def test_a_varied_setting_may_be_what_colours_tell():
    figure = plane.draw(followed(), {**PLANE, "by": "lr"})
    axes, bar = figure.axes
    assert len(lines_of(axes, "pc")) == 2
    assert bar.get_ylabel() == "learning rate"
    shades = [{tuple(c) for c in dots.get_facecolors()} for dots in axes.collections]
    assert [len(s) for s in shades] == [1] * 4
    assert len(set.union(*shades)) == 2
    with pytest.raises(ConfigError, match="several values of lr"):
        plane.draw(followed(), PLANE)


def test_level_sets_of_the_loss_lie_around_the_target():
    panel = {**PLANE["panels"][0], "levels": [0.02, 0.08], "target": [1.0, 1.0], "gains": [1.0, 2.0]}
    options = {"panels": [panel], "where": {"lr": 0.1}, "x_limits": [0.0, 2.0], "y_limits": [0.0, 1.0]}
    figure = plane.draw(followed(), options)
    axes = figure.axes[0]
    (sets,) = [c for c in axes.collections if c.get_label() == "level sets of the loss"]
    x, y = np.concatenate([path.vertices for path in sets.get_paths()]).T
    loss = 0.5 * (x - 1) ** 2 + 0.5 * (2 * y - 1) ** 2
    assert sorted({round(value, 2) for value in loss}) == [0.02, 0.08]
    assert any(list(ln.get_xdata()) == [1.0] and list(ln.get_ydata()) == [0.5] for ln in axes.lines)
    assert "level sets of the loss" in legend(figure)
    with pytest.raises(ConfigError, match="plane: no panel was run, only example"):
        plane.draw(followed(), {"panels": [{"dataset": "other", "labels": ["a", "b"]}], "where": {"lr": 0.1}})


# ---- fits

FITTED = {
    "groups": [{"name": "N", "metric": "noise"}, {"name": "L", "metric": "light"}, {"name": "B", "metric": "both"}],
    "conditions": {"all": "*"}, "offset": True,
}  # fmt: skip


def series_of(axes, label):
    return [line for line in axes.lines if label in line.get_label().split("\n")]


def test_runs_at_the_best_point_are_drawn_scaled_beside_what_was_measured():
    table, aims = fitted_runs(), measured_values()
    options = {"fit": FITTED, "references": aims, "label": "fear", "data": "animals"}
    figure = fitted.draw(table, options)
    bp, pc, theirs = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["BP", "PC", "animals"] and bp.get_ylabel() == "fear"
    one = next(f for f in fits(table, aims, fitting(options)) if f.method == "pc")
    strips = series_of(pc, "PC")
    assert len(strips) == 3
    for strip, (group, values) in zip(strips, one.values.items(), strict=True):
        assert sorted(strip.get_ydata()) == pytest.approx(sorted(values))
        dash = [ln for ln in pc.lines if ln.get_marker() == "_" and abs(ln.get_xdata()[0] - strips.index(strip)) < 0.4]
        assert dash[0].get_ydata() == pytest.approx([values.mean()])
        assert sorted(series_of(theirs, "animals")[strips.index(strip)].get_ydata()) == sorted(one.data[group])
    assert [t.get_text() for t in pc.get_xticklabels()] == ["N", "L", "B"]
    levels = [c.get_segments()[0][0][1] for c in pc.collections if c.get_label() == "mean of animals"]
    assert levels == pytest.approx([v.mean() for v in one.data.values()])
    assert not series_of(pc, "animals") and {"BP", "PC", "animals", "mean of animals"} <= set(legend(figure))
    assert "published, read off the figure" not in legend(figure)


def test_several_conditions_have_a_panel_each_and_published_means_are_drawn_in():
    table, aims = fitted_runs(datasets=("std_0_1", "std_2")), measured_values()
    read_off = known([("std_2", "pc", 1, "L", 2.25)])
    fit = {**FITTED, "conditions": {"std_0_1": "std_0_1", "std_2": "std_2"}}
    figure = fitted.draw(table, {"fit": fit, "references": pd.concat([aims, read_off]), "titles": {"std_2": "wide"}})
    assert [axes.get_title() for axes in figure.axes] == ["std 0.1", "wide"]
    for axes in figure.axes:
        assert len(series_of(axes, "BP")) == len(series_of(axes, "PC")) == len(series_of(axes, "measured")) == 3
    first, second = (series_of(axes, "published, read off the figure") for axes in figure.axes)
    assert not first and [line.get_ydata()[0] for line in second] == [2.25]
    assert "published, read off the figure" in legend(figure)


def test_a_fit_without_runs_draws_nothing():
    with pytest.raises(NothingLeft, match="fitted: nothing to draw"):
        fitted.draw(fitted_runs(), {"fit": FITTED, "references": measured_values(), "where": {"method": "fa"}})
