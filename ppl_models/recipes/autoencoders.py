"""Recipes of the deterministic baseline, and of the density that is made of it after the fact."""

from __future__ import annotations

from collections.abc import Sequence

from ..autoencoder import Autoencoder, NotADensity
from ..guides import CodeNormal
from ..priors import make_prior
from ..programs import AutoencoderDensity
from .base import CONTINUOUS, Pair


def autoencoder(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    architecture: str = "mlp",
    corruption: float = 0.0,
    noise: str = "auto",
    levels: int = 2,
    shape: Sequence[int] | None = None,
) -> Pair:
    """Deterministic autoencoder, denoising with ``corruption``: reconstructs, and has no density."""
    own = (latent_dim, hidden, nonlinearity, levels, architecture, shape, corruption, noise)
    return NotADensity(Autoencoder(data_dim, *own)), None


def autoencoder_gmm(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    architecture: str = "mlp",
    corruption: float = 0.0,
    noise: str = "auto",
    prior: str = "mixture:50",
    scales: str = "image",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """The autoencoder with a mixture of normals over its codes and a calibrated likelihood: a density (Ghosh et al.
    2020, 1903.12436)."""
    own = (latent_dim, hidden, nonlinearity, levels, architecture, shape, corruption, noise)
    latent_prior = make_prior(prior, latent_dim, data_dim=data_dim, levels=levels, kinds=CONTINUOUS)
    program = AutoencoderDensity(Autoencoder(data_dim, *own), latent_prior, likelihood)
    return program, CodeNormal(data_dim, latent_dim, scales=scales)
