"""Pixels as real numbers: their log-probabilities are densities, and never compared with masses."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from .pixels import PixelFamily
from .precision import at_least_float32

# On the scale of [0, 1] for grey levels, of the data for real values: what a scale is before training, and its floor.
FIRST_SCALE, SMALLEST_SCALE = 0.5, 1e-3


class GaussianPixels(nn.Module, PixelFamily):
    """x_i ~ N(mu_i, sigma^2) with one learnable sigma for all pixels: a density over real values.

    One sigma, because the likelihood of a constant pixel with a sigma of its own has no maximum. Means and sigma are in
    units of levels - 1 where there are grey levels, so that a net's outputs of order 1 are images.

    Args:
        levels: number of grey levels that are treated as real numbers; 0 where the data are real.
    """

    num_parameters, measure = 1, "density"

    def __init__(self, levels: int = 0) -> None:
        super().__init__()
        self.levels = levels
        self.unit = float(levels - 1) if levels > 1 else 1.0
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    @property
    def support(self) -> constraints.Constraint:
        """Real numbers."""
        return constraints.real

    @property
    def scale(self) -> Tensor:
        """sigma in units of x: (), at least a thousandth of the unit."""
        return at_least_float32(self.log_scale).exp().clamp(min=SMALLEST_SCALE) * self.unit

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        """``Normal(mu, sigma)``: (..., 1) -> batch shape (...)."""
        return dist.Normal(at_least_float32(parameters)[..., 0] * self.unit, self.scale)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """log N(x; mu, sigma^2) in nats: parameters (..., D, 1), x (..., D) -> (..., D)."""
        return self.distribution(parameters).log_prob(x)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """mu + sigma Phi^-1(u): (..., 1) and uniforms (...) -> (...)."""
        # A uniform of exactly 0 would be minus infinity.
        noise = noise.clamp(min=torch.finfo(noise.dtype).tiny)
        return self.distribution(parameters).icdf(noise).to(noise.dtype)
