"""Inference of dense nets compiled for the CPU: one member after another, the whole descent within one loop.

Activities are batch-major (B, n), those of all hidden layers of a member one after another; products are BLAS's, what
lies between them is one pass each. Nothing is reordered (no fast-math): energies must keep NaN.
"""

from __future__ import annotations

import numpy as np

from credit.numerics.compiled import compiled
from credit.numerics.elementwise import sigmoid_of, tanh_of

LINEAR, SIGMOID, TANH, LEAKY = range(4)  # leaky with slope 0 is relu


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
def difference(x, mu, bias, out):
    """out = x - (mu + bias), (B, n) each, bias (n,) or (0,); returns the sum of squares."""
    if bias.size:
        for b in range(x.shape[0]):
            for i in range(x.shape[1]):
                out[b, i] = x[b, i] - (mu[b, i] + bias[i])
    else:
        for b in range(x.shape[0]):
            for i in range(x.shape[1]):
                out[b, i] = x[b, i] - mu[b, i]
    flat = out.reshape(-1)
    return np.float64(np.dot(flat, flat))


@compiled
def weighted(out, weights):
    """out *= weights, (B, n); returns the sum of the squares of out, each times its weight, before."""
    total = np.float64(0)
    for b in range(out.shape[0]):
        for i in range(out.shape[1]):
            total += out[b, i] * out[b, i] * weights[b, i]
            out[b, i] *= weights[b, i]
    return total


@compiled
def upward(h, w, bias, out):
    """out = h w^T + bias, (B, n); w (n, k)."""
    np.dot(h, w.T, out)
    if bias.size:
        for b in range(out.shape[0]):
            for i in range(out.shape[1]):
                out[b, i] += bias[i]


@compiled
def relax(first, last, inputs, targets, weights, whose, w1, w, biases, sizes, kinds, slopes, options, steps,
          x, h, eps, losses, energies, rates):  # fmt: skip
    """Members `first` to `last` - 1 after `steps` - 1 steps of their nodes.

    inputs (S, B, n_0), targets (S, B, n_L), of S mini-batches; whose (M,): which of them is a member's. weights of the
    output errors (M, B, n_L), or of no members. w1 (M, n_1, n_0), w (M, all of W_2, ..., W_L), biases (M, all or 0).
    options (M, 3): rate, discount, amplifier. x, h, eps (M, B all): nodes, f of them, errors, where eps also has
    (y - o) at its end. losses, energies, rates (M,): of the feed-forward pass, and at the end.
    """
    depth, batch = sizes.size - 1, inputs.shape[1]
    place, start = np.zeros(depth + 2, np.int64), np.zeros(depth + 2, np.int64)
    unit = np.zeros(depth + 2, np.int64)  # of the biases
    for layer in range(1, depth + 1):
        place[layer + 1] = place[layer] + batch * sizes[layer]
        unit[layer + 1] = unit[layer] + (sizes[layer] if biases.shape[1] else 0)
        if layer > 1:
            start[layer + 1] = start[layer] + sizes[layer] * sizes[layer - 1]
    hoisted, mu = np.empty((batch, sizes[1]), w1.dtype), np.empty(place[depth + 1], w1.dtype)
    for m in range(first, last):
        xm, hm, em, y = x[m], h[m], eps[m], targets[whose[m]]
        none = biases[m, :0]
        upward(inputs[whose[m]], w1[m], biases[m, unit[1] : unit[2]], hoisted)
        for layer in range(1, depth):
            a, b = place[layer], place[layer + 1]
            node = xm[a:b].reshape(batch, sizes[layer])
            if layer == 1:
                node[:] = hoisted
            else:
                below = hm[place[layer - 1] : a].reshape(batch, sizes[layer - 1])
                own = w[m, start[layer] : start[layer + 1]].reshape(sizes[layer], sizes[layer - 1])
                upward(below, own, biases[m, unit[layer] : unit[layer + 1]], node)
            activate(xm[a:b], hm[a:b], kinds[layer], slopes[layer])
        rate, previous = options[m, 0], np.float64(0)
        for t in range(steps):
            total, loss = np.float64(0), np.float64(0)
            for layer in range(1, depth + 1):
                a, b = place[layer], place[layer + 1]
                error = em[a:b].reshape(batch, sizes[layer])
                guess = mu[a:b].reshape(batch, sizes[layer]) if layer > 1 else hoisted
                if layer > 1:
                    below = hm[place[layer - 1] : a].reshape(batch, sizes[layer - 1])
                    np.dot(
                        below, w[m, start[layer] : start[layer + 1]].reshape(sizes[layer], sizes[layer - 1]).T, guess
                    )
                bias = biases[m, unit[layer] : unit[layer + 1]] if layer > 1 else none
                if layer < depth:
                    total += difference(xm[a:b].reshape(batch, sizes[layer]), guess, bias, error)
                else:
                    loss = difference(y, guess, bias, error)  # y - o: down the net it has the sign of the other errors
                    if weights.shape[0]:
                        loss = weighted(error, weights[m])
            if t == 0:
                losses[m] = loss / 2
            if t == steps - 1:
                energies[m], rates[m] = total / 2, rate
                break
            for layer in range(1, depth):
                a, b, c = place[layer], place[layer + 1], place[layer + 2]
                error, pulled = em[b:c].reshape(batch, sizes[layer + 1]), mu[a:b].reshape(batch, sizes[layer])
                np.dot(error, w[m, start[layer + 1] : start[layer + 2]].reshape(sizes[layer + 1], sizes[layer]), pulled)
            for layer in range(1, depth):
                a, b = place[layer], place[layer + 1]
                move(xm[a:b], hm[a:b], em[a:b], mu[a:b], rate, kinds[layer], slopes[layer])
            total += loss
            if t >= 1:
                rate = rate * options[m, 2] if total < previous else rate * options[m, 1]
            previous = total


@compiled
def learn(first, last, inputs, whose, h, eps, sizes, w1, w, biases, keep, rate):
    """w <- keep w + rate eps^T h for members `first` to `last` - 1, and biases likewise with the sums of eps.

    Arrays as of `relax`; keep, rate (M, 2 L): of the weights of all layers, then of their biases.
    """
    depth, batch = sizes.size - 1, inputs.shape[1]
    largest = 0
    for layer in range(1, depth + 1):
        largest = max(largest, sizes[layer] * sizes[layer - 1])
    memory = np.empty(largest, w1.dtype)
    for m in range(first, last):
        a = start = unit = 0
        for layer in range(1, depth + 1):
            b, n, k = a + batch * sizes[layer], sizes[layer], sizes[layer - 1]
            error, product = eps[m, a:b].reshape(batch, n), memory[: n * k]
            if layer == 1:
                np.dot(error.T, inputs[whose[m]], product.reshape(n, k))
                own = w1[m].reshape(-1)
            else:
                np.dot(error.T, h[m, a - batch * k : a].reshape(batch, k), product.reshape(n, k))
                own = w[m, start : start + n * k]
                start += n * k
            stay, go = keep[m, layer - 1], rate[m, layer - 1]
            for i in range(n * k):
                own[i] = stay * own[i] + go * product[i]
            if biases.shape[1]:
                stay, go = keep[m, depth + layer - 1], rate[m, depth + layer - 1]
                for j in range(n):
                    total = error[0, j]
                    for i in range(1, batch):
                        total += error[i, j]
                    biases[m, unit + j] = stay * biases[m, unit + j] + go * total
                unit += n
            a = b
