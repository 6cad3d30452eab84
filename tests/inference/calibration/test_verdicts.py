"""Words for planted deviations, their false alarms, and coverage against the binomial distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm

from inference.calibration import NOTHING_FOUND, Ranks, judge
from inference.calibration.verdicts import central_coverage

DRAWS = 199


def as_ranks(*rows: np.ndarray, draws: int = DRAWS) -> Ranks:
    names = (*[f"z[{i}]" for i in range(len(rows) - 1)], "log p(x, z)")
    return Ranks(names, np.stack(rows), draws, torch.zeros(1), torch.zeros(1), torch.zeros(1, 1))


def planted(shift: float = 0.0, width: float = 1.0, count: int = 1000) -> np.ndarray:
    """Ranks, among many draws of N(0, 1), of truths that are the quantiles of N(shift, width^2): no chance in it."""
    truth = shift + width * norm.ppf((np.arange(count) + 0.5) / count)
    return np.floor((DRAWS + 1) * norm.cdf(truth)).astype(int)


@pytest.mark.parametrize(
    ("shift", "width", "expected"),
    [
        (0.0, 1.0, NOTHING_FOUND),
        (0.0, 1.25, "overconfident"),
        (0.0, 0.8, "underconfident"),
        (0.3, 1.0, "biased low"),
        (-0.3, 1.0, "biased high"),
        (0.4, 1.4, "biased low, overconfident"),
        (-0.4, 0.7, "biased high, underconfident"),
    ],
)
def test_what_was_planted_is_named(shift: float, width: float, expected: str) -> None:
    even = planted()
    verdicts = judge(as_ranks(planted(shift, width), even, even))
    assert verdicts.words == (expected, NOTHING_FOUND, NOTHING_FOUND)
    # a truth beyond all 199 draws has the last rank, however far it is: that trims the widest ones
    assert verdicts.location[0] == pytest.approx(shift, abs=0.01 if width <= 1 else 0.03)
    assert verdicts.spread[0] == pytest.approx(width, abs=0.02 if width <= 1 else 0.08)
    assert (verdicts.p_values[0] <= 0.05 / 3) == (expected != NOTHING_FOUND)


def test_a_deviation_of_no_named_kind() -> None:
    """Two humps whose normal scores have mean 0 and variance 1, and a log joint that is wide."""
    humps = np.where(np.arange(1000) % 2, 1, -1) * np.abs(np.random.default_rng(3).normal(0.95, 0.3, 1000))
    ranks = np.floor((DRAWS + 1) * norm.cdf(humps)).astype(int)
    assert judge(as_ranks(ranks, planted(0, 1.3))).words == ("miscalibrated", "miscalibrated")


@pytest.mark.parametrize(("z", "expected"), [(2.2, "miscalibrated"), (2.8, "biased low"), (-2.8, "biased high")])
def test_a_bias_is_named_from_its_own_level_on(z: float, expected: str) -> None:
    """Two humps leave the band whatever their mean; a mean of z standard errors is a bias beyond Phi^-1 at
    1 - 5% / (2 tests x 2 quantities x 2 sides), which is 2.50."""
    signs = np.where(np.arange(1000) % 2, 1, -1)
    humps = signs * np.abs(np.random.default_rng(3).normal(0.95, 0.3, 1000))
    humps += z / 1000**0.5 - humps.mean()
    ranks = np.floor((DRAWS + 1) * norm.cdf(humps)).astype(int)
    assert judge(as_ranks(ranks, planted())).words[0] == expected


def test_words_of_the_log_joint() -> None:
    """The truth less probable than the draws: these sit at the mode."""
    even = planted()
    assert judge(as_ranks(even, planted(-0.4))).words[1] == "draws too probable"
    assert judge(as_ranks(even, planted(0.4))).words[1] == "draws too improbable"


def test_false_alarms_over_all_quantities() -> None:
    """300 calibrated guides of 6 quantities: at most 5% of them are found fault with, up to binomial chance."""
    rng = np.random.default_rng(0)
    alarms = sum(
        any(word != NOTHING_FOUND for word in judge(as_ranks(*rng.integers(0, 20, (6, 1000)), draws=19)).words)
        for _ in range(300)
    )
    interval = binomtest(alarms, 300).proportion_ci(0.999)
    assert interval.low <= 0.05
    assert interval.high >= 0.03  # Bonferroni over independent quantities loses little: 1 - (1 - .05 / 6)^6 = .049


@pytest.mark.parametrize(("draws", "levels"), [(199, [0.5, 0.8, 0.95]), (99, [0.5, 0.8, 0.96]), (19, [0.5, 0.8, 0.9])])
def test_coverage_is_counted_and_its_level_is_exact(draws: int, levels: list[float]) -> None:
    rng = np.random.default_rng(1)
    truth, sample = rng.normal(size=(1, 1000)), rng.normal(size=(1000, draws))
    ranks = (sample < truth.T).sum(1)[None]
    found, coverage, lower, upper = central_coverage(ranks, draws)
    assert found == pytest.approx(levels)
    ordered = np.sort(sample, 1)
    for row, level in enumerate(levels):
        a = round((1 - levels[row]) / 2 * (draws + 1))  # whole, for these exact levels
        inside = ((ordered[:, a - 1] <= truth[0]) & (truth[0] <= ordered[:, draws - a])).sum()
        interval = binomtest(int(inside), 1000).proportion_ci(0.95, method="exact")
        assert coverage[row, 0] == inside / 1000
        assert (lower[row, 0], upper[row, 0]) == pytest.approx((interval.low, interval.high))
        assert abs(inside / 1000 - level) < 4.5 * (level * (1 - level) / 1000) ** 0.5


def test_intervals_of_all_and_of_nothing() -> None:
    _, coverage, lower, upper = central_coverage(np.array([[100] * 50, [0] * 50]), DRAWS)
    assert coverage[0].tolist() == [1, 0]
    assert (upper[0, 0], lower[0, 1]) == (1, 0)
    assert lower[0, 0] == pytest.approx(0.025 ** (1 / 50))
    assert upper[0, 1] == pytest.approx(1 - 0.025 ** (1 / 50))
