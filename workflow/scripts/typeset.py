"""Write a summary as a table for people, in Markdown, and as a page."""

import argparse
from pathlib import Path

import _src  # noqa: F401

from credit.analysis.readable import matrix
from credit.analysis.summaries import read_summary
from credit.analysis.table_pages import summary_page
from credit.errors import one_line
from credit.provenance.files import write_text
from credit.provenance.made import making
from credit.provenance.spec import read_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", help="JSON text; holds title, options and rules (see credit.analysis.readable.matrix)")
    parser.add_argument("md", help="table to write")
    parser.add_argument("summary", help="summary made by summarise.py")
    parser.add_argument("--page", help="the same with every number for a browser, HTML; to write")
    parser.add_argument("--records", nargs="*", default=[], help="how they were made, JSON, one for each; to write")
    args = parser.parse_args()
    spec = read_spec(args.spec)
    outputs = [args.md, *filter(None, [args.page])]
    with making(args.records, spec, [__file__], [args.summary], outputs):
        told = read_summary(args.summary), spec["title"], spec.get("options", {}), spec.get("rules", {})
        write_text(args.md, matrix(*told))
        if args.page:
            write_text(args.page, summary_page(*told, spec.get("scale", "paper"), Path(args.summary).name))


if __name__ == "__main__":
    with one_line():
        main()
