"""``posterior.nc``: NUTS draws of p(z | x) beside the guide's draws for the same images, as a tree that ArviZ opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from .estimators import evaluation_mode
from .image_files import compact
from .latents_file import event_dim
from .netcdf import write_netcdf
from .nuts import Chains
from .randomness import keyed_noise
from .weights import traces


def guide_draws(
    program: nn.Module, guide: nn.Module, x: Tensor, index: Sequence[int], draws: int, seed: int
) -> dict[str, Tensor]:
    """Independent draws of the guide for each image, by site: (1, draws, N, ...), a single chain."""
    columns = []
    with evaluation_mode(program, guide):
        for place, number in enumerate(index):
            with keyed_noise(seed, "posterior", int(number), device=x.device):
                _, trace = traces(program, guide, x[place : place + 1], draws)
            columns.append({name: trace.nodes[name]["value"][:, 0] for name in program.latents})
    return {name: torch.stack([column[name] for column in columns], 1)[None] for name in program.latents}


def posterior_tree(
    chains: Chains,
    guide: Mapping[str, Tensor],
    x: Tensor,
    index: Sequence[int],
    config: Mapping[str, Any],
    attrs: Mapping[str, str | int],
) -> xr.DataTree:
    """The groups ``posterior``, ``sample_stats``, ``guide`` and ``observed_data`` (docs/files.md)."""
    statistics = {name: value.numpy() for name, value in chains.statistics.items()}
    statistics["diverging"] = statistics["diverging"].astype(np.int8)  # netCDF has no booleans
    # not ArviZ's `energy`, which is the Hamiltonian's and would be taken for a fraction of missing information
    statistics["lp"] = -statistics.pop("potential")
    groups = {
        "posterior": _group(chains.latents, index),
        "sample_stats": _group(statistics, index),
        "guide": _group({name: guide[name] for name in chains.latents}, index),
        "observed_data": xr.Dataset({"x": (("image", "pixel"), compact(x, config))}, {"image": list(index)}),
    }
    # every group says where it comes from: ArviZ 1.x does not keep attributes of the file itself
    return xr.DataTree.from_dict({name: group.assign_attrs(attrs) for name, group in groups.items()})


def write_posterior(path: Path, tree: xr.DataTree) -> None:
    """Write the file whole or not at all."""
    write_netcdf(path, tree)


def _group(arrays: Mapping[str, Tensor | np.ndarray], index: Sequence[int]) -> xr.Dataset:
    """Arrays (chain, draw, image, ...) with their dimensions named."""
    columns = {name: np.asarray(array) for name, array in arrays.items()}
    chains, draws = next(iter(columns.values())).shape[:2]
    coords = {"chain": np.arange(chains), "draw": np.arange(draws), "image": list(index)}
    dims = ("chain", "draw", "image")
    return xr.Dataset({n: ((*dims, *[event_dim(n)] * (a.ndim - 3)), a) for n, a in columns.items()}, coords)
