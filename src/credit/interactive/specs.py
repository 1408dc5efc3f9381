"""Specs of training jobs, as the workflow would give them to its own. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from credit.config.files import overlay, read_yaml
from credit.config.place import config_folder
from credit.dag.runs import SCALES
from credit.dag.targets import Workflow
from credit.data import catalog
from credit.errors import ConfigError, one_of


def experiment(
    name: str, *, method: str, dataset: str | None = None, seeds: int | Sequence[int] | None = None,
    scale: str = "paper", config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The spec of one training: a method of an experiment on one of its data sets, with these seeds as one stack.

    name: PAPER/NAME, a file of config/experiments. dataset: may be left out where the experiment has one. seeds: a
    number n, for 0 to n - 1, or a list; all of the experiment's when left out. scale: paper or quick. config: laid over
    config/config.yaml, for example {"epochs": 5}. The workflow's own job of these seeds has the same spec.
    Returns a dict of plain values; what is changed in it changes what `credit.train` does. Raises ConfigError, one
    line, for names that are not there.
    """
    workflow = present(scale, config)
    if name not in workflow.defined:
        raise ConfigError(one_of("experiment", name, workflow.defined))
    found = workflow.defined[name]
    names = _chosen("dataset", dataset, found.body["datasets"]), _chosen("method", method, found.body["methods"])
    given = range(found.seeds if seeds is None else seeds) if seeds is None or isinstance(seeds, int) else list(seeds)
    if not given or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in given):
        raise ConfigError(f"seeds = {seeds!r}; must be a number > 0, or a list of whole numbers >= 0")
    return workflow.spec_of((name, *names), tuple(given))


def present(scale: str = "paper", config: Mapping[str, Any] | None = None) -> Workflow:
    """The workflow as its configuration is now: in the present folder where that has one, else the checkout's."""
    if scale not in SCALES:
        raise ConfigError(one_of("scale", scale, SCALES))
    folder = config_folder()
    settings = overlay(read_yaml(folder / "config.yaml"), config, {"scale": scale})
    return Workflow(settings, catalog.ROOT, folder, job=True)


def root() -> Path:
    """Where `results` is: the present folder where that has a configuration, else the checkout."""
    return Path.cwd() if not config_folder().is_absolute() else catalog.ROOT


def _chosen(what: str, name: str | None, names: Iterable[str]) -> str:
    names = list(names)
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        raise ConfigError(one_of(what, name, names))
    return name
