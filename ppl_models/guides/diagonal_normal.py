"""The diagonal normal guide of Kingma & Welling (2014, 1312.6114)."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import at_least_float32, to_scale
from .amortized import AmortizedGuide


class DiagonalNormal(AmortizedGuide):
    """q(z | x) = N(z; mu(x), diag sigma(x)^2), both from one encoder; arguments as ``AmortizedGuide``."""

    expresses = "diagonal normal"

    def num_parameters(self) -> int:
        """2 L: means, then unconstrained scales."""
        return 2 * self.latent_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """N(mu, diag sigma^2) with sigma = softplus(s + log(e - 1)) + 1e-5: (..., 2L) -> event shape (L,)."""
        loc, raw = at_least_float32(parameters).chunk(2, -1)
        return dist.Normal(loc, to_scale(raw)).to_event(1)
