"""Two copies of one job: the first to finish writes the result, the other changes nothing.

A cluster may run a job twice for a while: a retry beside a first copy that has its seconds of grace, or a submission
that was reported as failed and runs all the same. All jobs of one call of `snakemake` have its mark in their
environment, and results are marked with it, so that a job can tell a result of its own call from an older one, which a
forced rerun is to replace.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from credit.errors import DataError
from credit.provenance.records import read_result
from credit.provenance.snapshot import versions
from credit.provenance.spec import canonical_json

MARK = "CREDIT_CALL"  # set by `credit.dag.stopping`
MAKING = ("code", "modules", "python", "packages", "cpu", "device", "threads", "data", "start")
DONE = "another copy of this job has finished; its result stays as it is"


def mark() -> dict[str, str]:
    """What a result says of the call that made it: {"call": …}; nothing when made by hand."""
    return {"call": os.environ[MARK]} if os.environ.get(MARK) else {}


class Copies:
    """What a job knows of others like it, from its output `out`.

    spec, chosen: what the header of this job's output will say. beside: further files that it writes, before `out`.
    """

    def __init__(self, out: Path, spec: Mapping[str, Any], chosen: Mapping[str, Any], *beside: Path):
        self.out, self.files = out, (out, *beside)
        self.wanted = canonical_json([spec, chosen])
        self.before = self._header()
        self.lacking = self.before is None and self._header(alone=True) is not None

    def done(self) -> bool:
        """Whether the result of this very call was there when the job started."""
        call = mark().get("call")
        return call is not None and call == (self.before or {}).get("provenance", {}).get("call")

    def outrun(self) -> bool:
        """Whether another copy has written the result since."""
        now = self._header()
        return now is not None and now != self.before

    def takes(self, made: Mapping[str, Any]) -> bool:
        """Whether to take up what a finished checkpoint holds, and says of its making.

        Not when other versions made it, nor when it is the result that was there: then it is made again on purpose.
        """
        there = self.before and self.before["provenance"]
        if there and all(made.get(key) == value for key, value in there.items()):
            return False
        return all(made.get(key) == value for key, value in versions().items())

    def stands(self, made: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the result may stay: files beside it were all that was missing, and it was made in the same way.

        made, found: provenance and records of the training that has been done now.
        """
        if not self.lacking:
            return False
        try:
            header, there = read_result(self.out)
        except (OSError, DataError):
            return False
        same = all(header["provenance"].get(key) == made.get(key) for key in MAKING)
        return same and there == json.loads(json.dumps(list(found)))

    def _header(self, alone: bool = False) -> dict[str, Any] | None:
        """The output's header, if all files of this job are there, or itself alone."""
        try:
            with self.out.open(encoding="utf-8") as file:
                header = json.loads(file.readline() if self.out.suffix == ".jsonl" else file.read())
            fits = canonical_json([header["spec"], header.get("chosen", {})]) == self.wanted
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (
            header
            if fits and isinstance(header.get("provenance"), dict) and (alone or all(map(Path.exists, self.files)))
            else None
        )
