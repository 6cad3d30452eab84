"""The tests behind a verdict: paired t over images, Welch's t over seeds, Holm's correction.

All are one-sided: the question is always "is the mean of these differences above zero?".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class TestResult:
    """A mean difference, its standard error (nats per image) and the one-sided p-value of "it is above zero".

    Attributes:
        mean: nats per image.
        stderr: nats per image; NaN where it cannot be computed.
        df: degrees of freedom; NaN where there are none.
        p: in [0, 1]; 1 where no test can be made.
        n: how many images it is over.
    """

    mean: float
    stderr: float
    df: float
    p: float
    n: int

    @property
    def p_two_sided(self) -> float:
        """The p-value of "it is not zero"; 1 where no test can be made."""
        return min(1.0, 2 * _upper_tail(abs(self.mean), self.stderr, self.df))

    __test__ = False  # not a test case, whatever the name suggests to a collector


def mean_and_stderr(values: np.ndarray) -> tuple[float, float]:
    """Mean of (N,) values and its standard error, s / sqrt(N) with s over N - 1; NaN for N = 1.

    A single -inf among the values makes the mean -inf and the error NaN: that is the truth about it.
    """
    mean = float(np.mean(values))
    if values.size < 2 or not np.isfinite(mean):
        return mean, float("nan")
    return mean, float(np.std(values, ddof=1) / np.sqrt(values.size))


def paired_t(differences: np.ndarray) -> TestResult:
    """One-sided paired t-test over images: t = mean / (s / sqrt(N)), p = P(T_{N-1} > t).

    Args:
        differences: (N,) nats, one per image. Pairing removes the spread between easy and hard images, which is ten
            times the differences of interest. Monte Carlo noise that is independent between images is part of s.

    Returns:
        p = 1 for N < 2 or a non-finite mean: nothing can be concluded from it.
    """
    mean, stderr = mean_and_stderr(differences)
    n, df = differences.size, float(differences.size - 1)
    return TestResult(mean, stderr, df, _upper_tail(mean, stderr, df), n)


def welch_over_seeds(left: np.ndarray, right: np.ndarray) -> TestResult:
    """One-sided Welch t-test of two methods, each trained from several seeds and scored on the same images.

    Per-seed means m_s are the units: D = mean_s m_s(left) - mean_s m_s(right). The variance has three parts,
    v_L = var_s(m_s) / S_L, v_R likewise, and v_N = var_i(d_i) / N with d_i the difference of seed averages on image i;
    t = D / sqrt(v_L + v_R + v_N). Degrees of freedom are Welch's from the seeds alone,
    (v_L + v_R)^2 / (v_L^2 / (S_L - 1) + v_R^2 / (S_R - 1)): v_N has many more and would only raise them, and the
    interaction of seed and image counts in both, so the test errs on the side of silence. (Welch 1947, Biometrika 34.)

    Args:
        left: (S_L, N) nats, seeds by images.
        right: (S_R, N) nats, the same images.
    """
    differences = left.mean(axis=0) - right.mean(axis=0)
    mean, image_error = mean_and_stderr(differences)
    n = differences.size
    if min(len(left), len(right)) < 2 or not np.isfinite(image_error):
        return TestResult(mean, float("nan"), float("nan"), 1.0, n)
    parts = [float(np.var(side.mean(axis=1), ddof=1)) / len(side) for side in (left, right)]
    seeds = sum(parts)
    spread = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (left, right), strict=True))
    # Seeds that agree to the last digit say nothing of their spread: take the fewest degrees of freedom.
    df = seeds**2 / spread if spread > 0 else float(min(len(left), len(right)) - 1)
    stderr = float(np.sqrt(seeds + image_error**2))
    return TestResult(mean, stderr, df, _upper_tail(mean, stderr, df), n)


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


def _upper_tail(mean: float, stderr: float, df: float) -> float:
    if not (np.isfinite(mean) and np.isfinite(stderr) and df > 0):
        return 1.0
    if stderr == 0:  # the same difference on every image: no noise to doubt it with
        return 0.0 if mean > 0 else 1.0
    return float(stats.t.sf(mean / stderr, df))
