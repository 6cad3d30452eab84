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


def best_values(evidence: Evidence) -> Values | None:
    """The tightest reading of a run that is not too high, chosen by rule: EXACT, then NUMERICAL, then LOWER_BOUND.

    Among lower bounds: annealed importance sampling, then importance weighting, then the ELBO, then any other; among
    several of one kind the largest number of temperatures or particles. The rule looks at names and claims only.
    Taking the highest of several bounds *on the images that are tested* would be biased: each has Monte Carlo and
    sampling noise, and E[max_j v_j] >= max_j E[v_j] may pass log p(x), which breaks the claim that the test rests on.
    """
    candidates = [values for values in evidence.numbers if values.claim in _CLAIM_ORDER]
    return min(candidates, key=_preference, default=None)


def _preference(values: Values) -> tuple:
    kind = _BOUND_ORDER.index(values.kind) if values.kind in _BOUND_ORDER else len(_BOUND_ORDER)
    effort = tuple(-number for number in values.effort)
    return (_CLAIM_ORDER.index(values.claim), kind, effort, values.estimator)


def lower_side(evidence: Evidence) -> Side | None:
    """What may be claimed to be at most log p(x) in expectation; ``None`` if there is nothing of the kind."""
    values = best_values(evidence)
    return None if values is None else _side(values, sign=-1)


def upper_side(evidence: Evidence) -> Side | None:
    """What may be claimed to be at least log p(x); ``None`` unless it is exact or numerical."""
    values = best_values(evidence)
    if values is None or values.claim is Claim.LOWER_BOUND:
        return None
    return _side(values, sign=+1)


def converged_side(evidence: Evidence) -> Side | None:
    """The annealed value with most temperatures, to be read as log p(x) if it has converged; or ``None``.

    ``None`` also where the run's own numbers refute convergence: another of its lower bounds lies above the annealed
    value, by a one-sided paired t-test at 5%.
    """
    annealed = [values for values in evidence.numbers if values.kind == ANNEALED]
    if not annealed:
        return None
    chosen = max(annealed, key=lambda values: (values.effort, values.estimator))
    rivals = [v for v in evidence.numbers if v.claim is Claim.LOWER_BOUND and v.kind != ANNEALED]
    for rival in rivals:
        n = common_images(rival.nats, chosen.nats)
        if paired_t(rival.nats[:n] - chosen.nats[:n]).p <= LEVEL:
            return None
    return _side(chosen, sign=0)


def _side(values: Values, sign: int) -> Side:
    tolerance = values.tolerance if values.claim is Claim.NUMERICAL else 0.0
    return Side(values.estimator, values.claim, values.nats[None] + sign * tolerance)


def stack_sides(sides: list[Side | None]) -> Side | None:
    """One side of a method from the same side of its runs, one per seed; ``None`` where the seeds lack it or differ.

    Seeds read by different estimators would mix claims in one mean.
    """
    present = [side for side in sides if side is not None]
    if len(present) < len(sides) or len({(side.estimator, side.claim) for side in present}) != 1:
        return None
    nats = np.concatenate([side.nats for side in present])
    return Side(present[0].estimator, present[0].claim, nats)


def check_all_comparable(evidences: list[Evidence]) -> None:
    """That every run is comparable with the first, and so with every other; raises ``Incomparable``."""
    for other in evidences[1:]:
        check_comparable(evidences[0], other)
