"""Checks of a run's parts before anything is computed: every problem at once, each naming file and key."""

# ruff: noqa: B023  (the checks run at once, inside the loop that names their arguments)
from __future__ import annotations

from collections.abc import Callable, Iterable

from credit import agreement, hyperparameters, methods
from credit.code import REGISTRIES
from credit.errors import ConfigError, one_of
from credit.nets._names import check_names, scheme_options
from credit.optim import config as optimizer_config
from credit.registry import Registry


class PartChecker:
    """Collects every problem of a cell's parts."""

    def __init__(self, where: str):
        self.where, self.problems = where, []

    def part(
        self, kind: str, settings: dict, key: str, name_key: str = "name", extra: tuple[str, ...] = (),
        label: str | None = None,
    ) -> dict:  # fmt: skip
        """Settings of a part with defaults filled in."""
        registry: Registry = REGISTRIES[kind]
        name = settings.get(name_key)
        try:
            module = registry.module(name)
        except ConfigError as error:
            self.problems.append(f"{self.where}: {label or key}: {error}")
            return dict(settings)
        given = {k: v for k, v in settings.items() if k != name_key and k not in extra}
        try:
            checked = hyperparameters.check(module, given, f"{self.where}: {key}")
        except ConfigError as error:
            self.problems += str(error).splitlines()
            return dict(settings)
        if "hidden_sizes" in checked:  # a net, or a task that draws one
            self._trying(lambda: check_names(checked, f"{self.where}: {key}"))
        constants = hyperparameters.constants(module)
        for field in constants.get("schemes", ()):
            self._trying(lambda: scheme_options(checked[field], f"{self.where}: {key}.{field}"))
        for field, of_kind in constants.get("uses", {}).items():
            self._trying(lambda: REGISTRIES[of_kind].module(checked[field]), f"{self.where}: {key}.{field}: ")
        return {name_key: name, **{k: settings[k] for k in extra}, **checked}

    def _trying(self, check: Callable[[], object], prefix: str = "") -> None:
        """Run a check and keep what it complains about."""
        try:
            check()
        except ConfigError as error:
            self.problems += [prefix + line for line in str(error).splitlines()]

    def _note(self, found: Iterable[str], prefix: str = "") -> None:
        self.problems += [f"{self.where}: {prefix}{problem}" for problem in found]

    def agree(self, resolved: dict, search: dict | None, image: tuple[int, int, int] | None, key: str) -> None:
        """The parts must fit each other and the data. image: (channels, height, width) where they are images."""
        if self.problems:
            return
        self._note(agreement.task_problems(resolved, image))
        self._note(agreement.image_problems(resolved["net"], image) if image else ())
        self._note(agreement.optimizer_problems(resolved), f"{key}: ")
        self._note(agreement.grid_problems(resolved["vary"], (search or {}).get("vary", {})), f"{key}: ")

    def cadence(self, resolved: dict, key: str) -> None:
        """A probe must suit the rule. Evaluations hand out no mini-batch; one that says so does without."""
        for i, probe in enumerate(resolved["probes"] if not self.problems else ()):
            constants = hyperparameters.constants(REGISTRIES["probes"].module(probe["probe"]))
            self._note(agreement.probe_problems(resolved, probe, constants.get("uses", {})), f"{key}[{i}].")
            if probe["on"] == "evaluate" and not constants.get("weights_alone", False):
                self.problems.append(
                    f"{self.where}: {key}[{i}].on = 'evaluate'; {probe['probe']} needs a mini-batch, which evaluations "
                    "do not have: leave `on` out"
                )

    def capable(self, rule: str, kind: str | None, key: str) -> None:
        """A rule must be defined for the kind of net."""
        if self.problems:
            return
        allowed = hyperparameters.constants(methods.registry.module(rule)).get("nets", ("dense",))
        if kind not in allowed:
            self.problems.append(
                f"{self.where}: {key}: rule {rule} is not defined for a {kind} net; it takes: {', '.join(allowed)}"
            )

    def optimizer(self, resolved: dict, search: dict | None, key: str) -> None:
        """A learning rate is either given or searched, not both and not neither."""
        settings = resolved["train"]["optimizer"]
        given = "lr" in settings
        searched = search is not None and "train.optimizer.lr" in search.get("vary", {})
        varied = "train.optimizer.lr" in resolved["vary"]
        if search is not None and not search.get("vary"):
            self.problems.append(f"{self.where}: {key}: search.vary names nothing to search")
        if given + searched + varied != 1:
            found = [n for n, x in (("train.optimizer.lr", given), ("search", searched), ("vary", varied)) if x]
            self.problems.append(
                f"{self.where}: {key}: the learning rate must come from exactly one of train.optimizer.lr, "
                f"search.vary and vary; found {', '.join(found) or 'none'} (search: null switches the search off)"
            )
        self._trying(lambda: optimizer_config.check({"lr": 1.0, **settings}, f"{self.where}: {key}: train.optimizer"))

    def criterion(self, resolved: dict, search: dict | None, key: str) -> None:
        """A search must select by something that its run measures."""
        if search is None or self.problems:
            return
        splits = resolved["train"]["evaluate"]["splits"]
        errors = resolved["net"]["loss"] == "softmax_cross_entropy"
        known = ["train_loss", *(f"{s}_loss" for s in splits), *(f"{s}_error" for s in splits if errors)]
        if search["criterion"]["metric"] not in known:
            where = f"{self.where}: {key}: search.criterion.metric"
            self.problems.append(one_of(where, search["criterion"]["metric"], known))

    def varied(self, resolved: dict, grid: dict[str, list], key: str) -> None:
        """Every value of a grid must be one that the rule or the optimiser takes, and appear once."""
        if self.problems:
            return
        rule, optimizer = resolved["rule"], resolved["train"]["optimizer"]
        module = methods.registry.module(rule["name"])
        given = {k: v for k, v in rule.items() if k != "name"}
        for path, values in grid.items():
            part, _, name = path.rpartition(".")
            where = f"{self.where}: {key}: {part}"
            if len(set(values)) < len(values):
                self.problems.append(f"{where}.{name} = {values}: a value appears twice")
            if part == "hyper":
                self._trying(lambda: hyperparameters.check(module, given | {name: values}, where, stacked=True))
            else:
                self._trying(lambda: optimizer_config.check({"lr": 1.0, **optimizer, name: values}, where))

    def finish(self) -> None:
        """Raise ConfigError when anything was wrong."""
        if self.problems:
            raise ConfigError("\n".join(dict.fromkeys(self.problems)))
