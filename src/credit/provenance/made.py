"""How a table, figure or benchmark was made: a record, with checksums of what it holds and what it is made from.

A file cannot hold this itself, as runs do: `results/tables/dfc/table1.csv` is known by
`results/records/tables/dfc/table1.csv.json`, all files of a figure by `results/records/figures/dfc/fig3.json`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from credit.provenance.files import checksum, write_json
from credit.provenance.snapshot import git_state, snapshot, versions

PACKAGES = ("numpy", "scipy", "pandas", "matplotlib")
_KINDS = r"tables/.+\.(?:csv|md|html)|bench/.+\.csv|figures/.+\.(?:pdf|png|csv|html)"
MADE = re.compile(rf"(?:^|(.*)/)({_KINDS})$")


def split(path: str | Path) -> tuple[str, str] | None:
    """(`results`, `tables/dfc/table1.csv`) of the path of a table or figure; None for others."""
    found = MADE.match(Path(path).as_posix())
    return (found[1] or ".", found[2]) if found else None


def record_path(path: str | Path) -> Path:
    """Where the record of a table or figure is."""
    results, name = split(path)
    name = str(Path(name).with_suffix("")) if name.startswith("figures/") else name
    return Path(results, "records", f"{name}.json")


@contextmanager
def making(
    record: str | Path | Sequence[str | Path] | None,
    spec: Mapping[str, Any],
    roots: Sequence[str],
    inputs: Sequence,
    outputs: Sequence,
    declared: bool = True,
) -> Iterator[None]:
    """Within it, a job makes `outputs` from `inputs`; then their checksums, and its code, are written to `record`.

    roots: of the code, see `credit.provenance.snapshot`. declared: they must lead to all that is imported.
    record: several where a file has one of its own, with the same content; none for a script that is run by hand.
    Raises ProvenanceError where the code that ran is not that of the spec.
    """
    taken = snapshot(*roots)
    taken.check(spec.get("code"))
    read = {path: checksum(Path(path)) for path in inputs}
    yield
    taken.check(spec.get("code"), loaded=declared)
    records = [record] if isinstance(record, str | Path) else record or ()
    if not records:
        return
    results, _ = split(outputs[0]) or (str(Path(outputs[0]).parent), "")
    written = {_name(path, results): checksum(Path(path)) for path in outputs}
    made = {"code": taken.code, "modules": taken.modules, **versions(PACKAGES), "git": git_state(taken.package_root)}
    content = {"inputs": {_name(path, results): value for path, value in read.items()}, "outputs": written}
    for place in records:
        write_json(Path(place), {"spec": spec, "provenance": made, **content})


def _name(path: str | Path, results: str) -> str:
    """A path below `results` by its place there, so that the folder may be moved; another one as it is."""
    below = os.path.relpath(path, results)
    return str(path) if below.startswith("..") else Path(below).as_posix()
