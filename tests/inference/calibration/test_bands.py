"""Bands for uniform ranks against enumeration of all histograms, and against simulation."""

from __future__ import annotations

from itertools import product
from math import factorial

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from inference.calibration.bands import counts_below, p_value, probability_inside, uniform_band


def every_histogram(num_ranks: int, draws: int) -> list[tuple[tuple[int, ...], float]]:
    """All histograms of S uniform ranks on 0..L, with their multinomial probabilities."""
    found = []
    for histogram in product(range(num_ranks + 1), repeat=draws + 1):
        if sum(histogram) == num_ranks:
            ways = factorial(num_ranks) / np.prod([float(factorial(n)) for n in histogram])
            found.append((histogram, ways / (draws + 1.0) ** num_ranks))
    assert sum(p for _, p in found) == pytest.approx(1)
    return found


def as_ranks(histogram: tuple[int, ...]) -> np.ndarray:
    return np.repeat(np.arange(len(histogram)), histogram)


@pytest.mark.parametrize(("lower", "upper"), [([0, 0, 0], [7, 7, 7]), ([1, 2, 4], [3, 5, 7]), ([2, 2, 5], [2, 4, 6])])
def test_probability_inside_is_that_of_all_histograms(lower, upper) -> None:
    expected = 0.0
    for histogram, probability in every_histogram(7, 3):
        below = np.cumsum(histogram)[:3]
        expected += probability * bool((below >= lower).all() and (below <= upper).all())
    assert probability_inside(np.array(lower), np.array(upper), 7) == pytest.approx(expected, abs=1e-12)


def deviation(histogram: tuple[int, ...]) -> float:
    """The smallest two-sided binomial probability over the points, from the definition."""
    total, points = sum(histogram), len(histogram)
    least = 1.0
    for i in range(1, points):
        masses = [binom.pmf(c, total, i / points) for c in range(total + 1)]
        c = sum(histogram[:i])
        least = min(least, 2 * min(sum(masses[: c + 1]), sum(masses[c:])))
    return least


def test_the_p_value_is_the_mass_of_what_deviates_as_much() -> None:
    table = [(h, p, deviation(h)) for h, p in every_histogram(6, 3)]
    for histogram, _, own in table[::5]:
        expected = sum(p for _, p, other in table if other <= own * (1 + 1e-9))
        assert p_value(as_ranks(histogram), 3) == pytest.approx(expected, abs=1e-9)


def test_counts_below() -> None:
    assert counts_below(np.array([0, 0, 3, 2, 3]), 3).tolist() == [2, 2, 3]
    assert counts_below(np.array([[[0, 1]], [[2, 2]]]), 2).tolist() == [[[1, 2]], [[0, 0]]]


@pytest.mark.parametrize(("draws", "level"), [(19, 0.05), (99, 0.05), (99, 0.05 / 17)])
def test_uniform_ranks_leave_the_band_as_often_as_it_says(draws: int, level: float) -> None:
    """Within a 99.9% binomial interval of 5,000 repetitions, and never more often than asked for."""
    band = uniform_band(1000, draws, level)
    assert 0.9 * level < band.false_alarms <= level
    repetitions = 5000
    ranks = np.random.default_rng(1).integers(0, draws + 1, (repetitions, 1000), dtype=np.int16)
    outside = int((~band.holds(ranks)).sum())
    interval = binomtest(outside, repetitions).proportion_ci(0.999)
    assert interval.low <= band.false_alarms <= interval.high


def test_one_point_outside_is_outside() -> None:
    """Whichever point and side it is."""
    band = uniform_band(1000, 19, 0.05)
    middle = np.repeat(np.arange(20), 50)
    assert band.holds(middle)
    for point in range(19):
        for bound, step in ((band.lower[point] - 1, "low"), (band.upper[point] + 1, "high")):
            histogram = np.full(20, 0)
            histogram[0], histogram[point + 1] = bound, 1000 - bound
            assert not band.holds(as_ranks(tuple(histogram))), step


def test_the_p_value_agrees_with_the_band() -> None:
    band = uniform_band(1000, 39, 0.05)
    rng = np.random.default_rng(2)
    bent = (40 * rng.beta(1, np.linspace(1, 1.12, 60)[:, None], (60, 1000))).astype(int)
    small = np.array([p_value(row, 39) <= 0.05 for row in bent])
    assert np.array_equal(small, ~band.holds(bent))
    assert 5 < small.sum() < 55


@pytest.mark.parametrize("at_zero", [160, 225, 235, 1000])
def test_ranks_that_could_hardly_be_worse_have_a_p_value_of_zero_without_a_warning(at_zero: int) -> None:
    """Probabilities down to 1e-290, where scipy's binomial quantiles warn that they found nothing."""
    ranks = np.concatenate([np.zeros(at_zero, int), np.linspace(0, 199, 1000 - at_zero).round().astype(int)])
    assert 0 <= p_value(ranks, 199) < 1e-12
