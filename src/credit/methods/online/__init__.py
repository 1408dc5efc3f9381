"""Exact online learning, sample after sample, in chunks."""
