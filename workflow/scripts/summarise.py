"""Summarise tidy tables over seeds: one long CSV."""

import argparse

import _src  # noqa: F401

from credit.analysis.summaries import summarised
from credit.analysis.tables import read_tables, write_table
from credit.errors import ConfigError, one_line
from credit.provenance.made import making
from credit.provenance.spec import read_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", help="JSON text; holds artefact and options (see credit.analysis.summaries.summarise)")
    parser.add_argument("csv", help="summary to write, one row per method and data set")
    parser.add_argument("tables", nargs="+", help="tidy tables made by collect.py")
    parser.add_argument("--references", nargs="*", default=[], help="values measured, to which a fit is made")
    parser.add_argument("--record", help="how it was made, JSON; to write")
    args = parser.parse_args()
    spec = read_spec(args.spec)
    if "artefact" not in spec:
        raise ConfigError("spec.artefact is missing; it names the table, for example 'dfc/table1'")
    with making(args.record, spec, [__file__], [*args.tables, *args.references], [args.csv]):
        references = read_tables(args.references) if args.references else None
        given = read_tables(args.tables), spec["artefact"], spec.get("options", {}), references
        write_table(args.csv, summarised(*given))


if __name__ == "__main__":
    with one_line():
        main()
