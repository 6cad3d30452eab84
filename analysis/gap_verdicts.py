"""Which guide is tighter, and is it its family or its encoder: verdicts from ``gap.nc``, with their assumptions.

Three quantities, each an amount of nats that is at least 0 and better small: the whole gap log p(x) - ELBO, its part
that is the family (approximation gap), its part that is the encoder (amortization gap). "A is smaller than B" is
**established** where A's upper side lies below B's lower side: claims alone. The sides are, with E the guide's ELBO
and B the best that was found,

    whole     at least lower - E     at most upper - E
    family    at least the closed form, where there is one     at most upper - B
    encoder   at least B - E         at most upper - E, since the family's part is not negative

It is **indicated** where it takes an assumption: that the search has found the family's best member, or that
annealing has reached log p(x). Else it is **undecided**. One-sided t-tests paired over images, of the mean over the
members' seeds, Holm-corrected over all pairs, quantities and directions, one family for each word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.gap import GapSplit
from analysis.sides import LEVEL
from analysis.statistics import TestResult, holm, paired_t
from analysis.verdicts import Word

SEARCH, ANNEALING = "the search has found the best member of the family", "annealing has reached log p(x)"
QUANTITIES = {"whole": "gap of its ELBO", "family": "approximation gap", "encoder": "amortization gap"}


@dataclass(frozen=True, eq=False)
class Range:
    """What is known of one quantity of one member: (N,) nats, means over its seeds; ``None`` where nothing is.

    Attributes:
        lower, upper: the sides that follow from claims.
        assumed: its value under ``assumptions``.
        loose: whether ``upper`` bounds more than the quantity, so that an assumption says more.
    """

    lower: np.ndarray | None
    upper: np.ndarray | None
    assumed: np.ndarray | None
    assumptions: tuple[str, ...]
    loose: bool = False


@dataclass(frozen=True, eq=False)
class Contestant:
    """A member's splits, one per seed, over the same images; ``annealed`` where its annealing is not refuted."""

    name: str
    splits: tuple[GapSplit, ...]
    annealed: bool

    def mean(self, name: str) -> np.ndarray:
        """(N,) over seeds."""
        return np.mean([split[name] for split in self.splits], axis=0)

    def range_of(self, quantity: str) -> Range:
        """What is known of a quantity, see the head of this module."""
        two_sided = all(split.is_two_sided for split in self.splits)
        read = two_sided or self.annealed
        assumed = () if two_sided else (ANNEALING,)
        upper = self.mean("gap_upper") if two_sided else None
        if quantity == "whole":
            known = all(split.lower_source for split in self.splits)
            lower = self.mean("gap_lower") if known else None
            return Range(lower, upper, lower if read else None, assumed)
        if quantity == "encoder":
            lower = self.mean("amortization_gap_lower")
            return Range(lower, upper, lower, (SEARCH,), loose=True)
        closed = np.mean([split.closed_form for split in self.splits])
        lower = None if np.isnan(closed) else np.full(len(self.splits[0].images), closed)
        upper = self.mean("approximation_gap_upper") if two_sided else None
        value = self.mean("approximation_gap_if_converged") if read else None
        return Range(lower, upper, value, (SEARCH, *assumed))


@dataclass(frozen=True)
class GapVerdict:
    """What may be said of two members and one quantity.

    Attributes:
        quantity: ``whole``, ``family`` or ``encoder``.
        left, right: the members.
        word: established, indicated or undecided.
        smaller: the member whose quantity is smaller; ``None`` if undecided.
        result: the deciding test, or the one that came nearest; ``None`` if none could be made.
        p_adjusted: Holm's p of it; 1 without one.
        assumptions: what an indicated verdict takes for granted.
        would_decide: what to do about an undecided pair.
    """

    quantity: str
    left: str
    right: str
    word: Word
    smaller: str | None
    result: TestResult | None
    p_adjusted: float
    assumptions: tuple[str, ...]
    would_decide: str

    @property
    def sentence(self) -> str:
        """The verdict as one line of text."""
        what = QUANTITIES[self.quantity]
        size = ""
        if self.result is not None:
            size = f"{abs(self.result.mean):.3f} \N{PLUS-MINUS SIGN} {self.result.stderr:.3f} nats (s.e.)"
        if self.smaller is None:
            near = f"the nearest test sees {size}; " if size else ""
            return f"{what} of {self.left} and {self.right}: {self.word}; {near}{self.would_decide}"
        larger = self.right if self.smaller == self.left else self.left
        condition = f", if {' and '.join(self.assumptions)}" if self.assumptions else ""
        how = "at least " if self.word is Word.ESTABLISHED else ""
        return f"{self.smaller} has a smaller {what} than {larger}: {self.word}, by {how}{size}{condition}"


@dataclass(frozen=True)
class _Test:
    """"winner's quantity is smaller than loser's": from claims, and under assumptions."""

    winner: str
    claimed: TestResult | None
    assumed: TestResult | None
    assumptions: tuple[str, ...]


def judge_gaps(contestants: Sequence[Contestant], level: float = LEVEL) -> list[GapVerdict]:
    """Verdicts on every comparable pair and quantity.

    Two members are compared where program, data, split, measure and images agree: a gap is a divergence from the
    posterior of the program at hand, and says little beside that of another.
    """
    asked = []
    for left, right in combinations(contestants, 2):
        if comparable(left, right):
            for quantity in QUANTITIES:
                asked.append((quantity, left, right, (_test(quantity, left, right), _test(quantity, right, left))))
    tests = [test for *_, both in asked for test in both]
    claimed = holm([_p(test.claimed) for test in tests])
    assumed = holm([_p(test.assumed) for test in tests])
    verdicts = []
    for number, (quantity, left, right, both) in enumerate(asked):
        pair = slice(2 * number, 2 * number + 2)
        verdicts.append(_verdict(quantity, left.name, right.name, both, claimed[pair], assumed[pair], level))
    return verdicts


def comparable(left: Contestant, right: Contestant) -> bool:
    """Whether all splits of both are of one program, data set, split and set of images."""
    first, *others = (*left.splits, *right.splits)
    return all(o.identity == first.identity and np.array_equal(o.images, first.images) for o in others)


def _test(quantity: str, winner: Contestant, loser: Contestant) -> _Test:
    small, large = winner.range_of(quantity), loser.range_of(quantity)
    claimed = _compare(large.lower, small.upper)
    unsure = small.upper is None or small.loose
    upper = small.assumed if unsure else small.upper
    lower = large.assumed if large.lower is None else large.lower
    needed = (small.assumptions if unsure else ()) + (large.assumptions if large.lower is None else ())
    return _Test(winner.name, claimed, _compare(lower, upper), tuple(dict.fromkeys(needed)))


def _compare(larger: np.ndarray | None, smaller: np.ndarray | None) -> TestResult | None:
    return None if larger is None or smaller is None else paired_t(larger - smaller)


def _p(result: TestResult | None) -> float:
    return 1.0 if result is None else result.p


def _verdict(
    quantity: str, left: str, right: str, tests: tuple[_Test, _Test], claimed: np.ndarray, assumed: np.ndarray,
    level: float,
) -> GapVerdict:  # fmt: skip
    for word, p_values in ((Word.ESTABLISHED, claimed), (Word.INDICATED, assumed)):
        sure = word is Word.ESTABLISHED
        passed = [place for place in (0, 1) if p_values[place] <= level and (sure or tests[place].assumptions)]
        if len(passed) == 1:  # both at once would refute an assumption, not the pair
            test, p = tests[passed[0]], float(p_values[passed[0]])
            result = test.claimed if sure else test.assumed
            needed = () if sure else test.assumptions
            return GapVerdict(quantity, left, right, word, test.winner, result, p, needed, "")
    nearest = min(zip(assumed, (test.assumed for test in tests), strict=True), key=lambda pair: pair[0])
    remedy = "score more images, or train more seeds"
    if all(test.assumed is None for test in tests):
        remedy = "give log p(x) a side: --estimators exact, quadrature or ais:1000"
    elif nearest[1] is not None and nearest[1].obstacle:
        remedy = f"no test could be made ({nearest[1].obstacle}): score at least 10 images"
    return GapVerdict(quantity, left, right, Word.UNDECIDED, None, nearest[1], float(nearest[0]), (), remedy)
