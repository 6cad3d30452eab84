"""Would the ELBO alone have ranked the programs otherwise?

Papers that report an ELBO beside an exact log-likelihood rank one against the other. Here that ranking is computed and
held against the one by the tightest reading of each program, with the errors of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.claims import Claim
from analysis.errors import Incomparable
from analysis.evidence import Evidence, Values, check_comparable, common_images
from analysis.runs import Study
from analysis.sides import LEVEL, best_values, check_all_comparable, in_short
from analysis.statistics import holm, paired_t


@dataclass(frozen=True, eq=False)
class Reading:
    """A member's log p(x) by its ELBO (or exact value) and by its tightest reading, seeds averaged: (N,) nats."""

    name: str
    by_elbo: np.ndarray
    by_best: np.ndarray
    elbo_label: str
    best_label: str


@dataclass(frozen=True)
class RankingStatement:
    """The computed sentence and what it rests on.

    Attributes:
        outcome: ``would have``, ``would not have``, ``not distinguishable`` or ``not applicable``.
        by_elbo, by_best: names with mean nats and claim, best first.
        sentence: for the report.
    """

    outcome: str
    by_elbo: tuple[str, ...]
    by_best: tuple[str, ...]
    sentence: str


def elbo_ranking(study: Study) -> RankingStatement:
    """Compare the ranking by ELBO (exact values where there are any) with the one by the tightest readings.

    ``would have`` ranked otherwise: some pair changes its order and both orders are clear. ``would not have``: every
    pair is clear in both rankings and keeps its order. ``not distinguishable``: neither. Clear means that a two-sided
    paired t-test over images rejects equality at 5% after Holm's correction over both rankings. The ranking by tightest
    readings is one of bounds where there are bounds; what it says about log p(x) itself is the verdicts' business.
    """
    readings = _readings(study)
    if len(readings) < 2 or all(reading.elbo_label == reading.best_label for reading in readings):
        sentence = (
            "Whether the ELBO alone would have ranked otherwise cannot be said: that takes two comparable programs, "
            "and one of them read by its ELBO and by a tighter bound."
        )
        return RankingStatement("not applicable", (), (), sentence)
    by_elbo = _order([(r.name, r.by_elbo, r.elbo_label) for r in readings])
    by_best = _order([(r.name, r.by_best, r.best_label) for r in readings])
    outcome, detail = _compare(readings)
    verb = f"{outcome} ranked otherwise"
    if outcome == "not distinguishable":
        verb = "cannot be said to rank otherwise or alike (not distinguishable)"
    sentence = (
        f"The ELBO alone {verb}: {detail}. By ELBO: {' > '.join(by_elbo)}. "
        f"By the tightest readings: {' > '.join(by_best)}."
    )
    return RankingStatement(outcome, tuple(by_elbo), tuple(by_best), sentence)


def _readings(study: Study) -> list[Reading]:
    """One reading per member with numbers, comparable with the first such member, on the images common to all."""
    readings: list[Reading] = []
    first: Evidence | None = None
    for member in study.members:
        evidence = [run.evidence for run in member.runs if run.evidence is not None]
        if not evidence or any(best_values(entry) is None for entry in evidence):
            continue
        first = first or evidence[0]
        try:
            check_comparable(first, evidence[0])
            check_all_comparable(evidence)
        except Incomparable:
            continue  # the report lists it among the pairs that cannot be compared
        readings.append(_reading(member.name, evidence))
    if len(readings) < 2:
        return []
    n = min(common_images(r.by_elbo, r.by_best) for r in readings)
    return [Reading(r.name, r.by_elbo[:n], r.by_best[:n], r.elbo_label, r.best_label) for r in readings]


def _reading(name: str, evidence: list[Evidence]) -> Reading:
    best = [best_values(entry) for entry in evidence]
    by_elbo = [elbo_values(entry) or values for entry, values in zip(evidence, best, strict=True)]
    return Reading(
        name,
        np.mean([values.nats for values in by_elbo], axis=0),
        np.mean([values.nats for values in best], axis=0),
        _label(by_elbo[0]),
        _label(best[0]),
    )


def elbo_values(evidence: Evidence) -> Values | None:
    """The ELBO with most particles; ``None`` if it was not evaluated or the program is exact."""
    elbos = [v for v in evidence.numbers if v.kind == "elbo" and v.claim is Claim.LOWER_BOUND]
    return max(elbos, key=lambda values: values.effort, default=None)


def _label(values: Values) -> str:
    return in_short(values.estimator, values.claim)


def _order(entries: list[tuple[str, np.ndarray, str]]) -> list[str]:
    ranked = sorted(entries, key=lambda entry: -float(entry[1].mean()))
    return [
        f"{name} {values.mean():.3f} nats ({label})".replace(" -", " \N{MINUS SIGN}") for name, values, label in ranked
    ]


def _compare(readings: list[Reading]) -> tuple[str, str]:
    """The outcome and the pair it hangs on."""
    pairs = list(combinations(readings, 2))
    tests = [paired_t(a.by_elbo - b.by_elbo) for a, b in pairs]
    tests += [paired_t(a.by_best - b.by_best) for a, b in pairs]
    clear = holm([test.p_two_sided for test in tests]) <= LEVEL
    unclear = []
    for number, (a, b) in enumerate(pairs):
        elbo, best = tests[number], tests[number + len(pairs)]
        both_clear = bool(clear[number] and clear[number + len(pairs)])
        if both_clear and elbo.mean * best.mean < 0:
            above, below = (a, b) if best.mean > 0 else (b, a)
            detail = f"it puts {below.name} above {above.name}, the tightest readings put "
            return "would have", f"{detail}{above.name} above {below.name}, both beyond their errors"
        if not both_clear:
            unclear.append(f"{a.name} and {b.name}")
    if unclear:
        return "not distinguishable", f"differences within error between {'; '.join(unclear)}"
    return "would not have", "every pair keeps its order, beyond the errors"
