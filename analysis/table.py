"""The table of claims: one row per member and estimator, means over images with their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from analysis.claims import Claim
from analysis.errors import Incomparable
from analysis.evidence import Evidence, Values
from analysis.runs import Member, Run, Study
from analysis.sides import check_all_comparable
from analysis.statistics import mean_and_stderr

HIGH_PARETO_K = 0.7  # above it an importance-weighted mean has an unreliable error (Vehtari et al. 2024, JMLR 25)


@dataclass(frozen=True)
class ClaimRow:
    """One line of the table. Nats per image, higher is better; NaN where there is no number.

    Attributes:
        member, role, estimator, claim: what was read by what, and what it may be taken for.
        seeds: the seeds that are averaged, and ``seed_means`` the mean of each.
        num_images: images with a value.
        mean: over seeds and images.
        stderr: over images, of the seed-averaged values: how the mean would move with other test images.
        stderr_monte_carlo: of the estimator's own noise in that mean; NaN if it has none.
        seed_spread: standard deviation of the seed means; NaN for one seed.
        bits_per_dim: -mean / (D ln 2), secondary, for masses only.
        num_particles: K.
        share_high_k: share of images with Pareto k above 0.7; NaN where there is none.
        reason: why it was refused.
    """

    member: str
    role: str
    estimator: str
    claim: Claim
    seeds: tuple[int, ...]
    seed_means: tuple[float, ...]
    num_images: int
    mean: float
    stderr: float
    stderr_monte_carlo: float
    seed_spread: float
    bits_per_dim: float
    num_particles: int
    share_high_k: float
    reason: str


def table_of_claims(study: Study) -> list[ClaimRow]:
    """All rows of a study, member by member, the tightest claim first, refusals last.

    Seeds are averaged where their evidence is comparable, and listed one by one where it is not.
    """
    rows = []
    for member in study.members:
        runs = [run for run in member.runs if run.evidence is not None]
        for group in _groups(runs):
            rows += _rows(member, group)
    return rows


def merge_refusals(rows: list[ClaimRow]) -> list[ClaimRow]:
    """One row per member and reason in place of one per refused estimator; numbers stay as they are."""
    merged: dict[tuple[str, ...], ClaimRow] = {}
    for row in rows:
        reason = row.reason.removeprefix(f"{row.estimator}: ")
        key = (row.member, row.estimator, row.claim, *map(str, row.seeds))
        if row.claim is Claim.NONE:
            key = (row.member, reason)
        earlier = merged.get(key)
        names = row.estimator if earlier is None else f"{earlier.estimator}, {row.estimator}"
        merged[key] = replace(row, estimator=names, reason=reason)
    return list(merged.values())


def _groups(runs: list[Run]) -> list[list[Run]]:
    """All seeds together if they may be averaged, otherwise each alone."""
    if not runs:
        return []
    try:
        check_all_comparable([run.evidence for run in runs])
    except Incomparable:
        return [[run] for run in runs]
    return [runs]


def _rows(member: Member, runs: list[Run]) -> list[ClaimRow]:
    """Rows by (estimator, claim): seeds that disagree on the claim are not averaged."""
    found: dict[tuple[str, Claim], list[tuple[Run, Values]]] = {}
    for run in runs:
        for values in run.evidence.values:
            found.setdefault((values.estimator, values.claim), []).append((run, values))
    rows = [_row(member, entries) for entries in found.values()]
    order = list(Claim)
    return sorted(rows, key=lambda row: (order.index(row.claim), -row.num_particles, row.estimator))


def _row(member: Member, entries: list[tuple[Run, Values]]) -> ClaimRow:
    runs, values = zip(*entries, strict=True)
    first: Values = values[0]
    nats = np.stack([entry.nats for entry in values])
    present = ~np.isnan(nats).any(axis=0)
    nats = nats[:, present]
    numbers = first.claim.is_number and present.any()
    mean, stderr = mean_and_stderr(nats.mean(axis=0)) if numbers else (math.nan, math.nan)
    means = tuple(float(m) for m in nats.mean(axis=1)) if numbers else ()
    return ClaimRow(
        member=member.name,
        role=member.role,
        estimator=first.estimator,
        claim=first.claim,
        seeds=tuple(run.seed for run in runs),
        seed_means=means,
        num_images=int(present.sum()),
        mean=mean,
        stderr=stderr,
        stderr_monte_carlo=_monte_carlo(np.stack([v.stderr for v in values])[:, present]),
        seed_spread=float(np.std(means, ddof=1)) if len(means) > 1 and np.isfinite(means).all() else math.nan,
        bits_per_dim=bits_per_dim(mean, runs[0].evidence, int(runs[0].config["data_dim"])),
        num_particles=first.num_particles,
        share_high_k=_share_high(np.concatenate([entry.pareto_k for entry in values])),
        reason=first.reason,
    )


def bits_per_dim(nats: float, evidence: Evidence, data_dim: int) -> float:
    """-nats / (D ln 2); NaN for a density, whose bits depend on the unit of x."""
    return -nats / (data_dim * math.log(2)) if evidence.measure == "mass" else math.nan


def _monte_carlo(stderr: np.ndarray) -> float:
    """Standard error of the mean of (S, N) independent readings: sqrt(sum of squares) / (S N)."""
    if stderr.size == 0 or np.isnan(stderr).any():
        return math.nan
    return float(np.sqrt(np.sum(stderr**2)) / stderr.size)


def _share_high(pareto_k: np.ndarray) -> float:
    known = pareto_k[~np.isnan(pareto_k)]
    return float(np.mean(known > HIGH_PARETO_K)) if known.size else math.nan
