"""The controller's step, compiled, and its constants as the loops take them; in torch it is `Controller.step`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from credit.methods.control.controller import Controller
from credit.numerics.compiled import compiled
from credit.numerics.stack import table


class Flags(NamedTuple):
    """Instant transmission, control seen in the same step, leak of the integral, filtered apical voltage."""

    instant: bool
    proactive: bool
    integral_leaks: bool
    filtered: bool

    @classmethod
    def of(cls, controller: Controller, noisy: bool) -> Flags:
        """Those of a controller."""
        c = controller
        return cls(c.instant, c.proactive, c.leak != "control", c.tau_apical is not None or noisy)


def settings(controller: Controller, members: int, dtype) -> np.ndarray:
    """alpha, k_p, dt, somatic and apical gain, (M, 5)."""
    c = controller
    return table((c.alpha, c.k_p, c.dt, c.soma_gain, c.apical_gain), members, dtype)


@compiled
def step(error, integral, control, alpha, k_p, dt, integral_leaks, proactive):
    """(u_int, u that the network sees, u) one step further; numbers."""
    leaking = integral if integral_leaks else control
    integral += dt * (error - alpha * leaking)
    new = integral + k_p * error
    return integral, new if proactive else control, new
