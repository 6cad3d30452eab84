"""Are these ranks uniform? Simultaneous bands for their distribution function, exact for discrete ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts where they are used: together they take a second

# The search for the pointwise level stops here: a relative width far below what moves a count.
_TOLERANCE = 1e-6
# Binomial probabilities below this are all the same to a p-value, which is 0 to its last digit.
_DEVIANT_ENOUGH = 1e-100


@dataclass(frozen=True)
class Band:
    """Where the distribution function of S ranks in 0..L lies with a stated probability if they are uniform.

    Attributes:
        probability: (L,) p_i = i / (L + 1) = P(rank < i), i = 1..L.
        lower, upper: (L,) integers; the number of ranks below i lies within them, ends included, for all i at once.
        pointwise: gamma, the level of each pair of limits alone.
        false_alarms: probability that uniform ranks leave the band somewhere; at most what was asked for.
    """

    probability: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    pointwise: float
    false_alarms: float

    def holds(self, ranks: np.ndarray) -> np.ndarray:
        """Whether ranks (..., S) stay inside at every point: (...)."""
        counts = counts_below(ranks, len(self.probability))
        return ((counts >= self.lower) & (counts <= self.upper)).all(-1)


def counts_below(ranks: np.ndarray, draws: int) -> np.ndarray:
    """How many of S ranks lie below i, for i = 1..L: (..., S) -> (..., L)."""
    flat = ranks.reshape(-1, ranks.shape[-1])
    histograms = np.stack([np.bincount(row, minlength=draws + 1) for row in flat])
    return histograms.cumsum(-1)[:, :draws].reshape(*ranks.shape[:-1], draws)


def uniform_band(num_ranks: int, draws: int, false_alarms: float) -> Band:
    """The narrowest band of equal pointwise level that S uniform ranks leave with at most the given probability.

    The number of ranks below i is binomial(S, p_i); the limits at p_i are its quantiles gamma / 2 and 1 - gamma / 2,
    and gamma is the largest one for which all limits hold together with probability 1 - ``false_alarms`` (Säilynoja,
    Bürkner & Vehtari 2022, 2103.10522). Ranks among L draws take L + 1 values, so nothing is approximated here.

    Args:
        num_ranks: S.
        draws: L.
        false_alarms: in (0, 1).
    """
    probability = np.arange(1, draws + 1) / (draws + 1)

    def excess(log_gamma: float) -> float:
        lower, upper = _limits(num_ranks, probability, np.exp(log_gamma))
        # a difference that is never zero, so that the search ends at the step itself
        return 1.0 if probability_inside(lower, upper, num_ranks) < 1 - false_alarms else -1.0

    # Gamma = 2 * false_alarms leaves it at one point alone; by Bonferroni gamma = false_alarms / L never does.
    low, high = np.log(false_alarms / draws), np.log(min(1.9, 2.1 * false_alarms))
    gamma = np.exp(scipy.optimize.brentq(excess, low, high, xtol=_TOLERANCE) - 2 * _TOLERANCE)
    lower, upper = _limits(num_ranks, probability, gamma)
    return Band(probability, lower, upper, float(gamma), 1 - probability_inside(lower, upper, num_ranks))


def _limits(num_ranks: int, probability: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    lower, upper = (scipy.stats.binom.ppf(level, num_ranks, probability) for level in (gamma / 2, 1 - gamma / 2))
    return lower.astype(int), upper.astype(int)


def probability_inside(lower: np.ndarray, upper: np.ndarray, num_ranks: int) -> float:
    """P(lower_i <= number of ranks below i <= upper_i for all i = 1..L), S ranks uniform on 0..L.

    The counts of the L + 1 ranks are independent Poisson(S / (L + 1)) given that they sum to S. Their partial sums are
    a Markov chain: its law is convolved with one Poisson step at a time and cut off outside the limits.
    """
    steps = scipy.stats.poisson.pmf(np.arange(num_ranks + 1), num_ranks / (len(lower) + 1))
    steps = steps[: int(np.flatnonzero(steps).max()) + 1]
    first, law = 0, np.ones(1)  # law[k] = P(partial sum = first + k, all limits so far held)
    for low, high in zip([*lower, num_ranks], [*upper, num_ranks], strict=True):
        law = np.convolve(law, steps)
        start, stop = max(low, first), min(high, first + len(law) - 1)
        law, first = law[start - first : stop - first + 1], start
    return min(1.0, float(law.sum() / scipy.stats.poisson.pmf(num_ranks, num_ranks)))


def p_value(ranks: np.ndarray, draws: int) -> float:
    """P(uniform ranks deviate as much at their worst point as these (S,) do); at or below alpha exactly where they
    leave the band of level alpha.

    The deviation at p_i is the two-sided binomial probability 2 min(P(C <= c_i), P(C >= c_i)).
    """
    count, points = len(ranks), np.arange(1, draws + 1) / (draws + 1)
    counts = counts_below(ranks, draws)
    law = scipy.stats.binom(count, points)
    least = np.minimum(law.cdf(counts), law.sf(counts - 1)).min()
    # Equal up to rounding counts as equally deviant. Far below what 1 - P can show, scipy's quantiles lose their way.
    margin = max(least * (1 + 1e-9), _DEVIANT_ENOUGH)
    # what is less deviant: P(C <= c) and P(C >= c) above the least
    lower, upper = (limit.astype(int) for limit in (law.ppf(margin), law.isf(margin)))
    if (lower > upper).any():
        return 1.0
    return 1 - probability_inside(lower, upper, count)
