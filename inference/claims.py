"""What may be said of a number about log p(x). The claim is part of the value."""

from __future__ import annotations

from enum import StrEnum


class Claim(StrEnum):
    """The relation of a number to log p(x); its value is the word written to files."""

    EXACT = "EXACT"
    """log p(x) itself, up to floating point."""
    NUMERICAL = "NUMERICAL"
    """log p(x) within a stated tolerance."""
    LOWER_BOUND = "LOWER_BOUND"
    """E[value] <= log p(x)."""
    UPPER_BOUND = "UPPER_BOUND"
    """E[value] >= log p(x); only for x simulated from the program together with its latents."""
    ESTIMATE = "ESTIMATE"
    """Consistent, no direction known."""
    NONE = "none"
    """Refused: there is no such number."""
