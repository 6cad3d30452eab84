from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from inference.annealing.schedules import FIXED, constant_conditional_ess, linear, sigmoid


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("number", [1, 2, 7, 1000])
def test_fixed_schedules_rise_from_exactly_0_to_exactly_1(name: str, number: int) -> None:
    betas = FIXED[name](number)
    assert betas.shape == (number + 1,)
    assert betas.dtype == torch.float64
    assert (betas[0].item(), betas[-1].item()) == (0.0, 1.0)
    assert (betas.diff() > 0).all()
    torch.testing.assert_close(betas, 1 - betas.flip(0))


def test_the_sigmoid_is_the_papers() -> None:
    """Grosse et al. 2015, section 5: beta~_t = sigmoid(delta (2 t / T - 1)), delta = 4, shifted and scaled."""
    raw = [1 / (1 + math.exp(-4 * (2 * t / 10 - 1))) for t in range(11)]
    expected = [(r - raw[0]) / (raw[-1] - raw[0]) for r in raw]
    assert sigmoid(10).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_adaptive_schedule_spends_equal_length_on_every_step() -> None:
    """With deviation 1 / (beta + c) of V the length is log((beta + c) / c), so that beta_t is geometric. Columns are
    images, each with its own c."""
    knots, c = torch.linspace(0, 1, 4001, dtype=torch.float64), torch.tensor([0.2, 2.0], dtype=torch.float64)
    betas = constant_conditional_ess(knots, 1 / (knots.unsqueeze(-1) + c), 8)
    for column, offset in enumerate((0.2, 2.0)):
        expected = offset * ((1 + offset) / offset) ** (np.arange(9) / 8) - offset
        assert np.allclose(betas[:, column].numpy(), expected, atol=1e-5)


def test_the_adaptive_schedule_keeps_the_conditional_ess_of_a_normal_path() -> None:
    """Start N(0, 1), end N(m, s^2), where V is quadratic and everything is known: the conditional effective sample
    size E[w]^2 / E[w^2] of every one of 60 steps is the same within a quarter, by quadrature."""
    m, s = 2.0, 0.3
    u = np.linspace(-12, 12, 20_001)
    v = u**2 / 2 - (u - m) ** 2 / (2 * s**2)

    def mean(beta: float, values: np.ndarray) -> float:
        log_f = -(u**2) / 2 + beta * v
        weight = np.exp(log_f - log_f.max())
        return float((weight * values).sum() / weight.sum())

    knots = sigmoid(400)
    spread = [math.sqrt(mean(b, v**2) - mean(b, v) ** 2) for b in knots.tolist()]
    betas = constant_conditional_ess(knots, torch.tensor(spread).unsqueeze(-1), 60)[:, 0].tolist()

    def loss(low: float, high: float) -> float:
        w = np.exp((high - low) * v)
        return 1 - mean(low, w) ** 2 / mean(low, w**2)

    losses = [loss(low, high) for low, high in pairwise(betas)]
    assert max(losses) / min(losses) < 1.25
    fixed = linear(60).tolist()
    by_linear = [loss(a, b) for a, b in pairwise(fixed)]
    assert max(by_linear) / min(by_linear) > 20, "the linear schedule does not"


def test_a_pilot_without_spread_still_gives_a_schedule() -> None:
    knots = linear(4)
    uneven = torch.tensor([[0.0, 3], [0, 3], [9, 3], [0, 0], [0, 0]])
    for spread in (torch.zeros(5, 2), torch.full((5, 2), torch.nan), uneven):
        betas = constant_conditional_ess(knots, spread, 10)
        assert (betas[0] == 0).all()
        assert (betas[-1] == 1).all()
        assert (betas.diff(dim=0) > 0).all()
