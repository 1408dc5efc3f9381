"""Which number stands for a run, and what a summary says of many runs."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from credit.analysis import pooling
from credit.analysis.names import method_label, recorded_label
from credit.analysis.readable import matrix, mean_and_sd
from credit.analysis.selection import member_values
from credit.analysis.slowness import fit_slowness
from credit.analysis.summaries import read_summary, summarise
from credit.analysis.tables import write_table
from credit.analysis.values import SELECT, Value, values
from credit.config.files import read_yaml
from credit.data.catalog import ROOT
from credit.errors import ConfigError
from tests.unit.test_tables import tidy

# ---- one value per run


def test_the_best_epoch_is_chosen_on_validation_and_ties_go_to_the_first():
    rows = []
    for epoch, (validation, test) in enumerate([(0.5, 0.9), (0.2, 0.4), (0.2, 0.1), (0.3, 0.05)]):
        rows += [("bp", 0, epoch, "validation_error", validation), ("bp", 0, epoch, "test_error", test)]
        rows += [("bp", 0, epoch, "validation_loss", -epoch)]
    table = tidy(rows)
    for select, expected in (("final", 0.05), ("best_validation", 0.4), ("lowest_validation", 0.05)):
        assert member_values(table, "test_error", select)["value"].item() == expected
    assert member_values(table, "test_error", "best_validation", "validation_loss")["value"].item() == 0.05


def test_runs_that_diverged_are_counted_and_left_out_of_the_mean():
    rows = [("bp", s, e, "test_error", 0.1 * (s + 1)) for s in range(3) for e in (0, 1)]
    rows += [("bp", 3, 0, "test_error", 0.9), ("bp", 3, 0, "diverged", 17.0)]
    rows += [("bp", 4, 0, "test_error", 0.9), ("bp", 4, 1, "test_error", np.nan)]
    row = summarise(tidy(rows), "cross/table1", {"metric": "test_error", "percent": True}).iloc[0]
    assert (row["n"], row["diverged"], row["unit"]) == (3, 2, "%")
    assert row["mean"] == pytest.approx(20.0)
    assert row["sd"] == pytest.approx(10.0)


def test_runs_that_diverged_may_count_with_a_value():
    rows = [("bp", s, 1, "test_error", 0.1 * (s + 1)) for s in range(3)]
    rows += [("bp", 3, 0, "test_error", 0.9), ("bp", 3, 0, "diverged", 17.0), ("fa", 0, 1, "diverged", 1.0)]
    options = {"metric": "test_error", "diverged": 1.0, "percent": True}
    summary = summarise(tidy(rows), "cross/table1", options)
    assert list(summary["mean"]) == pytest.approx([40.0, 100.0])
    assert list(zip(summary["n"], summary["diverged"], strict=True)) == [(4, 1), (1, 1)]
    text = matrix(summary, "t", options, {})
    assert "(4, 1 diverged)" in text
    assert "Runs that diverged count with 1." in text
    assert "left out" not in text
    with pytest.raises(ConfigError, match=r"options.diverged = 1.0; must be a number, and null together with average"):
        Value(diverged=1.0, average=True)


def test_a_method_of_which_every_run_diverged_keeps_its_row():
    rows = [("bp", 0, 0, "test_error", 0.9), ("bp", 0, 1, "diverged", 3.0), ("fa", 0, 1, "test_error", 0.2)]
    summary = summarise(tidy(rows), "t", {})
    assert list(summary["n"]) == [0, 1]
    assert "– (0, 1 diverged)" in matrix(summary, "t", {}, {})


def test_a_grid_of_learning_rates_is_not_averaged():
    table = tidy([("bp", 0, 1, "test_error", 0.1), ("bp", 0, 1, "test_error", 0.5)]).assign(lr=[0.1, 1.0])
    with pytest.raises(ConfigError, match="several values of lr"):
        summarise(table, "t", {})
    assert summarise(table, "t", {"where": {"lr": 1.0}})["mean"].item() == 0.5


def test_a_layers_value_at_an_epoch_is_found_and_a_run_without_it_gets_no_row():
    rows = [("mn", 0, e, "angle", 10.0 * e) for e in range(4)] + [("mn", 1, 1, "angle", 1.0)]
    table = pd.concat([tidy(rows), tidy(rows).assign(layer="2", value=lambda t: t["value"] + 1)])
    assert list(member_values(table, Value("angle", select="at", epoch=3, layer="2"))["value"]) == [31.0]
    found = member_values(table, Value("angle", select="at", epoch=1))
    assert list(found["value"]) == [10.0, 1.0]
    assert set(found["epochs"]) == {1}
    with pytest.raises(ConfigError, match="of layer '3'"):
        member_values(table, Value("angle", layer="3"))


def test_several_values_of_a_run_are_told_apart_by_name():
    rows = [
        ("bp", s, e, m, v + s) for s in (0, 2) for e, v in ((1, 3.0), (2, 1.0), (3, 2.0)) for m in ("loss", "other")
    ]
    options = {
        "metric": "loss", "unit": "nats",
        "values": [
            {"select": "lowest"}, {"select": "at", "epoch": 1, "name": "early"}, {"metric": "other", "unit": ""},
            {"metric": "other", "name": "one", "where": {"seed": 0}},
        ],
    }  # fmt: skip
    summary = summarise(tidy(rows), "t", options)
    assert list(summary["metric"]) == ["loss", "early", "other", "one"]
    assert list(summary["mean"]) == [2.0, 4.0, 3.0, 2.0]
    assert list(summary["n"]) == [2, 2, 2, 1]
    assert list(summary["epochs"]) == [3, 1, 3, 3]
    assert list(summary["unit"]) == ["nats", "nats", "", "nats"]
    text = matrix(summary, "t", options, {})
    assert "| | MNIST: loss [nats] | MNIST: early [nats] | MNIST: other | MNIST: one [nats] |" in text
    assert "Early: loss [nats], after epoch 1." in text


def test_a_value_at_an_epoch_that_no_run_reached_is_left_out():
    options = {"values": [{"metric": "loss"}, {"metric": "loss", "select": "at", "epoch": 50, "name": "late"}]}
    table = tidy([("bp", 0, 1, "loss", 0.5)])
    assert list(summarise(table, "t", options)["metric"]) == ["loss"]
    assert "- Recorded by no run: late.\n" in matrix(summarise(table, "t", options), "t", options, {})
    only = {"values": options["values"][1:]}
    assert summarise(table, "t", only).empty
    assert matrix(summarise(table, "t", only), "t", only, {}) == "# t\n\nNo run has these values.\n"


def test_a_list_of_epochs_is_one_value_for_each_with_a_window_of_its_own():
    rows = [
        ("bp", 0, epoch, metric, sign * epoch) for epoch in range(9) for metric, sign in (("up", 1.0), ("down", -1.0))
    ]
    short = {
        "select": "at",
        "epoch": [1, 4, 8],
        "window": [1, 2, 4],
        "values": [{"metric": "up"}, {"metric": "down", "name": "d"}],
    }
    long = [
        {"metric": metric, "name": f"{name}_{epoch}", "select": "at", "epoch": epoch, "window": window}
        for metric, name in (("up", "up"), ("down", "d"))
        for epoch, window in ((1, 1), (4, 2), (8, 4))
    ]
    assert values(short) == values({"values": long})
    summary = summarise(tidy(rows), "t", short)
    assert list(summary["metric"]) == ["up_1", "up_4", "up_8", "d_1", "d_4", "d_8"]
    assert list(summary["mean"]) == [1.0, 3.5, 6.5, -1.0, -3.5, -6.5]
    assert list(summary["epochs"]) == [1, 4, 8] * 2
    same = {v.window for v in values({"select": "at", "epoch": [1, 2], "window": 3})}
    assert same == {3}


def test_the_schema_of_tables_knows_every_setting_of_a_value():
    schema = read_yaml(ROOT / "workflow" / "schemas" / "experiment.schema.yaml")["$defs"]["table_options"]["properties"]
    settings = {f.name for f in fields(Value)}
    assert set(schema["values"]["items"]["properties"]) == settings
    assert set(schema) == settings | {"rows", "columns", "values", "events", "fit"}
    assert set(schema["events"]["properties"]) == set(pooling.KEYS)
    assert tuple(schema["select"]["enum"]) == SELECT


def test_slowness_is_that_of_the_accuracy_of_each_run_or_of_the_mean_curve():
    curves = {0: [0.9, 0.5, 0.3, 0.2, 0.1], 1: [0.9, 0.3, 0.2, 0.15, 0.1]}
    table = tidy([("pepita", s, e, "test_error", v) for s, curve in curves.items() for e, v in enumerate(curve)])
    options = {
        "values": [
            {"select": "slowness", "name": "slowness", "points": 4},
            {"select": "slowness", "name": "mean_curve", "points": 4, "average": True},
        ]
    }
    summary = summarise(table, "t", options).set_index("metric")
    single = [fit_slowness(1 - np.array(c[1:]), 0.1, 4).slowness for c in curves.values()]
    assert summary.loc["slowness", "mean"] == pytest.approx(np.mean(single))
    average = 1 - np.mean(list(curves.values()), axis=0)[1:]
    assert summary.loc["mean_curve", "mean"] == pytest.approx(fit_slowness(average, 0.1, 4).slowness)
    assert summary.loc["mean_curve", "n"] == 2 and np.isnan(summary.loc["mean_curve", "se"])


def test_the_number_of_a_mean_curve_has_a_jackknife_standard_error():
    ends = [0.1, 0.2, 0.6]
    table = tidy([("bp", s, e, "test_error", v) for s, end in enumerate(ends) for e, v in enumerate((0.9, end))])
    row = summarise(table, "t", {"average": True}).iloc[0]
    assert (row["mean"], row["se"]) == pytest.approx((0.3, np.std(ends, ddof=1) / np.sqrt(3))), (
        "of a mean it is the usual"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": [{"metrics": "loss"}]}, r"options.values\[0\].*did you mean 'metric'"),
        (
            {"values": [{"metric": "loss"}, {"metric": "loss", "select": "lowest"}]},
            "two of bp on mnist are called 'loss'",
        ),
        ({"values": [{"metric": "loss", "select": "at"}]}, "options.epoch = None"),
        ({"values": [{"metric": "loss", "epoch": 3}]}, "options.epoch = 3"),
        ({"metric": "loss", "select": "at", "epoch": [1], "window": [1, 2]}, r"one for each of options.epoch = \[1\]"),
        ({"metric": "loss", "select": "at", "epoch": 1, "window": [1]}, "goes with a list of epochs"),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        summarise(tidy([("bp", 0, 1, "loss", 0.1)]), "t", options)


# ---- summaries


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "test_eror"}, "did you mean 'test_error'"),
        ({"select": "best"}, "options.select"),
        ({"where": {"dataste": "mnist"}}, "did you mean 'dataset'"),
        ({"where": {"method": ["pc"]}}, "no rows are left"),
        ({"select": "best_validation"}, "validation_error"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        summarise(tidy([("bp", 0, 1, "test_error", 0.1)]), "t", options)


# ---- readable tables


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (2.0812, 0.1523, "2.08 ± 0.15"),
        (98.634, 0.03, "98.634 ± 0.030"),
        (1.53e-7, 0.19e-7, "(1.53 ± 0.19)·10^-7"),
        (12.3, 25.0, "12 ± 25"),
        (0.0, 0.0, "0.00 ± 0.00"),
        (0.25, np.nan, "0.25"),
        (np.nan, np.nan, "–"),
    ],
)
def test_means_are_written_with_two_digits_of_their_spread(mean, sd, text):
    assert mean_and_sd(mean, sd) == text


def test_the_readable_table_names_what_is_missing_and_what_is_unverified(tmp_path):
    rows = [("bp", s, 1, "test_error", 0.02 + 0.001 * s) for s in range(3)]
    table = pd.concat([tidy(rows), tidy(rows, dataset="cifar10", data_verified=False)])
    table = pd.concat([table, tidy([("novel", 0, 1, "test_error", 0.3)])])
    options = {"metric": "test_error", "percent": True}
    text = matrix(summarise(table, "cross/table1", options), "Test error", options, {"novel": "dfa"})
    assert text.startswith("# Test error\n\n| | MNIST | CIFAR-10 † |\n")
    assert "| BP | 2.10 ± 0.10 (3) | 2.10 ± 0.10 (3) |" in text
    assert "| novel | 30 (1) | not run |" in text
    assert "checksum is not the published one" in text
    write_table(tmp_path / "table1.csv", summarise(table, "cross/table1", options))
    assert matrix(read_summary(tmp_path / "table1.csv"), "Test error", options, {"novel": "dfa"}) == text
    turned = matrix(summarise(table, "t", options), "t", {**options, "rows": "dataset", "columns": "method"}, {})
    assert "| CIFAR-10 † | 2.10 ± 0.10 (3) | not run |" in turned


def test_what_a_method_is_not_asked_for_is_a_dash_and_what_lacks_a_run_is_not_run():
    """No run: fa on CIFAR-10. Run, and not asked for it: the angle of bp. Neither: the top 5 of fa."""
    rows = [(m, s, 1, "test_error", 0.1 + s) for m in ("bp", "fa") for s in (0, 1)]
    rows += [("fa", s, 1, "angle_bp_0.5", 10.0 + s) for s in (0, 1)]
    there = [("bp", s, 1, metric, 0.1 + s) for s in (0, 1) for metric in ("test_error", "test_top5_error")]
    table = pd.concat([tidy(rows), tidy(there, dataset="cifar10")])
    options = {
        "values": [
            {"metric": "test_error", "percent": True},
            {"metric": "test_top5_error", "percent": True, "where": {"dataset": "cifar10", "method": ["bp", "dfa"]}},
            {"metric": "angle_bp_0.5", "name": "angle", "unit": "°", "where": {"method": "fa", "dataset": "mnist"}},
        ]
    }
    text = matrix(summarise(table, "t", options), "t", options, {})
    assert (
        "| | MNIST: test error [%] | MNIST: angle [°] | CIFAR-10: test error [%] | CIFAR-10: test error, top 5 [%] |"
        in text
    )
    assert "| BP | 60 ± 71 (2) | – | 60 ± 71 (2) | 60 ± 71 (2) |" in text
    assert "| FA | 60 ± 71 (2) | 10.50 ± 0.71 (2) | not run | – |" in text
    assert "- Angle: angle to BP with stepsize 0.5 [°], after the last epoch." in text
    assert text.endswith("- –: not asked for.\n")
    one = {"metric": "test_error"}
    assert "–" not in matrix(summarise(table, "t", one), "t", one, {})


def test_one_learning_rule_has_one_name_to_which_a_variant_adds():
    assert method_label("ddtp_linear-cleared") == "DDTP-linear (cleared)"
    assert method_label("ddtp_linear-s", "ddtp_linear") == "DDTP-linear (s-DDTP)"
    assert method_label("ddtp_linear-p_held_out", "ddtp_linear") == "DDTP-linear (p-DDTP, held out)"
    assert method_label("ldrl-symmetric_add") == "L-DRL (symmetric add)"
    assert method_label("ddtp_linear-slow") == "DDTP-linear (slow)"
    assert (recorded_label("angle_bp", "°"), recorded_label("angle_x_3")) == ("angle to BP [°]", "angle x 3")


def test_a_window_is_the_mean_of_the_last_records_also_within_an_epoch():
    curve = tidy([("mn", 0, e, "angle", float(e * e)) for e in range(6)])
    for value, expected in (
        (Value("angle", window=3), (9 + 16 + 25) / 3),
        (Value("angle", select="at", epoch=1, window=3), 0.5),
        (Value("angle", select="at", epoch=4, window=2), 12.5),
    ):
        assert member_values(curve, value)["value"].item() == pytest.approx(expected)
    within = curve.assign(epoch=0, step=[3, 1, 2, 0, 5, 4])
    assert member_values(within, Value("angle", window=2))["value"].item() == pytest.approx((25 + 16) / 2)
    for wrong in ({"window": 0}, {"window": 3, "select": "lowest"}):
        with pytest.raises(ConfigError, match=r"options\.window"):
            Value("angle", **wrong)


def test_numbers_can_be_the_lines_of_the_readable_table():
    rows = [(m, s, 1, metric, 2.0 + s) for m in ("bp", "fa") for s in (0, 1) for metric in ("train_loss", "test_loss")]
    summary = summarise(tidy(rows), "t", {"values": [{"metric": "train_loss"}, {"metric": "test_loss"}]})
    text = matrix(summary, "t", {"rows": "metric", "columns": "method"}, {})
    assert text.splitlines()[2] == "| | BP | FA |"
    assert text.splitlines()[4] == "| training loss | 2.50 ± 0.71 (2) | 2.50 ± 0.71 (2) |"
    with pytest.raises(ConfigError, match="two of: method, dataset, metric"):
        matrix(summary, "t", {"rows": "metric", "columns": "metric"}, {})


def test_kinds_of_a_value_with_one_name_say_for_which_rows_each_is_meant():
    summary = pd.DataFrame(
        [{"method": "bp", "dataset": "mnist", "metric": "slowness", "mean": 0.1, "sd": 0.1, "n": 2, "diverged": 0}]
    ).assign(data_verified=True)
    kinds = [
        {"points": 60, "where": {"experiment": "fc", "dataset": ["mnist", "cifar10"]}},
        {"points": 60, "chance": 0.01, "where": {"experiment": "fc", "dataset": "cifar100"}},
        {"points": 10, "where": {"experiment": "conv", "dataset": ["mnist", "cifar10", "cifar100"]}},
    ]

    def notes(some):
        options = {"select": "slowness", "name": "slowness", "values": some}
        return [line for line in matrix(summary, "t", options, {}).splitlines() if line.startswith("- Slow")]

    assert notes(kinds) == [
        "- Slowness of single runs: fit to the first 60 points of 1 - test_error (experiment fc).",
        "- Slowness of single runs: fit to the first 10 points of 1 - test_error (experiment conv).",
    ]
    assert notes(kinds[:2]) == ["- Slowness of single runs: fit to the first 60 points of 1 - test_error."]
