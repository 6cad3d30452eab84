"""What is known of log p(x) on each image, as an interval: read off what an evidence file holds, claims and all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..claims import Claim

# Lower bounds from the tightest kind to the loosest. The ELBO is not among them: the gap is what it lacks.
LOWER_BOUNDS = ("ais", "iw")


@dataclass(frozen=True, eq=False)
class Bracket:
    """log p(x) lies between two numbers: E[lower] <= log p(x) <= E[upper], per image, nats.

    Args:
        lower, upper: (N,) float64; NaN where no such number is known.
        lower_stderr, upper_stderr: (N,) Monte Carlo standard errors; 0 for exact and numerical values.
        lower_source, upper_source: estimator and claim, for example ``"iw:5000 (LOWER_BOUND)"``; empty where there is
            none.
    """

    lower: np.ndarray
    upper: np.ndarray
    lower_stderr: np.ndarray
    upper_stderr: np.ndarray
    lower_source: str = ""
    upper_source: str = ""


def nothing_known(count: int) -> Bracket:
    """No side of log p(x) on that many images."""
    unknown = np.full(count, np.nan)
    return Bracket(unknown, unknown, unknown, unknown)


def bracket_of(evidence: xr.Dataset, index: Sequence[int]) -> Bracket:
    """The bracket that a file's rows give, by rule and not by value.

    An exact value is both sides; a numerical one is, widened by its tolerance. Else the lower side is annealed
    importance sampling, else importance weighting, each with the largest number in its name; and the upper side is the
    upper bound with the largest number, which exists on simulated images only. Taking the highest of several bounds
    would be biased upwards by their noise, and could pass log p(x).

    Args:
        evidence: content of ``evidence.nc`` or ``sandwich.nc``.
        index: the images, by their indices. A row that lacks one of them is passed over.
    """
    rows = evidence.sel(image=list(index))
    rows = rows.isel(estimator=np.flatnonzero(rows.log_evidence.notnull().all("image")))
    claims = rows.claim.values.tolist()
    for claim in (Claim.EXACT, Claim.NUMERICAL):
        if claim in claims:
            return _two_sided(rows.isel(estimator=claims.index(claim)))
    lower = _strongest(rows, Claim.LOWER_BOUND, LOWER_BOUNDS)
    upper = _strongest(rows, Claim.UPPER_BOUND, None)
    (low, low_error), (high, high_error) = _one_sided(lower, len(index)), _one_sided(upper, len(index))
    return Bracket(low, high, low_error, high_error, *_sources(lower, upper))


def _two_sided(row: xr.Dataset) -> Bracket:
    values = row.log_evidence.values.astype(float)
    tolerance = float(row.tolerance) if row.claim == Claim.NUMERICAL else 0.0
    zero = np.zeros_like(values)
    return Bracket(values - tolerance, values + tolerance, zero, zero, _named(row), _named(row))


def _strongest(rows: xr.Dataset, claim: Claim, kinds: Sequence[str] | None) -> xr.Dataset | None:
    """The row of that claim whose kind comes first, and among several of one kind the one with the largest number."""
    found = []
    for place, name in enumerate(rows.estimator.values.tolist()):
        kind, _, number = str(name).partition(":")
        if rows.claim.values[place] == claim and (kinds is None or kind in kinds):
            rank = kinds.index(kind) if kinds else 0
            found.append((rank, -int(number) if number.isdigit() else 0, place))
    return rows.isel(estimator=min(found)[-1]) if found else None


def _one_sided(row: xr.Dataset | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    if row is None:
        return np.full(count, np.nan), np.full(count, np.nan)
    return row.log_evidence.values.astype(float), row.stderr.values.astype(float)


def _sources(*rows: xr.Dataset | None) -> list[str]:
    return ["" if row is None else _named(row) for row in rows]


def _named(row: xr.Dataset) -> str:
    return f"{row.estimator.item()} ({row.claim.item()})"
