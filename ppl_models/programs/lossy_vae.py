"""The variational lossy autoencoder: a decoder that sees a small window of pixels (Chen et al. 2017, 1611.02731)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import PixelCNNNet, make_decoder
from ..ordering import Ordering
from ..priors import FlowPrior, Prior
from .autoregressive_decoder import AutoregressiveDecoderProgram


class LossyVAE(AutoregressiveDecoderProgram):
    """p(x, z) = p(z) prod_t p(x_t | window(x_<t), z), p(z) an autoregressive flow.

    What a pixel's window can tell is left to the pixels, and what it cannot, to z: the width of the window says which
    information the code need not hold. The flow as a prior is equivalent to an inverse autoregressive flow in the
    guide, with the decoder at no cost (section 3.2 of the paper).

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        hidden: widths of the net that turns z into contexts: of its layers, or of its stages' channels.
        decoder: ``"mlp"``, ``"skip"``, ``"conv"`` or ``"recurrent"``: what kind of net that is.
        context: E, the length of the context vector of a place.
        window: width of the square around a pixel whose earlier pixels it sees; 1 for none, so that pixels are
            independent given z.
        channels, depth: of the net on the window; its residual blocks look at no other places.
        dropout: in the residual blocks.
        nonlinearity: name of the activation.
        prior: p(z); an autoregressive flow unless given.
        ordering, levels, likelihood, shape: as ``AutoregressiveDecoderProgram``.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int = 16,
        hidden: Sequence[int] = (200,),
        decoder: str = "mlp",
        context: int = 8,
        window: int = 3,
        channels: int = 32,
        depth: int = 1,
        dropout: float = 0.0,
        nonlinearity: str = "tanh",
        ordering: Ordering | str | Sequence[int] = "raster",
        prior: Prior | None = None,
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        prior = FlowPrior(latent_dim) if prior is None else prior
        super().__init__(
            data_dim, latent_dim, ordering=ordering, prior=prior, levels=levels, likelihood=likelihood, shape=shape
        )
        outputs = self.family.num_parameters
        self.spread = make_decoder(decoder, latent_dim, hidden, self.data_dim, context, nonlinearity, self.shape)
        self.net = PixelCNNNet(
            self.ordering, self.shape, channels, depth, 1, window, outputs, dropout, self.scale, context=context
        )
