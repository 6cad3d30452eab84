"""Verdicts: what the numbers allow to be said about two runs, or about two methods.

For each ordered pair "A has higher log p(x) than B" the lower side of A is tested against the upper side of B
(`analysis.sides`), one-sided, paired over images. Both directions of every pair count as tests, also those that cannot
be made (their p is 1), for runs and methods together, and Holm's correction keeps the chance of any false word at 5%.

- **established**: the direction follows from the claims alone.
- **indicated**: it follows only if annealed importance sampling has converged for B.
- **undecided**: neither, with what would decide it.

The two words that assert something have a Holm family each, over the same ordered pairs. In the second one a
pair keeps its first test where B has an upper side and is tested against B's annealed value elsewhere. One common
family would make an assumption that nobody can check cost power for what needs no assumption; with two, each word keeps
its own promise: at most 5% chance that any "established" is wrong, and at most 5%, if the sampler has converged, that
any "indicated" is. A pair whose loser has an upper side by its claim is only ever established, not indicated.

Which estimator stands on a side is fixed by names and claims, never by the values. One choice looks at values: where a
run's own bounds refute the convergence of its annealed value (`analysis.sides.converged_side`), the second test is not
made and counts with p = 1. That drops a test which would have needed a false assumption; it never adds one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from analysis.advice import Finding, explain_undecided
from analysis.claims import Claim
from analysis.contenders import Contender
from analysis.errors import Incomparable
from analysis.evidence import common_images
from analysis.sides import LEVEL, Side
from analysis.statistics import TestResult, holm, paired_t, welch_over_seeds


class Word(StrEnum):
    """The three words of a verdict."""

    ESTABLISHED = "established"
    INDICATED = "indicated"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """What may be said about two runs or two methods.

    Attributes:
        scope: ``runs`` (these trained networks) or ``methods`` (over seeds).
        left, right: the two names.
        word: established, indicated or undecided.
        higher: the name with the higher log p(x), or ``None`` if undecided.
        finding: the deciding test; if undecided, the one that came nearest. ``None`` if no test could be made.
        p_adjusted: Holm's adjusted p-value of that test; 1 if there is none.
        why: one sentence, numbers included.
        would_decide: what to do about an undecided pair; empty otherwise.
    """

    scope: str
    left: str
    right: str
    word: Word
    higher: str | None
    finding: Finding | None
    p_adjusted: float
    why: str
    would_decide: str

    @property
    def sentence(self) -> str:
        """The verdict as one line of text."""
        if self.higher is None:
            return f"{self.left} and {self.right}: {self.word}; {self.why}; {self.would_decide}"
        lower = self.right if self.higher == self.left else self.left
        return f"{self.higher} has higher log p(x) than {lower}: {self.word}; {self.why}"


@dataclass(frozen=True)
class Pair:
    """Two contenders of one scope that are to be compared."""

    scope: str
    left: Contender
    right: Contender


def judge(pairs: Sequence[Pair], level: float = LEVEL) -> tuple[list[Verdict], list[tuple[Pair, str]]]:
    """Verdicts for all pairs of a report, and the pairs that cannot be compared, with the reason.

    Args:
        pairs: every pair of the report, runs and methods: the correction is over all of them.
        level: the chance of any false "established" that is accepted.

    Returns:
        The verdicts in the order of the pairs, and the refused pairs.
    """
    compared, refused = [], []
    for pair in pairs:
        try:
            compared.append((pair, _findings(pair)))
        except Incomparable as error:
            refused.append((pair, str(error)))
    claimed = [finding.from_claims for _, findings in compared for finding in findings]
    assumed = [finding.if_converged for _, findings in compared for finding in findings]
    adjusted = zip(holm([_p(t) for t in claimed]), holm([_p(t) for t in assumed]), strict=True)
    p_values = [(float(first), float(second)) for first, second in adjusted]
    verdicts = []
    for number, (pair, findings) in enumerate(compared):
        verdicts.append(_verdict(pair, findings, p_values[2 * number : 2 * number + 2], level))
    return verdicts, refused


def _p(result: TestResult | None) -> float:
    return 1.0 if result is None else result.p


def _findings(pair: Pair) -> tuple[Finding, Finding]:
    pair.left.check_against(pair.right)
    return (_test(pair.scope, pair.left, pair.right), _test(pair.scope, pair.right, pair.left))


def _test(scope: str, higher: Contender, lower: Contender) -> Finding:
    """The test of "``higher`` has higher log p(x) than ``lower``", from claims and under convergence."""
    from_claims = _compare(scope, higher.lower_side, lower.upper_side)
    if_converged = from_claims
    if lower.upper_side is None:
        if_converged = _compare(scope, higher.lower_side, lower.converged_side)
    return Finding(higher, lower, from_claims, if_converged)


def _compare(scope: str, lower_of_a: Side | None, upper_of_b: Side | None) -> TestResult | None:
    if lower_of_a is None or upper_of_b is None:
        return None
    n = common_images(lower_of_a.nats, upper_of_b.nats)
    left, right = lower_of_a.nats[:, :n], upper_of_b.nats[:, :n]
    if scope == "methods":
        return welch_over_seeds(left, right)
    with np.errstate(invalid="ignore"):  # -inf - -inf, which allows no test
        return paired_t(left[0] - right[0])


def _verdict(
    pair: Pair,
    findings: tuple[Finding, Finding],
    p_values: list[tuple[float, float]],
    level: float,
) -> Verdict:
    for column, word in enumerate((Word.ESTABLISHED, Word.INDICATED)):
        passed = [number for number in (0, 1) if p_values[number][column] <= level]
        # Both directions at once would refute the assumption, not the pair.
        if len(passed) == 1 and (word is Word.ESTABLISHED or findings[passed[0]].may_be_indicated):
            finding, p = findings[passed[0]], p_values[passed[0]][column]
            why = _why(finding, word)
            name = finding.higher.name
            return Verdict(pair.scope, pair.left.name, pair.right.name, word, name, finding, p, why, "")
    finding, why, would_decide = explain_undecided(findings)
    counted = [values if f.may_be_indicated else values[:1] for f, values in zip(findings, p_values, strict=True)]
    p = min(min(values) for values in counted)
    return Verdict(
        pair.scope,
        pair.left.name,
        pair.right.name,
        Word.UNDECIDED,
        None,
        finding,
        p,
        why,
        would_decide,
    )


def _why(finding: Finding, word: Word) -> str:
    """The difference, and for an indicated one the condition and the simulated width beside it."""
    difference = finding.difference(word is Word.INDICATED)
    winner = finding.higher.lower_side
    if word is Word.ESTABLISHED:
        both_exact = winner.claim is finding.lower.upper_side.claim is Claim.EXACT
        return f"by {'' if both_exact else 'at least '}{difference} ({winner} against {finding.lower.upper_side})"
    # The annealed value is a lower bound of the loser: against an exact winner the difference is at most this.
    size = "about" if winner.claim is Claim.EXACT else "at least"
    loser = finding.lower.converged_side
    condition = f"only if {loser.estimator} of {finding.lower.name} has converged"
    return f"by {size} {difference} ({winner} against {loser}), {condition}; {finding.lower.width_in_words}"
