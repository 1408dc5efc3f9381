"""Inference of dense nets compiled for the CPU: one member after another, the whole descent within one loop.

Activities are batch-major (B, n), those of all hidden layers of a member one after another; products are BLAS's, what
lies between them is one pass each. Nothing is reordered (no fast-math): energies must keep NaN.
"""

from __future__ import annotations

import numpy as np

from credit.numerics.compiled import compiled
from credit.numerics.elementwise import sigmoid_of, tanh_of

LINEAR, SIGMOID, TANH, LEAKY = range(4)  # leaky with slope 0 is relu
FEW = 4096  # multiply-adds


@compiled
def activate(x, out, kind, slope):
    """out = f(x), flat arrays (n,)."""
    if kind == LINEAR:
        for i in range(x.size):
            out[i] = x[i]
    elif kind == SIGMOID:
        for i in range(x.size):
            out[i] = sigmoid_of(x[i])
    elif kind == TANH:
        for i in range(x.size):
            out[i] = tanh_of(x[i])
    else:
        for i in range(x.size):
            out[i] = x[i] if x[i] > 0 else slope * x[i]


@compiled
def move(x, out, eps, up, rate, kind, slope):
    """x -= rate (eps - f'(x) up), then out = f(x), flat arrays (n,); out holds f(x) before."""
    if kind == LINEAR:
        for i in range(x.size):
            x[i] -= rate * (eps[i] - up[i])
    elif kind == SIGMOID:
        for i in range(x.size):
            x[i] -= rate * (eps[i] - (out[i] - out[i] * out[i]) * up[i])
    elif kind == TANH:
        one = x.dtype.type(1)
        for i in range(x.size):
            x[i] -= rate * (eps[i] - (one - out[i] * out[i]) * up[i])
    else:
        for i in range(x.size):
            x[i] -= rate * (eps[i] - (up[i] if x[i] > 0 else slope * up[i]))
    activate(x, out, kind, slope)


@compiled
def shift(x, bias, n):
    """x += bias, x flat (B n); bias (n,), or none."""
    if bias.size:
        for start in range(0, x.size, n):
            for i in range(n):
                x[start + i] += bias[i]


@compiled
def difference(x, mu, bias, out, n):
    """out = x - (mu + bias), flat (B n), bias (n,) or none; returns the sum of squares."""
    if bias.size:
        for start in range(0, x.size, n):
            for i in range(n):
                out[start + i] = x[start + i] - (mu[start + i] + bias[i])
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
        np.dot(a.reshape(batch, k), b.reshape(k, n), out.reshape(batch, n))
        return
    fours = k - k % 4
    for row in range(batch):
        mine, given = out[row * n : (row + 1) * n], a[row * k : (row + 1) * k]
        for j in range(n):
            mine[j] = 0
        for i in range(0, fours, 4):  # four rows at a time, since entering a loop costs as much as a short one takes
            p, q, r, s, at = given[i], given[i + 1], given[i + 2], given[i + 3], i * n
            x, y, z, u = b[at : at + n], b[at + n : at + 2 * n], b[at + 2 * n : at + 3 * n], b[at + 3 * n : at + 4 * n]
            for j in range(n):
                mine[j] += (p * x[j] + q * y[j]) + (r * z[j] + s * u[j])
        for i in range(fours, k):
            p, x = given[i], b[i * n : (i + 1) * n]
            for j in range(n):
                mine[j] += p * x[j]


@compiled
def turn(w, turned, sizes, start):
    """turned = W_l^T of all layers from W_2 on: products with it are faster than with a transposed view."""
    for layer in range(2, sizes.size):
        a, b, n, k = start[layer], start[layer + 1], sizes[layer], sizes[layer - 1]
        turned[a:b].reshape(k, n)[:] = w[a:b].reshape(n, k).T


@compiled
def errors(x, h, eps, mu, hoisted, target, weights, turned, bias, sizes, place, start, unit):
    """Predictions and errors of all layers at the nodes; returns the sums of squares of nodes and of the output."""
    depth, total = sizes.size - 1, np.float64(0)
    if depth > 1:
        total += difference(x[: place[2]], hoisted, bias[:0], eps[: place[2]], sizes[1])
    for layer in range(2, depth + 1):
        a, b, n = place[layer], place[layer + 1], sizes[layer]
        product(h[place[layer - 1] : a], turned[start[layer] : start[layer + 1]], mu[a:b], n)
        if layer < depth:
            total += difference(x[a:b], mu[a:b], bias[unit[layer] : unit[layer + 1]], eps[a:b], n)
    a, b, n = place[depth], place[depth + 1], sizes[depth]
    guess, own = (mu[a:b], bias[unit[depth] : unit[depth + 1]]) if depth > 1 else (hoisted, bias[:0])
    loss = difference(target, guess, own, eps[a:b], n)  # y - o: down the net it has the sign of the other errors
    if weights.size:
        loss = weighted(eps[a:b], weights)
    return total, loss


@compiled
def descend(x, h, eps, mu, w, rate, sizes, kinds, slopes, place, start):
    """One step of all nodes down the energy whose errors are given."""
    depth = sizes.size - 1
    for layer in range(1, depth):
        a, b, c = place[layer], place[layer + 1], place[layer + 2]
        product(eps[b:c], w[start[layer + 1] : start[layer + 2]], mu[a:b], sizes[layer])
    for layer in range(1, depth):
        a, b = place[layer], place[layer + 1]
        move(x[a:b], h[a:b], eps[a:b], mu[a:b], rate, kinds[layer], slopes[layer])


@compiled
def feed_forward(x, h, mu, hoisted, turned, bias, sizes, kinds, slopes, place, start, unit):
    """The nodes at their predictions, layer by layer."""
    for layer in range(1, sizes.size - 1):
        a, b, n = place[layer], place[layer + 1], sizes[layer]
        if layer == 1:
            x[a:b] = hoisted
        else:
            product(h[place[layer - 1] : a], turned[start[layer] : start[layer + 1]], x[a:b], n)
            shift(x[a:b], bias[unit[layer] : unit[layer + 1]], n)
        activate(x[a:b], h[a:b], kinds[layer], slopes[layer])


@compiled
def relax(x, h, eps, mu, hoisted, target, weights, w, turned, bias, sizes, kinds, slopes, options, steps,
          place, start, unit):  # fmt: skip
    """A member's nodes from the feed-forward pass on, after `steps` - 1 steps; hoisted: predictions of the first layer.

    Returns the loss of the feed-forward pass. options: rate, discount, amplifier.
    """
    rate, before, previous = options[0], np.float64(0), np.float64(0)
    turn(w, turned, sizes, start)
    feed_forward(x, h, mu, hoisted, turned, bias, sizes, kinds, slopes, place, start, unit)
    for t in range(steps):
        total, loss = errors(x, h, eps, mu, hoisted, target, weights, turned, bias, sizes, place, start, unit)
        before = loss / 2 if t == 0 else before
        if t == steps - 1:
            break
        descend(x, h, eps, mu, w, rate, sizes, kinds, slopes, place, start)
        total += loss
        if t >= 1:
            rate = rate * options[2] if total < previous else rate * options[1]
        previous = total
    return before


@compiled
def learn(inputs, h, eps, sizes, w1, w, bias, keep, rate, memory, place, start, unit):
    """w <- keep w + rate eps^T h of a member, and biases likewise with the sums of eps.

    w1 (n_1, n_0), w (all of W_2, ..., W_L), bias (all or 0). keep, rate (2 L): of the weights of all layers, then of
    their biases. memory: for one product.
    """
    depth, batch = sizes.size - 1, inputs.shape[0]
    for layer in range(1, depth + 1):
        n, k = sizes[layer], sizes[layer - 1]
        error, product = eps[place[layer] : place[layer + 1]].reshape(batch, n), memory[: n * k]
        if layer == 1:
            np.dot(error.T, inputs, product.reshape(n, k))
            own = w1.reshape(-1)
        else:
            np.dot(error.T, h[place[layer - 1] : place[layer]].reshape(batch, k), product.reshape(n, k))
            own = w[start[layer] : start[layer + 1]]
        stay, go = keep[layer - 1], rate[layer - 1]
        for i in range(n * k):
            own[i] = stay * own[i] + go * product[i]
        if bias.size:
            stay, go = keep[depth + layer - 1], rate[depth + layer - 1]
            for j in range(n):
                total = error[0, j]
                for i in range(1, batch):
                    total += error[i, j]
                bias[unit[layer] + j] = stay * bias[unit[layer] + j] + go * total


@compiled
def train(first, last, inputs, targets, weights, whose, sizes, kinds, slopes, options, steps, batch,
          w1, w, biases, to_w1, to_w, to_biases, keep, rate, losses):  # fmt: skip
    """Members `first` to `last` - 1 through consecutive mini-batches of `batch` samples; the last may be smaller.

    inputs (S, N, n_0), targets (S, N, n_L), samples of S members; whose (M,): which of them are a member's. weights of
    the output errors (S, N, n_L), or (S, 0, 0). w1 (M, n_1, n_0), w (M, all of W_2, ..., W_L), biases (M, all or 0);
    to_w1, to_w, to_biases: where steps are taken, these themselves, or others where there is one mini-batch.
    options (M, 3), keep, rate (M, 2 L): see `relax` and `learn`. losses (K, M): of the feed-forward pass.
    """
    memory = np.empty((sizes[1:] * sizes[:-1]).max(), w1.dtype)
    turned = np.empty(w.shape[1], w.dtype)
    units = batch * sizes[1:].sum()
    nodes = np.empty((4, units), w1.dtype)
    x, h, eps, mu = nodes[0], nodes[1], nodes[2], nodes[3]
    room = np.empty((batch, sizes[1]), w1.dtype)
    for m in range(first, last):
        for k in range(losses.shape[0]):
            a, b = k * batch, min((k + 1) * batch, inputs.shape[1])
            place, start, unit = layout(sizes, b - a, biases.shape[1] > 0)
            mine = inputs[whose[m], a:b]
            np.dot(mine, w1[m].T, room[: b - a])
            hoisted = room[: b - a].reshape(-1)
            shift(hoisted, biases[m, unit[1] : unit[2]], sizes[1])
            losses[k, m] = relax(
                x, h, eps, mu, hoisted, targets[whose[m], a:b].reshape(-1), weights[whose[m], a:b].reshape(-1), w[m],
                turned, biases[m], sizes, kinds, slopes, options[m], steps, place, start, unit,
            )  # fmt: skip
            learn(
                mine, h, eps, sizes, to_w1[m], to_w[m], to_biases[m], keep[m], rate[m], memory, place, start, unit
            )  # fmt: skip
