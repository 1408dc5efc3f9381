"""Small loops for the CPU, where a few torch operations cost more in calls than in arithmetic."""

from __future__ import annotations

import numpy as np

from credit.numerics.compiled import compiled


@compiled
def softmax_cross_entropy(output, target, value, gradient):
    """Mean over the batch of -log softmax(output)[target], and its gradient; False for a class that does not exist.

    output, gradient: (M, B, n); target: (M, B), classes; value: (M,).
    """
    members, samples, units = output.shape
    one = output.dtype.type(1)
    share = one / output.dtype.type(samples)
    for m in range(members):
        total = one - one
        for b in range(samples):
            k = target[m, b]
            if k < 0 or k >= units:
                return False
            top = output[m, b, 0]
            for j in range(units):
                top = max(top, output[m, b, j])
            norm = one - one
            for j in range(units):
                e = np.exp(output[m, b, j] - top)
                gradient[m, b, j] = e
                norm += e
            total += np.log(norm) - (output[m, b, k] - top)
            for j in range(units):
                p = gradient[m, b, j] / norm
                gradient[m, b, j] = (p - one if j == k else p) * share
        value[m] = total * share
    return True


@compiled
def relu_masked(pre, mask, act, out):
    """act = max(pre, 0) and out = act mask; all of one length."""
    zero = pre.dtype.type(0)
    for k in range(pre.shape[0]):
        value = pre[k]
        value = zero if value < zero else value  # what is not a number stays visible
        act[k] = value
        out[k] = value * mask[k]


@compiled
def relu_pooled(pre, act, out, size):
    """act = max(pre, 0), (N, H, W), and the largest of every window of size x size in out; windows lie side by side."""
    zero = pre.dtype.type(0)
    for n in range(pre.shape[0]):
        for r in range(pre.shape[1]):
            for c in range(pre.shape[2]):
                value = pre[n, r, c]
                act[n, r, c] = zero if value < zero else value
        for i in range(out.shape[1]):
            for a in range(size):
                for b in range(size):
                    for j in range(out.shape[2]):
                        value = act[n, i * size + a, j * size + b]
                        best = out[n, i, j]
                        # What is not a number wins.
                        out[n, i, j] = value if a + b == 0 or value > best or value != value else best
