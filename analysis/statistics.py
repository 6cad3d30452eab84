"""The tests behind a verdict: paired t over images, Welch's t over seeds, Holm's correction.

All are one-sided: the question is always "is the mean of these differences above zero?".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_IMAGES = 10
NOT_FINITE = "not finite"
FEW_IMAGES = "few images"
ONE_SEED = "one seed"
SEEDS_ALIKE = "seeds alike"


@dataclass(frozen=True)
class TestResult:
    """A mean difference, its standard error (nats per image) and the one-sided p-value of "it is above zero".

    Attributes:
        mean: nats per image.
        stderr: nats per image; NaN where it cannot be computed.
        df: degrees of freedom; NaN where there are none.
        p: in [0, 1]; 1 where no test can be made.
        p_below: the p-value of "it is below zero"; 1 where no test can be made.
        n: how many images it is over.
        obstacle: why no test can be made, one of the four words of this module; empty where one was made.
        seeds: the smaller number of seeds of a test over seeds; 1 for a test over images alone.
    """

    mean: float
    stderr: float
    df: float
    p: float
    p_below: float
    n: int
    obstacle: str = ""
    seeds: int = 1

    @property
    def p_two_sided(self) -> float:
        """The p-value of "it is not zero", twice the smaller one-sided p; 1 where no test can be made."""
        return min(1.0, 2 * min(self.p, self.p_below))

    __test__ = False  # not a test case, whatever the name suggests to a collector


def mean_and_stderr(values: np.ndarray) -> tuple[float, float]:
    """Mean of (N,) values and its standard error, s / sqrt(N) with s over N - 1; NaN for N = 1.

    A single -inf among the values makes the mean -inf and the error NaN: that is the truth about it.
    """
    with np.errstate(invalid="ignore"):  # inf - inf, a NaN
        mean = float(np.mean(values))
    if values.size < 2 or not np.isfinite(mean):
        return mean, float("nan")
    return mean, float(np.std(values, ddof=1) / np.sqrt(values.size))


def paired_t(differences: np.ndarray) -> TestResult:
    """One-sided paired t-test over images, corrected for skewness: p = P(T_{N-1} > h(t)), t = mean / (s / sqrt(N)).

    h(t) = t + a t^2 / 3 + a^2 t^3 / 27 + a / 6 with a = g / sqrt(N) and g the sample skewness of the differences. It is
    Johnson's (1978, JASA 73) correction made monotone by Hall (1992, JRSS B 54), so that a clearer difference is never
    less significant. Differences of log p(x) are skewed: a few images are impossible for one program. With skewness
    -1.9 (a gamma's) and at level .05/14, the plain t-test rejects a true null hypothesis at 9.9, 6.2, 3.5, 2.2 and
    1.5 times the level for N = 10, 30, 100, 250 and 1000; this test does at 4.0, 1.9, 1.3, 1.0 and 0.9 times
    (simulated, 120,000 tests each, 40,000 for N = 1000). It is still liberal below some 100 images.

    Args:
        differences: (N,) nats, one per image. Pairing removes the spread between easy and hard images, which is ten
            times the differences of interest. Monte Carlo noise that is independent between images is part of s.

    Returns:
        p = 1 for a non-finite mean, and for N < 10: from fewer images neither s nor the skewness is known, and two that
        happen to differ by the same amount would have no error at all.
    """
    mean, stderr = mean_and_stderr(differences)
    n, df = differences.size, float(differences.size - 1)
    obstacle = _obstacle(differences)
    if obstacle:
        return TestResult(mean, stderr, df, 1.0, 1.0, n, obstacle)
    if stderr == 0:  # the same difference on ten images or more: no noise to doubt it with
        return TestResult(mean, stderr, df, float(mean <= 0), float(mean >= 0), n)
    deviations = (differences - mean) / (stderr * np.sqrt(n))
    skewness = float(np.sum(deviations**3)) * n / ((n - 1) * (n - 2))
    a, t = skewness / np.sqrt(n), mean / stderr
    corrected = t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6
    return TestResult(mean, stderr, df, float(stats.t.sf(corrected, df)), float(stats.t.cdf(corrected, df)), n)


def welch_over_seeds(left: np.ndarray, right: np.ndarray) -> TestResult:
    """One-sided t-test of two methods, each trained from several seeds and scored on the same images.

    Per-seed means m_s are the units: D = mean_s m_s(left) - mean_s m_s(right). The variance has three parts,
    v_L = var_s(m_s) / S_L, v_R likewise, and v_N = var_i(d_i) / N with d_i the difference of seed averages on image i;
    t = D / sqrt(v_L + v_R + v_N), as Welch's (1947, Biometrika 34) with the images added. Degrees of freedom are
    min(S_L, S_R) - 1 and not Welch's estimate, which is liberal for a handful of seeds at the levels that Holm's
    correction asks for (up to 24 times with unequal variances). Whatever the two variances are, this many keep the
    level if the seed means are normal (Mickey and Brown 1966, Annals of Mathematical Statistics 37). The interaction of
    seed and image counts in the parts over seeds and in v_N, so the test errs on the side of silence: three seeds
    decide clear differences only.

    Args:
        left: (S_L, N) nats, seeds by images.
        right: (S_R, N) nats, the same images.

    Returns:
        p = 1 for a single seed, fewer than 10 images, a non-finite mean, and where the seeds of both agree to the last
        digit: that says nothing of their spread.
    """
    with np.errstate(invalid="ignore"):  # inf - inf, a NaN
        differences = left.mean(axis=0) - right.mean(axis=0)
    mean, image_error = mean_and_stderr(differences)
    n, seeds = differences.size, min(len(left), len(right))
    obstacle = _obstacle(differences) or (ONE_SEED if seeds < 2 else "")
    if obstacle:
        return TestResult(mean, float("nan"), float("nan"), 1.0, 1.0, n, obstacle, seeds)
    over_seeds = sum(float(np.var(side.mean(axis=1), ddof=1)) / len(side) for side in (left, right))
    df, stderr = float(seeds - 1), float(np.sqrt(over_seeds + image_error**2))
    if over_seeds == 0:
        return TestResult(mean, stderr, df, 1.0, 1.0, n, SEEDS_ALIKE, seeds)
    t = mean / stderr
    return TestResult(mean, stderr, df, float(stats.t.sf(t, df)), float(stats.t.cdf(t, df)), n, "", seeds)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values: the j-th smallest of m becomes max over i <= j of min(1, (m - i + 1) p_(i)).

    Rejecting where the adjusted value is <= 5% keeps the chance of any false rejection at 5%, whatever the dependence
    between the tests. (Holm 1979, Scandinavian Journal of Statistics 6.)
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, (p.size - np.arange(p.size)) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def _obstacle(differences: np.ndarray) -> str:
    """Why these differences allow no test; empty if they do."""
    if not np.all(np.isfinite(differences)):
        return NOT_FINITE
    return FEW_IMAGES if differences.size < MIN_IMAGES else ""
