"""Whether the parts of a run fit each other: net and data, optimiser and net, probes and rule. Loads no torch.

Every function takes checked settings and yields its problems, "KEY = VALUE; what is expected".
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from credit import hyperparameters, methods
from credit.errors import ConfigError, one_of
from credit.nets._names import n_blocks
from credit.spec import column

TAKES_BATCHES = ["self", "net", "params", "opt", "state", "batch", "rand"]  # a rule's functions for passes
RECORDED = (
    "paper", "experiment", "dataset", "method", "seed", "epoch", "step", "metric", "layer", "value", "data_verified",
)  # fmt: skip


@functools.cache
def functions(module: str) -> Mapping[str, list[str]]:
    """{function: parameters} of a rule, own and inherited, without those of `Method`."""

    def collect(part: hyperparameters._Part) -> dict[str, list[str]]:
        if part.module == "credit.methods.base":
            return {}
        inherited = [item for base in reversed(part.bases) for item in collect(base).items()]
        own = {s.name: [a.arg for a in s.args.args] for s in part.node.body if hasattr(s, "args")}
        return {**dict(inherited), **own}

    return collect(hyperparameters._Part(module, hyperparameters.PACKAGE))


def image_problems(net: Mapping[str, Any], image: Sequence[int]) -> Iterator[str]:
    """A conv net's windows must fit the images (channels, height, width) of its data set."""
    if net["kind"] != "conv":
        return
    side = list(image[1:])
    size, stride, padding = _window(net["pool"])
    for i in range(len(net["channels"])):
        before = side
        side = [(n + 2 * net["padding"] - net["kernel"]) // net["stride"] + 1 for n in side]
        side = [(n + 2 * padding - size) // stride + 1 if n > 0 else 0 for n in side]
        if min(side) < 1:
            yield (
                f"net.kernel = {net['kernel']}, net.pool = {net['pool']}; conv block {i} does not fit images of "
                f"{' x '.join(map(str, before))} pixels"
            )
            return


def _window(pool: Sequence[int] | None) -> tuple[int, int, int]:
    """Size, stride and padding of the pooling; 1, 1, 0 changes nothing."""
    if pool is None:
        return 1, 1, 0
    size, stride, padding = (*pool, *(pool[0], 0)[len(pool) - 1 :])
    return size, stride, padding


def task_problems(run: Mapping[str, Any], image: Sequence[int] | None) -> Iterator[str]:
    """The loss must suit the targets, the splits exist, and channels agree with the images."""
    net, task = run["net"], run["task"]
    values = task.get("target") == "input" or "n_out" in task  # a task that sizes its own output has no classes
    if net["loss"] == "softmax_cross_entropy" and values:
        yield f"net.loss = 'softmax_cross_entropy'; needs classes, the targets of this task ({task['name']}) are values"
    if task.get("validation") == 0 and "validation" in run["train"]["evaluate"]["splits"]:
        yield "train.evaluate.splits names validation; with task.validation = 0 there is no such split, leave it out"
    for key in ("mean", "std"):
        value = task.get(key)
        if image is not None and isinstance(value, tuple) and len(value) not in (1, image[0]):
            yield f"task.{key} = {list(value)}; must be one number, or one for each of {image[0]} channels"


def optimizer_problems(run: Mapping[str, Any]) -> Iterator[str]:
    """Layers that the optimiser names must be the net's; lists of values belong to `vary`."""
    layers = [str(i) for i in range(n_blocks(run["net"]))]
    settings = {k: v for k, v in run["train"]["optimizer"].items() if k != "schedule"}
    for key, value in settings.items():
        for one in value if key == "betas" else [value]:
            by_layer = one if isinstance(one, Mapping) else {}
            if by_layer and {str(k) for k in by_layer} != {*layers}:
                named = ", ".join(map(str, by_layer))
                yield f"train.optimizer.{key} names the layers {named}; must name all of {', '.join(layers)}"
            if any(isinstance(v, (list, tuple)) for v in (one, *by_layer.values())):
                yield f"train.optimizer.{key} = {value}; must be one value, or one for each layer; `vary` tries several"


def probe_problems(run: Mapping[str, Any], probe: Mapping[str, Any], uses: Mapping[str, str]) -> Iterator[str]:
    """`on` must be a function that takes mini-batches; a reference rule has no state and suits the net."""
    rule = methods.registry.module(run["rule"]["name"])
    passes = [name for name, taken in functions(rule).items() if taken == TAKES_BATCHES and name[0] != "_"]
    if probe["on"] not in ("update", "evaluate", *passes):
        yield one_of("on", probe["on"], {"update", "evaluate", *passes})
    if isinstance(probe["every"], bool) or not isinstance(probe["every"], int) or probe["every"] < 0:
        yield f"every = {probe['every']!r}; must be an integer >= 0"
    for field in (f for f, kind in uses.items() if kind == "methods"):
        yield from _reference_problems(field, probe, run["net"]["kind"])


def _reference_problems(field: str, probe: Mapping[str, Any], kind: str) -> Iterator[str]:
    name = probe[field]
    module = methods.registry.module(name)
    if "init" in functions(module):
        known = [n for n in methods.registry.names() if "init" not in functions(methods.registry.module(n))]
        yield f"{field} = {name!r}; the rule keeps a state, the reference must be one of: {', '.join(known)}"
    elif kind not in (allowed := hyperparameters.constants(module)["nets"]):
        yield f"{field} = {name!r}; not defined for a {kind} net, it takes: {', '.join(allowed)}"
    try:
        hyperparameters.check(module, probe.get("hyper", {}), "hyper")
    except ConfigError as error:
        yield from str(error).splitlines()


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
