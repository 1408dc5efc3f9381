"""As of `dtp`."""

from credit.costs.dtp import cost

__all__ = ["cost"]
