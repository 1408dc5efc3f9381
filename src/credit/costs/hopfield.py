"""As of `generec`."""

from credit.costs.generec import cost

__all__ = ["cost"]
