"""Turn the original files that MANIFEST describes (in the folder beside it) into one .npz file, OUT."""

import argparse
import json
from pathlib import Path

import _src  # noqa: F401

from credit.data.entry import Entry
from credit.data.prepare import prepare
from credit.errors import one_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=json.loads, help='JSON: {"dataset": entry of the catalogue}')
    parser.add_argument("manifest", type=Path, help="FOLDER.json, as fetch.py wrote it beside FOLDER")
    parser.add_argument("out", type=Path, help="written: the prepared data set")
    args = parser.parse_args()
    with one_line():
        manifest = json.loads(args.manifest.read_text(encoding="utf-8"))
        prepare(Entry.from_spec(args.spec["dataset"]), args.manifest.with_suffix(""), manifest, args.out)


if __name__ == "__main__":
    main()
