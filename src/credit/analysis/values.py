"""What a table asks for: values that options describe. Loads neither pandas nor torch, for the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from credit.errors import ConfigError, one_of

BEFORE_DECAY = 60  # points of a slowness fit before the published learning rates fall for the first time
CHOOSERS = {"best_validation": "validation_error", "lowest_validation": "validation_loss"}
_POINT = re.compile(r"_-?[0-9.]+(e[+-]?[0-9]+)?")  # the end of the name of a number of `each`
KEY = ["artefact", "dataset", "method", "metric"]
NUMBERS = ["mean", "std", "precision", "n", "epoch"]  # of a published one
PUBLISHED = [*KEY, "kind", "mean", "std", "precision", "unit", "n", "epoch", "stand_in", "anchor", "source"]
# How a published number is held against ours, see `credit.analysis.judgement`. apart: no experiment repeats it;
# fitted: a setting was chosen since it gives this number: both are shown, and count nowhere.
KINDS = ("mean", "exact", "order", "bound", "point", "apart", "fitted")
# What a published number is: printed in the paper; printed there, but read where others quote it; read off a figure;
# kept in what its authors released; measured with their code, or with another implementation. none: none was found.
ANCHORS = ("printed", "quoted", "figure", "authors' output", "official run", "own implementation", "none")
SELECT = ("final", "at", "lowest", "mean", *CHOOSERS, "slowness")
WHOLE = ("lowest", "mean", *CHOOSERS)  # of which the whole curve decides


@dataclass(frozen=True)
class Value:
    """What a run is reduced to.

    metric, layer: as recorded; layer "" is the whole net. name: what the number is called, the metric if empty.
    select: "final" is the last epoch, "at" the given `epoch`, "lowest" the smallest value of all epochs, "mean" the
    mean over those of training; "best_validation" and "lowest_validation" take the first epoch at which `validation`
    (default: validation_error, validation_loss) is lowest; "slowness" is that of `credit.analysis.slowness`, of the
    accuracy 1 - metric. first: only so many epochs count for the lowest, the mean and the choice of an epoch.
    window: the mean over so many records up to the selected epoch, over fewer where there are fewer; with it, values
    within an epoch count one by one. points, chance: of the slowness fit. average: average the curves of all runs
    before selecting. diverged: what a run counts with from the epoch on in which it diverged, such as 1 for an error;
    None: a run that diverged does not count.
    best: column of a grid; for each method and data set the value counts that has the lowest mean over seeds, and is
    itself a second number, NAME_COLUMN. by: the metric that decides, by the same `select`, if not the metric itself.
    highest: the best has the highest mean, as of rewards, in place of the lowest.
    each: column of a grid, of which every value counts by itself, as NAME_VALUE. minus: a method whose value is taken
    off that of every other, run by run of the same seed, each at its own best.
    where: further conditions on columns of the table. percent: times 100, in %. unit: otherwise.
    """

    metric: str = "test_error"
    name: str = ""
    layer: str = ""
    select: str = "final"
    epoch: int | None = None
    validation: str | None = None
    first: int | None = None
    window: int = 1
    points: int = BEFORE_DECAY
    chance: float = 0.1
    average: bool = False
    diverged: float | None = None
    best: str = ""
    by: str = ""
    highest: bool = False
    each: str = ""
    minus: str = ""
    where: dict[str, Any] = field(default_factory=dict)
    percent: bool = False
    unit: str = ""

    def __post_init__(self) -> None:
        if self.select not in SELECT:
            raise ConfigError(one_of("options.select", self.select, SELECT))
        if (self.select == "at") != (self.epoch is not None):
            raise ConfigError(f"options.epoch = {self.epoch}; give it together with select: at, and only then")
        if self.diverged is not None and (self.average or isinstance(self.diverged, bool)):
            raise ConfigError(f"options.diverged = {self.diverged}; must be a number, and null together with average")
        if self.window < 1 or (self.window > 1 and self.select not in ("final", "at")):
            raise ConfigError(f"options.window = {self.window}; must be >= 1, and 1 unless select is final or at")
        if self.first is not None and (self.first < 1 or self.select not in WHOLE):
            raise ConfigError(
                f"options.first = {self.first}; must be >= 1, and null unless select is {', '.join(WHOLE)}"
            )
        if self.by and not self.best:
            raise ConfigError(f"options.by = {self.by!r}; needs options.best, the column of the grid")
        if self.best and self.each:
            raise ConfigError(f"options.best, each = {self.best!r}, {self.each!r}; must not both be given")
        if self.average and (self.best or self.each or self.minus):
            raise ConfigError("options.average = true; goes with neither best nor each nor minus")

    @property
    def label(self) -> str:
        """Name in summaries and in config/published."""
        return self.name or self.metric

    @property
    def chooser(self) -> str:
        """Metric whose curve chooses the epoch."""
        return self.validation or CHOOSERS.get(self.select, self.metric)

    @property
    def column(self) -> str:
        """The varied setting whose values are told apart, "" for none."""
        return self.best or self.each

    @property
    def scorer(self) -> Value:
        """The value by whose mean over seeds the best point of a grid is chosen."""
        if not self.by:
            return self
        select = "lowest" if self.select in CHOOSERS else self.select
        return replace(self, metric=self.by, layer="", select=select, validation=None, by="")

    @property
    def second(self) -> str:
        """Name of the chosen value of `best`."""
        return f"{self.label}_{self.best}"

    def at(self, point: Any) -> str:
        """Name of the number of one value of `each`."""
        return f"{self.label}_{point:g}"

    def named(self, metric: str) -> bool:
        """Whether a number in a summary is one of this value's."""
        if self.each:
            return bool(_POINT.fullmatch(metric.removeprefix(self.label)))
        return metric == self.label or (bool(self.best and not self.minus) and metric == self.second)

    @property
    def chooser_layer(self) -> str:
        """Where `chooser` is recorded: of the whole net, unless the value is its own chooser."""
        return self.layer if self.chooser == self.metric else ""


def values(options: Mapping[str, Any]) -> list[Value]:
    """The values that a table's options ask for: `values`, a list of settings laid over the options' own; or one.

    A list of epochs stands for one value for each, called NAME_EPOCH; `window` may then be a list as long.
    Events and a fit have numbers of their own, see `credit.analysis.pooling` and `credit.analysis.fitting`: there are
    no values then. Raises ConfigError for an unknown key or select, and for lists that do not go together.
    """
    if "events" in options or "fit" in options:
        return []
    known = {f.name for f in fields(Value)}
    common = {k: v for k, v in options.items() if k in known - {"where"}}
    chosen = []
    for i, given in enumerate(options.get("values") or [{}]):
        for key in given:
            if key not in known:
                raise ConfigError(one_of(f"options.values[{i}]", key, known))
        chosen += [Value(**one) for one in _at_each_epoch({**common, **given})]
    return chosen


def _at_each_epoch(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Settings with a list of epochs, or of windows, as one for each epoch."""
    epochs, windows = settings.get("epoch"), settings.get("window", 1)
    if not isinstance(epochs, list):
        if isinstance(windows, list):
            raise ConfigError(
                f"options.window = {windows}; a list goes with a list of epochs, options.epoch = {epochs}"
            )
        return [settings]
    windows = windows if isinstance(windows, list) else [windows] * len(epochs)
    if len(windows) != len(epochs):
        raise ConfigError(
            f"options.window = {windows}; must be one number, or one for each of options.epoch = {epochs}"
        )
    name = settings.get("name") or settings.get("metric", Value.metric)
    several = zip(epochs, windows, strict=True)
    return [{**settings, "name": f"{name}_{epoch}", "epoch": epoch, "window": window} for epoch, window in several]
