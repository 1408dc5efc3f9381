"""Compiled loops of the controller's dynamics."""
