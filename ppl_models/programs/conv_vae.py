"""A variational autoencoder with a convolutional decoder."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import ConvDecoder
from ..ordering import image_shape
from ..priors import Prior
from .decoder import DecoderProgram


class ConvVAE(DecoderProgram):
    """p(x, z) = p(z) prod_i p(x_i | f(z)_i), f of gated convolutions and residual blocks (the gates of Dauphin et al.
    2017, 1612.08083, as in Tomczak & Welling 2018, 1705.07120).

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        hidden: channels of the decoder's stages, from the image inwards; each stage doubles height and width.
        nonlinearity: name of the activation in the residual blocks.
        prior: p(z); standard normal unless given.
        levels: number of values of a pixel.
        likelihood: the family of one pixel, see ``pixel_family``.
        shape: (C, H, W); a square if D is one, else a row.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int = 16,
        hidden: Sequence[int] = (32, 64),
        nonlinearity: str = "elu",
        prior: Prior | None = None,
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, latent_dim, prior=prior, levels=levels, likelihood=likelihood)
        self.shape = image_shape(data_dim, shape)
        self.decoder = ConvDecoder(latent_dim, self.shape, hidden, self.family.num_parameters, nonlinearity)
