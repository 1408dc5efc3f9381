"""Stability of Deep Feedback Control in continuous time: eigenvalues of four linearisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets.jacobian import chain
from credit.numerics.linalg import largest_real_part
from credit.numerics.stack import Number, member
from credit.probes.base import Moment

MATRICES = ("A_tilde_I", "A_I", "A_inst", "A_PI")


def stability_matrices(
    weights: Sequence[Tensor],
    slopes: Sequence[Tensor],
    feedback: Sequence[Tensor],
    alpha: Number,
    k_p: Number,
    tau: Number,
) -> dict[str, Tensor]:
    """The matrices of Meulemans et al. 2021 by name, (M, B, k, k); k = N + n_L, and n_L for A_inst.

    A_tilde_I: somatic voltages and an integrating controller. A_I: the same in v - v^b. A_inst: a network without
    delays, -(J Q + alpha I). A_PI: as A_I with the proportional part, the linearised dynamics of the official code.
    slopes: phi' (M, B, n_i) at the state of interest. tau: time constant of the voltages relative to the controller's.
    Transmission takes time in all of them, except in A_inst.
    """
    jacobian = torch.cat(chain(weights, slopes), -1)  # (M, B, n_L, N)
    q = torch.cat(list(feedback), -2).unsqueeze(-3).expand(*jacobian.shape[:-2], -1, -1)
    n, units = jacobian.shape[-2:]
    local = torch.zeros(*jacobian.shape[:-2], units, units, dtype=q.dtype, device=q.device)
    row = column = 0
    for i, slope in enumerate(slopes[:-1]):
        column, row = row, row + slope.shape[-1]
        height = weights[i + 1].shape[-2]
        local[..., row : row + height, column:row] = weights[i + 1].unsqueeze(-3) * slope.unsqueeze(-2)
    decay = torch.eye(units, dtype=q.dtype, device=q.device) - local
    eye = torch.eye(n, dtype=q.dtype, device=q.device).expand(*jacobian.shape[:-2], n, n)
    alpha, k_p, tau = (member(v, q) for v in (alpha, k_p, tau))
    output = torch.zeros_like(jacobian)
    output[..., units - n :] = torch.diag_embed(slopes[-1])
    leak, through = alpha * eye, decay @ q
    gain = k_p / tau
    return {
        "A_tilde_I": _joined(-decay / tau, q / tau, -output, -leak),
        "A_I": _joined(-decay / tau, through / tau, -jacobian, -leak),
        "A_inst": -(jacobian @ q + leak),
        "A_PI": _joined(-decay / tau, through / tau, gain * output - jacobian, -leak - gain * (output @ q)),
    }


def _joined(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.cat([torch.cat([a, b], -1), torch.cat([c, d], -1)], -2)


@dataclass(frozen=True)
class ControllerStability:
    """Batch mean and standard deviation of the largest real part of the eigenvalues: lambda_max_NAME, NAME_std.

    matrices: which of A_tilde_I, A_I, A_inst, A_PI. masked: at the state after samples that have not converged were
    reset, metrics lambda_max_masked_NAME; otherwise at the last simulated voltages. alpha, k_p, tau: None takes the
    method's; DFC-SSA has no k_p and tau of its own.
    """

    metrics: ClassVar[dict] = {
        "masked": {
            False: ("lambda_max_{matrices}", "lambda_max_{matrices}_std"),
            True: ("lambda_max_masked_{matrices}", "lambda_max_masked_{matrices}_std"),
        }
    }
    needs: ClassVar[str] = "credit.methods.control.rule.DeepFeedbackControl"
    of_rule: ClassVar[tuple[str, ...]] = ("alpha", "k_p", "tau")

    matrices: tuple[str, ...] = ("A_tilde_I", "A_I", "A_inst", "A_PI")
    masked: bool = False
    alpha: Annotated[float, ">= 0"] | None = None
    k_p: Annotated[float, ">= 0"] | None = None
    tau: Annotated[float, "> 0"] | None = None

    def __post_init__(self) -> None:
        for name in self.matrices:
            if name not in MATRICES:
                raise ConfigError(f"controller_stability.matrices: {name!r}; must be among {', '.join(MATRICES)}")

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, "", values (M,))]. Raises ConfigError without a controller, or for a missing constant."""
        key = "settled" if self.masked else "simulated"
        if key not in moment.info:
            raise ConfigError("probe controller_stability needs a method of the DFC family, measured on its update")
        frame, voltages = moment.info[key].frame, moment.info[key].voltages()
        slopes = [phi.derivative(v, phi.value(v)) for phi, v in zip(frame.phi, voltages, strict=True)]
        feedback = [moment.state["feedback"][str(i)] for i in range(len(slopes))]
        constants = [self._constant(moment, name) for name in ("alpha", "k_p", "tau")]
        matrices = stability_matrices(frame.weights, slopes, feedback, *constants)
        prefix = "lambda_max_masked" if self.masked else "lambda_max"
        rows = []
        for name in self.matrices:
            largest = largest_real_part(matrices[name])
            for suffix, values in (("", largest.mean(-1)), ("_std", largest.std(-1, correction=0))):
                rows.append((f"{prefix}_{name}{suffix}", "", torch.atleast_1d(values)))
        return rows

    def _constant(self, moment: Moment, name: str) -> Number:
        value = getattr(self, name)
        for place in (moment.method, getattr(moment.method, "controller", None)):
            value = getattr(place, name, None) if value is None else value
        if value is None:
            raise ConfigError(f"controller_stability.{name} is missing; the method has none, the probe must give it")
        return value


part = ControllerStability
