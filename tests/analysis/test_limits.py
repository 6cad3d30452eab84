"""One-sided limits: against the test they invert, their coverage, and Student's t by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.limits import Limits, over_images, over_seeds
from analysis.statistics import paired_t


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("n", [12, 250])
def test_the_test_of_a_mean_at_its_limit_has_five_percent(n: int, skewed: bool) -> None:
    rng = np.random.default_rng(3)
    values = rng.gamma(1.0, 2.0, n) if skewed else rng.normal(0.3, 2.0, n)
    found = over_images(values)
    assert found.mean == pytest.approx(values.mean())
    assert paired_t(found.upper - values).p == pytest.approx(0.05, rel=1e-6)
    assert paired_t(values - found.lower).p == pytest.approx(0.05, rel=1e-6)
    mirrored = over_images(-values)
    assert (mirrored.lower, mirrored.upper) == pytest.approx((-found.upper, -found.lower))
    assert found.negated == Limits(-found.mean, -found.upper, -found.lower)


def test_without_skewness_it_is_students_interval() -> None:
    values = np.concatenate([np.arange(-10.0, 11.0), [0.0]])
    reach = stats.t.ppf(0.95, 21) * values.std(ddof=1) / math.sqrt(22)
    found = over_images(values + 5)
    assert (found.lower, found.upper) == pytest.approx((5 - reach, 5 + reach))


def test_skewed_differences_are_covered_as_promised() -> None:
    """A gamma of mean 1: the plain t-interval's upper limit lies below the mean far more often than 5%."""
    rng = np.random.default_rng(0)
    sets = rng.gamma(0.5, 2.0, (4000, 100))
    missed = np.mean([over_images(values).upper < 1 for values in sets])
    plain = sets.mean(1) + stats.t.ppf(0.95, 99) * sets.std(1, ddof=1) / 10
    assert np.mean(plain < 1) > 0.07
    assert missed == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("values", [np.zeros(9), np.full(20, -np.inf), np.r_[np.zeros(20), np.nan]])
def test_what_cannot_be_tested_has_no_limit(values: np.ndarray) -> None:
    found = over_images(values)
    assert (found.lower, found.upper) == (-math.inf, math.inf)


def test_a_constant_is_its_own_limit() -> None:
    assert over_images(np.full(20, 1.5)) == Limits(1.5, 1.5, 1.5)


def test_two_seeds_have_one_degree_of_freedom() -> None:
    rng = np.random.default_rng(1)
    left = rng.normal(0, 1, 50) + np.array([[0.0], [0.4]])
    right = rng.normal(-1, 1, 50) + np.array([[0.1], [0.2], [0.6]])
    difference = left.mean(0) - right.mean(0)
    variance = 0.4**2 / 2 / 2 + np.var([0.1, 0.2, 0.6], ddof=1) / 3 + difference.var(ddof=1) / 50
    found = over_seeds(left, right)
    reach = 6.313752 * math.sqrt(variance)
    assert (found.mean, found.lower, found.upper) == pytest.approx(
        (difference.mean(), difference.mean() - reach, difference.mean() + reach), rel=1e-6
    )


@pytest.mark.parametrize("left", [np.zeros((1, 50)), np.zeros((2, 5))])
def test_a_single_seed_or_few_images_bound_nothing(left: np.ndarray) -> None:
    found = over_seeds(left, left + 1)
    assert (found.lower, found.upper) == (-math.inf, math.inf)
