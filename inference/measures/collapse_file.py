"""``collapse.nc``: what the measures of a run's pair say of one split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from ..data import ImageData
from ..evidence_file import attributes
from ..netcdf import write_netcdf
from ..run import Run
from .collapse import check_latents, measure_collapse


def write_collapse(path: Path, measures: xr.Dataset, attrs: Mapping[str, Any]) -> xr.Dataset:
    """Write what ``measure_collapse`` found, with whose it is (``evidence_file.attributes``), whole or not at all."""
    dataset = measures.assign_attrs({**measures.attrs, **attrs})
    write_netcdf(path, dataset)
    return dataset


def collapse_name(split: str) -> str:
    """The file of a split: ``collapse.nc`` of the test split, ``collapse-SPLIT.nc`` of others."""
    return "collapse.nc" if split == "test" else f"collapse-{split}.nc"


def collapse_table(dataset: xr.Dataset) -> str:
    """The measures, one line each: value, errors, claim, meaning."""
    lines = [f"{'measure':<24} {'claim':<12} {'value':>10} {'s.e. images':>12} {'s.e. draws':>11}  meaning"]
    for name in dataset["measure"].values:
        row = dataset.sel(measure=name)
        numbers = [float(row[key]) for key in ("value", "stderr", "stderr_monte_carlo")]
        cells = [("-" if number != number else f"{number:.3f}") for number in numbers]
        said = row["meaning"].item() + (f" ({row['reason'].item()})" if row["reason"].item() else "")
        lines.append(f"{name!s:<24} {row['claim'].item():<12} {cells[0]:>10} {cells[1]:>12} {cells[2]:>11}  {said}")
    return "\n".join(lines)


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
    """Measure a run's pair on the images of a split and write ``collapse.nc`` into its folder (``collapse-SPLIT.nc`` of
    another split than ``test``).

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

    check_latents(run.program, run.guide)
    x, index = images_of(run, data, split, limit, device)
    found = measure_collapse(
        run.program, run.guide, x, index, seed=int(run.config["seed"]), progress=progress, **options
    )
    return write_collapse(run.path / collapse_name(split), found, attributes(run.config, split, run.epoch))
