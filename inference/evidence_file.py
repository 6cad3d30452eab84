"""``evidence.nc``: log p(x) per image and estimator, with claims. Evaluating again replaces an estimator and keeps the
others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from ppl_models.errors import InvalidInput

from .claims import Claim
from .estimators import Estimate, Estimator
from .netcdf import read_netcdf, write_netcdf

PER_IMAGE = ("log_evidence", "stderr", "ess", "pareto_k")
# Columns that are there only if an estimator gives them: of annealing.
OPTIONAL = ("acceptance", "step_size")
SETTINGS = "settings of "
# What must agree before numbers may lie in one file, and be compared at all.
IDENTITY = ("data_digest", "split", "program", "guide", "seed", "epoch", "measure", "levels")


@dataclass(frozen=True)
class Row:
    """One estimator's line in ``evidence.nc``.

    Args:
        name: the estimator.
        num_particles: K, 0 where there are none.
        estimate: what it gave; ``None`` if it was refused.
        reason: why it was refused.
        seconds: wall time.
        settings: what the numbers depend on beside the name and K, in words.
    """

    name: str
    num_particles: int = 0
    estimate: Estimate | None = None
    reason: str = ""
    seconds: float = math.nan
    settings: str = ""


def evidence_name(split: str) -> str:
    """The file of a split's evidence: ``evidence.nc`` for the test images, ``evidence-SPLIT.nc`` beside it for others.

    Weights are fitted on validation evidence and read off on test evidence (`analysis.stacking`): both must be there.
    """
    return "evidence.nc" if split == "test" else f"evidence-{split}.nc"


def attributes(config: Mapping[str, Any], split: str, epoch: int) -> dict[str, str | int]:
    """The attributes of an evidence file for a run's config, and the epoch of its training whose weights are scored."""
    return {
        "units": "nats",
        "measure": config.get("measure", "mass"),
        "levels": config["levels"],
        "program": config["program"],
        "guide": config["guide"] or "",
        "data": config["data"],
        "data_digest": config["data_digest"],
        "split": split,
        "seed": config["seed"],
        "epoch": epoch,
    }


def as_dataset(row: Row, index: Sequence[int], attrs: Mapping[str, Any]) -> xr.Dataset:
    """One estimator as a data set with dims ``estimator`` (1) and ``image``."""
    estimate = row.estimate
    found: dict[str, Tensor | None] = {}
    if estimate is not None:
        found = {"log_evidence": estimate.values, "stderr": estimate.stderr, **estimate.diagnostics}
    columns = {}
    for name in (*PER_IMAGE, *(name for name in OPTIONAL if name in found)):
        values = found.get(name)
        array = np.full(len(index), np.nan) if values is None else values.double().cpu().numpy()
        columns[name] = (("estimator", "image"), array[None, :])
    columns["seconds"] = (("estimator",), [row.seconds])
    claim = Claim.NONE if estimate is None else estimate.claim
    tolerance = math.nan if estimate is None or estimate.tolerance is None else estimate.tolerance
    coords = {
        "estimator": [row.name],
        "claim": ("estimator", [claim.value]),
        "num_particles": ("estimator", [row.num_particles]),
        "tolerance": ("estimator", [tolerance]),
        "reason": ("estimator", [row.reason]),
        "image": list(index),
    }
    return xr.Dataset(columns, coords, dict(attrs))


def write_evidence(
    path: Path,
    rows: Sequence[Row],
    index: Sequence[int],
    attrs: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> xr.Dataset:
    """Merge rows into the file, or none of them, and return what it then holds.

    Estimators of the same name are replaced, others are kept; images that only one of them has are NaN in the other.

    Raises:
        InvalidInput: if the file holds evidence of another program, data set or split.
    """
    fresh = [as_dataset(row, index, attrs) for row in rows]
    names = [row.name for row in rows]
    if path.is_file() and not overwrite:
        present = read_evidence(path)
        check_identity(path, present.attrs, attrs)
        keep = [name for name in present.estimator.values.tolist() if name not in names]
        if keep:
            fresh.insert(0, present.sel(estimator=keep))
    merged = xr.concat(
        fresh,
        "estimator",
        join="outer",
        combine_attrs="override",
        data_vars="all",
        coords="minimal",
    )
    settings = {SETTINGS + row.name: row.settings for row in rows if row.settings}
    kept = {SETTINGS + name: fresh[0].attrs.get(SETTINGS + name) for name in merged.estimator.values.tolist()}
    kept = {key: value for key, value in kept.items() if value}
    # The encoding of a file that was read would cut longer words to the width of its own.
    merged = merged.drop_encoding().sortby("image").assign_attrs({**attrs, **kept, **settings})
    write_netcdf(path, merged)
    return merged


def has_answer(path: Path, attrs: Mapping[str, Any], estimator: Estimator, index: Sequence[int]) -> bool:
    """Whether a file holds an estimator's numbers of these images already, by the same settings.

    Raises:
        InvalidInput: if the file holds evidence of another program, data set or split.
    """
    if not path.is_file():
        return False
    present = read_evidence(path)
    check_identity(path, present.attrs, attrs)
    name = estimator.name
    if name not in present.estimator.values or not set(index) <= set(present.image.values.tolist()):
        return False
    values = present.log_evidence.sel(estimator=name, image=list(index))
    return bool(values.notnull().all()) and present.attrs.get(SETTINGS + name, "") == estimator.settings


def check_identity(path: Path, present: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
    """Raise ``InvalidInput`` unless both describe the same program on the same split of the same data."""
    present = {key: value.item() if isinstance(value, np.generic) else value for key, value in present.items()}
    different = [key for key in IDENTITY if present.get(key) != attrs[key]]
    if different:
        said = ", ".join(f"{key} {present.get(key)!r} there, {attrs[key]!r} asked" for key in different)
        raise InvalidInput("evidence", str(path), f"holds other numbers ({said})", "replace them with --overwrite")


def read_evidence(path: Path) -> xr.Dataset:
    """The content of an evidence file, in memory.

    Raises:
        InvalidInput: if it is no netCDF file.
    """
    return read_netcdf(path, "evidence")
