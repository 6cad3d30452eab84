"""ArviZ files as mappings of group to dataset: 0.23 has ``InferenceData`` for them, 1.x xarray's ``DataTree``."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from analysis.errors import InvalidInput
from analysis.files import MAKERS


def open_tree(path: Path | str) -> dict[str, xr.Dataset]:
    """The groups of an ArviZ file (``latents.nc``, ``posterior.nc``), loaded and closed.

    Raises:
        InvalidInput: the file is missing or is no netCDF tree with a ``posterior``.
    """
    path = Path(path)
    maker = MAKERS.get(path.name, MAKERS["latents.nc"])
    if not path.is_file():
        raise InvalidInput(str(path), "(missing)", "there is no such file", f"make it with: {maker}")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            groups = {name: node.to_dataset().load() for name, node in tree.children.items()}
    except (OSError, ValueError, KeyError) as error:
        problem = f"is not a readable netCDF tree ({type(error).__name__})"
        raise InvalidInput(str(path), "(content)", problem, f"make it with: {maker}") from error
    if "posterior" not in groups:
        raise InvalidInput(str(path), "posterior", "this group is missing", f"make it with: {maker}")
    return groups


def guide_draws(path: Path, site: str = "z") -> xr.DataArray:
    """Draws of one latent site from ``latents.nc``: (chain, draw, image, latent).

    They come from the guide, so they are independent and no Markov chain: r-hat and effective sample sizes of chains
    have no meaning here.
    """
    posterior = open_tree(path)["posterior"]
    if site not in posterior:
        known = ", ".join(str(name) for name in posterior.data_vars)
        raise InvalidInput(str(path), site, "is no site of the posterior", f"known: {known}")
    draws = posterior[site]
    return draws.rename({draws.dims[-1]: "latent"})  # the sites of a ladder have a dimension each
