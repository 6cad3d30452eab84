"""Degrees of freedom of the Student t guide: their range, whose they are, and their gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from ppl_models.guides.student_t import LEAST, MOST, StudentT, to_degrees


def test_degrees_of_freedom_start_at_ten_and_keep_the_variance_finite() -> None:
    raw = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4])
    degrees = to_degrees(raw)
    assert degrees[2].item() == pytest.approx(10, rel=1e-5)
    assert (degrees > 2).all()
    assert degrees.tolist()[::4] == pytest.approx([LEAST, MOST])
    posterior = StudentT(4, 3).eval().posterior(torch.zeros(2, 4))
    assert posterior.base_dist.df.flatten().tolist() == pytest.approx([10] * 6, rel=1e-5)
    assert torch.isfinite(posterior.variance).all()


def test_degrees_of_freedom_belong_to_the_latent_or_to_the_image() -> None:
    shared, own = StudentT(4, 2), StudentT(4, 2, per_image=True)
    assert (shared.num_parameters(), own.num_parameters()) == (4, 6)
    assert "raw_degrees" not in dict(own.named_parameters())
    with torch.no_grad():
        shared.raw_degrees.copy_(torch.tensor([-1.0, 1.0]))
    degrees = shared.posterior(torch.rand(5, 4)).base_dist.df
    assert degrees.shape == (5, 2)
    assert torch.equal(degrees, degrees[:1].expand(5, 2))
    assert degrees[0, 0] < degrees[0, 1]
    assert len(own.posterior(torch.rand(5, 4)).base_dist.df.unique()) == 10


def test_the_largest_degrees_of_freedom_are_normal_to_within_a_ten_thousandth_of_a_nat() -> None:
    def integrand(z: float) -> float:
        return stats.t.pdf(z, MOST) * (stats.t.logpdf(z, MOST) - stats.norm(0, np.sqrt(MOST / (MOST - 2))).logpdf(z))

    assert 0 < integrate.quad(integrand, -30, 30)[0] < 1e-4


def test_the_gradient_of_shared_degrees_of_freedom_is_that_of_quadrature() -> None:
    guide = StudentT(4, 1).double()
    with torch.no_grad():
        guide.raw_degrees.fill_(-2.0)

    def mean(raw: float) -> float:
        """E|z| / (1 + |z|), which knows of the tails."""
        degrees = 2.1 + 97.9 / (1 + np.exp(-raw - np.log(7.9 / 90)))
        return 2 * integrate.quad(lambda z: stats.t.pdf(z, degrees) * z / (1 + z), 0, np.inf, epsabs=1e-12)[0]

    truth = (mean(-1.999) - mean(-2.001)) / 0.002
    posterior = guide.family(torch.zeros(2, dtype=torch.float64))
    found = []
    for _ in range(50):
        z = posterior.rsample((10_000,)).abs()
        found.append(torch.autograd.grad((z / (1 + z)).mean(), guide.raw_degrees, retain_graph=True)[0].item())
    assert abs(truth) > 5 * np.std(found) / 50**0.5, "the test can tell it from zero"
    assert abs(np.mean(found) - truth) < 4.5 * np.std(found) / 50**0.5
