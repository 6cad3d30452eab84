"""What the programs with one latent vector and independent pixels share: a prior, a decoder, the family of a pixel."""

from __future__ import annotations

from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import pixel_family
from ..priors import Prior, StandardNormal
from ..program import LatentProgram


class PriorProgram(LatentProgram):
    """p(x, z) = p(z) p(x | z) with a prior that is an object. A subclass writes ``likelihood``.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        prior: p(z); standard normal unless given.
        levels: number of values of a pixel; 0 for real-valued ones.
        likelihood: the family of one pixel, see ``pixel_family``.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        prior: Prior | None = None,
        levels: int = 2,
        likelihood: str = "auto",
    ) -> None:
        super().__init__(data_dim, latent_dim, levels=levels)
        self.family = pixel_family(levels, likelihood)
        self.measure = self.family.measure
        self.latent_prior = StandardNormal(latent_dim) if prior is None else prior

    @property
    def needs_guide(self) -> bool:
        """Whether the prior is made from the guide."""
        return self.latent_prior.needs_guide

    def bind_guide(self, guide: nn.Module) -> None:
        """Tell the prior of the guide."""
        self.latent_prior.bind_guide(guide)

    def prior(self) -> TorchDistribution:
        """p(z): event shape (L,)."""
        return self.latent_prior()


class DecoderProgram(PriorProgram):
    """p(x, z) = p(z) prod_i p(x_i | f(z)_i): pixels are independent given z. A subclass sets ``decoder``, the function
    f: (..., L) -> (..., D * P), the P parameters of a pixel beside each other."""

    decoder: nn.Module

    def likelihood(self, z: Tensor) -> TorchDistribution:
        """p(x | z): z (..., L) -> batch shape (...), event shape (D,)."""
        parameters = self.decoder(z).unflatten(-1, (self.data_dim, -1))
        return self.family.image_distribution(parameters)
