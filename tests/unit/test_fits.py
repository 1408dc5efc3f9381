"""Fits of runs to measured values: least squares, which point of a grid counts, tables, and what is checked before."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit.analysis.fits import best, fits, least_squares, measured, parameters, resampled_error
from credit.analysis.fitting import fitting, number_of
from credit.analysis.readable import matrix
from credit.analysis.summaries import summarise, summarised
from credit.errors import ConfigError, DataError, NothingLeft
from tests.unit.small_checkout import Checkout
from tests.unit.test_figures import tidy

numbers = st.floats(-10, 10).map(lambda x: round(x, 3))
groups_of = st.integers(2, 5).flatmap(lambda n: st.tuples(*[st.lists(numbers, min_size=n, max_size=n)] * 2))
GROUPS = [{"name": "N", "metric": "noise"}, {"name": "L", "metric": "light"}, {"name": "B", "metric": "both"}]
FIT = {"groups": GROUPS, "conditions": {"all": "*"}, "offset": True}


# ---- least squares


@given(groups_of, st.booleans())
def test_no_other_scale_and_offset_is_closer(pair, offset):
    model, data = (np.array(x) for x in pair)
    fit = least_squares(model, data, offset)
    for scale in (-1e-3, 0.0, 1e-3):
        for shift in (-1e-3, 0.0, 1e-3) if offset else (0.0,):
            moved = (fit.scale + scale) * model + fit.offset + shift
            assert fit.error <= ((moved - data) ** 2).sum() + 1e-9
    assert offset or fit.offset == 0


@given(groups_of, st.floats(0.01, 100), st.booleans())
def test_the_error_does_not_depend_on_the_size_of_the_model(pair, factor, offset):
    model, data = (np.array(x) for x in pair)
    fit, other = least_squares(model, data, offset), least_squares(factor * model, data, offset)
    assert other.error == pytest.approx(fit.error, rel=1e-6, abs=1e-7)
    assert other.scale * factor == pytest.approx(fit.scale, rel=1e-4, abs=1e-4)


@given(st.lists(numbers, min_size=3, max_size=3), st.floats(0.1, 5), numbers, st.booleans())
def test_what_is_a_scale_of_the_data_is_fitted_exactly(data, scale, shift, offset):
    data = np.array(data)
    model = (data - (shift if offset else 0.0)) / scale
    assert least_squares(model, data, offset).error <= 1e-9 * (1 + (data**2).sum())


def test_of_a_model_that_tells_no_groups_apart_the_mean_is_left():
    fit = least_squares(np.array([[0.1 + 0.2, 0.3, 0.3], [0.0, 0.0, 0.0]]), np.array([1.0, 2.0, 6.0]), offset=True)
    assert fit.scale.tolist() == [0, 0] and fit.offset.tolist() == [3, 3]
    assert least_squares(np.zeros(2), np.array([3.0, 4.0])).error == 25.0
    small = least_squares(np.array([1e-12, 2e-12]), np.array([3.0, 6.0]))
    assert small.scale == pytest.approx(3e12) and small.error < 1e-20


# ---- the best point


def test_the_smallest_error_counts_then_the_smallest_spread_then_the_first():
    assert best([3.0, 1.0, 2.0], [0.0, 9.0, 0.0]) == 1
    assert best([1.0, 1.0, 1.0 + 1e-14, 2.0], [3.0, 2.0, 1.0, 0.0]) == 2
    assert best([1.0, 1.0, 1.0], [2.0, 2.0, 3.0]) == 0
    assert best([np.nan, 1.0, 1.0], [0.0, np.nan, np.nan]) == 1
    with pytest.raises(NothingLeft, match="lacks a value"):
        best([np.nan, np.nan], [1.0, 1.0])


def test_an_error_is_resampled_over_seeds():
    rng = np.random.default_rng(3)
    data, runs = np.array([1.0, 2.0, 3.0]), rng.normal([1.0, 2.0, 3.0], 0.2, (20, 3))
    sd, low, high = resampled_error(runs, data, offset=False)
    assert 0 <= low < least_squares(runs.mean(0), data).error < high and low < high and sd > 0
    assert resampled_error(runs, data, offset=False) == (sd, low, high)
    assert np.isnan(resampled_error(runs[:1], data, offset=False)).all()
    assert resampled_error(np.repeat(runs[:1], 4, 0), data, offset=False)[0] == pytest.approx(0, abs=1e-15)


# ---- from tables


def swept(methods=("bp", "pc"), datasets=("std_0_1",), rates=(0.1, 1.0), seeds=4):
    """At rate 1.0 pc is 2 (d - 1) with noise of the seeds; everything else is off by more."""
    rng, rows, columns = np.random.default_rng(5), [], []
    for dataset in datasets:
        for method in methods:
            for lr in rates:
                for seed in range(seeds):
                    for metric, value in (("noise", 1.0), ("light", 2.0), ("both", 6.0)):
                        bent = 0 if (method, lr) == ("pc", 1.0) else 1.0
                        for epoch in (0, 1):
                            v = 2 * (value - 1) + bent * (metric == "light") + 0.01 * rng.normal() + 5 * (epoch == 0)
                            rows.append((dataset, method, seed, epoch, metric, "", v))
                            columns.append(lr)
    return tidy(rows).assign(lr_0=columns)


def data(groups=(("N", 1.0), ("L", 2.0), ("B", 6.0)), n=3):
    rows = [("x", "data", k, 1, name, "", mean + k - (n - 1) / 2) for name, mean in groups for k in range(n)]
    return tidy(rows)


def test_every_method_is_fitted_at_its_best_point():
    found = {one.method: one for one in fits(swept(), data(), fitting({"fit": FIT}))}
    pc = found["pc"]
    assert pc.at == {"lr_0": 1.0} and pc.error < 1e-3 < found["bp"].error
    assert (pc.scale, pc.offset) == (pytest.approx(0.5, rel=0.02), pytest.approx(1.0, abs=0.03))
    assert list(pc.values) == ["N", "L", "B"] and len(pc.values) == 4 and pc.epochs == 1
    np.testing.assert_allclose(pc.values.mean(), [1, 2, 6], atol=0.03)
    assert pc.error_low <= pc.error_high and {k: len(v) for k, v in pc.data.items()} == {"N": 3, "L": 3, "B": 3}


def test_data_sets_of_a_condition_are_points_or_groups():
    table = swept(datasets=("std_0_1", "std_2"), rates=(1.0,))
    table.loc[table["dataset"] == "std_2", "value"] *= 0.3
    table.loc[(table["dataset"] == "std_2") & (table["metric"] == "light"), "value"] += 0.5
    pooled = fits(table, data(), fitting({"fit": FIT}))
    assert [one.at["dataset"] for one in pooled if one.method == "pc"] == ["std_0_1"]
    assert parameters(pooled[1].at) == {"lr_0": 1.0, "std": 0.1}
    apart = fits(table, data(), fitting({"fit": {**FIT, "conditions": {"a": "std_0_*", "b": "std_2"}}}))
    assert [(one.condition, one.method, "dataset" in one.at) for one in apart] == [
        ("a", "bp", False), ("a", "pc", False), ("b", "bp", False), ("b", "pc", False),
    ]  # fmt: skip
    one_each = [{"name": n, "metric": "noise", "datasets": f"{d}_*"} for n, d in (("N", "x"), ("L", "y"))]
    rows = [
        (f"{d}_{c}", "pc", s, 1, "noise", "", v + s) for d, v in (("x", 1), ("y", 4)) for c in (1, 2) for s in (0, 1)
    ]
    found = fits(tidy(rows), data(), fitting({"fit": {"groups": one_each, "conditions": {"c": "*_2"}}}))
    assert found[0].raw.to_numpy().tolist() == [[1, 4], [2, 5]] and found[0].at == {} and found[0].offset is None


def test_a_point_at_which_a_run_diverged_is_out():
    table = swept()
    lost = (table["method"] == "pc") & (table["lr_0"] == 1.0) & (table["seed"] == 2)
    gone = table[lost].head(1).assign(metric="diverged", value=17.0)
    found = fits(pd.concat([table[~lost | (table["epoch"] == 0)], gone]), data(), fitting({"fit": FIT}))
    assert {one.method: one.at["lr_0"] for one in found}["pc"] == 0.1


def test_a_table_holds_the_error_the_parameters_and_the_fitted_means():
    summary = summarise(swept(), "toy/fit", {"fit": FIT}, data())
    pc = summary[summary["method"] == "pc"].set_index("metric")
    assert list(pc.index) == ["fit_error", "fit_scale", "fit_offset", "fit_lr_0", "fitted_N", "fitted_L", "fitted_B"]
    assert pc.loc["fit_lr_0", "mean"] == 1.0 and (pc["n"] == 4).all() and (pc["dataset"] == "all").all()
    assert pc.loc["fitted_L", "ci_low"] < pc.loc["fitted_L", "mean"] < pc.loc["fitted_L", "ci_high"]
    assert pc.loc["fit_scale", "ci_low"] < pc.loc["fit_scale", "mean"] < pc.loc["fit_scale", "ci_high"]
    assert (pc.loc[["fit_error", "fit_scale", "fit_offset", "fitted_N"], "se"] > 0).all() and (pc["runs"] == 4).all()
    assert pc.loc["fit_lr_0", ["ci_low", "ci_high"]].tolist() == [1.0, 1.0], "whichever seeds are drawn"
    bp = summary[(summary["method"] == "bp") & (summary["metric"] == "fit_lr_0")].iloc[0]
    assert np.isnan([bp["ci_low"], bp["ci_high"]]).all(), "both points are as good to backpropagation"
    assert pc.loc["fit_error", "sd"] > 0 and np.isnan(pc.loc["fit_scale", "sd"])
    text = matrix(summary, "Fits", {"fit": FIT, "rows": "metric", "columns": "method"}, {})
    assert "error of the fit" in text and "learning rate, layer 1 of the fit" in text and "least squares" in text
    assert "fit_offset" not in set(summarise(swept(), "toy/fit", {"fit": {**FIT, "offset": False}}, data())["metric"])


def test_without_runs_of_all_groups_there_is_no_fit(capsys):
    table = swept()
    assert summarised(table[table["metric"] != "both"], "toy/fit", {"fit": FIT}, data()).empty
    assert "no method has runs of all groups (N, L, B)" in capsys.readouterr().err
    with pytest.raises(DataError, match="no measured values of group 'B'"):
        fits(table, data((("N", 1.0), ("L", 2.0))), fitting({"fit": FIT}))
    with pytest.raises(DataError, match="no measured values of group 'N'"):
        measured(None, {"N": None})


# ---- what is asked for


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": []}, "options.fit: key = 'group' .*; must be one of"),
        ({"groups": GROUPS[:2]}, "options.fit.groups = .*; must list at least 3 groups"),
        ({"groups": GROUPS[:1], "offset": False}, "options.fit.groups = .*; must list at least 2 groups"),
        ({"groups": [*GROUPS[:2], {"name": "B"}]}, r"options.fit.groups\[2\] = .*; must hold name and metric"),
        (
            {"groups": [*GROUPS[:2], {"name": ["B"], "metric": "b"}]},
            r"fit.groups\[2\] = .*; .* all of them text",
        ),
        ({"groups": [*GROUPS, GROUPS[0]]}, r"options.fit.groups\[3\].name = 'N'; another group has this name"),
        ({"conditions": {}}, "options.fit.conditions = {}; must name patterns of data sets"),
        ({"conditions": {"a": 3}}, "options.fit.conditions = {'a': 3}; must name patterns of data sets"),
        ({"offset": "yes"}, "options.fit.offset = 'yes'; must be true or false"),
    ],
)
def test_settings_of_a_fit_that_make_no_sense_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        fitting({"fit": {**FIT, **change}})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("std_0_1", ("std", 0.1)), ("hidden_2_std_0_00001", ("std", 1e-5)), ("std_1", ("std", 1.0)), ("motor", None)],
)
def test_a_data_set_may_be_named_after_a_number(name, expected):
    assert number_of(name) == expected


LOSS = [
    {"name": "N", "metric": "test_loss", "datasets": "near"},
    {"name": "L", "metric": "test_loss", "datasets": "far"},
]
MEASURED = "paper,experiment,dataset,method,seed,epoch,step,metric,layer,value,data_verified\n" + "".join(
    f"toy,measured,x,data,0,1,0,{name},,1.5,true\n" for name in ("N", "L")
)


@pytest.mark.parametrize(
    ("fit", "text", "message"),
    [
        ({}, MEASURED, None),
        ({}, MEASURED.replace(",L,", ",M,"), "references: hold no measured values of group 'L'; there are: M, N"),
        ({}, MEASURED.replace("1.5", "x"), r"no measured values of group 'N'; there are: none|value = 'x'"),
        (
            {"conditions": {"a": "nea"}},
            MEASURED,
            "condition 'a' has no data set of group 'N': none of near, far matches",
        ),
        ({"groups": [LOSS[0], {**LOSS[1], "metric": "test_los"}]}, MEASURED, "groups: L: metric = 'test_los'"),
        ({"offset": True}, MEASURED, "must list at least 3 groups"),
    ],
)
@pytest.mark.parametrize("kind", ["tables", "figures"])
def test_what_a_fit_lacks_is_said_before_any_job(tmp_path, kind, fit, text, message):
    checkout = Checkout(tmp_path)
    curves = tmp_path / "config/published/curves"
    curves.mkdir(parents=True)
    (curves / "measured.csv").write_text(text)
    options = {"fit": {"groups": LOSS, "conditions": {"all": "*"}, **fit}}
    module = {"module": "credit.figures.pc.fitted"} if kind == "figures" else {}
    entry = {"references": ["measured.csv"], "options": options, **module}
    changed = checkout.change(**{kind: {"table1" if kind == "tables" else "curves": entry}})
    if message is None:
        spec = changed.workflow().artefact_spec(
            kind.removesuffix("s"), f"toy/{'table1' if kind == 'tables' else 'curves'}"
        )
        assert list(spec["references"]) == ["config/published/curves/measured.csv"]
        return
    with pytest.raises(ConfigError, match=f"{kind}[.].*{message}|{message}"):
        changed.workflow()


def test_what_is_no_fit_at_all_is_named_before_any_job(tmp_path):
    with pytest.raises(ConfigError, match=r"options.fit = 3; must hold groups and conditions"):
        fitting({"fit": 3})
    checkout = Checkout(tmp_path)
    curves = tmp_path / "config/published/curves"
    curves.mkdir(parents=True)
    (curves / "measured.csv").write_text(MEASURED)
    options = {"fit": {"groups": LOSS, "conditions": {"all": "*"}}, "titles": {"al": "a title"}}
    entry = {"module": "credit.figures.pc.fitted", "references": ["measured.csv"], "options": options}
    with pytest.raises(ConfigError, match=r"options.titles: condition = 'al' \(did you mean 'all'\?\)"):
        checkout.change(figures={"curves": entry}).workflow()
