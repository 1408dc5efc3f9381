"""What DFC, DFC-SS and DFC-SSA share: the output target, the feedback weights and their learning.

Source: Meulemans, Tristany Farinha, Garcia Ordonez, Vilimelis Aceituno, Sacramento & Grewe (NeurIPS 2021), "Credit
Assignment in Neural Networks through Deep Feedback Control", and its official code. The defaults suit small nets;
they are those of no published experiment, each of which states its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import DIVERGED, Batch, Method, Pass, Phase, Result, State, Step, forward
from credit.methods.control import feedback as learning
from credit.methods.control import names
from credit.methods.control.controller import Controller
from credit.methods.control.frame import Absolute, Deviation
from credit.methods.control.linearised import layer_gains, spectral_radius
from credit.methods.control.noise import draw_over_time, draw_projected, full
from credit.methods.control.settings import Feedback
from credit.nets.base import Net, check_input
from credit.nets.init import init
from credit.numerics.rand import Rand
from credit.numerics.stack import combine, member, scaled
from credit.numerics.trees import Params
from credit.optim.clipping import clip_each, clip_jointly, norms
from credit.optim.config import check
from credit.optim.group import OptimizerGroup
from credit.optim.optimizers import Optimizer

INSPECTED = 4  # samples whose spectral radius is computed, once an epoch
FINE = 1e-3  # of dt: a step so fine that instability is no longer the step's fault
ROUNDED = 1e-3, 1e-5  # above a spectral radius of 1: in float32, in float64
FAULT = 10  # times the growth per unit of time with the fine step: what exceeds it is the step's own


@dataclass(frozen=True)
class DeepFeedbackControl(Method):
    """A controller drives the output towards r* = r_L - target_stepsize g, g the gradient of the loss at the output,
    through feedback weights Q_i (n_i x n_L) to every layer; what it changes in a layer is what the layer learns.

    target_stepsize: lambda. It scales the gradients; published runs divide the learning rate by it. alpha: leak of
    the controller. learning_rule: how a change of voltage teaches. clip_norm: largest norm of the gradient of each
    tensor. solver: of the linear steady state; "woodbury" needs a linear output. absolute: compute in absolute values
    (for comparisons; less precise).

    feedback: the weights Q and a step of their learning, see `Feedback`. train_feedback: whether Q learns, in passes
    before the training, and before and after every epoch. pretrain_epochs: number of passes before the training.
    pretrain_lr: rate in these; None: feedback.lr. extra_feedback_passes: passes after every epoch, beside the one
    before it. train_output_feedback: Q_L too. freeze_feedback_after: number of epochs after which Q rests, with its
    optimiser and its draws; 0: after pre-training, None: never.
    """

    metrics: ClassVar[tuple[str, ...]] = ("samples_*", "*spectral_radius", "*_difference")
    exact_output: ClassVar[bool] = False
    pass_functions: ClassVar[tuple[str, ...]] = ("update", "pretrain", "feedback_pass", "feedback_extra")
    keeps_state: ClassVar[bool] = True
    excludes: ClassVar[str] = "credit.methods.control.exclusive.shared"

    target_stepsize: Annotated[float, "> 0"] = 0.05
    alpha: Annotated[float, ">= 0"] = 0.0015
    learning_rule: Literal["nonlinear_difference", "voltage_difference", "derivative_matrix"] = "nonlinear_difference"
    clip_norm: Annotated[float, "> 0"] | None = 1.0
    solver: Literal["auto", "direct", "woodbury"] = "auto"
    absolute: bool = False
    feedback: Feedback = Feedback()
    train_feedback: bool = True
    train_output_feedback: bool = True
    pretrain_epochs: Annotated[int, ">= 0"] = 10
    pretrain_lr: Annotated[float, "> 0"] | None = 0.1
    extra_feedback_passes: Annotated[int, ">= 0"] = 2
    freeze_feedback_after: Annotated[int, ">= 0"] | None = None

    # ---- what the rule keeps

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": {layer: Q (M, n_i, n_L)}}, the output's included; with `homeostatic`, its constant (M,)."""
        feedback = self._initial_feedback(net, params, net.rand(params, rand))
        state: State = {"feedback": feedback}
        if self.feedback.homeostatic:
            norm = learning.squared_norm(list(feedback.values()))
            given = self.feedback.homeostatic_norm
            state["homeostatic"] = norm if given is None else torch.zeros_like(norm) + member(given, norm)
        return state

    def _initial_feedback(self, net: Net, params: Params, rand: Rand) -> dict[str, Tensor]:
        like, last = net.like(params), len(net) - 1
        name, options = names.options(self.feedback.init, "feedback")
        eye = torch.eye(net.n_out, dtype=like.dtype, device=like.device)
        result = {str(last): eye.expand(*net.lead(params), *eye.shape).clone()}
        product = result[str(last)]
        for i in range(last - 1, -1, -1):
            shape = (net.block(i).n_out, net.n_out)
            if name == names.WEIGHT_PRODUCT:
                product = params[str(i + 1)]["weight"].mT @ product
                noise = options["noise"]
                drawn = noise * rand.normal(f"feedback.{i}", shape).to(like) if noise else 0.0
                result[str(i)] = (product + drawn).contiguous()
            else:
                result[str(i)] = init(self.feedback.init, shape, rand, f"feedback.{i}").to(like)
        return dict(reversed(result.items()))

    def feedback_weights(self, net: Net, params: Params, state: State) -> list[Tensor]:
        """Q by layer. Raises ConfigError where one is missing or has another shape than (M, n_i, n_L)."""
        lead = net.lead(params)
        given, result = state.get("feedback", {}), []
        for i, block in enumerate(net.blocks):
            expected = (*lead, block.n_out, net.n_out)
            found = tuple(given[str(i)].shape) if str(i) in given else "none"
            if found != expected:
                raise ConfigError(f"state.feedback.{i} has shape {found}; expected {expected}, as `init` makes it")
            result.append(given[str(i)])
        return result

    # ---- forward weights

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """info: target, delta (its distance from the output), control, teaching (signals by layer), settled (the
        controlled state that teaches, see `Settled`), simulated (the same before samples were left out)."""
        self.check_net(net)
        run = forward(net, params, batch, rand)
        frame = self._frame(net, params, run.trace)
        delta = scaled(run.error, self.target_stepsize).neg_()
        feedback = self.feedback_weights(net, params, state)
        step = self._respond(params, frame, feedback, delta, rand)
        gradients = clip_each(step.gradients, self.clip_norm, net.stacked(params))
        return Step(gradients, run.info | {"delta": delta, "target": run.trace.output + delta} | step.info)

    def _respond(self, params: Params, frame: Deviation, feedback: list[Tensor], delta: Tensor, rand: Rand) -> Step:
        """Unclipped gradients of the controlled network, and what goes into info."""
        raise NotImplementedError

    def _frame(self, net: Net, params: Params, trace) -> Deviation:
        return (Absolute if self.absolute else Deviation)(net, params, trace)

    # ---- feedback weights

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """Pre-training of Q, then a pass of Q, one of the forward weights, and the extra passes of Q in each epoch.

        From the end of epoch freeze_feedback_after on, passes of the forward weights alone.
        """
        if not self.train_feedback:
            return (Phase("train", epochs),)
        learning = epochs if self.freeze_feedback_after is None else min(self.freeze_feedback_after, epochs)
        extra = (Pass("feedback_extra"),) * self.extra_feedback_passes
        train = Phase("train", learning, (Pass("feedback_pass"), Pass("update"), *extra))
        still = (Phase("train", epochs - learning, first=learning),) if learning < epochs else ()
        return (Phase("pretrain", self.pretrain_epochs, (Pass("pretrain"),), record=False), train, *still)

    def pretrain(self, net: Net, params: Params, opt: OptimizerGroup, state: State, batch: Batch, rand: Rand):
        """One step of Q with the rate of pre-training. info: feedback_gradients."""
        return self._learn(net, params, opt, state, batch, rand, "pretrain")

    def feedback_pass(self, net: Net, params: Params, opt: OptimizerGroup, state: State, batch: Batch, rand: Rand):
        """One step of Q. info: feedback_gradients."""
        return self._learn(net, params, opt, state, batch, rand, "feedback")

    def feedback_extra(self, net: Net, params: Params, opt: OptimizerGroup, state: State, batch: Batch, rand: Rand):
        """As `feedback_pass`, after the forward pass of an epoch; not measured in the published runs."""
        return self._learn(net, params, opt, state, batch, rand, "feedback")

    def _learn(
        self, net: Net, params: Params, opt: OptimizerGroup, state: State, batch: Batch, rand: Rand, which: str
    ) -> Result:
        if which not in getattr(opt, "others", ()):
            made = "make it by rule.optimizer(net, params, state, settings), with train_feedback = true"
            raise ConfigError(f"{self.name}: the optimiser has none for feedback weights ({which!r}); {made}")
        gradients, info = self.feedback_gradients(net, params, state, batch, rand)
        weights = {i: {"weight": q} for i, q in state["feedback"].items()}
        active = {i: {"weight": g} for i, g in gradients.items() if i in self._trained(net)}
        opt.others[which].step(weights, active)
        return params, opt, state, info | {"feedback_gradients": gradients}

    def feedback_gradients(
        self, net: Net, params: Params, state: State, batch: Batch, rand: Rand
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """({layer: gradient of Q (M, n_i, n_L), clipped}, info); noise from the streams feedback_noise.0, ...
        info: diverged (M,) bool, of the gradients before clipping."""
        self.check_net(net)
        check_input(net, params, batch.x)
        trace = net.forward(params, batch.x)
        frame = self._frame(net, params, trace)
        feedback = self.feedback_weights(net, params, state)
        gradients = self._raw_feedback_gradients(frame, feedback, net.rand(params, rand))
        diverged = ~(norms(gradients, net.stacked(params)) <= DIVERGED)  # clipping would hide it
        if self.feedback.homeostatic:
            excess = learning.squared_norm(feedback) - state["homeostatic"]
            pull = scaled(excess, self.feedback.decay).reshape(*excess.shape, 1, 1)
            gradients = [g + pull * q for g, q in zip(gradients, feedback, strict=True)]
        # Published: the joint norm includes the output's gradient even where Q_L is frozen.
        gradients = clip_jointly(gradients, self.feedback.clip_norm, net.stacked(params))
        info = {"output": trace.output, "trace": trace, "diverged": diverged}
        return {str(i): g for i, g in enumerate(gradients)}, info

    def _raw_feedback_gradients(self, frame: Deviation, feedback: Sequence[Tensor], rand: Rand) -> list[Tensor]:
        learns, name = self.feedback, "feedback_noise"
        steps = learns.time_points - 1
        if learns.rule == "forward":
            return learning.forward_rule(frame, learns.sigma, learning.draw(rand, name, frame))
        if learns.rule == "steady":
            draws = learning.draw(rand, name, frame)
            return learning.steady_rule(frame, feedback, learns.sigma, self.alpha, draws)
        settings = learns.constants(), learns.noise(len(frame))
        if learns.form == "projected":
            return learning.linear_rule(frame, feedback, *settings, draw_projected(rand, name, frame, steps))
        if learns.form == "linearised":
            return learning.linear_rule(frame, feedback, *settings, full(draw_over_time(rand, name, frame, steps)))
        return learning.controller_rule(frame, feedback, *settings, draw_over_time(rand, name, frame, steps))

    def inspect(
        self, net: Net, params: Params, state: State, batch: Batch, rand: Rand, function: str, epoch: int
    ) -> dict[str, Tensor]:
        """(M,) each, before passes of Q: feedback_spectral_radius, where it learns by the controller, and before
        `feedback_pass` feedback_difference, where another form than the simulation is used.

        Raises ConfigError in the first epoch where dt is too long for all.
        """
        found: dict[str, Tensor] = {}
        if function in ("pretrain", "feedback_pass") and self.feedback.rule == "controller":
            found |= self.radius(net, params, state, batch, epoch, self.feedback.constants(), "feedback")
        if function == "feedback_pass" and self.feedback.form != "simulation":
            found |= self.compare_feedback(net, params, state, batch, rand)
        return found

    def radius(
        self, net: Net, params: Params, state: State, batch: Batch, epoch: int, constants: Controller, group: str
    ) -> dict[str, Tensor]:
        """The largest spectral radius of the dynamics with `constants` among a few samples, {name: (M,)}.

        group: of the hyperparameters. Raises ConfigError in epoch 0 where no member is stable and one would be with a
        shorter time step alone.
        """
        axis = len(net.lead(params))  # of the samples
        x = batch.x.narrow(axis, 0, min(INSPECTED, batch.x.shape[axis]))
        frame = Deviation(net, params, net.forward(params, x))
        gains = layer_gains(frame, self.feedback_weights(net, params, state))
        radius = spectral_radius(gains, constants).amax(-1)
        if epoch == 0 and bool((radius > 1 + ROUNDED[0]).all()):
            for i in too_long(gains, constants).reshape(-1).nonzero().flatten().tolist():
                dt, tau, k_p = (
                    v if isinstance(v, (int, float)) else v[i] for v in (constants.dt, constants.tau, constants.k_p)
                )
                raise ConfigError(
                    f"{self.name}.{group}.dt = {dt} with tau = {tau}, k_p = {k_p}: the simulated dynamics is unstable, "
                    f"its spectral radius is {float(radius.reshape(-1)[i]):.4g}; must be at most 1. "
                    "A shorter time step is stable"
                )
        return {"spectral_radius" if group == "controller" else f"{group}_spectral_radius": radius}

    def compare_feedback(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> dict[str, Tensor]:
        """{"feedback_difference": relative difference of the raw feedback gradients from the simulation's, (M,)}."""
        frame = self._frame(net, params, net.forward(params, batch.x))
        feedback, stacked = self.feedback_weights(net, params, state), net.stacked(params)
        steps = self.feedback.time_points - 1
        noise = learning.draw(net.rand(params, rand), "feedback_comparison", frame, steps)
        given = {f"feedback_noise.{i}": xi for i, xi in enumerate(noise)}
        forms = (dataclasses.replace(self.feedback, form=form) for form in ("linearised", "simulation"))
        rules = (dataclasses.replace(self, feedback=form) for form in forms)
        ours, exact = (r._raw_feedback_gradients(frame, feedback, net.rand(params, given)) for r in rules)
        difference = norms([a - b for a, b in zip(ours, exact, strict=True)], stacked) / norms(exact, stacked)
        return {"feedback_difference": difference}

    def _trained(self, net: Net) -> list[str]:
        """Layers whose Q learns."""
        return [str(i) for i in range(len(net) if self.train_output_feedback else len(net) - 1)]

    def optimizer(self, net: Net, params: Params, state: State, settings: Mapping[str, Any]) -> OptimizerGroup:
        """`settings` for the forward weights; "pretrain" and "feedback" for Q where it learns."""
        own, others = super().optimizer(net, params, state, settings), {}
        if self.train_feedback:
            weights = {i: {"weight": state["feedback"][i]} for i in self._trained(net)}
            first = self.feedback.lr if self.pretrain_lr is None else self.pretrain_lr
            for name, lr in {"pretrain": first, "feedback": self.feedback.lr}.items():
                others[name] = Optimizer(check(self.feedback.optimizer_settings(lr))).init(weights, net.members(params))
        return OptimizerGroup(own, others)


def counts(**samples: Tensor) -> dict[str, Tensor]:
    """{"samples_NAME": number of samples that are true, (M,)} for info["sums"]."""
    return {f"samples_{name}": mask.sum(-1) for name, mask in samples.items()}


def too_long(gains: Sequence[Tensor], constants: Controller) -> Tensor:
    """Whether most samples are unstable by the length of the step alone, (M,) bool. gains: (M, B, n, n) each.

    They are where the recursion grows, per unit of time, FAULT times as fast as with a step of FINE times the length,
    which grows as the differential equation does, or not at all. In float64: what rounding adds to the fine step's
    growth counts 1 / FINE times as much.
    """
    gains = [gain.double() for gain in gains]
    fine = dataclasses.replace(constants, dt=combine(lambda dt: FINE * dt, constants.dt))
    coarse = spectral_radius(gains, constants)
    equation = spectral_radius(gains, fine).log().clamp(min=0) / FINE
    return ((coarse > 1 + ROUNDED[1]) & (coarse.log() > FAULT * equation)).double().mean(-1) > 0.5
