"""The measures of a pair as named numbers: value, errors, what is claimed of it, what it means."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..claims import Claim


@dataclass(frozen=True)
class Measure:
    """One number about a pair on N images, in nats per image unless ``units`` say otherwise.

    Args:
        name: as in ``collapse.nc``.
        value: NaN where it is not known.
        claim: its relation to the quantity that ``meaning`` names, which is log p(x) for the ELBO alone.
        meaning: one sentence.
        stderr: standard error of the mean over images: how it would move with other images. NaN where there is none.
        stderr_monte_carlo: its own noise on these images; 0 where there is none, NaN where it is not known.
        reason: why there is no value, or what it is restricted to; empty otherwise.
        units: ``"nats"``, ``"latents"``, ``"share"`` or ``"grey levels"``.
    """

    name: str
    value: float
    claim: Claim
    meaning: str
    stderr: float = math.nan
    stderr_monte_carlo: float = math.nan
    reason: str = ""
    units: str = "nats"


def mean_over_images(values: Tensor) -> tuple[float, float, float]:
    """Mean of (S, M) values, S draws of M images, its standard error over images, and that of the draws alone.

    NaN for the first error with one image, for the second with one draw. Images that are NaN are left out.
    """
    values = values[:, ~values.isnan().any(0)]
    draws, images = values.shape
    if not images:
        return math.nan, math.nan, math.nan
    each = values.mean(0)
    over_images = float(each.std()) / math.sqrt(images) if images > 1 else math.nan
    monte_carlo = float((values.var(0).mean() / (draws * images)).sqrt()) if draws > 1 else math.nan
    return float(each.mean()), over_images, monte_carlo


def averaged(name: str, values: Tensor, claim: Claim, meaning: str, reason: str = "", units: str = "nats") -> Measure:
    """The mean of (S, M) values as a measure."""
    value, stderr, monte_carlo = mean_over_images(values)
    return Measure(name, value, claim, meaning, stderr, monte_carlo, reason, units)


def missing(name: str, meaning: str, reason: str) -> Measure:
    """A measure that is not known, and why."""
    return Measure(name, math.nan, Claim.NONE, meaning, reason=reason)
