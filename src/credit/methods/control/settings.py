"""Groups of DFC's hyperparameters: the simulated controller, and the feedback weights with their learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from credit.methods.control.controller import Controller

RMSPROP = {"alpha": 0.95, "eps": 0.03, "centered": True}  # published, not configurable there


@dataclass(frozen=True)
class Dynamics:
    """Constants of the simulated dynamics, see `Controller`.

    k_p: proportional gain. dt: time step. time_points: that are stored; there is one Euler step fewer. tau: time
    constant of the somatic voltage. tau_apical: of the apical voltage; None: dt, no delay. proactive: the network sees
    the new control in the same step. instant_transmission: a layer sees the new rates of the one below. instant_system:
    the somatic voltage follows without delay. leak: of the control or of its integral.
    """

    k_p: Annotated[float, ">= 0"] = 1.5
    dt: Annotated[float, "> 0"] = 0.02
    time_points: Annotated[int, ">= 2"] = 250
    tau: Annotated[float, "> 0"] = 0.2
    tau_apical: Annotated[float, "> 0"] | None = None
    proactive: bool = False
    instant_transmission: bool = True
    instant_system: bool = False
    leak: Literal["control", "integral"] = "control"

    @property
    def instant(self) -> bool:
        """Whether transmission is instant."""
        return self.instant_transmission or self.instant_system

    def constants(self, alpha) -> Controller:
        """The constants of the dynamics with the leak `alpha`."""
        return Controller(
            alpha, self.k_p, self.dt, self.time_points, self.tau, self.tau_apical, self.instant_transmission,
            self.instant_system, self.proactive, self.leak,
        )  # fmt: skip


@dataclass(frozen=True)
class Feedback:
    """The feedback weights Q and a step of their learning.

    init: a scheme of `credit.nets.init` (published where Q learns: xavier_normal) or "weight_product", the transposed
    Jacobian of a linear net (where it is fixed; {"name": "weight_product", "noise": s} adds noise of standard deviation
    s). Q_L starts as the identity.

    rule: "controller" (published runs), "forward", "steady", see `control.feedback`. form: of the controller rule,
    "simulation", as published; "linearised", to first order in the noise (instant transmission only), which is compared
    with it on the first mini-batch of every epoch (feedback_difference); or "projected", the same with the noise drawn
    only where it acts, equal in distribution, see `control.noise`. sigma, sigma_output: noise in hidden layers and in
    the output; None: the same.

    Constants of its dynamics, see `Controller`: alpha: leak of the controller. k_p: proportional gain. dt: time step.
    time_points: that are stored. tau, tau_apical: time constants of the somatic and of the apical voltage.
    instant_transmission: a layer sees the new rates of the one below. instant_system: the somatic voltage follows
    without delay.

    optimizer: of Q. lr: its rate. betas, eps: of adam, the smoothing of its two means, and what is added to its
    denominator. decay: factor of Q in the gradient (L2), after clipping. clip_norm: largest norm of the gradients of
    all Q together. homeostatic: decay towards a norm of Q, decay (||Q||^2 - c) Q. homeostatic_norm: this c; None: that
    of the initial Q.
    """

    main: ClassVar[str] = "init"
    only_for: ClassVar[dict[str, tuple[str, str]]] = {"betas": ("optimizer", "adam"), "eps": ("optimizer", "adam")}

    init: Annotated[str | dict, "credit.methods.control.names.options"] = "weight_product"
    rule: Literal["controller", "forward", "steady"] = "controller"
    form: Literal["simulation", "linearised", "projected"] = "simulation"
    alpha: Annotated[float, ">= 0"] = 0.25
    k_p: Annotated[float, ">= 0"] = 0.1
    dt: Annotated[float, "> 0"] = 0.002
    time_points: Annotated[int, ">= 2"] = 50
    tau: Annotated[float, "> 0"] = 0.01
    tau_apical: Annotated[float, "> 0"] | None = 0.3
    instant_transmission: bool = True
    instant_system: bool = False
    sigma: Annotated[float, "> 0"] = 0.01
    sigma_output: Annotated[float, ">= 0"] | None = None
    optimizer: Literal["sgd", "adam", "rmsprop"] = "sgd"
    lr: Annotated[float, "> 0"] = 0.002
    betas: tuple[Annotated[float, "[0, 1)"], ...] = (0.99, 0.99)
    eps: Annotated[float, "> 0"] = 1e-8
    decay: Annotated[float, ">= 0"] = 0.025
    clip_norm: Annotated[float, "> 0"] | None = 1.0
    homeostatic: bool = False
    homeostatic_norm: Annotated[float, ">= 0"] | None = None

    def constants(self) -> Controller:
        """The constants of the dynamics in which Q learns."""
        return Controller(
            self.alpha, self.k_p, self.dt, self.time_points, self.tau, self.tau_apical, self.instant_transmission,
            self.instant_system,
        )  # fmt: skip

    def noise(self, layers: int) -> list:
        """Standard deviation of the noise in every layer."""
        return [self.sigma] * (layers - 1) + [self.sigma if self.sigma_output is None else self.sigma_output]

    def optimizer_settings(self, lr) -> dict[str, Any]:
        """Settings of an optimiser of Q, see `credit.optim`."""
        extra = {"adam": {"betas": self.betas, "eps": self.eps}, "rmsprop": RMSPROP}
        decay = 0.0 if self.homeostatic else self.decay
        return {"name": self.optimizer, "lr": lr, "weight_decay": decay} | extra.get(self.optimizer, {})
