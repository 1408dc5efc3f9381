"""Notebooks as pages: text and code as they are kept, without results."""

from __future__ import annotations

import json

from docs.website.places import NOTEBOOKS

NOTE = "*A notebook, `{path}`. A test runs it; what it prints and draws appears where you run it.*"


def pages() -> dict[str, str]:
    """{notebook of the repository: its markdown}."""
    found = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        parts = [shown(cell["cell_type"], "".join(cell["source"])) for cell in cells]
        name = f"notebooks/{path.name}"
        found[name] = "\n\n".join([parts[0], NOTE.format(path=name), *parts[1:]]) + "\n"
    return found


def shown(kind: str, source: str) -> str:
    """A cell as markdown."""
    return source if kind == "markdown" else f"```python\n{source}\n```"
