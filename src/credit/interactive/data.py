"""Prepared data sets for who works without Snakemake: the same files in the same places."""

from __future__ import annotations

import sys
from pathlib import Path

from credit.data import catalog
from credit.data.fetch import fetch
from credit.data.prepare import prepare
from credit.interactive.specs import present, root
from credit.provenance.files import write_json


def prepared(name: str) -> Path:
    """The prepared data set, .npz, in the workflow's folder of data; fetched and prepared where it is not there.

    Raises DataError as `credit.data.fetch.fetch`.
    """
    settings = present().settings
    folder = root() / settings.data_folder
    path, raw = folder / f"{name}.npz", folder / "raw" / name
    if not path.exists():
        print(f"{name}: is fetched and prepared in {folder}", file=sys.stderr)
        entry = catalog.dataset(name, settings.allow_unverified)
        manifest = fetch(entry, raw, settings.mirror, settings.user_files)
        write_json(raw.with_name(f"{name}.json"), manifest)
        prepare(entry, raw, manifest, path)
    return path
