"""Who is compared: one run, or one method over its seeds, reduced to what a comparison may use of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from analysis.claims import Claim
from analysis.errors import Incomparable
from analysis.evidence import Evidence, check_comparable, common_images
from analysis.sides import ANNEALED, Side, check_all_comparable, converged_side, lower_side, upper_side
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
        annealed = self.converged_side.estimator if self.converged_side else ""
        widths = [width for entry in self.sandwiches if (width := sandwich_width(entry, annealed)) is not None]
        if not widths:
            return f"width of {self.name} not simulated"
        return f"simulated width of {self.name}: {max(widths, key=lambda width: width.mean)}"


@dataclass(frozen=True)
class Width:
    """Upper minus lower bound on images simulated from the program: nats per image.

    Attributes:
        mean, stderr: over the simulated images.
        lower, upper: the two estimators.
        num_images: how many images were simulated.
    """

    mean: float
    stderr: float
    lower: str
    upper: str
    num_images: int

    def __str__(self) -> str:
        size = f"{self.mean:.3f} \N{PLUS-MINUS SIGN} {self.stderr:.3f} nats (s.e.)"
        return f"{size}, {self.upper} \N{MINUS SIGN} {self.lower} on {self.num_images} simulated images"


def sandwich_width(sandwich: Evidence, annealed: str = "") -> Width | None:
    """How far the two bounds lie apart where both exist: on images simulated from the program itself.

    The width there hints at the width on given images and proves nothing about it (Grosse et al. 2015, 1511.02543; Wu
    et al. 2017, 1611.04273). ``None`` where a bound is missing, or its values are not on the same images.

    Args:
        sandwich: forward and reverse bounds, ``ais:N`` and ``bdmc:N``.
        annealed: the lower bound that is asked about, for example ``ais:1000``. Where the sandwich lacks it, and by
            default, the annealed bound with most temperatures is taken; the upper bound is that with as many.
    """
    uppers = [values for values in sandwich.numbers if values.claim is Claim.UPPER_BOUND]
    lowers = [values for values in sandwich.numbers if values.claim is Claim.LOWER_BOUND]
    if not uppers or not lowers:
        return None
    lower = max(lowers, key=lambda v: (v.estimator == annealed, v.kind == ANNEALED, v.effort, v.estimator))
    upper = max(uppers, key=lambda v: (v.effort[0] == lower.effort[0], v.effort, v.estimator))
    try:
        n = common_images(lower.nats, upper.nats)
    except Incomparable:
        return None
    return Width(*mean_and_stderr(upper.nats[:n] - lower.nats[:n]), lower.estimator, upper.estimator, n)
