"""The same updates for nets of a few units, compiled: members lie side by side, one instruction for several of them.

A call of BLAS, or the entry into a loop, takes longer than the products of such a net. Arrays are (numbers, lanes);
every lane keeps its own rate and energies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from credit.methods.energy.passes import LINEAR, SIGMOID, TANH
from credit.numerics.compiled import compiled
from credit.numerics.elementwise import sigmoid_of, tanh_of

LANES = 128
TINY = 256  # multiply-adds of a mini-batch's forward pass, up to which this is the faster form


class Given(NamedTuple):
    """inputs (B, n_0, lanes), targets and weights of their errors (B, n_L, lanes), of a mini-batch."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


class Nodes(NamedTuple):
    """Nodes, f of them and errors of all layers, (B, units, lanes) each."""

    x: np.ndarray
    h: np.ndarray
    eps: np.ndarray


class Weights(NamedTuple):
    """weights (N, lanes), all of W_1, ..., W_L, and biases (n, lanes), which learn where the net is biased."""

    weights: np.ndarray
    biases: np.ndarray
    biased: bool


class Rates(NamedTuple):
    """keep (M, 2 L) of the weights of all layers, then of their biases; rates of weights (M, N) and biases (M, n)."""

    keep: np.ndarray
    weights: np.ndarray
    biases: np.ndarray


class Layers(NamedTuple):
    """sizes (L + 1,), kinds and slopes (L + 1,), and the first unit and weight of each layer (L + 1,)."""

    sizes: np.ndarray
    kinds: np.ndarray
    slopes: np.ndarray
    unit: np.ndarray
    start: np.ndarray


@compiled
def activate(x, out, kind, slope):
    """out = f(x), (lanes,)."""
    if kind == LINEAR:
        for w in range(x.size):
            out[w] = x[w]
    elif kind == SIGMOID:
        for w in range(x.size):
            out[w] = sigmoid_of(x[w])
    elif kind == TANH:
        for w in range(x.size):
            out[w] = tanh_of(x[w])
    else:
        for w in range(x.size):
            out[w] = x[w] if x[w] > 0 else slope * x[w]


@compiled
def move(x, out, eps, up, rate, kind, slope):
    """x -= rate (eps - f'(x) up), then out = f(x), (lanes,); out holds f(x) before."""
    if kind == LINEAR:
        for w in range(x.size):
            x[w] -= rate[w] * (eps[w] - up[w])
    elif kind == SIGMOID:
        for w in range(x.size):
            x[w] -= rate[w] * (eps[w] - (out[w] - out[w] * out[w]) * up[w])
    elif kind == TANH:
        one = x.dtype.type(1)
        for w in range(x.size):
            x[w] -= rate[w] * (eps[w] - (one - out[w] * out[w]) * up[w])
    else:
        for w in range(x.size):
            x[w] -= rate[w] * (eps[w] - (up[w] if x[w] > 0 else slope * up[w]))
    activate(x, out, kind, slope)


@compiled
def predicted(below, at, k, weights, start, bias, out):
    """out = sum_j W_ij below_j + bias, (lanes,) for one unit i: `at` its first input, `start` its first weight."""
    for w in range(out.size):
        out[w] = bias[w]
    for j in range(k):
        row, value = weights[start + j], below[at + j]
        for w in range(out.size):
            out[w] += row[w] * value[w]


@compiled
def errors(sample, nodes, first, given, own, net, mu, total, squares):
    """Errors of all layers of one sample, and their squares added to total (nodes) and squares (output), (lanes,).

    first: predictions of the first layer, (B, n_1, lanes). mu: memory (lanes,).
    """
    x, h, eps = nodes.x[sample], nodes.h[sample], nodes.eps[sample]
    target, output_weights = given.targets[sample], given.weights[sample]
    weights, biases, _ = own
    sizes, _, _, unit, start = net
    depth = sizes.size - 1
    for layer in range(1, depth + 1):
        n, k, at = sizes[layer], sizes[layer - 1], unit[layer]
        for i in range(n):
            if layer == 1:
                mu[:] = first[sample, i]
            else:
                predicted(h, unit[layer - 1], k, weights, start[layer] + i * k, biases[at + i], mu)
            error = eps[at + i]
            if layer < depth:
                node = x[at + i]
                for w in range(mu.size):
                    error[w] = node[w] - mu[w]
                    total[w] += error[w] * error[w]
            else:
                aim, weight = target[i], output_weights[i]
                for w in range(mu.size):
                    error[w] = aim[w] - mu[w]
                    squares[w] += error[w] * error[w] * weight[w]
                    error[w] *= weight[w]


@compiled
def descend(sample, nodes, weights, net, rate, up):
    """One step of the nodes of one sample. up: memory (units, lanes)."""
    x, h, eps = nodes.x[sample], nodes.h[sample], nodes.eps[sample]
    sizes, kinds, slopes, unit, start = net
    depth = sizes.size - 1
    for layer in range(1, depth):
        n, k, at, above = sizes[layer + 1], sizes[layer], unit[layer], unit[layer + 1]
        for j in range(k):
            up[at + j, :] = 0
        for i in range(n):
            error = eps[above + i]
            for j in range(k):
                row, pulled = weights[start[layer + 1] + i * k + j], up[at + j]
                for w in range(rate.size):
                    pulled[w] += row[w] * error[w]
    for layer in range(1, depth):
        for j in range(unit[layer], unit[layer] + sizes[layer]):
            move(x[j], h[j], eps[j], up[j], rate, kinds[layer], slopes[layer])


@compiled
def learn(inputs, nodes, own, net, steps):
    """One step of weights and biases; inputs (B, n_0, lanes), steps: rates with the lanes last."""
    _, h, eps = nodes
    weights, biases, biased = own
    sizes, _, _, unit, start = net
    keep, rate, bias_rate = steps
    depth, batch = sizes.size - 1, inputs.shape[0]
    total = np.empty(keep.shape[1], weights.dtype)
    for layer in range(1, depth + 1):
        n, k = sizes[layer], sizes[layer - 1]
        for i in range(n):
            for j in range(k):
                total[:] = 0
                for b in range(batch):
                    error = eps[b, unit[layer] + i]
                    below = inputs[b, j] if layer == 1 else h[b, unit[layer - 1] + j]
                    for w in range(keep.shape[1]):
                        total[w] += error[w] * below[w]
                at = start[layer] + i * k + j
                row, stay, go = weights[at], keep[layer - 1], rate[at]
                for w in range(keep.shape[1]):
                    row[w] = stay[w] * row[w] + go[w] * total[w]
            if biased:
                total[:] = 0
                for b in range(batch):
                    for w in range(keep.shape[1]):
                        total[w] += eps[b, unit[layer] + i, w]
                row, stay, go = biases[unit[layer] + i], keep[depth + layer - 1], bias_rate[unit[layer] + i]
                for w in range(keep.shape[1]):
                    row[w] = stay[w] * row[w] + go[w] * total[w]


@compiled
def relax(given, nodes, own, net, rate, options, steps, before):
    """The nodes of all samples after `steps` - 1 steps; options (3, lanes), rate: memory. before: loss at the start."""
    inputs, (x, h, _), (weights, biases, _) = given.inputs, nodes, own
    sizes, kinds, slopes, unit, start = net
    depth, batch, dtype = sizes.size - 1, inputs.shape[0], weights.dtype
    first = np.empty((batch, sizes[1], rate.size), dtype)
    up, mu = np.empty((unit[-1], rate.size), dtype), np.empty(rate.size, dtype)
    sums = np.empty((3, rate.size), dtype)
    total, loss, previous = sums[0], sums[1], sums[2]
    for b in range(batch):
        for layer in range(1, depth + 1):
            for i in range(sizes[layer]):
                at, k = unit[layer] + i, sizes[layer - 1]
                if layer == 1:
                    predicted(inputs[b], 0, k, weights, i * k, biases[at], first[b, i])
                if layer == depth:
                    continue
                if layer == 1:
                    x[b, at, :] = first[b, i]
                else:
                    predicted(h[b], unit[layer - 1], k, weights, start[layer] + i * k, biases[at], x[b, at])
                activate(x[b, at], h[b, at], kinds[layer], slopes[layer])
    rate[:] = options[0]
    for t in range(steps):
        total[:] = 0
        loss[:] = 0
        for b in range(batch):
            errors(b, nodes, first, given, own, net, mu, total, loss)
        if t == 0:
            for w in range(rate.size):
                before[w] = loss[w] / 2
        if t == steps - 1:
            break
        for b in range(batch):
            descend(b, nodes, weights, net, rate, up)
        for w in range(rate.size):
            total[w] += loss[w]
            if t >= 1:
                rate[w] *= options[2, w] if total[w] < previous[w] else options[1, w]
            previous[w] = total[w]


@compiled
def train(first, last, samples, model, steps, batch, own, rates, losses):
    """Groups `first` to `last` - 1 of up to LANES members through consecutive mini-batches; the last may be smaller.

    As `loops.train`; own: weights with M before all shapes, in which the steps are taken.
    """
    inputs, targets, output_weights, whose = samples
    sizes, kinds, slopes, options = model
    weights, biases, biased = own
    depth, members, dtype = sizes.size - 1, weights.shape[0], weights.dtype
    unit, start = np.zeros(depth + 2, np.int64), np.zeros(depth + 2, np.int64)
    for layer in range(1, depth + 1):
        unit[layer + 1] = unit[layer] + sizes[layer]
        start[layer + 1] = start[layer] + sizes[layer] * sizes[layer - 1]
    lanes = min(LANES, members)
    w, b = np.zeros((start[-1], lanes), dtype), np.zeros((unit[-1], lanes), dtype)
    given, aim = np.zeros((batch, sizes[0], lanes), dtype), np.zeros((batch, sizes[-1], lanes), dtype)
    output = np.ones((batch, sizes[-1], lanes), dtype)
    memory = np.zeros((3, batch, unit[-1], lanes), dtype)
    nodes, net, mine = (
        Nodes(memory[0], memory[1], memory[2]),
        Layers(sizes, kinds, slopes, unit, start),
        Weights(w, b, biased),
    )
    chosen, stay = np.zeros((3, lanes), dtype), np.zeros((2 * depth, lanes), dtype)
    go = Rates(stay, np.zeros(w.shape, dtype), np.zeros(b.shape, dtype))
    rate, before = np.empty(lanes, dtype), np.empty(lanes)
    for group in range(first, last):
        begin = group * lanes
        count = min(lanes, members - begin)
        for lane in range(lanes):
            m = begin + min(lane, count - 1)
            w[:, lane], b[:, lane], chosen[:, lane] = weights[m], biases[m], options[m]
            stay[:, lane], go.weights[:, lane], go.biases[:, lane] = rates.keep[m], rates.weights[m], rates.biases[m]
        for step in range(losses.shape[0]):
            size = min(batch, inputs.shape[1] - step * batch)
            for lane in range(lanes):
                s = whose[begin + min(lane, count - 1)]
                for k in range(size):
                    given[k, :, lane], aim[k, :, lane] = inputs[s, step * batch + k], targets[s, step * batch + k]
                    if output_weights.shape[1]:
                        output[k, :, lane] = output_weights[s, step * batch + k]
            relax(Given(given[:size], aim[:size], output[:size]), nodes, mine, net, rate, chosen, steps, before)
            learn(given[:size], nodes, mine, net, go)
            for lane in range(count):
                losses[step, begin + lane] = before[lane]
        for lane in range(count):
            weights[begin + lane], biases[begin + lane] = w[:, lane], b[:, lane]
