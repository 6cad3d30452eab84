"""ArviZ's plots as matplotlib figures: 0.23 draws on axes, 1.x returns a ``PlotCollection``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.arviz_compat.door import is_legacy, load_arviz
from analysis.arviz_compat.trees import guide_draws
from analysis.errors import InvalidInput


def plot_forest(path: Path, image: int, latents: Sequence[int], site: str = "z") -> Figure:
    """ArviZ's forest plot of chosen latents of one image: interval and median of the guide's draws.

    Args:
        path: ``latents.nc``.
        image: an index along its ``image`` dimension.
        latents: which components of the site.
    """
    draws = guide_draws(path, site)
    if not 0 <= image < draws.sizes["image"]:
        remedy = f"give 0 to {draws.sizes['image'] - 1}"
        raise InvalidInput("image", image, f"is not in {path.name}", remedy)
    chosen = draws.isel(image=image, latent=list(latents), drop=True).rename(site)
    chosen = chosen.assign_coords(latent=list(latents))
    height = 0.9 + 0.24 * len(list(latents))
    arviz = load_arviz()
    if is_legacy(arviz):
        data = arviz.InferenceData(posterior=chosen.to_dataset())
        figure = Figure(figsize=(6.4, height), layout="constrained")
        axes = figure.subplots()
        arviz.plot_forest(data, var_names=[site], combined=True, ax=axes, show=False, textsize=9)
        axes.set_title("")
        axes.set_xlabel(f"{site}, draws from the guide")
        return figure
    return _forest_of_1x(arviz, chosen, height)


def plot_compare(table: xr.Dataset) -> Figure:
    """ArviZ's compare plot of a `ranking`: difference to the first member, with its paired standard error.

    The claim stands beside each name. Differences are drawn in nats summed over images; among bounds the order is no
    order of truth.

    Args:
        table: as `ranking` gives it.
    """
    names = [f"{m} ({c})" for m, c in zip(table["member"].values, table["claim"].values, strict=True)]
    frame = table[["rank", "diff", "dse"]].to_dataframe().set_axis(names, axis="index")
    height = 1.1 + 0.34 * len(names)
    arviz = load_arviz()
    label = f"log p(x) minus that of the first, nats summed over {table.attrs['images']} images (bar: paired s.e.)"
    if is_legacy(arviz):
        frame = frame.rename(columns={"diff": "elpd_loo", "dse": "se"}).assign(scale="log")
        figure = Figure(figsize=(9, height), layout="constrained")
        axes = figure.subplots()
        # already in order; sorting in place is what pandas 3.1 warns of
        arviz.plot_compare(frame, ax=axes, order_by_rank=False, title=False, textsize=9, show=False)
    else:
        figure, axes = _compare_of_1x(arviz, frame.rename(columns={"diff": "elpd_diff"}), height)
    axes.set_xlabel(label)
    axes.set_ylabel("")
    return figure


def _compare_of_1x(arviz: ModuleType, frame: Any, height: float) -> tuple[Figure, Axes]:
    from matplotlib import pyplot

    options = {"figsize": (9, height), "figsize_units": "inches"}
    collection = arviz.plot_compare(frame, backend="matplotlib", visuals={"title": False}, figure_kwargs=options)
    figure = collection.viz["figure"].item()
    figure.set_layout_engine("constrained")  # names longer than its own are cut otherwise
    pyplot.close(figure)
    return figure, figure.axes[0]


def _forest_of_1x(arviz: ModuleType, chosen: xr.DataArray, height: float) -> Figure:
    """1.x draws through pyplot; the figure is taken from its registry again, so that nothing global is left."""
    from matplotlib import pyplot

    tree = xr.DataTree.from_dict({"posterior": chosen.to_dataset()})
    options = {"figsize": (6.4, height), "figsize_units": "inches"}
    collection = arviz.plot_forest(tree, backend="matplotlib", combined=True, figure_kwargs=options)
    figure = collection.viz["figure"].item()
    figure.axes[-1].set_xlabel("draws from the guide")
    pyplot.close(figure)
    return figure
