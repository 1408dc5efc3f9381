"""Predictive coding: activities settle first, and weights then learn what they have settled to.

Source: Song, Millidge, Salvatori, Lukasiewicz, Xu & Bogacz (Nature Neuroscience 2024), "Inferring neural activity
before plasticity as a foundation for learning beyond backpropagation".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch

from credit.methods.base import Batch, Method, OptimizerLike, Result, State, Step, redivided
from credit.methods.energy import convolutions, fast
from credit.methods.energy import state as energies
from credit.methods.energy.closed_form import inferred
from credit.methods.energy.relaxation import Moment, relax, spread
from credit.methods.energy.settings import Inference, iterations
from credit.methods.energy.state import Energy
from credit.methods.fast import Fast
from credit.nets.base import Net, check_input
from credit.numerics.rand import Rand
from credit.numerics.trees import Params
from credit.optim.clipping import norms


@dataclass(frozen=True)
class PC(Method):
    """Value nodes x relax for `steps` iterations with input and target clamped; then W_l descends in the energy:

        gradient of W_l = -eps_l f(x_{l-1})^T,  of W_L = (o - y) f(x_{L-1})^T

    The gradient at the last iteration is taken before that iteration's step of x: weights see x after `steps` - 1
    steps. Nets without hidden layers learn by backpropagation. The loss may be any; one that is a mean over the batch
    is summed for the relaxation, and the gradients divided, so that a sample relaxes as it would alone.

    steps: iterations of a mini-batch. inference: how the nodes descend, see `Inference`. weight_updates: iterations at
    which weights learn; at each of them there is an optimiser step, and predictions change with the weights while x
    relaxes. energy_coefficient: of the nodes' energy beside the loss. nodes: before or after the nonlinearity, see
    `credit.methods.energy.state`. stop_below: a member's nodes stay where they are once its rate has fallen below this
    fraction of `inference.lr`. closed_form: in linear nets, "yes" takes the state after `steps` - 1 steps from the
    eigenvectors of the energy's Hessian, which holds while the rate is never cut; "compare" runs the loop, and records
    how far the closed form is from it, "closed_form_deviation".
    """

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")
    excludes: ClassVar[str] = "credit.methods.energy.names.relaxed"
    metrics: ClassVar[tuple[str, ...]] = ("closed_form_deviation",)
    exact_output: ClassVar[bool] = False  # its input has moved
    one_for_all: ClassVar[tuple[str, ...]] = ("energy_coefficient", "stop_below")

    steps: Annotated[int, ">= 1"] = 64
    inference: Inference = Inference()
    weight_updates: Annotated[str, "credit.methods.energy.names.iterations"] | tuple[Annotated[int, ">= 0"], ...] = (
        "last"
    )
    energy_coefficient: Annotated[float, "> 0"] = 1.0
    nodes: Literal["before", "after"] = "before"
    stop_below: Annotated[float, "(0, 1)"] | None = None
    closed_form: Literal["no", "yes", "compare"] = "no"

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """The gradient of the energy at the last iteration at which weights learn.

        info: "x", "mu", "eps", lists of (M, B, ...), one for each hidden block, at that iteration; "energy", of these,
        and "rate", (M,); "output" and "error" (M, B, n_out) and "loss" (M,) before x has moved.
        """
        first, moment = None, None
        for learns, now in self._relaxed(net, params, batch):
            first = first or now.now
            moment = now if learns else moment
        gradients = energies.weight_gradients(net, moment.now, moment.deltas)
        return Step(gradients, self._info(net, params, batch, first, moment))

    def update(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
        """A step of the optimiser at every iteration at which weights learn. info: as of `gradients`, at the last."""
        first, moment, gradients = None, None, {}
        for learns, now in self._relaxed(net, params, batch):
            first = first or now.now
            if learns:
                moment = now
                gradients = redivided(energies.weight_gradients(net, now.now, now.deltas), net, params, batch)
                opt.step(params, gradients)
        return params, opt, state, self._info(net, params, batch, first, moment) | {"gradients": gradients}

    def fast(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, batch_size: int, *,
             function: str = "update") -> Fast | None:  # fmt: skip
        """Compiled loops for nodes that descend by plain steps, see `credit.methods.energy.fast` and `convolutions`."""
        inference, plain = self.inference, (self.energy_coefficient, self.nodes, self.stop_below, self.closed_form)
        if function != "update" or inference.optimizer != "sgd" or plain != (1.0, "before", None, "no"):
            return None
        self.check_net(net)
        if net.kind == "conv":
            learns = iterations(self.weight_updates, self.steps)
            return convolutions.fast(net, params, batch, self.steps, inference, learns)
        usual = inference.updates == "all" and self.weight_updates == "last"
        return fast.form(net, params, opt, batch, batch_size, self.steps, inference) if usual else None

    def _relaxed(self, net: Net, params: Params, batch: Batch) -> Iterator[tuple[bool, Moment]]:
        """The iterations, and whether weights learn at them."""
        self.check_net(net)
        check_input(net, params, batch.x)
        if self.closed_form == "yes":
            start = energies.at(net, params, batch, None)
            rate = spread(self.inference.lr, start.loss)
            yield False, Moment(start, [], rate)
            now = inferred(net, params, batch, self.steps - 1, self.inference.lr)
            yield True, Moment(now, energies.deltas(net, now), rate)
            return
        options = self.inference, self.energy_coefficient, self.nodes == "before", self.stop_below
        learns = iterations(self.weight_updates, self.steps)
        yield from zip(learns, relax(net, params, batch, self.steps, *options), strict=True)

    def _info(self, net: Net, params: Params, batch: Batch, first: Energy, moment: Moment) -> dict[str, Any]:
        now, count = moment.now, energies.samples(net, first.output)
        info = {
            "x": now.x, "mu": now.mu, "eps": now.eps, "energy": now.energy, "rate": moment.rate,
            "output": first.output, "loss": first.loss / count, "error": first.error / count,
        }  # fmt: skip
        if self.closed_form == "compare":
            other = inferred(net, params, batch, self.steps - 1, self.inference.lr)
            apart = [norms([a - b], net.stacked(params)) for a, b in zip(now.x, other.x, strict=True)]
            largest = torch.stack(apart).amax(0) if apart else torch.zeros_like(info["loss"])
            info["means"] = {"closed_form_deviation": largest}
        return info


part = PC
