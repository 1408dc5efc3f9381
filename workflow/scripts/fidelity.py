"""Hold every published number against the one that was found."""

import argparse
import sys

import _src  # noqa: F401

from credit.analysis.fidelity import compare, read_published, read_summaries
from credit.analysis.summaries import as_published
from credit.analysis.tables import write_table
from credit.errors import one_line
from credit.provenance.made import making
from credit.provenance.spec import read_spec


def main() -> None:
    usage = "fidelity.py SPEC OUT [PUBLISHED.csv ...] -- [SUMMARY.csv ...]"
    parser = argparse.ArgumentParser(
        usage=usage, description=__doc__, epilog="After --: summaries made by summarise.py."
    )
    parser.add_argument("spec", help="JSON text; holds scale")
    parser.add_argument("out", help="table to write, CSV, one row per published number")
    parser.add_argument("published", nargs="*", help="published numbers, config/published/PAPER.csv")
    parser.add_argument("--record", help="how it was made, JSON; to write")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:cut])
    spec, tables = read_spec(args.spec), given[cut + 1 :]
    with making(args.record, spec, [__file__], [*args.published, *tables], [args.out]):
        summaries = as_published(read_summaries(tables), spec.get("varied", ()))
        write_table(args.out, compare(read_published(args.published), summaries, spec.get("scale", "paper")))


if __name__ == "__main__":
    with one_line():
        main()
