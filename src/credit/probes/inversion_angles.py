"""How close the deltas of dynamic inversion are to exact inverses (Podlaski & Machens 2020, Fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from credit.methods.ndi import NDI
from credit.methods.pbp import PBP
from credit.probes.angles import angle, vector_angle
from credit.probes.base import Moment


@dataclass(frozen=True)
class InversionAngles:
    """Angles in degrees, by hidden layer, for learning rules with a leak and feedback B_i (M, n_{i-1}, n_i).

    angle_feedback: of B to -W^T. angle_ndi, angle_pbp: of a sample's delta to that of `ndi` with the same feedback and
    leak, and of `pbp`, both carried down from the output; mean over the mini-batch. As published, the references use
    the weights after the update, with activities and output error from before it.
    """

    metrics: ClassVar[tuple[str, ...]] = ("angle_feedback", "angle_ndi", "angle_pbp")

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, layer, degrees (M,))]; without a mini-batch angle_feedback alone, nothing for other methods."""
        leak, feedback = getattr(moment.method, "leak", None), moment.state.get("feedback", {})
        if leak is None:
            return []
        rows = [("angle_feedback", i, angle(b, -moment.after[i]["weight"].mT)) for i, b in feedback.items()]
        if "deltas" not in moment.info:
            return rows
        *ours, top = moment.info["deltas"]
        for name, rule in (("ndi", NDI(leak=leak)), ("pbp", PBP())):
            exact = rule.hidden_deltas(moment.net, moment.after, moment.state, moment.info["trace"], top)
            pairs = enumerate(zip(ours, exact, strict=True), 1)
            rows += [(f"angle_{name}", str(i), vector_angle(a, b).mean(-1)) for i, (a, b) in pairs]
        return rows


part = InversionAngles
