"""A second, modulated forward pass takes the place of the backward pass; masks and projections are extra."""

from credit.nets.work import times

cost = times(1.1)
