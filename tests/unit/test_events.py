"""Events pooled over runs, their fit to measured means, and the figures of reversal learning."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from credit.analysis.bootstrap import bootstrap_interval
from credit.analysis.events import events, fit
from credit.analysis.pooling import pooling
from credit.analysis.readable import matrix
from credit.analysis.summaries import summarise
from credit.analysis.tables import mean_ci, read_table
from credit.config.files import read_yaml
from credit.errors import ConfigError, NothingLeft
from credit.figures.looks import METHOD_STYLES
from credit.figures.pc import events as event_figure
from credit.figures.pc import inference, traces
from tests.conftest import REPOSITORY
from tests.unit.small_checkout import Checkout
from tests.unit.test_figures import legend, tidy

DATA = {"punished_stay": 0.1, "punished_switch": -0.1, "next_stay": -0.2, "next_switch": 0.05}
RISES = {"rise_stay": ["punished_stay", "next_stay"], "rise_switch": ["punished_switch", "next_switch"]}
SETTINGS = {"after": 4, "data": DATA, "rises": RISES}
PUBLISHED = REPOSITORY / "config" / "published" / "curves"


def recorded(methods=("bp", "pc"), seeds=5, epochs=40, offset=0.0):
    """Values at and after punishments: in every trial one of the two kinds of event, or none."""
    rng, rows = np.random.default_rng(2), []
    for method, seed, epoch in itertools.product(methods, range(seeds), range(1, epochs + 1)):
        kind = rng.choice(["stay", "switch", "none"])
        for how in ("stay", "switch"):
            for at in ("punished", "next"):
                value = rng.normal(DATA[f"{at}_{how}"] / 10 + offset + 0.01 * seed, 0.01) if how == kind else np.nan
                rows.append(("reversal", method, seed, epoch, f"{at}_{how}", "", value))
        rows.append(("reversal", method, seed, epoch, "reward", "", 1.0))
    return tidy(rows)


def of(table, method, metric, after=4):
    mine = table[(table["method"] == method) & (table["metric"] == metric) & (table["epoch"] > after)]
    return mine.dropna(subset="value")


# ---- the fit


@pytest.mark.parametrize(
    ("method", "dataset", "scale", "offset", "found"),
    [("pc", "reversal", [5.0, 5.19, 0.01], [-0.4, -0.21, 0.01], (5.06, -0.3)),
     ("bp", "reversal_40", [30.0, 33.9, 0.1], [-0.5, -0.31, 0.01], (33.3, -0.41))],
)  # fmt: skip
def test_the_published_grids_give_the_published_constants(method, dataset, scale, offset, found):
    """From the means of the released code, which the figure shows beside ours, and those measured in people."""
    table = read_table(PUBLISHED / "pc_fig6c.csv")
    body = read_yaml(REPOSITORY / "config/experiments/pc/reversal.yaml")
    settings = pooling(body["tables"]["fig6c"]["options"])
    measured = table[table["method"] == "data"].set_index("metric")["value"]
    assert measured.to_dict() == settings.data
    given = pooling({"events": {**SETTINGS, "grids": {method: {"scale": scale, "offset": offset}}}})
    assert settings.grids[method] == given.grids[method]
    theirs = table[(table["method"] == method) & (table["dataset"] == dataset)].set_index("metric")["value"]
    data = np.array([*settings.data.values()])
    best = fit(theirs[list(settings.data)].to_numpy(), data, settings.grids[method])
    drawn = body["figures"]["fig6c"]["options"]["scales"][method]
    assert (float(best.scale), float(best.offset)) == found == tuple(drawn)
    free = fit(theirs[list(settings.data)].to_numpy(), data)
    assert float(free.error) < float(best.error) < 1.01 * float(free.error)


def test_a_fit_is_that_of_numpy_and_no_scale_is_negative():
    rng = np.random.default_rng(0)
    means, data = rng.normal(size=(50, 4)), rng.normal(size=4)
    found = fit(means, data)
    for m, scale, offset, error in zip(means, *found, strict=True):
        solution, rest, *_ = np.linalg.lstsq(np.stack([m, np.ones(4)], 1), data, rcond=None)
        if solution[0] > 0:
            assert (scale, offset, error) == pytest.approx((*solution, rest[0]), rel=1e-9)
        else:
            assert (scale, offset) == (0, pytest.approx(data.mean()))
            assert error == pytest.approx(((data - data.mean()) ** 2).sum())
    assert (found.scale == 0).any() and (found.scale > 0).any()
    assert fit(np.full(4, 0.3), data).scale == 0


def test_the_best_point_of_a_grid_is_found_by_trying_all():
    rng = np.random.default_rng(1)
    means, data = rng.normal(size=(3, 2, 4)), rng.normal(size=4)
    grid = [0.5, 1.0, 1.5], [-0.2, 0.0, 0.2, 0.4]
    found = fit(means, data, grid)
    for place in np.ndindex(3, 2):
        tried = {(k, b): float(((k * means[place] + b - data) ** 2).sum()) for k in grid[0] for b in grid[1]}
        best = min(tried, key=tried.get)
        assert (found.scale[place], found.offset[place]) == best
        assert found.error[place] == pytest.approx(tried[best])


# ---- tables


def test_every_event_counts_by_itself_whichever_run_it_is_of():
    table = recorded()
    summary = summarise(table, "pc/fig", {"events": SETTINGS}).set_index(["method", "metric"])
    for method in ("bp", "pc"):
        for metric in DATA:
            row, mean = summary.loc[method, metric], mean_ci(of(table, method, metric)["value"])
            assert (row["mean"], row["sd"], row["n"], row["ci_low"], row["ci_high"]) == pytest.approx(mean)
            assert row["runs"] == 5 and row["se"] > 0, "events of a run depend on each other: its error is over runs"
        for name, (a, b) in RISES.items():
            difference = summary.loc[(method, b), "mean"] - summary.loc[(method, a), "mean"]
            assert summary.loc[(method, name), "mean"] == pytest.approx(difference)
            assert summary.loc[(method, name), "n"] == 5
        scale, offset = (summary.loc[(method, f"fit_{name}"), "mean"] for name in ("scale", "offset"))
        assert scale > 5
        for metric in DATA:
            expected = scale * summary.loc[(method, metric), "mean"] + offset
            assert summary.loc[(method, f"fitted_{metric}"), "mean"] == pytest.approx(expected)
    assert set(summary["select"]) == {"events"} and set(summary["epochs"]) == {40}
    text = matrix(summary.reset_index(), "Title", {"events": SETTINGS, "rows": "metric", "columns": "method"}, {})
    assert "value at punishment, stay" in text and "number of events, pooled over runs" in text


def test_the_spread_of_a_rise_is_that_over_runs_and_not_over_events():
    """Runs differ by 0.01 each, which events of one run share: in a difference that cancels, in a mean it does not."""
    table = recorded(methods=("pc",), seeds=40, epochs=60)
    summary = summarise(table, "pc/fig", {"events": SETTINGS}).set_index("metric")
    wide = events(table, pooling({"events": SETTINGS}))
    rise = (wide["next_stay"] - wide["punished_stay"]).dropna()
    assert summary.loc["rise_stay", "sd"] == pytest.approx(rise.std() / len(rise) ** 0.5, rel=0.25)
    assert summary.loc["fitted_next_stay", "sd"] > 3 * summary.loc["fit_scale", "mean"] * 0.01 / len(rise) ** 0.5


@pytest.mark.parametrize("grids", [{}, {"pc": {"scale": [1, 5, 1], "offset": [-1, 1, 0.5]}}], ids=["free", "grid"])
def test_a_single_run_has_a_fit_without_spread(grids):
    settings = {"events": {**SETTINGS, "grids": grids}}
    row = summarise(recorded(methods=("pc",), seeds=1), "pc/fig", settings).set_index("metric").loc["fit_error"]
    assert np.isfinite(row["mean"]) and row["n"] == 1 and np.isnan([row["sd"], row["ci_low"], row["ci_high"]]).all()


def test_runs_that_diverged_have_no_events_and_are_counted():
    table = recorded()
    lost = tidy([("reversal", "pc", 3, 20, "diverged", "", 20.0)])
    summary = summarise(pd.concat([table, lost]), "pc/fig", {"events": SETTINGS}).set_index(["method", "metric"])
    kept = table[(table["seed"] != 3) | (table["method"] != "pc")]
    assert summary.loc[("pc", "next_stay"), "n"] == len(of(kept, "pc", "next_stay"))
    assert summary.loc[("pc", "next_stay"), "diverged"] == 1 and summary.loc[("bp", "next_stay"), "diverged"] == 0


def test_a_method_without_events_of_some_group_has_no_fit():
    table = recorded()
    some = table[(table["method"] == "bp") | ~table["metric"].str.endswith("_switch")]
    summary = summarise(some, "pc/fig", {"events": SETTINGS})
    assert set(summary.loc[summary["method"] == "pc", "metric"]) == set(DATA)
    assert "fit_error" in set(summary.loc[summary["method"] == "bp", "metric"])
    with pytest.raises(NothingLeft, match=r"no run recorded .* after epoch 400"):
        events(table, pooling({"events": {**SETTINGS, "after": 400}}))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"befor": 3}, r"here.events: key = 'befor'"),
        ({"data": {"a": 1.0, "b": 2.0}}, r"here.events.data = .*; must be numbers by metric, at least 3"),
        ({"data": None}, r"here.events.data = None; must be numbers"),
        ({"after": -1}, r"here.events.after = -1; must be an integer >= 0"),
        ({"grids": {"pc": {"scale": [1, 2, 1]}}}, r"here.events.grids.pc = .*; must hold scale and offset"),
        ({"grids": {"pc": {"scale": [1, 2, 0], "offset": [0, 1, 1]}}}, r"grids.pc.scale = .*; last must be some steps"),
        (
            {"grids": {"pc": {"scale": [1, 2], "offset": [0, 1, 1]}}},
            r"grids.pc.scale = .*; must be \[first, last, step\]",
        ),
        ({"grids": [1]}, r"here.events.grids = \[1\]; must be a mapping from names"),
        ({"rises": [1]}, r"here.events.rises = \[1\]; must be a mapping from names"),
        (
            {"grids": {"pc": {"scale": [1, float("inf"), 1], "offset": [0, 1, 1]}}},
            r"grids.pc.scale = .*; must be \[first, last, step\]",
        ),
        ({"data": {**DATA, "next_stay": float("nan")}}, r"here.events.data = .*; must be numbers by metric"),
        ({"rises": {"rise": ["next_stay", ["next_stay"]]}}, r"here.events.rises.rise = .*; must be two of: punished"),
        ({"rises": {"rise": ["next_stay"]}}, r"here.events.rises.rise = .*; must be two of: punished_stay, "),
    ],
)
def test_what_is_wrong_with_the_settings_of_events_is_said_by_name(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        pooling({"events": {**SETTINGS, **settings}}, "here")


def test_what_are_no_events_at_all_is_named():
    with pytest.raises(ConfigError, match=r"here.events = 3; must hold data, and may hold after, grids and rises"):
        pooling({"events": 3}, "here")


def of_events(where="tables", **settings):
    """An experiment with a table, or a figure, of events."""
    body = {
        "title": "toy", "net": {"kind": "dense", "hidden_sizes": [1], "loss": "mse"}, "task": {"name": "reversal"},
        "train": {"epochs": 9, "optimizer": {"lr": 0.1}, "evaluate": {"splits": ["trials"]}}, "seeds": 2,
        "datasets": {"here": {}}, "methods": {"bp": {}},
    }  # fmt: skip
    options = {"events": {**SETTINGS, **settings}}
    if where == "figures":
        panels, lines = [{"dataset": "here", "method": "bp"}], {"stay": ["punished_stay", "next_stay"]}
        options |= {"panels": panels, "places": ["then", "now"], "lines": lines}
        return {**body, "figures": {"fig": {"module": "credit.figures.pc.events", "options": options}}}
    return {**body, "tables": {"fig": {"options": options}}}


@pytest.mark.parametrize("where", ["tables", "figures"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"data": {**DATA, "next_sty": 0.1}}, r"events.data: metric = 'next_sty'.*next_stay"),
        ({"grids": {"pcc": {"scale": [1, 2, 1], "offset": [0, 1, 1]}}}, r"events.grids: method = 'pcc'"),
        ({"after": 9}, r"events.after = 9; leaves nothing, no run has more than 9 epochs"),
    ],
)
def test_events_that_no_run_will_record_are_refused_before_any_job(tmp_path, where, settings, expected):
    checkout = Checkout(tmp_path, {"toy/fit": of_events(where, **settings)})
    if expected is None:
        assert checkout.workflow()
        return
    with pytest.raises(ConfigError, match=expected):
        checkout.workflow()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"lines": {"stay": ["punished_stay", "next_sty"]}},
            r"lines.stay: metric = 'next_sty' \(did you mean 'next_s",
        ),
        ({"lines": {"stay": ["punished_stay"]}}, r"lines.stay = .*; must be a list of 2, as many as places"),
        ({"lines": {"stay": 3}}, r"lines.stay = 3; must be a list of 2, as many as places"),
        ({"scales": {"bp": [2.0]}}, r"scales.bp = \[2.0\]; must be a list of 2"),
        ({"scales": {"bpp": [2.0, 0.0]}}, r"options.scales: method = 'bpp' \(did you mean 'bp'\?\)"),
    ],
)
def test_what_a_figure_of_events_cannot_draw_is_refused_before_any_job(tmp_path, options, expected):
    body = of_events("figures")
    body["figures"]["fig"]["options"] |= options
    with pytest.raises(ConfigError, match=expected):
        Checkout(tmp_path, {"toy/fit": body}).workflow()


# ---- figures

PANELS = [{"dataset": "reversal", "method": m} for m in ("bp", "pc", "dfa")]
OPTIONS = {
    "events": SETTINGS, "panels": PANELS, "places": ["at punishment", "next trial"],
    "lines": {"stay": ["punished_stay", "next_stay"], "switch": ["punished_switch", "next_switch"]},
}  # fmt: skip


def drawn(axes, method):
    colour = to_rgb(METHOD_STYLES[method].colour)
    return [ln for ln in axes.lines if to_rgb(ln.get_color()) == colour and len(ln.get_xdata()) == 2]


def test_means_over_events_are_drawn_with_their_intervals_and_scaled():
    table, scales = recorded(), {"pc": [5.0, -0.3]}
    figure = event_figure.draw(table, {**OPTIONS, "scales": scales, "measured": "people"})
    assert [axes.get_title() for axes in figure.axes] == ["BP", "PC", "people"], "no panel of what was not run"
    for axes, method, (k, b) in zip(figure.axes, ("bp", "pc"), ((1.0, 0.0), (5.0, -0.3)), strict=False):
        lines = [ln for ln in drawn(axes, method) if ln.get_linestyle() != "None"]
        for line, metrics in zip(lines, OPTIONS["lines"].values(), strict=True):
            values = [k * of(table, method, m)["value"].to_numpy() + b for m in metrics]
            assert list(line.get_ydata()) == pytest.approx([v.mean() for v in values])
            ends = [tuple(map(float, bootstrap_interval(v))) for v in values]
            segments = [s for c in axes.collections for s in c.get_segments()]
            found = {(round(s[:, 1].min(), 9), round(s[:, 1].max(), 9)) for s in segments}
            assert {(round(low, 9), round(high, 9)) for low, high in ends} <= found
    grey = [list(line.get_ydata()) for line in figure.axes[2].lines]
    assert grey == [[DATA[m] for m in metrics] for metrics in OPTIONS["lines"].values()]
    assert legend(figure) == ["BP", "PC", "stay", "switch", "people", "68 % interval"]


def test_published_means_of_events_are_scaled_as_ours_are():
    theirs = tidy([("reversal", "pc", 0, 40, "next_stay", "", 0.04), ("other", "pc", 0, 40, "next_stay", "", 9.0)])
    figure = event_figure.draw(recorded(), {**OPTIONS, "references": theirs, "scales": {"pc": [5.0, -0.3]}})
    dots = [ln for axes in figure.axes for ln in axes.lines if ln.get_label() == "published, read off the figure"]
    assert [(list(ln.get_xdata()), list(ln.get_ydata())) for ln in dots] == [([1], [pytest.approx(-0.1)])]
    with pytest.raises(NothingLeft, match="no panel was run, only reversal"):
        event_figure.draw(recorded(), {**OPTIONS, "panels": PANELS[2:]})


def test_every_run_has_a_line_of_its_own_and_a_varied_setting_a_style():
    rows = [
        (lr, ("d", m, s, e, "weight_1_1", layer, lr * s + e))
        for lr, m, s, e, layer in itertools.product((0.1, 0.01), ("bp", "pc"), range(4), range(6), ("1", "2"))
    ]
    table = tidy([row for _, row in rows]).assign(lr=[lr for lr, _ in rows])
    panels = [
        {"dataset": "d", "method": "pc", "metrics": ["weight_1_1"], "layers": ["2"], "label": "w", "title": "PC"},
        {"dataset": "d", "metrics": ["weight_1_1"], "layers": ["1"], "label": "w"},
    ]
    theirs = tidy([("d", "bp", 0, e, "weight_1_1", "1", 7.0) for e in (2, 3)]).assign(lr=0.1)
    figure = traces.draw(table, {"panels": panels, "by": "lr", "every": 2, "references": theirs})
    one, both = figure.axes
    assert (len(one.lines), len(both.lines)) == (8, 17)
    ends = [lr * s + 5 for lr in (0.1, 0.01) for s in range(4)]
    assert sorted(ln.get_ydata()[-1] for ln in one.lines) == pytest.approx(sorted(ends))
    assert len({str(ln.get_linestyle()) for ln in one.lines}) == 2
    assert {ln.get_linewidth() for ln in one.lines} == {0.5}
    (dots,) = (ln for ln in both.lines if ln.get_label() == "published, read off the figure")
    assert list(dots.get_xdata()) == [2]
    expected = ["BP", "PC", "learning rate 0.1", "learning rate 0.01", "published, read off the figure"]
    assert legend(figure) == expected
    with pytest.raises(NothingLeft, match="no panel was run, only d"):
        traces.draw(table, {"panels": [{**panels[0], "metrics": ["weight_2_1"]}], "by": "lr"})


def test_the_course_of_inference_is_drawn_for_the_chosen_updates():
    rows = [
        ("d", "pc", s, e, "node_1_1", f"t{t}", s + e + t / 10) for s in (0, 1) for e in (1, 2, 3) for t in range(12)
    ]
    theirs = tidy([("d", "pc", 0, 3, "node_1_1", f"t{t}", 9.0) for t in range(12)])
    figure = inference.draw(tidy(rows), {"epochs": (1, 3), "references": theirs, "every": 5})
    (axes,) = figure.axes
    first, last, dots = axes.lines
    assert list(first.get_xdata()) == list(range(12))
    assert list(last.get_ydata()) == pytest.approx([3.5 + t / 10 for t in range(12)])
    assert list(dots.get_xdata()) == [0, 5, 10]
    assert legend(figure) == ["PC", "update 1", "update 3", "published, read off the figure"]
    with pytest.raises(NothingLeft, match="no run recorded node_1_1 in the epochs 7"):
        inference.draw(tidy(rows), {"epochs": (7,)})
