"""The files of the comparison with published numbers. Loads no torch."""

from __future__ import annotations

from typing import Any

from credit.dag.endings import PAGE
from credit.dag.targets import Workflow
from credit.provenance.spec import VERSION, digest

TITLE = "Every published number beside the one found here"
SCRIPT = "typeset_fidelity"


def paths(workflow: Workflow) -> list[str]:
    """The table, and its page."""
    return [f"{workflow.results}/tables/fidelity.{end}" for end in ("csv", PAGE)]


def page_spec(workflow: Workflow) -> dict[str, Any]:
    """Spec of the page; that of the table is `Workflow.fidelity_spec`."""
    return {
        "version": VERSION, "kind": "readable", "name": "fidelity", "scale": workflow.settings.scale, "title": TITLE,
        "inputs": digest(workflow.fidelity_spec()), **workflow.digests("analyse", str(workflow.script(SCRIPT))),
    }  # fmt: skip
