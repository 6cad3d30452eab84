"""One-sided 95% limits of mean differences: what "no loss" is accepted by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.statistics import MIN_IMAGES, mean_and_stderr, welch_over_seeds

LEVEL = 0.05


@dataclass(frozen=True)
class Limits:
    """A mean in nats per image with the limits that each hold with probability 95%.

    Attributes:
        mean: over seeds and images.
        lower, upper: one-sided; infinite where nothing bounds them.
    """

    mean: float
    lower: float
    upper: float

    @property
    def negated(self) -> Limits:
        """Those of minus the quantity: a loss read as a gain."""
        return Limits(-self.mean, -self.upper, -self.lower)


def over_images(values: np.ndarray) -> Limits:
    """Limits of the mean over the population of images: (N,) -> three numbers.

    The upper limit is the m at which the test of "the mean is below m" (``paired_t``: Johnson 1978, Hall 1992, which
    corrects for skewness) has p = 5%: mean + s / sqrt(N) u, u = ((1 + a (t - a / 6))^(1/3) - 1) 3 / a with t the 95%
    quantile of Student's t, a = -g / sqrt(N) and g the sample skewness. The lower one is its mirror image.

    Returns:
        Infinite limits for fewer than 10 images or values that are not finite.
    """
    mean, error = mean_and_stderr(values)
    n = values.size
    if n < MIN_IMAGES or not math.isfinite(mean):
        return Limits(mean, -math.inf, math.inf)
    if error == 0:
        return Limits(mean, mean, mean)
    deviations = (values - mean) / (error * math.sqrt(n))
    skewness = float(np.sum(deviations**3)) * n / ((n - 1) * (n - 2))
    a, t = skewness / math.sqrt(n), float(stats.t.ppf(1 - LEVEL, n - 1))
    return Limits(mean, mean - error * _inverse(a, t), mean + error * _inverse(-a, t))


def _inverse(a: float, y: float) -> float:
    """The t with ((1 + a t / 3)^3 - 1) / a + a / 6 = y."""
    return y if abs(a) < 1e-9 else float(np.cbrt(1 + a * (y - a / 6)) - 1) * 3 / a


def over_seeds(left: np.ndarray, right: np.ndarray) -> Limits:
    """Limits of mean(left) - mean(right) for methods, each trained from several seeds: (S_L, N), (S_R, N).

    Student's t on seed means with min(S_L, S_R) - 1 degrees of freedom, images added to the variance
    (``welch_over_seeds``). Two seeds leave one degree of freedom, whose quantile is 6.3: wide, and rightly so.

    Returns:
        Infinite limits for a single seed, or where ``welch_over_seeds`` makes no test.
    """
    found = welch_over_seeds(left, right)
    if found.obstacle:
        return Limits(found.mean, -math.inf, math.inf)
    reach = float(stats.t.ppf(1 - LEVEL, found.df)) * found.stderr
    return Limits(found.mean, found.mean - reach, found.mean + reach)
