"""`credit show`: what made a result file, for people. Loads neither torch nor the workflow."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from credit.dag.exits import GOOD, STALE
from credit.dag.resultfile import LARGE, ResultFile, read
from credit.dag.units import duration, size
from credit.data.own.reading import KINDS
from credit.provenance import made
from credit.provenance.files import checksum
from credit.provenance.spec import members

LISTED = 20  # inputs, files and tensors that are named
NAMED = ("name", "kind", "probe")  # settings that say which part it is
SCORES = 5  # points of a search that are named
ABOVE = {  # what stands above the settings, in words
    "version", "kind", "paper", "experiment", "dataset", "method", "seeds", "code", "env", "data", "inputs", "name",
    "artefact", "search", "scale", "title",
}  # fmt: skip
MADE = {"call", "code", "cpu", "data", "device", "git", "modules", "packages", "platform", "python", "seconds", "start",
        "threads", "continued"}  # fmt: skip


def show(path: str) -> int:
    """Print what made a result file; exit code 1 where its content is not what was written."""
    result = read(path)
    print("\n".join(lines(result)))
    return STALE if result.problems else GOOD


def lines(result: ResultFile) -> list[str]:
    """A line that says what it is; facts with their names; then the settings, nested."""
    facts = [(name, text) for name, text in _facts(result) if text]
    width = max(len(name) for name, _ in facts)
    found = [f"{result.path}: {headline(result)}", ""]
    for name, text in facts:
        first, *more = text.splitlines()
        found += [f"{name:{width}}  {first}", *(f"{'':{width}}  {line}" for line in more)]
    settings = _settings(result)
    return found + (["", *nested(settings)] if settings else [])


def headline(result: ResultFile) -> str:
    """What kind of result it is, and of what."""
    spec, facts = result.spec, result.facts
    if result.kind in ("run", "search", "weights"):
        kind = {"search": "a search"}.get(result.kind, f"{'a ' if result.kind == 'run' else ''}{result.kind}")
        return f"{kind} of {spec.get('method')} on {spec.get('dataset')}, {spec.get('paper')}/{spec.get('experiment')}"
    if result.kind == "data set":
        return f"the data set {facts.get('name')}, prepared"
    if result.kind == "archive":
        return f"an archive of {len(facts['files'])} results below {facts.get('target')}, scale {facts.get('scale')}"
    kinds = {"collect": "the records of", "fidelity": "all numbers beside the published ones", "readable": "a table"}
    what = kinds.get(spec.get("kind"), f"a {result.kind}")
    if spec.get("kind") == "collect":
        what = f"{what} {spec['paper']}/{spec['experiment']}"
    return what + (f": {spec['title']}" if spec.get("title") else "")


def _facts(result: ResultFile) -> Iterator[tuple[str, str]]:
    spec, facts, by = result.spec, result.facts, result.provenance
    yield "content", content(result)
    yield "dated", time.strftime("%Y-%m-%d %H:%M", time.localtime(result.path.stat().st_mtime))
    yield "networks", _networks(spec) if spec.get("seeds") and "rule" in spec else ""
    if "records" in facts:
        yield "records", f"{facts['records']}: {', '.join(facts['metrics'])}"
    yield "chosen", _pairs(facts.get("choice") or facts.get("chosen") or {})
    yield "scores", _scores(facts)
    yield "diverged", f"{sum(facts['diverged'])} of {len(facts['diverged'])}" if any(facts.get("diverged", ())) else ""
    yield "tensors", _some([f"{name} {shape}" for name, shape in facts.get("tensors", {}).items()])
    yield "scale", spec.get("scale", "")
    yield "inputs", _inputs(result) if "inputs" in facts else ""
    yield "data", _data(spec.get("data"), by)
    yield from _data_set(facts) if result.kind == "data set" else ()
    yield "code", _code(by, spec.get("code"))
    yield "versions", _versions(by)
    yield "environment", f"envs/{_step(spec)}.yaml {spec['env']}" if "env" in spec else ""
    yield "machine", ", ".join(by[key] for key in ("cpu", "platform") if by.get(key))
    yield "device", f"{by['device']}, {_count(by.get('threads', 1), 'thread')}" if "device" in by else ""
    yield "time", duration(by["seconds"]) if "seconds" in by else ""
    yield "goes on from", f"the end of a run of {by['continued']['epochs']} epochs" if "continued" in by else ""
    yield "also", _pairs({key: value for key, value in by.items() if key not in MADE})
    if result.kind == "archive":
        yield "files", _some([f"{name}, {size(entry['bytes'])}" for name, entry in facts["files"].items()])


def _step(spec: Mapping[str, Any]) -> str:
    """Whose envs/STEP.yaml the `env` of a spec stands for."""
    return "search" if spec.get("sampler") else "train" if spec["kind"] in ("train", "search") else "analyse"


def content(result: ResultFile) -> str:
    """Whether the content is the one that was written."""
    known = f" (sha256 {result.sha256[:16]}…)" if result.sha256 and len(result.sha256) == 64 else ""
    if result.problems is None:
        how = "`credit import` looks at it" if result.kind == "archive" else "`credit verify` does"
        return f"not held against its checksum, it is large: {how}"
    return "\n".join(f"DAMAGED: {line}" for line in result.problems) or f"whole and unchanged{known}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _networks(spec: Mapping[str, Any]) -> str:
    found = len(members(spec))
    side = f"; {found} networks side by side" if found > 1 else ""
    return f"{'seeds' if len(spec['seeds']) > 1 else 'seed'} {_ranges(spec['seeds'])}{side}"


def _ranges(numbers: Sequence[int]) -> str:
    """`0 to 4, 7` of sorted whole numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {text(value)}" for key, value in values.items())


def _scores(facts: Mapping[str, Any]) -> str:
    """The best points of a search, and whether the best lies at the edge of the grid."""
    scores, criterion = facts.get("scores") or [], facts.get("criterion") or {}
    ranked = sorted((s for s in scores if s.get("score") is not None), key=lambda s: s["score"])
    rows = [f"{s['score']:.6g} at {_pairs(s['at'])}" for s in ranked[:SCORES]]
    rows += [f"and {len(scores) - SCORES} more points"] if len(scores) > SCORES else []
    lost = len(scores) - len(ranked)
    rows += [f"{lost} of {len(scores)} diverged"] if lost else []
    edge = [path for path, at in (facts.get("at_edge") or {}).items() if at]
    where = "space" if any("trial" in score for score in scores) else "grid"
    rows += [f"the best lies at the edge of the {where} of {', '.join(edge)}"] if edge else []
    return "\n".join([_pairs(criterion), *rows]) if scores else ""


def _inputs(result: ResultFile) -> str:
    """What a table or figure was made from, and which of it has changed since."""
    results, _ = made.split(result.path)
    rows, left = [], LARGE
    for name, written in result.facts["inputs"].items():
        place = Path(results, name) if Path(results, name).exists() else Path(name)
        if not place.exists():
            state = ", missing now"
        else:
            left -= place.stat().st_size
            state = "" if left < 0 or checksum(place) == written else ", has another content now"
        rows.append(f"{name}{state}")
    changed = [row for row in rows if row.endswith(" now")]
    return _some(changed + [row for row in rows if row not in changed])


def _data(declared: Mapping[str, Any] | None, by: Mapping[str, Any]) -> str:
    if not declared:
        return ""
    of = _files(declared)
    arrays = f", arrays {by['data']}" if by.get("data") else ""
    return f"{declared['name']}, {of} (sha256 {str(declared.get('sha256'))[:16]}…){arrays}"


def _data_set(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    images = facts["images"]
    yield "images", f"{images['train']} to train, {images['test']} to test, {facts.get('classes')} classes"
    yield "originals", _files(facts)
    yield "", "\n".join(f"{name} sha256 {str(value)[:16]}…" for name, value in (facts.get("raw") or {}).items())
    levels = "" if facts.get("scale") == 1 else f", grey levels 0 to {facts.get('scale')}"
    yield "format", f"{facts.get('format')}{levels}"


def _files(facts: Mapping[str, Any]) -> str:
    """Whose files a data set was made from. facts: its `format`, and whether they are `verified`."""
    if not facts.get("verified"):
        return "UNVERIFIED files"
    return "files of the user's own" if facts.get("format") in KINDS else "the published files"


def _code(by: Mapping[str, Any], planned: str | None) -> str:
    rows = [str(by.get("code") or planned)] if by.get("code") or planned else []
    rows += [_count(len(by["modules"]), "module")] if by.get("modules") else []
    if git := by.get("git"):
        rows.append(f"commit {git['commit'][:12]}{', with changes' if git.get('dirty') else ''}")
    return ", ".join(rows)


def _versions(by: Mapping[str, Any]) -> str:
    rows = [f"Python {by['python']}"] if by.get("python") else []
    return ", ".join(rows + [f"{name} {version}" for name, version in (by.get("packages") or {}).items()])


def _some(rows: Sequence[str]) -> str:
    return "\n".join([*rows[:LISTED], *([f"and {len(rows) - LISTED} more"] if len(rows) > LISTED else [])])


# ---- settings


def _settings(result: ResultFile) -> dict[str, Any]:
    """What stands below: the parts of a run by their names, options of tables and figures; nothing that is empty."""
    found = {key: value for key, value in result.spec.items() if key not in ABOVE and value not in (None, {}, [])}
    if start := found.get("start"):
        found["start"] = {key: value for key, value in start.items() if key != "spec"}
    first = [key for key in ("rule", "net", "task", "train", "vary", "probes") if key in found]
    return {key: found[key] for key in (*first, *(key for key in found if key not in first))}


def nested(settings: Mapping[str, Any], indent: str = "") -> list[str]:
    """Settings as indented lines, a part's name beside it; lists stand in a line, but for those of mappings."""
    found = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            called = next((name for name in NAMED if isinstance(value.get(name), str)), None)
            found.append(f"{indent}{key}: {value[called]}" if called else f"{indent}{key}:")
            found += nested({name: item for name, item in value.items() if name != called}, f"{indent}  ")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            found += [f"{indent}{key}:", *(f"{indent}  - {text(item)[1:-1]}" for item in value)]
        else:
            found.append(f"{indent}{key}: {text(value)}")
    return found


def text(value: Any) -> str:
    """A value in a line: text as it is, lists and mappings in brackets, everything else as JSON."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {text(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(text, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
