"""The diagonal normal guide of Kingma & Welling (2014, 1312.6114)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.nn import functional

from ..distributions.pixels import at_least_float32
from ..nets import mlp
from .base import Guide

# softplus(0 + UNIT) = 1: an encoder that outputs zeros gives the standard normal.
UNIT = math.log(math.e - 1)
SMALLEST_SCALE = 1e-5


class DiagonalNormal(Guide):
    """q(z | x) = N(z; mu(x), diag sigma(x)^2), both from one perceptron.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        hidden: widths of the encoder's hidden layers.
        nonlinearity: name of its activation.
        levels: number of values of a pixel; images are scaled to [0, 1] before they are encoded.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        hidden: Sequence[int] = (200, 200),
        nonlinearity: str = "tanh",
        levels: int = 2,
    ) -> None:
        super().__init__(data_dim, latent_dim)
        self.levels = levels
        self.encoder = mlp(data_dim, hidden, 2 * latent_dim, nonlinearity)

    def encode(self, x: Tensor) -> Tensor:
        """The family's parameters for each image: (N, D) -> (N, 2L), means then unconstrained scales."""
        return self.encoder(x / (self.levels - 1))

    def family(self, parameters: Tensor) -> TorchDistribution:
        """N(mu, diag sigma^2) with sigma = softplus(s + log(e - 1)) + 1e-5: (..., 2L) -> event shape (L,)."""
        loc, raw = at_least_float32(parameters).chunk(2, -1)
        return dist.Normal(loc, functional.softplus(raw + UNIT) + SMALLEST_SCALE).to_event(1)

    def posterior(self, x: Tensor) -> TorchDistribution:
        """q(z | x): (N, D) -> batch shape (N,), event shape (L,)."""
        return self.family(self.encode(x))
