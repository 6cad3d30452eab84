"""NUTS and guide drawn over each other: intervals and distances per latent, and pairs of latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.errors import InvalidInput
from analysis.posterior import Posterior
from analysis.style import INK, MUTED, RULE, light_grid, new_figure

NUTS_COLOUR, GUIDE_COLOUR, DIVERGENT = "#3b6ea8", "#c1662f", "#b3123f"
_POINTS = 700
_CENTRAL = (0.05, 0.95)


def intervals_figure(posterior: Posterior, table: xr.Dataset, image: int) -> Figure:
    """Left: median and central 90% interval of NUTS and guide per latent. Right: their 1-D Wasserstein distance in
    standard deviations of NUTS, beside the distance between two halves of the chains, which is noise alone."""
    row = table.sel(image=image)
    names = row["latent"].values
    figure = new_figure(9.6, 1.3 + 0.26 * len(names))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for draws, colour, offset in ((posterior.draws, NUTS_COLOUR, -0.16), (posterior.guide, GUIDE_COLOUR, 0.16)):
        sample = draws.sel(image=image).stack(sample=("chain", "draw")).transpose("latent", "sample").values
        low, middle, high = np.quantile(sample, (_CENTRAL[0], 0.5, _CENTRAL[1]), axis=1)
        places = np.arange(len(names)) + offset
        left.hlines(places, low, high, color=colour, lw=2)
        left.plot(middle, places, "o", color=colour, ms=4, mec="white", mew=0.6)
    doubted = row.converged.values == 0
    labels = [f"{name}{' *' if doubt else ''}" for name, doubt in zip(names, doubted, strict=True)]
    left.set_yticks(range(len(names)), labels)
    left.set_ylim(len(names) - 0.4, -0.6)
    left.set(xlabel="z: median and central 90%", title=f"Image {image}")
    scale = row.sd.values
    right.hlines(range(len(names)), 0, row.wasserstein.values / scale, color=RULE, lw=1.5)
    right.plot(row.wasserstein.values / scale, range(len(names)), "o", color=INK, ms=4.5)
    right.plot(row.wasserstein_noise.values / scale, range(len(names)), "|", color=MUTED, ms=8, mew=1.5)
    right.set_xlim(left=0)
    right.set_xlabel("Wasserstein distance, in s.d. of NUTS\n(bar: between halves of the chains, noise alone)")
    for axes in (left, right):
        light_grid(axes)
    handles = [_handle(NUTS_COLOUR, "NUTS"), _handle(GUIDE_COLOUR, "guide")]
    if doubted.any():
        handles.append(Line2D([], [], ls="", label="* NUTS not converged: not to be believed"))
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    return figure


def most_different(table: xr.Dataset, image: int, count: int = 3) -> list[str]:
    """The latents with the largest Wasserstein distance in standard deviations of NUTS, largest first."""
    row = table.sel(image=image)
    order = np.argsort(-(row.wasserstein / row.sd).values, kind="stable")
    return [str(name) for name in row["latent"].values[order[:count]]]


def pair_figure(posterior: Posterior, image: int, latents: Sequence[str]) -> Figure:
    """Draws of NUTS and guide for each pair of 1 to 4 latents of one image, with histograms on the diagonal; divergent
    draws are marked.

    Raises:
        InvalidInput: for an image or latent that the file does not hold, or another number of latents.
    """
    known = [str(name) for name in posterior.draws["latent"].values]
    unknown = [name for name in latents if name not in known]
    if unknown or not 1 <= len(latents) <= 4:
        problem = "is no latent of the file" if unknown else "a pair plot shows 1 to 4 latents"
        raise InvalidInput("latents", ", ".join(latents), problem, f"choose among {', '.join(known)}")
    if image not in posterior.draws["image"].values:
        images = ", ".join(str(i) for i in posterior.draws["image"].values)
        raise InvalidInput("image", image, "is not in the file", f"choose among {images}")
    samples = [_sample(draws, image, latents) for draws in (posterior.draws, posterior.guide)]
    divergent = posterior.diverging.sel(image=image).transpose("chain", "draw").values.ravel().astype(bool)
    size = len(latents)
    figure = new_figure(2.3 * size + 0.4, 2.1 * size + 0.4)
    grid = figure.subplots(size, size, squeeze=False)
    for i in range(size):
        for j in range(size):
            axes = grid[i, j]
            if j > i:
                axes.set_axis_off()
            elif i == j:
                _histograms(axes, [sample[i] for sample in samples])
            else:
                _scatter(axes, [sample[[j, i]] for sample in samples], samples[0][[j, i]][:, divergent])
            if i == size - 1:
                axes.set_xlabel(latents[j])
            if j == 0 and i > 0:
                axes.set_ylabel(latents[i])
    handles = [_handle(NUTS_COLOUR, "NUTS"), _handle(GUIDE_COLOUR, "guide")]
    if divergent.any():
        handles.append(Line2D([], [], ls="", marker="x", color=DIVERGENT, label=f"{divergent.sum()} divergent"))
    figure.legend(handles=handles, loc="upper right", title=f"Image {image}")
    return figure


def _sample(draws: xr.DataArray, image: int, latents: Sequence[str]) -> np.ndarray:
    """(latent, sample)."""
    chosen = draws.sel(image=image, latent=list(latents)).transpose("latent", "chain", "draw").values
    return chosen.reshape(len(latents), -1)


def _histograms(axes: Axes, sides: Sequence[np.ndarray]) -> None:
    low, high = np.quantile(np.concatenate(sides), (0.001, 0.999))
    bins = np.linspace(low, high, 36)
    for sample, colour in zip(sides, (NUTS_COLOUR, GUIDE_COLOUR), strict=True):
        axes.hist(sample, bins, density=True, color=colour, alpha=0.25, lw=0)
        axes.hist(sample, bins, density=True, color=colour, histtype="step", lw=1.3)
    axes.set_yticks([])


def _scatter(axes: Axes, sides: Sequence[np.ndarray], divergent: np.ndarray) -> None:
    for (across, up), colour in zip(sides, (NUTS_COLOUR, GUIDE_COLOUR), strict=True):
        every = max(1, len(across) // _POINTS)  # thinned, so that neither hides the other
        axes.scatter(across[::every], up[::every], s=5, color=colour, alpha=0.35, lw=0)
    axes.plot(*divergent, "x", color=DIVERGENT, ms=5)


def _handle(colour: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, lw=2, marker="o", ms=4, label=label)
