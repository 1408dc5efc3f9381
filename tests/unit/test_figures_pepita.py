"""PEPITA's figures: the curves are those of the table, and the fits those of the curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from credit.analysis.slowness import fit_slowness
from credit.analysis.tables import VERIFIED
from credit.config.files import read_yaml
from credit.errors import ConfigError
from credit.figures.curves import ENDED
from credit.figures.pepita import alignment, curves
from tests.conftest import REPOSITORY
from tests.unit.test_figures import diverging, images, legend, points, texts, tidy

METHODS = ("bp", "pepita")


def both(epochs=6):
    fc = images(("mnist", "cifar10"), METHODS, seeds=3, epochs=epochs).assign(experiment="fc")
    conv = images(("mnist",), ("pepita-conv",), seeds=2, epochs=epochs).assign(experiment="conv")
    return pd.concat([fc, conv])


def test_accuracies_are_drawn_and_fitted_over_the_points_of_their_experiment():
    table = both()
    titles = {"fc": "fully connected", "conv": "convolutional"}
    figure = curves.draw(table, {"points": {"fc": 4, "conv": 6}, "chance": {"cifar10": 0.2}, "titles": titles})
    panels = figure.axes
    assert [a.get_title() for a in panels[:3]] == [
        "MNIST, fully connected", "CIFAR-10, fully connected", "MNIST, convolutional",
    ]  # fmt: skip
    rows = table.query("experiment == 'fc' and dataset == 'cifar10' and method == 'bp' and metric == 'test_error'")
    mean = 100 * (1 - rows[rows["epoch"] > 0].groupby("epoch")["value"].mean().to_numpy())
    line = next(ln for ln in panels[1].lines if np.allclose(ln.get_ydata()[: len(mean)], mean))
    assert list(line.get_xdata()) == [1, 2, 3, 4, 5, 6]
    fit = fit_slowness(mean[:3], 20.0, 4)
    assert any(
        len(ln.get_xdata()) == 200
        and ln.get_xdata()[-1] == 3
        and np.allclose(ln.get_ydata(), fit.curve(ln.get_xdata()))
        for ln in panels[1].lines
    )
    assert "test accuracy [%]" in texts(figure)
    assert "fit A k / (s + k)" in texts(figure)
    assert "not run" in texts(figure)  # conv on CIFAR-10
    lost = curves.draw(diverging(images(("mnist",), METHODS, seeds=2), "bp", [0, 1], 1), {"points": 4})
    assert [name for name in legend(lost) if name.startswith("fit")] == ["fit A k / (s + k)"]
    none = diverging(diverging(images(("mnist",), METHODS, seeds=1), "bp", [0], 3), "pepita", [0], 3)
    assert legend(curves.draw(none, {"points": 4})) == ["BP", "PEPITA"], "nothing was fitted"


def test_titles_mark_an_unverified_copy_of_the_data():
    table = both()
    table.loc[table["dataset"] == "cifar10", VERIFIED] = False
    titles = [a.get_title() for a in curves.draw(table, {"titles": {"fc": "fully connected"}}).axes[:4]]
    assert titles == ["MNIST, fully connected", "CIFAR-10 †, fully connected", "MNIST", "CIFAR-10 †"]


def test_a_run_that_diverged_is_drawn_to_its_end_and_is_not_fitted():
    table = diverging(images(("mnist",), METHODS, seeds=3), "pepita", [1], 3)
    figure = curves.draw(table, {"points": 4})
    assert np.isfinite(points(figure.axes[0])).all()


def measured():
    rows = []
    for seed in range(3):
        for epoch in range(5):
            rows.append(("mnist", "pepita", seed, epoch, "angle_projection", "", 90.0 + epoch + 0.1 * seed))
            rows += [("mnist", "pepita", seed, epoch, "weight_norm", layer, 40.0 + epoch) for layer in ("1", "2")]
    rows.append(("mnist", "bp", 0, 0, "test_error", "", 0.9))
    return tidy(rows)


def test_angle_and_norm_are_drawn_from_before_training_on():
    figure = alignment.draw(measured(), {})
    angle, norm = figure.axes
    assert pytest.approx(list(angle.lines[0].get_ydata())) == [90.1, 91.1, 92.1, 93.1, 94.1]
    assert list(norm.lines[0].get_ydata()) == [40, 41, 42, 43, 44]
    assert "[°]" in angle.get_ylabel()
    assert "BP" not in texts(figure)


def test_nothing_measured_is_said():
    with pytest.raises(ConfigError, match="neither angle_projection nor weight_norm"):
        alignment.draw(images(), {})


def test_a_collapse_has_no_fit_and_is_said():
    table = images(("mnist",), METHODS, seeds=3, epochs=6)
    fallen = (table["method"] == "pepita") & (table["epoch"] == 4) & (table["metric"] == "test_error")
    table.loc[fallen, "value"] = 0.6
    figure = curves.draw(table, {"points": 6})
    assert "no fit, accuracy collapses: PEPITA" in texts(figure)
    assert [line.get_label() for line in figure.axes[0].lines].count(curves.FITTED) == 1, "BP's"
    before = curves.draw(table, {"points": 4})
    assert "collapses" not in texts(before), "outside the fitted stretch"


def test_curves_that_end_early_are_marked():
    table = images(("mnist",), METHODS, seeds=3, epochs=6)
    figure = curves.draw(table[(table["method"] == "bp") | (table["epoch"] < 4)], {"points": 3})
    (mark,) = [line for line in figure.axes[0].lines if line.get_label() == ENDED]
    assert list(mark.get_xdata()) == [3]
    assert legend(figure)[-1] == ENDED
    assert ENDED not in legend(curves.draw(table, {"points": 3}))


def test_curves_and_conv_share_the_released_net_alone():
    files = [REPOSITORY / "config" / "experiments" / "pepita" / f"{name}.yaml" for name in ("fc", "conv")]
    methods = [
        set(read_yaml(path)["figures"][name]["options"]["where"]["method"])
        for path, name in zip(files, ("curves", "conv"), strict=True)
    ]
    assert set.intersection(*methods) == {"pepita-conv"}
