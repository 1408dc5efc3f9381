"""As of `ldrl`, with one step of several samples of noise."""

from credit.costs.ldrl import cost

__all__ = ["cost"]
