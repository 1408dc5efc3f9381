"""Makes the package importable when a script runs from a checkout, with or without an installed copy."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
