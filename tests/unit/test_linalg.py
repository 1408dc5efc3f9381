"""Linear systems and spectra of stacks: what is singular or not finite disturbs nobody else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from credit.numerics.damped import damped_solution, multiple_of_identity, solve_each
from credit.numerics.finite import finite_parts
from credit.numerics.linalg import eigenvalues, largest_real_part, least_squares, pseudo_solve

DOUBLE = torch.float64


def matrices(*shape):
    return torch.from_numpy(np.random.default_rng(3).normal(size=shape))


FUNCTIONS = {
    "eigenvalues": eigenvalues,
    "real part": largest_real_part,
    "least squares": lambda m: least_squares(m, torch.ones_like(m)),
    "damped": lambda m: damped_solution(m @ m.mT, torch.ones_like(m[..., 0]), 0.0, "x"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_member_that_is_not_finite_is_lost_alone(name, bad):
    whole = matrices(4, 3, 3)
    broken = whole.clone()
    broken[2, 0, 1] = bad
    found, expected = FUNCTIONS[name](broken), FUNCTIONS[name](whole)
    assert found[2].isnan().all()
    for m in (0, 1, 3):
        torch.testing.assert_close(found[m], expected[m], rtol=1e-13, atol=1e-13)


def test_what_is_not_finite_is_named_and_zero():
    whole = matrices(2, 3, 4)
    broken = whole.clone()
    broken[1, 2, 3] = torch.inf
    finite, kept = finite_parts(broken)
    assert finite.flatten().tolist() == [True, False]
    assert torch.equal(kept[0], whole[0])
    assert not kept[1].any()


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_the_pseudoinverse_solves_as_that_of_numpy(shape):
    matrix, target = matrices(2, *shape), matrices(2, shape[0], 6)
    expected = np.linalg.pinv(matrix.numpy()) @ target.numpy()
    np.testing.assert_allclose(pseudo_solve(matrix, target).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_a_singular_sample_gets_nothing_and_the_others_their_solution():
    matrix, right = matrices(2, 3, 4, 4), matrices(2, 3, 4)
    matrix[1, 2, 3] = matrix[1, 2, 0]
    matrix[0, 1, 0, 0] = torch.nan
    solution, singular = solve_each(matrix, right)
    expected = torch.zeros(2, 3, dtype=torch.bool)
    expected[1, 2] = expected[0, 1] = True
    assert torch.equal(singular, expected)
    assert (solution[singular] == 0).all()
    residual = (matrix @ solution.unsqueeze(-1)).squeeze(-1) - right
    assert float(residual[~singular].abs().max()) < 1e-12


def test_multiples_of_the_identity_are_recognised():
    eye = torch.eye(3, dtype=DOUBLE)
    assert multiple_of_identity(torch.stack([2 * eye, -eye])).flatten().tolist() == [2.0, -1.0]
    assert multiple_of_identity(torch.stack([eye, 0 * eye])) is None
    assert multiple_of_identity(torch.stack([eye, eye + torch.eye(3, dtype=DOUBLE).roll(1, 0)])) is None
