"""Numerics that know nothing of credit assignment: random streams, stacks, trees, linear algebra, compiled loops."""
