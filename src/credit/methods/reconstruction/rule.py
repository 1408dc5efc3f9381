"""What the rules with difference reconstruction share: targets, local losses, and the schedule of the feedback.

Source: Meulemans, Carzaniga, Suykens, Sacramento & Grewe (NeurIPS 2020), "A Theoretical Framework for Target
Propagation", and its official code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import Batch, Forward, Method, Pass, Phase, Result, State, Step, absurd, forward, redivided
from credit.methods.reconstruction.losses import FeedbackStep
from credit.methods.reconstruction.settings import Feedback
from credit.nets.base import Net, Trace, check_input
from credit.nets.init import init
from credit.numerics.rand import Rand
from credit.numerics.stack import scaled
from credit.numerics.trees import Params
from credit.optim.config import check
from credit.optim.group import OptimizerGroup
from credit.optim.optimizers import Optimizer

STREAM = "feedback_noise"


@dataclass(frozen=True)
class DifferenceReconstruction(Method):
    """Layers learn to reach targets: the gradient of layer l is that of <||h_l - t_l||²> (of a convolution: of the mean
    over its units too), where the output's target is t_L = h_L - target_stepsize dloss/dh_L.

    target_stepsize: eta. It scales the gradients twice over; published runs divide the learning rate by it. feedback:
    its weights and their learning, see `Feedback`; they learn in a step after the gradients of every mini-batch.
    pretrain_epochs: passes before the training in which they alone learn. extra_feedback_passes: the same after every
    epoch. learn_forward: whether the forward weights take their step; else the feedback learns alone.
    """

    metrics: ClassVar[tuple[str, ...]] = ("feedback_loss",)
    nets: ClassVar[tuple[str, ...]] = ("dense",)
    exact_output: ClassVar[bool] = False
    pass_functions: ClassVar[tuple[str, ...]] = ("update", "feedback_pass")
    keeps_state: ClassVar[bool] = True
    single_step: ClassVar[bool] = False
    excludes: ClassVar[str] = "credit.methods.reconstruction.names.exclusive"

    target_stepsize: Annotated[float, "> 0"] = 0.06
    feedback: Feedback = Feedback()
    pretrain_epochs: Annotated[int, ">= 0"] = 6
    extra_feedback_passes: Annotated[int, ">= 0"] = 1
    learn_forward: bool = True

    # ---- what the rule keeps

    def maps(self, net: Net) -> dict[str, tuple[tuple[int, int], bool]]:
        """Shape (n, k) of every feedback map by the name of its layer, lowest first, and whether it has a bias."""
        raise NotImplementedError

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": {layer: {"weight": Q (M, n, k), "bias": d (M, n)}}}."""
        rand, like, state = net.rand(params, rand), net.like(params), {}
        for layer, (shape, bias) in self.maps(net).items():
            shapes = {"weight": shape, "bias": shape[:1]} if bias else {"weight": shape}
            state[layer] = {
                n: init(self.feedback.init, s, rand, f"feedback.{layer}.{n}", fan_from=shape).to(like).clone()
                for n, s in shapes.items()
            }
        return {"feedback": state}

    def optimizer(self, net: Net, params: Params, state: State, settings: Mapping[str, Any]) -> OptimizerGroup:
        """`settings` for the forward weights; "feedback" for all feedback weights together, at a constant rate."""
        own = super().optimizer(net, params, state, settings)
        given = check(self.feedback.optimizer_settings(), f"{self.name}.feedback")
        feedback = Optimizer(given).init(state["feedback"], net.members(params))
        return OptimizerGroup(own, {"feedback": feedback})

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """Passes of the feedback weights alone, then epochs with passes of both and of the feedback weights."""
        extra = (Pass("feedback_pass"),) * self.extra_feedback_passes
        alone = Phase("pretrain", self.pretrain_epochs, (Pass("feedback_pass"),), record=False)
        return (alone, Phase("train", epochs, (Pass(), *extra)))

    # ---- a mini-batch

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """info: targets, {layer: t_l (M, B, ...)}."""
        self.check_net(net)
        return self._step(net, params, state, forward(net, params, batch, rand))

    def _step(self, net: Net, params: Params, state: State, run: Forward) -> Step:
        last, axis = len(net) - 1, len(net.lead(params))
        goal = run.trace.output - scaled(run.error, self.target_stepsize)
        targets = {last: goal, **self.targets(net, state, run.trace, goal)}
        gradients = {}
        for i, trace in enumerate(run.trace.blocks):
            units = trace.out.shape[axis:] if trace.out.ndim > axis + 2 else trace.out.shape[axis : axis + 1]
            apart = trace.out - targets[i]
            gradients[str(i)], _ = net.block(i).backward(trace, apart * (2 / math.prod(units)), below=False)
        return Step(gradients, run.info | {"targets": targets})

    def targets(self, net: Net, state: State, trace: Trace, goal: Tensor) -> dict[int, Tensor]:
        """Targets of the hidden layers, shaped as their outputs. goal: that of the output, (M, B, n_L)."""
        raise NotImplementedError

    def update(self, net: Net, params: Params, opt: OptimizerGroup, state: State, batch: Batch, rand: Rand) -> Result:
        """Gradients with the feedback weights as they are, then a step of these, then one of the forward weights.

        info: as `gradients`; means: feedback_loss (M,), of the last iteration, summed over layers; diverged (M,): whose
        feedback weights are absurd.
        """
        run = forward(net, params, batch, rand)
        step = self._step(net, params, state, run)
        self._learn(net, params, opt, state, run.trace, rand, step.info)
        if self.learn_forward:
            opt.step(params, redivided(step.gradients, net, params, batch))
        return params, opt, state, step.info | {"gradients": step.gradients}

    def feedback_pass(
        self, net: Net, params: Params, opt: OptimizerGroup, state: State, batch: Batch, rand: Rand
    ) -> Result:
        """One step of the feedback weights alone."""
        check_input(net, params, batch.x)
        info: dict[str, Any] = {}
        self._learn(net, params, opt, state, net.forward(params, batch.x), rand, info)
        return params, opt, state, info

    def _learn(
        self, net: Net, params: Params, opt: OptimizerGroup, state: State, trace: Trace, rand: Rand, info: dict
    ) -> None:
        if "feedback" not in getattr(opt, "others", ()):
            made = "make it by rule.optimizer(net, params, state, settings)"
            raise ConfigError(f"{self.name}: the optimiser has none for feedback weights; {made}")
        rand, last, handed = net.rand(params, rand), {}, {}
        for active in self._turns([int(layer) for layer in state["feedback"]]):
            found = self.feedback_steps(net, params, state, trace, rand, active)
            handed = handed if self.feedback.stale_gradients else {}
            handed |= {str(i): one.gradients for i, one in found.items()}
            opt.others["feedback"].step(state["feedback"], handed)
            last |= {i: one.loss for i, one in found.items()}
        info["diverged"] = absurd(state["feedback"], net.stacked(params))
        if last:
            info["means"] = {"feedback_loss": torch.stack(list(last.values())).sum(0)}

    def _turns(self, layers: list[int]) -> Iterator[list[int]]:
        """Which of the layers with feedback, lowest first, get a gradient of their own in each step of a mini-batch."""
        steps = dict(zip(layers, self.feedback.steps(len(layers), self.name), strict=True))
        if self.feedback.stale_gradients:
            yield from ([layer] for layer, n in steps.items() for _ in range(n))
        else:
            yield from ([layer for layer, n in steps.items() if n > k] for k in range(max(steps.values())))

    def feedback_steps(
        self, net: Net, params: Params, state: State, trace: Trace, rand: Rand, active: list[int]
    ) -> dict[int, FeedbackStep]:
        """Losses and gradients of the feedback maps of the layers `active`, ascending; trace: of the clean pass.

        Noise comes from the streams feedback_noise.0, ..., named after the disturbed layer.
        """
        raise NotImplementedError

    def noise(self, net: Net, params: Params, trace: Trace, rand: Rand, layers: list[int]) -> dict[int, Tensor]:
        """sigma times a standard normal draw for every hidden layer of `layers`, shaped as its output (M, B, ...)."""
        axis = len(net.lead(params))
        return {
            i: scaled(rand.normal(f"{STREAM}.{i}", tuple(trace.blocks[i].out.shape[axis:])), self.feedback.sigma)
            for i in layers
        }
