"""NUTS against the guide on chosen images: what ``posterior.nc`` says, and when it may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.stats import norm, wasserstein_distance

from analysis.arviz_compat import chain_diagnostics, open_tree
from analysis.errors import InvalidInput
from analysis.files import MAKERS

MAX_R_HAT, MIN_ESS = 1.01, 400  # Vehtari et al. 2021, 1903.08008
FAMILY_WISE = 0.05
_GROUPS = ("posterior", "guide", "sample_stats")


@dataclass(frozen=True, eq=False)
class Posterior:
    """What ``posterior.nc`` holds.

    Attributes:
        draws, guide: NUTS and guide, (chain, draw, image, latent); ``latent`` is named as ``z[3]``.
        diverging: (chain, draw, image), 0 or 1.
        attrs: program, guide, split, warm-up and the like.
    """

    draws: xr.DataArray
    guide: xr.DataArray
    diverging: xr.DataArray
    attrs: Mapping[str, object]


def read_posterior(path: Path | str) -> Posterior:
    """Read ``posterior.nc``.

    Raises:
        InvalidInput: the file is missing or malformed, or guide and NUTS are about other latents or images.
    """
    groups = open_tree(path)
    for name in _GROUPS:
        if name not in groups:
            raise InvalidInput(str(path), name, "this group is missing", f"make it with: {MAKERS['posterior.nc']}")
    draws, guide = (_flat(path, groups[name]) for name in ("posterior", "guide"))
    for dim in ("image", "latent"):
        if not np.array_equal(draws[dim], guide[dim]):
            problem = "guide and posterior hold other ones"
            raise InvalidInput(str(path), dim, problem, f"make it again with: {MAKERS['posterior.nc']}")
    if "diverging" not in groups["sample_stats"]:
        problem = "without it nobody knows whether NUTS diverged"
        raise InvalidInput(str(path), "sample_stats/diverging", problem, "write 0 or 1 per chain, draw and image")
    return Posterior(draws, guide, groups["sample_stats"]["diverging"], dict(groups["posterior"].attrs))


def _flat(path: Path | str, group: xr.Dataset) -> xr.DataArray:
    """All sites of a group beside each other, the components named by their site."""
    parts = []
    for name, site in group.data_vars.items():
        if site.dims[:3] != ("chain", "draw", "image"):
            problem = f"has dimensions {site.dims}"
            raise InvalidInput(str(path), str(name), problem, "write chain, draw, image, latent as in docs/files.md")
        values = site.values.reshape(*site.shape[:3], -1).astype(float)
        names = [f"{name}[{i}]" for i in range(values.shape[-1])]
        coords = {"image": group["image"].values, "latent": names}
        parts.append(xr.DataArray(values, coords, ("chain", "draw", "image", "latent")))
    return xr.concat(parts, "latent")


@np.errstate(divide="ignore", invalid="ignore")  # chains that never moved have no deviation to divide by
def compare(posterior: Posterior) -> xr.Dataset:
    """NUTS and guide per image and latent.

    Returns:
        Over (image, latent): ``mean``, ``sd`` of NUTS and ``guide_mean``, ``guide_sd``; ``r_hat``, ``ess_bulk``,
        ``ess_tail``; ``wasserstein``, the 1-D distance between the two samples, and ``wasserstein_noise``, that between
        the first and the second half of each chain, which two samples of one distribution show too (both in units of
        z); ``shift`` = (guide mean - mean) / sd and ``sd_ratio`` with their standard errors; ``converged``, 1 or 0:
        R-hat <= 1.01, both effective sample sizes >= 400, no divergence for this image. ``divergences`` over image.
    """
    draws, guide = posterior.draws, posterior.guide
    pooled = ("chain", "draw")
    table = chain_diagnostics(draws)
    table["mean"], table["sd"] = draws.mean(pooled), draws.std(pooled, ddof=1)
    table["guide_mean"], table["guide_sd"] = guide.mean(pooled), guide.std(pooled, ddof=1)
    table["divergences"] = posterior.diverging.astype(int).sum(pooled)
    half = draws.sizes["draw"] // 2
    table["wasserstein"] = _distances(draws, guide)
    table["wasserstein_noise"] = _distances(draws.isel(draw=slice(half)), draws.isel(draw=slice(half, None)))
    count = guide.sizes["chain"] * guide.sizes["draw"]
    fourth = ((guide - table.guide_mean) ** 4).mean(pooled)
    guide_sd_error = np.sqrt((fourth - table.guide_sd**4).clip(min=0) / count) / (2 * table.guide_sd)
    mean_error = np.sqrt(table.mcse_mean**2 + table.guide_sd**2 / count)
    table["shift"], table["shift_error"] = (table.guide_mean - table["mean"]) / table.sd, mean_error / table.sd
    table["sd_ratio"] = table.guide_sd / table.sd
    table["sd_ratio_error"] = table.sd_ratio * np.hypot(table.mcse_sd / table.sd, guide_sd_error / table.guide_sd)
    sound = (table.r_hat <= MAX_R_HAT) & (np.minimum(table.ess_bulk, table.ess_tail) >= MIN_ESS)
    table["converged"] = (sound & (table.divergences == 0)).astype(int)
    return table


def _distances(left: xr.DataArray, right: xr.DataArray) -> xr.DataArray:
    """1-D Wasserstein distances per image and latent."""
    sides = [side.transpose("image", "latent", "chain", "draw") for side in (left, right)]
    a, b = (side.values.reshape(*side.shape[:2], -1) for side in sides)
    found = [[wasserstein_distance(p, q) for p, q in zip(*row, strict=True)] for row in zip(a, b, strict=True)]
    return sides[0].isel(chain=0, draw=0, drop=True).copy(data=np.array(found))


@dataclass(frozen=True)
class ImageVerdict:
    """What may be said of the guide on one image.

    Attributes:
        image: its index in the split.
        trusted: names of the latents on which NUTS converged.
        narrower, wider, shifted: those of them on which the guide's deviation or mean differs from NUTS's.
        divergences, worst_r_hat, least_ess: of the chains.
        sentence: all of it in words.
    """

    image: int
    trusted: tuple[str, ...]
    narrower: tuple[str, ...]
    wider: tuple[str, ...]
    shifted: tuple[str, ...]
    divergences: int
    worst_r_hat: float
    least_ess: float
    sentence: str


@np.errstate(divide="ignore", invalid="ignore")
def judge_images(table: xr.Dataset) -> list[ImageVerdict]:
    """A verdict per image: two-sided z tests of the mean and of the logarithm of the sd ratio, on every image and
    latent, at 5% over all of them (Bonferroni). Latents on which NUTS did not converge get none."""
    critical = norm.isf(FAMILY_WISE / (4 * table.sizes["image"] * table.sizes["latent"]))
    return [_judge(table.sel(image=image), critical) for image in table["image"].values]


def _judge(row: xr.Dataset, critical: float) -> ImageVerdict:
    trusted = row.converged.values == 1
    names = row["latent"].values

    def chosen(where: np.ndarray) -> tuple[str, ...]:
        return tuple(str(name) for name in names[where & trusted])

    width = np.log(row.sd_ratio.values) * row.sd_ratio.values / row.sd_ratio_error.values
    place = np.abs(row["shift"].values) / row.shift_error.values
    divergences, r_hat = int(row.divergences), float(row.r_hat.max())
    ess = float(np.minimum(row.ess_bulk, row.ess_tail).min())
    found = chosen(trusted), chosen(width < -critical), chosen(width > critical), chosen(place > critical)
    image = int(row["image"])
    sentence = _sentence(image, len(names), found, divergences, row.sd_ratio.values[trusted])
    return ImageVerdict(image, *found, divergences, r_hat, ess, sentence)


def _sentence(image: int, count: int, found: tuple[tuple[str, ...], ...], divergences: int, ratio: np.ndarray) -> str:
    trusted, narrower, wider, shifted = map(len, found)
    if divergences:
        transitions = "transition" if divergences == 1 else "transitions"
        return (
            f"Image {image}: {divergences} divergent {transitions}: NUTS misses part of the posterior, and nothing is "
            f"said of the guide; more warm-up may help."
        )
    if not trusted:
        return f"Image {image}: the chains do not agree on any latent, and nothing is said of the guide; draw more."
    words = {"narrower": narrower, "wider": wider, "off in the mean": shifted}
    what = [f"{word} on {number}" for word, number in words.items() if number]
    said = f"the guide is {', '.join(what)}" if what else "no difference of guide and NUTS is found"
    unsettled = f"; the chains do not agree on {count - trusted} more" if trusted < count else ""
    span = f"{ratio.min():.2f} to {ratio.max():.2f}"
    return f"Image {image}: {said} of {trusted} latents (sd ratio to NUTS {span}){unsettled}."
