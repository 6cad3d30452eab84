"""Rank and layout of the low-rank guide."""

from __future__ import annotations

import pytest
import torch

from ppl_models.guides.low_rank_normal import LowRankNormal


@pytest.mark.parametrize(("dim", "rank", "columns"), [(1, 4, 1), (3, 4, 3), (3, 1, 1), (6, 4, 4)])
def test_the_covariance_is_a_diagonal_and_so_many_directions(dim: int, rank: int, columns: int) -> None:
    guide = LowRankNormal(4, dim, rank=rank).double()
    assert guide.num_parameters() == (2 + columns) * dim
    parameters = torch.randn(guide.num_parameters(), dtype=torch.float64)
    posterior = guide.family(parameters)
    correlated = posterior.covariance_matrix - posterior.cov_diag.diag()
    assert torch.linalg.matrix_rank(correlated, hermitian=True) == columns
    factor = parameters[2 * dim :].reshape(dim, columns)
    torch.testing.assert_close(correlated, factor @ factor.T)


def test_the_draws_have_the_covariance() -> None:
    guide = LowRankNormal(4, 3, rank=1).double()
    posterior = guide.family(torch.randn(guide.num_parameters(), dtype=torch.float64))
    covariance = posterior.covariance_matrix
    z = posterior.expand((2,)).rsample((40_000,))[:, 1]
    spread = (covariance.diagonal()[:, None] * covariance.diagonal() + covariance.square()).sqrt() / 200
    assert ((torch.cov(z.T) - covariance).abs() < 4.5 * spread).all()
