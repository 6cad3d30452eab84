"""How the weight of a divergence changes over the updates."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ppl_models.errors import InvalidInput, nearest

# The part of a cycle in which the factor rises; it stays at 1 for the rest.
RISING = 0.5


def linear(progress: float, cycles: int) -> float:
    """min(t, 1) at progress t: one rise, then 1."""
    return min(progress, 1.0)


def cyclical(progress: float, cycles: int) -> float:
    """min(tau / R, 1) with tau = M t mod 1: M rises from 0, each followed by as long a time at 1; 1 from t = 1 on."""
    if progress >= 1:
        return 1.0
    return min(math.fmod(progress * cycles, 1.0) / RISING, 1.0)


SHAPES: dict[str, Callable[[float, int], float]] = {
    "constant": lambda progress, cycles: 1.0,
    "linear": linear,
    "cyclical": cyclical,
}


class Schedule(nn.Module):
    """A factor in [0, 1] as a function of the count n of updates, with t = (n - ``delay``) / ``updates``; 0 before.

    ``"constant"`` is 1. ``"linear"`` is min(t, 1), the warm-up of Bowman et al. (2016, 1511.06349) and Sonderby et al.
    (2016, 1602.02282). ``"cyclical"`` repeats it M times: with tau = M t mod 1 it is min(tau / R, 1), R = 1/2, until
    t = 1, and 1 from there on (Fu et al. 2019, 1903.10145, eq. 6 and 7).

    A delay lets program and guide agree on a code before it costs anything: a prior that is made from the guide
    (``VampPrior``) otherwise draws the codes of all images together while the decoder does not use them yet.

    The count is a buffer, saved with the weights: a resumed run goes on where it was. A constant schedule counts
    nothing and has none.

    Args:
        kind: ``"constant"``, ``"linear"`` or ``"cyclical"``.
        updates: how many updates it takes until the factor stays at 1.
        cycles: M, of the cyclical one.
        delay: updates at 0 before the first rise; a constant schedule has none.

    Raises:
        InvalidInput: for an unknown kind, fewer than 1 update, a delay that is negative or of a constant schedule, and
            where cycles are used fewer than 1 or more than updates.
    """

    count: Tensor

    def __init__(self, kind: str = "constant", updates: int = 2000, cycles: int = 4, delay: int = 0) -> None:
        super().__init__()
        if kind not in SHAPES:
            raise InvalidInput("--objective.schedule", kind, "unknown schedule", nearest(kind, SHAPES))
        if updates < 1:
            raise InvalidInput("--objective.updates", updates, "counts updates", "give at least 1")
        if kind == "cyclical" and not 1 <= cycles <= updates:
            raise InvalidInput("--objective.cycles", cycles, "counts cycles of updates", f"give 1 to {updates}")
        if delay < 0 or (delay and kind == "constant"):
            problem = "counts updates before a rise" if delay < 0 else "a constant schedule has no rise to delay"
            raise InvalidInput("--objective.delay", delay, problem, "give at least 0, and --objective.schedule linear")
        self.kind, self.updates, self.cycles, self.delay = kind, int(updates), int(cycles), int(delay)
        if kind != "constant":
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @property
    def factor(self) -> float:
        """The factor of the next update."""
        progress = (int(self.count) - self.delay) / self.updates if self.kind != "constant" else 1.0
        return SHAPES[self.kind](progress, self.cycles) if progress >= 0 else 0.0

    def forward(self) -> float:
        """The factor of this update; in training mode the update is counted."""
        factor = self.factor
        if self.training and self.kind != "constant":
            self.count += 1
        return factor
