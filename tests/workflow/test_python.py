"""From Python, without Snakemake: the same numbers as the workflow's own job, byte for byte."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.workflow.checkout import Checkout

TRAIN = """
import io, json, sys
sys.path.insert(0, "src")
import credit
spec = credit.experiment("cross/images", method="dfc_ssa", dataset="digits", seeds=[1], config={})
found = credit.train(spec, chosen="results/runs/cross/images/digits/dfc_ssa/choice.json", log=io.StringIO())
records = found.records.astype(object).where(found.records.notna(), None).to_dict("records")
json.dump({"spec": found.spec, "chosen": found.chosen, "records": records}, open("python.json", "w"))
kept = credit.load("results/runs/cross/images/digits/dfc_ssa/shard1.jsonl")
same = [bool((kept.params[b][n] == t).all()) for b, e in found.params.items() for n, t in e.items()]
outputs = [bool((kept.predictions[s]["outputs"] == v["outputs"]).all()) for s, v in found.predictions.items()]
error = (kept.predictions["test"]["outputs"].argmax(-1) != kept.predictions["test"]["targets"]).double().mean().item()
print(same, outputs, error)
"""


def test_a_run_from_python_has_the_spec_and_the_records_of_the_workflows_job(pristine: Checkout, tmp_path: Path):
    checkout = pristine.copy(tmp_path / "python")
    checkout.configure("images", lambda c: c["methods"].update(dfc_ssa={"keep": ["weights", "predictions"]}))
    result = "runs/cross/images/digits/dfc_ssa/shard1.jsonl"
    checkout.make(f"results/{result}")
    done = checkout.call("python", "-c", TRAIN)
    assert done.status == 0, done.text
    found = json.loads((checkout.root / "python.json").read_text())
    header, *lines = checkout.path(result).read_text(encoding="utf-8").splitlines()
    assert (found["spec"], found["chosen"]) == tuple(json.loads(header)[key] for key in ("spec", "chosen"))
    assert [json.dumps(record) for record in found["records"]] == lines[:-1]
    same, outputs, error = re.fullmatch(r"(\[.*?\]) (\[.*?\]) (\S+)", done.text.splitlines()[-1]).groups()
    assert (same, outputs) == (str([True] * 4), str([True] * 2))
    last = [r["value"] for r in found["records"] if r["metric"] == "test_error"][-1]
    assert abs(float(error) - last) < 1e-6
