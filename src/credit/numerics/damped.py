"""Linear systems of single samples: solved, damped, or by the pseudoinverse that damped ones are without damping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.numerics.finite import finite_parts
from credit.numerics.stack import member


def damped_solution(gram: Tensor, error: Tensor, damping: float | Sequence[float], where: str) -> Tensor:
    """(gram + damping I)^-1 error of every sample, (M, B, n_L); damping 0 is the Moore-Penrose pseudoinverse.

    gram (M, B, n_L, n_L), positive semi-definite, is overwritten. A sample without a solution becomes infinite or
    not a number and disturbs no other. Raises ConfigError where damping is 0 for some members of a stack only.
    """
    if np.min(damping) > 0:
        diagonal = gram.diagonal(dim1=-2, dim2=-1)
        diagonal.add_(member(damping, diagonal))
        return torch.linalg.solve_ex(gram, error.unsqueeze(-1)).result.squeeze(-1)
    if np.max(damping) > 0:
        raise ConfigError(f"{where}.damping = {damping}; in one stack all values must be 0, or none")
    finite, gram = finite_parts(gram)
    inverse = torch.linalg.pinv(gram, hermitian=True)
    return (torch.where(finite, inverse, torch.nan) @ error.unsqueeze(-1)).squeeze(-1)


def solve_each(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """(x, singular): matrix x = right for every sample, matrix (M, B, n, n), right (M, B, n); singular (M, B).

    x is 0 where the matrix is singular or not finite.
    """
    solved = torch.linalg.solve_ex(matrix, right.unsqueeze(-1))
    solution = solved.result.squeeze(-1)
    singular = (solved.info != 0) | ~solution.isfinite().all(-1)
    return torch.where(singular.unsqueeze(-1), 0.0, solution), singular


def multiple_of_identity(matrix: Tensor) -> Tensor | None:
    """c (M, 1, 1) if every matrix (M, n, n) is c I with c not 0, else None."""
    scale = matrix[..., :1, :1]
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return scale if bool((scale != 0).all()) and torch.equal(matrix, scale * eye) else None
