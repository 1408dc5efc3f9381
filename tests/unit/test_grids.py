"""Numbers of whole runs and of grids: means of curves, runs that diverge on the way, the best point, differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_checkout import Checkout

from credit.analysis.names import dataset_order
from credit.analysis.readable import matrix
from credit.analysis.selection import at_best, best_limits, chosen_values, member_values
from credit.analysis.summaries import summarise
from credit.analysis.values import PUBLISHED, Value, values
from credit.config.files import overlay
from credit.dag.commands import configuration
from credit.dag.targets import Workflow
from credit.errors import ConfigError
from tests.conftest import REPOSITORY
from tests.unit.test_tables import tidy

# ---- curves


def curve(values, method="bp", seed=0, metric="test_error", first=0):
    return [(method, seed, first + e, metric, v) for e, v in enumerate(values)]


def test_the_mean_is_over_the_epochs_of_training_and_may_stop_early():
    table = tidy(curve([0.9, 0.4, 0.2, 0.6]))
    assert member_values(table, Value(select="mean"))["value"].item() == pytest.approx(0.4)
    assert member_values(table, Value(select="mean", first=2))["value"].item() == pytest.approx(0.3)
    assert member_values(table, Value(select="lowest", first=1))["value"].item() == pytest.approx(0.4)
    validated = tidy(curve([0.9, 0.4, 0.2, 0.6]) + curve([0.9, 0.5, 0.4, 0.1], metric="validation_error"))
    best = Value(select="best_validation", first=2)
    assert member_values(validated, best)["value"].item() == pytest.approx(0.2)


def test_from_the_epoch_on_in_which_it_diverged_a_run_counts_with_a_value():
    rows = curve([0.9, 0.5, 0.4, 0.3, 0.2], seed=0) + curve([0.9, 0.6, 0.2], seed=1) + [("bp", 1, 3, "diverged", 31.0)]
    table = tidy(rows)
    found = member_values(table, Value(select="mean", diverged=1.0))
    assert list(found["value"]) == pytest.approx([0.35, (0.6 + 0.2 + 1 + 1) / 4])
    assert list(found["diverged"]) == [False, True]
    assert list(member_values(table, Value(select="mean", diverged=1.0, first=2))["value"]) == pytest.approx(
        [0.45, 0.4]
    )
    assert list(member_values(table, Value(select="lowest", diverged=1.0))["value"]) == pytest.approx([0.2, 0.2])
    assert list(member_values(table, Value(select="final", diverged=1.0))["value"]) == pytest.approx([0.2, 1.0])
    assert list(member_values(table, Value(select="at", epoch=2, diverged=1.0))["value"]) == pytest.approx([0.4, 0.2])
    assert np.isnan(member_values(table, Value(select="mean"))["value"].iloc[1])


def test_a_run_that_diverged_at_once_counts_alone_and_among_others():
    alone = tidy([("bp", 0, 1, "diverged", 3.0), *curve([0.9])])
    assert member_values(alone, Value(select="mean", diverged=1.0))["value"].item() == 1.0
    assert member_values(alone, Value(select="lowest", diverged=1.0))["value"].item() == 0.9, "before training"


def test_the_epoch_of_a_run_that_diverged_is_chosen_before_it_did():
    rows = curve([0.9, 0.3, 0.2]) + curve([0.9, 0.1, 0.5], metric="validation_error") + [("bp", 0, 3, "diverged", 9.0)]
    found = member_values(tidy(rows), Value(select="best_validation", diverged=1.0))
    assert found["value"].item() == pytest.approx(0.3)


# ---- grids


def grid(errors, seeds=3, epochs=4):
    """errors: {method: {lr: {metric: value}}}; runs of seed s are 0.01 s above."""
    parts = []
    for method, points in errors.items():
        for lr, metrics in points.items():
            rows = [
                (method, s, e, metric, value + 0.01 * s + 0.1 * (e - (epochs + 1) / 2))
                for s in range(seeds)
                for e in range(1, epochs + 1)
                for metric, value in metrics.items()
            ]
            parts.append(tidy(rows).assign(lr=lr))
    return pd.concat(parts, ignore_index=True)


ERRORS = {
    "bp": {
        0.01: {"test_error": 0.5, "validation_error": 0.4, "held_out_error": 0.45},
        0.1: {"test_error": 0.4, "validation_error": 0.5, "held_out_error": 0.35},
    },
    "pc": {
        0.1: {"test_error": 0.38, "validation_error": 0.3, "held_out_error": 0.33},
        0.5: {"test_error": 0.3, "validation_error": 0.2, "held_out_error": 0.25},
        5.0: {"test_error": 0.7, "validation_error": 0.7, "held_out_error": 0.7},
    },
}


def test_the_best_point_is_that_of_the_lowest_mean_over_seeds_as_published_and_by_other_data():
    options = {
        "select": "mean", "best": "lr",
        "values": [{"metric": "test_error"}, {"metric": "held_out_error", "by": "validation_error"}],
    }  # fmt: skip
    summary = summarise(grid(ERRORS), "pc/t", options).set_index(["method", "metric"])
    means = summary["mean"]
    assert (means["bp", "test_error"], means["bp", "test_error_lr"]) == (pytest.approx(0.41), 0.1)
    assert (means["bp", "held_out_error"], means["bp", "held_out_error_lr"]) == (pytest.approx(0.46), 0.01)
    assert (means["pc", "test_error"], means["pc", "test_error_lr"]) == (pytest.approx(0.31), 0.5)
    assert list(summary["n"]) == [3] * 8
    assert np.isnan(summary.loc[("pc", "test_error_lr"), "sd"])
    text = matrix(summary.reset_index(), "t", {**options, "rows": "metric", "columns": "method"}, {})
    assert "| learning rate of the best test error | 0.1 (3) | 0.5 (3) |" in text
    assert "at the learning rate of the lowest mean validation error over runs" in text
    assert "at the learning rate of the lowest mean of these very numbers over runs" in text


def noisy(means, seeds=5, spread=0.01, method="bp"):
    """Runs at points of a grid, whose errors have a part of the seed and one of their own."""
    rng, rows, rates = np.random.default_rng(2), [], []
    shared = rng.normal(0, 0.3, seeds)
    for lr, mean in means.items():
        for seed in range(seeds):
            rows += curve([0.9, mean + shared[seed] + spread * rng.normal()], method, seed)
            rates += [lr] * 2
    return tidy(rows).assign(lr=rates)


def test_points_that_cannot_be_told_from_the_best_limit_it():
    table, value = noisy({0.1: 0.5, 0.2: 0.401, 0.3: 0.4, 0.4: 0.403, 0.5: 0.45}), Value(best="lr")
    assert best_limits(table, value) == {("mnist", "bp"): (0.2, 0.4)}, "seeds differ by 0.3, but all points share them"
    row = summarise(table, "t", {"best": "lr"}).set_index("metric").loc["test_error_lr"]
    assert (row["ci_low"], row["ci_high"], row["runs"]) == (0.2, 0.4, 5)
    upside = table.assign(value=1 - table["value"])
    assert best_limits(upside, Value(best="lr", highest=True)) == {("mnist", "bp"): (0.2, 0.4)}
    assert np.isnan(best_limits(noisy({0.1: 0.401, 0.3: 0.4}), value)["mnist", "bp"]).all(), "nothing can be told"
    assert np.isnan(best_limits(noisy({0.1: 0.9, 0.3: 0.4}, seeds=1), value)["mnist", "bp"]).all(), "one seed"
    lost = table.copy()
    lost.loc[(lost["lr"] == 0.2) & (lost["seed"] == 3) & (lost["epoch"] == 1), ["metric", "value"]] = ["diverged", 1.0]
    assert best_limits(lost, value)["mnist", "bp"] == (0.3, 0.4), "no mean of the survivors"


def test_the_best_of_equal_points_is_seldom_told_from_the_others():
    told = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        rows = [r for lr in range(6) for s in range(3) for r in curve([0.9, 0.5 + rng.normal()], seed=s)]
        table = tidy(rows).assign(lr=np.repeat(np.arange(6.0), 6))
        low, high = best_limits(table, Value(best="lr"))["mnist", "bp"]
        told.append(not np.isnan(low) and not low <= 3.0 <= high)
    assert np.mean(told) < 0.05


def test_of_differences_eight_pairs_have_a_sign_flip_test_and_runs_that_diverged_are_lost():
    rows = [r for s in range(8) for m, v in (("bp", 0.3), ("fa", 0.31 + s / 100)) for r in curve([0.9, v], m, s)]
    options = {"metric": "test_error", "minus": "bp", "name": "test_error_minus_bp"}
    row = summarise(tidy(rows), "t", options).iloc[0]
    assert (row["mean"], row["n"], row["sign_flip"]) == (pytest.approx(0.045), 8, 2 / 256)
    few = summarise(tidy([r for r in rows if r[1] < 5]), "t", options).iloc[0]
    assert few["n"] == 5 and np.isnan(few["sign_flip"]) and few["ci_low"] < few["mean"] < few["ci_high"]
    gone = tidy([*[r for r in rows if r[:2] != ("bp", 3) or r[2] == 0], ("bp", 3, 1, "diverged", 3.0)])
    row = summarise(gone, "t", options).iloc[0]
    assert (row["n"], row["lost"], row["diverged"]) == (7, 1, 1)
    row = summarise(gone, "t", {**options, "diverged": 1.0}).iloc[0]
    assert (row["n"], row["lost"], row["diverged"]) == (8, 0, 1)


def test_a_run_that_diverged_counts_alike_in_every_table_and_figure_of_an_experiment_and_in_its_search():
    """A search leaves a point out at which a run diverged, as a grid does whose table declares nothing."""
    whole = Workflow(configuration([], [], REPOSITORY), REPOSITORY)
    declared = 0
    for key, experiment in whole.experiments.items():
        tables, figures = (experiment.body.get(kind, {}).values() for kind in ("tables", "figures"))
        counts = {v.diverged for t in tables for v in values(t.get("options", {})) if v.metric.endswith("_error")}
        counts |= {f["options"]["diverged"] for f in figures if "diverged" in f.get("options", {})}
        assert len(counts) <= 1, f"{key}: {counts}"
        if counts - {None}:
            declared += 1
            assert not any(experiment.cell(d, m).search for d in experiment.datasets for m in experiment.methods), key
    assert declared == 6


def test_a_grid_that_is_not_chosen_from_is_refused_and_one_that_is_not_there_too():
    with pytest.raises(ConfigError, match="several values of lr"):
        summarise(grid(ERRORS), "t", {"select": "mean"})
    table = grid(ERRORS).assign(beta=lambda t: t["seed"] * 0.5)
    with pytest.raises(ConfigError, match="several values of beta"):
        summarise(table, "t", {"select": "mean", "best": "lr"})
    with pytest.raises(ConfigError, match=r"'rate'.*lr"):
        summarise(grid(ERRORS), "t", {"select": "mean", "best": "rate"})


def test_the_best_point_may_be_the_one_of_the_highest_mean():
    table = grid(ERRORS)
    means = table[table["epoch"] > 0].groupby(["method", "lr", "metric"])["value"].mean()
    options = {"select": "mean", "best": "lr", "highest": True, "metric": "test_error"}
    summary = summarise(table, "pc/t", options).set_index(["method", "metric"])["mean"]
    for method in ("bp", "pc"):
        own = means[method].xs("test_error", level="metric")
        assert summary[method, "test_error"] == pytest.approx(own.max())
        assert summary[method, "test_error_lr"] == own.idxmax()
    text = matrix(summarise(table, "pc/t", options), "t", {**options, "rows": "metric", "columns": "method"}, {})
    assert "at the learning rate of the highest mean of these very numbers over runs" in text


@pytest.mark.parametrize("highest", [False, True])
def test_points_at_which_a_run_diverged_are_out_also_where_the_highest_is_best(highest):
    lost = grid({"bp": {0.1: {"test_error": 0.3 if highest else 0.2}, 0.5: {"test_error": 0.25}}})
    gone = (lost["lr"] == 0.1) & (lost["seed"] == 2) & (lost["epoch"] == 4)
    lost.loc[gone, ["metric", "value"]] = ["diverged", 40.0]
    assert set(at_best(lost, Value(select="mean", best="lr", highest=highest))["lr"]) == {0.5}


def test_points_at_which_a_run_diverged_are_out_unless_they_count_or_there_is_no_other():
    lost = grid({"bp": {0.1: {"test_error": 0.2}, 0.5: {"test_error": 0.3}}})
    gone = (lost["lr"] == 0.1) & (lost["seed"] == 2) & (lost["epoch"] == 4)
    lost.loc[gone, ["metric", "value"]] = ["diverged", 40.0]
    assert set(at_best(lost, Value(select="mean", best="lr"))["lr"]) == {0.5}
    assert set(at_best(lost, Value(select="lowest", best="lr", diverged=1.0))["lr"]) == {0.1}
    only = lost[lost["lr"] == 0.1]
    row = summarise(only, "t", {"select": "mean", "best": "lr"}).iloc[0]
    assert (row["n"], row["diverged"]) == (2, 1)


def test_every_point_of_a_grid_has_a_number_of_its_own():
    options = {"select": "mean", "each": "lr", "metric": "test_error", "name": "error", "percent": True}
    summary = summarise(grid(ERRORS), "t", options)
    found = summary.set_index(["method", "metric"])["mean"]
    assert found["pc", "error_5"] == pytest.approx(71.0)
    assert list(found["bp"].index) == ["error_0.01", "error_0.1"]
    text = matrix(summary, "t", options, {})
    assert "error at learning rate 0.01 [%]" in text
    assert "Recorded by no run" not in text
    assert [Value(each="lr").named(f"test_error_{end}") for end in ("5e-06", "0.1", "lr", "minus_0.1")] == [1, 1, 0, 0]


def test_differences_are_taken_run_by_run_at_the_best_of_each():
    value = Value(select="mean", best="lr", minus="bp", name="difference")
    table = grid(ERRORS)
    table.loc[(table["method"] == "pc") & (table["seed"] == 2), "value"] -= 0.3
    found = chosen_values(table, value)
    assert list(found["method"]) == ["pc"] * 3
    assert list(found["value"]) == pytest.approx([-0.1, -0.1, -0.4])
    summary = summarise(table, "t", {"select": "mean", "best": "lr", "minus": "bp", "name": "difference"})
    assert list(summary["metric"]) == ["difference"]
    assert summary["sd"].item() == pytest.approx(np.std([-0.1, -0.1, -0.4], ddof=1))
    fewer = table[(table["method"] == "pc") | (table["seed"] < 2)]
    assert len(chosen_values(fewer, value)) == 2, "a run without a partner has no difference"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": 3}, r"options.first = 3; must be >= 1, and null unless select is lowest, mean"),
        ({"by": "validation_error"}, r"options.by = 'validation_error'; needs options.best"),
        ({"best": "lr", "each": "lr"}, r"options.best, each = 'lr', 'lr'; must not both be given"),
        ({"best": "lr", "average": True}, r"options.average = true; goes with neither best nor each nor minus"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        Value(**settings)


def test_conditions_are_listed_by_the_numbers_in_their_names():
    given = ["depth_10", "depth_2", "batch_64", "depth_1", "fashion_mnist", "batch_8"]
    assert dataset_order(given) == ["fashion_mnist", "batch_8", "batch_64", "depth_1", "depth_2", "depth_10"]


# ---- before any job

VARIED = {"methods": {m: {"vary": {"hyper.feedback_scale": [1.0, 2.0]}} for m in ("fa", "dfa")}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"best": "feedback_scal"}, r"tables\.table1\.options\.best = 'feedback_scal' \(did you mean 'feedback_scale'"),
        ({"each": "lr"}, r"options\.each = 'lr'"),
        ({"best": "feedback_scale", "by": "tset_loss"}, r"options\.by = 'tset_loss' \(did you mean 'test_loss'"),
        ({"best": "feedback_scale", "minus": "pb"}, r"options\.minus = 'pb'.*and another one to hold against it"),
        ({}, r"several values of feedback_scale"),
    ],
)
def test_what_a_table_asks_of_a_grid_is_checked_before_any_job(tmp_path, options, message):
    entry = {"tables": {"table1": {"options": {"metric": "test_loss", **options}}}}
    checkout = Checkout(tmp_path).change(**overlay(entry, VARIED))
    with pytest.raises(ConfigError, match=message):
        checkout.workflow()


def test_a_table_of_a_grid_may_choose_and_numbers_of_its_points_may_be_published(tmp_path):
    chosen = {"metric": "test_loss", "where": {"method": ["fa", "dfa"]}, "select": "mean"}
    settings = [{"best": "feedback_scale", "minus": "fa", "name": "d"}, {"each": "feedback_scale", "name": "loss"}]
    settings.append({"best": "feedback_scale", "name": "loss"})  # its name is none of those of single points
    entry = {
        "figures": {"curves": {"options": {"where": {"method": "bp"}}}},
        "tables": {"table1": {"options": {**chosen, "values": settings}}},
    }
    checkout = Checkout(tmp_path).change(**overlay(entry, VARIED))
    path = tmp_path / "config" / "published" / "toy.csv"
    path.parent.mkdir()
    rows = [f"toy/table1,near,dfa,{metric},mean,1.5,0.1,,,5,100,,printed,x" for metric in ("d", "loss_1", "loss_0.3")]
    path.write_text("\n".join([",".join(PUBLISHED), *rows]) + "\n", encoding="utf-8")
    assert checkout.workflow()
    path.write_text("\n".join([",".join(PUBLISHED), rows[0].replace(",d,", ",e,")]) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2: metric = 'e'"):
        checkout.workflow()
