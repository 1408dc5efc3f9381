"""Data of the user's own, from the file to the table: the example of docs/own-data.md, as it is written there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.unit.test_docs import commands, examples, read, write
from tests.workflow.checkout import Checkout

PAGE = "docs/own-data.md"
RUN = "runs/own/flowers/flowers/bp/shard0.jsonl"


@pytest.fixture
def example(pristine: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """The tiny workflow with the files of the example."""
    checkout = pristine.copy(tmp_path / "project")
    write(checkout.root, examples(PAGE))
    yield checkout
    checkout.stop()


def test_a_table_of_ones_own_is_trained_and_a_change_of_it_is_noticed(example: Checkout):
    done = []
    for words in commands(read(PAGE)):
        if words[0] == "credit":
            done.append(example.credit(*words[1:]))
        else:
            programs = {"python": [sys.executable], "snakemake": [sys.executable, "-m", "snakemake"]}
            done.append(example.call(*programs[words[0]], *words[1:]))
    assert len(done) == 3 and not any(each.status for each in done), done
    assert "own/flowers" in done[1].text and "fetch and prepare" in done[1].text
    table = pd.read_csv(example.path("tables/own/errors.csv"))
    assert set(table["method"]) == {"bp", "fa", "dfa"} and (table["n"] == 3).all()
    assert table.loc[table["method"] == "bp", "mean"].item() < 25  # %; a guess is wrong in two of three cases
    header = json.loads(example.path(RUN).read_text().splitlines()[0])
    assert header["spec"]["data"]["name"] == "flowers" and header["spec"]["data"]["verified"]

    file, folder = example.root / "flowers.csv", example.root / "config"
    os.utime(file)
    file.rename(example.root / "moved.csv")
    example.edit("config/own_datasets.yaml", "../flowers.csv", str(example.root / "moved.csv"))
    assert example.planned("results/tables/own/errors.md") == set()

    file = example.root / "moved.csv"
    file.write_text(file.read_text().replace("5.1,", "5.2,", 1))
    changed = example.snakemake("--dry-run", "results/tables/own/errors.md")
    assert changed.status == 0 and f"flowers: {file} has changed since it was read: " in changed.text
    assert example.planned("results/tables/own/errors.md") >= {RUN, "data/flowers.npz", "tables/own/errors.csv"}
    assert f"data: {file} has changed since it was read" in example.credit("why", example.path(RUN)).text
    judged = example.credit("verify", "results/runs/own")
    assert judged.status == 1 and "stale: data.declared" in judged.text and str(file) in judged.text

    old = json.loads(example.path("data/raw/flowers.json").read_text())["files"][0]["sha256"]
    example.edit("config/own_datasets.yaml", "label:", f"sha256: {old}, label:")
    refused = example.snakemake("--dry-run", "results/tables/own/errors.md")
    line = f"{folder}/own_datasets.yaml, line 1: flowers: {file}: its sha256 is "
    assert refused.status != 0 and line in refused.text and f"{old} is declared" in refused.text
