"""Whether a result on disk is whole, plausible, and what the present code and configuration would make.

Snakemake's own records are not needed: every result embeds its spec, so that results which were copied from another
machine or come from a repository are judged like any other. Loads no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit.config.parts import code_roots
from credit.config.space import trial_problem
from credit.dag import own
from credit.dag.keeping import beside
from credit.dag.searches import step_of
from credit.dag.shards import SHORT
from credit.dag.targets import SHARD, Workflow
from credit.errors import DataError
from credit.provenance import snapshot as provenance
from credit.provenance.kept import kind_of
from credit.provenance.records import check_seal, check_weights, read_metadata, read_result
from credit.provenance.sources import combine
from credit.provenance.spec import column, members

FIELDS = {"seed", "epoch", "step", "metric", "layer", "value"}
_DATA = "data.sha256: "  # how a line begins that says that a run's data differs
SHOWN = 3  # reasons named in a summary; `why` gives all


@dataclass(frozen=True)
class Verdict:
    """kind: good, stale, damaged, or unknown to the present configuration. lines: why, nothing for a good result."""

    kind: str
    lines: tuple[str, ...] = ()
    unverified: bool = False


def reasons(workflow: Workflow, path: str | Path) -> list[str]:
    """What differs between a run or search and the present, a line each; nothing when it is up to date.

    Raises DataError for a file that embeds no spec, ConfigError for a path that is no job of this workflow.
    """
    spec = workflow.run_spec(str(path))
    roots = code_roots(spec, workflow.script(step_of(spec)[1]))
    lines = provenance.why(path, spec, provenance.module_digests(*roots))
    if changed := _changed_data(workflow, spec, lines):
        lines = [changed if line.startswith(_DATA) else line for line in lines]
    searched = _search_reasons(workflow, Path(path)) if spec.get("searched") else []
    if searched:  # they say in words what the search's digest within the spec can only hint at
        lines = [line for line in lines if not line.startswith("search: ")]
    started = _start_reasons(workflow, Path(path), spec) if spec.get("start") and spec["kind"] == "train" else []
    if any(line.startswith("start: module ") for line in started):
        lines = [line for line in lines if not line.startswith("start.spec.code: ")]
    kept = beside(workflow, path) if Path(path).suffix == ".jsonl" else {}
    lost = [f"{file.name}, the {kind} that it keeps: missing" for kind, file in kept.items() if not file.exists()]
    return lines + searched + started + lost


def _changed_data(workflow: Workflow, spec: Mapping[str, Any], lines: list[str]) -> str:
    """Which of the user's own files has changed, where the checksum of the data is another one."""
    if not any(line.startswith(_DATA) for line in lines):
        return ""
    changed = own.changed(workflow, spec["data"]["name"])
    return f"data: {changed} since it was read" if changed else ""


def content_problems(path: Path) -> list[str]:
    """What shows that a run or search was changed after it was written."""
    try:
        if path.suffix == ".jsonl":
            read_result(path)
        elif path.suffix == ".safetensors":
            check_weights(path)
        else:
            check_seal(path, provenance.read_header(path))
    except DataError as error:
        return [str(error).removeprefix(f"{path}: ")]
    return []


def _start_reasons(workflow: Workflow, path: Path, spec: Mapping[str, Any]) -> list[str]:
    """What differs in the code of the runs that a run started from, and which of their weights are missing."""
    start = spec["start"]
    roots = code_roots(start["spec"], workflow.script("train"))
    made = provenance.read_header(path)["provenance"].get("start", {})
    code = provenance.changed_modules(made["modules"], provenance.module_digests(*roots)) if made else []
    place, runs = SHARD.search(path.as_posix()), path.parents[4]
    needed = workflow.start_paths((f"{place[1]}/{place[2]}", place[3], place[4]), place[5])
    names = [name.removeprefix(f"{workflow.results}/runs/") for name in needed]
    return [f"start: {line}" for line in code] + [f"start: {n}: missing" for n in names if not (runs / n).exists()]


def stale_or_missing(workflow: Workflow, path: str | Path) -> list[str]:
    """As `reasons`, in one line that begins with the path; a file that is missing or damaged is a reason too."""
    try:
        lines = reasons(workflow, path) if Path(path).exists() else ["missing"]
    except DataError as error:
        lines = [str(error).removeprefix(f"{path}: ")]
    return short(str(path), lines)


def _search_reasons(workflow: Workflow, path: Path) -> list[str]:
    """What differs in the search whose choice a run was trained with."""
    choice = path.with_name("choice.json")
    if not choice.exists():
        return [f"{choice.name} of its search: missing"]
    old, new = provenance.read_header(path).get("chosen"), provenance.read_header(choice).get("choice")
    lines = [] if old == new else [f"chosen: {json.dumps(old)} -> {json.dumps(new)}"]
    return lines + short(f"{choice.name} of its search", reasons(workflow, choice))


def short(name: str, lines: list[str]) -> list[str]:
    """[`NAME: the first reasons`], or nothing when there is none."""
    if not lines:
        return []
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return [f"{name}: {'; '.join(lines[:SHOWN])}{more}"]


def verify_data(path: Path) -> Verdict:
    """Read a prepared data set, and judge it."""
    from credit.data.load import load  # numpy, which planning does without

    try:
        data = load(path)
    except DataError as error:
        return Verdict("damaged", (str(error).removeprefix(f"{path}: damaged, or "),))
    other = () if data.name == path.stem else (f"it holds the data set {data.name}",)
    return Verdict("damaged" if other else "good", other, not data.verified)


def _data_reasons(workflow: Workflow, path: Path, spec: Mapping[str, Any]) -> list[str]:
    """Whether a run was trained on other arrays than those that are prepared now."""
    seen, name = provenance.read_header(path)["provenance"].get("data"), (spec.get("data") or {}).get("name")
    prepared = workflow.root / workflow.data_path(name) if name else None
    if not seen or prepared is None or not prepared.exists():
        return []
    from credit.data.load import state_of

    try:
        now = state_of(prepared)
    except DataError:
        return []  # a fault of that file, whose verdict says it
    return [] if seen == now else [f"data: other arrays than those of {workflow.data_path(name)}"]


def verify(workflow: Workflow, path: Path) -> Verdict:
    """Read a whole result, and judge it."""
    try:
        if path.suffix == ".jsonl":
            header, records = read_result(path)
            problems = header_problems(header) + record_problems(header["spec"], records)
            problems += _kept_problems(workflow, path, header["spec"])
        elif path.suffix == ".safetensors":
            header = read_metadata(path)
            problems = weights_problems(header, kind_of(path))
            check_weights(path)
        else:
            header = provenance.read_header(path)
            problems = choice_problems(header)
            check_seal(path, header)
    except DataError as error:
        return Verdict("damaged", (str(error).removeprefix(f"{path}: "),))
    except (KeyError, TypeError, AttributeError) as error:
        return Verdict("damaged", (f"its content is not that of a result ({type(error).__name__}: {error})",))
    unverified = not (header["spec"].get("data") or {}).get("verified", True)
    if problems:
        return Verdict("damaged", tuple(problems), unverified)
    if not is_planned(workflow, path):
        return Verdict("unknown", ("nothing asks for this result",), unverified)
    try:
        lines = reasons(workflow, path)
        if path.suffix == ".jsonl":
            lines += _data_reasons(workflow, path, header["spec"])
    except DataError as error:  # the choice beside it
        lines = [str(error)]
    lines = [text.partition(": ")[2] for text in short("", lines)]
    return Verdict("stale" if lines else "good", tuple(lines), unverified)


def is_planned(workflow: Workflow, path: str | Path) -> bool:
    """Whether a result, wherever it lies, is one that the present configuration asks for."""
    paper, experiment, dataset, method, shard = SHARD.search(Path(path).as_posix()).groups()
    key = f"{paper}/{experiment}"
    found, kind = workflow.experiments.get(key), kind_of(path)
    if kind and kind not in beside(workflow, path):
        return False
    if found is None or dataset not in found.datasets or method not in found.methods:
        name = f"{workflow.results}/runs/{key}/{dataset}/{method}/shard{shard}.safetensors"
        return name in workflow.started_from() if shard else (key, dataset, method) in workflow.started_from().values()
    if shard is None:
        return workflow.cell(found.key, dataset, method).search is not None
    number = int(shard.removesuffix(SHORT))
    served = workflow.shards((key, dataset, method), number).name
    return bool(found.shard_seeds(number)) and shard == served


def _kept_problems(workflow: Workflow, path: Path, spec: Mapping[str, Any]) -> list[str]:
    """What a run keeps beside its result must be of the same spec."""
    there = [file for file in beside(workflow, path).values() if file.exists()]
    return [f"{file.name} beside it is of another spec" for file in there if read_metadata(file)["spec"] != spec]


def weights_problems(header: Mapping[str, Any], kind: str | None = "weights") -> list[str]:
    """Contradictions in what kept weights, predictions or states say of themselves."""
    spec, modules = header["spec"], header["provenance"]["modules"]
    problems = [] if header.get("kept", "weights") == kind else [f"holds {header.get('kept', 'weights')}, not {kind}"]
    problems += [] if len(header["diverged"]) == len(members(spec)) else [f"diverged = {header['diverged']}"]
    return problems + header_problems({**header, "provenance": {"code": combine(modules), "modules": modules}})


def header_problems(header: Mapping[str, Any]) -> list[str]:
    """Contradictions between a run's spec and what it says of its making."""
    spec, made = header["spec"], header["provenance"]
    problems = []
    if made["code"] != spec["code"] or made["code"] != combine(made["modules"]):
        problems.append(f"was made by code {made['code']}, its spec names {spec['code']}")
    if sorted(header.get("chosen") or {}) != sorted(spec.get("searched") or []):
        problems.append(f"chosen = {header.get('chosen')}; must hold {', '.join(spec.get('searched') or ['nothing'])}")
    return problems


def record_problems(spec: Mapping[str, Any], records: list[dict[str, Any]]) -> list[str]:
    """Records that no job of this spec writes, by line of the file; and members without records."""
    expected = {_member({column(k): v for k, v in m.items()}) for m in members(spec)}
    found, problems = set(), []
    for line, record in enumerate(records, start=2):
        missing = FIELDS - record.keys()
        if missing:
            problems.append(f"line {line}: the record lacks {', '.join(sorted(missing))}")
            continue
        member = _member({k: v for k, v in record.items() if k == "seed" or k not in FIELDS})
        found.add(member)
        if member not in expected:
            problems.append(f"line {line}: {dict(member)} is none of the spec's members")
        problems += [f"line {line}: {key} = {record[key]!r}; must be {must}" for key, must in _wrong(record)]
    absent = [dict(m) for m in sorted(expected - found)]
    if absent:
        problems.append(f"no records of {absent[0]}" + (f" and {len(absent) - 1} more" if absent[1:] else ""))
    return problems[:SHOWN] + ([f"{len(problems) - SHOWN} problems more"] if problems[SHOWN:] else [])


def _member(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))


def _wrong(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(field, what it must be) of the fields of a record that cannot be right."""
    wrong = [(k, "a whole number >= 0") for k in ("epoch", "step") if not _whole(record[k])]
    value = record["value"]
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not (value is None or number):
        wrong.append(("value", "a finite number, or null for what was not finite"))
    return wrong + [(k, "text") for k in ("metric", "layer") if not isinstance(record[k], str)]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def choice_problems(content: Mapping[str, Any]) -> list[str]:
    """What is wrong with a search's choice.json: it must score the whole grid, and choose the lowest score."""
    spec, choice = content["spec"], content["choice"]
    if spec.get("sampler") and (problem := trial_problem(spec["sampler"], content["scores"])):
        return [problem]
    grid = {_member({k: v for k, v in m.items() if k != "seed"}) for m in members(spec)}
    if not spec.get("sampler") and {_member(s["at"]) for s in content["scores"]} != grid:
        return [f"scores {len(content['scores'])} points; its spec has {len(grid)}, or others"]
    sound = [s for s in content["scores"] if s["score"] is not None]
    if not sound or choice != min(sound, key=lambda s: s["score"])["at"]:
        return [f"choice = {choice} is not the point with the lowest score"]
    if content["provenance"].get("modules") and combine(content["provenance"]["modules"]) != spec["code"]:
        return [f"was made by code {combine(content['provenance']['modules'])}, its spec names {spec['code']}"]
    return []
