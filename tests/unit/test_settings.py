"""Configuration files: reading, checking, merging, and what the command line may narrow."""

from __future__ import annotations

import pytest
import yaml
from small_checkout import REPOSITORY

from credit.config.files import check_schema, merge, overlay, read_yaml
from credit.dag.settings import settings
from credit.errors import ConfigError, one_of

SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
EXPERIMENT = REPOSITORY / "workflow" / "schemas" / "experiment.schema.yaml"


def configured(**changes):
    return settings(overlay(read_yaml(REPOSITORY / "config" / "config.yaml"), changes), SCHEMA)


# ---- merging


def test_mappings_merge_and_everything_else_is_replaced():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merge(base, {"a": {"c": [9]}, "e": None}) == {"a": {"b": 1, "c": [9]}, "d": 3, "e": None}


def test_a_mapping_replaces_a_value_and_a_value_a_mapping():
    assert merge({"a": 1, "b": {"c": 2}}, {"a": {"x": 1}, "b": None}) == {"a": {"x": 1}, "b": None}


def test_merging_shares_nothing_with_its_arguments():
    base, over = {"a": {"b": [1]}}, {"c": {"d": [2]}}
    result = merge(base, over)
    result["a"]["b"].append(0)
    result["c"]["d"].append(0)
    assert (base, over) == ({"a": {"b": [1]}}, {"c": {"d": [2]}})


def test_later_layers_win_and_absent_ones_count_for_nothing():
    assert overlay({"a": 1, "b": 1}, None, {"b": 2}, {}) == {"a": 1, "b": 2}


# ---- files


def test_a_mistake_in_yaml_is_reported_with_file_and_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: 1\nb: [1, 2\n")
    with pytest.raises(ConfigError, match=r"broken.yaml: cannot be read: .*line 3"):
        read_yaml(path)


def test_the_key_on_is_a_text_without_quotes(tmp_path):
    path = tmp_path / "probe.yaml"
    path.write_text("{probe: weight_norm, on: evaluate, masked: yes}")
    assert read_yaml(path) == {"probe": "weight_norm", "on": "evaluate", "masked": True}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read"):
        read_yaml(tmp_path / "nowhere.yaml")


# ---- schema


def experiment(**changes):
    least = {"title": "t", "net": {}, "task": {}, "train": {}, "seeds": 1, "datasets": {"d": {}}, "methods": {"bp": {}}}
    return {**least, **changes}


def test_the_least_experiment_is_accepted():
    check_schema(experiment(), EXPERIMENT, "x.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": "x"}, r"x.yaml: top level: unknown key 'titel' \(did you mean 'title'\?\); allowed: .*title"),
        ({"train": {"epochz": 3}}, r"x.yaml: train: unknown key 'epochz' \(did you mean 'epochs'\?\)"),
        ({"train": {"evaluate": {"evry": 3}}}, r"train.evaluate: unknown key 'evry' \(did you mean 'every'\?\)"),
        ({"methods": {"bp": {"hypr": {}}}}, r"methods.bp.*hypr"),
        ({"seeds": "five"}, r"x.yaml: seeds = 'five': .*integer"),
        ({"seeds": 0}, r"x.yaml: seeds: 0 is less than the minimum of 1"),
        ({"train": {"dtype": "float16"}}, r"train.dtype: 'float16' is not one of \['float32', 'float64'\]"),
        ({"vary": {"net.size": [1]}}, r"vary: 'net.size' does not match"),
        ({"methods": {}}, r"x.yaml: methods: "),
        ({"probes": [{"probe": "angles", "every": -1}]}, r"probes.*every: -1 is less than the minimum of 0"),
        ({"probes": [{"probe": "angles", "every": "5"}]}, r"probes.*every = '5': .*integer"),
    ],
)
def test_a_violation_names_file_and_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_schema(experiment(**changes), EXPERIMENT, "x.yaml")


def test_all_violations_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        check_schema(experiment(seeds=0, titel="x", train={"epochs": "3"}), EXPERIMENT, "x.yaml")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("path", sorted((REPOSITORY / "workflow" / "schemas").glob("*.yaml")), ids=lambda p: p.name)
def test_every_schema_refuses_unknown_keys(path):
    schema = yaml.safe_load(path.read_text())
    assert schema.get("additionalProperties") is not True
    assert "additionalProperties" in schema


# ---- settings


def test_the_shipped_configuration_is_paper_scale_and_narrows_nothing():
    s = configured()
    assert (s.scale, s.device, s.root, s.data_folder) == ("paper", "auto", "results", "results/data")
    assert (s.methods, s.datasets, s.experiments, s.seeds, s.mirror) == (None,) * 5


def test_quick_results_lie_apart_and_data_does_not():
    s = configured(**read_yaml(REPOSITORY / "config" / "quick.yaml"))
    assert (s.root, s.data_folder) == ("results/quick", "results/data")


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    """No mirror in the environment."""
    monkeypatch.delenv("CREDIT_DATA_MIRROR", raising=False)


@pytest.mark.parametrize("value", ["null", "None", "", " ", None])
def test_null_within_a_mapping_on_the_command_line_is_no_folder(value):
    s = configured(data={"mirror": value, "user_files": value})
    assert (s.mirror, s.user_files) == (None, None)


PATHS = ("folder", "mirror", "user_files")


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/data", "/home/me/data"),
        ("~", "/home/me"),
        ("$SCRATCH/data", "/scratch/me/data"),
        ("${SCRATCH}/data/", "/scratch/me/data"),
        (" $SCRATCH/a$GROUP ", "/scratch/me/alab"),
        ("$HERE/data", "/home/me/data"),
        ("/plain/data", "/plain/data"),
        ("results/data", "results/data"),
    ],
)
def test_home_and_variables_are_replaced_in_every_path(key, written, meant, monkeypatch):
    for name, value in {"HOME": "/home/me", "SCRATCH": "/scratch/me", "GROUP": "lab", "HERE": "~"}.items():
        monkeypatch.setenv(name, value)
    s = configured(data={key: written})
    found = {"folder": s.data_folder, "mirror": s.mirror, "user_files": s.user_files}[key]
    assert found.rstrip("/") == meant


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("$NOWHERE/data", "the variable NOWHERE is not set"),
        ("${NOWHERE}/data", "the variable NOWHERE is not set"),
        ("$/data", "the variable . is not set"),
        ("$EMPTY/data", "the variable EMPTY is not set in this environment, or empty"),
        ("~no_such_user/data", "there is no such user"),
    ],
)
def test_a_path_that_cannot_be_expanded_is_refused_by_its_key(key, written, problem, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ConfigError, match=rf"data\.{key} = '.*': {problem}") as caught:
        configured(data={key: written})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "written", ["", " ", "null", "None", None, "/", "//", "$SLASH", "a{b}/c", "a*", "a\nb", __file__]
)
def test_what_is_no_folder_is_refused_by_its_key(written, monkeypatch):
    monkeypatch.setenv("SLASH", "/")
    with pytest.raises(ConfigError, match=r"config: data\.folder = .*; "):
        configured(data={"folder": written})


def test_the_mirror_of_the_environment_is_expanded_and_checked_like_the_configured_one(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("CREDIT_DATA_MIRROR", "~/mirror")
    assert configured().mirror == "/home/me/mirror"
    assert configured(data={"mirror": "/other"}).mirror == "/other"
    monkeypatch.setenv("CREDIT_DATA_MIRROR", "$NOWHERE/mirror")
    with pytest.raises(ConfigError, match=r"CREDIT_DATA_MIRROR = '\$NOWHERE/mirror': the variable NOWHERE is not set"):
        configured()
    monkeypatch.setenv("CREDIT_DATA_MIRROR", "")
    assert configured().mirror is None


@pytest.mark.parametrize("value", ["bp,fa", " bp , fa,", ["bp", "fa"], ["bp ", " fa"]])
def test_names_are_lists_or_text_with_commas(value):
    assert configured(methods=value).methods == ("bp", "fa")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": "qick"}, r"scale: 'qick' is not one of \['paper', 'quick'\]"),
        ({"seeds": "2"}, "seeds"),
        ({"seeds": 0}, "seeds"),
        ({"methods": []}, "methods"),
        ({"method": "bp"}, r"unknown key 'method' \(did you mean 'methods'\?\)"),
        ({"data": {"miror": "/x"}}, r"data: unknown key 'miror' \(did you mean 'mirror'\?\)"),
        ({"data": {"allow_unverified": {"cifar10": "abc"}}}, "data.allow_unverified.cifar10"),
        ({"data": None}, "data = None"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        configured(**changes)


def test_a_long_list_of_names_is_cut_to_the_nearest():
    names = [f"results/tables/{i}.csv" for i in range(100)]
    message = one_of("target", "tables/7.csv", names)
    assert "(did you mean 'results/tables/7.csv'?); must be one of 100, among them: results/tables/7.csv," in message
    assert len(message) < 250
    assert one_of("target", "x", names[:3]).endswith("must be one of: " + ", ".join(names[:3]))
