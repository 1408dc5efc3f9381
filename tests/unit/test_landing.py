"""The landing graph of the report: what is a node, what is linked, and that Snakemake's own rules stay as they are."""

from __future__ import annotations

import json
from types import ModuleType, SimpleNamespace

import pytest

from credit.dag import landing
from credit.dag.landing import Landing, direct, draw_by_experiment
from tests.unit.small_checkout import FIT, Checkout


class Job:
    """As much of Snakemake's as the graph asks for: the name of its rule, and what it makes."""

    def __init__(self, rule, *output):
        self.rule, self.output = SimpleNamespace(name=rule), output


class Dag:
    """As much of Snakemake's as the graph asks for: jobs, and what each depends on."""

    def __init__(self, needed):
        self.dependencies = {each: dict.fromkeys(others) for each, others in needed.items()}
        self.jobs = list(needed)


@pytest.fixture
def workflow(tmp_path):
    return Checkout(tmp_path, {"toy/fit": FIT, "cross/other": {**FIT, "figures": {}, "tables": {}}}).workflow()


@pytest.fixture
def dag(workflow):
    data = workflow.settings.data_folder
    fetch, prepare = Job("fetch_dataset", f"{data}/raw/digits.json"), Job("prepare_dataset", f"{data}/digits.npz")
    runs = [Job("train", path) for path in workflow.runs("toy/fit")]
    tidy = Job("collect_runs", "results/tables/toy/fit.csv", "results/records/tables/toy/fit.csv.json")
    table = Job("summarise_toy_table1", "results/tables/toy/table1.csv")
    page = Job("typeset_toy_table1", "results/tables/toy/table1.md", "results/tables/toy/table1.html")
    figure = Job("plot_toy_curves", "results/figures/toy/curves.pdf")
    judged = Job("judge_fidelity", "results/tables/fidelity.csv")
    needed = {
        fetch: [], prepare: [fetch], **{run: [prepare] for run in runs}, tidy: runs, table: [tidy], page: [table],
        figure: [tidy], judged: [table], Job("all"): [figure, page, table, tidy, judged],
    }  # fmt: skip
    return Dag(needed)


def test_nodes_are_data_sets_experiments_and_papers_and_no_figures(workflow, dag):
    spec, width, height = Landing(workflow).graph(dag)
    names = [node["rule"] for node in spec["nodes"]]
    assert names == ["data: digits", "toy/fit", "toy", "fidelity", "all"]
    assert width == max(node["fx"] for node in spec["nodes"]) and height == max(node["fy"] for node in spec["nodes"])
    assert len({(node["fx"], node["fy"]) for node in spec["nodes"]}) == len(names)
    links = {(link["sourcerule"], link["targetrule"]) for link in spec["links"]}
    assert links == {("data: digits", "toy/fit"), ("toy/fit", "toy"), ("toy", "fidelity"), ("fidelity", "all")}
    assert all(names[link["source"]] == link["sourcerule"] for link in spec["links"])
    assert all(names[link["target"]] == link["targetrule"] for link in spec["links"])


def test_links_that_others_say_together_are_none():
    a, b, c = (("rest", name) for name in "abc")
    assert direct({(a, b), (b, c), (a, c), (a, a)}) == {(a, b), (b, c)}
    assert direct({(a, b)}) == {(a, b)}


def test_the_rules_of_another_workflow_stay_nodes_of_their_own(workflow):
    assert Landing(workflow).node(Job("theirs", "elsewhere/x.txt")) == ("rest", "theirs")


def test_the_reporter_draws_it_and_describes_its_nodes(workflow, dag):
    reporter = ModuleType("reporter")
    reporter.rulegraph_spec = lambda dag: pytest.fail("its own graph")
    reporter.data = SimpleNamespace(render_rules=lambda rules: json.dumps(rules))
    draw_by_experiment(reporter, workflow)
    draw_by_experiment(reporter, workflow)  # a workflow may be read twice
    assert [node["rule"] for node in reporter.rulegraph_spec(dag)[0]["nodes"]][1] == "toy/fit"
    told = json.loads(reporter.data.render_rules({"train": {"n_jobs": 3}}))
    assert told["train"] == {"n_jobs": 3}
    assert told["toy"]["output"] == [
        "results/figures/toy/curves.pdf", "results/tables/toy/table1.csv", "results/tables/toy/table1.html",
        "results/tables/toy/table1.md",
    ]  # fmt: skip
    assert told["toy/fit"]["output"][-1] == "results/tables/toy/fit.csv"


def test_a_reporter_with_other_parts_keeps_its_graph(workflow):
    for reporter in (None, ModuleType("empty")):
        draw_by_experiment(reporter, workflow)
    assert not vars(reporter).keys() & {"rulegraph_spec", "data"}


def test_long_lists_of_files_are_shortened():
    assert landing._some([str(i) for i in range(100)])[-1] == "and 60 more"


def test_the_parts_that_are_replaced_are_those_of_this_snakemake():
    """Without them the report would show a node for every figure, and say nothing."""
    from snakemake.report import html_reporter

    assert callable(html_reporter.rulegraph_spec) and callable(html_reporter.data.render_rules)
