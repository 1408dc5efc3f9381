"""A checkout with one small experiment, `toy/fit`, and results for it without any training."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

from credit.config.files import overlay, read_yaml
from credit.config.parts import code_roots
from credit.dag.endings import FILES
from credit.dag.made import recipe
from credit.dag.targets import Workflow
from credit.provenance import snapshot as provenance
from credit.provenance.files import checksum, write_json, write_text
from credit.provenance.made import record_path, split
from credit.provenance.records import sealed, write_result
from credit.provenance.sources import combine
from credit.provenance.spec import column, members

REPOSITORY = Path(__file__).resolve().parents[2]
SEARCH = {"vary": {"train.optimizer.lr": [0.1, 0.3]}, "seeds": [1000, 1001], "epochs": 2}
FIT: dict[str, Any] = {
    "title": "A small regression",
    "net": {"kind": "dense", "hidden_sizes": [4], "hidden": "tanh", "output": "linear", "loss": "mse"},
    "task": {"name": "teacher", "n_in": 3, "n_out": 2, "hidden_sizes": [5], "train": 64, "validation": 32, "test": 32},
    "train": {"epochs": 4, "optimizer": {"name": "sgd", "momentum": 0.5, "lr": 0.2}, "dtype": "float64"},
    "seeds": 4,
    "seeds_per_job": 2,
    "datasets": {"near": {}, "far": {"task": {"n_in": 7}}},
    "methods": {"bp": {}, "fa": {}},
    "figures": {"curves": {"module": "credit.figures.cross.fig2"}},
    "tables": {"table1": {"options": {"metric": "test_loss"}}},
    "quick": {"train": {"epochs": 1}, "seeds": 1, "use_datasets": ["near"]},
}
_PLAIN = {"options": {"where": {"method": "bp"}}}
OF_BP: dict[str, Any] = {"figures": {"curves": _PLAIN}, "tables": {"table1": _PLAIN}}  # where other methods vary


class Checkout:
    """A repository in a folder of its own: its configuration is a copy, everything else is the real one.

    experiments: {PAPER/NAME: content}, in place of the real ones.
    """

    def __init__(self, root: Path, experiments: dict[str, dict] | None = None):
        self.root = root
        (root / "config").mkdir()
        for name in ("workflow", "envs"):
            (root / name).symlink_to(REPOSITORY / name)
        for name in ("config.yaml", "quick.yaml"):
            (root / "config" / name).write_bytes((REPOSITORY / "config" / name).read_bytes())
        for key, content in (experiments or {"toy/fit": FIT}).items():
            self.write(key, content)

    def write(self, key: str, content: dict) -> None:
        """Write an experiment."""
        path = self.root / "config" / "experiments" / f"{key}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def change(self, **changes: Any) -> Checkout:
        """Lay changes over `toy/fit`."""
        self.write("toy/fit", overlay(FIT, changes))
        return self

    def workflow(self, **config: Any) -> Workflow:
        """The workflow with `config` laid over config/config.yaml."""
        return Workflow(overlay(read_yaml(self.root / "config" / "config.yaml"), config), self.root)


def searching(**changes: Any) -> dict[str, Any]:
    """`toy/fit` with a search of bp's learning rate on the data set `near`."""
    body = copy.deepcopy(FIT)
    del body["train"]["optimizer"]["lr"]
    body["datasets"] = {"near": {}}
    body["methods"] = {"bp": {}}
    return overlay(body, {"search": SEARCH}, changes)


def made_by(workflow: Workflow, spec: dict[str, Any]) -> dict[str, Any]:
    """The provenance that a job of this spec records."""
    modules = provenance.module_digests(*code_roots(spec, workflow.script(spec["kind"])))
    return {"code": combine(modules), "modules": modules}


def result(workflow: Workflow, path: str, chosen: dict | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(header, records) that a job would write to `path`, with made-up values."""
    spec = workflow.run_spec(path)
    stack = [{column(k): v for k, v in m.items()} for m in members(spec)]
    places = [{"epoch": e, "step": 2 * e, "metric": "test_loss", "layer": "", "value": 1.0 / (1 + e)} for e in range(3)]
    records = [{**member, **place} for place in places for member in stack]
    return {"spec": spec, "chosen": chosen or {}, "provenance": made_by(workflow, spec)}, records


def put(workflow: Workflow, path: str, chosen: dict | None = None) -> str:
    """Write the result of a training job to `path`; returns the path."""
    write_result(path, *result(workflow, path, chosen))
    return path


def put_choice(workflow: Workflow, path: str, best: float = 0.1) -> str:
    """Write the choice.json of a search over the learning rate, which chose `best`."""
    spec = workflow.run_spec(path)
    at = [{"train.optimizer.lr": lr} for lr in spec["vary"]["train.optimizer.lr"]]
    scores = [{"at": a, "score": abs(a["train.optimizer.lr"] - best), "n": 2} for a in at]
    modules = made_by(workflow, spec)["modules"]
    content = {
        "spec": spec,
        "choice": {"train.optimizer.lr": best},
        "scores": scores,
        "provenance": {"modules": modules},
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(sealed(content)))
    return path


def put_made(workflow: Workflow, path: str, inputs: list[str]) -> str:
    """Write a table or figure that is made of `inputs`, with its record; returns the path.

    With the PDF of a figure its other files are made, with the Markdown of a table its page.
    """
    (results, name), (spec, roots) = split(path), recipe(workflow, path)
    several = {".pdf": FILES["figures"], ".md": ("md", "html")}
    outputs = [
        str(Path(name).with_suffix(f".{end}")) for end in several.get(Path(name).suffix, [Path(name).suffix[1:]])
    ]
    for output in outputs:
        write_text(Path(results, output), f"made up: {output}\n")
    content = {
        "spec": spec,
        "provenance": {"modules": provenance.module_digests(*roots)},
        "inputs": {str(Path(p).relative_to(results)): checksum(Path(p)) for p in inputs},
        "outputs": {output: checksum(Path(results, output)) for output in outputs},
    }
    for output in outputs:
        write_json(record_path(Path(results, output)), content)
    return path


def put_all(workflow: Workflow, results: str | None = None, chosen: dict | None = None) -> list[str]:
    """Results of all runs of `toy/fit`, its tables and its figure, as if made below `results`; returns their paths."""
    results = results or workflow.results
    runs = [put(workflow, path.replace(workflow.results, results, 1), chosen) for path in workflow.runs("toy/fit")]
    tidy = put_made(workflow, f"{results}/tables/toy/fit.csv", runs)
    table = put_made(workflow, f"{results}/tables/toy/table1.csv", [tidy])
    text = put_made(workflow, f"{results}/tables/toy/table1.md", [table])
    return [*runs, tidy, table, text, put_made(workflow, f"{results}/figures/toy/curves.pdf", [tidy])]
