"""How far feedback weights are from the transposed forward weights (Ernoult et al. 2022, Figure 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from credit.methods.reconstruction.direct import Direct
from credit.methods.targets.rule import TargetPropagation
from credit.nets.feedback_stage import feedback_of
from credit.probes.angles import vector_angle
from credit.probes.base import Moment
from credit.probes.distances import angle_with_epsilon, distance


@dataclass(frozen=True)
class FeedbackWeights:
    """angle_weights in degrees and distance_weights, ||W - Q|| / ||W||, of every block with feedback, after the step.

    For target propagation by block; for direct feedback of the output layer and the map Q of the layer below it, which
    alone has its shape. A stage of several weights has the layers BLOCK.PART. epsilon: in the cosine; published 1e-8, 0
    is exact.
    """

    metrics: ClassVar[tuple[str, ...]] = ("angle_weights", "distance_weights")
    weights_alone: ClassVar[bool] = True  # may be measured at evaluations, without a mini-batch

    epsilon: Annotated[float, ">= 0"] = 0.0

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, layer, values (M,))]; nothing for rules without such feedback."""
        rows, keep = [], len(moment.net.lead(moment.after))
        for layer, weight, feedback in pairs(moment):
            pair = weight.flatten(keep), feedback.flatten(keep)
            angle = angle_with_epsilon(*pair, self.epsilon) if self.epsilon else vector_angle(*pair)
            rows.append(("angle_weights", layer, angle.reshape(-1)))
            rows.append(("distance_weights", layer, distance(*pair).reshape(-1)))
        return rows


def pairs(moment: Moment) -> list[tuple[str, Tensor, Tensor]]:
    """(layer, forward weight in the shape of the feedback weight, feedback weight), (M, ...) each."""
    net, kept = moment.net, moment.state_after.get("feedback", {})
    if isinstance(moment.method, Direct):
        last = len(net) - 1
        return [(str(last + 1), moment.after[str(last)]["weight"].mT, kept[str(last - 1)]["weight"])]
    if not isinstance(moment.method, TargetPropagation):
        return []
    found = []
    for i, own in kept.items():
        for name, weight in feedback_of(net.block(int(i))).copied(moment.after[i]).items():
            found.append((".".join([str(int(i) + 1), *name.split(".")[:-1]]), weight, own[name]))
    return found


part = FeedbackWeights
