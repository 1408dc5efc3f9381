"""DDTP-RHL: direct feedback through one random hidden layer that all layers share (Meulemans et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from credit.methods.base import State
from credit.methods.reconstruction.direct import Direct
from credit.methods.reconstruction.settings import Feedback
from credit.nets.base import Net
from credit.nets.dense import affine
from credit.nets.init import init
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class DDTPRandomHiddenLayer(Direct):
    """g_l(o) = phi(Q_l tanh(R o + r) + d_l) with fixed random R, r; the last hidden layer's is phi(Q o + d).

    units: of the random layer. Defaults: published for MNIST.
    """

    target_stepsize: Annotated[float, "> 0"] = 0.04351591164035645
    feedback: Feedback = Feedback(
        activation="tanh", sigma=0.041623297924346575, lr=3.024461368410027e-4, betas=(0.9, 0.999), eps=3.4026e-6,
        decay=1.621280241954684e-3,
    )  # fmt: skip
    units: Annotated[int, "> 0"] = 1024

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """As of `ddtp_linear`, and "hidden": {"weight": R (M, units, n_L), "bias": r (M, units)}, drawn as by torch."""
        rand, like, shape = net.rand(params, rand), net.like(params), (self.units, net.n_out)
        sizes = {"weight": shape, "bias": shape[:1]}
        hidden = {n: init("torch_default", s, rand, f"feedback.hidden.{n}", fan_from=shape) for n, s in sizes.items()}
        return super().init(net, params, rand) | {"hidden": {n: p.to(like) for n, p in hidden.items()}}

    def features(self, net: Net, layer: int) -> int:
        return self.units if layer < len(net) - 2 else net.n_out

    def seen(self, net: Net, state: State, layer: int, output: Tensor) -> Tensor:
        if layer == len(net) - 2:
            return output
        return torch.tanh(affine(output, state["hidden"]["weight"], state["hidden"]["bias"]))


part = DDTPRandomHiddenLayer
