"""Latent codes: what ArviZ shows of a guide's draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.arviz_compat import open_tree, plot_forest, psis
from analysis.runs import Member, Run, Study
from analysis.style import Picture, as_picture, house_style
from analysis.table import HIGH_PARETO_K

_SHOWN = 16


@dataclass(frozen=True)
class LatentEntry:
    """One program's codes.

    Attributes:
        title: member and seed.
        picture: ArviZ's forest plot of the first image's latents.
        image: which image of the split that is.
        num_draws, num_images: what the file holds.
        median_k, share_high_k: of Pareto k-hat over images, by PSIS of these draws; NaN without log weights.
    """

    title: str
    picture: Picture
    image: int
    num_draws: int
    num_images: int
    median_k: float
    share_high_k: float


def latent_codes(study: Study) -> list[LatentEntry]:
    """The first run of each member that has ``latents.nc`` with a site ``z``."""
    entries = []
    for member in study.members:
        run = next((run for run in member.runs if (run.path / "latents.nc").exists()), None)
        if run is not None:
            entries.append(_entry(member, run))
    return entries


def _entry(member: Member, run: Run) -> LatentEntry:
    path = run.path / "latents.nc"
    groups = open_tree(path)
    site = str(next(iter(groups["posterior"].data_vars)))
    draws = groups["posterior"][site]
    sizes = draws.sizes
    with house_style():
        figure = plot_forest(path, 0, range(min(_SHOWN, draws.shape[-1])), site)
        picture = as_picture(figure, f"Guide draws of {site} for one image")
    k_hat = np.array([np.nan])
    if "log_weight" in groups.get("sample_stats", ()):
        weights = groups["sample_stats"]["log_weight"].stack(particle=("chain", "draw"))
        k_hat = psis(weights.transpose("particle", "image").values)[1]
    return LatentEntry(
        title=f"{member.name}, seed {run.seed}",
        picture=picture,
        image=int(draws["image"][0]),
        num_draws=sizes["chain"] * sizes["draw"],
        num_images=sizes["image"],
        median_k=float(np.median(k_hat)),
        share_high_k=float(np.mean(k_hat > HIGH_PARETO_K)) if not np.isnan(k_hat).any() else float("nan"),
    )
