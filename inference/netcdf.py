"""NetCDF files, written whole or not at all, and read into memory."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from ppl_models.errors import InvalidInput


def write_netcdf(path: Path, content: xr.Dataset | xr.DataTree) -> None:
    """Write a data set or a tree; an interrupted call leaves what was there before."""
    temporary = path.with_suffix(f".tmp-{path.stem}")
    content.to_netcdf(temporary, engine="h5netcdf")
    os.replace(temporary, path)


def read_netcdf(path: Path, argument: str) -> xr.Dataset:
    """The content of a file.

    Raises:
        InvalidInput: naming ``argument``, if it is no netCDF file.
    """
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            return dataset.load()
    except (OSError, ValueError) as error:
        raise InvalidInput(argument, str(path), "cannot be read", "replace it with --overwrite") from error
