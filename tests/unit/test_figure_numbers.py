"""The numbers beside a figure are those that it shows: every point of every line, band, bar and interval.

Figures are drawn from the made-up tables of the tests of the figures themselves.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import credit.figures
from credit.errors import NothingLeft
from credit.figures import style
from credit.figures.cross.fig1 import BEYOND
from credit.figures.numbers import COLUMNS, NOTE, belongs, numbers, tell
from tests.unit import test_di_figures as di
from tests.unit import test_events as reversal
from tests.unit import test_figures as cross
from tests.unit import test_figures_dfc as dfc
from tests.unit import test_figures_dtp as dtp
from tests.unit import test_figures_pc as pc
from tests.unit import test_figures_pepita as pepita


def cloud():
    rng = np.random.default_rng(4)
    names = [f"random.{k}" for k in range(30)] + [f"damped.{k}" for k in range(4)] + ["pseudoinverse", "transpose"]
    return cross.tidy([("teacher", "mn", 0, 0, f"pc{c}", name, rng.normal()) for name in names for c in (1, 2)])


def lengths():
    rng, rows = np.random.default_rng(7), []
    for lr in (0.1, 0.2):
        for seed in range(4):
            for metric in ("path_length", "final_length"):
                rows.append((lr, ("net", "pc", seed, 1, metric, "", rng.uniform(1, 2) * lr)))
    return cross.tidy([row for _, row in rows]).assign(lr=[lr for lr, _ in rows])


def indices():
    rows = [("net", "pc", s, 1, "prospective_index", layer, 0.9 + 0.01 * s) for s in range(5) for layer in "123"]
    return cross.tidy(rows)


def traced():
    return cross.tidy([("net", "pc", s, e, "weight_norm", "1", 1.0 + s + 0.1 * e) for s in range(4) for e in range(3)])


def inferred():
    return cross.tidy([("net", "pc", s, 2, "node_1_1", f"t{t}", 0.1 * t + s) for s in range(3) for t in range(4)])


DIVERGED = cross.diverging(cross.images(("mnist",)), "fa", [1, 3], 2)
LINEAR = di.regression(["plain", "normalized"], di.LINEAR, ["1"])
THEIRS = {
    "linear": LINEAR[LINEAR["seed"] == 0],
    "pc": pc.known([("l4", "pc", 64, "test_error", 0.4)]),
    "angle": dtp.references([("cifar10", "ldrl", 100, "angle_weights", "4", 49.0)]),
    "update": dtp.references([("cifar10", "ldrl", 100, "angle_bp", "1", 20.0)]),
}
CASES = {
    "cross.fig1": (DIVERGED, {}),
    "cross.fig1 costs": (cross.images(), {"beside": "train_loss"}),
    "cross.fig2": (DIVERGED, {}),
    "cross.fig3": (cross.teacher(), {"window": 2}),
    "dfc.fig1d": (dfc.course(), {}),
    "dfc.fig2": (cloud(), {}),
    "dfc.panels": (dfc.measured(), {"panels": [{"metric": "angle_mn", "line": 90.0}], "rules": dfc.RULES}),
    "dfc.feedback_learning": (dfc.swept(), {}),
    "dfc.feedback_learning by": (dfc.swept("feedback_alpha"), {"by": "feedback_alpha", "damping": 5}),
    "di.fig3a": (LINEAR, {"rules": di.RULES, "references": THEIRS["linear"]}),
    "di.fig3g": (di.regression(["net"], di.NONLINEAR, ["1", "2"]), {"rules": di.RULES}),
    "di.fig4a": (di.training("test_error", ["mnist"]), {"rules": di.RULES}),
    "di.fig4b": (di.training("test_mse", ["normal", "orthogonal"]), {"rules": di.RULES}),
    "dtp.fig42": (dtp.learning(), {"iterations": 20, "rules": dtp.RULES, "references": THEIRS["angle"]}),
    "dtp.fig43": (dtp.updates(), {"schemes": dtp.SCHEMES, "rules": dtp.RULES, "references": THEIRS["update"]}),
    "dtp.theorem": (dtp.sweep(), {"nets": dtp.NETS, "rules": dtp.RULES}),
    "pc.by_layer": (indices(), {"references": indices().query("seed < 2")}),
    "pc.conditions": (pc.swept(), {**pc.BEST, "references": THEIRS["pc"]}),
    "pc.conditions dots": (pc.swept(rates=(0.1,)), {"panels": pc.PANELS, "label": "layers", "dots": True}),
    "pc.courses": (pc.swept(), {"panels": [{"dataset": "l4"}], "best": "lr"}),
    "pc.events": (reversal.recorded(), {**reversal.OPTIONS, "scales": {"pc": [5.0, -0.3]}}),
    "pc.fitted": (pc.fitted_runs(), {"fit": pc.FITTED, "references": pc.measured_values()}),
    "pc.inference": (inferred(), {"epochs": [2]}),
    "pc.paths": (lengths(), {}),
    "pc.plane": (pc.followed((0.4,)), {"panels": [{**pc.PLANE["panels"][0], "levels": [0.1, 0.3]}]}),
    "pc.plane by": (pc.followed(), {**pc.PLANE, "by": "lr"}),
    "pc.rates": (pc.swept(), {"select": "lowest", "curves": True}),
    "pc.traces": (
        traced(),
        {"panels": [{"dataset": "net", "label": "norm", "metrics": ["weight_norm"], "layers": ["1"]}]},
    ),
    "pepita.alignment": (pepita.measured(), {}),
    "pepita.curves": (pepita.both(), {"points": 4}),
}  # fmt: skip


def drawing(case):
    table, options = CASES[case]
    return importlib.import_module(f"credit.figures.{case.split()[0]}").draw(table, options)


def held(rows: pd.DataFrame) -> set[tuple[float, float]]:
    """All points that rows speak of: the middle, and the ends of bands and bars."""
    pairs = [("x", "y"), ("x", "lower"), ("x", "upper"), ("x_lower", "y"), ("x_upper", "y")]
    return {point for pair in pairs for point in rounded(rows[[*pair]].astype(float).to_numpy())}


def rounded(points) -> set[tuple[float, float]]:
    points = np.asarray(points, float).reshape(-1, 2)
    return {(float(f"{x:.8g}"), float(f"{y:.8g}")) for x, y in points if np.isfinite([x, y]).all()}


def in_sight(figure: Figure):
    """(axes, points) of everything that matplotlib holds in the coordinates of the data."""
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            continue
        for line in axes.lines:
            if line.get_transform() == axes.transData and line.get_label() != BEYOND:
                yield axes, line.get_xydata()
        for collection in axes.collections:
            if isinstance(collection, PathCollection):
                yield axes, collection.get_offsets()
            elif isinstance(collection, LineCollection):
                yield axes, np.concatenate(collection.get_segments())
            elif isinstance(collection, PolyCollection):
                yield axes, np.concatenate([path.vertices for path in collection.get_paths()])
        for bar in axes.patches:
            assert isinstance(bar, Rectangle)
            holder = next(c for c in axes.containers if bar in getattr(c, "patches", ()))
            (x, y), width, height = bar.get_xy(), bar.get_width(), bar.get_height()
            flat = holder.orientation == "horizontal"
            yield axes, [(x + width, y + height / 2) if flat else (x + width / 2, y + height)]


@pytest.mark.parametrize("case", CASES)
def test_every_point_that_is_drawn_is_in_the_numbers_and_named(case):
    figure = drawing(case)
    rows = numbers(figure)
    assert list(rows) == COLUMNS
    known = held(rows)
    for axes, points in in_sight(figure):
        assert rounded(points) <= known, (axes.get_title(), sorted(rounded(points) - known)[:3])
    plotted = rows[~rows["drawn"].str.startswith(NOTE)]
    assert len(plotted)
    assert (plotted["series"] != "").all(), plotted[plotted["series"] == ""]
    assert not plotted["series"].isin({"mean", "one run", "quartiles", "_nolegend_"}).any()
    assert plotted["panel"].notna().all() and plotted["line"].notna().all()
    for side in "xy":
        told = (plotted[f"{side}_axis"] != "") | (plotted[f"{side}_name"] != "") | plotted[side].isna()
        assert told.all(), plotted[~told]
    limits = plotted[["lower", "upper", "x_lower", "x_upper"]].notna().any(axis=1)
    assert (plotted.loc[limits, "band"] != "").all()
    assert (plotted.loc[plotted["drawn"].str.contains("over runs"), "n"] >= 1).all()


def test_every_figure_of_the_package_is_among_the_cases():
    folder = Path(next(iter(credit.figures.__path__)))
    drawn = {f"{p.parent.name}.{p.stem}" for p in folder.glob("*/*.py") if "\ndef draw(" in p.read_text()}
    assert drawn == {case.split()[0] for case in CASES}


def test_a_median_has_its_quartiles_and_runs_beside_it():
    table = cross.teacher(("fa",), seeds=5)
    rows = numbers(cross.fig3.draw(table, {}))
    mine = rows[(rows["title"] == "layer 2") & (rows["y_axis"] == "angle to BP [°]") & (rows["x"] == 3)]
    runs = table.query("metric == 'angle_bp' and layer == '2' and epoch == 3")["value"]
    (row,) = mine.to_dict("records")
    assert (row["series"], row["drawn"], row["band"], row["n"]) == ("FA", "median over runs", "quartiles", 5)
    assert [row["y"], row["lower"], row["upper"]] == list(runs.quantile([0.5, 0.25, 0.75]))


def test_panels_that_share_an_axis_have_its_label_and_title():
    figure = cross.fig2.draw(cross.images(), {})
    rows = numbers(figure).drop_duplicates("panel")[["panel", "title", "x_axis", "y_axis"]]
    assert rows.to_numpy().tolist() == [
        [1, "MNIST", "epoch", "test error [%]"], [2, "Fashion-MNIST", "epoch", "test error [%]"],
        [3, "MNIST", "epoch", "training loss"], [4, "Fashion-MNIST", "epoch", "training loss"],
    ]  # fmt: skip


def test_runs_that_diverged_and_notes_are_told():
    rows = numbers(drawing("cross.fig1"))
    assert list(
        rows.loc[rows["drawn"].str.startswith(NOTE), ["series", "drawn"]].itertuples(index=False, name=None)
    ) == [("FA", "note: 2 of 5 diverged")]
    names = dict(zip(rows["series"], rows["y_name"], strict=True))
    assert {name: names[name] for name in ("BP", "DRTP")} == {"BP": "BP", "DRTP": "DRTP"}
    lost = numbers(drawing("cross.fig2")).query("drawn == 'one run, until it diverged'")
    assert set(lost["series"]) == {"FA"} and len(lost[["panel", "line"]].drop_duplicates()) == 4


def test_what_colours_and_level_sets_tell_is_a_column():
    rows = numbers(drawing("pc.plane"))
    path, levels = (rows[rows["drawn"] == what] for what in ("path, mean over runs", "level set"))
    assert list(path["colour"].unique()) == [1, 2, 3, 4, 5, 6] and set(path["colour_axis"]) == {"iteration"}
    assert set(levels["colour"]) == {0.1, 0.3}
    loss = 0.5 * (levels["x"] - 1) ** 2 + 0.5 * (levels["y"] - 1) ** 2
    assert np.allclose(loss, levels["colour"], atol=2e-3)


def test_a_figure_with_nothing_to_draw_says_so_in_its_numbers():
    def draw(table, options):
        raise NothingLeft("alignment: nothing to draw")

    (row,) = numbers(style.drawn(draw, cross.images(), {})).to_dict("records")
    assert row["drawn"] == "note: alignment: nothing to draw"


def test_a_kind_of_drawing_that_is_not_known_is_refused_until_it_is_told():
    figure = Figure()
    axes = figure.subplots()
    mesh = axes.pcolormesh(np.arange(3), np.arange(3), np.ones((2, 2)))
    with pytest.raises(TypeError, match=r"QuadMesh .*numbers\.tell"):
        numbers(figure)
    tell(mesh, series="map", x=[0.5, 1.5], y=[0.5, 1.5], colour=[1.0, 1.0])
    assert list(numbers(figure)["colour"]) == [1.0, 1.0]
    belongs(mesh)
    assert numbers(figure).empty


@pytest.mark.parametrize("lengths", [[np.nan, np.nan], [0.5, np.nan]], ids=str)
def test_error_bars_that_are_not_known_leave_their_points_without_limits(lengths):
    """Those of a single run, or where one diverged: matplotlib leaves missing ends out of what it gives."""
    axes = Figure().subplots()
    axes.errorbar([1, 2], [5.0, 6.0], lengths, capsize=2, label="BP")
    axes.errorbar([1, 2], [np.nan, np.nan], [0.5, 0.5], label="FA")
    found = numbers(axes.figure)
    np.testing.assert_array_equal(found["y"], [5.0, 6.0, np.nan, np.nan])
    np.testing.assert_array_equal(found["lower"], [5.0 - lengths[0], 6.0 - lengths[1], np.nan, np.nan])


def test_error_bars_of_which_nothing_was_told_are_limits_of_their_points():
    axes = Figure().subplots()
    axes.errorbar([1, 2], [5.0, 6.0], [[0.5, 1.0], [1.5, 2.0]], [0.1, 0.2], capsize=2, label="BP")
    rows = numbers(axes.figure)
    assert rows[["series", "band"]].to_numpy().tolist() == [["BP", "error bars"]] * 2
    limits = rows[["x", "x_lower", "x_upper", "y", "lower", "upper"]].to_numpy(float)
    assert limits == pytest.approx(np.array([[1, 0.9, 1.1, 5, 4.5, 6.5], [2, 1.8, 2.2, 6, 5, 8]]))
