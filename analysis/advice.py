"""Why a pair is undecided, and what would decide it."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.claims import Claim
from analysis.contenders import Contender
from analysis.sides import ANNEALED
from analysis.statistics import FEW_IMAGES, MIN_IMAGES, NOT_FINITE, ONE_SEED, SEEDS_ALIKE, TestResult

_WITHIN = "within error after correction for several tests"
_OBSTACLES = {
    NOT_FINITE: ("log p(x) is not finite on every image", "a program that gives every image some probability"),
    FEW_IMAGES: (f"too few images: no test is made on fewer than {MIN_IMAGES}", "more images"),
    ONE_SEED: ("a single seed has no standard error", "more seeds"),
    SEEDS_ALIKE: ("the seeds agree to the last digit, which says nothing of their spread", "seeds that differ"),
}


@dataclass(frozen=True)
class Finding:
    """The tests of "``higher`` has higher log p(x) than ``lower``".

    Attributes:
        from_claims: lower side against upper side; ``None`` if a side is missing.
        if_converged: the same, with the loser's annealed value where it has no upper side; ``None`` if missing.
    """

    higher: Contender
    lower: Contender
    from_claims: TestResult | None
    if_converged: TestResult | None

    @property
    def may_be_indicated(self) -> bool:
        """Whether the loser has no upper side by its claim, so that its annealed value is the only one there is."""
        return self.lower.upper_side is None

    def difference(self, assumed: bool) -> str:
        """Mean difference and standard error of the test in question, nats per image."""
        result = self.if_converged if assumed else self.from_claims
        return "not tested" if result is None else self.in_words(result)

    def in_words(self, result: TestResult, sign: int = 1) -> str:
        """Mean and standard error over images (and seeds), as printed; how many images if it is not all of them."""
        total = self.higher.num_images
        part = f" on the first {result.n} of {total} images" if result.n < total else ""
        return f"{sign * result.mean:.3f} \N{PLUS-MINUS SIGN} {result.stderr:.3f} nats (s.e.){part}"


def explain_undecided(findings: tuple[Finding, Finding]) -> tuple[Finding | None, str, str]:
    """The finding that came nearest, why it does not decide, and what would.

    Args:
        findings: both directions of a pair.
    """
    for finding in findings:
        if finding.higher.lower_side is None:
            return _no_side(finding)
    tests = [finding.if_converged for finding in findings]
    present = [test for test in tests if test is not None]
    for obstacle, (why, would_decide) in _OBSTACLES.items():
        if any(test.obstacle == obstacle for test in present):
            return None, why, would_decide
    exact = [finding for finding in findings if finding.lower.upper_side is not None]
    if len(exact) == 2:
        return _within_error(max(exact, key=lambda finding: finding.from_claims.mean))
    if len(exact) == 1:
        return _bound_against_exact(exact[0], findings)
    return _bound_against_bound(findings)


def _no_side(finding: Finding) -> tuple[None, str, str]:
    name = finding.higher.name
    why = f"{name} has no reading with a direction common to its runs (an estimate has none)"
    return None, why, f"run exact, iw or ais on every run of {name}"


def _more(finding: Finding) -> str:
    """What narrows the error: of two trained runs no further seed does."""
    runs = len(finding.higher.evidence) == len(finding.lower.evidence) == 1
    return "more images" if runs else "more images or more seeds"


def _within_error(finding: Finding) -> tuple[Finding, str, str]:
    why = f"difference {finding.in_words(finding.from_claims)} in favour of {finding.higher.name}, {_WITHIN}"
    return finding, why, _more(finding)


def _bound_against_exact(finding: Finding, findings: tuple[Finding, Finding]) -> tuple[Finding, str, str]:
    """``finding.higher`` has a bound only, ``finding.lower`` an exact value."""
    bounded, exact = finding.higher, finding.lower
    other = findings[1] if finding is findings[0] else findings[0]
    below = -finding.from_claims.mean
    size = finding.in_words(finding.from_claims, sign=1 if below < 0 else -1)
    claim = exact.upper_side.claim.words
    if below < 0:
        why = f"the lower bound of {bounded.name} lies {size} above the {claim} value of {exact.name}, {_WITHIN}"
        return finding, why, f"{_more(finding)}, or a tighter bound on {bounded.name}"
    why = (
        f"the lower bound of {bounded.name} ({bounded.lower_side.estimator}) lies {size} below the {claim} value of "
        f"{exact.name}; a lower bound cannot show that it is worse"
    )
    if bounded.converged_side is None:
        return finding, why, f"run ais on {bounded.name}{_refuted(bounded)}"
    why += f"; read as converged, ais puts it {other.in_words(other.if_converged)} below, {_WITHIN}"
    return other, why, f"{_more(finding)}, or ais with more temperatures on {bounded.name}"


def _bound_against_bound(findings: tuple[Finding, Finding]) -> tuple[Finding | None, str, str]:
    left, right = findings[0].higher, findings[0].lower
    lacking = [side for side in (left, right) if side.converged_side is None]
    why = f"{left.name} and {right.name} have lower bounds only, and bounds have no order"
    if lacking:
        names = " and ".join(f"{side.name}{_refuted(side)}" for side in lacking)
        return None, why, f"run ais on {names}"
    best = max(findings, key=lambda finding: finding.if_converged.mean)
    why += f"; read as converged, ais favours {best.higher.name} by {best.in_words(best.if_converged)}, {_WITHIN}"
    return best, why, _more(best)


def _refuted(side: Contender) -> str:
    """Why an existing annealed value was not used."""
    annealed = [
        {v.estimator for v in entry.numbers if v.kind == ANNEALED and v.claim is Claim.LOWER_BOUND}
        for entry in side.evidence
    ]
    if not any(annealed):
        return ""
    if not set.intersection(*annealed):
        return ", on every run and with the same number of temperatures"
    return " with more temperatures (its present value lies below another of its bounds: not converged)"
