"""Whether a table or figure on disk is what was made, and what the present code and configuration would make.

Its record says (see `credit.provenance.made`). Loads no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from credit.dag import judged
from credit.dag.audit import Verdict, short
from credit.dag.endings import PAGE
from credit.dag.resultfile import read_record
from credit.dag.targets import Workflow
from credit.errors import ConfigError, DataError, one_of
from credit.provenance import snapshot as provenance
from credit.provenance.files import checksum
from credit.provenance.made import record_path, split

INPUTS = "inputs: "
TYPESET = (".md", ".html")  # of tables, made from their CSV
BELOW = ", from which it was made: "


def recipe(workflow: Workflow, path: str | Path) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """(present spec, roots of its code) of a table or figure; None for what the workflow does not make."""
    _, name = split(path)
    kind, _, name = name.partition("/")
    name, ending = str(Path(name).with_suffix("")), Path(name).suffix
    script = workflow.script
    if kind == "bench":
        return None
    if kind == "figures":
        if name not in workflow.figures:
            return None
        spec = workflow.artefact_spec("figure", name)
        return spec, (str(script("plot")), spec["module"])
    if name == "fidelity" and ending == f".{PAGE}":
        return judged.page_spec(workflow), (str(script(judged.SCRIPT)),)
    if ending in TYPESET:
        return (workflow.readable_spec(name), (str(script("typeset")),)) if name in workflow.tables else None
    if name == "fidelity":
        return workflow.fidelity_spec(), (str(script("fidelity")),)
    if name in workflow.tables:
        return workflow.artefact_spec("table", name), (str(script("summarise")),)
    if name in workflow.experiments:
        return workflow.collect_spec(name), (str(script("collect")),)
    return None


def content_problems(workflow: Workflow, path: str | Path) -> tuple[list[str], list[str]]:
    """(what is wrong with the file itself, which inputs it is no longer made from). DataError without a record."""
    results, name = split(path)
    content = read_record(path)
    wrong, found = [], checksum(Path(path))
    if content["outputs"].get(name) != found:
        written = str(content["outputs"].get(name))
        wrong = [f"its content was changed after it was made: sha256 {found[:16]}…, made {written[:16]}…"]
    changed = []
    for other, value in content["inputs"].items():
        place = Path(results, other) if Path(results, other).exists() else workflow.folder.absolute().parent / other
        if not place.exists():
            changed.append(f"{other}{BELOW}missing")
        elif checksum(place) != value:
            changed.append(f"{other}{BELOW}has another content now")
    return wrong, changed


def reasons(workflow: Workflow, path: str | Path) -> list[str]:
    """What differs between a table or figure and the present, a line each; nothing when it is up to date.

    Raises DataError for one without a record, ConfigError for one that the workflow does not make.
    """
    found = recipe(workflow, path)
    if found is None:
        known = [*workflow.artefact_paths(), *judged.paths(workflow)]
        raise ConfigError(one_of("target", str(path), known))
    wrong, changed = content_problems(workflow, path)
    spec, roots = found
    lines = provenance.why(record_path(path), spec, provenance.module_digests(*roots))
    others = f"{INPUTS}other runs or tables than those that it was made from"
    return wrong + [others if line.startswith(INPUTS) else line for line in lines] + changed


def below(workflow: Workflow, path: str | Path) -> list[str]:
    """Tables that a table or figure is made from, directly or not, in the same `results`; nearest first."""
    results, name = split(path)
    kind, _, short = name.partition("/")
    short, ending = str(Path(short).with_suffix("")), Path(short).suffix
    if kind == "figures" or (short in workflow.tables and ending == ".csv"):
        artefact = (workflow.figures if kind == "figures" else workflow.tables)[short]
        names = [f"tables/{key}.csv" for key in artefact.experiments]
    elif ending in TYPESET:
        names = [f"tables/{short}.csv"]
    else:
        names = [f"tables/{table}.csv" for table in workflow.tables] if short == "fidelity" else []
    found = [f"{results}/{n}".removeprefix("./") for n in names]
    return list(dict.fromkeys([*found, *(deeper for n in found for deeper in below(workflow, n))]))


def why(workflow: Workflow, path: str, runs: list[str]) -> list[str]:
    """As `reasons`, for a file that may be missing, and for the tables below it, each in a line of its own.

    runs: what is said of the runs below it, which explains that inputs have changed.
    """
    lines = []
    for place in (path, *below(workflow, path)):
        try:
            found = reasons(workflow, place) if Path(place).exists() else ["missing"]
        except DataError as error:
            found = [str(error).removeprefix(f"{place}: ")]
        found = [line for line in found if not (runs and line.startswith((INPUTS, "runs/")))]
        lines += found if place == path and found != ["missing"] else short(place, found)
    return lines + runs


def lost(folder: Path) -> list[Path]:
    """Tables and figures below a folder of results, or in its `tables` or `figures`, that are missing though the record
    of a job that made them is there."""
    found = [*folder.rglob("records/*/**/*.json"), *Path(folder.parent, "records", folder.name).rglob("*.json")]
    missing = []
    for record in sorted(found):
        results = Path(*record.parts[: len(record.parts) - 1 - record.parts[::-1].index("records")])
        try:
            outputs = provenance.read_header(record)["outputs"]
            missing += [path for name in outputs if split(path := results / name) and not path.exists()]
        except (DataError, LookupError, TypeError):
            continue  # whoever reads it for a file that is there says so
    return missing


def verify(workflow: Workflow, path: str | Path) -> Verdict:
    """Judge a table or figure by its record."""
    planned = recipe(workflow, path) is not None
    if not Path(path).exists():
        said = "missing, though its record is there; make it again by naming it as a target"
        return Verdict("stale" if planned else "unknown", (said,))
    try:
        wrong, _ = content_problems(workflow, path)
        lines = reasons(workflow, path) if planned and not wrong else []
    except DataError as error:
        return Verdict("stale" if planned else "unknown", (str(error).removeprefix(f"{path}: "),))
    if wrong:
        return Verdict("damaged", tuple(wrong))
    if split(path)[1].startswith("bench/"):  # measured, of no spec, and never stale
        return Verdict("good")
    if not planned:
        return Verdict("unknown", ("nothing asks for this result",))
    lines = [text.partition(": ")[2] for text in short("", lines)]
    return Verdict("stale" if lines else "good", tuple(lines))
