"""`python -m docs.website [FOLDER]`: the site, FOLDER/html (docs/_build); a warning of Sphinx is an error."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.website.places import BUILD, DOCS
from docs.website.stage import stage

STRICT = ["-W", "--keep-going", "-n", "-q", "-E"]


def main(folder: Path) -> int:
    """Build the site below `folder`; the exit code of Sphinx."""
    stage(folder / "source")
    where = [folder / "doctrees", folder / "source", folder / "html"]
    return build_main([*STRICT, "-b", "html", "-c", str(DOCS), "-d", *map(str, where)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else BUILD))
