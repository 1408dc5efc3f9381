"""A simulated chain of all loops at once."""

from credit.nets.work import times

cost = times(10.0)
