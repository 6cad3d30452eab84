"""What annealing is held against at full size: 16 latents and 64 pixels, where log p(x) is a normal density.

Minutes each; the figures that were found are in docs/annealing.md.
"""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor

from inference.estimators import AnnealedImportance
from inference.sandwich import Sandwich, sandwich
from inference.simulate import simulate
from ppl_models.guides import Guide
from ppl_models.programs import LinearVAE


def linear_program() -> LinearVAE:
    """16 latents and the 64 pixels of the bundled digits, at the maximum of the likelihood, which is known in closed
    form: W = U (Lambda - sigma^2)^(1/2), sigma^2 the mean of the eigenvalues left out (Tipping & Bishop 1999)."""
    pixels = load_digits().data
    values, vectors = np.linalg.eigh(np.cov(pixels.T))
    noise = values[:-16].mean()
    program = LinearVAE(64, 16, levels=0)
    with torch.no_grad():
        program.decoder.weight.copy_(torch.tensor(vectors[:, -16:] * np.sqrt(values[-16:] - noise)))
        program.decoder.bias.copy_(torch.tensor(pixels.mean(0)))
        program.family.log_scale.fill_(math.log(noise) / 2)
    return program.eval()


def truth(program: LinearVAE, x: Tensor) -> Tensor:
    """log N(x; b, W W^T + sigma^2 I) by scipy."""
    weight, bias = (p.detach().double().numpy() for p in (program.decoder.weight, program.decoder.bias))
    variance = math.exp(2 * program.family.log_scale.item())
    covariance = weight @ weight.T + variance * np.eye(64)
    return torch.tensor(stats.multivariate_normal(bias, covariance).logpdf(x.double().numpy()))


class BadGuide(Guide):
    """The exact posterior with half its deviations, its means off by two of them: an exact guide proves nothing."""

    def __init__(self, program: LinearVAE) -> None:
        super().__init__(program.data_dim, program.latent_dim)
        self.bind(program)

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        exact = self.program.posterior(x)
        return dist.Normal(exact.mean + 2 * exact.stddev, exact.stddev / 2).to_event(1)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    return values.mean().item(), values.std().item() / len(values) ** 0.5


def check(found: Sandwich, exact: Tensor, most: float) -> None:
    """Forward <= exact <= reverse in the mean, within 3 standard errors, and the width below ``most``."""
    below, above = (mean_and_error(bound.values.double() - exact) for bound in (found.lower, found.upper))
    print(f"\nforward - exact {below[0]:.4f} ± {below[1]:.4f}, reverse - exact {above[0]:.4f} ± {above[1]:.4f}")
    print(found)
    assert below[0] < 3 * below[1]
    assert above[0] > -3 * above[1]
    assert found.width[0] < most


@pytest.mark.slow
def test_annealing_is_near_the_closed_form_on_500_images() -> None:
    program = linear_program()
    x = simulate(program, 500, 1).x
    found = AnnealedImportance(1000, 16, schedule="adaptive")(program, x)
    below = mean_and_error(found.values.double() - truth(program, x))
    print(f"\nforward - exact {below[0]:.4f} ± {below[1]:.4f} nats on 500 images")
    assert abs(below[0]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("start", ["prior", "guide"])
def test_the_closed_form_is_inside_the_sandwich(start: str) -> None:
    program = linear_program()
    guide = BadGuide(program) if start == "guide" else None
    found = sandwich(program, guide, 100, 1000, 16, schedule="adaptive")
    check(found, truth(program, found.simulated.x), most=0.1)


@pytest.mark.slow
def test_the_width_falls_with_the_temperatures() -> None:
    program = linear_program()
    drawn = simulate(program, 40, 0)
    widths = [sandwich(program, None, num_temperatures=t, simulated=drawn).width[0] for t in (30, 100, 300)]
    assert widths[0] > widths[1] > widths[2]
