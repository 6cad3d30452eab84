"""``gap.nc``: the split of each image's gap, with what its words mean (``docs/files.md``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..netcdf import read_netcdf, write_netcdf
from .decompose import Gap
from .settings import GapSettings

MEANING = {
    "elbo": "ELBO of the guide as trained (LOWER_BOUND)",
    "best_elbo": "ELBO of the best member of the family that was found, on noise of its own (LOWER_BOUND)",
    "log_evidence_lower": "log p(x) is at least this; NaN if nothing but the ELBO is known",
    "log_evidence_upper": "log p(x) is at most this; NaN if no upper side is known",
    "gap_lower": "log p(x) - ELBO is at least this",
    "gap_upper": "log p(x) - ELBO is at most this",
    "amortization_gap_lower": "the amortization gap is at least this",
    "approximation_gap_upper": "the approximation gap is at most this",
    "approximation_gap_if_converged": "the approximation gap is at least this if the search found the best member",
}


def as_dataset(
    gap: Gap, index: Sequence[int], attrs: Mapping[str, Any], settings: GapSettings, closed_form: float | None
) -> xr.Dataset:
    """The content of the file: dims ``image`` and ``candidate``."""
    columns: dict[str, Any] = {}
    for name, meaning in MEANING.items():
        columns[name] = ("image", gap.values[name], {"long_name": meaning, "units": "nats"})
        columns[f"{name}_stderr"] = ("image", gap.stderr[name], {"long_name": "Monte Carlo standard error"})
    note = "on the noise of the choice; the highest is biased upwards and is not to be reported"
    columns["elbo_of_candidate"] = (("candidate", "image"), gap.elbo_of_candidate, {"long_name": note, "units": "nats"})
    columns["chosen"] = ("image", gap.chosen.astype(np.int64), {"long_name": "index of the candidate that was chosen"})
    spent = {name: value for name, value in asdict(settings).items() if name != "images"}
    sources = {"lower_source": gap.bracket.lower_source, "upper_source": gap.bracket.upper_source}
    known = {} if closed_form is None else {"approximation_gap_closed_form": closed_form}
    coords = {"image": list(index), "candidate": list(gap.candidates)}
    return xr.Dataset(columns, coords, {**attrs, **spent, **sources, **known})


def write_gap(path: Path, dataset: xr.Dataset) -> None:
    """Write the file whole or not at all."""
    write_netcdf(path, dataset)


def read_gap(path: Path) -> xr.Dataset:
    """The content of the file, in memory.

    Raises:
        InvalidInput: if it is no netCDF file.
    """
    return read_netcdf(path, "--gap")
