"""Numbers on the pages of results follow from the records that are kept beside them, however old these are."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit.analysis.fidelity import compare, read_published
from credit.analysis.readable import matrix
from credit.analysis.summaries import read_summary, summarise
from credit.analysis.tables import collect, read_csv, read_table, read_tables, write_table
from credit.dag.commands import configuration
from credit.dag.targets import Workflow
from credit.dag.transport import NAMES
from credit.provenance.archive import read_list, unpack
from credit.provenance.spec import column
from tests.conftest import REPOSITORY

PAGES = REPOSITORY / "docs" / "results"
RECORDS = PAGES / "records"
ARCHIVES = sorted(RECORDS.glob("*.tar.xz"))
LARGEST = 20_000_000  # bytes of the archives of a paper
EXACT, SIX_DIGITS, THREE_DIGITS = 1e-12, 1e-5, 5e-3  # relative; the last two are those of printed curves
CURVES = {  # curves as numbers: the experiment that they are of
    "cross/images_by_epoch.csv": "cross/images", "cross/student_teacher_by_epoch.csv": "cross/student_teacher",
    "dfc/table1_by_epoch.csv": "dfc/benchmarks", "di/fig4a_by_step.csv": "di/fig4a", "di/fig4b_by_step.csv": "di/fig4b",
    "pepita/conv_by_epoch.csv": "pepita/conv", "pepita/fc_by_epoch.csv": "pepita/fc",
}  # fmt: skip
SEARCHES = {"cross/searches.csv": ("cross/images", "cross/student_teacher"), "pepita/searches.csv": ("pepita/fc",)}


@cache
def workflow() -> Workflow:
    return Workflow(configuration([], [], REPOSITORY), REPOSITORY)


@cache
def kept() -> dict[str, list[tuple[Path, str]]]:
    """{experiment: its runs and searches, each the archive and the name within}."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for archive in ARCHIVES:
        for name in read_list(archive, NAMES)["files"]:
            found.setdefault("/".join(name.split("/")[1:3]), []).append((archive, name))
    return found


def made_from(page: str) -> tuple[str, ...]:
    """Experiments behind a table of a page."""
    if page in CURVES:
        return (CURVES[page],)
    if page in SEARCHES:
        return SEARCHES[page]
    return workflow().tables[read_summary(PAGES / page)["artefact"].iloc[0]].experiments


TABLES = sorted(p.relative_to(PAGES).as_posix() for p in PAGES.glob("*/*.csv"))
COVERED = [page for page in TABLES if kept().keys() >= set(made_from(page))]
SUMMARIES = [page for page in COVERED if page not in CURVES | SEARCHES.keys()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """All archives, unpacked."""
    root = tmp_path_factory.mktemp("records")
    for archive in ARCHIVES:
        unpack(archive, NAMES, root / archive.name)
    return root


@pytest.fixture(scope="module")
def tidy(folder):
    """Gives the tidy table of an experiment, as a figure would read it."""

    @cache
    def table(key: str) -> pd.DataFrame:
        files = {name: folder / archive.name / name for archive, name in kept()[key]}
        order = [run.removeprefix(f"{workflow().results}/") for run in workflow().runs(key)]
        runs = [n for n in order if n in files] + sorted(n for n in files.keys() - set(order) if n.endswith(".jsonl"))
        write_table(folder / "tidy.csv", collect([files[n] for n in runs]))
        return read_table(folder / "tidy.csv")

    return table


@pytest.fixture(scope="module")
def summary(tidy):
    """Gives a summary table, by its name."""

    @cache
    def table(name: str) -> pd.DataFrame:
        spec = workflow().artefact_spec("table", name)
        joined = pd.concat([tidy(key) for key in spec["experiments"]], ignore_index=True)
        measured = [REPOSITORY / path for path in spec.get("references", ())]
        return summarise(joined, name, spec["options"], read_tables(measured) if measured else None)

    return table


def name_of(page: str) -> str:
    """The summary table that a page shows."""
    return read_summary(PAGES / page)["artefact"].iloc[0]


@pytest.mark.parametrize("page", SUMMARIES)
def test_a_table_follows_from_the_records(page, summary):
    shown = read_summary(PAGES / page)
    found = summary(name_of(page))[list(shown)]
    pd.testing.assert_frame_equal(found, shown, check_exact=False, rtol=EXACT, atol=0, check_dtype=False)


@pytest.mark.parametrize("page", [p for p in SUMMARIES if (PAGES / p).with_suffix(".md").exists()])
def test_the_readable_table_follows_from_the_records(page, summary):
    spec = workflow().readable_spec(name_of(page))
    text = matrix(summary(name_of(page)), spec["title"], spec["options"], spec["rules"])
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
def test_a_curve_follows_from_the_records(page, tidy):
    shown = read_csv(PAGES / page)
    found = numbers_of_curves(tidy(CURVES[page]), shown)
    for name in found:
        digits = THREE_DIGITS if name == "std" else SIX_DIGITS
        np.testing.assert_allclose(found[name], shown[name], rtol=digits, atol=1e-9, err_msg=name)


def scores_of(content: dict) -> dict[tuple[float, ...], float]:
    """{values of a point: its score} of a search."""
    return {tuple(score["at"].values()): score["score"] for score in content["scores"]}


@pytest.mark.parametrize("page", [p for p in COVERED if p in SEARCHES])
def test_scores_of_searches_follow_from_the_records(page, folder):
    shown = read_csv(PAGES / page)
    contents = {}
    for key in SEARCHES[page]:
        for archive, name in kept()[key]:
            if name.endswith("choice.json"):
                contents[tuple(name.split("/")[2:5])] = json.loads((folder / archive.name / name).read_text())
    for row in shown.to_dict("records"):
        content = contents[row["experiment"], row["dataset"], row["method"]]
        point = tuple(row[column(path)] for path in content["choice"])
        score = scores_of(content)[point]
        assert score == pytest.approx(row.get("score", row.get("validation_error")), rel=SIX_DIGITS, abs=5e-5)
        assert isinstance(row["chosen"], str) == (tuple(content["choice"].values()) == point)


def test_the_verdicts_follow_from_the_records(summary, tmp_path):
    names = [name_of(page) for page in SUMMARIES]
    published = read_published([REPOSITORY / path for path in workflow().published()])
    write_table(tmp_path / "judged.csv", compare(published, pd.concat(map(summary, names), ignore_index=True)))

    def rows(path: Path) -> pd.DataFrame:
        table = read_csv(path)
        table["data_verified"] = table["data_verified"].map(lambda found: str(found).lower())
        return table[table["artefact"].isin(names)].set_index(["artefact", "dataset", "method", "metric"]).sort_index()

    found, shown = rows(tmp_path / "judged.csv"), rows(PAGES / "fidelity.csv")
    pd.testing.assert_frame_equal(found, shown, check_exact=False, rtol=EXACT, atol=EXACT, check_dtype=False)


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
