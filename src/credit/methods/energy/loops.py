"""Inference of dense nets compiled for the CPU: one member after another, the whole descent within one loop.

Activities are batch-major (B, n), those of all hidden layers of a member one after another; products are BLAS's, what
lies between them is one pass each. Nothing is reordered (no fast-math): energies must keep NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from credit.methods.energy.passes import activate, move
from credit.numerics.compiled import compiled
from credit.numerics.views import matrix, part

FEW = 4096  # multiply-adds


class Samples(NamedTuple):
    """inputs (S, N, n_0), targets (S, N, n_L), of S members; weights of the output errors (S, N, n_L), or (S, 0, 0);
    whose (M,): which of them are a member's."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    whose: np.ndarray


class Model(NamedTuple):
    """sizes of the layers, the input's first; kinds and slopes of activations by layer; options (M, 3): rate, discount,
    amplifier."""

    sizes: np.ndarray
    kinds: np.ndarray
    slopes: np.ndarray
    options: np.ndarray


class Weights(NamedTuple):
    """w1 (M, n_1, n_0), w (M, all of W_2, ..., W_L), biases (M, all or 0); of one member without M."""

    w1: np.ndarray
    w: np.ndarray
    biases: np.ndarray


class Rates(NamedTuple):
    """keep (M, 2 * L) and rate (M, 2 * L) of a step: of the weights of all layers, then of their biases."""

    keep: np.ndarray
    rate: np.ndarray


class Layers(NamedTuple):
    """sizes (L + 1,), kinds and slopes (L + 1,), and where layers begin (L + 2,), see `layout`."""

    sizes: np.ndarray
    kinds: np.ndarray
    slopes: np.ndarray
    place: np.ndarray
    start: np.ndarray
    unit: np.ndarray


class Nodes(NamedTuple):
    """Nodes x, h = f(x) and errors eps of all layers, (B * units,) each;
    mu, up: memory for a layer, (B * widest,)."""

    x: np.ndarray
    h: np.ndarray
    eps: np.ndarray
    mu: np.ndarray
    up: np.ndarray


class Member(NamedTuple):
    """Weights from W_2 on, flat (N,), the same transposed, and biases, flat (n,) or (0,), of one member."""

    w: np.ndarray
    turned: np.ndarray
    bias: np.ndarray


class Goal(NamedTuple):
    """Target (B * n_L,) and weights of its errors, as many or none."""

    target: np.ndarray
    weights: np.ndarray


@compiled
def shift(x, bias, n):
    """x += bias, x flat (B n); bias (n,), or none."""
    if bias.size:
        for start in range(0, x.size, n):
            row = part(x, start, n)
            for i in range(n):
                row[i] += bias[i]


@compiled
def difference(x, mu, bias, out, n):
    """out = x - (mu + bias), flat (B n), bias (n,) or none; returns the sum of squares."""
    if bias.size:
        for start in range(0, x.size, n):  # by rows, which the compiler turns into vector instructions
            a, b, row = part(x, start, n), part(mu, start, n), part(out, start, n)
            for i in range(n):
                row[i] = a[i] - (b[i] + bias[i])
    else:
        for i in range(x.size):
            out[i] = x[i] - mu[i]
    return np.float64(np.dot(out, out))


@compiled
def weighted(out, weights):
    """out *= weights, flat; returns the sum of the squares of out, each times its weight, before."""
    total = np.float64(0)
    for i in range(out.size):
        total += out[i] * out[i] * weights[i]
        out[i] *= weights[i]
    return total


@compiled
def layout(sizes, batch, biased):
    """Where layers begin among activities (B n), weights from W_2 on, and biases, by layer from 1 on, and the end."""
    depth = sizes.size - 1
    place, start, unit = (np.zeros(depth + 2, np.int64), np.zeros(depth + 2, np.int64), np.zeros(depth + 2, np.int64))
    for layer in range(1, depth + 1):
        place[layer + 1] = place[layer] + batch * sizes[layer]
        unit[layer + 1] = unit[layer] + (sizes[layer] if biased else 0)
        if layer > 1:
            start[layer + 1] = start[layer] + sizes[layer] * sizes[layer - 1]
    return place, start, unit


@compiled
def product(a, b, out, n):
    """out = a b, flat arrays of (B, k), (k, n) and (B, n): by BLAS, but where its call takes longer than the loop."""
    k = b.size // n
    batch = a.size // k
    if a.size * n > FEW:
        np.dot(matrix(a, 0, batch, k), matrix(b, 0, k, n), matrix(out, 0, batch, n))
        return
    fours = k - k % 4
    for row in range(batch):
        mine, given = part(out, row * n, n), part(a, row * k, k)
        for j in range(n):
            mine[j] = 0
        for i in range(0, fours, 4):  # four rows at a time, since entering a loop costs as much as a short one takes
            p, q, r, s, at = given[i], given[i + 1], given[i + 2], given[i + 3], i * n
            x, y, z, u = part(b, at, n), part(b, at + n, n), part(b, at + 2 * n, n), part(b, at + 3 * n, n)
            for j in range(n):
                mine[j] += (p * x[j] + q * y[j]) + (r * z[j] + s * u[j])
        for i in range(fours, k):
            p, x = given[i], part(b, i * n, n)
            for j in range(n):
                mine[j] += p * x[j]


@compiled
def turn(w, turned, sizes, start):
    """turned = W_l^T of all layers from W_2 on: products with it are faster than with a transposed view."""
    for layer in range(2, sizes.size):
        a, b, n, k = start[layer], start[layer + 1], sizes[layer], sizes[layer - 1]
        turned[a:b].reshape(k, n)[:] = w[a:b].reshape(n, k).T


@compiled
def sweep(lowest, moves, nodes, hoisted, goal, member, rate, net):
    """One iteration, from layer `lowest` on; returns the sums of squares of the nodes' errors and of the output's.

    The errors of a layer pull at the nodes below at once, which nothing needs any more as they were: what a layer works
    on is still in the cache.
    """
    x, h, eps, mu, up = nodes
    target, weights = goal
    w, turned, bias = member
    sizes, kinds, slopes, place, start, unit = net
    depth, total, loss = sizes.size - 1, np.float64(0), np.float64(0)
    for layer in range(lowest, depth + 1):
        a, below, n, k = place[layer], place[layer - 1], sizes[layer], sizes[layer - 1]
        size, error, guess, own = place[layer + 1] - a, part(eps, a, place[layer + 1] - a), hoisted, part(bias, 0, 0)
        if layer > 1:
            guess, own = part(mu, 0, size), part(bias, unit[layer], unit[layer + 1] - unit[layer])
            product(part(h, below, a - below), part(turned, start[layer], n * k), guess, n)
        if layer < depth:
            total += difference(part(x, a, size), guess, own, error, n)
        else:
            loss = difference(target, guess, own, error, n)  # y - o: it has the sign of the other errors
            if weights.size:
                loss = weighted(error, weights)
        if moves and layer > 1:
            size, rest = a - below, (rate, kinds[layer - 1], slopes[layer - 1])
            pulled = part(up, 0, size)
            product(error, part(w, start[layer], n * k), pulled, k)
            move(part(x, below, size), part(h, below, size), part(eps, below, size), pulled, *rest)
    return total, loss


@compiled
def feed_forward(nodes, hoisted, member, net):
    """The nodes at their predictions, layer by layer."""
    x, h, _, _, _ = nodes
    _, turned, bias = member
    sizes, kinds, slopes, place, start, unit = net
    for layer in range(1, sizes.size - 1):
        a, b, n = place[layer], place[layer + 1], sizes[layer]
        if layer == 1:
            x[a:b] = hoisted
        else:
            product(h[place[layer - 1] : a], turned[start[layer] : start[layer + 1]], x[a:b], n)
            shift(x[a:b], bias[unit[layer] : unit[layer + 1]], n)
        activate(x[a:b], h[a:b], kinds[layer], slopes[layer])


@compiled
def relax(nodes, hoisted, goal, member, options, steps, net):
    """A member's nodes from the feed-forward pass on, after `steps` - 1 steps; hoisted: predictions of the first layer.

    In iteration t errors below layer L - t are 0 still, since the target is felt one layer lower in each. Returns the
    loss of the feed-forward pass. options: rate, discount, amplifier.
    """
    depth, rate, before, previous = net.sizes.size - 1, options[0], np.float64(0), np.float64(0)
    turn(member.w, member.turned, net.sizes, net.start)
    feed_forward(nodes, hoisted, member, net)
    nodes.eps[: net.place[depth + 1]] = 0
    for t in range(steps):
        total, loss = sweep(max(1, depth - t), t < steps - 1, nodes, hoisted, goal, member, rate, net)
        before = loss / 2 if t == 0 else before
        total += loss
        if t >= 1:
            rate = rate * options[2] if total < previous else rate * options[1]
        previous = total
    return before


@compiled
def descend(w, error, below, keep, rate, memory):
    """w <- keep w + rate error^T below, (n, k); error (B, n), below (B, k), memory (n, k)."""
    if error.shape[0] == 1:  # a call of BLAS would cost more than the few numbers
        for j in range(w.shape[0]):
            step = rate * error[0, j]
            for i in range(w.shape[1]):
                w[j, i] = keep * w[j, i] + step * below[0, i]
    else:
        np.dot(error.T, below, memory)
        for j in range(w.shape[0]):
            for i in range(w.shape[1]):
                w[j, i] = keep * w[j, i] + rate * memory[j, i]


@compiled
def learn(inputs, nodes, to, keep, rate, memory, net):
    """w <- keep w + rate eps^T h of a member, and biases likewise with the sums of eps.

    to: w1 (n_1, n_0), w (all of W_2, ..., W_L), bias (all or 0). keep, rate (2 L): of the weights of all layers, then
    of their biases. memory: for one product.
    """
    w1, w, bias = to
    _, h, eps, _, _ = nodes
    sizes, _, _, place, start, unit = net
    depth, batch = sizes.size - 1, inputs.shape[0]
    for layer in range(1, depth + 1):
        n, k = sizes[layer], sizes[layer - 1]
        error, product = eps[place[layer] : place[layer + 1]].reshape(batch, n), memory[: n * k].reshape(n, k)
        if layer == 1:
            descend(w1, error, inputs, keep[0], rate[0], product)
        else:
            own, below = w[start[layer] : start[layer + 1]].reshape(n, k), h[place[layer - 1] : place[layer]]
            descend(own, error, below.reshape(batch, k), keep[layer - 1], rate[layer - 1], product)
        if bias.size:
            stay, go = keep[depth + layer - 1], rate[depth + layer - 1]
            totals = memory[:n]
            totals[:] = error[0]
            for i in range(1, batch):
                for j in range(n):
                    totals[j] += error[i, j]
            for j in range(n):
                bias[unit[layer] + j] = stay * bias[unit[layer] + j] + go * totals[j]


@compiled
def train(first, last, samples, model, steps, batch, own, to, rates, losses):
    """Members `first` to `last` - 1 through consecutive mini-batches of `batch` samples; the last may be smaller.

    own: weights; to: where steps are taken, these themselves, or others where there is one mini-batch.
    losses (K, M): of the feed-forward pass.
    """
    inputs, targets, weights, whose = samples
    sizes, kinds, slopes, options = model
    w1, w, biases = own
    memory = np.empty((sizes[1:] * sizes[:-1]).max(), w1.dtype)
    turned = np.empty(w.shape[1], w.dtype)
    room, layers = np.empty((3, batch * sizes[1:].sum()), w1.dtype), np.empty((2, batch * sizes[1:].max()), w1.dtype)
    nodes, below = Nodes(room[0], room[1], room[2], layers[0], layers[1]), np.empty((batch, sizes[1]), w1.dtype)
    for m in range(first, last):
        mine = Member(w[m], turned, biases[m])
        for k in range(losses.shape[0]):
            a, b, s = k * batch, min((k + 1) * batch, inputs.shape[1]), whose[m]
            place, start, unit = layout(sizes, b - a, biases.shape[1] > 0)
            net = Layers(sizes, kinds, slopes, place, start, unit)
            np.dot(inputs[s, a:b], w1[m].T, below[: b - a])
            hoisted = below[: b - a].reshape(-1)
            shift(hoisted, biases[m, unit[1] : unit[2]], sizes[1])
            goal = Goal(targets[s, a:b].reshape(-1), weights[s, a:b].reshape(-1))
            losses[k, m] = relax(nodes, hoisted, goal, mine, options[m], steps, net)
            given = Weights(to.w1[m], to.w[m], to.biases[m])
            learn(inputs[s, a:b], nodes, given, rates.keep[m], rates.rate[m], memory, net)
