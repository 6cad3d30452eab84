"""The moves: their map is the leapfrog's, it can be run backwards, and with the Metropolis test the distribution stays.

The distribution tests have a stated failure rate under a correct kernel, and fixed seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from inference.annealing.bridge import Bridge, Point
from inference.annealing.hmc import leapfrog, move


class Skewed(Bridge):
    """log f_beta(u) = -u^2 / 2 + beta (u - e^u): standard normal at 0, right-skewed log-gamma-like beyond."""

    length, sites = 1, ("u",)

    def at(self, u: Tensor) -> Point:
        return Point(u, -u[..., 0] ** 2 / 2, (u - u.exp())[..., 0], -u, 1 - u.exp())

    def draw(self, place, num_chains):
        raise NotImplementedError

    def unconstrained(self, latents):
        raise NotImplementedError


def exact_draws(beta: float, count: int) -> Tensor:
    """Draws of f_beta by inverting its numerically integrated distribution function."""
    grid = np.linspace(-9, 9, 200_001)
    density = np.exp(-(grid**2) / 2 + beta * (grid - np.exp(grid)))
    cumulative = np.cumsum(density) / density.sum()
    return torch.tensor(np.interp(np.random.default_rng(0).random(count), cumulative, grid))


def one_move(beta: float, u: Tensor, step: float, num_leapfrog: int = 3) -> tuple[Tensor, Tensor]:
    bridge, chains = Skewed(), u.view(-1, 1, 1)
    shape = (len(u), 1)
    point, accepted, _ = move(
        bridge, bridge.at(chains), torch.tensor([beta], dtype=u.dtype), torch.full((1, 1), step, dtype=u.dtype),
        torch.randn(*shape, 1, dtype=u.dtype), torch.rand(shape, dtype=u.dtype).log(), num_leapfrog,
    )  # fmt: skip
    return point.u.flatten(), accepted.flatten()


def test_leapfrog_on_a_harmonic_oscillator_is_its_matrix() -> None:
    step, steps = 0.7, 5
    half = np.array([[1, 0], [-step / 2, 1]])
    whole = half @ np.array([[1, step], [0, 1]]) @ half
    u, p = torch.randn(4, 3, 1, dtype=torch.float64), torch.randn(4, 3, 1, dtype=torch.float64)
    bridge = Skewed()
    end, momentum = leapfrog(bridge, bridge.at(u), p, torch.zeros(3).double(), torch.tensor(step).double(), steps)
    expected = np.linalg.matrix_power(whole, steps) @ np.stack([u.numpy().ravel(), p.numpy().ravel()])
    assert np.allclose(end.u.numpy().ravel(), expected[0], atol=1e-12)
    assert np.allclose(momentum.numpy().ravel(), expected[1], atol=1e-12)


def test_leapfrog_leads_back_when_the_momentum_is_turned_round() -> None:
    u, p = torch.randn(50, 2, 1, dtype=torch.float64), torch.randn(50, 2, 1, dtype=torch.float64)
    beta, step = torch.tensor([0.3, 1.0]).double(), torch.rand(50, 2, 1, dtype=torch.float64) * 0.3
    bridge = Skewed()
    end, momentum = leapfrog(bridge, bridge.at(u), p, beta, step, 10)
    back, returned = leapfrog(bridge, end, -momentum, beta, step, 10)
    assert (end.u - u).abs().max() > 0.5
    torch.testing.assert_close(back.u, u, atol=1e-9, rtol=0)
    torch.testing.assert_close(-returned, p, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("beta", "step"), [(0.0, 1.3), (0.5, 1.0), (1.0, 0.8)])
def test_a_move_leaves_its_distribution_invariant(beta: float, step: float) -> None:
    """Steps are long, so that without the test the spread would be another. A correct kernel fails one run in 10^4."""
    before = exact_draws(beta, 40_000)
    after, accepted = one_move(beta, before, step)
    assert 0.2 < accepted.double().mean() < 0.95, "rejections must matter"
    assert (after - before).abs().mean() > 0.3, "the move must move"
    fresh = exact_draws(beta, 400_001).sort().values.numpy()
    assert stats.kstest(after.numpy(), lambda u: np.interp(u, fresh, np.linspace(0, 1, len(fresh)))).pvalue > 1e-4


def test_the_metropolis_test_is_what_keeps_it() -> None:
    """The same moves, all accepted: the leapfrog's own stationary distribution is wider, and the same test sees it."""
    before = exact_draws(0.0, 40_000)
    bridge, chains = Skewed(), before.view(-1, 1, 1)
    zero, step = torch.zeros(1).double(), torch.full((1, 1), 1.3).double()
    momentum = torch.randn(len(before), 1, 1, dtype=torch.float64)
    end, _ = leapfrog(bridge, bridge.at(chains), momentum, zero, step, 3)
    assert stats.kstest(end.u.flatten().numpy(), "norm").pvalue < 1e-6


def test_detailed_balance() -> None:
    """As many chains go from one region to another as come back: each pair of counts is binomial(n, 1/2). Six pairs
    at 10^-4 each: a correct kernel fails in one run of 1,600."""
    before = exact_draws(0.7, 200_000)
    after, _ = one_move(0.7, before, step=1.2, num_leapfrog=1)
    edges = torch.tensor([-1.2, -0.3, 0.3]).double()
    here, there = torch.bucketize(before, edges), torch.bucketize(after, edges)
    for a in range(4):
        for b in range(a):
            to, back = int(((here == a) & (there == b)).sum()), int(((here == b) & (there == a)).sum())
            assert to + back > 2000
            assert stats.binomtest(to, to + back).pvalue > 1e-4


def test_a_trajectory_that_diverges_is_rejected() -> None:
    u = torch.zeros(20, dtype=torch.float64)
    after, accepted = one_move(1.0, u, step=1e3, num_leapfrog=10)
    assert torch.equal(after, u)
    assert not accepted.any()
