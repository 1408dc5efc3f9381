"""Activations as modules of torch: which one a module is, and a module for each name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from credit.nets import activations

NAMED: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh"}
SLOPES = {0.2: "leakyrelu", 0.1: "leakyrelu_0.1", 0.01: "leakyrelu_0.01"}


class _Function(torch.autograd.Function):
    """phi with the derivative that `credit.nets.activations` gives it."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, phi: activations.Activation) -> Tensor:
        value = phi.value(a)
        ctx.phi = phi
        ctx.save_for_backward(a, value)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.phi.backward(grad, *ctx.saved_tensors), None


class Phi(nn.Module):
    """An activation that torch lacks, by its name in `credit.nets.activations`; any shape."""

    def __init__(self, name: str):
        super().__init__()
        self.name, self.phi = name, activations.get(name)

    def forward(self, a: Tensor) -> Tensor:
        """phi(a) of any shape, for softmax (..., n)."""
        return _Function.apply(a, self.phi)

    def extra_repr(self) -> str:
        return self.name


def activation_name(module: nn.Module) -> tuple[str | None, str]:
    """(name, "") of the activation that a module is; (None, why not) for an option that is not known, ("" : none)."""
    kind = type(module)
    if kind in NAMED:
        return NAMED[kind], ""
    if kind is Phi:
        return module.name, ""
    if kind is nn.ELU:
        return ("elu", "") if module.alpha == 1 else (None, f"has alpha = {module.alpha}; the nets know 1 alone")
    if kind is nn.LeakyReLU:
        slope = module.negative_slope
        known = ", ".join(map(str, SLOPES))
        return SLOPES.get(slope), "" if slope in SLOPES else f"has slope {slope}; the nets know {known}"
    if kind is nn.Softmax:
        return ("softmax", "") if module.dim in (-1, 1) else (None, f"has dim = {module.dim}; must be -1, over units")
    if kind is nn.LogSoftmax:
        return None, "is not known; leave it out, the loss softmax_cross_entropy has it"
    if isinstance(module, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
        return None, "is not known; the nets have max-pooling, MaxPool2d"
    return None, ""


def module_of(name: str) -> nn.Module:
    """A module for the activation `name`: torch's own where it has the same slope everywhere, else a `Phi`."""
    own = {short: kind for kind, short in NAMED.items()}
    slopes = {short: slope for slope, short in SLOPES.items()}
    if name in own:
        return own[name]()
    if name in slopes:
        return nn.LeakyReLU(slopes[name])
    if name in ("elu", "softmax"):
        return nn.ELU() if name == "elu" else nn.Softmax(-1)
    return Phi(name)
