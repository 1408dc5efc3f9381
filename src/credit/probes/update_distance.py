"""How far updates are from those of backpropagation (Ernoult et al. 2022, Figure 4.3)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import Method, method
from credit.numerics.stack import Number, combine, member
from credit.numerics.trees import Params
from credit.probes.angles import vector_angle
from credit.probes.base import Moment
from credit.probes.distances import angle_with_epsilon, distance


@dataclass(frozen=True)
class UpdateDistance:
    """angle_REFERENCE and distance_REFERENCE of the weights of every layer, on the same mini-batch.

    reference, hyper: as of the probe `angles`. first: whose norm the distance is relative to. scaled: whether the
    update is divided by the learning rule's beta, or target_stepsize, before. epsilon: in the cosine; published 1e-8,
    0 is exact. Published for the figure: the reference first, not scaled; during training: the update first, scaled.
    divided_by: divides the update too, by a number of its own (the figure's DRL). after: instead of the update that was
    made, what it would be with the feedback as it is after the step. betas: the same with each of these as beta or
    target_stepsize; metrics are angle_REFERENCE_BETA and distance_REFERENCE_BETA.

    Raises ConfigError for betas and a learning rule without either.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "angle_{reference}_{betas}|angle_{reference}", "distance_{reference}_{betas}|distance_{reference}",
    )  # fmt: skip
    uses: ClassVar[dict[str, str]] = {"reference": "methods"}  # fields that name parts, for the code digest

    reference: str = "bp"
    hyper: dict = field(default_factory=dict)
    first: Literal["reference", "update"] = "reference"
    scaled: bool = False
    epsilon: Annotated[float, ">= 0"] = 0.0
    divided_by: Annotated[float, "> 0"] = 1.0
    after: bool = False
    betas: tuple[Annotated[float, "> 0"], ...] = ()

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, layer, values (M,))]; a block of several weights has the layers BLOCK.PART."""
        rule = method(self.reference, **self.hyper)
        exact = rule.gradients(moment.net, moment.params, {}, moment.batch, moment.rand).gradients
        if not (self.betas or self.after):
            return self._compared(moment, exact, moment.info["gradients"], strength(moment.method), "")
        rows = []
        for beta in self.betas or (None,):
            rule = moment.method if beta is None else with_strength(moment.method, beta)
            would_be = rule.gradients(moment.net, moment.params, moment.state_after, moment.batch, moment.rand)
            suffix = "" if beta is None else f"_{beta:g}"
            rows += self._compared(moment, exact, would_be.gradients, strength(rule), suffix)
        return rows

    def _compared(
        self, moment: Moment, exact: Params, update: Params, beta: Number, suffix: str
    ) -> list[tuple[str, str, Tensor]]:
        """Rows for one update. beta: by what it is divided if `scaled`; suffix: of the metrics."""
        rows, keep = [], len(moment.net.lead(moment.params))
        for i, block in exact.items():
            for name in (n for n in block if n.endswith("weight") and n in update.get(i, {})):
                ours, theirs = update[i][name], block[name]
                if self.scaled:
                    ours = ours * member(combine(lambda b: 1 / b, beta), ours)
                if self.divided_by != 1:
                    ours = ours / self.divided_by
                pair = [theirs.flatten(keep), ours.flatten(keep)]
                pair = pair[::-1] if self.first == "update" else pair
                layer = ".".join([str(int(i) + 1), *name.split(".")[:-1]])
                angle = angle_with_epsilon(*pair, self.epsilon) if self.epsilon else vector_angle(*pair)
                rows.append((f"angle_{self.reference}{suffix}", layer, angle.reshape(-1)))
                rows.append((f"distance_{self.reference}{suffix}", layer, distance(*pair).reshape(-1)))
        return rows


STRENGTHS = ("beta", "target_stepsize")


def strength(rule: Method) -> Number:
    """By what a rule's updates are scaled: its beta, or target_stepsize; 1 for others."""
    return next((getattr(rule, name) for name in STRENGTHS if hasattr(rule, name)), 1.0)


def with_strength(rule: Method, value: float) -> Method:
    """The rule with another beta, or target_stepsize. Raises ConfigError where it has neither."""
    for name in STRENGTHS:
        if hasattr(rule, name):
            return dataclasses.replace(rule, **{name: value})
    raise ConfigError(f"update_distance.betas = {value:g}; needs a learning rule with beta or target_stepsize")


part = UpdateDistance
