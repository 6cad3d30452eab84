"""The study of the gap: how much of what the ELBO leaves is the guide's family, and how much its encoder."""

from __future__ import annotations

from typing import Any

from ..estimators import AnnealingOptions
from ..gaps import GapSettings
from .members import Member

QUESTION = (
    "How far below log p(x) does the ELBO lie under guides of several families, and how much of that is the family "
    "itself (at most), how much its encoder (at least)?"
)

# Families of one program, from the plain one to those with more freedom; options that differ from the defaults.
GUIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "diagonal": ("DiagonalNormal", {}),
    "full_rank": ("FullRankNormal", {}),
    "mixture": ("Mixture", {"components": 4}),
    "flow": ("InverseAutoregressive", {}),
    # Its family is the diagonal one; what it refines per image is what an encoder leaves.
    "semi_amortized": ("SemiAmortized", {"steps": 3, "num_draws": 8}),
}

QUICK_GAP = GapSettings(steps=150, final_particles=500)


def nonlinear(name: str, temperatures: int, images: int, gap: GapSettings, epochs: int | None) -> Member:
    """A VAE whose log p(x) is bounded from below alone: by importance weights and by annealing."""
    guide, options = GUIDES[name]
    evaluation = {"limit": images, "gap": gap, "annealing": AnnealingOptions(chains=8, start="guide", leapfrog=5)}
    return Member(
        name, "vae", ("elbo:64", "iw:1000", f"ais:{temperatures}"), samples=0, guide=guide, guide_arguments=options,
        training={"epochs": epochs} if epochs else {}, evaluation=evaluation,
    )  # fmt: skip


def linear(name: str, guide: str, images: int, gap: GapSettings) -> Member:
    """A program whose log p(x), and whose families' gaps, are known: what the search finds can be held against them."""
    return Member(
        name, "linear_vae", ("exact", "elbo:64"), samples=0, guide=guide, evaluation={"limit": images, "gap": gap},
        training={"epochs": 100, "patience": None},
    )  # fmt: skip


def members(temperatures: int, images: int, gap: GapSettings, epochs: int | None) -> tuple[Member, ...]:
    """All members, the linear ones last."""
    families = (nonlinear(name, temperatures, images, gap, epochs) for name in GUIDES)
    pair = (("linear_diagonal", "DiagonalNormal"), ("linear_full_rank", "FullRankNormal"))
    return (*families, *(linear(name, guide, images, gap) for name, guide in pair))


MEMBERS = {
    "quick": members(100, 40, QUICK_GAP, 50),
    "full": members(1000, 200, GapSettings(), None),
}

SEEDS = {"quick": (0, 1), "full": (0, 1, 2, 3, 4)}
