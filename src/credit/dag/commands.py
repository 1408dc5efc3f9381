"""What `credit` says of the present workflow, a function a command: prints for people, returns the exit code.

What asks no workflow stands by itself: `credit.dag.show`, `credit.dag.diff`. Loads no torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from credit.config.files import number, overlay, read_yaml
from credit.dag import audit, made, transport
from credit.dag.calling import resolved
from credit.dag.citations import bibliography
from credit.dag.cost import Cost, needed_jobs, plan
from credit.dag.exits import GOOD, STALE
from credit.dag.listing import listing
from credit.dag.runs import AS_CONFIGURED, RESULTS, place_of
from credit.dag.targets import SHARD, Workflow
from credit.dag.units import duration, size
from credit.errors import ConfigError, DataError
from credit.provenance.made import split

RESULT_FILES = (
    "these are …/runs/PAPER/EXPERIMENT/DATASET/METHOD/shardS.jsonl, tables/*.csv, *.md, *.html, figures/*.pdf, *.png, "
    "*.csv, *.html, and data/*.npz"
)
DATA = ".npz"  # of prepared data sets
_KEY = re.compile(r"[a-zA-Z_][\w-]*\w$")


# ---- configuration, as Snakemake reads it


def parse_config(entries: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` entries as Snakemake's --config reads them: int, float, True or False, then YAML.

    Within YAML every scalar is text. Raises ConfigError for what is no such pair.
    """
    config: dict[str, Any] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not _KEY.match(key):
            raise ConfigError(
                f'--config {entry}: must be KEY=VALUE; nested keys as in --config "data={{mirror: FOLDER}}"'
            )
        config = overlay(config, {key: _value(text.strip("'\""))})
    return config


def _value(text: str) -> Any:
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    if (found := number(text)) is not None:
        return found
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return text


def configuration(
    files: Iterable[Path], entries: Iterable[str], root: Path, folder: Path | None = None
) -> dict[str, Any]:
    """config.yaml in `folder` (root/config) with configuration files and then `KEY=VALUE` entries laid over it."""
    return overlay(*map(_mapping, ((folder or root / "config") / "config.yaml", *files)), parse_config(entries))


def _mapping(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold keys and values, found {type(content).__name__}")
    return content


class Present:
    """The workflow as it is now, at the scale and in the run to which a result belongs.

    folder: of the configuration (root/config).
    """

    def __init__(self, files: Sequence[Path], entries: Sequence[str], root: Path, folder: Path | None = None):
        self.files, self.entries, self.root, self.folder = tuple(files), tuple(entries), root, folder or root / "config"
        self.at = cache(self._at)

    def _at(self, scale: str | None, run: str | None = AS_CONFIGURED) -> Workflow:
        base = self.folder / f"{scale}.yaml"
        files = ([base] if base.exists() else []) + list(self.files)
        config = configuration(files, self.entries, self.root, self.folder)
        config |= {"scale": scale} if scale else {}
        config |= {"run": run} if run != AS_CONFIGURED else {}
        return Workflow(config, self.root, self.folder)

    def configured(self, key: str) -> Any:
        """What the configuration says of a key, unchecked."""
        return configuration(self.files, self.entries, self.root, self.folder).get(key)

    def of(self, path: str | Path) -> Workflow:
        """The workflow at the scale and in the run that the path names (results/NAME/quick/…), else as configured."""
        return self.at(*place_of(path))


def as_target(path: str) -> str:
    """A target as Snakemake knows it: a path from the present folder, without `./`; a name stays as it is."""
    plain = os.path.normpath(path)
    return os.path.relpath(plain) if Path(plain).is_absolute() else plain


# ---- plan


def show_plan(present: Present, targets: Sequence[str]) -> int:
    """Print what targets cost together, by experiment. Raises ConfigError for targets of two scales or runs."""
    workflow, targets = resolved(present, targets, "plan")
    costs = plan(workflow, *targets)
    rows = [("experiment", "jobs", "networks", "CPU time", "disk", "still to run")]
    rows += [_row(part.experiment, part.whole, part.missing) for part in costs.parts]
    rows += [
        (f"data set {d.name}", "", "", "", size(d.disk), "" if d.present else "fetch and prepare") for d in costs.data
    ]
    whole = costs.whole + Cost(disk=sum(d.disk for d in costs.data))
    rows.append(_row("total", whole, costs.missing))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for i, row in enumerate(rows):
        cells = [cell.ljust(w) if j in (0, 5) else cell.rjust(w) for j, (cell, w) in enumerate(zip(row, widths))]
        if i in (1, len(rows) - 1):
            print("-" * (sum(widths) + 2 * len(widths) - 2))
        print("  ".join(cells).rstrip())
    print("Estimates, good to a factor of two, for one CPU thread. What is up to date, or kept, is not trained again.")
    return GOOD


def _row(name: str, whole: Cost, missing: Cost) -> tuple[str, ...]:
    todo = f"{missing.jobs} of {whole.jobs} jobs, {duration(missing.seconds)}" if missing.jobs else "nothing"
    return name, str(whole.jobs), str(whole.runs), duration(whole.seconds), size(whole.disk), todo


# ---- why


def show_why(present: Present, path: str) -> int:
    """Print what differs between a result and the present; for a table or figure, between the runs below it."""
    workflow = present.of(path)
    if SHARD.search(path):
        lines = audit.reasons(workflow, path) + audit.content_problems(Path(path))
    else:
        below = _runs_below(workflow, path)
        lines = [line for run in below for line in audit.stale_or_missing(workflow, run)]
        lines = made.why(workflow, path, lines) if split(path) else lines
    print("\n".join(lines) or "up to date")
    return STALE if lines else GOOD


def _runs_below(workflow: Workflow, path: str) -> list[str]:
    """Result files that a table or figure is made from; they lie in the same `results` as it does."""
    target, folder = path, ""
    found = re.search(r"(?<![^/])(?:tables|figures)/.*$", Path(path).as_posix())
    if found:
        target, folder = f"{workflow.results}/{found[0]}", Path(path).as_posix()[: found.start()]
    names = [run for jobs in needed_jobs(workflow, target).values() for run, _ in jobs]
    return [folder + name.removeprefix(f"{workflow.results}/") if found else name for name in names]


# ---- verify


def show_verify(present: Present, paths: Sequence[str]) -> int:
    """Print a line for every problem of the result files at and below `paths`, by default all with their data, and a
    summary.

    Raises DataError when there is nothing to verify.
    """
    files = _result_files(paths or _everything(present))
    counts = {"good": 0, "stale": 0, "damaged": 0, "unknown": 0}
    unverified = 0
    for file in files:
        if file.suffix == DATA:
            verdict = audit.verify_data(file)
        else:
            verdict = (made if split(file) else audit).verify(present.of(file), file)
        counts[verdict.kind] += 1
        unverified += verdict.unverified
        for line in verdict.lines:
            print(f"{file}: {verdict.kind}: {line}")
    print(
        f"{len(files)} results: {counts['good']} good, {counts['stale']} stale, {counts['damaged']} damaged, "
        f"{counts['unknown']} not part of the present configuration; {unverified} from unverified data"
    )
    return STALE if counts["stale"] or counts["damaged"] else GOOD


def _everything(present: Present) -> list[str]:
    """results/, and the data folder where it lies elsewhere."""
    data = Path(present.at(None).settings.data_folder)
    elsewhere = data.is_dir() and not data.resolve().is_relative_to(Path(RESULTS).resolve())
    return [RESULTS, *([str(data)] if elsewhere else [])]


def _result_files(paths: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = (p for p in path.rglob("*") if _is_result(p) and transport.STAGE not in p.parts)
            files += sorted(p for p in found if p.is_file() and not (p.suffix == DATA and _is_original(p)))
            files += made.lost(path)
        elif not path.exists():
            raise DataError(f"{path}: no such file or folder; the default is everything below results/")
        elif not _is_result(path):
            raise ConfigError(f"{path}: not a result; {RESULT_FILES}")
        else:
            files.append(path)
    if not files:
        raise DataError(f"{', '.join(paths)}: holds no results; {RESULT_FILES}")
    return list(dict.fromkeys(files))


def _is_original(path: Path) -> bool:
    """Whether a file lies below raw/ of a data folder, where the original files of data sets are."""
    return "raw" in (parent.name for parent in path.parents[:2])


def _is_result(path: Path) -> bool:
    return bool(path.suffix == DATA or SHARD.search(path.as_posix()) or split(path))


# ---- export, import


def show_export(present: Present, target: str, file: str, stale: bool, overwrite: bool) -> int:
    """Pack the results that a target rests on."""
    target = as_target(target)
    count = transport.export(present.of(target), target, Path(file), stale, overwrite)
    print(f"{file}: {count} results below {target}, {size(Path(file).stat().st_size)}")
    return GOOD


def show_import(present: Present, file: str, stale: bool, overwrite: bool) -> int:
    """Put the results of an archive into their places; a line for each that is not taken, and a summary."""
    done = transport.take_in(present.at(transport.scale_of_archive(Path(file))), Path(file), stale, overwrite)
    for place in done.kept:
        print(f"{place}: another one is there, which stays (--overwrite replaces it)")
    for place, reason in done.refused.items():
        print(f"{place}: refused: {reason}")
    print(
        f"{file}: {len(done.placed)} results put back as up to date, {len(done.stale)} as stale, "
        f"{len(done.there)} were there, {len(done.kept)} others stay, {len(done.refused)} refused"
        + (" (--stale takes the stale ones)" if any(r.startswith("stale") for r in done.refused.values()) else "")
    )
    return STALE if done.kept or done.refused else GOOD


# ---- cite


def show_cite(present: Present, target: str) -> int:
    """Print the BibTeX of what a target makes use of."""
    target = as_target(target)
    print(bibliography(present.of(target), target))
    return GOOD


# ---- list


def show_list(present: Present, pattern: str | None) -> int:
    """Print what there is, or what of it matches, each with its state."""
    print("\n".join(listing(present.at(None), pattern)))
    return GOOD
