"""Jobs whose blocks the store has: they will run, and train nothing, or less. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit.dag.keeping import beside
from credit.dag.runs import STORE
from credit.dag.targets import SHARD, Workflow
from credit.provenance.spec import digest
from credit.provenance.store import Store
from credit.training.longer import begun
from credit.training.reuse import Block


def in_store(workflow: Workflow, path: str, spec: Mapping[str, Any]) -> bool:
    """Whether the job that makes the result `path` would find its block, as things are now."""
    if not Path(STORE).is_dir():
        return False
    block, device = Block.of(*_asked(workflow, path, spec)), workflow.settings.device
    found = Store(Path(STORE)).entries(block.key, digest(dict(spec)), block.files.keys()) if block else ()
    return any(device in ("auto", "cpu" if entry.about.get("device") == "cpu" else "cuda") for entry in found)


def still_to_train(workflow: Workflow, path: str, spec: Mapping[str, Any]) -> float:
    """Which share of its epochs the job that makes the result `path` would train: 1, or less where it would go on from
    the end of a shorter run."""
    if spec["kind"] != "train" or not Path(STORE).is_dir():
        return 1.0
    block = Block.of(*_asked(workflow, path, spec))
    return 1.0 if block is None else 1 - begun(Path(STORE), block) / max(spec["train"]["epochs"], 1)


def _asked(workflow: Workflow, path: str, spec: Mapping[str, Any]) -> tuple[dict[str, Any], Path, list[Path], tuple]:
    """(spec, result, inputs, what is kept) of the job that makes the result `path`."""
    paper, experiment, dataset, method, shard = SHARD.search(path).groups()
    place = (f"{paper}/{experiment}", dataset, method)
    start = workflow.start_paths(place, shard) if shard else workflow.weights_paths(place, spec["seeds"])
    inputs = [Path(workflow.data_path(spec["data"]["name"]))] if spec["data"] else []
    inputs += [Path(path).with_name("choice.json")] if spec.get("searched") else []
    return dict(spec), Path(path), inputs + list(map(Path, start)), tuple(beside(workflow, path))
