"""Write a summary as a table for people, in Markdown."""

import argparse

import _src  # noqa: F401

from credit.analysis.readable import matrix
from credit.analysis.summaries import read_summary
from credit.errors import one_line
from credit.provenance.files import write_text
from credit.provenance.made import making
from credit.provenance.spec import read_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", help="JSON text; holds title, options and rules (see credit.analysis.readable.matrix)")
    parser.add_argument("md", help="table to write")
    parser.add_argument("summary", help="summary made by summarise.py")
    parser.add_argument("--record", help="how it was made, JSON; to write")
    args = parser.parse_args()
    spec = read_spec(args.spec)
    with making(args.record, spec, [__file__], [args.summary], [args.md]):
        summary = read_summary(args.summary)
        write_text(args.md, matrix(summary, spec["title"], spec.get("options", {}), spec.get("rules", {})))


if __name__ == "__main__":
    with one_line():
        main()
