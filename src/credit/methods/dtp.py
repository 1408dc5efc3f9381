"""Difference target propagation (Lee et al. 2015), as in the code of Ernoult et al. (ICML 2022): "vanilla" there."""

from __future__ import annotations

from dataclasses import dataclass

from credit.methods.targets.denoising import Denoising


@dataclass(frozen=True)
class DifferenceTargetPropagation(Denoising):
    """Feedback blocks learn to undo their layer; targets have the difference correction.

    Not in the tables of Ernoult et al., who call these settings untuned.
    """


part = DifferenceTargetPropagation
