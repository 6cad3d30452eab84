"""A mixture of normal distributions with learnable parameters as prior (Dilokthanakul et al. 2016, 1611.02648; as the
plain baseline of the VampPrior: Tomczak & Welling 2018, 1705.07120, where it is called MoG)."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32
from .base import Prior, check_components
from .component_mixture import ComponentMixture

# Before training the spread of the means and the width of a component have equal shares of a variance of 1.
SHARE = 0.5


class MixtureOfNormals(Prior):
    """p(z) = sum_k w_k N(z; mu_k, diag sigma_k^2), weights, means and scales learnable.

    Before training the weights are equal, the means are drawn from N(0, I/2), so that no two components are equal, and
    the variances are 1/2: together about the standard normal distribution. With K = 1 the mean starts at 0 and the
    variance at 1.

    Args:
        latent_dim: L, the length of z.
        components: K.

    Raises:
        InvalidInput: for fewer than 1 component.
    """

    def __init__(self, latent_dim: int, components: int = 10) -> None:
        super().__init__(latent_dim)
        count = check_components(components)
        share = SHARE if count > 1 else 0.0
        self.logits = nn.Parameter(torch.zeros(count), requires_grad=count > 1)
        self.loc = nn.Parameter(math.sqrt(share) * torch.randn(count, self.latent_dim))
        self.log_scale = nn.Parameter(torch.full((count, self.latent_dim), 0.5 * math.log(1 - share)))

    def forward(self) -> TorchDistribution:
        """The mixture: batch shape (), event shape (L,)."""
        return ComponentMixture(self.logits, self._components)

    def _components(self, chosen: Tensor) -> TorchDistribution:
        """Components by number: (n,) -> batch shape (n,), event shape (L,)."""
        loc, scale = at_least_float32(self.loc)[chosen], at_least_float32(self.log_scale)[chosen].exp()
        return dist.Normal(loc, scale).to_event(1)
