"""Run one benchmark: NAME -> table of measured quantities."""

import argparse
import csv
import sys
from pathlib import Path

import _src  # noqa: F401

from credit.bench import registry
from credit.bench.base import machine
from credit.errors import one_line
from credit.provenance.files import whole_file
from credit.provenance.made import making


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="module of credit.bench")
    parser.add_argument("out", type=Path, help="CSV")
    parser.add_argument("--record", help="how it was made, JSON; to write")
    args = parser.parse_args()
    with one_line(), making(args.record, {}, [__file__], [], [args.out], declared=False):
        rows, where = registry.load(args.name).run(), machine()
        with whole_file(args.out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["benchmark", "quantity", "value", "unit", "target", "met", "machine"])
            for r in rows:
                table.writerow([r.benchmark, r.quantity, f"{r.value:.4g}", r.unit, r.target, r.met, where])
                print(f"{r.quantity:45s} {r.value:10.4g} {r.unit:7s} {r.target:9s} {r.met}", file=sys.stderr)


if __name__ == "__main__":
    main()
