"""Trials drawn from a space, each with the scores of the earlier ones in mind. Loads Optuna, and no torch.

Optuna draws; what was drawn and scored is kept elsewhere, by whoever asks. `Draws` that are told the same scores draw
the same trials, so that a search which was killed goes on as if it had not been: its trials are drawn again, and told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from credit.config.space import Entry, rounded
from credit.errors import ConfigError, one_of

Point = dict[str, Any]  # {dotted path: value}


class Draws:
    """The trials of one search, in order.

    sampler: as in a spec: {"name", "seed", "optuna", "space": {dotted path: entry}, ...}, see `credit.config.space`.
    Raises ConfigError where Optuna is missing, or is not the version that the search was planned with.
    """

    def __init__(self, sampler: Mapping[str, Any]):
        optuna = _optuna(sampler["optuna"])
        makers = {
            "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
            "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
        }
        if sampler["name"] not in makers:
            raise ConfigError(one_of("sampler.name", sampler["name"], makers))
        self.space = {path: sampler["space"][path] for path in sorted(sampler["space"])}
        self._distributions = {path: _distribution(optuna, entry) for path, entry in self.space.items()}
        storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(storage=storage, sampler=makers[sampler["name"]](sampler["seed"]))
        self._open: list[Any] = []

    def ask(self, count: int) -> list[Point]:
        """The next trials; those that were asked for together know nothing of each other's scores."""
        self._open = [self._study.ask(self._distributions) for _ in range(count)]
        return [{path: self._value(path, trial.params[path]) for path in self.space} for trial in self._open]

    def tell(self, scores: Sequence[float | None]) -> None:
        """The scores of the trials that were asked for last, the lower the better. None, of one that diverged, is
        worse than every other."""
        for trial, score in zip(self._open, scores, strict=True):
            self._study.tell(trial, math.inf if score is None else score)
        self._open = []

    def _value(self, path: str, drawn: Any) -> Any:
        entry = self.space[path]
        return json.loads(drawn) if "choices" in entry else rounded(entry, drawn)


def _optuna(wanted: str) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f"search.sampler: needs the package optuna ({error}): pip install optuna=={wanted}") from None
    if optuna.__version__ != wanted:
        raise ConfigError(
            f"search.sampler: optuna {optuna.__version__} is installed, which draws other trials than the version of "
            f"this search: pip install optuna=={wanted}"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(optuna: Any, entry: Entry) -> Any:
    if "choices" in entry:  # as text: Optuna takes 1 for true, and other kinds of values for damaged ones
        return optuna.distributions.CategoricalDistribution([json.dumps(value) for value in entry["choices"]])
    kind = optuna.distributions.IntDistribution if entry["whole"] else optuna.distributions.FloatDistribution
    return kind(entry["low"], entry["high"], log=entry["log"])
