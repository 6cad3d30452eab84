"""ArviZ's plots as matplotlib figures: 0.23 draws on axes, 1.x returns a ``PlotCollection``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import xarray as xr
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
