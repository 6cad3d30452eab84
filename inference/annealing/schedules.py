"""Schedules: the inverse temperatures 0 = beta_0 < beta_1 < ... < beta_T = 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# How far into its tails the sigmoid is followed (Grosse et al. 2015, 1511.02543; Wu et al. 2017, 1611.04273).
SHARPNESS = 4.0
# The adaptive schedule moves at least at this share of its mean speed: a pilot's chains may agree by chance.
LEAST_SPEED = 0.05


def linear(num_temperatures: int) -> Tensor:
    """beta_t = t / T: (T + 1,), float64, ends exactly 0 and 1."""
    return torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64)


def sigmoid(num_temperatures: int) -> Tensor:
    """beta_t proportional to sigmoid(4 (2 t / T - 1)) - sigmoid(-4): (T + 1,), float64, ends exactly 0 and 1.

    It is slow near both ends, where the distribution changes fastest.
    """
    raw = torch.sigmoid(SHARPNESS * (2 * linear(num_temperatures) - 1))
    betas = (raw - raw[0]) / (raw[-1] - raw[0])
    betas[0], betas[-1] = 0.0, 1.0
    return betas


def constant_conditional_ess(knots: Tensor, spread: Tensor, num_temperatures: int) -> Tensor:
    """The schedule along which every step loses the same share of the effective sample size, to second order.

    The conditional effective sample size of a step from beta to beta + d is 1 - d^2 Var_beta[V] + O(d^3), with V the
    log-ratio of the path's two ends (Zhou, Johansen & Aston 2016, 1303.3123). It is constant where the speed d beta/dt
    is inverse to the standard deviation of V, so that beta_t halves, quarters, ... the length of the path, the integral
    of that deviation over beta (Grosse, Maddison & Salakhutdinov 2013).

    Args:
        knots: (P + 1,) inverse temperatures from 0 to 1.
        spread: (P + 1, N), the standard deviation of V at each, per image.
        num_temperatures: T.

    Returns:
        (T + 1, N), float64, ends exactly 0 and 1.
    """
    spread = spread.double().nan_to_num(0.0, posinf=0.0).clamp(min=1e-12)
    spread = spread.clamp(min=LEAST_SPEED * torch.trapezoid(spread, knots.unsqueeze(-1), dim=0))
    cells = (spread[1:] + spread[:-1]) / 2 * knots.diff().unsqueeze(-1)
    length = torch.cat([torch.zeros_like(cells[:1]), cells.cumsum(0)])
    wanted = linear(num_temperatures).to(knots.device).unsqueeze(-1) * length[-1]
    cell = torch.searchsorted(length.T.contiguous(), wanted.T.contiguous(), right=True).T.clamp(1, len(knots) - 1)
    low, high = length.gather(0, cell - 1), length.gather(0, cell)
    share = ((wanted - low) / (high - low)).clamp(0, 1)
    betas = knots[cell - 1] + share * (knots[cell] - knots[cell - 1])
    betas[0], betas[-1] = 0.0, 1.0
    return betas


# Name -> fixed schedule; "adaptive" is found by the pilot.
FIXED: dict[str, Callable[[int], Tensor]] = {"linear": linear, "sigmoid": sigmoid}
SCHEDULES = (*FIXED, "adaptive")
