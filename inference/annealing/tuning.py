"""The pilot: a short pass of its own chains that finds step sizes, scales and the adaptive schedule, per image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..randomness import keyed_noise
from .bridge import Bridge, Point
from .hmc import move
from .noise import STRETCH, draw_noise
from .schedules import FIXED, constant_conditional_ess, sigmoid

PILOT_CHAINS = 16
# Knots of the path at which the pilot stops (a quarter of T, within these limits), its moves at each, and before all.
KNOTS, MOVES, FIRST_MOVES = (16, 64), 2, 16
TARGET = 0.65
# Robbins-Monro gain of the logarithm of the step size per unit of acceptance; share of a new variance in the old one.
GAIN, RENEWAL = 0.7, 0.25
FIRST_STEP = 0.5
# Step sizes are averaged over this many knots.
WINDOW = 5


@dataclass(frozen=True)
class Tuning:
    """What the pilot found and the counted passes only read.

    Attributes:
        betas: (T + 1, N) inverse temperatures, float64, the first exactly 0 and the last exactly 1.
        knots: (P + 1,) inverse temperatures of the pilot, float64.
        log_steps: (P + 1, N, L), logarithms of the step in each coordinate at each knot.
    """

    betas: Tensor
    knots: Tensor
    log_steps: Tensor

    def steps(self, betas: Tensor) -> Tensor:
        """Step sizes at inverse temperatures (S, N), linear between knots in their logarithm: (S, N, L)."""
        cell = torch.searchsorted(self.knots, betas.contiguous(), right=True).clamp(1, len(self.knots) - 1)
        low, high = self.knots[cell - 1], self.knots[cell]
        share = ((betas - low) / (high - low)).unsqueeze(-1).to(self.log_steps)
        column = torch.arange(betas.shape[-1], device=betas.device).expand_as(cell)
        return torch.lerp(self.log_steps[cell - 1, column], self.log_steps[cell, column], share).exp()


def tune(
    bridge: Bridge, key: tuple, index: Sequence[int], num_temperatures: int, schedule: str, num_leapfrog: int
) -> Tuning:
    """Run the pilot on one block of images.

    16 chains per image start as the counted ones do, with noise of their own, and visit 17 to 65 knots of the sigmoid
    schedule. At each, the step size of an image is moved towards an acceptance of .65 (Robbins & Monro 1951, over the
    chains' mean acceptance probability), and the scale of each coordinate follows the chains' variance: together they
    are a step per image, coordinate and temperature. The deviation of V over the chains gives the adaptive schedule.

    Whatever the pilot finds, good or bad, weights that come from other noise keep their expectation.

    Args:
        bridge: the path.
        key, index: of the noise; see ``draw_noise``.
        num_temperatures: T.
        schedule: ``"sigmoid"``, ``"linear"`` or ``"adaptive"``.
        num_leapfrog: steps of one move.
    """
    first = start_point(bridge, (*key, "pilot"), index, PILOT_CHAINS)
    knots = sigmoid(min(max(num_temperatures // 4, KNOTS[0]), KNOTS[1])).to(first.u.device)
    if num_temperatures == 1:  # no move is made
        empty = first.u.new_zeros(len(knots), *first.u.shape[1:])
        return Tuning(repeated(FIXED["linear"](1), first.u), knots, empty)
    pilot = _Pilot(bridge, first, (*key, "pilot"), index, num_leapfrog)
    for number in range(FIRST_MOVES):
        pilot.step(knots[0], gain=2 * GAIN / math.sqrt(1 + number))
    found = [pilot.visit(beta) for beta in knots]
    log_steps = smoothed(torch.stack([log_step for log_step, _ in found]))
    if schedule == "adaptive":
        betas = constant_conditional_ess(knots, torch.stack([spread for _, spread in found]), num_temperatures)
    else:
        betas = repeated(FIXED[schedule](num_temperatures), first.u)
    return Tuning(betas, knots, log_steps)


def start_point(bridge: Bridge, key: tuple, index: Sequence[int], num_chains: int) -> Point:
    """Independent draws from the path's start for every place, each image's keyed by its index."""
    draws = []
    for place, image in enumerate(index):
        with keyed_noise(*key, int(image), "start", device=bridge.device):
            draws.append(bridge.draw(place, num_chains))
    return bridge.at(torch.stack(draws, 1))


def repeated(betas: Tensor, u: Tensor) -> Tensor:
    """One schedule for all images: (T + 1,) -> (T + 1, N)."""
    return betas.to(u.device).unsqueeze(-1).expand(-1, u.shape[1])


def smoothed(rows: Tensor) -> Tensor:
    """Running mean over ``WINDOW`` knots, fewer at the ends: (P + 1, N, L)."""
    reach = WINDOW // 2
    means = [rows[max(0, row - reach) : row + reach + 1].mean(0) for row in range(len(rows))]
    return torch.stack(means)


class _Pilot:
    """Chains with a step size and scales that follow them."""

    def __init__(self, bridge: Bridge, point: Point, key: tuple, index: Sequence[int], num_leapfrog: int) -> None:
        self.bridge, self.point, self.key, self.index, self.num_leapfrog = bridge, point, key, index, num_leapfrog
        self.variance = point.u.var(0)
        self.log_step = torch.full_like(point.log_ratio[0], math.log(FIRST_STEP))
        self.moves = 0

    def step(self, beta: Tensor, gain: float = GAIN) -> None:
        """One move of all chains at one inverse temperature, then a correction of step size and scales."""
        stretch, row = divmod(self.moves, STRETCH)
        if row == 0:
            shape = (self.point.u.shape[0], self.point.u.shape[-1])
            self.noise = draw_noise(self.key, self.index, stretch, shape, self.point.u)
        noise, self.moves = self.noise, self.moves + 1
        step = self.per_coordinate().exp() * noise.jitter[row].unsqueeze(-1)
        betas = beta.to(self.point.u).expand(self.point.u.shape[1])
        self.point, _, probability = move(
            self.bridge, self.point, betas, step, noise.momentum[row], noise.log_uniform[row], self.num_leapfrog
        )
        self.log_step = self.log_step + gain * (probability.mean(0) - TARGET)
        self.variance = torch.lerp(self.variance, self.point.u.var(0), RENEWAL)

    def per_coordinate(self) -> Tensor:
        """log step: (N, L)."""
        smallest = torch.finfo(self.variance.dtype).tiny
        return self.log_step.unsqueeze(-1) + self.variance.clamp(min=smallest).log() / 2

    def visit(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The moves at one knot: what the step is there (N, L), and the deviation of V over the chains (N,)."""
        variances, steps = [], []
        for _ in range(MOVES):
            self.step(beta)
            variances.append(self.point.log_ratio.double().var(0))
            steps.append(self.per_coordinate())
        return torch.stack(steps).mean(0), torch.stack(variances).mean(0).sqrt()
