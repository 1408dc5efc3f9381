"""Initial feedback weights of dynamic inversion: B (M, n_low, n_up) of a layer with weight W (M, n_up, n_low).

    =====================  ==================================================================================
    transpose              W^T;  neg_transpose: -W^T, with which the dynamics is stable
    pseudoinverse          W^+;  neg_pseudoinverse: -W^+
    sign                   sign(W^T);  neg_sign: -sign(W^T)
    random                 U(±scale), scale 0.5 (the paper calls it Gaussian, its code draws uniformly)
    optimized              U(±scale), scale 0.01, then moved until the dynamics with leak `leak` (0; one number or
                           one for each block but the first) is stable, see `inversion.stability.stabilize`
    =====================  ==================================================================================

and every scheme of `credit.nets.init`, drawn with the shape of B.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.methods.inversion.names import OPTIONS, options
from credit.methods.inversion.stability import Descent, stabilize
from credit.nets.init import init
from credit.numerics.rand import Rand

FROM_WEIGHT = {
    "transpose": lambda w: w.mT,
    "neg_transpose": lambda w: -w.mT,
    "pseudoinverse": torch.linalg.pinv,
    "neg_pseudoinverse": lambda w: -torch.linalg.pinv(w),
    "sign": lambda w: w.mT.sign(),
    "neg_sign": lambda w: -w.mT.sign(),
}
ATTEMPTS = 10  # descents before "optimized" gives up; each goes on from where the last one stopped


def initial(
    scheme: str | Mapping[str, Any], weight: Tensor, rand: Rand, block: int, descent: Descent, where: str
) -> Tensor:
    """B (M, n_low, n_up) for the weight of `block`, drawn from the stream `feedback.BLOCK`.

    Raises ConfigError when "optimized" finds no stable feedback.
    """
    name, given = options(scheme, where)
    stream, shape = f"feedback.{block}", (weight.shape[-1], weight.shape[-2])
    if name in FROM_WEIGHT:
        return FROM_WEIGHT[name](weight).contiguous().clone()
    if name not in OPTIONS:
        return init(scheme, shape, rand, stream).to(weight)
    drawn = rand.uniform(stream, shape, -given["scale"], given["scale"]).to(weight)
    if name == "random":
        return drawn
    leak = given["leak"]
    if isinstance(leak, (list, tuple)):
        if len(leak) < block:
            raise ConfigError(f"{where}.leak = {leak}; must hold one number for each block but the first")
        leak = leak[block - 1]
    return _optimized(weight, drawn, leak, descent, f"{where} = 'optimized': block {block}")


def _optimized(weight: Tensor, start: Tensor, leak: float, descent: Descent, where: str) -> Tensor:
    """Members whose descent succeeded are left alone while the others go on."""
    feedback, top = stabilize(weight, start, leak, descent)
    for _ in range(ATTEMPTS - 1):
        if bool((top < 0).all()):
            break
        again, reached = stabilize(weight, feedback, leak, descent)
        done = top < 0
        feedback = torch.where(done[..., None, None], feedback, again)
        top = torch.where(done, top, reached)
    if not bool((top < 0).all()):
        raise ConfigError(
            f"{where} stays unstable, lambda_max = {float(top.max()):.2g} at leak {leak} after {ATTEMPTS} descents of "
            f"{descent.steps} steps; a layer with more upper than lower units needs a leak > 0, others more ssa_steps"
        )
    return feedback
