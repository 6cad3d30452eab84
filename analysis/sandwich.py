"""Sandwiches of a run, one per number of temperatures: lower and upper bounds on images that the program simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.claims import Claim
from analysis.errors import Incomparable
from analysis.evidence import Evidence, common_images
from analysis.statistics import mean_and_stderr


@dataclass(frozen=True)
class Rung:
    """The two bounds at T temperatures; nats per image, each a mean over images with its standard error.

    Attributes:
        temperatures, chains: T and K.
        images: how many simulated images have both bounds.
        lower, upper: forward and reverse annealed importance sampling, ``ais:T`` and ``bdmc:T``.
        width: upper minus lower, paired over images. It may come out negative: the bounds hold in expectation.
        lower_error, upper_error: each bound minus log p(x), where the program knows it; NaN otherwise.
    """

    temperatures: int
    chains: int
    images: int
    lower: tuple[float, float]
    upper: tuple[float, float]
    width: tuple[float, float]
    lower_error: tuple[float, float]
    upper_error: tuple[float, float]


def rungs(sandwich: Evidence) -> list[Rung]:
    """The sandwiches in a ``sandwich.nc`` by rising number of temperatures, those with both bounds on the same images.

    Args:
        sandwich: its rows ``ais:T``, ``bdmc:T`` and, where there is one, ``exact``.
    """
    numbers = {values.estimator: values for values in sandwich.numbers}
    exact = numbers.get("exact")
    found = []
    for upper in sandwich.numbers:
        lower = numbers.get(f"ais:{upper.effort[0]}")
        if upper.claim is not Claim.UPPER_BOUND or lower is None:
            continue
        try:
            n = common_images(lower.nats, upper.nats)
        except Incomparable:
            continue
        below, above = lower.nats[:n], upper.nats[:n]
        truth = np.full(n, math.nan) if exact is None else exact.nats[:n]
        pairs = (below, above, above - below, below - truth, above - truth)
        found.append(Rung(upper.effort[0], upper.num_particles, n, *(mean_and_stderr(values) for values in pairs)))
    return sorted(found, key=lambda rung: rung.temperatures)
