"""What the rules of target propagation share: feedback blocks that learn, targets, and local losses.

Source: Ernoult, Normandin, Moudgil, Spinney, Belilovsky, Rish, Richards & Bengio (ICML 2022), "Towards Scaling
Difference Target Propagation by Learning Backprop Targets", and its official code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import (
    Batch,
    Forward,
    Method,
    Result,
    State,
    Step,
    absurd,
    batch_size,
    forward,
    redivided,
)  # fmt: skip
from credit.methods.targets.chain import Link, links
from credit.methods.targets.losses import FeedbackStep
from credit.methods.targets.names import SYMMETRIC, options
from credit.methods.targets.settings import Feedback
from credit.nets.base import Net, init_block
from credit.nets.feedback_stage import feedback_of
from credit.numerics.rand import Rand
from credit.numerics.stack import scaled
from credit.numerics.trees import Params
from credit.optim.config import check
from credit.optim.group import OptimizerGroup
from credit.optim.optimizers import Optimizer

Iterate = Callable[[int, Link, int, OptimizerGroup, State, Rand], list[Tensor]]


def noise_stream(i: int) -> str:
    """Name of the noise of feedback block i; what it is added to goes behind."""
    return f"feedback_noise.{i}"


def _last(losses: Mapping[int, list[Tensor]]) -> dict[str, Any]:
    """What is recorded of the losses (M,) of every iteration by block: the sum over blocks of the last."""
    last = [block[-1] for block in losses.values() if block]
    return {"means": {"feedback_loss": torch.stack(last).sum(0)}} if last else {}


def descend(
    i: int, step: Callable[[dict[str, Tensor]], FeedbackStep], n: int, opt: OptimizerGroup, state: State
) -> list[Tensor]:
    """`n` steps of feedback block i, whose parameters {"weight": (M, ...)} `step` gets; their losses (M,)."""
    losses = []
    for _ in range(n):
        found = step(state["feedback"][str(i)])
        opt.others["feedback"].step(state["feedback"], {str(i): found.gradients})
        losses.append(found.loss)
    return losses


@dataclass(frozen=True)
class TargetPropagation(Method):
    """For every mini-batch: steps of the feedback blocks, bottom-up, with the forward weights as they are; then targets
    from the output down, and one step of every block on 1/2 <||s^i - t^i||²>.

    beta: nudging, t^{N-1} = s^{N-1} - beta dl/ds^{N-1} of every single sample. feedback: see `Feedback`.
    learn_forward: whether the forward weights take their step; else the feedback blocks learn alone.
    """

    metrics: ClassVar[tuple[str, ...]] = ("feedback_loss",)
    nets: ClassVar[tuple[str, ...]] = ("dense", "conv", "resnet")
    exact_output: ClassVar[bool] = False
    keeps_state: ClassVar[bool] = True
    single_step: ClassVar[bool] = False
    excludes: ClassVar[str] = "credit.methods.targets.names.exclusive"

    beta: Annotated[float, "> 0"] = 0.7
    feedback: Feedback = Feedback()
    learn_forward: bool = True

    # ---- what the rule keeps

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": {block: {"weight": ..., "bias": ...}}} of blocks 1 to N - 1, shaped as `feedback_of` says."""
        rand, state = net.rand(params, rand), {}
        name, _ = options(self.feedback.init, "feedback.init")
        for i in range(1, len(net)):
            block = feedback_of(net.block(i))
            if name == SYMMETRIC:
                drawn = {n: torch.zeros(*net.lead(params), *s) for n, s in block.shapes().items()}
                drawn |= block.copied(params[str(i)])
            else:
                drawn = init_block(block, rand, self.feedback.init, f"feedback.{i}")
            state[str(i)] = {n: p.to(net.like(params)).contiguous().clone() for n, p in drawn.items()}
        return {"feedback": state}

    def optimizer(self, net: Net, params: Params, state: State, settings: Mapping[str, Any]) -> OptimizerGroup:
        """`settings` for the forward weights; "feedback" for the feedback blocks, at constant rates."""
        own = super().optimizer(net, params, state, settings)
        given = check(self.feedback.optimizer_settings(len(net) - 1, self.name), f"{self.name}.feedback")
        feedback = Optimizer(given).init(state["feedback"], net.members(params))
        return OptimizerGroup(own, {"feedback": feedback})

    # ---- a mini-batch

    def update(self, net: Net, params: Params, opt: OptimizerGroup, state: State, batch: Batch, rand: Rand) -> Result:
        """info: as `gradients`; means: feedback_loss (M,), of the last iteration of every block, summed over blocks;
        diverged (M,): whose feedback weights are absurd, which the forward weights need not show."""
        return self._update(net, params, opt, state, batch, rand, self._iterations)

    def _update(
        self, net: Net, params: Params, opt: OptimizerGroup, state: State, batch: Batch, rand: Rand, iterate: Iterate
    ) -> Result:
        run = forward(net, params, batch, rand)
        chain = links(net, params, run.trace, self.feedback.collisions)
        losses = self.learn_feedback(net, params, opt, state, chain, net.rand(params, rand), iterate)
        step = self._step(net, params, state, batch, run, chain)
        if self.learn_forward:
            opt.step(params, redivided(step.gradients, net, params, batch))
        info = step.info | _last(losses) | {"gradients": step.gradients, "feedback_losses": losses}
        info["diverged"] = absurd(state["feedback"], net.stacked(params))
        return params, opt, state, info

    def learn_feedback(
        self, net: Net, params: Params, opt: OptimizerGroup, state: State, chain: dict[int, Link], rand: Rand,
        iterate: Iterate,
    ) -> dict[int, list[Tensor]]:  # fmt: skip
        """The feedback blocks learn, in place. Returns the losses (M,) of every iteration, by block.

        iterate: called for every block as `_iterations`.

        Raises ConfigError where `opt` has no optimiser for them.
        """
        if self.feedback.tied:
            for i, link in chain.items():
                for name, weight in link.feedback.copied(link.params).items():
                    state["feedback"][str(i)][name].copy_(weight)
        iterations = self.feedback.by_block("iterations", len(chain), self.name)
        if any(iterations) and "feedback" not in getattr(opt, "others", ()):
            made = "make it by rule.optimizer(net, params, state, settings)"
            raise ConfigError(f"{self.name}: the optimiser has none for feedback weights; {made}")
        return {i: iterate(i, link, n, opt, state, rand)
                for (i, link), n in zip(chain.items(), iterations, strict=True)}  # fmt: skip

    def _iterations(self, i: int, link: Link, n: int, opt: OptimizerGroup, state: State, rand: Rand) -> list[Tensor]:
        """`n` steps of feedback block i; their losses."""
        noise = self.sigma(i, state), rand, noise_stream(i)

        def step(own: dict[str, Tensor]) -> FeedbackStep:
            return self.feedback_step(link, own, *noise)

        return descend(i, step, n, opt, state)

    def sigma(self, i: int, state: State) -> float:
        """Standard deviation of the noise of feedback block i."""
        return self.feedback.by_block("sigma", len(state["feedback"]), self.name)[i - 1]

    def feedback_step(
        self, link: Link, params: dict[str, Tensor], sigma: float, rand: Rand, stream: str
    ) -> FeedbackStep:
        """Loss and gradient of one feedback block with parameters `params` (M, ...)."""
        raise NotImplementedError

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """Forward gradients with the feedback blocks as they are. info: targets, {block: t^i (M, B, ...)};
        local_losses, {block: 1/2 <||s^i - t^i||²> (M,)}."""
        run = forward(net, params, batch, rand)
        return self._step(net, params, state, batch, run, links(net, params, run.trace, self.feedback.collisions))

    def _step(self, net: Net, params: Params, state: State, batch: Batch, run: Forward, chain: dict[int, Link]) -> Step:
        n = batch_size(net, params, batch)
        delta = -scaled(run.error, self.beta)
        if not net.loss.summed:
            delta = delta * n
        targets = {len(net) - 1: run.trace.output + delta}
        for i in range(len(net) - 1, 0, -1):
            below = self.target(chain[i], state["feedback"][str(i)], targets[i])
            targets[i - 1] = below.reshape(chain[i].below.shape)
        gradients, losses, axis = {}, {}, len(net.lead(params))
        for i, trace in enumerate(run.trace.blocks):
            apart = trace.out - targets[i]
            losses[i] = 0.5 * (apart * apart).sum(tuple(range(axis, apart.ndim))) / n
            gradients[str(i)], _ = net.block(i).backward(trace, apart / n, below=False)
        return Step(gradients, run.info | {"targets": targets, "local_losses": losses})

    def target(self, link: Link, params: dict[str, Tensor], above: Tensor) -> Tensor:
        """t^{i-1} (M, B, ...) from t^i, with the difference correction: s^{i-1} + G(t^i) - G(s^i)."""
        return link.below + link.moved(params, above)
