"""What a network is: a chain of blocks and a loss, as pure functions of nested dicts of tensors.

A *block* is one layer of weights with everything up to the next one (activation, pooling, dropout mask), or a stage of
several. It can be called alone, so that feedback networks and local losses can be built from it:

    trace = block.forward(params, x)               pre-activation, activation, output
    gradients, grad = block.backward(trace, grad)  gradient at the output -> of the parameters, and at the input

A layer also offers its reverse in exact pieces, from which learning rules without autograd are made:

    delta = block.local(trace, grad)            gradient at the output  -> gradient at the pre-activation
    grads = block.weight_gradient(trace, delta) gradient at the pre-activation -> gradient of the parameters
    grad  = block.pull(weight, delta, trace)    gradient at the pre-activation -> gradient at the input

Shapes: a leading stack axis M is optional everywhere. Dense activations (M, B, n), images (M, B, C, H, W).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets import losses
from credit.nets.init import Scheme, init
from credit.nets.losses import Loss
from credit.nets.names import layer_options
from credit.numerics.rand import Rand, Replay, as_rand
from credit.numerics.trees import Params

ROOM = 2**21  # values before pooling that `predict` holds at once: more leave the cache, and take three times as long


class Batch:
    """A mini-batch: inputs x (M, B, ...), targets y (M, B) class indices or (M, B, n_out) values.

    weights: optional weights (M, B, n_out) of the single output errors. divisor: what sums over the batch are
    divided by where that is not its number of samples B (see `credit.tasks.supervised.Supervised`).

    whose: members that share samples. x, y and weights are then given once for each of S seeds, (S, B, ...), and whose
    (M,) says which of them a member has. Whoever asks for `x`, `y` or `weights` finds (M, B, ...) all the same, made
    when first asked for, without a copy where S is 1; whoever can do with less asks for `distinct`.
    """

    divisor: int | None = None
    whose: Tensor | None = None

    def __init__(
        self, x: Tensor, y: Tensor, weights: Tensor | None = None, divisor: int | None = None,
        whose: Tensor | None = None,
    ) -> None:  # fmt: skip
        self._given, self.divisor, self.whose = (x, y, weights), divisor, whose

    @cached_property
    def x(self) -> Tensor:
        """Inputs of all members, (M, B, ...)."""
        return self._of_members(self._given[0])

    @cached_property
    def y(self) -> Tensor:
        """Targets of all members, (M, B) or (M, B, n_out)."""
        return self._of_members(self._given[1])

    @cached_property
    def weights(self) -> Tensor | None:
        """Weights of the output errors of all members, (M, B, n_out)."""
        return None if self._given[2] is None else self._of_members(self._given[2])

    @property
    def distinct(self) -> Batch:
        """The mini-batch with samples once for each seed, as they were given, (S, B, ...); itself without `whose`."""
        return self if self.whose is None else Batch(*self._given, self.divisor)

    def _of_members(self, given: Tensor) -> Tensor:
        if self.whose is None:
            return given
        if given.shape[0] == 1:
            return given.expand(len(self.whose), *given.shape[1:])
        return given.index_select(0, self.whose)


@dataclass
class BlockTrace:
    """What a block computed: `pre` and `act` before pooling; `out` after pooling and mask, input of the next.

    (M, B, n) each, or (M, B, C, H, W) in a convolution; its `index` and `mask` are shaped like `out`.
    """

    input: Tensor
    pre: Tensor
    act: Tensor
    out: Tensor
    index: Tensor | None = None  # argmax of pooling windows that overlap, flat over height x width
    mask: Tensor | None = None  # inverted-dropout mask multiplied onto `out`
    params: dict[str, Tensor] | None = None  # of the block, where `forward` made the trace


@dataclass
class Trace:
    """A forward pass, block by block."""

    blocks: list[BlockTrace]

    @property
    def output(self) -> Tensor:
        """Output of the last block, (M, B, n_out)."""
        return self.blocks[-1].out


@runtime_checkable
class Block(Protocol):
    """What a net is made of: a layer (see `Layer`), or a stage of several that is passed as a whole."""

    n_out: int  # units of the output, flattened
    shape_out: tuple[int, ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, without the stack axis; a stage names them PART.weight, PART.bias."""

    def forward(self, params: dict[str, Tensor], x: Tensor, mask: Tensor | None = None) -> BlockTrace:
        """The pass of the input x (M, B, ...), with what `backward` needs of it."""

    def backward(self, trace: BlockTrace, grad: Tensor, below: bool = True) -> tuple[dict[str, Tensor], Tensor | None]:
        """Gradient at the output (M, B, ...), flattened or not -> gradients of the parameters, gradient at the input.

        With the parameters of the forward pass, as they are now. below: whether the second is asked for; else None.
        """


@runtime_checkable
class Layer(Block, Protocol):
    """A block with one weight, whose reverse comes in pieces as well (see the module's docstring)."""

    activation: str  # see `credit.nets.activations`
    bias: bool

    def linear(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        """The pre-activation (M, B, ...) of the input x: the first half of `forward`."""

    def activate(self, x: Tensor, pre: Tensor, mask: Tensor | None = None) -> BlockTrace:
        """What follows the pre-activation `pre` (M, B, ...), of the input x: the second half of `forward`."""

    def local(self, trace: BlockTrace, grad: Tensor) -> Tensor:
        """Gradient at the output (M, B, ...) -> at the pre-activation."""

    def weight_gradient(self, trace: BlockTrace, delta: Tensor) -> dict[str, Tensor]:
        """Gradient at the pre-activation (M, B, ...) -> of weight and bias, summed over the batch."""

    def pull(self, weight: Tensor, delta: Tensor, trace: BlockTrace) -> Tensor:
        """Gradient at the pre-activation -> at the input (M, B, ...), through any weight of the weight's shape."""


def in_pieces(layer: Layer, trace: BlockTrace, grad: Tensor, below: bool) -> tuple[dict[str, Tensor], Tensor | None]:
    """`Block.backward` of a layer, grad (M, B, ...). Raises ValueError for a trace that `forward` has not made."""
    if trace.params is None:
        raise ValueError("this trace knows no parameters; backward needs one that forward has made")
    delta = layer.local(trace, grad)
    gradients = layer.weight_gradient(trace, delta)
    return gradients, layer.pull(trace.params["weight"], delta, trace) if below else None


@dataclass(frozen=True)
class Net:
    """Blocks in a row and a loss on the last one's output.

    kind: name of the module that built it (a learning rule lists the kinds that it can train).
    keep: probability that a hidden unit is kept by dropout; 1 means no dropout.
    """

    kind: str
    blocks: tuple[Block, ...]
    loss: Loss
    shape_in: tuple[int, ...]
    keep: float = 1.0

    def __post_init__(self) -> None:
        number = isinstance(self.keep, numbers.Real) and not isinstance(self.keep, bool)
        if not (number and 0 < self.keep <= 1):  # NaN is neither
            raise ConfigError(f"net.keep = {self.keep!r}; must be a number in (0, 1]")

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def n_out(self) -> int:
        """Number of output units."""
        return self.blocks[-1].n_out

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What of the settings of a net decides whether a learning rule is defined for it, see `credit.nets.suited`."""
        names = tuple(getattr(block, "activation", "") for block in self.blocks)
        sizes = tuple(block.n_out for block in self.blocks[:-1])
        activations = {"hidden": names[:-1], "output": names[-1]}
        return {"kind": self.kind, "n_blocks": len(self), "hidden_sizes": sizes, "keep": self.keep, **activations}

    @cached_property
    def with_products(self) -> Net:
        """The same net, but gradients of large dense weights may stay products (see `credit.numerics.products`)."""
        blocks = tuple(b.with_products() if hasattr(b, "with_products") else b for b in self.blocks)
        return replace(self, blocks=blocks)

    def block(self, i: int) -> Block:
        """Block `i`, callable alone."""
        return self.blocks[i]

    @cached_property
    def _first(self) -> tuple[str, int]:
        """A parameter of the first block, and its number of axes in a single network."""
        name, shape = next(iter(self.blocks[0].shapes().items()))
        return name, len(shape)

    def lead(self, params: Params) -> torch.Size:
        """What stands before all shapes of a single network: (M,) in a stack, () without one.

        The only place that looks for the stack axis; its length is the axis of the samples.
        """
        name, axes = self._first
        shape = params["0"][name].shape
        return shape[: len(shape) - axes]

    def stacked(self, params: Params) -> bool:
        """Whether parameters belong to a stack."""
        return len(self.lead(params)) > 0

    def members(self, params: Params) -> int:
        """Size M of the stack, 0 for a single network."""
        return next(iter(self.lead(params)), 0)

    def like(self, params: Params) -> Tensor:
        """One of the parameters, of any shape, for its dtype and device."""
        return params["0"][self._first[0]]

    def connected(self, params: Params) -> dict[str, Tensor]:
        """1 for weights that are there and 0 for others, {block: (n_out, n_in)}; of blocks that lack some."""
        like = self.like(params)
        kept = {str(i): b.connected(like) for i, b in enumerate(self.blocks) if hasattr(b, "connected")}
        return {i: weights for i, weights in kept.items() if weights is not None}

    def rand(self, params: Params, rand: Rand | int | Replay | None) -> Rand:
        """What a learning rule may be given as its randomness, see `credit.numerics.rand.as_rand`."""
        return rand if isinstance(rand, Rand) else as_rand(rand, self.like(params), self.members(params))

    def init(
        self,
        seed: int | Rand = 0,
        scheme: Scheme | Sequence[Scheme] = "xavier_normal",
        dtype=None,
        stream: str = "init",
    ) -> Params:
        """Parameters drawn by `scheme` (see `credit.nets.init`), or by one scheme for each block.

        Biases are zero unless the scheme draws them, or gives their width as its option `bias`.
        seed: an int for one network, or a `Rand` whose members make the stack. dtype: default torch's.
        stream: name of the random streams; a second net of the same seed needs another one.
        """
        if isinstance(seed, Rand) and dtype not in (None, seed.dtype):
            raise ValueError(f"dtype = {dtype}; the given Rand draws {seed.dtype}")
        rand = seed if isinstance(seed, Rand) else Rand(seed, dtype=dtype or torch.get_default_dtype())
        schemes = [scheme] * len(self) if isinstance(scheme, (str, Mapping)) else list(scheme)
        if len(schemes) != len(self):
            raise ValueError(f"init = {schemes}; must be one scheme, or one for each of {len(self)} blocks")
        pairs = enumerate(zip(self.blocks, schemes, strict=True))
        return {str(i): init_block(block, rand, one, f"{stream}.{i}") for i, (block, one) in pairs}

    def forward(self, params: Params, x: Tensor, masks: list[Tensor | None] | None = None) -> Trace:
        """Run every block on x (M, B, ...) and keep what it computed. masks: see `masks`; None: no dropout."""
        traces = []
        for i, block in enumerate(self.blocks):
            trace = block.forward(params[str(i)], x, masks[i] if masks else None)
            traces.append(trace)
            x = trace.out
        return Trace(traces)

    def predict(self, params: Params, x: Tensor) -> Tensor:
        """Output (M, B, n_out) for x (M, B, ...) without dropout; nothing is kept."""
        largest = max((math.prod(block.shape_pre) for block in self.blocks if hasattr(block, "shape_pre")), default=0)
        samples = len(self.lead(params))  # their axis
        if not largest or x.ndim != samples + 1 + len(self.shape_in) or x.device.type != "cpu":
            return self._predict(params, x)
        size = max(1, ROOM // (largest * math.prod(self.lead(params))))
        parts = [self._predict(params, part) for part in x.split(size, samples)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, samples)

    def _predict(self, params: Params, x: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = block.forward(params[str(i)], x).out
        return x

    def masks(
        self, params: Params, batch_size: int, rand: Rand, out: list[Tensor] | None = None
    ) -> list[Tensor | None] | None:
        """Inverted-dropout masks of the hidden blocks, (M, B, ...), values 0 or 1/keep; None when nothing is dropped.

        out: memory for them on the CPU, (M, B, ...) each.
        """
        if self.keep >= 1:
            return None
        rand = self.rand(params, rand)
        hidden = [
            rand.bernoulli(
                f"dropout.{i}", (batch_size, *b.shape_out), self.keep, 1 / self.keep, None if out is None else out[i]
            )
            for i, b in enumerate(self.blocks[:-1])
        ]
        return [*hidden, None]


def init_block(block: Block, rand: Rand, scheme: Scheme, stream: str) -> dict[str, Tensor]:
    """Parameters of one block, (M, ...) each, every one from its own random stream `STREAM.weight`, `STREAM.bias`."""
    shapes, drawn = block.shapes(), {}
    for name, shape in shapes.items():
        part = name[: name.rfind(".") + 1]
        drawn[name] = init(scheme, shape, rand, f"{stream}.{name}", fan_from=shapes[f"{part}weight"])
    kept = block.connected(drawn["weight"]) if hasattr(block, "connected") else None
    if kept is None:
        return drawn
    if layer_options(scheme)[0] == "given" and bool((drawn["weight"] * (1 - kept)).any()):
        raise ConfigError(f"{stream}: given values of a diagonal layer; must be 0 off the diagonal")
    return {**drawn, "weight": drawn["weight"] * kept}


def check_input(net: Net, params: Params, x: Tensor) -> None:
    """Raise ValueError when the last axes of x (M, B, ...) are not what the net takes, or B is 0; a dense net flattens
    images."""
    lead, like = net.lead(params), net.like(params)
    features = tuple(x.shape[len(lead) + 1 :])
    fits = math.prod(features) == math.prod(net.shape_in) if net.kind == "dense" else features == net.shape_in
    if not fits or not features:
        axes = "members, batch" if lead else "batch"
        raise ValueError(
            f"input has shape {tuple(x.shape)}; this {net.kind} net takes ({axes}, {', '.join(map(str, net.shape_in))})"
        )
    if x.shape[len(lead)] == 0:
        raise ValueError(f"input has shape {tuple(x.shape)}: the mini-batch is empty, a learning rule needs a sample")
    if x.dtype != like.dtype:
        raise ValueError(f"input is {x.dtype}; the parameters are {like.dtype}")
    if lead and x.shape[0] not in (1, *lead):
        raise ValueError(f"input has {x.shape[0]} members; the parameters have {lead[0]}")


def loss_named(name: str) -> Loss:
    """The loss `name` of `credit.nets.losses`."""
    return losses.get(name)
