"""Descent of an energy of all connections, first in the activities, then in the weights (Song et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from credit.methods.base import Batch, Method, Result, State, forward
from credit.methods.settling import energies
from credit.methods.settling.activities import clamped, cleared, found, inputs, kept
from credit.methods.settling.chain import Chain
from credit.methods.settling.settings import Adaptive
from credit.nets.base import Net
from credit.numerics.rand import Rand
from credit.numerics.stack import scaled
from credit.numerics.trees import Params
from credit.optim.base import OptimizerLike


@dataclass(frozen=True)
class AnyEnergy(Method):
    """The generic trainer of the released code.

    energy: which one is descended, of `credit.methods.settling.energies`. connectivity: each block forward, or also
    backward through the same weight; a weight that is used in both directions gets the gradient of both twice, as one
    of two copies that are kept equal. steps: moves of the nodes in a relaxation, each against the gradient of the
    energy, a sum over the batch. inference: the rate of these moves, see `credit.methods.settling.settings.Adaptive`.
    learning_steps: of the optimiser, with the nodes as they then are. negative_phase: as many steps up the energy where
    the net predicts freely.

    actions, input_activation: as of `credit.methods.settling.rule.Settling`; so is the loss.
    """

    keeps_state: ClassVar[bool] = True
    exact_output: ClassVar[bool] = False
    single_step: ClassVar[bool] = False
    excludes: ClassVar[str] = "credit.methods.settling.names.with_negative_phase"

    energy: Literal["prediction", "hopfield", "generec"] = "prediction"
    connectivity: Literal["forward", "recurrent"] = "forward"
    steps: Annotated[int, "> 0"] = 64
    learning_steps: Annotated[int, "> 0"] = 1
    inference: Adaptive = Adaptive()
    actions: tuple[Literal["reset", "predict", "learn"], ...] = ("reset", "predict", "learn")
    negative_phase: bool = False
    input_activation: bool = True

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """Nothing yet: activities are as many as the first mini-batch has samples. Then {"x": {layer: (M, B, n)}}."""
        return {}

    def update(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
        """info: "nodes" [x_0, .., x_L] by action, {"predict": .., "learn": ..}; "energy" (M,) before the last move."""
        self.check_net(net)
        run = forward(net, params, batch, rand)
        x0 = inputs(net, params, run.trace)
        if "reset" in self.actions:
            x = cleared(net, x0, ("x",))["x"]
        else:
            x = found(net, params, state, x0, rand, ("x",))["x"]
        info: dict[str, Any] = run.info | {"nodes": {}}
        if "predict" in self.actions:
            self._relax(self._chain(net, params), x, x[-1].new_ones(()))
            info["prediction"], info["nodes"]["predict"] = x[-1], list(x)
            if self.negative_phase:
                self._learn(net, params, opt, x, -1.0)
        target = net.loss.targets(batch.y, net.n_out, run.error.dtype)
        x[-1] = clamped(target, batch.weights, x[-1])
        free = None if batch.weights is None else (batch.weights == 0).to(x[-1])
        info["energy"] = self._relax(self._chain(net, params), x, free)
        info["nodes"]["learn"] = list(x)
        info["gradients"] = self._learn(net, params, opt, x, 1.0)
        return params, opt, {} if "reset" in self.actions else kept({"x": x}), info

    def _chain(self, net: Net, params: Params) -> Chain:
        return Chain.of(net, params, self.input_activation)

    def _connections(self, chain: Chain) -> list[energies.Connection]:
        return energies.connections(chain.top, self.connectivity == "recurrent")

    def _relax(self, chain: Chain, x: list[Tensor], free: Tensor | None) -> Tensor:
        """Move the nodes in place. free: 1 for output nodes that move, 0 for others; None: the output stays."""
        net, energy, before = self._connections(chain), energies.ENERGIES[self.energy], None
        lr = scaled(x[-1].new_ones(x[-1].shape[:-2]), self.inference.lr)
        for _ in range(self.steps):
            total, slopes = energies.of_nodes(energy, chain, x, net)
            if before is not None:
                longer, shorter = scaled(lr, self.inference.amplifier), scaled(lr, self.inference.discount)
                lr = torch.where(total < before, longer, shorter)
            before = total
            for i in range(1, chain.top + (free is not None)):
                move = lr[..., None, None] * slopes[i]
                x[i] = x[i] - (move * free if i == chain.top else move)
        return before

    def _learn(self, net: Net, params: Params, opt: OptimizerLike, x: list[Tensor], sign: float) -> Params:
        """Steps of the optimiser down (1) or up (-1) the energy of the nodes as they are; the last gradient."""
        energy, factor = energies.ENERGIES[self.energy], sign * (2.0 if self.connectivity == "recurrent" else 1.0)
        for _ in range(self.learning_steps):
            chain = self._chain(net, params)
            slopes = energies.of_weights(energy, chain, x, self._connections(chain))
            gradients = {i: {n: g * factor for n, g in block.items()} for i, block in slopes.items()}
            opt.step(params, gradients)
        return gradients


part = AnyEnergy
