"""The variational autoencoder's generative half (Kingma & Welling 2014, 1312.6114). Its other half is a guide."""

from __future__ import annotations

from collections.abc import Sequence

from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import pixel_family
from ..nets import mlp
from ..priors import Prior, StandardNormal
from ..program import LatentProgram


class VAE(LatentProgram):
    """p(x, z) = p(z) prod_i p(x_i | f(z)_i) with a perceptron f: pixels are independent given z.

    log p(x) is an integral over z without a closed form: only bounds and estimates of it can be had.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        hidden: widths of the decoder's hidden layers.
        nonlinearity: name of its activation.
        prior: p(z); standard normal unless given.
        levels: number of values of a pixel.
        likelihood: the family of one pixel, see ``pixel_family``.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int = 16,
        hidden: Sequence[int] = (200, 200),
        nonlinearity: str = "tanh",
        prior: Prior | None = None,
        levels: int = 2,
        likelihood: str = "auto",
    ) -> None:
        super().__init__(data_dim, latent_dim, levels=levels)
        self.family = pixel_family(levels, likelihood)
        self.latent_prior = StandardNormal(latent_dim) if prior is None else prior
        self.decoder = mlp(latent_dim, hidden, data_dim * self.family.num_parameters, nonlinearity)

    def prior(self) -> TorchDistribution:
        """p(z): event shape (L,)."""
        return self.latent_prior()

    def likelihood(self, z: Tensor) -> TorchDistribution:
        """p(x | z): z (..., L) -> batch shape (...), event shape (D,)."""
        parameters = self.decoder(z).unflatten(-1, (self.data_dim, -1))
        return self.family.distribution(parameters).to_event(1)
