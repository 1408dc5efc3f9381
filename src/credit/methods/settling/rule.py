"""The life of a mini-batch in the hand-coded rules of Song et al. (2024): reset, predict, learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from credit.methods.base import Batch, Method, State, Step, forward
from credit.methods.settling.activities import Activities, clamped, cleared, found, inputs, kept
from credit.methods.settling.chain import Chain
from credit.methods.settling.settings import Inference
from credit.nets.base import Net
from credit.numerics.rand import Rand
from credit.numerics.stack import scaled
from credit.numerics.trees import Params


@dataclass(frozen=True)
class Target:
    """What the output is to be, (M, B, n_L); weights: of the output errors, a unit of weight 0 has no target."""

    values: Tensor
    weights: Tensor | None

    def clamp(self, output: Tensor) -> Tensor:
        """The output nodes (M, B, n_L) with the target in those that have one."""
        return clamped(self.values, self.weights, output)


@dataclass(frozen=True)
class Settling(Method):
    """Base of rules by which every layer of a net moves under the layers beside it, for a number of sweeps.

    actions: what happens with a mini-batch, in this order. `reset` sets all activities to 0; without it they stay as
    the last mini-batch has left them, and are N(0, 1) draws at first. `predict` relaxes hidden and output nodes with
    the input clamped, `learn` relaxes towards the target. A rule that only learns is that of the published path
    lengths.

    steps: sweeps of each relaxation. inference: how activities move, see `Inference`. input_activation: whether f is
    applied to the input too, as published; without it, the net's own forward pass is the one that relaxes.

    Increments V += lr dV are divided by the number of samples, whatever the loss, which is only measured: of the net's
    forward pass, as `net.predict` makes it. What the rule itself predicts by relaxation is info["prediction"].
    """

    keeps_state: ClassVar[bool] = True
    exact_output: ClassVar[bool] = False
    excludes: ClassVar[str] = "credit.methods.settling.names.exclusive"
    held: ClassVar[tuple[str, ...]] = ("x",)  # the activities that it has of every layer

    steps: Annotated[int, "> 0"] = 64
    inference: Inference = Inference()
    actions: tuple[Literal["reset", "predict", "learn"], ...] = ("reset", "predict", "learn")
    input_activation: bool = True

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """Nothing yet: activities are as many as the first mini-batch has samples. Then {"x": {layer: (M, B, n)}}."""
        return {}

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """-dV. info: nodes [x_0, .., x_L] after each action, {"predict": .., "learn": ..}, as "nodes"; "prediction"."""
        self.check_net(net)
        run = forward(net, params, batch, rand)
        chain, x0 = Chain.of(net, params, self.input_activation), inputs(net, params, run.trace)
        if "reset" in self.actions:
            activities = cleared(net, x0, self.held)
        else:
            activities = found(net, params, state, x0, rand, self.held)
        target = Target(net.loss.targets(batch.y, net.n_out, run.error.dtype), batch.weights)
        info, increments, nodes = run.info, [], {}
        if "predict" in self.actions:
            increments.append(self.predict(chain, activities))
            nodes["predict"] = list(activities["x"])
            info["prediction"] = activities["x"][-1]
        increments.append(self.learn(chain, activities, target, info))
        nodes["learn"] = list(activities["x"])
        divisor = batch.divisor if net.loss.summed and batch.divisor else x0.shape[-2]  # others: see `redivided`
        info |= {name: list(values) for name, values in activities.items()} | {"nodes": nodes}
        return Step(_descent(increments, divisor), info, {} if "reset" in self.actions else kept(activities))

    def predict(self, chain: Chain, activities: Activities) -> Params | None:
        """Relax hidden and output nodes in place; increments that this adds to those of `learn`, if any."""
        self.relax(chain, activities["x"], chain.top)
        return None

    def learn(self, chain: Chain, activities: Activities, target: Target, info: dict[str, Any]) -> Params:
        """Relax towards the target in place; the increments, summed over the batch. May add to info."""
        raise NotImplementedError

    def relax(self, chain: Chain, x: list[Tensor], top: int, target: Target | None = None) -> None:
        """Sweeps over layers 1 .. top of nodes x_l (M, B, n_l), in place.

        Ascending: each sees the layer below as it is by then. target: clamped again after each move of the output.
        """
        for _ in range(self.steps):
            for i in range(1, top + 1):
                moved = x[i] + scaled(self.drive(chain, x, i), self.inference.lr)
                x[i] = target.clamp(moved) if target is not None and i == chain.top else moved

    def drive(self, chain: Chain, x: list[Tensor], i: int) -> Tensor:
        """dx_l/dt, (M, B, n_l)."""
        raise NotImplementedError

    def clamp(self, chain: Chain, x: list[Tensor], target: Target) -> int:
        """Set the output nodes, (M, B, n_L), to the target, in place; up to which layer nodes are left to move."""
        x[-1] = target.clamp(x[-1])
        return chain.top - (target.weights is None)


def _descent(increments: list[Params | None], divisor: int) -> Params:
    """Minus the sum of increments, divided."""
    given = [one for one in increments if one is not None]
    return {i: {n: sum(one[i][n] for one in given) / -divisor for n in block} for i, block in given[0].items()}
