"""`credit run`: calls snakemake for targets as people name them, in a named run with its settings. Loads no torch."""

from __future__ import annotations

import json
import os
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
