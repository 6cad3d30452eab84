"""A variational autoencoder whose code enters every layer of its decoder (Dieng et al. 2019, 1807.04863)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import SkipMLP
from ..priors import Prior
from .decoder import DecoderProgram


class SkipVAE(DecoderProgram):
    """p(x, z) = p(z) prod_i p(x_i | f(z)_i) with h_1 = a(W_1 z), h_{l+1} = a(W_l h_l + U_l z), f = W h + U z.

    The direct paths keep the information that z and the deeper layers share from falling with depth: the paper's cure
    for latents that collapse.

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
        super().__init__(data_dim, latent_dim, prior=prior, levels=levels, likelihood=likelihood)
        self.decoder = SkipMLP(latent_dim, hidden, data_dim * self.family.num_parameters, nonlinearity)
