"""How far updates are from those of backpropagation (Ernoult et al. 2022, Figure 4.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from credit.methods.base import method
from credit.numerics.stack import combine, member
from credit.probes.angles import vector_angle
from credit.probes.base import Moment
from credit.probes.distances import angle_with_epsilon, distance


@dataclass(frozen=True)
class UpdateDistance:
    """angle_REFERENCE and distance_REFERENCE of the weights of every layer, on the same mini-batch.

    reference, hyper: as of the probe `angles`. first: whose norm the distance is relative to. scaled: whether the
    update is divided by the learning rule's beta, or target_stepsize, before. epsilon: in the cosine; published 1e-8,
    0 is exact. Published for the figure: the reference first, not scaled; during training: the update first, scaled.
    """

    metrics: ClassVar[tuple[str, ...]] = ("angle_{reference}", "distance_{reference}")
    uses: ClassVar[dict[str, str]] = {"reference": "methods"}  # fields that name parts, for the code digest

    reference: str = "bp"
    hyper: dict = field(default_factory=dict)
    first: Literal["reference", "update"] = "reference"
    scaled: bool = False
    epsilon: Annotated[float, ">= 0"] = 0.0

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, layer, values (M,))]; a block of several weights has the layers BLOCK.PART."""
        rule = method(self.reference, **self.hyper)
        exact = rule.gradients(moment.net, moment.params, {}, moment.batch, moment.rand).gradients
        rows, keep = [], len(moment.net.lead(moment.params))
        for i, block in exact.items():
            for name in (n for n in block if n.endswith("weight") and n in moment.info["gradients"].get(i, {})):
                ours, theirs = moment.info["gradients"][i][name], block[name]
                if self.scaled:
                    ours = ours * member(combine(lambda b: 1 / b, strength(moment.method)), ours)
                pair = [theirs.flatten(keep), ours.flatten(keep)]
                pair = pair[::-1] if self.first == "update" else pair
                layer = ".".join([str(int(i) + 1), *name.split(".")[:-1]])
                angle = angle_with_epsilon(*pair, self.epsilon) if self.epsilon else vector_angle(*pair)
                rows.append((f"angle_{self.reference}", layer, angle.reshape(-1)))
                rows.append((f"distance_{self.reference}", layer, distance(*pair).reshape(-1)))
        return rows


def strength(rule) -> float | tuple[float, ...]:
    """By what a rule's updates are scaled: its beta, or target_stepsize; 1 for others."""
    return getattr(rule, "beta", None) or getattr(rule, "target_stepsize", 1.0)


part = UpdateDistance
