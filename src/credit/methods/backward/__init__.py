"""Errors that travel backwards through fixed weights: layer by layer, or directly."""
