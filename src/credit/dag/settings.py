"""Configuration files: read, checked against their schema, merged. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from credit.config.files import check_schema
from credit.config.paths import NOTHING, expanded, folder, mirror_of_environment
from credit.dag import keeping
from credit.dag.runs import root, run_name
from credit.dag.varied import Setting, read
from credit.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """`config/config.yaml` with what the command line put over it."""

    scale: str = "paper"
    run: str | None = None
    device: str = "auto"
    methods: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    experiments: tuple[str, ...] | None = None
    seeds: int | None = None
    seeds_per_job: int | str | None = None  # a number or all
    epochs: int | None = None
    keep: tuple[str, ...] = ()  # beside what experiments keep
    varied: tuple[Setting, ...] = ()  # what the run has otherwise than the experiments
    data_folder: str = "results/data"
    mirror: str | None = None
    user_files: str | None = None
    allow_unverified: dict[str, Any] = field(default_factory=dict)
    progress: str = "auto"
    progress_period: float = 60.0  # seconds
    tensorboard: bool = False

    @property
    def root(self) -> str:
        """Folder of all results of this run at this scale; neither scale overwrites the other."""
        return root(self.run, self.scale)

    @property
    def limits(self) -> tuple[int | None, int | None, int | str | None]:
        """What decides how many seeds and epochs runs have, beside their experiments."""
        return self.seeds, self.epochs, self.seeds_per_job

    @property
    def cuts(self) -> bool:
        """Whether runs may have fewer seeds or epochs than their experiments say."""
        return self.limits != (None, None, None)


def settings(config: Mapping[str, Any], schema: Path, where: str = "config") -> Settings:
    """Checked settings. Names may be lists or text with commas (`--config methods=bp,fa`); `null` may be text.

    Paths are expanded; the environment's mirror stands in where none is configured.
    """
    named = config.get("run")  # judged by its own words: what is a number is none that a schema could make text again
    config = check_schema({**config, "run": None, **_switches(config)}, schema, where, NOTHING)
    period = config.get("progress_period", Settings.progress_period)
    if not math.isfinite(period):
        raise ConfigError(f"{where}: progress_period = {period}; must be a finite number of seconds, at least 1")
    data = config.get("data", {})
    data_folder = folder(data["folder"], f"{where}: data.folder")
    run = run_name(named, data_folder, where)
    varied = read(config.get("set"), schema.with_name("experiment.schema.yaml"), where)
    if varied and run is None:
        why = "it would put other results in the place of the published settings'"
        raise ConfigError(f"{where}: set = {varied[0].text!r}: needs a name for the run, run=NAME; {why}")
    return Settings(
        scale=config["scale"],
        run=run,
        varied=varied,
        device=config["device"],
        methods=_names(config.get("methods")),
        datasets=_names(config.get("datasets")),
        experiments=_names(config.get("experiments")),
        seeds=config.get("seeds"),
        seeds_per_job=config.get("seeds_per_job"),
        epochs=config.get("epochs"),
        keep=keeping.chosen(_names(config.get("keep")), where),
        data_folder=data_folder,
        mirror=expanded(data.get("mirror"), f"{where}: data.mirror") or mirror_of_environment(),
        user_files=expanded(data.get("user_files"), f"{where}: data.user_files"),
        allow_unverified=dict(data.get("allow_unverified") or {}),
        progress=config.get("progress", Settings.progress),
        progress_period=period,
        tensorboard=config.get("tensorboard", Settings.tensorboard),
    )


def _switches(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is read otherwise than it is meant: `off` is false in a YAML file, `true` a text on the command line."""
    switch = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
    meant = {"progress": {"false": "off"}, "tensorboard": switch}
    given = {key: config[key] for key in meant if isinstance(config.get(key), str | bool)}
    return {key: meant[key].get(str(value).lower(), value) for key, value in given.items()}


def _names(value: str | list[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else value
    return tuple(n.strip() for n in names if n.strip())
