"""The variational autoencoder's generative half (Kingma & Welling 2014, 1312.6114). Its other half is a guide."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import mlp
from ..priors import Prior
from .decoder import DecoderProgram


class VAE(DecoderProgram):
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
        super().__init__(data_dim, latent_dim, prior=prior, levels=levels, likelihood=likelihood)
        self.decoder = mlp(latent_dim, hidden, data_dim * self.family.num_parameters, nonlinearity)
