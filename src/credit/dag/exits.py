"""Exit codes of the `credit` command."""

GOOD, STALE, ERROR = 0, 1, 2
