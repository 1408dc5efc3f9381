"""Online learning of a classifier with one hidden layer, compiled for the CPU: sample after sample of a chunk.

The first layer is left to `credit.methods.online.chunks`, which gives its resting pre-activations and the mixing of the
deltas; here is everything else that happens to a sample. The delta of the output reaches the hidden layer as F s: F is
the feedback B or W^T, and s solves a system as large as the output, whose matrix W F is carried from update to update.
Sums are added in a fixed order, so that results do not depend on the CPU's vector width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit.nets.activations import Linear, Tanh
from credit.nets.base import Batch, Net
from credit.nets.losses import SoftmaxCrossEntropy
from credit.numerics.compiled import compiled
from credit.numerics.trees import Params
from credit.numerics.vectors import add_rows, dot, factorise, substitute

PLAIN, FIXED_POINT, PSEUDO = range(3)


@dataclass(frozen=True)
class Carry:
    """How a learning rule carries a delta down to the hidden layer.

    feedback: B (M, n_low, n_up); None for W^T. solve: s is the delta (PLAIN), (W B - leak I)^-1 delta (FIXED_POINT), or
    (W W^T)^-1 delta with one step of refinement (PSEUDO).
    """

    feedback: Tensor | None = None
    solve: int = PLAIN
    leak: float | Sequence[float] = 0.0


def possible(net: Net, params: Params, batch: Batch) -> bool:
    """Whether the loop is made for it: a dense classifier on the CPU, its output no wider than its hidden layer."""
    if len(net) != 2 or not isinstance(net.loss, SoftmaxCrossEntropy) or batch.y.dtype != torch.int64:
        return False
    weight, bias = params["1"]["weight"], params["1"].get("bias")
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.float64):
        return False  # before anything that a device would have to be asked for
    if batch.y.numel() == 0 or batch.y.min() < 0 or batch.y.max() >= net.n_out:
        return False  # tensor operations refuse what the loop would not notice
    plain = isinstance(net.block(0).phi, (Tanh, Linear)) and isinstance(net.block(1).phi, Linear)
    whole = weight.shape[-2] <= weight.shape[-1] and weight.is_contiguous() and (bias is None or bias.is_contiguous())
    return plain and whole


class Samples(NamedTuple):
    """Of a chunk, see `Chunk`; losses (K, M)."""

    resting: np.ndarray
    mixing: np.ndarray
    first: np.ndarray
    labels: np.ndarray
    losses: np.ndarray


class Layer(NamedTuple):
    """The second layer. weight (M, n_out, n); bias (M, n_out), or without columns. back: F^T, (M, n_out, n), the memory
    of the weight itself where it is `transposed`. numbers: keep and rate of the weight, keep and rate of the bias,
    (M, 4); leaks (M,)."""

    weight: np.ndarray
    bias: np.ndarray
    back: np.ndarray
    numbers: np.ndarray
    leaks: np.ndarray
    transposed: bool


class Chunk:
    """A chunk of samples and the second layer of a stack; with the stack axis or without.

    resting, first (M, K, n), mixing (M, K, K): see `online.chunks.online`; first is filled with the deltas of
    the hidden layer. factors: {name: (keep, rate)} of the second layer, M numbers each. labels (M, K) or (K,).
    """

    def __init__(self, net: Net, layer: dict[str, Tensor], carry: Carry, factors, resting, mixing, first, labels):
        self.stacked, self.carry = resting.ndim > 2, carry
        self.weight, resting, mixing, first = (
            t if self.stacked else t.unsqueeze(0) for t in (layer["weight"], resting, mixing, first)
        )
        self.tanh = isinstance(net.block(0).phi, Tanh)
        members, count = resting.shape[:2]
        bias = layer.get("bias")
        bias = self.weight.new_empty(members, 0) if bias is None else bias.reshape(members, -1)
        pairs = [*factors["weight"], *factors.get("bias", factors["weight"])]
        numbers = torch.stack([p.reshape(-1).expand(members) for p in pairs], 1).to(self.weight.dtype).numpy()
        back = self.weight if carry.feedback is None else carry.feedback.mT.reshape(self.weight.shape).contiguous()
        leaks = np.ascontiguousarray(np.broadcast_to(np.asarray(carry.leak, numbers.dtype), (members,)))
        self.layer = Layer(self.weight.numpy(), bias.numpy(), back.numpy(), numbers, leaks, carry.feedback is None)
        self.losses = torch.empty(count, members, dtype=self.weight.dtype)
        labels = labels.expand(members, count).contiguous()
        tensors = (resting.contiguous(), mixing.contiguous(), first, labels, self.losses)
        self.samples = Samples(*(t.numpy() for t in tensors))

    def run(self, start: int) -> int:
        """Do the samples from `start`; returns the first that is not done, its system being close to singular."""
        gram = (self.weight @ torch.from_numpy(self.layer.back).mT).contiguous().numpy()
        eps = torch.finfo(self.weight.dtype).eps
        return _loop(start, self.samples, self.layer, gram, self.tanh, self.carry.solve, eps)

    def loss(self) -> Tensor:
        """Losses of the samples done, (K, M) or (K,)."""
        return self.losses if self.stacked else self.losses[:, 0]


@compiled
def _carried(solve, delta, weight, back, gram, leak, eps, matrix, order, s, work, hidden):
    """s from the delta of the output; whether the system is sound."""
    s[:] = delta
    if solve == 0:
        return True
    n = delta.shape[0]
    matrix[:] = gram
    if solve == 1:
        for k in range(n):
            matrix[k, k] -= leak
        sound = factorise(matrix, order, n * eps)
        substitute(matrix, order, s)
        return sound
    # pivots of LU are those of Cholesky squared
    sound = factorise(matrix, order, eps ** (2 / 3))
    substitute(matrix, order, s)
    hidden[:] = 0
    add_rows(hidden, s, back, n)
    for k in range(n):
        work[k] = delta[k] - dot(weight[k], hidden)
    substitute(matrix, order, work)
    for k in range(n):
        s[k] += work[k]
    return sound


@compiled
def _carry_gram(gram, delta, seen, square, keep, rate, symmetric):
    """W F after W <- keep W - rate delta h^T. seen: F^T h, for F = W^T before the update; square: |h|^2."""
    n = delta.shape[0]
    for a in range(n):
        for b in range(n):
            if symmetric:
                cross = delta[a] * seen[b] + seen[a] * delta[b]
                change = rate * square * delta[a] * delta[b] - keep * cross
                gram[a, b] = keep * keep * gram[a, b] + rate * change
            else:
                gram[a, b] = keep * gram[a, b] - rate * delta[a] * seen[b]


@compiled
def _loop(start, samples, layer, grams, tanh, solve, eps):
    """See `Chunk`. grams: W F, (M, n_out, n_out)."""
    resting, mixing, first, labels, losses = samples
    weight, bias, back, numbers, leaks, transposed = layer
    members, count, n = resting.shape
    n_out = weight.shape[1]
    acts, slopes, spare = np.empty((members, n), first.dtype), np.empty((members, n), first.dtype), first[0, 0].copy()
    deltas, outputs = np.empty((members, n_out), first.dtype), np.empty((members, n_out), first.dtype)
    s, work = np.empty_like(deltas), np.empty_like(deltas[0])
    matrix, order = np.empty((n_out, n_out), first.dtype), np.empty(n_out, np.int64)
    for i in range(start, count):
        sound = True
        for m in range(members):
            h, delta, output = acts[m], deltas[m], outputs[m]
            h[:] = resting[m, i]
            add_rows(h, mixing[m, i], first[m], i)
            if tanh:
                for j in range(n):
                    h[j] = np.tanh(h[j])
                    slopes[m, j] = 1 - h[j] * h[j]
            else:
                slopes[m] = 1
            top = -np.inf
            for k in range(n_out):
                output[k] = dot(weight[m, k], h)
                delta[k] = output[k] + bias[m, k] if bias.shape[1] else output[k]
                top = max(top, delta[k])
            total = top * 0
            for k in range(n_out):
                total += np.exp(delta[k] - top)
            shift = top + np.log(total)
            losses[i, m] = shift - delta[labels[m, i]]
            for k in range(n_out):
                delta[k] = np.exp(delta[k] - shift)
            delta[labels[m, i]] -= 1
            sound &= _carried(
                solve, delta, weight[m], back[m], grams[m], leaks[m], eps, matrix, order, s[m], work, spare
            )
        if not sound:
            return i
        for m in range(members):
            h, delta, below = acts[m], deltas[m], first[m, i]
            below[:] = 0
            add_rows(below, s[m], back[m], n_out)
            for j in range(n):
                below[j] *= slopes[m, j]
            keep, rate = numbers[m, 0], numbers[m, 1]
            if solve > 0:
                if not transposed:
                    for k in range(n_out):
                        outputs[m, k] = dot(back[m, k], h)
                _carry_gram(grams[m], delta, outputs[m], dot(h, h), keep, rate, transposed)
            for k in range(n_out):
                row, scale = weight[m, k], rate * delta[k]
                for j in range(n):
                    row[j] = keep * row[j] - scale * h[j]
            for k in range(bias.shape[1]):
                bias[m, k] = numbers[m, 2] * bias[m, k] - numbers[m, 3] * delta[k]
    return count
