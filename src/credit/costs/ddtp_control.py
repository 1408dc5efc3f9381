"""As of `ddtp_linear`."""

from credit.costs.ddtp_linear import cost

__all__ = ["cost"]
