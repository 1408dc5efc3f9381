"""Makes the package importable when a script runs from a checkout, with or without an installed copy.

And Ctrl-C ends a script in a line, also while it still imports.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))


def _hook(kind, error, trace):
    if issubclass(kind, KeyboardInterrupt):
        print("stopped on request; nothing was lost, the same command goes on", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _hook
