"""Formats of original data, found by name."""

from __future__ import annotations

from credit.config.registry import Registry

FORMATS = Registry("credit.data.formats", "format")
