"""Tables of the pages of results, made again from the records that are kept beside them.

`python -m tests.pages` writes them: every table whose runs are kept, from these; then `fidelity.csv`, the verdicts on
all tables of the pages, those without records as they stand; then the sentences of the pages that count verdicts. It
is to be run when a table, records or a reference number came in, and when the rule of the verdicts changes. With
`--verdicts` tables stay as they are.
"""

from __future__ import annotations

import re
import sys
import tempfile
from functools import cache
from pathlib import Path

import pandas as pd

from credit.analysis.fidelity import compare, counts, read_published, read_summaries, sentence
from credit.analysis.readable import matrix
from credit.analysis.summaries import read_summary, summarise
from credit.analysis.tables import collect, read_table, read_tables, write_table
from credit.dag.commands import configuration
from credit.dag.targets import Workflow
from credit.dag.transport import NAMES
from credit.errors import DataError
from credit.provenance.archive import read_list, unpack
from credit.provenance.files import write_text
from tests.conftest import REPOSITORY

PAGES = REPOSITORY / "docs" / "results"
RECORDS = PAGES / "records"
ARCHIVES = sorted(RECORDS.glob("*.tar.xz"))
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


def name_of(page: str) -> str:
    """The summary table that a page shows."""
    return read_summary(PAGES / page)["artefact"].iloc[0]


def made_from(page: str) -> tuple[str, ...]:
    """Experiments behind a table of a page."""
    if page in CURVES:
        return (CURVES[page],)
    if page in SEARCHES:
        return SEARCHES[page]
    return workflow().tables[name_of(page)].experiments


TABLES = sorted(p.relative_to(PAGES).as_posix() for p in PAGES.glob("*/*.csv"))
COVERED = [page for page in TABLES if kept().keys() >= set(made_from(page))]
SUMMARIES = [page for page in COVERED if page not in CURVES | SEARCHES.keys()]


class Records:
    """The archives, unpacked below a folder, and the tables that follow from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tidy: dict[str, pd.DataFrame] = {}
        for archive in ARCHIVES:
            unpack(archive, NAMES, folder / archive.name)

    def tidy(self, key: str) -> pd.DataFrame:
        """The tidy table of an experiment, as a figure would read it."""
        if key not in self._tidy:
            files = {name: self.folder / archive.name / name for archive, name in kept()[key]}
            order = [run.removeprefix(f"{workflow().results}/") for run in workflow().runs(key)]
            extra = sorted(n for n in files.keys() - set(order) if n.endswith(".jsonl"))
            runs = [n for n in order if n in files] + extra
            write_table(self.folder / "tidy.csv", collect([files[n] for n in runs]))
            self._tidy[key] = read_table(self.folder / "tidy.csv")
        return self._tidy[key]

    def summary(self, name: str) -> pd.DataFrame:
        """A summary table, by its name."""
        spec = workflow().artefact_spec("table", name)
        joined = pd.concat([self.tidy(key) for key in spec["experiments"]], ignore_index=True)
        measured = [REPOSITORY / path for path in spec.get("references", ())]
        return summarise(joined, name, spec["options"], read_tables(measured) if measured else None)

    def readable(self, name: str, summary: pd.DataFrame) -> str:
        """The same for people."""
        spec = workflow().readable_spec(name)
        return matrix(summary, spec["title"], spec["options"], spec["rules"])


def published() -> pd.DataFrame:
    """Reference numbers of all papers."""
    return read_published([REPOSITORY / path for path in workflow().published()])


def verdicts() -> pd.DataFrame:
    """The verdicts on the tables of the pages, as they stand."""
    return compare(published(), read_summaries(summaries()))


def summaries() -> list[Path]:
    """Summary tables of the pages."""
    paths = []
    for path in sorted(PAGES.glob("*/*.csv")):
        try:
            read_summary(path)
        except DataError:  # curves and searches
            continue
        paths.append(path)
    return paths


COUNTING = {"README.md": "", "docs/results/README.md": ""} | {
    f"docs/results/{paper}/README.md": f"{paper}/" for paper in ("dfc", "di", "dtp", "pc", "pepita")
}
SENTENCE = re.compile(
    r"(Numbers printed in the papers?|All other references): \d+ consistent,\s\d+\sinconsistent,\s\d+\sinconclusive,\s"
    r"\d+\snot\srun;\schance\salone\swould\smake\s[\d.]+\sinconsistent"
)


def counted(text: str, table: pd.DataFrame, paper: str) -> str:
    """A page's text with the sentences that count verdicts as the table has them; of a paper ("dfc/") or of all."""
    count = counts(table[table["artefact"].str.startswith(paper)])

    def said(found: re.Match) -> str:
        row = count.loc["printed" if "printed" in found[1] else "all but printed"]
        return f"{found[1]}: {sentence(row)}; chance alone would make {row['by_chance']:.1f} inconsistent"

    return SENTENCE.sub(said, text)


def main() -> None:
    """Write the tables, the verdicts and the sentences that count them."""
    if "--verdicts" not in sys.argv:
        write_tables()
    table = verdicts()
    write_table(PAGES / "fidelity.csv", table)
    for name, paper in COUNTING.items():
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        write_text(REPOSITORY / name, counted(text, table, paper))
    print(counts(table).to_string())


def write_tables() -> None:
    """Every table whose runs are kept, and the same for people."""
    with tempfile.TemporaryDirectory() as folder:
        records = Records(Path(folder))
        for page in SUMMARIES:
            summary = records.summary(name_of(page))
            write_table(PAGES / page, summary)
            if (text := (PAGES / page).with_suffix(".md")).exists():
                write_text(text, records.readable(name_of(page), summary))
            print(page, file=sys.stderr)


if __name__ == "__main__":
    main()
