"""The graph on the landing page of Snakemake's report: a node for each data set, experiment and paper.

Snakemake draws a node for each rule, and every figure and table has a rule (see workflow/rules/figures.smk). Only what
the report draws is changed here: rules, their names and their jobs stay what they are, and nothing becomes stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from credit.dag import judged
from credit.dag.targets import SHARD, Workflow

DATA = "data: "
JUDGED = "fidelity"
# pixels; labels stand left of their nodes
COLUMNS = {"data": 110, "experiment": 380, "paper": 500, "rest": 620}
LINE = 26
LISTED = 40  # files that are named of a node

Node = tuple[str, str]  # its kind, one of COLUMNS, and its name


class Landing:
    """Where a job belongs. workflow: whose figures, tables and experiments are shown."""

    def __init__(self, workflow: Workflow):
        self.results, self.data = workflow.results, workflow.settings.data_folder
        self.experiments, self.papers = tuple(workflow.experiments), workflow.papers
        self.places: dict[str, Node] = {}
        for paper in workflow.papers:
            self.places |= dict.fromkeys(workflow.artefact_paths(paper), ("paper", paper))
        for key in workflow.experiments:
            self.places[f"{self.results}/tables/{key}.csv"] = ("experiment", key)
        self.places |= dict.fromkeys(judged.paths(workflow), ("rest", JUDGED))

    def node(self, job: Any) -> Node:
        """The node of a job, by what it makes; of others, such as `all`, their rule."""
        for path in map(str, job.output):
            if path in self.places:
                return self.places[path]
            if run := SHARD.search(path):
                return "experiment", f"{run[1]}/{run[2]}"
            if made := re.match(rf"{re.escape(self.data)}/(?:raw/)?([a-z0-9_]+)[./]", path):
                return "data", DATA + made[1]
        name = job.rule.name
        return ("paper", name) if name in self.papers else ("rest", name)

    def graph(self, dag: Any) -> tuple[dict[str, list], int, int]:
        """As `snakemake.report.rulegraph_spec`: nodes with places, links between them, and the size.

        Links point from what is needed to what needs it; see `direct`.
        """
        of = {job: self.node(job) for job in dag.jobs}
        order = self._ordered(set(of.values()))
        places = self._places(order)
        nodes = [{"rule": name, "fx": x, "fy": y} for (_, name), (x, y) in places.items()]
        number = {node: i for i, node in enumerate(places)}
        pairs = {(of[needed], of[job]) for job in of for needed in dag.dependencies[job] if needed in of}
        links = [
            {"source": number[a], "target": number[b], "sourcerule": a[1], "targetrule": b[1], "value": 1}
            for a, b in sorted(direct(pairs), key=lambda pair: (number[pair[0]], number[pair[1]]))
        ]
        spec = {"nodes": nodes, "links": links, "links_direct": []}
        return spec, max((x for x, _ in places.values()), default=0), max((y for _, y in places.values()), default=0)

    def _ordered(self, nodes: set[Node]) -> list[Node]:
        """Data sets by name, experiments and papers in the workflow's order, then the rest."""
        known = [*self.experiments, *self.papers, JUDGED]

        def place(node: Node) -> tuple:
            kind, name = node
            return list(COLUMNS).index(kind), known.index(name) if name in known else len(known), name

        return sorted(nodes, key=place)

    def _places(self, nodes: list[Node]) -> dict[Node, tuple[int, int]]:
        """(x, y) of each node: a column for each kind, papers beside the middle of their experiments."""
        experiments = [node for node in nodes if node[0] == "experiment"]
        lines = {node: line for line, node in enumerate(experiments)}
        for paper in (node for node in nodes if node[0] == "paper"):
            own = [line for (_, key), line in lines.items() if key.startswith(f"{paper[1]}/")]
            lines[paper] = sum(own) / len(own) if own else len(experiments)
        for kind in ("data", "rest"):
            mine = [node for node in nodes if node[0] == kind]
            first = (len(experiments) - 2 * len(mine)) / 2
            lines |= {node: max(first, 0) + 2 * line for line, node in enumerate(mine)}
        return {node: (COLUMNS[node[0]], round(10 + LINE * lines[node])) for node in nodes}

    def described(self, dag: Any) -> dict[str, dict[str, Any]]:
        """What the report says of a node that is clicked: the files that its jobs make."""
        files: dict[str, list[str]] = {}
        for job in dag.jobs:
            _, name = self.node(job)
            shown = [path for path in map(str, job.output) if "/records/" not in path]
            files.setdefault(name, []).extend(shown)
        return {
            name: {
                "input": [], "output": _some(sorted(paths)), "conda_env": None, "container_img_url": None, "code": "",
                "n_jobs": 0,
            }
            for name, paths in files.items()
        }  # fmt: skip


def direct(pairs: set[tuple[Node, Node]]) -> set[tuple[Node, Node]]:
    """Pairs of two nodes, without those that others say together: what a figure needs, `all` needs too."""
    after: dict[Node, set[Node]] = {}
    for a, b in pairs:
        if a != b:
            after.setdefault(a, set()).add(b)

    def reached(node: Node, known: set[Node]) -> set[Node]:
        for other in after.get(node, set()) - known:
            known.add(other)
            reached(other, known)
        return known

    beyond = {node: set().union(*(reached(other, set()) for other in others)) for node, others in after.items()}
    return {(a, b) for a, others in after.items() for b in others - beyond[a]}


def _some(paths: list[str]) -> list[str]:
    return [*paths[:LISTED], *([f"and {len(paths) - LISTED} more"] if len(paths) > LISTED else [])]


def draw_by_experiment(reporter: ModuleType | None, workflow: Workflow) -> None:
    """Let Snakemake's reporter draw this graph in place of its own.

    reporter: snakemake.report.html_reporter, None where no report can be made. Another version of it, which has other
    parts, keeps its own graph.
    """
    describe = getattr(getattr(reporter, "data", None), "render_rules", None)
    if describe is None or not hasattr(reporter, "rulegraph_spec"):
        return
    describe = getattr(describe, "snakemakes", describe)
    found: dict[str, Mapping[str, Any]] = {}

    def graph(dag: Any) -> tuple[dict[str, list], int, int]:
        landing = Landing(workflow)
        found.update(landing.described(dag))
        return landing.graph(dag)

    def render_rules(rules: Mapping[str, Any]) -> str:
        return json.dumps({**found, **json.loads(describe(rules))})

    render_rules.snakemakes = describe
    reporter.rulegraph_spec, reporter.data.render_rules = graph, render_rules
