"""Restarts as chains, for what is comparable across them, in the object that each ArviZ major works on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.arviz_compat.door import is_legacy, load_arviz
from analysis.collapse import read_collapse
from analysis.errors import InvalidInput
from analysis.evidence import common_images
from analysis.files import MAKERS
from analysis.runs import Member
from analysis.sides import check_all_comparable, in_all


def restarts(member: Member) -> xr.Dataset:
    """Per-image numbers of a member's runs with its seeds as ``chain``; one ``draw``, since a run is one draw.

    log p(x) by every estimator that all runs share, with its claim, and the rate where all runs have ``collapse.nc``.
    Never z: latent codes of two trainings differ by rotation and permutation, and no R-hat over them means anything.

    Returns:
        One variable (chain, draw, image) per estimator, named ``log_evidence[iw:5000]``, with its ``claim`` and
        ``units`` as attributes, and ``rate`` (chain, draw, image_of_rate); ``chain`` holds the seeds.

    Raises:
        InvalidInput: no run has evidence. Incomparable: the runs are about other data or images.
    """
    runs = [run for run in member.runs if run.evidence is not None]
    if not runs:
        raise InvalidInput("member", member.name, "has no evidence", f"run {MAKERS['evidence.nc']}")
    check_all_comparable([run.evidence for run in runs])
    coords: dict[str, Any] = {"chain": [run.seed for run in runs], "draw": [0], "image": runs[0].evidence.images}
    columns = {}
    for readings in in_all(*[run.evidence for run in runs]):
        nats = np.stack([values.nats for values in readings])
        common_images(nats, nats)
        attributes = {"claim": readings[0].claim.value, "units": "nats"}
        columns[f"log_evidence[{readings[0].estimator}]"] = (("chain", "draw", "image"), nats[:, None], attributes)
    files = [run.path / "collapse.nc" for run in runs]
    found = [read_collapse(file) for file in files] if all(file.exists() for file in files) else []
    if found and all(np.array_equal(one.dataset["image"], found[0].dataset["image"]) for one in found):
        rate = np.stack([one.dataset["rate"].values for one in found])[:, None]
        claim = found[0]["rate"].claim.value
        columns["rate"] = (("chain", "draw", "image_of_rate"), rate, {"claim": claim, "units": "nats"})
        coords["image_of_rate"] = found[0].dataset["image"].values
    return xr.Dataset(columns, coords, {"member": member.name, "note": "chain: training seed; no Markov chain"})


def to_arviz(groups: Mapping[str, xr.Dataset]) -> Any:
    """Groups of datasets as what ArviZ's functions take: ``InferenceData`` in 0.23, ``DataTree`` in 1.x."""
    arviz = load_arviz()
    if is_legacy(arviz):
        return arviz.InferenceData(**groups)
    return xr.DataTree.from_dict(dict(groups))
