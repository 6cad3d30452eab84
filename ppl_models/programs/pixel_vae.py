"""PixelVAE: a Gated PixelCNN that is conditioned on a latent vector (Gulrajani et al. 2017, 1611.05013)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import GatedPixelCNNNet, make_decoder
from ..ordering import Ordering
from ..priors import Prior
from .autoregressive_decoder import AutoregressiveDecoderProgram


class PixelVAE(AutoregressiveDecoderProgram):
    """p(x, z) = p(z) prod_t p(x_t | x_<t, z): the latents may carry what is global, the pixels before what is local.

    Nothing forces them to: a decoder that models images well without z may leave the latents unused.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        hidden: widths of the net that turns z into contexts: of its layers, or of its stages' channels.
        decoder: ``"mlp"``, ``"skip"``, ``"conv"`` or ``"recurrent"``: what kind of net that is.
        context: E, the length of the context vector of a place.
        channels, depth, kernel, first_kernel, dropout: of the Gated PixelCNN.
        nonlinearity: name of the activation.
        ordering, prior, levels, likelihood, shape: as ``AutoregressiveDecoderProgram``.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int = 16,
        hidden: Sequence[int] = (200,),
        decoder: str = "mlp",
        context: int = 8,
        channels: int = 32,
        depth: int = 4,
        kernel: int = 3,
        first_kernel: int = 7,
        dropout: float = 0.0,
        nonlinearity: str = "tanh",
        ordering: Ordering | str | Sequence[int] = "raster",
        prior: Prior | None = None,
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(
            data_dim, latent_dim, ordering=ordering, prior=prior, levels=levels, likelihood=likelihood, shape=shape
        )
        outputs = self.family.num_parameters
        self.spread = make_decoder(decoder, latent_dim, hidden, self.data_dim, context, nonlinearity, self.shape)
        self.net = GatedPixelCNNNet(
            self.ordering, self.shape, channels, depth, kernel, first_kernel, outputs, dropout, self.scale,
            context=context,
        )  # fmt: skip
