"""Linear systems and spectra of stacks, in which a singular member disturbs no other."""

from __future__ import annotations

import torch
from torch import Tensor

from credit.numerics.finite import finite_parts


def solve(matrix: Tensor, target: Tensor) -> Tensor:
    """matrix^-1 target by LU, (M, d, B), matrix (M, d, d); least squares for the members whose matrix is singular."""
    factors, pivots, info = torch.linalg.lu_factor_ex(matrix)
    size = factors.diagonal(dim1=-2, dim2=-1).abs()
    rounding = matrix.shape[-1] * torch.finfo(matrix.dtype).eps
    sound = (info == 0) & (size.amin(-1) > rounding * size.amax(-1))
    return mend(torch.linalg.lu_solve(factors, pivots, target), ~sound, matrix, target)


def least_squares(matrix: Tensor, target: Tensor) -> Tensor:
    """Minimum-norm solution X (M, n, B) of matrix X = target, matrix (M, m, n), target (M, m, B).

    Singular values below rounding are dropped; NaN for members that are not finite.
    """
    finite, matrix = finite_parts(matrix)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    kept = s > torch.finfo(s.dtype).eps * s.amax(-1, keepdim=True)
    inverse = torch.where(kept, 1 / torch.where(kept, s, 1), 0)
    solution = vh.mT @ (inverse.unsqueeze(-1) * (u.mT @ target))
    return torch.where(finite, solution, torch.nan)


def mend(x: Tensor, broken: Tensor, matrix: Tensor, target: Tensor) -> Tensor:
    """`x` with the least-squares solution for the members that are `broken` (M,)."""
    if bool(broken.any()):
        x[broken] = least_squares(matrix[broken], target[broken])
    return x


def pseudo_solve(matrix: Tensor, target: Tensor) -> Tensor:
    """matrix^+ target, (M, n, B), with the Moore-Penrose pseudoinverse; matrix (M, m, n), target (M, m, B).

    Normal equations of the smaller side with one step of refinement, which brings back the accuracy that squaring
    the condition number costs; LU where the matrix is square.
    """
    if matrix.shape[-2] == matrix.shape[-1]:
        return solve(matrix, target)
    tall = matrix.shape[-2] > matrix.shape[-1]
    factor, info = torch.linalg.cholesky_ex(matrix.mT @ matrix if tall else matrix @ matrix.mT)
    pivots = factor.diagonal(dim1=-2, dim2=-1)
    # Beyond this condition refinement no longer converges; the comparison is false for NaN too.
    sound = (info == 0) & (pivots.amin(-1) > torch.finfo(matrix.dtype).eps ** (1 / 3) * pivots.amax(-1))

    def once(y: Tensor) -> Tensor:
        if tall:
            return torch.cholesky_solve(matrix.mT @ y, factor)
        return matrix.mT @ torch.cholesky_solve(y, factor)

    x = once(target)
    x = x + once(target - matrix @ x)
    return mend(x, ~sound, matrix, target)


def eigenvalues(matrix: Tensor) -> Tensor:
    """Complex eigenvalues (M, d) of a matrix (M, d, d); NaN for a member that is not finite."""
    finite, matrix = finite_parts(matrix)
    values = torch.linalg.eigvals(matrix)
    return torch.where(finite.squeeze(-1), values, complex(torch.nan, torch.nan))


def largest_real_part(matrix: Tensor) -> Tensor:
    """Largest real part of the eigenvalues, (M, B); NaN where a matrix is not finite."""
    return eigenvalues(matrix).real.amax(-1)
