"""Which of a run's numbers may stand on which side of "A has higher log p(x) than B".

The winner's side must not be too high, the loser's must not be too low:

- lower side: ``EXACT``; ``NUMERICAL`` minus its tolerance; ``LOWER_BOUND``.
- upper side: ``EXACT``; ``NUMERICAL`` plus its tolerance. No upper bound exists on a given image.
- converged side: an annealed-importance value *read as* log p(x). This is an assumption, so it only ever indicates.

``ESTIMATE`` stands on neither side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.claims import Claim
from analysis.evidence import Evidence, Values, check_comparable, common_images
from analysis.statistics import paired_t

ANNEALED = "ais"
_BOUND_ORDER = (ANNEALED, "iw", "elbo")
_CLAIM_ORDER = (Claim.EXACT, Claim.NUMERICAL, Claim.LOWER_BOUND)
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Side:
    """Numbers that may stand on one side of a comparison.

    Attributes:
        estimator: where they come from.
        claim: the claim of the values before the tolerance was applied.
        nats: (S, N), seeds by images; S = 1 for a single run.
    """

    estimator: str
    claim: Claim
    nats: np.ndarray

    def __str__(self) -> str:
        return in_short(self.estimator, self.claim)


def in_short(estimator: str, claim: Claim) -> str:
    """An estimator with its claim, as on axes and in sentences: ``iw:5000, lower bound``; plain ``exact``."""
    return estimator if estimator == claim.words else f"{estimator}, {claim.words}"


def best_values(*evidence: Evidence) -> tuple[Values, ...] | None:
    """The tightest reading that all runs have and that is not too high, one per run; ``None`` if they share none.

    By rule: EXACT, then NUMERICAL, then LOWER_BOUND. Among lower bounds: annealed importance sampling, then importance
    weighting, then the ELBO, then any other; among several of one kind the largest number of temperatures or particles.
    The rule looks at names and claims only. Taking the highest of several bounds *on the images that are tested* would
    be biased: each has Monte Carlo and sampling noise, and E[max_j v_j] >= max_j E[v_j] may pass log p(x), which breaks
    the claim that the test rests on. The seeds of a method are read by one estimator: two would mix claims in a mean.
    """
    shared = in_all(*evidence)
    candidates = [readings for readings in shared if readings[0].claim in _CLAIM_ORDER]
    return min(candidates, key=lambda readings: _preference(readings[0]), default=None)


def in_all(*evidence: Evidence) -> list[tuple[Values, ...]]:
    """The numbers that every run has by the same estimator with the same claim, one tuple per estimator."""
    found = []
    for values in evidence[0].numbers:
        key = (values.estimator, values.claim)
        alike = [next((v for v in entry.numbers if (v.estimator, v.claim) == key), None) for entry in evidence]
        if all(v is not None for v in alike):
            found.append(tuple(v for v in alike if v is not None))
    return found


def _preference(values: Values) -> tuple:
    kind = _BOUND_ORDER.index(values.kind) if values.kind in _BOUND_ORDER else len(_BOUND_ORDER)
    effort = tuple(-number for number in values.effort)
    return (_CLAIM_ORDER.index(values.claim), kind, effort, values.estimator)


def lower_side(*evidence: Evidence) -> Side | None:
    """What may be claimed to be at most log p(x) in expectation, runs stacked; ``None`` if none is shared."""
    readings = best_values(*evidence)
    return None if readings is None else _side(readings, sign=-1)


def upper_side(*evidence: Evidence) -> Side | None:
    """What may be claimed to be at least log p(x), runs stacked; ``None`` unless all are exact or all numerical."""
    readings = best_values(*evidence)
    if readings is None or readings[0].claim is Claim.LOWER_BOUND:
        return None
    return _side(readings, sign=+1)


def converged_side(*evidence: Evidence) -> Side | None:
    """The annealed value with most temperatures of all runs, to be read as log p(x) if it has converged; or ``None``.

    ``None`` also where the numbers of a run refute convergence: another of its lower bounds lies above the annealed
    value, by a one-sided paired t-test at 5%.
    """
    annealed = [v for v in in_all(*evidence) if v[0].kind == ANNEALED and v[0].claim is Claim.LOWER_BOUND]
    if not annealed:
        return None
    chosen = max(annealed, key=lambda readings: (readings[0].effort, readings[0].estimator))
    if any(_refutes(entry, values) for entry, values in zip(evidence, chosen, strict=True)):
        return None
    return _side(chosen, sign=0)


def _refutes(evidence: Evidence, annealed: Values) -> bool:
    """Whether another lower bound of a run lies above its annealed value, beyond error."""
    rivals = [v for v in evidence.numbers if v.claim is Claim.LOWER_BOUND and v.kind != ANNEALED]
    for rival in rivals:
        n = common_images(rival.nats, annealed.nats)
        with np.errstate(invalid="ignore"):  # -inf - -inf, which allows no test
            if paired_t(rival.nats[:n] - annealed.nats[:n]).p <= LEVEL:
                return True
    return False


def _side(readings: tuple[Values, ...], sign: int) -> Side:
    numerical = readings[0].claim is Claim.NUMERICAL
    rows = [values.nats + (sign * values.tolerance if numerical else 0.0) for values in readings]
    return Side(readings[0].estimator, readings[0].claim, np.stack(rows))


def check_all_comparable(evidences: list[Evidence]) -> None:
    """That every run is comparable with the first, and so with every other; raises ``Incomparable``."""
    for other in evidences[1:]:
        check_comparable(evidences[0], other)
