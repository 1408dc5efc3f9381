"""Online learning of a classifier with one hidden layer, compiled for the CPU: sample after sample of a chunk.

The first layer is left to `credit.methods.online.chunks`, which gives its resting pre-activations and the mixing of the
deltas; here is everything else that happens to a sample. The delta of the output reaches the hidden layer as F s: F is
the feedback B or W^T, and s solves a system as large as the output, whose matrix W F is carried from update to update.
Sums are added in a fixed order, so that results do not depend on the CPU's vector width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from credit.nets.activations import Linear, Tanh
from credit.nets.base import Batch, Net
from credit.nets.losses import SoftmaxCrossEntropy
from credit.numerics.compiled import compiled
from credit.numerics.trees import Params

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
    if batch.y.numel() == 0 or batch.y.min() < 0 or batch.y.max() >= net.n_out:
        return False  # tensor operations refuse what the loop would not notice
    weight, bias = params["1"]["weight"], params["1"].get("bias")
    plain = isinstance(net.block(0).phi, (Tanh, Linear)) and isinstance(net.block(1).phi, Linear)
    whole = weight.shape[-2] <= weight.shape[-1] and weight.is_contiguous() and (bias is None or bias.is_contiguous())
    return plain and whole and weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)


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
        self.numbers = torch.stack([p.reshape(-1).expand(members) for p in pairs], 1).to(self.weight.dtype).numpy()
        self.bias = bias.numpy()
        back = self.weight if carry.feedback is None else carry.feedback.mT.reshape(self.weight.shape)
        self.back = back.contiguous().numpy()
        self.labels = labels.expand(members, count).contiguous().numpy()
        self.losses = torch.empty(count, members, dtype=self.weight.dtype)
        self.arrays = [t.contiguous().numpy() for t in (resting, mixing)] + [first.numpy()]

    def run(self, start: int) -> int:
        """Do the samples from `start`; returns the first that is not done, its system being close to singular."""
        back = self.weight.mT if self.carry.feedback is None else torch.from_numpy(self.back).mT
        gram = (self.weight @ back).contiguous()
        leaks = np.broadcast_to(np.asarray(self.carry.leak, self.numbers.dtype), (len(gram),))
        return _loop(
            start, *self.arrays, self.weight.numpy(), self.bias, self.back, gram.numpy(), self.numbers,
            np.ascontiguousarray(leaks), self.labels, self.losses.numpy(), self.tanh, self.carry.solve,
            self.carry.feedback is None, torch.finfo(self.weight.dtype).eps,
        )  # fmt: skip

    def loss(self) -> Tensor:
        """Losses of the samples done, (K, M) or (K,)."""
        return self.losses if self.stacked else self.losses[:, 0]


@compiled
def _dot(a, b):
    """a . b in eight lanes."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = a[0] * 0
    whole = a.shape[0] - a.shape[0] % 8
    for j in range(0, whole, 8):
        s0 += a[j] * b[j]
        s1 += a[j + 1] * b[j + 1]
        s2 += a[j + 2] * b[j + 2]
        s3 += a[j + 3] * b[j + 3]
        s4 += a[j + 4] * b[j + 4]
        s5 += a[j + 5] * b[j + 5]
        s6 += a[j + 6] * b[j + 6]
        s7 += a[j + 7] * b[j + 7]
    for j in range(whole, a.shape[0]):
        s0 += a[j] * b[j]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@compiled
def _add_rows(out, factors, rows, count):
    """out += sum of factors[l] rows[l], l < count; four rows at a time."""
    whole = count - count % 4
    for k in range(0, whole, 4):
        a, b, c, d = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        w, x, y, z = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        for j in range(out.shape[0]):
            out[j] += (a * w[j] + b * x[j]) + (c * y[j] + d * z[j])
    for k in range(whole, count):
        a, w = factors[k], rows[k]
        for j in range(out.shape[0]):
            out[j] += a * w[j]


@compiled
def _factorise(matrix, order, eps):
    """LU with row exchanges in place; whether no pivot is rounding."""
    n = matrix.shape[0]
    smallest, largest = abs(matrix[0, 0]), abs(matrix[0, 0]) * 0
    for k in range(n):
        best = k
        for r in range(k + 1, n):
            if abs(matrix[r, k]) > abs(matrix[best, k]):
                best = r
        order[k] = best
        for c in range(n):
            matrix[k, c], matrix[best, c] = matrix[best, c], matrix[k, c]
        pivot = matrix[k, k]
        smallest = abs(pivot) if k == 0 else min(smallest, abs(pivot))
        largest = max(largest, abs(pivot))
        for r in range(k + 1, n):
            matrix[r, k] /= pivot
            for c in range(k + 1, n):
                matrix[r, c] -= matrix[r, k] * matrix[k, c]
    return smallest > eps * largest


@compiled
def _substitute(matrix, order, x):
    """x = matrix^-1 x from `_factorise`."""
    n = matrix.shape[0]
    for k in range(n):
        x[k], x[order[k]] = x[order[k]], x[k]
    for k in range(n):
        for c in range(k):
            x[k] -= matrix[k, c] * x[c]
    for k in range(n - 1, -1, -1):
        for c in range(k + 1, n):
            x[k] -= matrix[k, c] * x[c]
        x[k] /= matrix[k, k]


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
        sound = _factorise(matrix, order, n * eps)
        _substitute(matrix, order, s)
        return sound
    # pivots of LU are those of Cholesky squared
    sound = _factorise(matrix, order, eps ** (2 / 3))
    _substitute(matrix, order, s)
    hidden[:] = 0
    _add_rows(hidden, s, back, n)
    for k in range(n):
        work[k] = delta[k] - _dot(weight[k], hidden)
    _substitute(matrix, order, work)
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
def _loop(
    start,
    resting,
    mixing,
    first,
    weight,
    bias,
    back,
    grams,
    numbers,
    leaks,
    labels,
    losses,
    tanh,
    solve,
    transposed,
    eps,
):  # fmt: skip
    """See `Chunk`. numbers: keep and rate of the weight, keep and rate of the bias, (M, 4)."""
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
            _add_rows(h, mixing[m, i], first[m], i)
            if tanh:
                for j in range(n):
                    h[j] = np.tanh(h[j])
                    slopes[m, j] = 1 - h[j] * h[j]
            else:
                slopes[m] = 1
            top = -np.inf
            for k in range(n_out):
                output[k] = _dot(weight[m, k], h)
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
                solve, delta, weight[m], weight[m] if transposed else back[m], grams[m], leaks[m], eps, matrix, order,
                s[m], work, spare,
            )  # fmt: skip
        if not sound:
            return i
        for m in range(members):
            h, delta, below = acts[m], deltas[m], first[m, i]
            below[:] = 0
            _add_rows(below, s[m], weight[m] if transposed else back[m], n_out)
            for j in range(n):
                below[j] *= slopes[m, j]
            keep, rate = numbers[m, 0], numbers[m, 1]
            if solve > 0:
                if not transposed:
                    for k in range(n_out):
                        outputs[m, k] = _dot(back[m, k], h)
                _carry_gram(grams[m], delta, outputs[m], _dot(h, h), keep, rate, transposed)
            for k in range(n_out):
                row, scale = weight[m, k], rate * delta[k]
                for j in range(n):
                    row[j] = keep * row[j] - scale * h[j]
            for k in range(bias.shape[1]):
                bias[m, k] = numbers[m, 2] * bias[m, k] - numbers[m, 3] * delta[k]
    return count
