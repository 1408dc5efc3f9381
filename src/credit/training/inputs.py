"""What a training job reads, by name. Loads no torch: a job whose block is finished needs none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from credit.errors import ConfigError
from credit.provenance import records


def sort_inputs(inputs: Sequence[Path]) -> tuple[Path | None, Path | None, list[Path]]:
    """(data set, choice, weights to start from) among a job's input files."""
    data = [p for p in inputs if p.suffix == ".npz"]
    choice = [p for p in inputs if p.suffix == ".json"]
    return (data or [None])[0], (choice or [None])[0], [p for p in inputs if p.suffix == ".safetensors"]


def chosen_of(spec: dict[str, Any], choice: Path | None) -> dict[str, float]:
    """The values that the search of this cell chose, none where nothing is searched; raises as `read_choice`."""
    if not spec.get("searched"):
        return {}
    if choice is None:
        raise ConfigError("this spec needs the choice.json of its search among the inputs")
    return read_choice(choice, spec)


def read_choice(path: Path, spec: dict[str, Any]) -> dict[str, float]:
    """The values that the search of this cell chose, {dotted path: value}.

    Raises ConfigError for another file, DataError for one that was changed.
    """
    searched, cell = spec["searched"], ("paper", "experiment", "dataset", "method")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        chosen = {name: content["choice"][name] for name in searched}
        owner = {key: content["spec"].get(key) for key in cell}
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: not the choice of a search for {', '.join(searched)}; delete it") from error
    wanted = {key: spec.get(key) for key in cell}
    if owner != wanted:
        raise ConfigError(f"{path}: the choice of {'/'.join(map(str, owner.values()))}; this run is another cell")
    records.check_seal(path, content)
    return chosen
