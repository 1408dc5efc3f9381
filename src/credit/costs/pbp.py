"""Pseudo-inverses of the forward weights."""

from credit.nets.work import times

cost = times(2.0)
