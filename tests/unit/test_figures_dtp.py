"""Figures of the L-DRL paper show the numbers of their tables, and the published ones beside them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from credit.analysis.tables import VERIFIED
from credit.errors import ConfigError
from credit.figures.dtp import fig42, fig43, theorem
from credit.figures.dtp._layers import layer_looks
from credit.figures.looks import METHOD_STYLES
from credit.figures.references import PUBLISHED
from tests.unit.test_figures import legend, texts, tidy

RULES = {"ldrl-committed": "ldrl", "ldrl-random": "ldrl", "ldrl-symmetric": "ldrl"}


def references(rows, **columns):
    """Rows (dataset, method, step, metric, layer, value) as a file of curves has them."""
    return tidy([(d, m, 0, 0, metric, layer, v) for d, m, _, metric, layer, v in rows]).assign(
        step=[row[2] for row in rows], **columns
    )


# ---- Figure 4.2


def learning(seeds=4, epochs=5):
    rng, rows = np.random.default_rng(2), []
    for method in ("ldrl", "ldrl-committed", "ddtp_linear"):
        for seed in range(seeds):
            for epoch in range(epochs + 1):
                for layer in ("3", "4"):
                    rows.append(("cifar10", method, seed, epoch, "angle_weights", layer, rng.uniform(5, 89)))
                    rows.append(("cifar10", method, seed, epoch, "distance_weights", layer, rng.uniform(0.1, 7)))
    return tidy(rows)


def test_figure_4_2_has_means_with_three_standard_deviations_against_iterations():
    table = learning()
    figure = fig42.draw(table, {"layer": "4", "iterations": 20, "rules": RULES})
    for axes, metric in zip(figure.axes, ("angle_weights", "distance_weights"), strict=True):
        assert len(axes.lines) == 3
        rows = table[(table["metric"] == metric) & (table["layer"] == "4") & (table["method"] == "ldrl")]
        runs = rows.pivot(index="epoch", columns="seed", values="value")
        line = next(ln for ln in axes.lines if np.allclose(ln.get_ydata(), runs.mean(axis=1)))
        assert list(line.get_xdata()) == [0, 20, 40, 60, 80, 100]
        assert to_rgb(line.get_color()) == to_rgb(METHOD_STYLES["ldrl"].colour)
        top = runs.mean(axis=1) + 3 * runs.std(axis=1, ddof=1)
        assert any(np.isclose(band.get_paths()[0].vertices[:, 1].max(), top.max()) for band in axes.collections)
    assert list(figure.axes[0].get_yticks()) == list(range(0, 91, 15))
    assert {"∠(W, Qᵀ) [°]", "iterations of the feedback weights"} <= {*texts(figure).split(" | ")}
    assert legend(figure) == ["L-DRL", "L-DRL (committed)", "DDTP-linear", "± 3 standard deviations"]


def test_one_seed_of_one_method_has_neither_band_nor_published_points_in_its_legend():
    known = references([("cifar10", "ldrl", 1000, "angle_weights", "4", 49.0)])
    table = learning(seeds=1)
    alone = table[table["method"] == "ldrl-committed"]
    options = {"iterations": 20, "rules": RULES, "references": known}
    assert legend(fig42.draw(alone, options)) == ["L-DRL (committed)"]
    assert legend(fig42.draw(table, options))[-1] == "published, read off the figure"


def test_published_points_are_drawn_at_their_iterations_in_the_colour_of_their_rule():
    known = references([
        ("cifar10", "ldrl", 1000, "angle_weights", "4", 49.0),
        ("cifar10", "ddtp_linear", 100, "angle_weights", "4", 17.0),
        ("mnist", "ldrl", 1000, "angle_weights", "4", 1.0),
    ])  # fmt: skip
    figure = fig42.draw(learning(), {"iterations": 20, "rules": RULES, "references": known})
    alone = [ln for ln in figure.axes[0].lines if ln.get_linestyle() == "None"]
    found = {(float(ln.get_xdata()[0]), float(ln.get_ydata()[0])): to_rgb(ln.get_color()) for ln in alone}
    assert found == {
        (1000.0, 49.0): to_rgb(METHOD_STYLES["ldrl"].colour),
        (100.0, 17.0): to_rgb(METHOD_STYLES["ddtp_linear"].colour),
    }
    assert "published" in texts(figure)
    assert "published" not in texts(fig42.draw(learning(), {"rules": RULES}))


def test_figure_4_2_of_other_data_or_layers_is_refused():
    with pytest.raises(ConfigError, match="no angle_weights of layer 9 was recorded"):
        fig42.draw(learning(), {"layer": "9"})
    two = pd.concat([learning(), learning().assign(dataset="digits")])
    with pytest.raises(ConfigError, match="fig42: draws one data set, found cifar10, digits"):
        fig42.draw(two, {})


# ---- Figure 4.3

SCHEMES = [
    {"method": "ldrl-random", "label": "L-DRL\nrandom"},
    {"method": "ldrl", "label": "L-DRL"},
    {"method": "ldrl-add", "label": "L-DRL\nadd", "ours": True},
]


def updates(seeds=3, epochs=2):
    rng, rows = np.random.default_rng(3), []
    for method in ("ldrl", "ldrl-random"):
        for seed in range(seeds):
            for epoch in range(1, epochs + 1):
                for layer in "1234":
                    rows.append(("cifar10", method, seed, epoch, "angle_bp", layer, rng.uniform(1, 90)))
                    rows.append(("cifar10", method, seed, epoch, "distance_bp", layer, rng.uniform(0.1, 1e4)))
    return tidy(rows)


def test_figure_4_3_has_a_bar_for_every_scheme_and_layer_after_the_last_epoch():
    table = updates()
    options = {"schemes": SCHEMES, "layers": {"1": "conv 1", "2": "conv 2", "3": "dense 1", "4": "output"}}
    figure = fig43.draw(table, {**options, "rules": RULES})
    last = table[table["epoch"] == 2]
    for axes, metric in zip(figure.axes, ("angle_bp", "distance_bp"), strict=True):
        bars = {round(bar.get_x() + bar.get_width() / 2, 3): bar.get_height() for bar in axes.patches}
        dots = {round(float(ln.get_xdata()[0]), 3): ln.get_ydata()[0] for ln in axes.lines if ln.get_marker() in "os^v"}
        assert (len(bars), len(dots)) == ((8, 0) if metric == "angle_bp" else (0, 8)), "what was not run has none"
        bars = bars or dots
        for place, method in enumerate(("ldrl-random", "ldrl")):
            for k, layer in enumerate("1234"):
                mine = last[(last["method"] == method) & (last["metric"] == metric) & (last["layer"] == layer)]
                assert bars[round(place + (k - 1.5) * 0.2, 3)] == pytest.approx(mine["value"].mean())
        spread = last[(last["method"] == "ldrl") & (last["metric"] == metric) & (last["layer"] == "4")]["value"]
        heights = [np.ptp(segment[:, 1]) for c in axes.collections for segment in c.get_segments()]
        assert any(np.isclose(h, 2 * spread.std(ddof=1)) for h in heights)
    assert figure.axes[1].get_yscale() == "log"
    assert {"conv 1", "output", "angle to BP [°]", "L-DRL\nrandom"} <= {*texts(figure).split(" | ")}
    assert "ours" not in texts(figure)
    assert legend(figure) == ["conv 1", "conv 2", "dense 1", "output", "standard deviation"]
    one = fig43.draw(updates(seeds=1), {**options, "rules": RULES})
    assert legend(one) == ["conv 1", "conv 2", "dense 1", "output"]


def test_the_axis_of_distances_says_what_they_are_relative_to():
    ours, theirs = SCHEMES[:2], [{**SCHEMES[0], "label": "DRL\nrandom", "relative_to": "update"}]
    labels = [
        fig43.draw(updates(), {"schemes": schemes, "rules": RULES}).axes[1].get_ylabel()
        for schemes in (ours, theirs, ours + theirs)
    ]
    assert labels == [
        "relative distance to BP",
        "distance to BP,\nrelative to the update",
        "distance to BP, relative to BP\n(DRL: to the update)",
    ]
    with pytest.raises(ConfigError, match="relative_to"):
        fig43.draw(updates(), {"schemes": [{**ours[0], "relative_to": "loss"}]})


def test_published_values_look_like_no_layer():
    markers = [look.marker for look in layer_looks("abcdefghij")]
    assert len(set(markers)) == 10
    assert not {PUBLISHED["marker"], "D"} & set(markers)


def test_a_scheme_may_show_one_of_several_betas():
    table, known = updates(), references([("cifar10", "ldrl", 0, "angle_bp", "2", 8.1)])
    exact = table.assign(metric=table["metric"] + "_0.5", value=0.5 * table["value"])
    schemes = [SCHEMES[1], {**SCHEMES[1], "label": "exact", "beta": 0.5}]
    figure = fig43.draw(pd.concat([table, exact]), {"schemes": schemes, "rules": RULES, "references": known})
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(heights[4:], 0.5 * np.array(heights[:4]))
    assert len([ln for ln in figure.axes[0].lines if ln.get_marker() == "d"]) == 1


def test_published_bars_stand_over_ours():
    known = references([("cifar10", "ldrl", 0, "angle_bp", "2", 8.1), ("cifar10", "ldrl-add", 0, "angle_bp", "1", 3.0)])
    figure = fig43.draw(updates(), {"schemes": SCHEMES, "references": known, "rules": RULES})
    points = {
        tuple(np.round(ln.get_xydata()[0], 6))
        for ln in figure.axes[0].lines
        if ln.get_marker() == "d" and len(ln.get_xydata())
    }
    assert points == {(0.9, 8.1)}
    assert "layer 2" in texts(figure)
    with pytest.raises(ConfigError, match=r"no scheme of options\.schemes recorded angle_bp"):
        fig43.draw(learning(), {"schemes": SCHEMES})


# ---- the theorem

NETS = [{"dataset": "linear", "title": "linear blocks"}, {"dataset": "vgg", "title": "VGG-like"}]
BETAS = (1e-4, 0.1, 0.7)


def sweep(seeds=3):
    rng, rows = np.random.default_rng(4), []
    cases = itertools.product(("linear", "vgg"), ("ldrl", "ldrl-symmetric"), BETAS, range(seeds), (1, 2), "12")
    for net, method, beta, seed, epoch, layer in cases:
        for metric in ("angle_bp", "distance_bp"):
            value = 0.0 if (net, layer) == ("linear", "2") else rng.uniform(0.1, 9)
            rows.append((net, method, seed, epoch, f"{metric}_{beta:g}", layer, value))
    return tidy(rows)


def test_every_net_and_feedback_has_curves_of_its_layers_against_beta():
    table = sweep()
    figure = theorem.draw(table, {"nets": NETS, "rules": RULES})
    panels = np.reshape(figure.axes, (2, 4))
    assert [axes.get_title() for axes in panels[0]] == ["linear blocks", "VGG-like"] * 2
    columns = list(itertools.product(("angle_bp", "distance_bp"), ("linear", "vgg")))
    last = table[table["epoch"] == 2]
    for i, method in enumerate(("ldrl", "ldrl-symmetric")):
        for axes, (metric, net) in zip(panels[i], columns, strict=True):
            mine = last[(last["method"] == method) & (last["dataset"] == net)]
            assert len(axes.lines) == 2
            for drawn, layer in zip(axes.lines, "12", strict=True):
                values = mine[mine["layer"] == layer].groupby("metric")["value"].median()
                expected = values[[f"{metric}_{beta:g}" for beta in BETAS]]
                np.testing.assert_allclose(drawn.get_xdata(), BETAS)
                np.testing.assert_allclose(drawn.get_ydata(), expected.clip(lower=theorem.LIMITS[metric][0]))
    assert {"β", "layer 2"} <= {*texts(figure).split(" | ")}
    assert legend(figure) == ["layer 1", "layer 2"]
    labels = [axes.get_ylabel().split("\n") for axes in panels[:, ::2].flat]
    assert labels == [[rule, quantity] for rule in ("L-DRL", "L-DRL (symmetric)") for quantity in (
        "angle to BP [°]", "relative distance to BP")]  # fmt: skip


def test_axes_of_the_theorem_end_where_rounding_begins_and_say_so():
    table = sweep()
    table.loc[table["layer"] == "2", "value"] = 1e-13
    panels = theorem.draw(table, {"nets": NETS, "rules": RULES}).axes
    for axes, metric in zip(panels[:4:2], theorem.LIMITS, strict=True):
        low = theorem.LIMITS[metric][0]
        assert set(axes.lines[1].get_ydata()) == {low}
        assert axes.get_ylim()[0] > 0.1 * low
        ticks = dict(zip(axes.get_yticks(), (t.get_text() for t in axes.get_yticklabels()), strict=True))
        assert [value for value, text in ticks.items() if "leq" in text] == [low]


def test_recordings_are_drawn_in_the_panel_of_their_net_and_feedback():
    known = references([("vgg", "ldrl-symmetric", 0, "angle_bp_0.1", "1", 0.27)])
    figure = theorem.draw(sweep(), {"nets": NETS, "rules": RULES, "references": known})
    panels = np.reshape(figure.axes, (2, 4))
    points = {(i, j): [ln for ln in panels[i, j].lines if ln.get_marker() == "d"] for i in range(2) for j in range(4)}
    assert [place for place, found in points.items() if found] == [(1, 1)]
    np.testing.assert_allclose(points[1, 1][0].get_xydata(), [[0.1, 0.27]])
    assert legend(figure) == ["layer 1", "layer 2", "recorded from the official code"]
    known["dataset"] = "lenet"
    other = theorem.draw(sweep(), {"nets": NETS, "rules": RULES, "references": known})
    assert legend(other) == ["layer 1", "layer 2"], "of a net that was not run"


def test_nets_from_an_unverified_copy_are_marked_and_what_is_missing_is_said():
    table = sweep()
    table.loc[table["dataset"] == "vgg", VERIFIED] = False
    titles = [axes.get_title() for axes in theorem.draw(table, {"nets": NETS, "rules": RULES}).axes[:2]]
    assert titles == ["linear blocks", "VGG-like †"]
    with pytest.raises(ConfigError, match="no angle_bp_… was recorded"):
        theorem.draw(updates(), {"nets": NETS})
    with pytest.raises(ConfigError, match=r"no net of options\.nets was run, only linear, vgg"):
        theorem.draw(sweep(), {"nets": [{"dataset": "lenet", "title": "LeNet-like"}]})
