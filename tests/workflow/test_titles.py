"""What people write for people, in titles and options, may hold whatever they like: braces are no wildcards."""

from __future__ import annotations

from tests.workflow.checkout import Checkout

FIGURE = r"angle of $\Delta W_{l}$ in {shard} by layer {{l}} {"
TABLE = "Error of {method} on {dataset}"


def test_braces_in_titles_are_drawn_tabulated_and_reported(project: Checkout):
    project.configure("teacher", lambda content: content["figures"]["fig3"].update(title=FIGURE))
    project.configure("images", lambda content: content["tables"]["table1"].update(title=TABLE))
    project.make("all")
    assert project.path("tables/cross/table1.md").read_text(encoding="utf-8").startswith(f"# {TABLE}\n")
    project.make("--report", "report.html", "--", "all", cores=1)
    page = (project.root / "report.html").read_text(encoding="utf-8").replace(r"\u2060", "").replace("\u2060", "")
    assert FIGURE.replace("\\", "\\\\") in page
    assert TABLE in page
    assert project.planned() == set()
