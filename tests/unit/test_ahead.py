"""What a dry run says of results that would be made again."""

from __future__ import annotations

import pytest

from credit.dag import ahead
from credit.errors import DataError

RUN = "results/runs/toy/fit/near/bp/shard0.jsonl"
TABLE, FIGURE = "results/tables/toy/fit.csv", "results/figures/toy/fit.pdf"


@pytest.fixture
def differs(tmp_path, monkeypatch):
    """{path: what differs}; the paths are there."""
    monkeypatch.chdir(tmp_path)
    found = {}

    def of(workflow, path):
        lines = found[str(path)]
        if isinstance(lines, Exception):
            raise lines
        return lines

    for module in (ahead.audit, ahead.made):
        monkeypatch.setattr(module, "reasons", of)

    def set_to(lines: dict):
        for path in lines:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        found.update(lines)

    return set_to


def test_every_result_has_one_line_and_those_above_are_counted(differs):
    above = f"tables/toy/fit.csv{ahead.made.BELOW}has another content now"
    differs(
        {RUN: ["module credit.methods.bp: changed", "hyper.x: 1 -> 2"], TABLE: ["inputs: other runs"], FIGURE: [above]}
    )
    assert list(ahead.changes(None, [RUN, TABLE, FIGURE], " --config seeds=2")) == [
        f"{RUN}: module credit.methods.bp: changed (and 1 more: credit why {RUN} --config seeds=2)",
        "made again because of what they rest on: 2 more",
    ]


def test_what_is_missing_and_what_is_no_result_have_none(differs):
    differs({"results/data/digits.npz": [], "results/logs/x.log": []})
    assert list(ahead.changes(None, [RUN, "results/data/digits.npz", "results/logs/x.log"])) == []


def test_what_cannot_be_read_is_said(differs):
    differs({RUN: DataError(f"{RUN}: not a result file"), FIGURE: ["module credit.figures.toy: changed"]})
    assert list(ahead.changes(None, [RUN, FIGURE])) == [
        f"{RUN}: not a result file",
        f"{FIGURE}: module credit.figures.toy: changed",
    ]
