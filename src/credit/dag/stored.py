"""Jobs whose blocks the store has: they will run, and train nothing. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit.dag.keeping import beside
from credit.dag.runs import STORE
from credit.dag.targets import SHARD, Workflow
from credit.training.reuse import is_kept


def in_store(workflow: Workflow, path: str, spec: Mapping[str, Any]) -> bool:
    """Whether the job that makes the result `path` would find its block, as things are now."""
    if not Path(STORE).is_dir():
        return False
    paper, experiment, dataset, method, shard = SHARD.search(path).groups()
    place = (f"{paper}/{experiment}", dataset, method)
    start = workflow.start_paths(place, shard) if shard else workflow.weights_paths(place, spec["seeds"])
    inputs = [Path(workflow.data_path(spec["data"]["name"]))] if spec["data"] else []
    inputs += [Path(path).with_name("choice.json")] if spec.get("searched") else []
    keep = beside(workflow, path)
    return is_kept(Path(STORE), dict(spec), Path(path), inputs + list(map(Path, start)), tuple(keep))
