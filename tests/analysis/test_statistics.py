"""The tests behind a verdict, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import holm, mean_and_stderr, paired_t, welch_over_seeds


def test_paired_t_by_hand() -> None:
    # mean 2, deviations -1, 0, 1, so s = 1, s.e. = 1 / sqrt(3), t = 2 sqrt(3) with 2 degrees of freedom.
    result = paired_t(np.array([1.0, 2.0, 3.0]))
    assert result.mean == pytest.approx(2)
    assert result.stderr == pytest.approx(1 / np.sqrt(3))
    # The t distribution with 2 degrees of freedom has the closed tail 1/2 - t / (2 sqrt(2 + t^2)).
    t = 2 * np.sqrt(3)
    assert result.p == pytest.approx(0.5 - t / (2 * np.sqrt(2 + t**2)))


def test_paired_t_is_one_sided() -> None:
    up, down = paired_t(np.array([1.0, 2.0, 3.0])), paired_t(-np.array([1.0, 2.0, 3.0]))
    assert up.p < 0.05
    assert down.p == pytest.approx(1 - up.p)
    assert up.p_two_sided == down.p_two_sided == pytest.approx(2 * up.p)


@pytest.mark.parametrize("values", [[1.0], [1.0, -np.inf], [np.inf, 0.0], [0.0, 0.0, 0.0], [np.nan, 1.0]])
def test_paired_t_concludes_nothing_where_nothing_can_be(values: list[float]) -> None:
    with np.errstate(invalid="ignore"):
        result = paired_t(np.array(values))
    assert result.p == 1.0
    assert result.p_two_sided == 1.0


def test_a_constant_difference_is_beyond_doubt() -> None:
    assert paired_t(np.full(5, 0.5)).p == 0.0


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made monotone: .04 .06 .06 .06
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]).size == 0


def test_welch_by_hand() -> None:
    # Two images, three and two seeds. Per-seed means: left 1, 2, 3 (variance 1), right 0, 1 (variance 1/2).
    left = np.array([[0.5, 1.5], [1.5, 2.5], [2.5, 3.5]])
    right = np.array([[0.0, 0.0], [1.0, 1.0]])
    result = welch_over_seeds(left, right)
    v_left, v_right = 1 / 3, 0.5 / 2
    # seed averages: left (1.5, 2.5), right (.5, .5): differences 1, 2 with variance 1/2 over 2 images
    v_images = 0.5 / 2
    assert result.mean == pytest.approx(1.5)
    assert result.stderr == pytest.approx(np.sqrt(v_left + v_right + v_images))
    df = (v_left + v_right) ** 2 / (v_left**2 / 2 + v_right**2 / 1)
    assert result.df == pytest.approx(df)
    assert result.p == pytest.approx(stats.t.sf(1.5 / np.sqrt(v_left + v_right + v_images), df))


def test_welch_needs_two_seeds_of_each() -> None:
    assert welch_over_seeds(np.ones((1, 5)), np.zeros((3, 5))).p == 1.0


def test_standard_error_by_hand() -> None:
    assert mean_and_stderr(np.array([0.0, 2.0])) == pytest.approx((1.0, 1.0))
