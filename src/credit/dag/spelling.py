"""Bare values of groups of hyperparameters, written as mappings so that layers of configuration merge key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit.config import hyperparameters
from credit.config.parts import METHODS


class Spelling:
    """Spells the hyperparameters in the layers of one file alike: `feedback: zeros` becomes `feedback: {init: zeros}`.

    Which of them are groups is known from the learning rules that the layers give to their methods, later ones having
    the last word. What is no mapping, or of an unknown learning rule, is left for the checks that follow.
    """

    def __init__(self, *layers: Mapping[str, Any]):
        methods = [m for layer in layers if isinstance(m := layer.get("methods"), Mapping)]
        entries = [(name, own) for m in methods for name, own in m.items() if isinstance(own, Mapping)]
        self._rules = {name: own["rule"] for name, own in entries if "rule" in own}

    def layer(self, layer: Mapping[str, Any]) -> Mapping[str, Any]:
        """A copy of a layer with the hyperparameters of all its methods spelled."""
        methods = layer.get("methods")
        if not isinstance(methods, Mapping):
            return layer
        return {**layer, "methods": {name: self._entry(name, own) for name, own in methods.items()}}

    def _entry(self, method: str, own: Any) -> Any:
        if not isinstance(own, Mapping):
            return own
        result, datasets = dict(own), own.get("datasets")
        if isinstance(own.get("hyper"), Mapping):
            result["hyper"] = self.hyper(method, own["hyper"])
        if isinstance(datasets, Mapping):
            result["datasets"] = {name: self._entry(method, entry) for name, entry in datasets.items()}
        return result

    def hyper(self, method: str, hyper: Mapping[str, Any]) -> Mapping[str, Any]:
        """Hyperparameters of a method, spelled."""
        rule = self._rules.get(method, method)
        return hyperparameters.spelled(METHODS.module(rule), hyper) if rule in METHODS.names() else hyper

    def at(self, place: tuple[str, ...], settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Settings at a place of the file, spelled where they are the hyperparameters of a method."""
        return self.hyper(place[1], settings) if place[0] == "methods" and place[-1] == "hyper" else settings
