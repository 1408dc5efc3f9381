"""All experiments of a checkout: files -> checked, resolved, narrowed by the settings. Loads no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from credit.config.sets import Sets
from credit.dag import promised, varied
from credit.dag.experiment import FOLDER, Experiment
from credit.dag.resolved import Resolved
from credit.dag.runs import KINDS
from credit.dag.settings import Settings
from credit.data import catalog
from credit.errors import ConfigError, one_of

PAPER, NAME = re.compile("[a-z]+"), re.compile("[a-z][a-z0-9_]*")  # as in the rules' wildcards
RESERVED = ("all", "bench", "train")  # rules whose names could be a paper's
DECIDING = ("scale", "epochs", "keep", "allow_unverified")  # settings that decide what experiments resolve to
FEW = 20  # experiments that are resolved in no time


def experiment_files(folder: Path) -> list[Path]:
    """Files PAPER/NAME.yaml, sorted.

    Raises ConfigError for names that the workflow cannot use, and for files that it would overlook.
    """
    problems = [f"{p}: must be {folder}/PAPER/{p.stem}.yaml" for p in sorted(folder.glob("*.y*ml"))]
    found = sorted(folder.glob("*/*.y*ml"))
    for paper in dict.fromkeys(p.parent for p in found):
        if not PAPER.fullmatch(paper.name):
            problems.append(f"{paper}: a paper is a target, its folder is named by small letters alone, a to z")
        elif paper.name in RESERVED:
            problems.append(f"{paper}: a paper is a target, and `{paper.name}` is another one; choose another name")
        elif paper.name in KINDS:
            problems.append(f"{paper}: {paper.name} {FOLDER}")
    for path in found:
        if path.suffix != ".yaml" or not NAME.fullmatch(path.stem):
            wanted = "a small letter, then small letters, digits and underscores, then .yaml"
            problems.append(f"{path}: the name of an experiment's file must be {wanted}")
        elif path.stem in KINDS:
            problems.append(f"{path}: {path.stem} {FOLDER}")
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def load_experiments(folder: Path, settings: Settings, schema: Path) -> dict[str, Experiment]:
    """All experiments below `folder`, {"PAPER/NAME": experiment}, checked."""
    files = experiment_files(folder)
    sets = Sets(folder.with_name("sets"))
    deciding = [*files, *sorted(sets.folder.glob("*.yaml")), schema, *catalog.files()]
    decided = repr([getattr(settings, name) for name in DECIDING])
    memory = Resolved(deciding, decided) if len(files) > FEW and not settings.varied else None
    kept = (memory and memory.read()) or {}
    everything = {
        key: Experiment(p, settings, schema, sets, kept.get(key))
        for key, p in ((f"{p.parent.name}/{p.stem}", p) for p in files)
    }
    if not everything:
        raise ConfigError(f"{folder}: holds no experiments (PAPER/NAME.yaml)")
    varied.check(settings, everything)
    for experiment in everything.values():
        experiment.check()
    if memory and not kept:
        memory.write({key: experiment.state for key, experiment in everything.items()})
    return everything


def checked_artefacts(everything: Mapping[str, Experiment], settings: Settings, root: Path, folder: Path) -> None:
    """Check figures, tables and what they are held against, see `promised.check`; once for the same files, code and
    settings."""
    below = [path for at in (folder, root / "workflow" / "report") for path in at.rglob("*.*")]
    memory = Resolved(sorted(below), f"figures and tables {settings}") if len(everything) > FEW else None
    if not (memory and memory.read()):
        promised.check(everything, root, folder)
        if memory:
            memory.write(True)


def narrowed(everything: Mapping[str, Experiment], settings: Settings) -> dict[str, Experiment]:
    """The experiments of which the settings leave something.

    Raises ConfigError when a name in the settings belongs to no experiment, and when nothing is left.
    """
    _check_names("methods", settings.methods, {m for e in everything.values() for m in e.body["methods"]})
    _check_names("datasets", settings.datasets, {d for e in everything.values() for d in e.body["datasets"]})
    _check_names("experiments", settings.experiments, {*everything, *(e.name for e in everything.values())})
    wanted = set(settings.experiments or everything)
    chosen = {k: e for k, e in everything.items() if wanted & {k, e.name} and e.datasets and e.methods}
    if not chosen:
        raise ConfigError("methods, datasets and experiments together leave nothing to run at this scale")
    return chosen


def _check_names(kind: str, wanted: tuple[str, ...] | None, known: set[str]) -> None:
    for name in wanted or ():
        if name not in known:
            raise ConfigError(f"config: {one_of(kind, name, known)}")
