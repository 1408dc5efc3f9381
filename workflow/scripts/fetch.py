"""Bring the original files of a data set into the folder beside MANIFEST, and say there what they are.

fetch.py SPEC results/data/raw/mnist.json puts the files into results/data/raw/mnist/.
"""

import argparse
import json
import sys
from pathlib import Path

import _src  # noqa: F401

from credit.config.paths import MIRROR_VARIABLE
from credit.data.entry import Entry
from credit.data.fetch import fetch
from credit.errors import one_line
from credit.provenance.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=json.loads, help='JSON: {"dataset": entry of the catalogue}')
    parser.add_argument("manifest", type=Path, help="written: FOLDER.json; the files go into FOLDER")
    parser.add_argument("--mirror", help=f"folder or URL tried first (default: ${MIRROR_VARIABLE})")
    parser.add_argument("--user-files", help="folder with data sets that need registration, NAME/FILE")
    args = parser.parse_args()
    with one_line():
        entry = Entry.from_spec(args.spec["dataset"])
        manifest = fetch(entry, args.manifest.with_suffix(""), args.mirror, args.user_files)
        write_json(args.manifest, manifest)
    state = "verified" if manifest["verified"] else "NOT VERIFIED: no published checksum confirms these files"
    print(f"{entry.name}: {len(manifest['files'])} files, {state}", file=sys.stderr)


if __name__ == "__main__":
    main()
