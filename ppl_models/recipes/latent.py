"""Recipes of programs with one latent vector or several.

Options called ``prior`` take the name of a prior, see ``make_prior``; guides are swapped by ``--guide``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..guides import DiagonalNormal, FullRankNormal, InverseAutoregressive, LadderNormal
from ..nets import glorot
from ..priors import make_prior
from ..programs import VAE, ConvVAE, LadderVAE, LinearVAE, RecurrentVAE, SkipVAE
from .base import CONTINUOUS, Pair


def vae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    prior: str = "standard-normal",
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """Variational autoencoder (Kingma & Welling 2014) with a diagonal normal guide."""
    latent_prior = make_prior(prior, latent_dim, data_dim=data_dim, levels=levels, kinds=CONTINUOUS)
    program = VAE(data_dim, latent_dim, hidden, nonlinearity, latent_prior, levels, likelihood)
    return program, DiagonalNormal(data_dim, latent_dim, hidden, nonlinearity, levels)


def iwae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    prior: str = "standard-normal",
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """The pair of ``vae``, trained by the importance-weighted bound (Burda et al. 2016)."""
    return vae(
        data_dim, latent_dim=latent_dim, hidden=hidden, nonlinearity=nonlinearity, prior=prior, levels=levels,
        likelihood=likelihood,
    )  # fmt: skip


def vae_iaf(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    flows: int = 2,
    prior: str = "standard-normal",
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """Variational autoencoder with an inverse autoregressive flow in the guide (Kingma et al. 2016)."""
    latent_prior = make_prior(prior, latent_dim, data_dim=data_dim, levels=levels, kinds=CONTINUOUS)
    program = VAE(data_dim, latent_dim, hidden, nonlinearity, latent_prior, levels, likelihood)
    guide = InverseAutoregressive(
        data_dim, latent_dim, hidden=hidden, nonlinearity=nonlinearity, levels=levels, flows=flows
    )
    return program, guide


def vae_vamp(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    prior: str = "vamp:100",
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """Variational autoencoder whose prior is a mixture of the guide's posteriors of learned images (Tomczak & Welling
    2018).

    The layers start as ``glorot`` says: a prior made of the guide's posteriors follows the scale of the codes, so that
    a guide whose codes start together drowns them in noise, at no divergence at all.
    """
    program, guide = vae(
        data_dim, latent_dim=latent_dim, hidden=hidden, nonlinearity=nonlinearity, prior=prior, levels=levels,
        likelihood=likelihood,
    )  # fmt: skip
    glorot(program, guide)
    return program, guide


def vae_flow_prior(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    prior: str = "flow:2",
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """Variational autoencoder with a masked autoregressive flow as its prior (Chen et al. 2017)."""
    return vae(
        data_dim, latent_dim=latent_dim, hidden=hidden, nonlinearity=nonlinearity, prior=prior, levels=levels,
        likelihood=likelihood,
    )  # fmt: skip


def skip_vae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (400, 400),
    nonlinearity: str = "tanh",
    prior: str = "standard-normal",
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """Variational autoencoder whose code enters every layer of the decoder (Dieng et al. 2019)."""
    latent_prior = make_prior(prior, latent_dim, data_dim=data_dim, levels=levels, kinds=CONTINUOUS)
    program = SkipVAE(data_dim, latent_dim, hidden, nonlinearity, latent_prior, levels, likelihood)
    return program, DiagonalNormal(data_dim, latent_dim, hidden, nonlinearity, levels)


def conv_vae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (32, 64),
    nonlinearity: str = "elu",
    prior: str = "standard-normal",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Variational autoencoder of gated convolutions on both sides; ``hidden`` are the channels of their stages."""
    latent_prior = make_prior(prior, latent_dim, data_dim=data_dim, levels=levels, kinds=CONTINUOUS)
    program = ConvVAE(data_dim, latent_dim, hidden, nonlinearity, latent_prior, levels, likelihood, shape)
    guide = DiagonalNormal(data_dim, latent_dim, hidden, nonlinearity, levels, "conv", program.shape)
    return program, guide


def recurrent_vae(
    data_dim: int,
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (128,),
    prior: str = "standard-normal",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Variational autoencoder whose encoder reads, and whose decoder writes, the image row by row."""
    latent_prior = make_prior(prior, latent_dim, data_dim=data_dim, levels=levels, kinds=CONTINUOUS)
    program = RecurrentVAE(data_dim, latent_dim, hidden, latent_prior, levels, likelihood, shape)
    guide = DiagonalNormal(data_dim, latent_dim, hidden, levels=levels, encoder="recurrent", shape=program.shape)
    return program, guide


def ladder_vae(
    data_dim: int,
    *,
    latent_dim: Sequence[int] = (16, 8),
    hidden: Sequence[int] = (400, 200),
    nonlinearity: str = "tanh",
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """Ladder variational autoencoder (Sonderby et al. 2016): latents above latents."""
    program = LadderVAE(data_dim, latent_dim, hidden, nonlinearity, levels, likelihood)
    return program, LadderNormal(data_dim, latent_dim, hidden, nonlinearity, levels)


def linear_vae(data_dim: int, *, latent_dim: int = 16, scale: float | None = None, levels: int = 2) -> Pair:
    """Probabilistic principal components (Tipping & Bishop 1999), a density over grey levels as real numbers, with a
    guide that can express the exact posterior; ``scale`` holds sigma fixed."""
    guide = FullRankNormal(data_dim, latent_dim, hidden=(), levels=levels)
    return LinearVAE(data_dim, latent_dim, levels, scale), guide
