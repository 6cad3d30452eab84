"""The tests behind a verdict, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import (
    FEW_IMAGES,
    ONE_SEED,
    SEEDS_ALIKE,
    holm,
    mean_and_stderr,
    paired_t,
    welch_over_seeds,
)

LEVEL = 0.05 / 14  # the first threshold of Holm's correction in a report with seven pairs


def test_paired_t_by_hand() -> None:
    # Twelve values 1 and 3, half each: mean 2, no skewness, s^2 = 12/11, s.e. = 1 / sqrt(11), t = 2 sqrt(11).
    result = paired_t(np.array([1.0, 3.0] * 6))
    assert result.mean == pytest.approx(2)
    assert result.stderr == pytest.approx(1 / np.sqrt(11))
    assert (result.df, result.n, result.obstacle) == (11, 12, "")
    assert result.p == pytest.approx(stats.t.sf(2 * np.sqrt(11), 11))


def test_the_skewness_correction_by_hand() -> None:
    values = np.array([-3.0, 1, 1, 1, 1, 1, 1, 1, 1, 2])
    n, mean = 10, 0.7
    s = np.sqrt(np.sum((values - mean) ** 2) / 9)
    g = np.sqrt(n * (n - 1)) / (n - 2) * np.mean((values - mean) ** 3) / np.mean((values - mean) ** 2) ** 1.5
    a, t = g / np.sqrt(n), mean / (s / np.sqrt(n))
    result = paired_t(values)
    assert g < 0
    assert result.p == pytest.approx(stats.t.sf(t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6, 9))
    assert result.p > stats.t.sf(t, 9)


def test_paired_t_is_one_sided() -> None:
    up, down = paired_t(np.array([0.0, 2.0, 1.0] * 4)), paired_t(-np.array([0.0, 2.0, 1.0] * 4))
    assert up.p < 0.05
    assert down.p == up.p_below == pytest.approx(1 - up.p)
    assert up.p_two_sided == pytest.approx(2 * up.p)
    assert down.p_two_sided == pytest.approx(2 * up.p)


@pytest.mark.parametrize("values", [[1.0], [1.0, -np.inf], [np.inf, 0.0], [0.0] * 12, [np.nan] * 12, [np.inf, -np.inf]])
def test_paired_t_concludes_nothing_where_nothing_can_be(values: list[float]) -> None:
    result = paired_t(np.array(values))
    assert result.p == 1.0
    assert result.p_two_sided == 1.0


def test_a_constant_difference_takes_ten_images() -> None:
    assert paired_t(np.full(10, 0.001)).p == 0.0
    assert paired_t(np.full(10, -0.001)).p_two_sided == 0.0
    few = paired_t(np.full(9, 0.001))
    assert (few.p, few.obstacle) == (1.0, FEW_IMAGES)


def test_skewed_differences_keep_the_level() -> None:
    """Centred differences with skewness -1.9 on 250 images: at most 1.3 times the level; plain t has 2.2 times.

    8,000 tests: the standard error of the first ratio is .19.
    """
    rng = np.random.default_rng(0)
    shape, corrected, plain = 4 / 1.9**2, 0, 0
    for _ in range(8_000):
        result = paired_t(shape - rng.gamma(shape, 1, 250))
        corrected += result.p <= LEVEL
        plain += stats.t.sf(result.mean / result.stderr, result.df) <= LEVEL
    assert corrected / 8_000 / LEVEL <= 1.3
    assert plain / 8_000 / LEVEL > 1.7


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made monotone: .04 .06 .06 .06
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]).size == 0


def test_welch_by_hand() -> None:
    # Twelve images, three and two seeds. Per-seed means: left 1, 2, 3 (variance 1), right 0, 1 (variance 1/2).
    left = np.array([[0.5, 1.5] * 6, [1.5, 2.5] * 6, [2.5, 3.5] * 6])
    right = np.array([[0.0, 0.0] * 6, [1.0, 1.0] * 6])
    result = welch_over_seeds(left, right)
    # seed averages: left (1.5, 2.5, ...), right .5: differences 1, 2, ... with variance 3/11 over 12 images
    stderr = np.sqrt(1 / 3 + 0.5 / 2 + 3 / 11 / 12)
    assert result.mean == pytest.approx(1.5)
    assert result.stderr == pytest.approx(stderr)
    assert (result.df, result.seeds) == (1, 2)
    assert result.p == pytest.approx(stats.t.sf(1.5 / stderr, 1))
    assert result.p_below == pytest.approx(1 - result.p)


def test_welch_needs_two_seeds_of_each_that_differ() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 20))
    assert welch_over_seeds(noise[:1] + 9, noise).obstacle == ONE_SEED
    copies = welch_over_seeds(np.tile(noise[:1], (8, 1)) + 9, np.tile(noise[1:2], (8, 1)))
    assert (copies.p, copies.p_two_sided, copies.obstacle) == (1.0, 1.0, SEEDS_ALIKE)
    few = welch_over_seeds(noise[:, :9] + 9, noise[:, :9])
    assert (few.p, few.obstacle) == (1.0, FEW_IMAGES)


def test_few_unequal_seeds_keep_the_level() -> None:
    """3 against 3 seeds of equal methods with standard deviations 1 and .1, at .05/14: at most the nominal rate.

    10,000 tests: 36 rejections are nominal, 10 are made. Welch's own degrees of freedom make 55, four make 132.
    """
    rng = np.random.default_rng(1)
    images = 0.01 * np.tile([-1.0, 1.0], 5)  # what images add is negligible
    rejected = 0
    for means in rng.normal(size=(10_000, 2, 3, 1)):
        rejected += welch_over_seeds(means[0] + images, 0.1 * means[1] + 0 * images).p <= LEVEL
    assert rejected / 10_000 <= LEVEL


def test_standard_error_by_hand() -> None:
    assert mean_and_stderr(np.array([0.0, 2.0])) == pytest.approx((1.0, 1.0))
