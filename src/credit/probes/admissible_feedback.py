"""The feedback weights that Deep Feedback Control may have, as points in a plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.nets.jacobian import output_jacobian
from credit.numerics.rand import Rand
from credit.probes.base import Moment

DAMPINGS = (-5.0, 2.0)  # powers of ten, published


def admissible(jacobian: Tensor, count: int, rand: Rand) -> Tensor:
    """`count` random Q = J^T P, P standard normal (n_L, n_L), for which no eigenvalue of J Q has a negative real part:
    they fulfil conditions 2 and 3. jacobian (n_L, N); returns (count, N, n_L)."""
    n, found = jacobian.shape[0], []
    while sum(map(len, found)) < count:
        drawn = jacobian.mT @ rand.normal("admissible", (count, n, n)).to(jacobian)
        found.append(drawn[(torch.linalg.eigvals(jacobian @ drawn).real >= 0).all(-1)])
    return torch.cat(found)[:count]


def principal_plane(vectors: Tensor) -> Tensor:
    """Coordinates (K, 2) of vectors (K, n) along their first two principal components."""
    centred = vectors - vectors.mean(0)
    _, _, components = torch.linalg.svd(centred, full_matrices=False)
    return centred @ components[:2].mT


@dataclass(frozen=True)
class AdmissibleFeedback:
    """pc1 and pc2 of feedback weights of unit norm, for one standard normal input; "layer" says which they are.

    draws: how many random.K, which fulfil conditions 2 and 3. dampings: how many damped.K, J^T (J J^T + g I)^-1, with
    values of g that are evenly spaced in their logarithm. pseudoinverse, transpose: of the Jacobian J. One principal
    component analysis of all. Source: Meulemans et al. (NeurIPS 2021), Figure 2.
    """

    metrics: ClassVar[tuple[str, ...]] = ("pc1", "pc2")
    nets: ClassVar[tuple[str, ...]] = ("dense",)
    weights_alone: ClassVar[bool] = True

    draws: Annotated[int, "> 0"] = 2000
    dampings: Annotated[int, "> 0"] = 100

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, which, values (M,))]."""
        members = []
        for m, seed in enumerate(moment.rand.seeds):
            params = {i: {k: v[m] for k, v in block.items()} for i, block in moment.after.items()}
            like = moment.net.like(params)
            rand = Rand(seed, dtype=like.dtype)
            x = rand.normal("admissible.input", (1, math.prod(moment.net.shape_in))).to(like)
            trace = moment.net.forward(params, x)
            members.append(self._plane(torch.cat(output_jacobian(moment.net, params, trace), -1)[0], rand))
        names = [f"random.{k}" for k in range(self.draws)] + [f"damped.{k}" for k in range(self.dampings)]
        names += ["pseudoinverse", "transpose"]
        points = torch.stack(members)  # (M, K, 2)
        return [(f"pc{c + 1}", name, points[:, k, c]) for k, name in enumerate(names) for c in (0, 1)]

    def _plane(self, jacobian: Tensor, rand: Rand) -> Tensor:
        """(draws + dampings + 2, 2) coordinates."""
        eye = torch.eye(jacobian.shape[0], dtype=jacobian.dtype, device=jacobian.device)
        damped = [
            jacobian.mT @ torch.linalg.inv(jacobian @ jacobian.mT + damping * eye)
            for damping in torch.logspace(*DAMPINGS, self.dampings).tolist()
        ]
        known = torch.stack([*damped, torch.linalg.pinv(jacobian), jacobian.mT])
        vectors = torch.cat([admissible(jacobian, self.draws, rand), known]).flatten(1)
        return principal_plane(vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True))


part = AdmissibleFeedback
