"""The spec of a job: one canonical JSON text that defines everything about it.

Snakemake compares params as a set of values without names, so that two hyperparameters which exchange their values
go unnoticed; one string does not have this hole. Standard library only.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit.errors import ConfigError

VERSION = 1


def canonical_json(value: Any) -> str:
    """Sorted keys, no spaces, floats by shortest repr. Raises ConfigError for non-finite numbers."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    except ValueError as error:
        raise ConfigError(f"a spec must hold finite numbers only: {error}") from error


def spec_hash(spec: Mapping[str, Any]) -> str:
    """sha256 of the canonical text, 64 hex digits."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def digest(value: Any) -> str:
    """First 16 hex digits of the sha256 of a value's canonical text: what stands for one spec in another."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def read_spec(text_or_path: str) -> dict[str, Any]:
    """A spec given as JSON text, or as the path of a file that holds it (a result's first line will do)."""
    text = text_or_path
    if not text.lstrip().startswith("{"):
        path = Path(text)
        if not path.is_file():
            raise ConfigError(f"{text}: neither a JSON object nor an existing file")
        text = path.read_text().partition("\n")[0] if path.suffix == ".jsonl" else path.read_text()
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"spec is not JSON: {error}") from error
    spec = spec.get("spec", spec) if isinstance(spec, dict) else spec
    version = spec.get("version") if isinstance(spec, dict) else None
    if version != VERSION:
        raise ConfigError(f"spec.version = {version!r}; this code reads version {VERSION}")
    return spec


def members(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The members of a run's stack: every combination of `vary`, each with every seed; seeds vary fastest.

    Returns one dict a member, {"seed": s, PATH: value, ...}.
    """
    vary = spec.get("vary") or {}
    grid = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    return [{"seed": seed, **point} for point in grid for seed in spec["seeds"]]


def column(path: str) -> str:
    """Name of the record column of a varied setting, from its dotted path.

    That is the last part; of a group of hyperparameters it goes before it, as in feedback_k_p for hyper.feedback.k_p,
    but for a controller's, whose names are plain. A layer goes behind, and a unit of it: lr_0 for train.optimizer.lr.0,
    units_1_0 for train.optimizer.units.1.0.
    """
    *head, name = path.removeprefix("hyper.").split(".")
    while name[0].isdecimal() and head:
        name = f"{head.pop()}_{name}"
    groups = [part for part in head if part != "controller"] if path.startswith("hyper.") else []
    return "_".join([*groups, name])


def put(settings: Mapping[str, Any], path: str, value: Any, where: str) -> dict[str, Any]:
    """A copy of `settings` with `value` at the dotted `path`, within mappings that are made where there are none.

    Raises ConfigError, beginning with `where`, for a path that goes through something that is no mapping.
    """
    head, _, rest = path.partition(".")
    if not rest:
        return {**settings, head: value}
    inner = {} if settings.get(head) is None else settings[head]
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{where}.{head} = {inner!r}; holds no settings, so that there is no {head}.{rest}")
    return {**settings, head: put(inner, rest, value, f"{where}.{head}")}


def spread(settings: Mapping[str, Any], prefix: str, stack: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the varied values below `prefix` into a copy of `settings`, as one list with a value per member.

    Raises ConfigError as `put`.
    """
    result = dict(settings)
    for path in stack[0]:
        if path.startswith(f"{prefix}."):
            values = [m[path] for m in stack]
            value = values[0] if len(set(values)) == 1 else values
            result = put(result, path.removeprefix(f"{prefix}."), value, prefix)
    return result


def finite(value: float) -> float | None:
    """A JSON number, or None for what JSON cannot hold."""
    return value if math.isfinite(value) else None
