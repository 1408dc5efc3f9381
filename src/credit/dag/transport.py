"""Results from one checkout to another: what a target rests on, packed; and put back where it still holds.

Loads no torch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from credit.dag import audit
from credit.dag.cost import needed_jobs
from credit.dag.keeping import beside
from credit.dag.resultfile import NAMES
from credit.dag.runs import SCALES
from credit.dag.targets import SHARD, Workflow
from credit.errors import DataError
from credit.provenance import snapshot as provenance
from credit.provenance.archive import pack, read_list, unpack
from credit.provenance.files import alone, checksum
from credit.provenance.spec import digest

AT_ONCE = 1000  # names on a command line
STAGE = ".import"  # where an archive is unpacked, below the results


# ---- export


def export(workflow: Workflow, target: str, file: Path, stale: bool, overwrite: bool) -> int:
    """Pack every run and search that a target rests on into `file`; returns how many files these are.

    stale: also what the present code and configuration would make otherwise. Raises ConfigError for what is no
    target, DataError for a result that is missing, damaged or stale, or where `file` exists and may not be replaced.
    """
    if file.is_dir() or (file.exists() and not overwrite):
        raise DataError(f"{file}: exists; give another name" + ("" if file.is_dir() else ", or --overwrite"))
    jobs = dict(job for jobs in needed_jobs(workflow, target).values() for job in jobs)
    missing = [path for path in jobs if not Path(path).exists()]
    if missing:
        raise DataError(
            f"{target}: {len(missing)} of the {len(jobs)} results that it rests on are missing, among them "
            f"{missing[0]}; make them first"
        )
    _refuse_unsound(workflow, target, jobs, stale)
    kept = [file for path in jobs for file in beside(workflow, path).values()]
    files = [Path(path) for path in jobs] + [path for path in kept if path.exists()]
    packed = {path.relative_to(workflow.results).as_posix(): (path, _digests(path)) for path in files}
    pack(file, {"target": target, "scale": workflow.settings.scale}, packed)
    return len(packed)


def _refuse_unsound(workflow: Workflow, target: str, paths: Sequence[str], stale: bool) -> None:
    verdicts = {path: audit.verify(workflow, Path(path)) for path in paths}
    for kind in ("damaged",) if stale else ("damaged", "stale"):
        bad = [path for path, verdict in verdicts.items() if verdict.kind == kind]
        if bad:
            way_out = "; run again, or pack them with --stale" if kind == "stale" else ""
            raise DataError(
                f"{bad[0]}: {kind}: {'; '.join(verdicts[bad[0]].lines)} ({len(bad)} of the {len(verdicts)} results "
                f"below {target} are {kind}{way_out})"
            )


def _digests(path: Path) -> dict[str, str]:
    spec = provenance.read_header(path)["spec"]
    return {"spec": digest(spec), "code": spec["code"]}


# ---- import


@dataclass
class Imported:
    """What became of an archive's files, by their path. refused: with the reasons. kept: another one is there."""

    placed: list[Path] = field(default_factory=list)
    stale: list[Path] = field(default_factory=list)
    there: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)


def scale_of_archive(file: Path) -> str:
    """The scale of an archive's results. Raises DataError for what is no archive of results."""
    scale = read_list(file, NAMES).get("scale")
    if scale not in SCALES:
        raise DataError(f"{file}: scale = {scale!r}; must be one of {', '.join(SCALES)}")
    return scale


def take_in(workflow: Workflow, file: Path, stale: bool, overwrite: bool) -> Imported:
    """Put the results of an archive into their places, one by one, where they are what would be made now.

    stale: also those that would be made otherwise now; they count as stale. overwrite: replace other results that are
    there. Raises DataError for what is no sound archive; then nothing is changed.
    """
    done = Imported()
    results = Path(workflow.results)
    with _stage(results) as stage:
        names = sorted(unpack(file, NAMES, stage)["files"])
        for name in names:
            _compare(stage / name, results / name, overwrite, done)
        settled = {*done.there, *done.kept}
        waiting = [name for name in names if results / name not in settled]
        for name in waiting:
            _borrow(workflow, stage, name, results)
        verdicts = {name: audit.verify(workflow, stage / name) for name in waiting}
        taken = {"good": done.placed, **({"stale": done.stale} if stale else {})}
        for name in sorted(waiting, key=_last_the_runs):
            verdict, place = verdicts[name], results / name
            if verdict.kind not in taken:
                done.refused[place] = f"{verdict.kind}: {'; '.join(verdict.lines)}"
            else:
                (taken[verdict.kind] if _moved(stage / name, place, overwrite) else done.kept).append(place)
    forget(workflow, [*done.placed, *done.stale])
    return done


def forget(workflow: Workflow, places: Sequence[Path]) -> None:
    """Take from Snakemake what it remembers of earlier files in these places; their own headers count then."""
    if Path(".snakemake", "metadata").is_dir():
        for start in range(0, len(places), AT_ONCE):
            names = map(str, places[start : start + AT_ONCE])
            command = [sys.executable, "-m", "snakemake", "--snakefile", workflow.root / "Snakefile"]
            subprocess.run([*command, "--cleanup-metadata", *names], capture_output=True, check=False)


@contextmanager
def _stage(results: Path) -> Iterator[Path]:
    """A folder beside the results, so that files can be moved; gone afterwards."""
    folder = results / STAGE
    with alone(folder, "imports results"):
        shutil.rmtree(folder, ignore_errors=True)  # of an import that was killed
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _compare(staged: Path, place: Path, overwrite: bool, done: Imported) -> None:
    """Where something is there already and stays, it stands in the stage too: the others are judged beside it."""
    if not os.path.lexists(place):
        return
    same = place.is_file() and checksum(place) == checksum(staged)
    if same or not overwrite:
        (done.there if same else done.kept).append(place)
        staged.unlink()
        staged.symlink_to(place.absolute())


def _borrow(workflow: Workflow, stage: Path, name: str, results: Path) -> None:
    """What a result is judged by and the archive does not have: its search's choice, the weights it starts from."""
    paper, experiment, dataset, method, _ = SHARD.search(name).groups()
    needed = [(results / name).with_name("choice.json")]
    if audit.is_planned(workflow, name):
        seeds = workflow.run_spec(name)["seeds"]
        needed += map(Path, workflow.weights_paths((f"{paper}/{experiment}", dataset, method), seeds))
    for path in needed:
        copy = stage / path.relative_to(results)
        if path.is_file() and not os.path.lexists(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path.absolute())


def _last_the_runs(name: str) -> tuple[bool, str]:
    """A run comes after what it was made from and what it keeps."""
    return name.endswith(".jsonl"), name


def _moved(staged: Path, place: Path, overwrite: bool) -> bool:
    """Put a file into its place, with the present date; False where another process has made one meanwhile."""
    os.utime(staged)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not overwrite:
        try:
            os.link(staged, place)
            return True
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if os.path.lexists(place):
                return False
    staged.replace(place)
    return True
