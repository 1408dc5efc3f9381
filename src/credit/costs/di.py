"""Simulated loops of a few steps for each layer."""

from credit.nets.work import times

cost = times(3.0)
