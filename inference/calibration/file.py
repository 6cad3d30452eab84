"""``calibration.nc``: ranks, bands, verdicts and bounds on simulated images; and their summary as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from ppl_models.program import HasLogProb

from ..claims import Claim
from ..netcdf import write_netcdf
from .ranks import Ranks
from .verdicts import FAMILY_WISE, NOTHING_FOUND, Verdicts


def evidence_of(program: nn.Module, ranks: Ranks) -> dict[str, tuple[Claim, np.ndarray]]:
    """log p(x) of the simulated images with its claims: estimator to (claim, (S,) nats).

    E[ELBO] <= E[log p(x)] <= E[log p(x, z*) - log q(z* | x)] with the z* that made x, which is a draw from p(z | x):
    the lower side misses by KL(q || p(z | x)), the upper one by KL(p(z | x) || q). Exact values where there are any.
    """
    found = {f"elbo:{ranks.draws}": (Claim.LOWER_BOUND, ranks.log_weights.mean(1))}
    if isinstance(program, HasLogProb):
        with torch.no_grad():
            found["exact"] = (Claim.EXACT, program.log_prob(ranks.x))
    if not ranks.log_weight_of_truth.isnan().any():
        found["eubo"] = (Claim.UPPER_BOUND, ranks.log_weight_of_truth)
    return {name: (claim, values.double().cpu().numpy()) for name, (claim, values) in found.items()}


def as_dataset(program: nn.Module, ranks: Ranks, verdicts: Verdicts, attrs: Mapping[str, Any]) -> xr.Dataset:
    """All that was found, as documented in docs/files.md."""
    evidence = evidence_of(program, ranks)
    per_level = ("level", "quantity")
    columns = {
        "rank": (("quantity", "simulation"), ranks.ranks.astype(np.int32)),
        "band_lower": ("point", verdicts.band.lower),
        "band_upper": ("point", verdicts.band.upper),
        "p_value": ("quantity", verdicts.p_values),
        "location": ("quantity", verdicts.location),
        "spread": ("quantity", verdicts.spread),
        "coverage": (per_level, verdicts.coverage),
        "coverage_lower": (per_level, verdicts.lower),
        "coverage_upper": (per_level, verdicts.upper),
        "log_evidence": (("estimator", "simulation"), np.stack([values for _, values in evidence.values()])),
    }
    coords = {
        "quantity": list(ranks.quantities),
        "verdict": ("quantity", list(verdicts.words)),
        "point": verdicts.band.probability,
        "level": verdicts.levels,
        "estimator": list(evidence),
        "claim": ("estimator", [claim.value for claim, _ in evidence.values()]),
    }
    own = {"draws": ranks.draws, "family_wise": FAMILY_WISE, "false_alarms": verdicts.band.false_alarms}
    return xr.Dataset(columns, coords, {**attrs, **own})


def write_calibration(path: Path, dataset: xr.Dataset) -> None:
    """Write the file whole or not at all."""
    write_netcdf(path, dataset)


def summary(dataset: xr.Dataset) -> str:
    """The verdicts in words and the bounds with their claims, line by line."""
    sizes, attrs = dataset.sizes, dataset.attrs
    lines = [
        f"calibration: {sizes['simulation']} simulated images, {attrs['draws']} guide draws each, "
        f"{sizes['quantity']} quantities, false alarms at most {attrs['family_wise']:.0%} over all"
    ]
    verdicts = dataset.verdict.values.tolist()
    for found in sorted(set(verdicts), key=lambda entry: (entry == NOTHING_FOUND, entry)):
        names = [str(name) for name, entry in zip(dataset.quantity.values, verdicts, strict=True) if entry == found]
        lines.append(f"  {found}: {', '.join(names)}")
    for level, row in zip(dataset.level.values, dataset.coverage.values[:, :-1], strict=True):
        lines.append(f"  central {level:.1%} intervals of the latents hold the truth {_span(row)} of the time")
    return "\n".join([*lines, *_bounds(dataset)])


def _span(shares: np.ndarray) -> str:
    low, high = f"{shares.min():.1%}", f"{shares.max():.1%}"
    return low if low == high else f"{low} to {high}"


def _bounds(dataset: xr.Dataset) -> Sequence[str]:
    """Means over the simulated images with their standard errors, and the paired width of the bracket."""
    count = dataset.sizes["simulation"]

    def mean(values: np.ndarray) -> str:
        return f"{values.mean():.3f} \N{PLUS-MINUS SIGN} {values.std(ddof=1) / count**0.5:.3f} nats (s.e.)"

    rows = {str(entry.estimator.item()): entry for entry in dataset.log_evidence}
    lines = [f"  simulated images, {name} ({row.claim.item()}): {mean(row.values)}" for name, row in rows.items()]
    elbo = next(row.values for name, row in rows.items() if name.startswith("elbo"))
    lines += [f"  {name} - elbo: {mean(row.values - elbo)}" for name, row in rows.items() if row.values is not elbo]
    return lines
