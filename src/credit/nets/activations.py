"""Activation functions with their derivatives, element by element (but for softmax) on tensors of any shape.

`derivative` and `backward` get both the pre-activation `a` and `value(a)`, and use whichever is cheaper. They
avoid comparisons: selecting by a boolean mask costs ten times an arithmetic kernel on the CPU.
Derivatives at 0 follow torch's autograd (0 for relu, the slope for leaky relu); `relu_closed` has 1 there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from credit.errors import ConfigError, one_of
from credit.nets.lazy import compiled_loops
from credit.numerics.memory import in_memory


class Activation:
    """h = phi(a)."""

    def value(self, a: Tensor) -> Tensor:
        """phi(a), of any shape."""
        raise NotImplementedError

    def masked(self, a: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """phi(a), of any shape, and phi(a) times a mask of the same shape, or itself without one."""
        value = self.value(a)
        return value, value if mask is None else value * mask

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        """phi'(a), a new tensor. value: phi(a); any shape, the same for all."""
        raise NotImplementedError

    def backward(self, grad: Tensor, a: Tensor, value: Tensor) -> Tensor:
        """grad * phi'(a), a new tensor. value: phi(a); any shape, the same for all."""
        return self.derivative(a, value).mul_(grad)


class Linear(Activation):
    """phi(a) = a. `value` and `backward` return their argument itself."""

    def value(self, a: Tensor) -> Tensor:
        return a

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return torch.ones_like(a)

    def backward(self, grad: Tensor, a: Tensor, value: Tensor) -> Tensor:
        return grad


class Tanh(Activation):
    """phi' = 1 - phi²."""

    def value(self, a: Tensor) -> Tensor:
        return torch.tanh(a)

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return torch.rsub(value * value, 1)

    def backward(self, grad: Tensor, a: Tensor, value: Tensor) -> Tensor:
        return torch.addcmul(grad, grad * value, value, value=-1)


class Sigmoid(Activation):
    """phi' = phi (1 - phi)."""

    def value(self, a: Tensor) -> Tensor:
        return torch.sigmoid(a)

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return torch.addcmul(value, value, value, value=-1)


class ReLU(Activation):
    """max(a, 0); phi'(0) = 0."""

    def value(self, a: Tensor) -> Tensor:
        return torch.relu(a)

    def masked(self, a: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if mask is None or mask.shape != a.shape or not in_memory(a, mask):
            return super().masked(a, mask)
        value, out = torch.empty(a.shape, dtype=a.dtype), torch.empty(a.shape, dtype=a.dtype)
        compiled_loops().relu_masked(*(t.view(-1).numpy() for t in (a, mask, value, out)))
        return value, out

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return value.sign()


class ClosedReLU(ReLU):
    """max(a, 0) with phi'(0) = 1, the convention of DFC's official code."""

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return a.sign().add_(1).clamp_(max=1)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """a for a > 0, slope * a otherwise; 0 < slope < 1, phi'(0) = slope."""

    slope: float

    def value(self, a: Tensor) -> Tensor:
        return torch.nn.functional.leaky_relu(a, self.slope)

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return a.sign().clamp_(min=self.slope)


class ELU(Activation):
    """a for a > 0, exp(a) - 1 otherwise; phi' = phi + 1 there."""

    def value(self, a: Tensor) -> Tensor:
        return torch.nn.functional.elu(a)

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return value.clamp(max=0).add_(1)


class ScaledTanh(Activation):
    """1.7159 tanh(0.6666 a), with the constants of PEPITA's code."""

    height, slope = 1.7159, 0.6666

    def value(self, a: Tensor) -> Tensor:
        return torch.tanh(self.slope * a).mul_(self.height)

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return torch.rsub((value / self.height).square_(), 1).mul_(self.height * self.slope)


class Step(Activation):
    """1 for a > 0, 0 otherwise; phi' is taken to be 1 - tanh²(a), as in PEPITA's code."""

    def value(self, a: Tensor) -> Tensor:
        return torch.sign(a).clamp_(min=0)

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        return torch.rsub(torch.tanh(a).square_(), 1)


class Softmax(Activation):
    """exp(a) / sum exp(a) over the last axis, for outputs; cross-entropy on top of it takes it for logits once more.

    That is how the convolutional nets of PEPITA's code are trained by backpropagation. It mixes units, so it has no
    derivative element by element.
    """

    def value(self, a: Tensor) -> Tensor:
        return torch.softmax(a, -1)

    def derivative(self, a: Tensor, value: Tensor) -> Tensor:
        raise ValueError("softmax has no derivative element by element: the method needs another output activation")

    def backward(self, grad: Tensor, a: Tensor, value: Tensor) -> Tensor:
        return (grad - (grad * value).sum(-1, keepdim=True)).mul_(value)


_BY_NAME: dict[str, Activation] = {
    "elu": ELU(),
    "leakyrelu": LeakyReLU(0.2),  # DFC
    "leakyrelu_0.1": LeakyReLU(0.1),  # PEPITA
    "leakyrelu_0.01": LeakyReLU(0.01),  # predictive coding, torch's default
    "linear": Linear(),
    "relu": ReLU(),
    "relu_closed": ClosedReLU(),
    "scaled_tanh": ScaledTanh(),  # PEPITA
    "sigmoid": Sigmoid(),
    "softmax": Softmax(),
    "step": Step(),  # PEPITA
    "tanh": Tanh(),
}


def get(name: str) -> Activation:
    """The activation `name`. Raises ConfigError for a name that does not exist."""
    if name not in _BY_NAME:
        raise ConfigError(one_of("activation", name, _BY_NAME))
    return _BY_NAME[name]


def difference(phi: Activation, pre: Tensor, value: Tensor, shift: Tensor) -> Tensor:
    """phi(pre + shift) - phi(pre) without cancellation; value: phi(pre); any shape, the same for all.

    tanh a - tanh b = tanh(a - b) (1 - tanh a tanh b); a sigmoid is a tanh; the others are piecewise linear.
    """
    if isinstance(phi, Linear):
        return shift
    if isinstance(phi, Tanh):
        return torch.tanh(shift) * (1 - value * torch.tanh(pre + shift))
    if isinstance(phi, Sigmoid):
        return 0.5 * torch.tanh(0.5 * shift) * (1 - (2 * value - 1) * torch.tanh(0.5 * (pre + shift)))
    if isinstance(phi, ReLU):
        return torch.maximum(shift + pre.clamp(max=0), -pre.clamp(min=0))
    if isinstance(phi, LeakyReLU):
        rectified = torch.maximum(shift + pre.clamp(max=0), -pre.clamp(min=0))
        return phi.slope * shift + (1 - phi.slope) * rectified
    return phi.value(pre + shift) - value
