"""The first study: an exact likelihood, a bound and no density at all, side by side on the same images."""

from __future__ import annotations

from .members import Member

QUESTION = (
    "How probable are the same test images under an autoregressive program (exact), a variational autoencoder (bounds) "
    "and a deterministic autoencoder (no density), and which differences do the numbers establish?"
)

LIKELIHOOD = ("exact",)
BOUNDS = ("elbo:64", "iw:5000")

MEMBERS = (
    Member("made", "made", LIKELIHOOD),
    Member("vae", "vae", BOUNDS),
    Member("autoencoder", "autoencoder", (*LIKELIHOOD, *BOUNDS), samples=0),
    Member("independent_pixels", "independent_pixels", LIKELIHOOD, role="baseline", seeds=1),
)

SEEDS = {"quick": (0, 1, 2), "full": (0, 1, 2, 3, 4)}
