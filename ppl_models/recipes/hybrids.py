"""Recipes of hybrids: a latent vector, and pixels that depend on it and on the pixels before them."""

from __future__ import annotations

from collections.abc import Sequence

from ..guides import DiagonalNormal
from ..priors import make_prior
from ..programs import LossyVAE, PixelVAE
from .base import CONTINUOUS, Pair


def pixel_vae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    decoder: str = "mlp",
    nonlinearity: str = "tanh",
    context: int = 8,
    channels: int = 16,
    depth: int = 1,
    kernel: int = 3,
    first_kernel: int = 3,
    dropout: float = 0.3,
    ordering: str | Sequence[int] = "raster",
    prior: str = "standard-normal",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Gated PixelCNN conditioned on latents (Gulrajani et al. 2017)."""
    latent_prior = make_prior(prior, latent_dim, data_dim=data_dim, levels=levels, kinds=CONTINUOUS)
    program = PixelVAE(
        data_dim, latent_dim, hidden, decoder, context, channels, depth, kernel, first_kernel, dropout, nonlinearity,
        ordering, latent_prior, levels, likelihood, shape,
    )  # fmt: skip
    return program, DiagonalNormal(data_dim, latent_dim, hidden, nonlinearity, levels)


def lossy_vae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    decoder: str = "mlp",
    nonlinearity: str = "tanh",
    context: int = 8,
    window: int = 3,
    channels: int = 16,
    depth: int = 1,
    dropout: float = 0.3,
    ordering: str | Sequence[int] = "raster",
    prior: str = "flow:2",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Variational lossy autoencoder (Chen et al. 2017): a decoder that sees a window, and a flow as prior."""
    latent_prior = make_prior(prior, latent_dim, data_dim=data_dim, levels=levels, kinds=CONTINUOUS)
    program = LossyVAE(
        data_dim, latent_dim, hidden, decoder, context, window, channels, depth, dropout, nonlinearity,
        ordering, latent_prior, levels, likelihood, shape,
    )  # fmt: skip
    return program, DiagonalNormal(data_dim, latent_dim, hidden, nonlinearity, levels)
