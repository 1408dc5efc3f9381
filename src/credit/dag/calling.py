"""`credit run`: calls snakemake for targets as people name them, in a named run with its settings. Loads no torch."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from credit.config.place import CHECKOUT
from credit.dag.cost import needed_experiments
from credit.dag.runs import AS_CONFIGURED, RESULTS, place_of, root
from credit.errors import ConfigError

if TYPE_CHECKING:
    from credit.dag.commands import Present
    from credit.dag.targets import Workflow

BELOW = re.compile(r"(?<![^/])(?:runs|tables|figures)/.*$")
NOT_PLANNED = ("bench", f"{RESULTS}/bench/", f"{RESULTS}/data/")  # what needs no experiment


def run(present: Present, targets: Sequence[str], cores: str, dry: bool, profile: str | None) -> int:
    """Become the call of snakemake that makes these targets, and say it first. Raises as `snakemake`."""
    command = snakemake(present, targets, cores, dry, profile)
    print(shlex.join(["snakemake", *command[3:]]), file=sys.stderr, flush=True)
    os.execv(command[0], command)  # Ctrl-C, exit code and signals are snakemake's own
    raise AssertionError("never reached")


def snakemake(
    present: Present, targets: Sequence[str], cores: str = "all", dry: bool = False, profile: str | None = None
) -> list[str]:
    """The command, beginning with the interpreter. Raises ConfigError for targets and settings that do not fit."""
    workflow, names = resolved(present, targets, "make")
    files, entries, settings = list(present.files), list(present.entries), workflow.settings
    if settings.scale != present.configured("scale"):
        files.insert(0, present.folder / f"{settings.scale}.yaml")
    if settings.run != present.configured("run"):
        entries.append(f"run={settings.run}")
    command = [sys.executable, "-m", "snakemake", "--cores", cores]
    command += [] if Path("Snakefile").exists() else ["--snakefile", str(CHECKOUT / "Snakefile")]
    command += ["--profile", profile] if profile else []
    command += ["-n"] if dry else []
    command += ["--configfile", *map(str, files)] if files else []
    return [*command, *(["--config", *entries] if entries else []), "--", *names]


def resolved(present: Present, targets: Sequence[str], what: str) -> tuple[Workflow, list[str]]:
    """The workflow that makes targets, and how Snakemake calls them.

    A path below `results/` stands for the file of the run that is made, an experiment, PAPER/NAME, for the table of its
    records. what: is to be done with them, for messages. Raises ConfigError for what is no target, and for targets of
    two runs or scales.
    """
    from credit.dag.commands import as_target

    found = [_resolved(present, as_target(target)) for target in targets]
    workflows = {workflow.results: workflow for workflow, _ in found}
    if len(workflows) > 1:
        raise ConfigError(f"{' '.join(targets)}: are of {'/ and '.join(workflows)}/; {what} them one by one")
    (workflow,) = workflows.values()
    return workflow, [name for _, name in found]


def _resolved(present: Present, target: str) -> tuple[Workflow, str]:
    scale, named = place_of(target)
    workflow, configured = present.at(scale, named or AS_CONFIGURED), present.configured("run")
    if named and configured not in (None, named):
        raise ConfigError(f"target = {target!r}: is of the run {named}; the configuration names the run {configured}")
    if named is None and workflow.settings.run:
        target = workflow.results + target.removeprefix(root(None, scale or workflow.settings.scale))
    if target in workflow.experiments:
        return workflow, f"{workflow.results}/tables/{target}.csv"
    if not target.startswith((*NOT_PLANNED, f"{workflow.results}/runs/")):
        needed_experiments(workflow, target)
    return workflow, target


def scoped(present: Present, targets: Sequence[str], settings: Sequence[str]) -> list[str]:
    """Settings as they are meant beside targets: one of all that is run, or of a method, is one of each experiment that
    the targets need, since others need not be able to have it.

    present: without these settings. Raises ConfigError for what is no target, and for a method that they do not need.
    """
    from credit.dag.cost import needed_jobs

    if all("/" in _parts(text)[0] for text in settings):
        return list(settings)
    needed: dict[str, None] = {}
    for target in targets:
        if below := BELOW.search(target):  # of whichever folder or run
            workflow = present.at(place_of(target)[0])
            name = f"{workflow.results}/{below[0]}"
        else:
            workflow, (name,) = resolved(present, [target], "make")
        needed |= {} if name.startswith(NOT_PLANNED) else dict.fromkeys(needed_jobs(workflow, name))
    if needed.keys() == workflow.experiments.keys():
        return list(settings)
    found: list[tuple[str, str, bool]] = []
    for text in settings:
        where, short = _parts(text)
        known = any(where in one.body["methods"] for one in workflow.experiments.values())
        given = "/" in where or (bool(where) and not known)
        having = [key for key in needed if not where or where in workflow.experiments[key].body["methods"]]
        if not given and not having:
            raise ConfigError(f"--set {text}: varies nothing that {' '.join(targets)} needs")
        for place in [where] if given else [f"{key}/{where}".rstrip("/") for key in having]:
            name = f"{place}:{short.partition('=')[0].strip()}"
            found = [one for one in found if one[0] != name or (given and one[2])] + [(name, f"{place}:{short}", given)]
    return [text for _, text, _ in found]


def _parts(text: str) -> tuple[str, str]:
    """WHERE and PATH=VALUE of a setting."""
    left, equals, value = text.partition("=")
    where, _, path = left.rpartition(":")
    return where.strip(), f"{path}{equals}{value}"


def entries(config: Iterable[str], named: str | None, settings: Sequence[str]) -> list[str]:
    """Entries of --config, with those that `--run NAME` and `--set SETTING` stand for.

    Raises ConfigError where both say the same key, of which one would be passed over without a word.
    """
    config = list(config)
    meant = {"run": named, "set": json.dumps(list(settings), ensure_ascii=False) if settings else None}
    for key in (key for key, value in meant.items() if value is not None):
        if twice := [entry for entry in config if entry.partition("=")[0] == key]:
            raise ConfigError(f"--{key} and --config {twice[0]}: say the same key, {key}; keep one of them")
    return [*config, *(f"{key}={value}" for key, value in meant.items() if value is not None)]
