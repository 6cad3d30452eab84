"""What a number about log p(x) may be taken for.

A value without its claim is not readable: an exact log-likelihood, a lower bound and a biased estimate are all "nats",
and papers print them in one column. Here every value carries one of the words below, and everything that compares two
values asks the words first.
"""

from __future__ import annotations

from enum import StrEnum


class Claim(StrEnum):
    """The claim of a per-image value v about log p(x), in nats; values equal the words in the files.

    ``EXACT``: v = log p(x) up to floating point. ``NUMERICAL``: ``|v - log p(x)| <= tolerance``.
    ``LOWER_BOUND``: E[v] <= log p(x) (Burda et al. 2015, 1509.00519). ``UPPER_BOUND``: E[v] >= log p(x), only for
    images simulated together with their latents (Grosse et al. 2015, 1511.02543). ``ESTIMATE``: consistent, no
    direction known. ``NONE``: refused, there is no number.
    """

    EXACT = "EXACT"
    NUMERICAL = "NUMERICAL"
    LOWER_BOUND = "LOWER_BOUND"
    UPPER_BOUND = "UPPER_BOUND"
    ESTIMATE = "ESTIMATE"
    NONE = "none"

    @property
    def words(self) -> str:
        """The claim as it is written on axes and in tables."""
        return _WORDS[self]

    @property
    def meaning(self) -> str:
        """One sentence for the glossary of a report."""
        return _MEANING[self]

    @property
    def is_number(self) -> bool:
        """Whether a value exists at all."""
        return self is not Claim.NONE


_WORDS = {
    Claim.EXACT: "exact",
    Claim.NUMERICAL: "numerical",
    Claim.LOWER_BOUND: "lower bound",
    Claim.UPPER_BOUND: "upper bound",
    Claim.ESTIMATE: "estimate",
    Claim.NONE: "none",
}

_MEANING = {
    Claim.EXACT: "The value is log p(x) itself, up to floating point. It may stand on either side of a comparison.",
    Claim.NUMERICAL: (
        "The value is log p(x) within a stated tolerance. The tolerance is subtracted where the value must not be too "
        "high, and added where it must not be too low."
    ),
    Claim.LOWER_BOUND: (
        "The expected value is at most log p(x). The truth lies at or above it, by an amount that the value does not "
        "tell. A low bound therefore never shows that a model is bad."
    ),
    Claim.UPPER_BOUND: (
        "The expected value is at least log p(x). Such bounds exist only for images that were simulated from the "
        "program together with their latents, never for a given photograph."
    ),
    Claim.ESTIMATE: (
        "The value converges to log p(x) with more computation, from a side that is not known. It establishes nothing."
    ),
    Claim.NONE: ("Refused: there is no probability of x to report. The reason is printed in place of a number."),
}
