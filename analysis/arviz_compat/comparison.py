"""Tables like those of ``arviz.compare``, from held-out evidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from analysis.errors import InvalidInput
from analysis.evidence import check_comparable, common_images
from analysis.files import MAKERS
from analysis.runs import Study
from analysis.sides import best_values, check_all_comparable, in_short
from analysis.statistics import mean_and_stderr


def ranking(study: Study) -> xr.Dataset:
    """A table like that of ``arviz.compare``, from evidence: no leave-one-out, the images are held out already.

    Members are ranked by the tightest reading (`analysis.sides.best_values`), averaged over seeds. ``log_evidence`` is
    the sum over images as ``elpd`` is, ``se`` its standard error, ``diff`` the sum of paired differences to the first
    member (at most 0, higher is better: the sign of 0.23 is the opposite) and ``dse`` its standard error, all in nats.
    ``claim`` must be read with it: among bounds a rank is not an order of truth, the verdicts say what is.

    Returns:
        Variables over ``member``, best first; members without a number common to their runs are left out.

    Raises:
        InvalidInput: no member has a number.
        Incomparable: members are about other data, images or measures.
    """
    readings, first = {}, None
    for member in study.members:
        evidence = [run.evidence for run in member.runs if run.evidence is not None]
        best = best_values(*evidence) if evidence else None
        if best is None:
            continue
        first = first or evidence[0]
        check_all_comparable([first, *evidence])
        check_comparable(first, evidence[0])
        readings[member.name] = (np.mean([v.nats for v in best], axis=0), best[0])
    if not readings:
        raise InvalidInput("study", study.path, "has no evidence", f"run {MAKERS['evidence.nc']}")
    return _ranked(
        {name: nats for name, (nats, _) in readings.items()},
        {name: in_short(v.estimator, v.claim) for name, (_, v) in readings.items()},
    )


def _ranked(nats: Mapping[str, np.ndarray], labels: Mapping[str, str]) -> xr.Dataset:
    n = min(common_images(values, values) for values in nats.values())
    names = sorted(nats, key=lambda name: -float(nats[name][:n].mean()))
    sums = [mean_and_stderr(nats[name][:n]) for name in names]
    with np.errstate(invalid="ignore"):  # an image that is impossible under both, at -inf, has no difference: NaN
        gaps = [mean_and_stderr(nats[name][:n] - nats[names[0]][:n]) for name in names]
    columns = {
        "rank": list(range(len(names))),
        "log_evidence": [n * mean for mean, _ in sums],
        "se": [n * error for _, error in sums],
        "diff": [n * mean for mean, _ in gaps],
        "dse": [n * error for _, error in gaps],
        "claim": [labels[name] for name in names],
    }
    variables = {name: ("member", values) for name, values in columns.items()}
    return xr.Dataset(variables, coords={"member": names}, attrs={"units": "nats", "images": n})
