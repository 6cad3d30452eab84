"""Would the ELBO alone have ranked the programs otherwise?

Papers that report an ELBO beside an exact log-likelihood rank one against the other. Here that ranking is computed and
held against the one by the tightest reading of each program, with the errors of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.claims import Claim
from analysis.headlines import headlines
from analysis.pairs import Judgement, judge_study
from analysis.readings import Reading, read_members
from analysis.runs import Study
from analysis.sides import LEVEL
from analysis.statistics import TestResult, holm, paired_t, welch_over_seeds
from analysis.verdicts import Word

_BOUND_NAMES = {"iw": "importance-weighted bound", "ais": "annealed bound"}


@dataclass(frozen=True)
class RankingStatement:
    """The computed sentence and what it rests on.

    Attributes:
        outcome: ``would have``, ``by the means only``, ``would not have`` or ``not applicable``.
        by_elbo, by_best: names with mean nats and claim, best first.
        sentence: for the report.
    """

    outcome: str
    by_elbo: tuple[str, ...]
    by_best: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, eq=False)
class _Order:
    """Two members, ``above`` being the one with the higher mean by the tightest readings; tests of above - below."""

    above: Reading
    below: Reading
    elbo: TestResult
    best: TestResult
    elbo_clear: bool = False
    best_clear: bool = False

    @property
    def flips(self) -> bool:
        return self.elbo.mean < 0 < self.best.mean

    @property
    def clear(self) -> bool:
        return self.elbo_clear and self.best_clear

    def size(self, result: TestResult) -> str:
        """A difference with its error, and over what it is."""
        numbers = [self.above.num_seeds, self.below.num_seeds]
        over = f"{numbers[0]} seeds" if numbers[0] == numbers[1] else f"{numbers[0]} and {numbers[1]} seeds"
        if min(numbers) < 2:
            over = "images alone: trained runs, not methods"
        return f"{abs(result.mean):.3f} \N{PLUS-MINUS SIGN} {result.stderr:.3f} nats over {over}"


def elbo_ranking(study: Study, judgement: Judgement | None = None) -> RankingStatement:
    """Compare the ranking by ELBO (exact values where there are any) with the one by the tightest readings.

    ``would have`` ranked otherwise: some pair changes its order and both orders are clear. ``by the means only``: some
    pair changes its order, and one order or both are within error. ``would not have``: every pair keeps its order.
    Clear means that a two-sided test rejects equality at 5% after Holm's correction over all pairs in both rankings:
    over seeds where both members have several, else over images, and then the statement is about the trained runs.
    The tightest readings are clear against an exact or numerical value only if the verdict on the pair is
    "established" too: this sentence never claims more. A ranking of bounds says nothing about log p(x) itself.

    Args:
        study: what was read.
        judgement: its verdicts; computed if not given.
    """
    readings, left_out, num_images = read_members(study)
    notes = _left_out(left_out)
    if len(readings) < 2 or all(reading.elbo_label == reading.best_label for reading in readings):
        sentence = (
            "Whether the ELBO alone would have ranked otherwise cannot be said: that takes two comparable programs, "
            "and one of them read by its ELBO and by a tighter bound."
        )
        return RankingStatement("not applicable", (), (), sentence + notes)
    n = readings[0].by_best.shape[1]
    notes += f" Over the first {n} of {num_images} images." if n < num_images else ""
    by_elbo = _ranked([(r.name, r.by_elbo, r.elbo_label) for r in readings])
    by_best = _ranked([(r.name, r.by_best, r.best_label) for r in readings])
    outcome, detail = _outcome(_orders(readings, _established(judgement or judge_study(study))))
    sentence = f"{detail} By ELBO: {' > '.join(by_elbo)}. By the tightest readings: {' > '.join(by_best)}.{notes}"
    return RankingStatement(outcome, tuple(by_elbo), tuple(by_best), sentence)


def _left_out(members: Sequence[tuple[str, str]]) -> str:
    """Who is not ranked, each reason once: a study may leave out dozens for the same one."""
    names: dict[str, list[str]] = {}
    for name, reason in members:
        names.setdefault(reason, []).append(name)
    return "".join(f" Left out: {', '.join(those)} ({reason})." for reason, those in names.items())


def _established(judgement: Judgement) -> dict[frozenset[str], str | None]:
    """Who is established to be higher, by pair of members: by the verdict on methods if there is one, else on runs."""
    verdicts = [*headlines(judgement.of_scope("runs")), *judgement.of_scope("methods")]
    return {frozenset((v.left, v.right)): v.higher if v.word is Word.ESTABLISHED else None for v in verdicts}


def _ranked(entries: list[tuple[str, np.ndarray, str]]) -> list[str]:
    ranked = sorted(entries, key=lambda entry: -float(entry[1].mean()))
    return [
        f"{name} {values.mean():.3f} nats ({label})".replace(" -", " \N{MINUS SIGN}") for name, values, label in ranked
    ]


def _orders(readings: list[Reading], established: dict[frozenset[str], str | None]) -> list[_Order]:
    """Every pair with its two tests, corrected over all of them."""
    pairs = [sorted(pair, key=lambda reading: -float(reading.by_best.mean())) for pair in combinations(readings, 2)]
    elbo = [_test(above.by_elbo, below.by_elbo) for above, below in pairs]
    best = [_test(above.by_best, below.by_best) for above, below in pairs]
    clear = holm([test.p_two_sided for test in elbo + best]) <= LEVEL
    orders = []
    for number, (above, below) in enumerate(pairs):
        has_verdict = below.best_claim is not Claim.LOWER_BOUND
        agreed = not has_verdict or established.get(frozenset((above.name, below.name))) == above.name
        best_clear = bool(clear[number + len(pairs)]) and agreed
        orders.append(_Order(above, below, elbo[number], best[number], bool(clear[number]), best_clear))
    return orders


def _test(left: np.ndarray, right: np.ndarray) -> TestResult:
    """Over seeds where both have several; else over images, seeds averaged."""
    if min(len(left), len(right)) > 1:
        return welch_over_seeds(left, right)
    with np.errstate(invalid="ignore"):  # -inf - -inf, which allows no test
        return paired_t(left.mean(axis=0) - right.mean(axis=0))


def _outcome(orders: Sequence[_Order]) -> tuple[str, str]:
    """The outcome and the sentences on the pairs it hangs on."""
    flips = [order for order in orders if order.flips]
    clear = [order for order in flips if order.clear]
    if clear:
        said = "; ".join(
            f"it puts {o.below.name} above {o.above.name}, the tightest readings put {o.above.name} above "
            f"{o.below.name}, both beyond their errors ({o.size(o.elbo)}; {o.size(o.best)})"
            for o in clear
        )
        return "would have", f"The ELBO alone would have ranked otherwise: {said}.{''.join(map(_borne_out, clear))}"
    if flips:
        return "by the means only", " ".join(_within_error(order) + _borne_out(order) for order in flips)
    unclear = [f"{order.above.name} and {order.below.name}" for order in orders if not order.clear]
    detail = f"though within error between {'; '.join(unclear)}" if unclear else "beyond the errors"
    return "would not have", f"The ELBO alone would not have ranked otherwise: every pair keeps its order, {detail}."


def _within_error(order: _Order) -> str:
    """A pair whose two means change their order while one difference, or both, is within error."""
    above, below = order.above.name, order.below.name
    said = (
        f"By their means the ELBO alone ranks otherwise ({below} above {above}, where the tightest readings put "
        f"{above} above {below}), but the difference between {above} and {below} by "
    )
    if order.best_clear:
        return f"{said}the ELBO ({order.size(order.elbo)}) is within error."
    said += f"the tightest readings ({order.size(order.best)}) is within error"
    if order.elbo_clear:
        end = "" if _borne_out(order) else "; the tighter reading does not bear this out"
        return (
            f"{said}. By the ELBO alone one would have concluded that {below} is better ({order.size(order.elbo)}, "
            f"beyond error){end}."
        )
    return f"{said}, and so is the one by the ELBO ({order.size(order.elbo)})."


def _borne_out(order: _Order) -> str:
    """For an ELBO below an exact value where the tighter bound of the same program lies above it."""
    if order.above.best_claim is not Claim.LOWER_BOUND or order.below.best_claim is Claim.LOWER_BOUND:
        return ""
    conclusion = (
        f"\N{LEFT DOUBLE QUOTATION MARK}{order.below.name} above {order.above.name}\N{RIGHT DOUBLE QUOTATION MARK}"
    )
    bound = _BOUND_NAMES.get(order.above.best_kind, order.above.best_kind)
    lies = "lies above" if order.best_clear else "lies above by its mean"
    return (
        f" The ELBO's conclusion {conclusion} is not borne out: the {bound} of {order.above.name}, also a lower bound, "
        f"{lies}."
    )
