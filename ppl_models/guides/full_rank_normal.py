"""The normal guide with every correlation between latents."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import at_least_float32, full_precision, to_scale
from .amortized import AmortizedGuide


class FullPrecision:
    """Mixed into a distribution with matrix products: draws and densities in the precision of its parameters.

    Under ``torch.autocast`` a product of matrices is rounded to 8 bits, and log-densities come out wrong by hundredths
    of a nat.
    """

    loc: Tensor

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """As the distribution's own."""
        with full_precision(self.loc):
            return super().rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """As the distribution's own."""
        with full_precision(self.loc):
            return super().log_prob(value)


class _Normal(FullPrecision, dist.MultivariateNormal):
    """N(mu, S S^T)."""


class FullRankNormal(AmortizedGuide):
    """q(z | x) = N(z; mu(x), S(x) S(x)^T), S lower-triangular, both from one encoder; arguments as ``AmortizedGuide``.

    The posterior of a linear-Gaussian program is in this family. Its L (L + 3) / 2 parameters per image suit tens of
    latents; ``LowRankNormal`` serves hundreds. An encoder that outputs zeros gives the standard normal.
    """

    expresses = "normal"

    def num_parameters(self) -> int:
        """L (L + 3) / 2: means, the unconstrained diagonal of S, and S below it, row by row."""
        return self.latent_dim * (self.latent_dim + 3) // 2

    def family(self, parameters: Tensor) -> TorchDistribution:
        """N(mu, S S^T) with S_ll = softplus(s_l + log(e - 1)) + 1e-5: (..., P) -> event shape (L,)."""
        dim, parameters = self.latent_dim, at_least_float32(parameters)
        loc, raw, below = parameters.split([dim, dim, parameters.shape[-1] - 2 * dim], -1)
        scale = torch.diag_embed(to_scale(raw))
        row, column = torch.tril_indices(dim, dim, -1, device=scale.device)
        scale[..., row, column] = below
        return _Normal(loc, scale_tril=scale)
