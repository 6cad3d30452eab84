"""The guide with heavier tails than a normal one."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32, to_scale
from .amortized import AmortizedGuide

# Degrees of freedom: at least LEAST, so that the variance is finite, at most MOST, where the family is normal to within
# 0.0001 nats and the normalizer is still exact in single precision, and START at first.
LEAST, MOST, START = 2.1, 100.0, 10.0
OFFSET = math.log((START - LEAST) / (MOST - START))


def to_degrees(raw: Tensor) -> Tensor:
    """2.1 + 97.9 sigmoid(raw - 2.43): between 2.1 and 100, and 10 at 0."""
    return LEAST + (MOST - LEAST) * torch.sigmoid(raw + OFFSET)


class StudentT(AmortizedGuide):
    """q(z | x) = prod_l t(z_l; nu_l, mu_l(x), sigma_l(x)), Student's t with nu_l degrees of freedom in [2.1, 100].

    Its tails fall like a power, so that importance weights are bounded where posteriors have the tails of a normal
    prior; large nu gives back ``DiagonalNormal``. Draws are reparameterized, in nu too, by implicit differentiation of
    the chi-squared distribution (Figurnov et al. 2018, 1805.08498). sigma is a scale: the variance is
    sigma^2 nu / (nu - 2).

    Args:
        data_dim, latent_dim, *shared, **options: as ``AmortizedGuide``.
        per_image: read nu_l off the image too, instead of learning one per latent.
    """

    def __init__(self, data_dim: int, latent_dim: int, *shared: Any, per_image: bool = False, **options: Any) -> None:
        self.per_image = bool(per_image)
        super().__init__(data_dim, latent_dim, *shared, **options)
        if not self.per_image:
            self.raw_degrees = nn.Parameter(torch.zeros(latent_dim))

    def num_parameters(self) -> int:
        """2 L, or 3 L per image: means, unconstrained scales, unconstrained degrees of freedom."""
        return (2 + self.per_image) * self.latent_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """Independent t(nu, mu, sigma), sigma = softplus(s + log(e - 1)) + 1e-5: (..., P) -> event shape (L,)."""
        loc, raw, *own = at_least_float32(parameters).split(self.latent_dim, -1)
        degrees = to_degrees(own[0] if self.per_image else at_least_float32(self.raw_degrees))
        return dist.StudentT(degrees, loc, to_scale(raw)).to_event(1)
