"""Predictive coding: what relaxes an energy before it learns."""
