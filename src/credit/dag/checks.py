"""Checks of a run's parts before anything is computed: every problem at once, each naming file and key."""

# ruff: noqa: B023  (the checks run at once, inside the loop that names their arguments)
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from credit.config import hyperparameters, space
from credit.config.parts import METHODS, REGISTRIES, targets
from credit.config.registry import Registry
from credit.data.entry import Entry
from credit.errors import ConfigError, one_of
from credit.nets.geometry import image_problems
from credit.nets.names import LOSSES, check_lengths, n_blocks
from credit.optim import config as optimizer_config
from credit.provenance.spec import column, put
from credit.tasks.reinforcement.names import SPACES, net_problems

RECORDED = (
    "paper", "experiment", "dataset", "method", "seed", "epoch", "step", "metric", "layer", "value", "data_verified",
)  # fmt: skip


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
        if kind == "nets" or "hidden_sizes" in checked:  # a net, or a task that draws one
            self._trying(lambda: check_lengths({name_key: name, **checked}, f"{self.where}: {key}"))
        constants = hyperparameters.constants(module)
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

    def agree(self, resolved: dict, search: dict | None, data: Entry | None, key: str) -> None:
        """The parts must fit each other and the data set, where there is one."""
        image = data and data.image
        if self.problems:
            return
        self._note(task_problems(resolved, data))
        if search is not None and not self.problems:
            train = resolved["train"] | {"evaluate": {"splits": search["splits"]}}
            self._note(task_problems(resolved | {"task": search["task"], "train": train}, data), "search: ")
        self._note(image_problems(resolved["net"], image) if image else ())
        self._note(optimizer_problems(resolved), f"{key}: ")
        self._note(grid_problems(resolved["vary"], (search or {}).get("vary", {})), f"{key}: ")

    def begins(self, resolved: dict) -> None:
        """What is learned from experience must be so much as begins to be learned from within a run."""
        if not self.problems:
            self._note(experience_problems(resolved["task"], resolved["train"]["epochs"]))

    def cadence(self, resolved: dict, key: str) -> None:
        """A probe must suit the rule. Evaluations hand out no mini-batch; one that says so does without."""
        for i, probe in enumerate(resolved["probes"] if not self.problems else ()):
            constants = hyperparameters.constants(REGISTRIES["probes"].module(probe["probe"]))
            self._note(probe_problems(resolved, probe, constants.get("uses", {})), f"{key}[{i}].")
            self._note(unsuited(resolved, probe, constants), f"{key}[{i}]: ")
            if probe["on"] == "evaluate" and not constants.get("weights_alone", False):
                self.problems.append(
                    f"{self.where}: {key}[{i}].on = 'evaluate'; {probe['probe']} needs a mini-batch, which evaluations "
                    "do not have: leave `on` out"
                )

    def capable(self, rule: Mapping[str, Any], net: Mapping[str, Any], key: str) -> None:
        """A learning rule with its settings must be defined for the net."""
        if self.problems:
            return
        module, kind = METHODS.module(rule["name"]), net.get("kind")
        allowed = hyperparameters.constants(module).get("nets", ("dense",))
        if kind not in allowed:
            self._note([f"{rule['name']} is not defined for a {kind} net; it takes: {', '.join(allowed)}"], f"{key}: ")
        else:
            for problem in hyperparameters.exclusions(module, rule, net):
                self._note([problem], f"{key}: " if problem.startswith("net.") else f"{key}.hyper.")

    def optimizer(self, resolved: dict, search: dict | None, key: str) -> None:
        """A learning rate is either given or searched, not both and not neither."""
        settings = resolved["train"]["optimizer"]
        given = "lr" in settings
        searched = "train.optimizer.lr" in space.searched(search)
        varied = "train.optimizer.lr" in resolved["vary"]
        if search is not None and not search.get("vary") and "space" not in search:
            self.problems.append(f"{self.where}: {key}: search.vary names nothing to search")
        if given + searched + varied != 1:
            found = [n for n, x in (("train.optimizer.lr", given), ("search", searched), ("vary", varied)) if x]
            self.problems.append(
                f"{self.where}: {key}: the learning rate must come from exactly one of train.optimizer.lr, "
                f"search.vary, search.space and vary; found {', '.join(found) or 'none'} "
                "(search: null switches the search off)"
            )
        self._trying(lambda: optimizer_config.check({"lr": 1.0, **settings}, f"{self.where}: {key}: train.optimizer"))

    def criterion(self, resolved: dict, search: dict | None, key: str) -> None:
        """A search must select by something that its run measures."""
        if search is None or self.problems:
            return
        splits = search["splits"]
        errors = LOSSES[resolved["net"]["loss"]]
        known = ["train_loss", *(f"{s}_loss" for s in splits), *(f"{s}_error" for s in splits if errors)]
        where, metric = f"{self.where}: {key}: search.criterion.metric", search["criterion"]["metric"]
        if metric not in known:
            self.problems.append(one_of(where, metric, known))
        elif metric.startswith("test_"):
            self.problems.append(f"{where} = {metric!r}; a search must not select by the test split")

    def varied(self, resolved: dict, grid: dict[str, list], key: str) -> None:
        """Every value of a grid must be one that the learning rule or the optimiser takes, and appear once."""
        if self.problems:
            return
        rule, optimizer = resolved["rule"], resolved["train"]["optimizer"]
        module = METHODS.module(rule["name"])
        given = {k: v for k, v in rule.items() if k != "name"}
        for path, values in grid.items():
            part = "hyper" if path.startswith("hyper.") else "train.optimizer"
            where, name = f"{self.where}: {key}: {part}", path.removeprefix(f"{part}.")
            if len(set(values)) < len(values):
                self.problems.append(f"{where}.{name} = {values}: a value appears twice")
            if unvaried(module, path):
                self.problems.append(f"{where}.{name} = {values}; cannot be varied, make it {len(values)} methods")
            elif part == "hyper":
                self._trying(
                    lambda: hyperparameters.check(module, put(given, name, values, where), where, stacked=True)
                )
            else:
                tried = put({"lr": 1.0, **optimizer}, name, values, where)
                self._trying(lambda tried=tried, where=where: optimizer_config.check(tried, where))
                self._note(layer_problems(tried, resolved["net"]), f"{key}: ")

    def finish(self) -> None:
        """Raise ConfigError when anything was wrong."""
        if self.problems:
            raise ConfigError("\n".join(dict.fromkeys(self.problems)))


# ---- whether the parts of a run fit each other: problems as "KEY = VALUE; what is expected"


def task_problems(run: Mapping[str, Any], data: Entry | None) -> Iterator[str]:
    """The loss must suit the targets, the splits exist, and sizes and channels agree with the data set."""
    net, task, image = run["net"], run["task"], data and data.image
    if LOSSES[net["loss"]] and targets(task) != "classes":
        yield f"net.loss = {net['loss']!r}; needs classes, the targets of this task ({task['name']}) are values"
    if LOSSES[net["loss"]] and any(task.get(key) for key in ("target_min", "later_target_min")):
        key = "target_min" if task.get("target_min") else "later_target_min"
        yield f"task.{key} = {task[key]}; needs a squared error, net.loss is {net['loss']!r}"
    if targets(task) != "classes" and task.get("ties", "first") != "first":
        yield f"task.ties = {task['ties']!r}; needs classes, the targets of this task are {targets(task)}"
    if targets(task) != "classes" and task.get("top"):
        yield f"task.top = {list(task['top'])}; needs classes, the targets of this task are {targets(task)}"
    if targets(task) == "inputs" and (task.get("flip") or task.get("crop")):
        yield f"task.target = {task['target']!r}; needs flip 0 and crop 0"
    if task.get("validation") == 0 and "validation" in run["train"]["evaluate"]["splits"]:
        yield "train.evaluate.splits names validation; with task.validation = 0 there is no such split, leave it out"
    known = hyperparameters.constants(REGISTRIES["tasks"].module(task["name"])).get("evaluated")
    for name in run["train"]["evaluate"]["splits"] if known else ():
        if name not in known:
            yield one_of("train.evaluate.splits", name, known)
    for key in ("mean", "std"):
        value = task.get(key)
        if image is not None and isinstance(value, tuple) and len(value) not in (1, image[0]):
            yield f"task.{key} = {list(value)}; must be one number, or one for each of {image[0]} channels"
    if "environment" in task:
        yield from net_problems(task, net)
    yield from class_problems(task, data and data.classes, run["train"]["evaluate"]["splits"])
    yield from size_problems(task, data.train if data else task.get("train"))


def experience_problems(task: Mapping[str, Any], epochs: int) -> Iterator[str]:
    """Of a task in an environment: whether episodes of full length would be enough."""
    if "environment" not in task:
        return
    episodes, limit = epochs * task["episodes"], task["limit"] or SPACES[task["environment"]].limit
    if episodes * limit <= task["learn_from"]:
        most = f"{episodes} episodes of at most {limit} steps have no more than {episodes * limit} transitions"
        yield f"task.learn_from = {task['learn_from']}; nothing would be learned, {most}"


def class_problems(task: Mapping[str, Any], classes: int | None, splits: Iterable[str]) -> Iterator[str]:
    """Tasks that draw images of each class need classes enough, and some for a validation. classes: None: unknown."""
    if task.get("test_per_class") == 1 and "validation" in splits:
        yield "task.test_per_class = 1; validation is half of the test images of each class, and has none: needs 2"
    if classes is not None and task.get("moved", 0) > classes:
        yield f"task.moved = {task['moved']}; the data set has {classes} classes"
    if classes is not None and task.get("masked", -1) >= classes // 2:
        yield f"task.masked = {task['masked']}; must be below the number of outputs, {classes // 2}"


def size_problems(task: Mapping[str, Any], samples: int | None) -> Iterator[str]:
    """Something must be left to train on, and mini-batches of it. samples: before any are held out."""
    if "partial" not in task or samples is None:  # the samples are drawn, as many as are asked for
        return
    left, size = samples - task["validation"], task["batch_size"]
    if left < 1:
        yield f"task.validation = {task['validation']}; the data set has {samples} training samples"
        return
    if task["train"] is not None and task["train"] > left:
        yield f"task.train = {task['train']}; only {left} of {samples} training samples are left by task.validation"
        return
    left = task["train"] or left
    if task["drop_last"] and size > left:
        yield f"task.batch_size = {size}; with drop_last {left} training samples give no mini-batch"
    if task["partial"] == "carry" and size > left:
        yield f"task.batch_size = {size}; must be at most the {left} training samples to carry any over"
    if task["drop_last"] and task["partial"] != "own":
        yield f"task.partial = {task['partial']!r}; contradicts drop_last = true"


def optimizer_problems(run: Mapping[str, Any]) -> Iterator[str]:
    """Layers that the optimiser names must be the net's; lists of values belong to `vary`."""
    settings = {k: v for k, v in run["train"]["optimizer"].items() if k != "schedule"}
    yield from layer_problems(settings, run["net"])
    for key, value in settings.items():
        for one in value if key == "betas" else [value]:
            numbers = [one, *one.values()] if isinstance(one, Mapping) else [one]
            numbers += [v for layer in numbers[1:] if isinstance(layer, Mapping) for v in layer.values()]
            if any(isinstance(v, (list, tuple)) for v in numbers):
                yield f"train.optimizer.{key} = {value}; must be one value, or one for each layer; `vary` tries several"


def layer_problems(optimizer: Mapping[str, Any], net: Mapping[str, Any]) -> Iterator[str]:
    """Layers that an optimiser's settings name must be all of the net's; `units` may name some of them."""
    layers = [str(i) for i in range(n_blocks(net))]
    for key, value in optimizer.items():
        for one in value if key == "betas" else [value]:
            if key == "schedule" or not isinstance(one, Mapping):
                continue
            given, named = {str(k) for k in one}, ", ".join(map(str, one))
            if key == "units" and given - {*layers}:
                yield f"train.optimizer.units names the layers {named}; must be among {', '.join(layers)}"
            if key != "units" and given != {*layers}:
                yield f"train.optimizer.{key} names the layers {named}; must name all of {', '.join(layers)}"


def by_layer(optimizer: Mapping[str, Any], net: Mapping[str, Any], grids: Iterable[str]) -> dict[str, Any]:
    """Settings of an optimiser in which a number that is varied for a layer stands for each layer by itself.

    grids: varied paths, of which train.optimizer.KEY.LAYER count.
    """
    result = dict(optimizer)
    for path in grids:
        key, _, layer = path.removeprefix("train.optimizer.").partition(".")
        if path.startswith("train.optimizer.") and layer and isinstance(result.get(key), (int, float)):
            result[key] = {str(i): result[key] for i in range(n_blocks(net))}
    return result


def probe_problems(run: Mapping[str, Any], probe: Mapping[str, Any], uses: Mapping[str, str]) -> Iterator[str]:
    """`on` must be one of the method's pass functions; a reference keeps no state and suits the net."""
    allowed = {"evaluate", *hyperparameters.constants(METHODS.module(run["rule"]["name"]))["pass_functions"]}
    if probe["on"] not in allowed:
        yield one_of("on", probe["on"], allowed)
    if isinstance(probe["every"], bool) or not isinstance(probe["every"], int) or probe["every"] < 0:
        yield f"every = {probe['every']!r}; must be an integer >= 0"
    for field in (f for f, kind in uses.items() if kind == "methods"):
        yield from _reference_problems(field, probe, run["net"])


def unsuited(run: Mapping[str, Any], probe: Mapping[str, Any], constants: Mapping[str, Any]) -> Iterator[str]:
    """What a probe measures must be there.

    constants: of its class; `needs` names the class of its learning rules, `nets` its kinds of nets, `of_rule` settings
    that the rule has where the probe leaves them out.
    """
    rule, needs = run["rule"]["name"], constants.get("needs")
    if needs and not _inherits(rule, needs):
        known = [name for name in METHODS.names() if _inherits(name, needs)]
        yield f"{probe['probe']} is not defined for {rule}; it measures: {', '.join(known)}"
        return
    kinds = constants.get("nets", (run["net"]["kind"],))
    if run["net"]["kind"] not in kinds:
        yield f"{probe['probe']} is not defined for a {run['net']['kind']} net; it takes: {', '.join(kinds)}"
    own = run["rule"] | dict(run["rule"].get("controller") or {})
    for field in constants.get("of_rule", ()):
        if probe.get(field) is None and own.get(field) is None:
            yield f"{probe['probe']}.{field} is missing; {rule} has none, the probe must give it"
    layers, known = probe.get("layers") or (), n_blocks(run["net"])
    if wrong := [layer for layer in layers if not 1 <= layer <= known]:
        yield f"{probe['probe']}.layers = {list(layers)}; there is no layer {wrong[0]}, only 1 to {known}"


def _inherits(rule: str, ancestor: str) -> bool:
    return ancestor in hyperparameters.part_of(METHODS.module(rule), hyperparameters.PACKAGE, None).ancestors


def _reference_problems(field: str, probe: Mapping[str, Any], net: Mapping[str, Any]) -> Iterator[str]:
    name, kind = probe[field], net["kind"]
    module = METHODS.module(name)
    if hyperparameters.constants(module)["keeps_state"]:
        known = [n for n in METHODS.names() if not hyperparameters.constants(METHODS.module(n))["keeps_state"]]
        yield f"{field} = {name!r}; that learning rule keeps a state, the reference must be one of: {', '.join(known)}"
    elif kind not in (allowed := hyperparameters.constants(module)["nets"]):
        yield f"{field} = {name!r}; not defined for a {kind} net, it takes: {', '.join(allowed)}"
    try:
        hyper = hyperparameters.check(module, probe.get("hyper", {}), "hyper")
    except ConfigError as error:
        yield from str(error).splitlines()
        return
    for problem in hyperparameters.exclusions(module, hyper, net):
        yield f"{field} = {name!r}; {problem}"


def unvaried(module: str, path: str) -> bool:
    """Whether the setting at a varied path cannot differ between the members of a stack.

    That are lists, integers and what a learning rule has for all; of an optimiser all that is no single number. False
    for a setting that does not exist.
    """
    if not path.startswith("hyper."):
        key = path.removeprefix("train.optimizer.").partition(".")[0]
        return key in ("betas", "clip", "name", "schedule", *optimizer_config.SWITCHES)
    known, field, name = hyperparameters.fields(module), None, ""
    for name in path.removeprefix("hyper.").split("."):
        field = known.get(name)
        if field is None:
            return False
        known = field.group.fields if field.group else {}
    single = any(t.kind == "float" for t in field.types) and not any(t.repeated for t in field.types)
    return not single or name in hyperparameters.constants(module)["one_for_all"]


def grid_problems(vary: Mapping[str, Any], searched: Mapping[str, Any]) -> Iterator[str]:
    """Every varied setting is a column of the records, beside those that are always there."""
    for path in vary.keys() & searched.keys():
        yield f"vary and search.vary both name {path}; keep one of them"
    for place, grid in (("vary", vary), ("search.vary", searched)):
        columns = [column(path) for path in grid]
        for path, name in zip(grid, columns, strict=True):
            if name in RECORDED:
                yield f"{place}: {path}; tables have another column of the name {name}, it cannot be varied"
            elif columns.count(name) > 1:
                yield f"{place}: {path}; two varied settings are called {name}, and a table has one column of a name"
