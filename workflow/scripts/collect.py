"""Join the result files of one experiment's training jobs into one tidy table."""

import argparse

import _src  # noqa: F401

from credit.analysis.tables import collect, write_table
from credit.errors import one_line
from credit.provenance.made import making
from credit.provenance.records import remove_checkpoints
from credit.provenance.spec import read_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", help="JSON text; holds paper and experiment, may hold select (seeds, epochs)")
    parser.add_argument("out", help="tidy table to write, CSV")
    parser.add_argument("results", nargs="+", help="result files of training jobs, JSON lines")
    parser.add_argument("--record", help="how it was made, JSON; to write")
    args = parser.parse_args()
    spec = read_spec(args.spec)
    of = {k: spec[k] for k in ("paper", "experiment") if k in spec}
    with making(args.record, spec, [__file__], args.results, [args.out]):
        write_table(args.out, collect(args.results, of, **spec.get("select", {})))
    remove_checkpoints(args.results)


if __name__ == "__main__":
    with one_line():
        main()
