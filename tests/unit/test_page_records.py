"""Numbers on the pages of results follow from the records that are kept beside them, however old these are."""

from __future__ import annotations

import json
import re
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit.analysis.fidelity import compare
from credit.analysis.summaries import read_summary
from credit.analysis.tables import read_csv, write_table
from credit.dag.transport import NAMES
from credit.provenance.archive import read_list
from credit.provenance.spec import column
from tests.pages import (
    ARCHIVES,
    COVERED,
    CURVES,
    PAGES,
    RECORDS,
    SEARCHES,
    SUMMARIES,
    TABLES,
    Records,
    kept,
    name_of,
    published,
    verdicts,
)

LARGEST = 20_000_000  # bytes of the archives of a paper
EXACT, SIX_DIGITS, THREE_DIGITS = 1e-12, 1e-5, 5e-3  # relative; the last two are those of printed curves


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Records:
    """All archives, unpacked."""
    return Records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def summary(records):
    """Gives a summary table, by its name."""
    return cache(records.summary)


@pytest.mark.parametrize("page", SUMMARIES)
def test_a_table_follows_from_the_records(page, summary):
    shown = read_summary(PAGES / page)
    found = summary(name_of(page))[list(shown)]
    pd.testing.assert_frame_equal(found, shown, check_exact=False, rtol=EXACT, atol=0, check_dtype=False)


@pytest.mark.parametrize("page", [p for p in SUMMARIES if (PAGES / p).with_suffix(".md").exists()])
def test_the_readable_table_follows_from_the_records(page, records, summary):
    text = records.readable(name_of(page), summary(name_of(page)))
    assert (PAGES / page).with_suffix(".md").read_text(encoding="utf-8") == text


def numbers_of_curves(table: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """The columns of `shown` that are no keys, in its rows, from the tidy table."""
    keys = [c for c in shown if c in table and c != "value"]
    groups = table[table["value"].notna()].groupby(keys)["value"]
    numbers = pd.DataFrame(
        {
            "mean": groups.mean(), "std": groups.std(), "count": groups.count(), "n": groups.count(),
            "median": groups.median(), "q25": groups.quantile(0.25), "q75": groups.quantile(0.75),
        }
    )  # fmt: skip
    place = pd.MultiIndex.from_frame(shown[keys].fillna({"layer": ""}))
    return numbers.loc[place, [c for c in shown if c not in keys]].reset_index(drop=True)


@pytest.mark.parametrize("page", [p for p in COVERED if p in CURVES])
def test_a_curve_follows_from_the_records(page, records):
    shown = read_csv(PAGES / page)
    found = numbers_of_curves(records.tidy(CURVES[page]), shown)
    for name in found:
        digits = THREE_DIGITS if name == "std" else SIX_DIGITS
        np.testing.assert_allclose(found[name], shown[name], rtol=digits, atol=1e-9, err_msg=name)


def scores_of(content: dict) -> dict[tuple[float, ...], float]:
    """{values of a point: its score} of a search."""
    return {tuple(score["at"].values()): score["score"] for score in content["scores"]}


@pytest.mark.parametrize("page", [p for p in COVERED if p in SEARCHES])
def test_scores_of_searches_follow_from_the_records(page, records):
    shown = read_csv(PAGES / page)
    contents = {}
    for key in SEARCHES[page]:
        for archive, name in kept()[key]:
            if name.endswith("choice.json"):
                contents[tuple(name.split("/")[2:5])] = json.loads((records.folder / archive.name / name).read_text())
    for row in shown.to_dict("records"):
        content = contents[row["experiment"], row["dataset"], row["method"]]
        point = tuple(row[column(path)] for path in content["choice"])
        score = scores_of(content)[point]
        assert score == pytest.approx(row.get("score", row.get("validation_error")), rel=SIX_DIGITS, abs=5e-5)
        assert isinstance(row["chosen"], str) == (tuple(content["choice"].values()) == point)


def test_the_tables_of_the_verdicts_follow_from_the_records(summary):
    names = [name_of(page) for page in SUMMARIES]
    found = compare(published(), pd.concat(map(summary, names), ignore_index=True))
    same_rows(found[found["artefact"].isin(names)], names)


def test_the_verdicts_follow_from_the_tables_of_the_pages():
    table = verdicts()
    same_rows(table, sorted(set(table["artefact"])))


def same_rows(found: pd.DataFrame, names: list[str]) -> None:
    """The rows of `fidelity.csv` of these tables are the ones found."""

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        table = table[table["artefact"].isin(names)].set_index(["artefact", "dataset", "method", "metric"]).sort_index()
        return table.assign(data_verified=table["data_verified"].map(lambda one: str(one).lower()))

    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "judged.csv", found)
        again = rows(read_csv(Path(folder) / "judged.csv"))
    shown = rows(read_csv(PAGES / "fidelity.csv"))
    pd.testing.assert_frame_equal(again, shown, check_exact=False, rtol=1e-9, atol=EXACT, check_dtype=False)


# ---- what is kept


def test_the_list_says_which_tables_have_records_and_which_have_none():
    text = (RECORDS / "README.md").read_text(encoding="utf-8")
    with_records, without = text.split("## Without records")
    assert sorted(re.findall(r"`(\w+/[\w.]+\.csv)`", with_records)) == sorted(COVERED)
    assert sorted(re.findall(r"`([\w./]+\.csv)`", without)) == sorted(set(TABLES) - set(COVERED))
    assert sorted(re.findall(r"`([\w.-]+\.tar\.xz)`", with_records)) == [a.name for a in ARCHIVES]


def test_the_archives_of_a_paper_are_small():
    sizes: dict[str, int] = {}
    for archive in ARCHIVES:
        (paper,) = {name.split("/")[1] for name in read_list(archive, NAMES)["files"]}
        sizes[paper] = sizes.get(paper, 0) + archive.stat().st_size
    assert all(size <= LARGEST for size in sizes.values()), sizes
