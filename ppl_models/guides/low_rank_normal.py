"""The normal guide with a few directions of correlation."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import at_least_float32, full_precision, to_scale
from ..errors import InvalidInput
from .amortized import AmortizedGuide
from .full_rank_normal import FullPrecision

# Variance of its own that a latent keeps, as a share of what it has in common with others.
FLOOR = 1e-5


class _Normal(FullPrecision, dist.LowRankMultivariateNormal):
    """N(mu, W W^T + diag d)."""


class LowRankNormal(AmortizedGuide):
    """q(z | x) = N(z; mu(x), W(x) W(x)^T + diag d(x)) with W of R columns (as in Rezende et al. 2014, 1401.4082, though
    there the precision is of low rank).

    Densities cost O(L R^2) by Woodbury's identity.

    Args:
        data_dim, latent_dim, *shared, **options: as ``AmortizedGuide``.
        rank: R. More columns than there are latents express nothing new: R is at most L.

    Raises:
        InvalidInput: for a rank below 1.
    """

    def __init__(self, data_dim: int, latent_dim: int, *shared: Any, rank: int = 4, **options: Any) -> None:
        if not isinstance(rank, int) or rank < 1:
            raise InvalidInput("rank", rank, "W has at least one column", "give 1 or more, or use DiagonalNormal")
        self.rank = rank
        super().__init__(data_dim, latent_dim, *shared, **options)

    @property
    def columns(self) -> int:
        """R."""
        return min(self.rank, self.latent_dim)

    def num_parameters(self) -> int:
        """(2 + R) L: means, unconstrained roots of d, and W row by row."""
        return (2 + self.columns) * self.latent_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """N(mu, W W^T + diag d) with d_l = (softplus(s_l + log(e - 1)) + 1e-5)^2 + 1e-5 |w_l|^2, w_l the rows of W:
        (..., P) -> event shape (L,)."""
        dim, parameters = self.latent_dim, at_least_float32(parameters)
        loc, raw, factor = parameters.split([dim, dim, dim * self.columns], -1)
        with full_precision(parameters):  # the distribution multiplies matrices as soon as it is made
            factor = factor.unflatten(-1, (dim, self.columns))
            # I + W^T D^-1 W is factored: in float32 the I is lost beside entries above 1e7.
            return _Normal(loc, factor, to_scale(raw).square() + FLOOR * factor.square().sum(-1))
