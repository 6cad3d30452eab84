"""Recipes of programs with discrete latents."""

from __future__ import annotations

from collections.abc import Sequence

from ..guides import IndependentBernoulli, OneHotCategorical
from ..priors import make_prior
from ..programs import DiscreteVAE
from .base import Pair

# By the kind of code: its default prior, and its guide.
PARTS = {"binary": ("bits", IndependentBernoulli), "one-hot": ("categorical", OneHotCategorical)}


def discrete_vae(
    data_dim: int,
    *,
    latent_dim: int = 10,
    hidden: Sequence[int] = (200, 200),
    nonlinearity: str = "tanh",
    code: str = "binary",
    prior: str | None = None,
    levels: int = 2,
    likelihood: str = "auto",
) -> Pair:
    """Variational autoencoder with discrete codes, over which log p(x) is enumerated (Mnih & Gregor 2014)."""
    default, guide_class = PARTS.get(code, ("bits", IndependentBernoulli))  # an unknown code is the program's to refuse
    latent_prior = make_prior(prior or default, latent_dim, data_dim=data_dim, levels=levels, kinds=(code,))
    program = DiscreteVAE(data_dim, latent_dim, hidden, nonlinearity, latent_prior, levels, likelihood, code)
    return program, guide_class(data_dim, latent_dim, hidden, nonlinearity, levels)
