"""Recipes of programs with latents, and the deterministic baseline."""

from __future__ import annotations

from collections.abc import Sequence

from ..autoencoder import Autoencoder, NotADensity
from ..guides import DiagonalNormal
from ..programs import VAE
from .base import Pair


def vae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """Variational autoencoder (Kingma & Welling 2014) with a diagonal normal guide."""
    program = VAE(data_dim, latent_dim, hidden, nonlinearity, levels=levels, likelihood=likelihood)
    return program, DiagonalNormal(data_dim, latent_dim, hidden, nonlinearity, levels)


def autoencoder(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    levels: int = 2,
) -> Pair:
    """Deterministic autoencoder: reconstructs, and has no density."""
    return NotADensity(Autoencoder(data_dim, latent_dim, hidden, nonlinearity, levels)), None
