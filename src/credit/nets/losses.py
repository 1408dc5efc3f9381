"""Losses of the output and their gradients, per member of a stack.

    =====================  ==============================  ===============================
    name                   L                               dL/dr
    =====================  ==============================  ===============================
    softmax_cross_entropy  mean_b of -log softmax(r)_y     (softmax(r) - onehot(y)) / B
    mse                    mean over batch and units       2 (r - y) / (B n)
    half_squared_error     mean_b of ½ sum over units      (r - y) / B
    squared_error_sum      ½ sum over batch and units      r - y
    =====================  ==============================  ===============================

Shapes: output r (M, B, n) or (B, n). Targets: classes as int64 (M, B), or values like the output; a target
without the stack axis is shared by all members. The squared errors take classes too and compare with the
one-hot vector. `weights` (M, B, n), optional, multiplies the loss of every unit (cross-entropy: of the unit y).
Values have shape (M,), or () without the stack axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from credit.nets.lazy import compiled_loops
from credit.nets.names import loss
from credit.numerics.memory import in_memory

SMALL = 4096  # logits of a network, up to which a compiled loop is faster than torch operations


@runtime_checkable
class Loss(Protocol):
    """One loss; see the table of the module. summed: over the batch, where others take the mean."""

    summed: bool = False

    def value(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """Loss of every member, (M,)."""
        return self.value_and_gradient(output, target, weights)[0]

    def gradient(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """dL/doutput, (M, B, n), a new tensor."""
        return self.value_and_gradient(output, target, weights)[1]

    def value_and_gradient(
        self, output: Tensor, target: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Both at once, (M,) and (M, B, n), sharing work."""
        raise NotImplementedError

    def targets(self, target: Tensor, n_out: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Dense targets, (M, B, n_out): one-hot vectors for classes, otherwise the target itself."""
        if not is_classes(target):
            return target.to(dtype)
        dense = torch.zeros((*target.shape, n_out), dtype=dtype, device=target.device)
        return dense.scatter_(-1, target.unsqueeze(-1), 1.0)

    def error_count(self, output: Tensor, target: Tensor, ties_wrong: bool = False) -> Tensor | None:
        """Wrongly classified samples of every member, int64 (M,); None when targets are no classes.

        The first of the largest outputs is the answer, NaN being the largest. ties_wrong: an answer must be larger than
        all other outputs, and the outputs of a sample without NaN.
        """
        return wrong(output, target, ties_wrong).sum(-1) if is_classes(target) else None

    def top_error_count(self, output: Tensor, target: Tensor, k: int, ties_wrong: bool = False) -> Tensor | None:
        """Samples of every member whose class is not among the `k` largest outputs, int64 (M,); None without classes.

        Of equal outputs the first counts as the largest one, with ties_wrong that of the class as the smallest. Outputs
        with NaN are wrong.
        """
        if not is_classes(target):
            return None
        index = target.unsqueeze(-1)
        own = output.gather(-1, index.expand(*output.shape[:-1], 1))
        before = torch.arange(output.shape[-1], device=output.device) < index
        ahead = (output > own) | ((output == own) & (before if not ties_wrong else True))
        wrong = ahead.sum(-1) - int(ties_wrong) >= k
        return (wrong | output.isnan().any(-1)).sum(-1)


class SoftmaxCrossEntropy(Loss):
    """Mean over the batch of -log softmax(output)[class]; the output holds logits."""

    def gradient(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        if _possible(output, target, weights) and _pays(output):
            return _in_a_loop(output, target)[1]
        return self._gradient(_log_softmax(output).exp_(), self._index(output, target), weights)

    def value(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        return self._value(_log_softmax(output), self._index(output, target), weights)

    def value_and_gradient(
        self, output: Tensor, target: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if _possible(output, target, weights) and _pays(output):
            return _in_a_loop(output, target)
        index = self._index(output, target)
        log_p = _log_softmax(output)
        value = self._value(log_p, index, weights)
        return value, self._gradient(log_p.exp_(), index, weights)

    @staticmethod
    def _index(output: Tensor, target: Tensor) -> Tensor:
        """Classes as an index along the last axis, (M, B, 1)."""
        if not is_classes(target):
            raise ValueError(
                f"softmax_cross_entropy takes classes as int64 (M, B); target is {target.dtype} {tuple(target.shape)}"
            )
        if target.shape[-1] != output.shape[-2]:
            raise ValueError(f"targets of shape {tuple(target.shape)} do not fit outputs of {tuple(output.shape)}")
        return target.expand(output.shape[:-1]).unsqueeze(-1)

    @staticmethod
    def _value(log_p: Tensor, index: Tensor, weights: Tensor | None) -> Tensor:
        picked = log_p.gather(-1, index)
        if weights is not None:
            picked = picked * weights.expand_as(log_p).gather(-1, index)
        return picked.squeeze(-1).mean(-1).neg()

    @staticmethod
    def _gradient(p: Tensor, index: Tensor, weights: Tensor | None) -> Tensor:
        """p: softmax (M, B, n), overwritten."""
        p.scatter_add_(-1, index, p.new_full((), -1.0).expand(index.shape))
        if weights is not None:
            p.mul_(weights.expand_as(p).gather(-1, index))
        return p.div_(p.shape[-2])


@dataclass(frozen=True)
class SquaredError(Loss):
    """scale(B, n) times the sum over batch and units of (output - target)²."""

    scale: Callable[[int, int], float]
    summed: bool = False

    def gradient(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        gradient, scale = self._difference(output, target)
        if weights is not None:
            gradient.mul_(weights)
        return gradient if scale == 0.5 else gradient.mul_(2 * scale)

    def value(self, output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        difference, scale = self._difference(output, target)
        squares = difference.square_() if weights is None else difference.square_().mul_(weights)
        return squares.sum((-2, -1)).mul_(scale)

    def value_and_gradient(
        self, output: Tensor, target: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        difference, scale = self._difference(output, target)
        weighted = difference if weights is None else difference * weights
        return (weighted * difference).sum((-2, -1)).mul_(scale), weighted * (2 * scale)

    def _difference(self, output: Tensor, target: Tensor) -> tuple[Tensor, float]:
        batch, n = output.shape[-2:]
        dense = self.targets(target, n, output.dtype)
        if dense.shape[-2:] != output.shape[-2:]:
            raise ValueError(
                f"target has shape {tuple(target.shape)}; the output {tuple(output.shape)} needs the same trailing axes"
            )
        return output - dense, self.scale(batch, n)


_BY_NAME: dict[str, Loss] = {
    "half_squared_error": SquaredError(lambda batch, n: 0.5 / batch),
    "mse": SquaredError(lambda batch, n: 1.0 / (batch * n)),
    "softmax_cross_entropy": SoftmaxCrossEntropy(),
    "squared_error_sum": SquaredError(lambda batch, n: 0.5, summed=True),
}


def _log_softmax(output: Tensor) -> Tensor:
    """Over the last axis, through a strided one, along which torch's kernel is several times as fast."""
    return torch.log_softmax(output.mT, -2).mT if output.ndim > 1 else torch.log_softmax(output, -1)


def _pays(output: Tensor) -> bool:
    """Whether the compiled loop is the faster one; not a matter of the stack: bits do not depend on who shares it."""
    return output.shape[-2] * output.shape[-1] <= SMALL


def _possible(output: Tensor, target: Tensor, weights: Tensor | None) -> bool:
    """Whether the compiled loop takes these logits and targets."""
    return (
        weights is None
        and output.ndim in (2, 3)
        and output.numel() > 0
        and target.dtype == torch.int64
        and target.ndim < output.ndim
        and target.shape[-1] == output.shape[-2]
        and in_memory(output)
    )


def _in_a_loop(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(value, gradient) of the softmax cross-entropy; target (M, B), or (B,) for all members."""
    if output.ndim == 2:
        value, gradient = _in_a_loop(output.unsqueeze(0), target)
        return value[0], gradient[0]
    target = target if target.shape == output.shape[:-1] else target.expand(output.shape[:-1])
    value, gradient = output.new_empty(len(output)), output.new_empty(output.shape)
    arrays = (output, target.contiguous(), value, gradient)
    if not compiled_loops().softmax_cross_entropy(*(t.numpy() for t in arrays)):
        raise ValueError(f"targets hold a class out of bounds; must be 0 to {output.shape[-1] - 1}")
    return value, gradient


def is_classes(target: Tensor) -> bool:
    """Whether targets are class indices, (M, B), rather than values, (M, B, n)."""
    return not target.is_floating_point()


def wrong(output: Tensor, target: Tensor, ties_wrong: bool = False) -> Tensor:
    """Which samples are classified wrongly, bool (M, B); target: classes (M, B). See `Loss.error_count`."""
    right = output.argmax(-1) == target
    if ties_wrong:
        right &= (output == output.amax(-1, keepdim=True)).sum(-1) == 1  # none equals NaN
    return ~right


def get(name: str) -> Loss:
    """The loss `name`. Raises ConfigError for a name that does not exist."""
    return _BY_NAME[loss(name, "loss")]
