"""An optimiser that scales gradients of single weights before it steps: weights that stay 0, rates by unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.numerics.trees import Params
from credit.optim.base import Affine, OptimizerLike


class Scaled:
    """`inner` on gradients times factors {block: (n_out, n_in), or with M before}, of weights alone.

    A weight with factor 0 keeps its value; one that starts at 0 stays there under decay too.
    """

    takes_products = False

    def __init__(self, inner: OptimizerLike, factors: Mapping[str, Tensor]) -> None:
        self.inner, self.factors = inner, dict(factors)

    def step(self, params: Params, gradients: Params, lr_scale: float = 1.0) -> None:
        """One step, in place; `gradients` stay as they are."""
        scaled = dict(gradients)
        for block in self.factors.keys() & gradients.keys():
            if "weight" in gradients[block]:
                scaled[block] = {**gradients[block], "weight": gradients[block]["weight"] * self.factors[block]}
        self.inner.step(params, scaled, lr_scale)

    def affine(self, steps: int) -> Affine | None:
        """As the inner optimiser, with rates (M, n_out, n_in) of the weights that have factors."""
        found = self.inner.affine(steps)
        for block in self.factors.keys() & found.keys() if found else ():
            keep, rate = found[block]["weight"]
            found[block]["weight"] = keep, rate[:, None, None] * self.factors[block]
        return found

    def set_epoch(self, epoch: int) -> None:
        """Epoch `epoch` of the present phase begins."""
        self.inner.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """That of the inner optimiser: factors come from the settings."""
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`. Raises CheckpointError as the inner optimiser."""
        self.inner.load_state_dict(state)


def by_unit(units: Mapping[str, Mapping[str, Any]], params: Params, members: int) -> dict[str, Tensor]:
    """Factors {block: (M, 1, n_in)} of `units`, {block: {input unit: factor, or one for each member}}.

    Raises ConfigError for blocks and units that are not there, and for other numbers of factors than members.
    """
    found = {}
    for block, given in units.items():
        where = f"optimizer.units.{block}"
        if block not in params or params[block]["weight"].ndim - (members > 0) != 2:
            dense = [i for i, b in params.items() if b["weight"].ndim - (members > 0) == 2]
            raise ConfigError(f"{where}; must be a dense layer, one of: {', '.join(dense)}")
        weight = params[block]["weight"]
        n_in = weight.shape[-1]
        factors = torch.ones(max(members, 1), 1, n_in, dtype=weight.dtype, device=weight.device)
        for unit, value in given.items():
            if not str(unit).isdecimal() or int(unit) >= n_in:
                raise ConfigError(f"{where}.{unit}; must be an input of this layer, 0 to {n_in - 1}")
            values = torch.as_tensor(value, dtype=weight.dtype, device=weight.device)
            if values.ndim and len(values) != max(members, 1):
                raise ConfigError(f"{where}.{unit} holds {len(values)} numbers; must be one, or one for each member")
            factors[:, 0, int(unit)] = values
        found[block] = factors if members else factors[0]
    return found
