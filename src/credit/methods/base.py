"""The contract of a learning rule.

A learning rule is a frozen dataclass whose fields are its hyperparameters. Most are one function, `gradients`; one
that optimises inside a mini-batch overrides `update`, one with several stages of training overrides `phases`.
Every module of this package that is one ends in `part = ItsClass`; its file name is its name.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

from torch import Tensor

from credit.config import hyperparameters
from credit.config.fields import check_members, plain
from credit.config.parts import METHODS
from credit.errors import ConfigError
from credit.methods.fast import Fast, Result
from credit.nets.base import Batch, Net, Trace, check_input
from credit.numerics.products import multiplied_out
from credit.numerics.rand import Rand, Replay
from credit.numerics.trees import Params
from credit.optim import optimizer
from credit.optim.base import OptimizerLike
from credit.optim.clipping import norms
from credit.optim.scaled import Scaled, by_unit

State = dict[str, Any]
DIVERGED = 1e12  # a loss, a weight or an unclipped gradient beyond is taken for infinite


@dataclass
class Step:
    """What a learning rule computes from a mini-batch.

    gradients: structure of params, the direction to *descend* (p -= lr g); missing entries are not trained.
    info: named intermediates (output, loss, trace, deltas, ...). state: the rule's new state, None if unchanged.
    """

    gradients: Params
    info: dict[str, Any]
    state: State | None = None


@dataclass(frozen=True)
class Pass:
    """One pass over the training data: `update` names the method's function that takes the mini-batches."""

    update: str = "update"


@dataclass(frozen=True)
class Phase:
    """A stage of training: `epochs` times all `passes`, in order. `record`: whether its epochs are evaluated.

    first: number of its first epoch, for schedules and for what a rule measures of itself; a stage that goes on where
    another of the same name has ended counts on.
    """

    name: str
    epochs: int
    passes: tuple[Pass, ...] = (Pass(),)
    record: bool = True
    first: int = 0


@dataclass(frozen=True)
class Method:
    """Base of every learning rule."""

    nets: ClassVar[tuple[str, ...]] = ("dense",)  # kinds of nets that the rule is defined for
    exact_output: ClassVar[bool] = True  # the last layer's gradient is backpropagation's
    pass_functions: ClassVar[tuple[str, ...]] = ("update",)  # functions that take mini-batches, with its signature
    keeps_state: ClassVar[bool] = False  # `init` returns something
    single_step: ClassVar[bool] = True  # `gradients` is the whole rule, and `update` one optimiser step on it
    one_for_all: ClassVar[tuple[str, ...]] = ()  # numbers that are the same for all members of a stack

    @property
    def name(self) -> str:
        """The learning rule's name, which is that of its file."""
        return type(self).__module__.rpartition(".")[2]

    def __init_subclass__(cls, **options: Any) -> None:
        """`init` of every rule begins with `check_start`, so that none starts where it is not defined."""
        super().__init_subclass__(**options)
        if "init" in vars(cls):
            cls.init = _checked(cls.init)

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        checked = hyperparameters.check(type(self).__module__, given, self.name, stacked=True)
        for key in self.one_for_all:
            if isinstance(checked[key], tuple):
                raise ConfigError(f"{self.name}.{key} = {list(checked[key])}; must be one value for all members")
        for name, value in hyperparameters.instances(type(self), checked).items():
            if is_dataclass(value):
                object.__setattr__(self, name, value)

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """Feedback weights and whatever else the rule keeps: a nested dict of tensors. Default: nothing.

        Raises ConfigError as `check_start`, which is called before the `init` of any rule.
        """
        self.check_start(net, params, rand)
        return {}

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """The rule itself; pure: neither params nor state nor batch are changed."""
        raise TypeError(f"{type(self).__name__} has no single-step form; use its `update`")

    def update(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
        """What the loop calls: `gradients`, then the optimiser. Owns params, opt and state, may change them.

        Of info the loop reads "loss" (M,), "diverged" (M,), which members to give up, and "sums" and "means": {metric:
        (M,)}, recorded once an epoch.
        """
        if self.passes_products() and opt.takes_products:
            net = net.with_products
        step = self.gradients(net, params, state, batch, rand)
        step.gradients = redivided(step.gradients, net, params, batch)
        opt.step(params, step.gradients)
        step.info["gradients"] = multiplied_out(step.gradients)
        return params, opt, state if step.state is None else step.state, step.info

    def inspect(
        self, net: Net, params: Params, state: State, batch: Batch, rand: Rand, function: str, epoch: int
    ) -> dict[str, Tensor]:
        """What the rule measures of itself, {metric: (M,)}: recorded with the epoch, which counts from 0 in a phase.

        The learner asks with the first mini-batch of every pass, before `function` gets it.
        """
        return {}

    def fast(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, batch_size: int, *,
             function: str = "update") -> Fast | None:  # fmt: skip
        """A faster form of `function` for mini-batches like `batch`, of `batch_size` samples each; None: there is none.

        The learner asks with the first such mini-batch, keeps what it gets and asks again after None, after a copy or
        a checkpoint, and in another phase. See `credit.methods.fast`.
        """
        return None

    def optimizer(self, net: Net, params: Params, state: State, settings: Mapping[str, Any]) -> OptimizerLike:
        """The optimiser of a run, from its settings (see `credit.optim`).

        Weights that the net does not have (`connections`) stay 0. Raises ConfigError for a hyperparameter that has not
        one value for each member.
        """
        check_members(self, net.members(params))
        made = optimizer(**settings).init(params, net.members(params))
        factors = by_unit(settings.get("units") or {}, params, net.members(params))
        for block, kept in net.connected(params).items():
            factors[block] = factors.get(block, 1) * kept
        return Scaled(made, factors) if factors else made

    def passes_products(self) -> bool:
        """Whether `gradients` only passes on the weight gradients of the net, which may then stay products."""
        return False

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """The stages of a run of `epochs` epochs. Default: one phase with one pass an epoch."""
        return (Phase("train", epochs),)

    def check_start(self, net: Net, params: Params, rand: Rand | int | Replay | None) -> None:
        """Raise ConfigError as `check_net`, and where random streams are not those of the members of `params`."""
        self.check_net(net)
        members = net.members(params)
        if isinstance(rand, Rand) and rand.members != members:
            drawn, given = (f"{n} members" if n else "a single network" for n in (rand.members, members))
            raise ConfigError(f"rand draws for {drawn}; the parameters are of {given}")

    def check_net(self, net: Net) -> None:
        """Raise ConfigError (a ValueError) when the rule with its hyperparameters is not defined for this net."""
        if net.kind not in self.nets:
            raise ConfigError(
                f"method {self.name} is not defined for a {net.kind} net; it takes: {', '.join(self.nets)}"
            )
        known = next(c.__module__ for c in type(self).__mro__ if hasattr(sys.modules[c.__module__], "part"))
        found = hyperparameters.exclusions(known, plain(self), net.settings)
        if found:
            lines = (f"method {self.name}: {p}" if p.startswith("net.") else f"{self.name}.{p}" for p in found)
            raise ConfigError("\n".join(lines))


def _checked(init: Callable[..., State]) -> Callable[..., State]:
    """`Method.init` of a rule, behind its `check_start`."""

    @functools.wraps(init)
    def checked(self: Method, net: Net, params: Params, rand: Rand) -> State:
        self.check_start(net, params, rand)
        return init(self, net, params, rand)

    return checked


@dataclass
class Forward:
    """A forward pass with its loss: what every error-driven rule starts from."""

    trace: Trace
    loss: Tensor  # (M,)
    error: Tensor  # gradient of the loss at the output, (M, B, n_out)
    info: dict[str, Any] = field(default_factory=dict)


def forward(net: Net, params: Params, batch: Batch, rand: Rand) -> Forward:
    """Forward pass (with dropout masks where the net has them), loss and its gradient at the output."""
    check_input(net, params, batch.x)
    masks = net.masks(params, batch_size(net, params, batch), rand)
    return with_loss(net, net.forward(params, batch.x, masks), batch)


def with_loss(net: Net, trace: Trace, batch: Batch) -> Forward:
    """A forward pass that has been made, with its loss and the gradient at the output."""
    if batch.weights is None:
        loss, error = net.loss.value_and_gradient(trace.output, batch.y)
    else:
        loss, error = net.loss.value_and_gradient(trace.output, batch.y, batch.weights)
    return Forward(trace, loss, error, {"output": trace.output, "loss": loss, "trace": trace, "error": error})


def batch_size(net: Net, params: Params, batch: Batch) -> int:
    """Number of samples in a mini-batch."""
    return batch.x.shape[len(net.lead(params))]


def absurd(weights: Params, stacked: bool) -> Tensor:
    """Members whose weights, of nested dicts with (M, ...), are not finite or beyond `DIVERGED`: bool (M,), or ()."""
    return ~(norms([p for block in weights.values() for p in block.values()], stacked) <= DIVERGED)


def redivided(gradients: Params, net: Net, params: Params, batch: Batch) -> Params:
    """Gradients of a mean over the batch, with `batch.divisor` in place of its number of samples."""
    if batch.divisor is None or net.loss.summed:
        return gradients
    factor = batch_size(net, params, batch) / batch.divisor
    return {i: {name: g * factor for name, g in block.items()} for i, block in gradients.items()}


def method(name: str, **hyper: Any) -> Method:
    """The learning rule `name` with its hyperparameters.

    A float hyperparameter may be a sequence with one value per member of the stack. Raises ConfigError
    (a ValueError) naming an unknown learning rule, an unknown hyperparameter or a value that is not allowed.
    """
    module = METHODS.load(name)
    return module.part(**hyperparameters.check(module.__name__, hyper, name, stacked=True))
