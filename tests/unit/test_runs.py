"""Named runs: what may be a name, and whose a path is."""

from __future__ import annotations

import re

import pytest
from small_checkout import REPOSITORY, Checkout, put_all

from credit.__main__ import main
from credit.config.files import overlay, read_yaml
from credit.dag.commands import parse_config
from credit.dag.runs import AS_CONFIGURED, TAKEN, place_of
from credit.dag.settings import settings
from credit.errors import ConfigError

SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
SHIPPED = REPOSITORY / "config" / "config.yaml"


def configured(**changes):
    return settings(overlay(read_yaml(SHIPPED), changes), SCHEMA)


@pytest.mark.parametrize("name", ["a", "Trial", "lr-0_01", "x2024_01", "e5", "infinite", "runs2", "toy"])
def test_a_name_has_a_folder_of_its_own_and_shares_the_data(name):
    s = configured(run=name)
    assert (s.root, s.data_folder) == (f"results/{name}", "results/data")
    assert configured(run=name, scale="quick").root == f"results/{name}/quick"


@pytest.mark.parametrize("nothing", [None, "", "null", "None"])
def test_without_a_name_results_are_where_they_were(nothing):
    assert configured(run=nothing).root == "results"


def test_a_configuration_without_the_key_names_no_run():
    content = {key: value for key, value in read_yaml(SHIPPED).items() if key != "run"}
    assert settings(content, SCHEMA).run is None


@pytest.mark.parametrize("text", ["2024_01", "007", "1e5", "True", "0x1f", "2024-01-02", "1_000.5", "nan", "inf", "on"])
def test_what_the_command_line_reads_as_something_else_is_refused_in_a_line(text):
    refused(**parse_config([f"run={text}"]))


@pytest.mark.parametrize(
    "text", ["2024_01", "007", "2024-01-02", "2024-01-02 10:00:00", "yes", "1:30", ".nan", "[a, b]", "{a: b}", "'nan'"]
)
def test_what_yaml_reads_as_something_else_is_refused_in_a_line(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"run: {text}\n")
    refused(**read_yaml(path))


@pytest.mark.parametrize("name", ["-a", "_a", "a/b", "../a", "a b", "a.b", "a\n", "größe", "a" * 101, "2nd", "~"])
def test_what_is_no_name_of_a_folder_is_refused_in_a_line(name):
    refused(run=name)


def refused(**changes):
    with pytest.raises(ConfigError, match=r"^config: run = .*must be text that begins with a letter") as caught:
        configured(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted({*TAKEN, "Tables", "QUICK"}))
def test_names_that_stand_for_something_are_taken(name):
    with pytest.raises(ConfigError, match=f"run = '{name}': results/{name.lower()} is something else"):
        configured(run=name)


def test_the_folder_of_the_data_is_taken():
    configured(run="mine")
    with pytest.raises(ConfigError, match="results/mine is something else"):
        configured(run="mine", data={"folder": "results/mine/data"})


def test_all_that_the_workflow_makes_is_taken():
    rules = "\n".join(p.read_text() for p in sorted((REPOSITORY / "workflow").glob("rules/*.smk")))
    made = {*re.findall(r'"(?:results|\{RESULTS\})/(\w+)/', rules), "data", "store", "quick"}
    assert made <= TAKEN


@pytest.mark.parametrize(
    ("path", "scale", "run"),
    [
        ("results/runs/toy/fit/near/fa/shard0.jsonl", "paper", None),
        ("results/quick/runs/toy/fit/near/fa/shard0.jsonl", "quick", None),
        ("results/second/runs/toy/fit/near/fa/shard0.jsonl", "paper", "second"),
        ("/elsewhere/results/second/quick/tables/toy/fit.csv", "quick", "second"),
        ("quick/figures/fig1.pdf", "quick", AS_CONFIGURED),
        ("copied/second/runs/toy/fit/near/fa/shard0.jsonl", None, AS_CONFIGURED),
        ("results/data/runs/x", None, AS_CONFIGURED),
        ("results/.import/runs/toy/fit/near/fa/shard0.jsonl", None, AS_CONFIGURED),
        ("all", None, AS_CONFIGURED),
    ],
)
def test_a_path_says_of_which_run_and_scale_it_is(path, scale, run):
    assert place_of(path) == (scale, run)


# ---- the commands


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout with the results of the run `second`, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    checkout = Checkout(tmp_path)
    put_all(checkout.workflow(run="second"))
    return checkout


def credit(capsys, checkout, *arguments):
    code = main(arguments, checkout.root)
    out = capsys.readouterr()
    return code, out.out.splitlines() + out.err.splitlines()


def test_paths_of_a_run_are_compared_with_that_run(checkout, capsys):
    for name in ("runs/toy/fit/near/fa/shard0.jsonl", "figures/toy/curves.pdf"):
        assert credit(capsys, checkout, "why", f"results/second/{name}") == (0, ["up to date"])
    code, lines = credit(capsys, checkout, "why", "results/figures/toy/curves.pdf", "--config", "run=second")
    assert (code, "missing" in lines[0]) == (1, True)
    code, lines = credit(capsys, checkout, "verify")
    assert (code, " 0 stale, 0 damaged, 0 not part" in lines[-1]) == (0, True)
    code, lines = credit(capsys, checkout, "plan", "results/second/figures/toy/curves.pdf")
    assert lines[-2].endswith("nothing")
    code, lines = credit(capsys, checkout, "plan", "results/figures/toy/curves.pdf")
    assert "of 8 jobs" in lines[-2]
    checkout.change(train={"epochs": 5})
    code, lines = credit(capsys, checkout, "why", "results/second/runs/toy/fit/near/fa/shard0.jsonl")
    assert (code, lines) == (1, ["train.epochs: 4 -> 5"])


def test_the_runs_of_a_named_run_are_packed_and_put_back_into_another(checkout, capsys):
    code, lines = credit(capsys, checkout, "export", "results/second/figures/toy/curves.pdf", "second.tar.xz")
    assert code == 0, lines
    code, lines = credit(capsys, checkout, "import", "second.tar.xz", "--config", "run=third")
    assert (code, "8 results put back as up to date" in lines[-1]) == (0, True), lines
    name = "runs/toy/fit/near/fa/shard0.jsonl"
    assert (checkout.root / "results/third" / name).read_bytes() == (
        checkout.root / "results/second" / name
    ).read_bytes()
