"""A Jacobian for each output, and the solution of its normal equations."""

from credit.nets.work import times

cost = times(3.0)
