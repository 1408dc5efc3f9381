"""Write the comparison with published numbers as a page."""

import argparse
from pathlib import Path

import _src  # noqa: F401

from credit.analysis.table_pages import fidelity_page
from credit.analysis.tables import read_csv
from credit.errors import one_line
from credit.provenance.files import write_text
from credit.provenance.made import making
from credit.provenance.spec import read_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", help="JSON text; holds scale")
    parser.add_argument("page", help="page to write, HTML")
    parser.add_argument("verdicts", help="table made by fidelity.py")
    parser.add_argument("--record", help="how it was made, JSON; to write")
    args = parser.parse_args()
    spec = read_spec(args.spec)
    with making(args.record, spec, [__file__], [args.verdicts], [args.page]):
        verdicts = read_csv(args.verdicts)
        write_text(args.page, fidelity_page(verdicts, spec.get("scale", "paper"), Path(args.verdicts).name))


if __name__ == "__main__":
    with one_line():
        main()
