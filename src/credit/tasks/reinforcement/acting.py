"""Which action looks best: of the members that still act alone, in compiled loops, for dense nets on the CPU.

A forward pass of one observation a member reads all weights for a product with a vector: what others cost is wasted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from credit.nets import activations
from credit.nets.base import Net
from credit.numerics.compiled import compiled
from credit.numerics.elementwise import sigmoid_of, tanh_of
from credit.numerics.memory import in_memory
from credit.numerics.trees import Params
from credit.tasks.base import Learner

LINEAR, RELU, SIGMOID, TANH = range(4)
KINDS = {
    activations.Linear: LINEAR,
    activations.ReLU: RELU,
    activations.Sigmoid: SIGMOID,
    activations.Tanh: TANH,
}
Greedy = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x (M, n) of all members, some of them (K,) -> actions (K,)


def greedy(learner: Learner, like: torch.Tensor) -> Greedy:
    """The actions of largest value, int64, by the net as it is now; of equal ones the first, NaN being the largest.

    like: of the dtype and on the device of the net, of any shape. Takes x (M, n).
    """

    def best(x: np.ndarray, live: np.ndarray) -> np.ndarray:
        values = learner.predict(torch.from_numpy(x).to(like.device).unsqueeze(1))
        return values.argmax(-1).flatten().cpu().numpy()[live]

    return best


def compiled_greedy(learner: Learner, like: torch.Tensor) -> Greedy:
    """The same to rounding, and compiled where the net is dense and on the CPU; takes x (M, n)."""
    net, params = getattr(learner, "net", None), getattr(learner, "params", None)
    if params is None or not _takes(net, params):
        return greedy(learner, like)
    blocks = [params[str(i)] for i in range(len(net))]
    weights = tuple(block["weight"].numpy() for block in blocks)
    biases = tuple(block["bias"].numpy() if "bias" in block else np.empty((len(w), 0), w.dtype)
                   for block, w in zip(blocks, weights, strict=True))  # fmt: skip
    kinds = np.array([KINDS[type(block.phi)] for block in net.blocks])
    widest = max(w.shape[1] for w in weights)

    def best(x: np.ndarray, live: np.ndarray) -> np.ndarray:
        actions = np.empty(len(live), np.int64)
        first_of_largest(x, live, weights, biases, kinds, np.empty((2, widest), x.dtype), actions)
        return actions

    return best


def _takes(net: Net, params: Params) -> bool:
    tensors = [p for block in params.values() for p in block.values()]
    return net.kind == "dense" and in_memory(*tensors) and all(type(block.phi) in KINDS for block in net.blocks)


@compiled
def first_of_largest(x, live, weights, biases, kinds, memory, actions):
    """actions (K,) of the members `live`: weights (M, n, k), biases (M, n) or (M, 0) by layer; memory (2, widest)."""
    for i in range(live.size):
        m, below = live[i], x[live[i]]
        for layer in range(len(weights)):
            w, bias = weights[layer][m], biases[layer][m]
            out = memory[layer % 2][: w.shape[0]]
            np.dot(w, below, out)
            for j in range(bias.size):
                out[j] += bias[j]
            activate(out, kinds[layer])
            below = out
        best = 0
        for j in range(1, below.size):
            if below[best] == below[best] and not below[j] <= below[best]:
                best = j
        actions[i] = best


@compiled
def activate(x, kind):
    """x <- f(x)."""
    if kind == RELU:
        zero = x.dtype.type(0)
        for i in range(x.size):
            x[i] = zero if x[i] <= zero else x[i]
    elif kind == SIGMOID:
        for i in range(x.size):
            x[i] = sigmoid_of(x[i])
    elif kind == TANH:
        for i in range(x.size):
            x[i] = tanh_of(x[i])
