"""The two normal guides with correlations: what they can express."""

from __future__ import annotations

import math

import pytest
import torch

from ppl_models.guides.full_rank_normal import FullRankNormal
from ppl_models.guides.low_rank_normal import LowRankNormal


def unscaled(scale: torch.Tensor) -> torch.Tensor:
    """The output of an encoder that stands for this scale."""
    return torch.log(torch.expm1(scale - 1e-5)) - math.log(math.e - 1)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_any_mean_and_covariance_can_be_reached(dim: int) -> None:
    root = torch.randn(dim, dim, dtype=torch.float64)
    mean, covariance = torch.randn(dim, dtype=torch.float64), root @ root.T + 0.1 * torch.eye(dim)
    factor = torch.linalg.cholesky(covariance)
    below = [factor[row, column] for row in range(dim) for column in range(row)]
    parameters = torch.cat([mean, unscaled(factor.diagonal()), torch.tensor(below, dtype=torch.float64)])
    posterior = FullRankNormal(4, dim).double().family(parameters)
    torch.testing.assert_close(posterior.mean, mean)
    torch.testing.assert_close(posterior.covariance_matrix, covariance)


def test_the_parameters_are_as_many_as_a_mean_and_a_triangle_have() -> None:
    assert [FullRankNormal(4, dim).num_parameters() for dim in (1, 2, 3, 16)] == [2, 5, 9, 152]


def test_an_encoder_of_zeros_gives_the_standard_normal() -> None:
    for guide in (FullRankNormal(4, 3), LowRankNormal(4, 3)):
        posterior = guide.family(torch.zeros(2, guide.num_parameters(), dtype=torch.float64))
        torch.testing.assert_close(posterior.mean, torch.zeros(2, 3, dtype=torch.float64))
        eye = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
        torch.testing.assert_close(posterior.covariance_matrix, eye, rtol=0, atol=3e-5)


def test_the_draws_of_a_full_covariance_have_it() -> None:
    guide = FullRankNormal(4, 3).double()
    parameters = torch.randn(guide.num_parameters(), dtype=torch.float64)
    posterior = guide.family(parameters)
    covariance = posterior.covariance_matrix
    assert covariance[0, 1].abs() > 0.05, "there is a correlation to be seen"
    z = posterior.rsample((40_000,))
    spread = (covariance.diagonal()[:, None] * covariance.diagonal() + covariance.square()).sqrt() / 200
    assert ((torch.cov(z.T) - covariance).abs() < 4.5 * spread).all()
