"""Optimisers for single networks and stacks of them: gradient descent, momentum, Adam, RMSprop.

    opt = optimizer("adam", lr=[1e-3, 1e-2], betas=[0.9, 0.999]).init(params)
    opt.set_epoch(3)                   # when there is a schedule
    opt.step(params, gradients)        # in place

`credit.optim.config` lists every hyperparameter. Checking a configuration needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from credit.optim.optimizers import Optimizer


def optimizer(name: str, **hyper: Any) -> Optimizer:
    """The optimiser `name` ("sgd", "adam", "rmsprop"), to be bound to parameters by its `init`.

    hyper: see `credit.optim.config`. Raises ConfigError naming a hyperparameter that is wrong.
    """
    from credit.optim.config import check
    from credit.optim.optimizers import Optimizer

    return Optimizer(check({"name": name, **hyper}))
