"""What ranks that are not uniform say of the guide: words that follow from the band and two statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts where they are used: together they take a second

from .bands import Band, p_value, uniform_band
from .ranks import LOG_JOINT, Ranks

FAMILY_WISE = 0.05
LEVELS = (0.5, 0.8, 0.95)
INTERVAL = 0.95
NOTHING_FOUND = "nothing found"


@dataclass(frozen=True)
class Verdicts:
    """What was found per quantity, in the order of ``Ranks.quantities``.

    Attributes:
        band: of one quantity, at level 5% / Q: over all Q the chance of any false alarm is at most 5%.
        words: (Q,) ``nothing found``, or what the ranks show.
        p_values: (Q,) of uniformity, not corrected.
        location, spread: (Q,) mean and standard deviation of the ranks' normal scores: 0 and 1 if calibrated.
        levels: (3,) exact coverage of the central intervals under calibration, near 50, 80 and 95%.
        coverage, lower, upper: (3, Q) share of truths inside, with a 95% binomial interval, not corrected.
    """

    band: Band
    words: tuple[str, ...]
    p_values: np.ndarray
    location: np.ndarray
    spread: np.ndarray
    levels: np.ndarray
    coverage: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def judge(ranks: Ranks, family_wise: float = FAMILY_WISE) -> Verdicts:
    """The verdict on every quantity.

    A quantity whose ranks leave the band is not calibrated. What is wrong is then read off the normal scores
    w = Phi^-1((rank + 1/2) / (L + 1)), which have a known mean and variance under uniformity: a mean off zero is a
    bias, a variance above its own says that intervals are too narrow for how often they miss (overconfident), below it
    that they are too wide. Each is named where it is significant at 5% / (2 Q), and ``miscalibrated`` where neither is.
    """
    count = len(ranks.quantities)
    band = uniform_band(ranks.ranks.shape[1], ranks.draws, family_wise / count)
    location, spread, scores = normal_scores(ranks.ranks, ranks.draws)
    critical = scipy.stats.norm.isf(family_wise / count / 4)
    words = [
        NOTHING_FOUND if inside else word(name, *(np.sign(s) * (abs(s) > critical) for s in score))
        for name, inside, score in zip(ranks.quantities, band.holds(ranks.ranks), scores.T, strict=True)
    ]
    levels, coverage, lower, upper = central_coverage(ranks.ranks, ranks.draws)
    p_values = np.array([p_value(row, ranks.draws) for row in ranks.ranks])
    return Verdicts(band, tuple(words), p_values, location, spread, levels, coverage, lower, upper)


def word(quantity: str, shift: float, width: float) -> str:
    """What is wrong, from the signs (or 0) of the deviations of location and spread.

    The truth of a latent above the draws means that these are too low. For log p(x, z) the truth below the draws means
    that these sit closer to the mode than the posterior does; above them, that they miss it, or spread too far.
    """
    if quantity == LOG_JOINT:
        return {-1: "draws too probable", 1: "draws too improbable"}.get(int(shift), "miscalibrated")
    biased, confident = {-1: "biased high", 1: "biased low"}, {-1: "underconfident", 1: "overconfident"}
    found = [biased.get(int(shift)), confident.get(int(width))]
    return ", ".join(part for part in found if part) or "miscalibrated"


def normal_scores(ranks: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Location and spread (Q,) of the normal scores of ranks (Q, S), and their z statistics (2, Q) under uniformity."""
    table = scipy.stats.norm.ppf((np.arange(draws + 1) + 0.5) / (draws + 1))
    variance, fourth = np.mean(table**2), np.mean(table**4)
    scores, count = table[ranks], ranks.shape[1]
    location, found = scores.mean(1), scores.var(1, ddof=1)
    of_location = location / np.sqrt(variance / count)
    of_spread = (found - variance) / np.sqrt((fourth - variance**2) / count)
    return location, np.sqrt(found / variance), np.stack([of_location, of_spread])


def central_coverage(ranks: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How often central intervals of the draws hold the truth.

    The interval between the a-th smallest and the a-th largest of L draws holds it with probability
    (L + 1 - 2 a) / (L + 1), exactly; a is the nearest to the level wanted.

    Returns:
        The exact levels (3,), and the shares with the ends of their 95% intervals (Clopper & Pearson 1934), (3, Q).
    """
    # halves are rounded to the wider interval, whatever floating point makes of them
    wanted = (1 - np.array(LEVELS)) / 2 * (draws + 1)
    count, tails = ranks.shape[1], np.maximum(1, np.ceil(wanted - 0.5 - 1e-9)).astype(int)
    inside = np.stack([((ranks >= a) & (ranks <= draws - a)).sum(1) for a in tails])
    rest = (1 - INTERVAL) / 2
    lower = np.where(inside > 0, scipy.stats.beta.ppf(rest, np.maximum(inside, 1), count - inside + 1), 0.0)
    upper = np.where(inside < count, scipy.stats.beta.isf(rest, inside + 1, np.maximum(count - inside, 1)), 1.0)
    return 1 - 2 * tails / (draws + 1), inside / count, lower, upper
