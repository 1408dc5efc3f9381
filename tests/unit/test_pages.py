"""Pages of tables and figures stand alone, escape what they show, sort, and fit into a frame of the report."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from credit.analysis.pages import LARGEST, Cell, Column, Sheet, page, shown
from credit.analysis.readable import matrix
from credit.analysis.summaries import SUMMARY, summarised
from credit.analysis.table_pages import FIDELITY, fidelity_page, summary_page
from credit.figures.cross import fig1
from credit.figures.numbers import numbers
from credit.figures.pages import figure_page
from tests.unit.test_figures import diverging, images

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
FRAME = 2**21  # characters of a data URI that Chromium shows in a frame
NASTY = '<script>alert("x")</script> & \'"'
COLUMNS = [Column("name", "name", head=True), Column("value", "value [%]", number=True)]


class Read(HTMLParser):
    """Tables of a page: heads as (text, attributes), rows as lists of (text, attributes); and what it would load."""

    def __init__(self, text: str):
        super().__init__()
        self.tables, self.loads, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.loads += [attrs[key] for key in ("src", "href", "data") if key in attrs]
        if tag == "table":
            self.tables.append({"heads": [], "rows": []})
        elif tag == "tr" and "thead" not in self.open:
            self.tables[-1]["rows"].append([])
        elif tag in ("th", "td"):
            row = self.tables[-1]["heads"] if "thead" in self.open else self.tables[-1]["rows"][-1]
            row.append(["", attrs])
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td", "button") and {"th", "td"} & set(self.open):
            rows = self.tables[-1]
            (rows["heads"] if "thead" in self.open else rows["rows"][-1])[-1][0] += data


def summary(**options):
    table = diverging(images(("mnist", "fashion_mnist"), seeds=5), "fa", [1], 2)
    return summarised(table, "cross/t", options)


def test_a_summary_is_read_as_its_markdown_and_every_number_stands_below():
    found, text = summary(percent=True), matrix(summary(percent=True), "T", {"percent": True}, {})
    read, every = Read(summary_page(found, "T", {"percent": True}, {})).tables
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert [head for head, _ in read["heads"]] == ["method", *lines[0][1:]]
    assert [[cell for cell, _ in row] for row in read["rows"]] == lines[2:]
    assert len(every["rows"]) == len(found)
    heads = [head for head, _ in every["heads"]]
    assert heads == ["method", "data set", "number", "of which epoch", "mean", "standard deviation", "runs", "diverged",
                     "95 % interval, from", "95 % interval, to", "unit", "epochs"]  # fmt: skip
    row = dict(zip(heads, every["rows"][0], strict=True))
    assert (row["method"][0], row["data set"][0], row["number"][0]) == ("BP", "MNIST", "test error [%]")
    assert float(row["mean"][1]["data-value"]) == pytest.approx(found["mean"].iloc[0], rel=1e-8)
    assert float(row["mean"][0]) == pytest.approx(found["mean"].iloc[0], rel=1e-4)


def test_a_table_of_which_nothing_was_run_says_so():
    empty = pd.DataFrame(columns=SUMMARY)
    text = summary_page(empty, "T", {}, {}, "quick")
    assert "Quick scale: not the published setting. No run has these values." in text
    assert not Read(text).tables


def test_everything_that_a_table_holds_is_escaped():
    text = page(NASTY, [Sheet([*COLUMNS], [{"name": NASTY, "value": 1}], NASTY, NASTY, [NASTY])], about=NASTY)
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    ((row,),) = (table["rows"] for table in Read(text).tables)
    assert row[0][0] == NASTY


def test_a_page_stands_alone():
    figure = fig1.draw(images(), {})
    texts = [summary_page(summary(), "T", {}, {}), figure_page(figure, numbers(figure), "F")]
    for text in texts:
        assert [source[:22] for source in Read(text).loads] in ([], ["data:image/png;base64,"])
        assert not re.search(r"localStorage|fetch\(|import\s|@import|url\(", text)
        assert text.isprintable() or "\n" in text


def test_heads_are_buttons_that_say_how_the_table_is_sorted():
    (table,) = Read(page("T", [Sheet(COLUMNS, [{"name": "a", "value": 2}])])).tables
    assert [head["aria-sort"] for _, head in table["heads"]] == ["none", "none"]
    assert [head["data-kind"] for _, head in table["heads"]] == ["text", "number"]
    assert [head for head, _ in table["heads"]] == ["name", "value [%]"]


def test_long_tables_have_a_filter_and_short_ones_none():
    def filtered(count):
        return 'type="search"' in page("T", [Sheet(COLUMNS, [{"name": "a", "value": 1}] * count)])

    assert (filtered(3), filtered(30)) == (False, True)


def test_missing_numbers_are_blank_and_others_are_written_for_reading():
    cells = [None, float("nan"), pd.NA, 3.0, -0.5, 1234567, 1.23456789e-7, Cell("2.1 ± 0.3 (5)", 2.1)]
    (table,) = Read(page("T", [Sheet(COLUMNS, [{"name": "a", "value": cell} for cell in cells])])).tables
    assert [row[1][0] for row in table["rows"]] == [
        "", "", "", "3", "−0.5", "1234567", "1.2346e−07", "2.1 ± 0.3 (5)"
    ]  # fmt: skip
    keys = [row[1][1].get("data-value") for row in table["rows"]]
    assert keys[:3] == [None] * 3 and list(map(float, keys[3:])) == pytest.approx(
        [3, -0.5, 1234567, 1.23456789e-7, 2.1]
    )
    assert shown(float("inf")) == "inf"


def test_a_table_too_long_for_a_page_is_cut_and_says_where_all_of_it_is():
    rows = [{"name": f"row {i} " + "ü" * 50, "value": i} for i in range(20_000)]
    text = page("T", [Sheet(COLUMNS, rows, file="long.csv")])
    assert 0.95 * LARGEST < len(text.encode()) <= LARGEST
    (table,) = Read(text).tables
    assert f"The first {len(table['rows'])} of 20000 rows" in text and "all are in long.csv" in text
    assert len("data:text/html;charset=utf8;filename=;base64,") + 200 + LARGEST * 4 / 3 < FRAME


def test_a_figure_s_page_has_the_picture_at_reading_size_and_its_numbers():
    figure = fig1.draw(images(), {})
    rows = numbers(figure)
    text = figure_page(figure, rows, "Errors", "quick", "results/quick/figures/fig1.csv")
    (table,) = Read(text).tables
    assert len(table["rows"]) == len(rows)
    assert [head for head, _ in table["heads"]][:4] == ["panel", "title", "series", "what is drawn"]
    wide = round(126 * figure.get_figwidth())
    assert f"max(min(100%, {wide}px)" in text and 'alt="Errors"' in text


def test_a_picture_that_no_page_can_hold_is_drawn_with_fewer_dots(monkeypatch):
    figure = fig1.draw(images(), {})
    before = len(figure_page(figure, numbers(figure).iloc[:0], "F"))
    monkeypatch.setattr("credit.figures.pages.LARGEST", 30_000)
    assert len(figure_page(figure, numbers(figure).iloc[:0], "F")) < before / 1.5


def test_published_numbers_are_counted_by_verdict():
    row = dict.fromkeys(FIDELITY) | {
        "artefact": "dfc/table1", "dataset": "mnist", "method": "dfc", "metric": "test_error", "unit": "%",
        "published_mean": 2.25, "reproduced_mean": 2.3, "reproduced_n": 5, "verdict": "reproduced", "reason": "near",
        "data_verified": True,
    }  # fmt: skip
    verdicts = pd.DataFrame([row, row | {"verdict": "not run", "reproduced_mean": None, "data_verified": None}])
    text = fidelity_page(verdicts, "paper", "fidelity.csv")
    assert "2 published numbers: 1 reproduced, 1 not run." in text
    (table,) = Read(text).tables
    cells = dict(zip((head for head, _ in table["heads"]), table["rows"][0], strict=True))
    assert (cells["data set"][0], cells["method"][0], cells["published mean"][0]) == ("MNIST", "DFC", "2.25")


def test_where_nothing_is_held_against_published_numbers_the_page_says_so():
    text = fidelity_page(pd.DataFrame(columns=[*FIDELITY]), "quick", "fidelity.csv")
    assert "Quick scale: not the published setting. No number of these results is held against a published one." in text
    assert "0 published" not in text and "<table" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_sorts_numbers_as_numbers_and_filters(tmp_path: Path):
    values = [10, 9, None, -3, 1e-7, 100] * 3
    rows = [{"name": f"n{i}", "value": value} for i, value in enumerate(values)]
    act = """<script>
      const say = () => [...document.querySelectorAll("tbody tr:not([hidden])")].map(row => row.cells[1].textContent);
      const button = document.querySelectorAll("thead button")[1], said = [];
      for (const _ of [1, 2]) { button.click(); said.push([button.parentNode.getAttribute("aria-sort"), say()]); }
      const filter = document.querySelector("input"); filter.value = "N1"; filter.dispatchEvent(new Event("input"));
      said.push([document.querySelector("[role=status]").textContent, say()]);
      document.title = JSON.stringify(said);
    </script>"""
    file = tmp_path / "page.html"
    file.write_text(page("T", [Sheet(COLUMNS, rows)]).replace("</body>", f"{act}</body>"), encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S)
    assert title, done.stderr
    up, down, kept = json.loads(title[1].replace("&quot;", '"'))
    numbers_up = ["−3", "1e−07", "9", "10", "100"]
    assert up == ["ascending", [n for n in numbers_up for _ in range(3)] + [""] * 3]
    assert down == ["descending", [n for n in reversed(numbers_up) for _ in range(3)] + [""] * 3]
    assert kept[0] == "9 of 18 rows, sorted by value [%], descending"
