"""``collapse.nc``: what the measures of a run's pair say of one split."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from ..data import ImageData
from ..evidence_file import attributes
from ..run import Run
from .collapse import check_pair, measure_collapse


def write_collapse(path: Path, measures: xr.Dataset, attrs: Mapping[str, Any]) -> xr.Dataset:
    """Write what ``measure_collapse`` found, with whose it is (``evidence_file.attributes``), whole or not at all."""
    dataset = measures.assign_attrs({**measures.attrs, **attrs})
    temporary = path.with_suffix(".tmp-collapse")
    dataset.to_netcdf(temporary, engine="h5netcdf")
    os.replace(temporary, path)
    return dataset


def measure_run(
    run: Run,
    data: ImageData,
    *,
    split: str = "test",
    limit: int | None = None,
    device: str = "cpu",
    progress: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Measure a run's pair on the images of a split and write ``collapse.nc`` into its folder.

    Args:
        run: as loaded by ``load_run``.
        data: the data set of its training.
        split: which images.
        limit: only the first so many.
        device: where the images are put.
        progress: show bars.
        options: of ``measure_collapse``, such as ``num_draws``.

    Raises:
        InvalidInput: as ``measure_collapse``; for other data than the run's.
    """
    from ..evaluate import images_of  # it calls this function in turn

    check_pair(run.program, run.guide)
    x, index = images_of(run, data, split, limit, device)
    found = measure_collapse(
        run.program, run.guide, x, index, seed=int(run.config["seed"]), progress=progress, **options
    )
    return write_collapse(run.path / "collapse.nc", found, attributes(run.config, split, run.epoch))
