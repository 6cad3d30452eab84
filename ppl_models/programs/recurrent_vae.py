"""A variational autoencoder whose decoder is a recurrence over the rows of the image."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import RowDecoder
from ..ordering import image_shape
from ..priors import Prior
from .decoder import DecoderProgram


class RecurrentVAE(DecoderProgram):
    """p(x, z) = p(z) prod_i p(x_i | f(z)_i), f a gated recurrent unit that is fed with z and writes row after row.

    The recurrence sees no pixels, so that they stay independent given z, unlike in sequence models whose decoder reads
    what it wrote (Fabius & van Amersfoort 2015, 1412.6581, and ``PixelVAE``).

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        hidden: width of the state, once per layer.
        prior: p(z); standard normal unless given.
        levels: number of values of a pixel.
        likelihood: the family of one pixel, see ``pixel_family``.
        shape: (C, H, W); a square if D is one, else a row.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int = 16,
        hidden: Sequence[int] = (128,),
        prior: Prior | None = None,
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, latent_dim, prior=prior, levels=levels, likelihood=likelihood)
        self.shape = image_shape(data_dim, shape)
        self.decoder = RowDecoder(latent_dim, self.shape, hidden, self.family.num_parameters)
