"""What a target makes use of that deserves a citation: papers, learning rules, data sets, software, as BibTeX.

Keys are declared in config/citations.yaml and, for data sets, in config/datasets.yaml; entries stand in
config/references.bib, that of this software is made from CITATION.cff. No job reads any of them. Loads no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from credit.config.files import check_schema, read_yaml
from credit.config.parts import METHODS, part_modules
from credit.dag.cost import needed_experiments
from credit.dag.experiment import Cell
from credit.dag.targets import SHARD, Workflow
from credit.data import catalog
from credit.data.catalog import ROOT
from credit.errors import ConfigError, one_of

REFERENCES = ROOT / "config" / "references.bib"
CITATIONS = ROOT / "config" / "citations.yaml"
SCHEMA = ROOT / "workflow" / "schemas" / "citations.schema.yaml"
SOFTWARE = ROOT / "CITATION.cff"
WORDS = {
    "papers": "experiments of", "methods": "learning rule:", "optimizers": "optimiser:", "datasets": "data set:",
    "software": "software:",
}  # fmt: skip
_START = re.compile(r"^@\w+\{([^\s,{}]+),$", re.MULTILINE)


def read_entries(path: Path | None = None) -> dict[str, str]:
    """Text of every entry of a BibTeX file, by key. What stands between entries is a comment.

    Raises ConfigError for an entry whose braces do not close, and for a key that appears twice.
    """
    path = path or _beside(REFERENCES)
    text = path.read_text(encoding="utf-8")
    entries: dict[str, str] = {}
    for start in _START.finditer(text):
        key = start[1]
        if key in entries:
            raise ConfigError(f"{path}: {key} appears twice")
        entries[key] = text[start.start() : _end(text, start.start(), f"{path}: {key}")]
    return entries


def _end(text: str, start: int, where: str) -> int:
    """Position after the brace that closes the entry beginning at `start`."""
    depth = 0
    for brace in re.finditer(r"(?<!\\)[{}]|^@", text[start + 1 :], flags=re.MULTILINE):
        if brace[0] == "@":
            break
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return start + 1 + brace.end()
    raise ConfigError(f"{where}: a brace is not closed")


def _beside(path: Path) -> Path:
    """The file of this name beside the catalogue of this process, or that of the checkout where there is none."""
    own = catalog.used().with_name(path.name)
    return own if own.is_file() else path


def declared(path: Path | None = None, datasets: Path | None = None) -> dict[str, dict[str, list[str]]]:
    """{"papers" | "methods" | "optimizers" | "software" | "datasets": {name: keys}}, every key an entry.

    Raises ConfigError naming file and key.
    """
    return _declared(path or _beside(CITATIONS), datasets or catalog.used())


@cache
def _declared(path: Path, datasets: Path) -> dict[str, dict[str, list[str]]]:
    found = check_schema(read_yaml(path), SCHEMA, str(path))
    of_data = catalog.sources(datasets)
    found["datasets"] = {name: facts.get("cite", []) for file in of_data.values() for name, facts in file.items()}
    entries = read_entries()
    for kind, names in found.items():
        where = " or ".join(map(str, of_data)) if kind == "datasets" else f"{path}: {kind}"
        for name, keys in names.items():
            for key in keys:
                if key not in entries:
                    raise ConfigError(one_of(f"{where}.{name}: key", key, entries))
    return found


def cited(workflow: Workflow, target: str) -> dict[str, dict[str, list[str]]]:
    """{key: {kind: names}}, what each key is cited for, of all, a paper, a figure, a table, PAPER/NAME or a run.

    Raises ConfigError for what is no target, with the nearest one.
    """
    known, found = declared(), {}
    for kind, name in dict.fromkeys(_used(workflow, target)):
        for key in known[kind].get(name, ()):
            found.setdefault(key, {}).setdefault(kind, []).append(name)
    return found


def _used(workflow: Workflow, target: str) -> Iterator[tuple[str, str]]:
    """(kind, name) of what a target makes use of, papers first."""
    cells, made = _cells(workflow, target)
    runs = [cell.run for cell in cells]
    yield from (("papers", run["paper"]) for run in runs)
    for module in (module for run in runs for module in part_modules(run)):
        package, _, name = module.rpartition(".")
        if package == METHODS.package:
            yield "methods", name
    yield from (("optimizers", run["train"]["optimizer"]["name"]) for run in runs)
    data = [cell.data for cell in cells if cell.data]
    yield from (("datasets", name) for name in data)
    sources = [catalog.load()[name].source for name in data]
    worlds = ("gymnasium",) if any("environment" in run["task"] for run in runs) else ()
    yield from (("software", step) for step in ("workflow", "training", *worlds, *made, *sources))


def _cells(workflow: Workflow, target: str) -> tuple[list[Cell], tuple[str, ...]]:
    """Cells that a target trains, with those from whose weights they start, and what else is made: tables, figures."""
    if run := SHARD.search(target):
        workflow.run_spec(target)  # raises for a name or a shard that does not exist
        cells, made = [workflow.cell(f"{run[1]}/{run[2]}", run[3], run[4])], ()
    else:
        experiments = [workflow.experiment(key) for key in needed_experiments(workflow, target)]
        cells = [
            workflow.cell(e.key, dataset, method) for e in experiments for dataset in e.datasets for method in e.methods
        ]
        tables = target.startswith(f"{workflow.results}/tables/") or target in workflow.experiments
        made = ("tables",) if tables else ("tables", "figures")
    for cell in cells:  # which grows
        if cell.source:
            cells.append(workflow.cell(*cell.source.place))
    return cells, made


def own_entry(path: Path = SOFTWARE) -> str:
    """The entry `credit`, this software, as CITATION.cff states it."""
    stated: dict[str, Any] = read_yaml(path)
    authors = " and ".join(
        "{" + a["name"] + "}" if "name" in a else f"{a['family-names']}, {a['given-names']}" for a in stated["authors"]
    )
    fields = {
        "author": authors, "title": stated["title"], "version": stated["version"],
        "year": str(stated["date-released"])[:4] if "date-released" in stated else None,
        "doi": stated.get("doi"), "url": stated.get("repository-code") or stated.get("url"),
    }  # fmt: skip
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join(["@software{credit,", *lines, "}"])


def bibliography(workflow: Workflow, target: str) -> str:
    """BibTeX of everything that `target` makes use of, each entry after a line that says what for.

    Learning rules and data sets for which nothing is declared are named in a comment. Raises as `cited`.
    """
    entries = read_entries()
    parts = [f"% {_reason(uses)}\n{entries[key]}" for key, uses in cited(workflow, target).items()]
    parts.append(f"% {WORDS['software']} the workflow\n{own_entry()}")
    rules, data = (
        dict.fromkeys(name for kind, name in _used(workflow, target) if kind == wanted)
        for wanted in ("methods", "datasets")
    )
    parts += [
        f"% nothing to cite is declared for the data set {name}" for name in data if not declared()["datasets"][name]
    ]
    parts += [f"% {CITATIONS.name} names nothing for {name}" for name in rules if name not in declared()["methods"]]
    return "\n\n".join(parts)


def _reason(uses: dict[str, list[str]]) -> str:
    return "; ".join(f"{WORDS[kind]} {', '.join(names)}" for kind, names in uses.items())
