"""As of `pbp`: pseudo-inverses of the forward weights."""

from credit.costs.pbp import cost

__all__ = ["cost"]
