"""Each member of a study read twice: by its ELBO alone, and by its tightest reading."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.claims import Claim
from analysis.errors import Incomparable
from analysis.evidence import Evidence, Values, common_images
from analysis.runs import Study
from analysis.sides import best_values, check_all_comparable, in_all, in_short


@dataclass(frozen=True, eq=False)
class Reading:
    """A member's log p(x) by its ELBO (or exact value) and by its tightest reading.

    Attributes:
        name: the member.
        by_elbo, by_best: (S, N) nats, seeds by images; all seeds by one estimator.
        elbo_label, best_label: estimator and claim of each.
        best_kind, best_claim: the estimator without its argument, and the claim, of the tightest reading.
    """

    name: str
    by_elbo: np.ndarray
    by_best: np.ndarray
    elbo_label: str
    best_label: str
    best_kind: str
    best_claim: Claim

    @property
    def num_seeds(self) -> int:
        """How many runs it is over."""
        return len(self.by_best)


def read_members(study: Study) -> tuple[list[Reading], list[tuple[str, str]], int]:
    """One reading per member with numbers, on the leading images common to all, comparable with the first of them.

    Returns:
        The readings, the members that are left out with the reason, and how many images the evidence is about.
    """
    readings: list[Reading] = []
    left_out: list[tuple[str, str]] = []
    first: Evidence | None = None
    counts: list[int] = []
    for member in study.members:
        evidence = [run.evidence for run in member.runs if run.evidence is not None]
        if not any(entry.numbers for entry in evidence):
            continue
        try:
            check_all_comparable([first or evidence[0], *evidence])
            reading = _reading(member.name, evidence)
            counts.append(common_images(reading.by_elbo, reading.by_best))
        except Incomparable as error:
            left_out.append((member.name, str(error)))
            continue
        first = first or evidence[0]
        readings.append(reading)
    return [_leading(reading, min(counts)) for reading in readings], left_out, first.images.size if first else 0


def elbo_values(*evidence: Evidence) -> tuple[Values, ...] | None:
    """The ELBO with most particles that all runs have, one per run; ``None`` if they share none."""
    elbos = [v for v in in_all(*evidence) if v[0].kind == "elbo" and v[0].claim is Claim.LOWER_BOUND]
    return max(elbos, key=lambda readings: readings[0].effort, default=None)


def _reading(name: str, evidence: list[Evidence]) -> Reading:
    best = best_values(*evidence)
    if best is None:
        raise Incomparable("its runs have no reading with a direction in common")
    by_elbo = elbo_values(*evidence)
    if by_elbo is None and best[0].claim is Claim.LOWER_BOUND:
        raise Incomparable("its runs have neither an exact value nor an ELBO in common")
    by_elbo = by_elbo or best
    return Reading(
        name,
        np.stack([values.nats for values in by_elbo]),
        np.stack([values.nats for values in best]),
        in_short(by_elbo[0].estimator, by_elbo[0].claim),
        in_short(best[0].estimator, best[0].claim),
        best[0].kind,
        best[0].claim,
    )


def _leading(reading: Reading, n: int) -> Reading:
    return replace(reading, by_elbo=reading.by_elbo[:, :n], by_best=reading.by_best[:, :n])
