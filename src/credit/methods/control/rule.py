"""What DFC, DFC-SS and DFC-SSA share: the output target, the feedback weights and their learning.

Source: Meulemans, Tristany Farinha, Garcia Ordonez, Vilimelis Aceituno, Sacramento & Grewe (NeurIPS 2021), "Credit
Assignment in Neural Networks through Deep Feedback Control", and its official code. Defaults are the settings of
its Figure 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.base import Batch, Method, Pass, Phase, Result, State, Step, forward
from credit.methods.control import feedback as learning
from credit.methods.control.controller import Controller
from credit.methods.control.frame import Absolute, Deviation
from credit.methods.control.noise import draw_projected, full
from credit.nets.base import Net, check_input
from credit.nets.init import init
from credit.numerics.rand import Rand
from credit.numerics.stack import member, scaled
from credit.numerics.trees import Params
from credit.optim.clipping import clip_each, clip_jointly, norms
from credit.optim.config import check
from credit.optim.group import OptimizerGroup
from credit.optim.optimizers import Optimizer

RMSPROP = {"alpha": 0.95, "eps": 0.03, "centered": True}  # published, not configurable there
WEIGHT_PRODUCT = "weight_product"


@dataclass(frozen=True)
class DeepFeedbackControl(Method):
    """A controller drives the output towards r* = r_L - target_stepsize g, g the gradient of the loss at the output,
    through feedback weights Q_i (n_i x n_L) to every layer; what it changes in a layer is what the layer learns.

    target_stepsize: lambda. It scales the gradients; published runs divide the learning rate by it. alpha: leak of
    the controller. learning_rule: how a change of voltage teaches. clip_norm: largest norm of the gradient of each
    tensor. solver: of the linear steady state. absolute:
    compute in absolute values (for comparisons; less precise).

    feedback: initialisation of Q, a scheme of `credit.nets.init` (published where Q learns: xavier_normal) or
    "weight_product", the transposed Jacobian of a linear net (where it is fixed; {"name": "weight_product", "noise":
    s} adds noise of standard deviation s). Q_L starts as the identity. train_feedback: whether Q learns, in
    pretrain_epochs passes before, one pass before and extra_feedback_passes after every epoch.
    train_output_feedback: Q_L too.

    feedback_rule: "controller" (published runs), "forward", "steady", see `control.feedback`. feedback_form, of the
    controller rule: "simulation", as published; "linearised", to first order in the noise (instant transmission
    only), which is compared with it on the first mini-batch of every epoch (feedback_difference); or "projected", the
    same with the noise drawn only where it acts, equal in distribution, see `control.noise`. feedback_alpha, ...
    feedback_instant_system: constants of its dynamics, see `Controller`. feedback_sigma, feedback_sigma_output:
    noise in hidden layers and in the output; None: the same. feedback_optimizer, feedback_lr, pretrain_lr,
    feedback_betas, feedback_eps, feedback_decay (L2, after clipping), feedback_clip_norm (joint): its optimiser.
    homeostatic: decay towards a norm of Q, feedback_decay (||Q||^2 - c) Q, with c = homeostatic_norm, by default
    that of the initial Q.
    """

    exact_output: ClassVar[bool] = False

    target_stepsize: Annotated[float, "> 0"] = 0.05
    alpha: Annotated[float, ">= 0"] = 0.0015
    learning_rule: Literal["nonlinear_difference", "voltage_difference", "derivative_matrix"] = "nonlinear_difference"
    clip_norm: Annotated[float, "> 0"] | None = 1.0
    solver: Literal["auto", "direct", "woodbury"] = "auto"
    absolute: bool = False
    feedback: str | dict = "weight_product"
    train_feedback: bool = True
    train_output_feedback: bool = True
    pretrain_epochs: Annotated[int, ">= 0"] = 10
    extra_feedback_passes: Annotated[int, ">= 0"] = 2
    feedback_rule: Literal["controller", "forward", "steady"] = "controller"
    feedback_form: Literal["simulation", "linearised", "projected"] = "simulation"
    feedback_alpha: Annotated[float, ">= 0"] = 0.25
    feedback_k_p: Annotated[float, ">= 0"] = 0.1
    feedback_dt: Annotated[float, "> 0"] = 0.002
    feedback_time_points: Annotated[int, ">= 2"] = 50
    feedback_tau: Annotated[float, "> 0"] = 0.01
    feedback_tau_apical: Annotated[float, "> 0"] | None = 0.3
    feedback_instant_transmission: bool = True
    feedback_instant_system: bool = False
    feedback_sigma: Annotated[float, "> 0"] = 0.01
    feedback_sigma_output: Annotated[float, ">= 0"] | None = None
    feedback_optimizer: Literal["sgd", "adam", "rmsprop"] = "sgd"
    feedback_lr: Annotated[float, "> 0"] = 0.002
    pretrain_lr: Annotated[float, "> 0"] | None = 0.1
    feedback_betas: tuple[float, ...] = (0.99, 0.99)
    feedback_eps: Annotated[float, "> 0"] = 1e-8
    feedback_decay: Annotated[float, ">= 0"] = 0.025
    feedback_clip_norm: Annotated[float, "> 0"] | None = 1.0
    homeostatic: bool = False
    homeostatic_norm: Annotated[float, ">= 0"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__module__.rpartition(".")[2]
        for key in ("time_points", "feedback_time_points", "pretrain_epochs", "extra_feedback_passes"):
            if not isinstance(getattr(self, key, 0), int):
                raise ConfigError(f"{name}.{key} = {getattr(self, key)}; must be one integer, the same for all members")
        plain = self.feedback_rule == "controller" and self.feedback_controller().instant and not self.absolute
        if self.feedback_form != "simulation" and not plain:
            raise ConfigError(
                f"{name}.feedback_form = {self.feedback_form!r}; needs feedback_rule 'controller', "
                "feedback_instant_transmission and absolute false"
            )

    # ---- what the rule keeps

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": {layer: Q (M, n_i, n_L)}}, the output's included; with `homeostatic`, its constant (M,)."""
        feedback = self._initial_feedback(net, params, net.rand(params, rand))
        state: State = {"feedback": feedback}
        if self.homeostatic:
            norm = learning.squared_norm(list(feedback.values()))
            given = self.homeostatic_norm
            state["homeostatic"] = norm if given is None else torch.zeros_like(norm) + member(given, norm)
        return state

    def _initial_feedback(self, net: Net, params: Params, rand: Rand) -> dict[str, Tensor]:
        like, last = net.like(params), len(net) - 1
        options = {"name": self.feedback} if isinstance(self.feedback, str) else self.feedback
        eye = torch.eye(net.n_out, dtype=like.dtype, device=like.device)
        result = {str(last): eye.expand(*net.lead(params), *eye.shape).clone()}
        product = result[str(last)]
        for i in range(last - 1, -1, -1):
            shape = (net.block(i).n_out, net.n_out)
            if options.get("name") == WEIGHT_PRODUCT:
                product = params[str(i + 1)]["weight"].mT @ product
                noise = options.get("noise", 0.0)
                drawn = noise * rand.normal(f"feedback.{i}", shape).to(like) if noise else 0.0
                result[str(i)] = (product + drawn).contiguous()
            else:
                result[str(i)] = init(self.feedback, shape, rand, f"feedback.{i}").to(like)
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

    def check_net(self, net: Net) -> None:
        """Raise ValueError for nets that are not dense, and for dropout, with which no steady state is defined."""
        super().check_net(net)
        if net.keep < 1:
            name = type(self).__module__.rpartition(".")[2]
            raise ConfigError(f"method {name} is not defined with dropout; net.keep = {net.keep} must be 1")

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
        """Pre-training of Q, then a pass of Q, one of the forward weights, and the extra passes of Q in each epoch."""
        if not self.train_feedback:
            return (Phase("train", epochs),)
        extra = (Pass("feedback_extra"),) * self.extra_feedback_passes
        train = Phase("train", epochs, (Pass("feedback_pass"), Pass("update"), *extra))
        return (Phase("pretrain", self.pretrain_epochs, (Pass("pretrain"),), record=False), train)

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
        gradients, info = self.feedback_gradients(net, params, state, batch, rand)
        weights = {i: {"weight": q} for i, q in state["feedback"].items()}
        active = {i: {"weight": g} for i, g in gradients.items() if i in self._trained(net)}
        opt.others[which].step(weights, active)
        return params, opt, state, info | {"feedback_gradients": gradients}

    def feedback_gradients(
        self, net: Net, params: Params, state: State, batch: Batch, rand: Rand
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """({layer: gradient of Q after joint clipping}, info); noise from the streams feedback_noise.0, ..."""
        self.check_net(net)
        check_input(net, params, batch.x)
        trace = net.forward(params, batch.x)
        frame = self._frame(net, params, trace)
        feedback = self.feedback_weights(net, params, state)
        gradients = self._raw_feedback_gradients(frame, feedback, net.rand(params, rand))
        if self.homeostatic:
            excess = learning.squared_norm(feedback) - state["homeostatic"]
            pull = scaled(excess, self.feedback_decay).reshape(*excess.shape, 1, 1)
            gradients = [g + pull * q for g, q in zip(gradients, feedback, strict=True)]
        # Published: the joint norm includes the output's gradient even where Q_L is frozen.
        gradients = clip_jointly(gradients, self.feedback_clip_norm, net.stacked(params))
        return {str(i): g for i, g in enumerate(gradients)}, {"output": trace.output, "trace": trace}

    def _raw_feedback_gradients(self, frame: Deviation, feedback: Sequence[Tensor], rand: Rand) -> list[Tensor]:
        name, steps = "feedback_noise", self.feedback_time_points - 1
        if self.feedback_rule == "forward":
            return learning.forward_rule(frame, self.feedback_sigma, learning.draw(rand, name, frame))
        if self.feedback_rule == "steady":
            draws = learning.draw(rand, name, frame)
            return learning.steady_rule(frame, feedback, self.feedback_sigma, self.alpha, draws)
        output = self.feedback_sigma if self.feedback_sigma_output is None else self.feedback_sigma_output
        settings = self.feedback_controller(), [self.feedback_sigma] * (len(frame) - 1) + [output]
        if self.feedback_form == "projected":
            return learning.linear_rule(frame, feedback, *settings, draw_projected(rand, name, frame, steps))
        if self.feedback_form == "linearised":
            return learning.linear_rule(frame, feedback, *settings, full(learning.draw(rand, name, frame, steps)))
        return learning.controller_rule(frame, feedback, *settings, *learning.draw_of_seeds(rand, name, frame, steps))

    def feedback_controller(self) -> Controller:
        """The constants of the dynamics in which Q learns."""
        return Controller(
            self.feedback_alpha, self.feedback_k_p, self.feedback_dt, self.feedback_time_points, self.feedback_tau,
            self.feedback_tau_apical, self.feedback_instant_transmission, self.feedback_instant_system,
        )  # fmt: skip

    def inspect(
        self, net: Net, params: Params, state: State, batch: Batch, rand: Rand, function: str, epoch: int
    ) -> dict[str, Tensor]:
        """feedback_difference (M,) before `feedback_pass`, where another form than the simulation is used."""
        if function != "feedback_pass" or self.feedback_form == "simulation":
            return {}
        return self.compare_feedback(net, params, state, batch, rand)

    def compare_feedback(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> dict[str, Tensor]:
        """{"feedback_difference": relative difference of the raw feedback gradients from the simulation's, (M,)}."""
        frame = self._frame(net, params, net.forward(params, batch.x))
        feedback, stacked = self.feedback_weights(net, params, state), net.stacked(params)
        steps = self.feedback_time_points - 1
        noise = learning.draw(net.rand(params, rand), "feedback_comparison", frame, steps)
        given = {f"feedback_noise.{i}": xi for i, xi in enumerate(noise)}
        rules = (dataclasses.replace(self, feedback_form=form) for form in ("linearised", "simulation"))
        ours, exact = (r._raw_feedback_gradients(frame, feedback, net.rand(params, given)) for r in rules)
        difference = norms([a - b for a, b in zip(ours, exact, strict=True)], stacked) / norms(exact, stacked)
        return {"feedback_difference": difference}

    def _trained(self, net: Net) -> list[str]:
        """Layers whose Q learns."""
        return [str(i) for i in range(len(net) if self.train_output_feedback else len(net) - 1)]

    def optimizer(self, net: Net, params: Params, state: State, settings: Mapping[str, Any]) -> OptimizerGroup:
        """`settings` for the forward weights; "pretrain" and "feedback" for Q where it learns."""
        others = {}
        if self.train_feedback:
            weights = {i: {"weight": state["feedback"][i]} for i in self._trained(net)}
            first = self.feedback_lr if self.pretrain_lr is None else self.pretrain_lr
            for name, lr in {"pretrain": first, "feedback": self.feedback_lr}.items():
                others[name] = Optimizer(check(self._feedback_settings(lr))).init(weights, net.members(params))
        return OptimizerGroup(super().optimizer(net, params, state, settings), others)

    def _feedback_settings(self, lr: float) -> dict[str, Any]:
        decay = 0.0 if self.homeostatic else self.feedback_decay
        extra = {"adam": {"betas": self.feedback_betas, "eps": self.feedback_eps}, "rmsprop": RMSPROP}
        shared = {"name": self.feedback_optimizer, "lr": lr, "weight_decay": decay}
        return shared | extra.get(self.feedback_optimizer, {})


def counts(**samples: Tensor) -> dict[str, Tensor]:
    """{"samples_NAME": number of samples that are true, (M,)} for info["sums"]."""
    return {f"samples_{name}": mask.sum(-1) for name, mask in samples.items()}
