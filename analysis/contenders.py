"""Who is compared: one run, or one method over its seeds, reduced to what a comparison may use of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from analysis.claims import Claim
from analysis.evidence import Evidence, check_comparable
from analysis.sides import Side, check_all_comparable, converged_side, lower_side, upper_side
from analysis.statistics import mean_and_stderr


@dataclass(frozen=True, eq=False)
class Contender:
    """One side of a pair.

    Attributes:
        name: as it is printed.
        evidence: that of its runs: one for a run, one per seed for a method.
        sandwiches: their simulated sandwiches, as far as there are any.
    """

    name: str
    evidence: tuple[Evidence, ...]
    sandwiches: tuple[Evidence, ...] = ()

    @cached_property
    def lower_side(self) -> Side | None:
        """What is at most log p(x) in expectation, seeds stacked; see `analysis.sides`."""
        return lower_side(*self.evidence)

    @cached_property
    def upper_side(self) -> Side | None:
        """What is at least log p(x), seeds stacked."""
        return upper_side(*self.evidence)

    @cached_property
    def converged_side(self) -> Side | None:
        """What is log p(x) if annealed importance sampling has converged, seeds stacked."""
        return converged_side(*self.evidence)

    def check_against(self, other: Contender) -> None:
        """Raises ``Incomparable`` unless all runs of both are about the same measure, data and images."""
        check_all_comparable(list(self.evidence))
        check_comparable(self.evidence[0], other.evidence[0])
        check_all_comparable(list(other.evidence))

    @property
    def num_images(self) -> int:
        """How many images its evidence is about, evaluated or not."""
        return int(self.evidence[0].images.size)

    @property
    def width_in_words(self) -> str:
        """The simulated sandwich width (the widest seed's), as it is printed beside an indicated verdict."""
        if not self.sandwiches:
            return f"width of {self.name} not simulated"
        mean, stderr = max(sandwich_width(sandwich) for sandwich in self.sandwiches)
        return f"simulated width of {self.name}: {mean:.3f} \N{PLUS-MINUS SIGN} {stderr:.3f} nats (s.e.)"


def sandwich_width(sandwich: Evidence) -> tuple[float, float]:
    """Mean over simulated images of upper minus lower bound, and its standard error, in nats.

    The bounds are on images simulated from the program itself, where both exist (Grosse et al. 2015, 1511.02543); the
    width there hints at the width on given images and proves nothing about it. NaN where a bound is missing.
    """
    uppers = [values for values in sandwich.numbers if values.claim is Claim.UPPER_BOUND]
    lowers = [values for values in sandwich.numbers if values.claim is Claim.LOWER_BOUND]
    if not uppers or not lowers:
        return float("nan"), float("nan")
    upper, lower = (max(side, key=lambda v: (v.effort, v.estimator)) for side in (uppers, lowers))
    return mean_and_stderr(upper.nats - lower.nats)
