"""What is declared of imported numbers, and whether they can be that."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.claims import Claim
from analysis.errors import InvalidInput
from analysis.evidence import ROUNDING_NATS
from analysis.imported_run import Subject
from analysis.imported_values import UNITS, Column


@dataclass(frozen=True)
class Declared:
    """What is said of the numbers."""

    claim: Claim
    units: str
    negative: bool
    tolerance: float

    @classmethod
    def checked(
        cls, claim: str | Claim, units: str, negative: bool, tolerance: float | None, stderr: str | None
    ) -> Declared:
        """What was declared, if it is free of contradictions; raises ``InvalidInput``."""
        known = [word.value for word in Claim if word not in (Claim.UPPER_BOUND, Claim.NONE)]
        if claim == Claim.UPPER_BOUND:
            problem = "no upper bound exists on given images: it takes the latents that made them"
            raise InvalidInput("--claim", claim, problem, "an upper bound on the negative log p(x) is a LOWER_BOUND")
        if claim not in known:
            near = difflib.get_close_matches(str(claim).upper(), known, 1)
            remedy = f"declare {near[0]}" if near else f"declare one of {', '.join(known)}"
            raise InvalidInput("--claim", claim, "cannot be imported", remedy)
        if units not in UNITS:
            raise InvalidInput("--units", units, "is not known", f"give one of {', '.join(UNITS)}")
        if (claim == Claim.NUMERICAL) != (tolerance is not None) or (
            tolerance is not None and not 0 <= tolerance < np.inf
        ):
            value = "(missing)" if tolerance is None else tolerance
            raise InvalidInput(
                "--tolerance", value, "belongs to NUMERICAL, which needs it", "give it in nats, from 0, or leave it out"
            )
        if stderr is not None and claim in (Claim.EXACT, Claim.NUMERICAL):
            raise InvalidInput("--stderr-column", stderr, f"{claim} values have no Monte Carlo error", "leave it out")
        return cls(Claim(claim), units, negative, np.nan if tolerance is None else tolerance)


def images_of(path: Path, found: Column, about: Subject, limit: int | None) -> np.ndarray:
    """Which images the values are of; all of the split, or the first ``limit``."""
    size = about.images.size
    if limit is not None and not 1 <= limit <= size:
        raise InvalidInput("--limit", limit, "is no number of images", f"give 1 to {size}")
    expected = about.images[:limit]
    if found.images is None:
        if found.values.size != expected.size:
            problem = f"has {found.values.size} values for {expected.size} images"
            raise InvalidInput("FILE", path, problem, "add a column image, or --limit N if they are the first N")
        return expected
    unknown = np.flatnonzero(~np.isin(found.images, expected))
    if unknown.size:
        value = f"{found.rows[unknown[0]]} image {found.images[unknown[0]]}"
        raise InvalidInput(
            str(path),
            value,
            f"is not among the {expected.size} images of {about.data}",
            "check the split and the indices",
        )
    missing = expected[~np.isin(expected, found.images)]
    if missing.size:
        shown = ", ".join(map(str, missing[:5].tolist())) + (", ..." if missing.size > 5 else "")
        raise InvalidInput(
            str(path),
            f"images {shown}",
            f"{missing.size} of {expected.size} are missing",
            "add them, or give --limit N if the first N are there",
        )
    return found.images


def check_nats(path: Path, rows: Sequence[str], nats: np.ndarray, declared: Declared, about: Subject) -> None:
    """Refuse what no log p(x) with this claim can be; a wrong sign shows up here."""
    hint = "" if declared.negative else "; if the file holds negative log-likelihoods, give --negative"
    infinite = np.flatnonzero(np.isposinf(nats))
    if infinite.size:
        raise InvalidInput(
            str(path), rows[infinite[0]], "gives log p(x) = +infinity", f"evaluate that image again{hint}"
        )
    if about.measure != "mass":
        return
    slack = {Claim.EXACT: ROUNDING_NATS, Claim.NUMERICAL: ROUNDING_NATS + declared.tolerance}.get(declared.claim)
    above = np.flatnonzero(nats > slack) if slack is not None else np.array([], dtype=int)
    if above.size:
        problem = f"{declared.claim} log mass {nats[above[0]]:.4g} nats is above 0, a probability above 1"
        raise InvalidInput(str(path), rows[above[0]], problem, f"check sign, unit and measure{hint}")
    if np.mean(nats) > 0:
        problem = f"a mean log mass of {np.mean(nats):.4g} nats is above 0, a probability above 1"
        raise InvalidInput(str(path), "mean", problem, f"check sign, unit and measure{hint}")
