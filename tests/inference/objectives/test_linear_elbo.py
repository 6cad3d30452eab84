"""The integrated ELBO of the linear program against quadrature, the closed-form evidence and Pyro's own ELBO."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from inference.objectives import LinearElbo
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.guides import DiagonalNormal, FullRankNormal
from ppl_models.programs import VAE, LinearVAE


def pair(
    data_dim: int = 3, latent_dim: int = 2, levels: int = 0, scale: float | None = None
) -> tuple[LinearVAE, DiagonalNormal]:
    torch.manual_seed(3)
    program = LinearVAE(data_dim, latent_dim, levels, scale).double()
    guide = DiagonalNormal(data_dim, latent_dim, (), levels=levels).double()
    for parameter in (*program.parameters(), *guide.parameters()):
        torch.nn.init.normal_(parameter, 0, 0.6)
    return program, guide


def by_quadrature(program: LinearVAE, guide: DiagonalNormal, x: Tensor) -> np.ndarray:
    """E_q[log p(x, z) - log q(z | x)] by Gauss-Hermite quadrature, exact for these polynomials: L = 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    normal = guide.posterior(x).base_dist
    values = []
    for node in nodes:
        z = normal.loc + normal.scale * node
        log_q = -0.5 * node**2 - normal.scale.log().sum(-1) - 0.5 * math.log(2 * math.pi)
        values.append(program.prior().log_prob(z) + program.likelihood(z).log_prob(x) - log_q)
    return np.tensordot(weights / weights.sum(), torch.stack(values).detach().numpy(), 1)


@pytest.mark.parametrize("levels", [0, 17])
def test_it_is_the_expectation_by_quadrature(levels: int) -> None:
    program, guide = pair(latent_dim=1, levels=levels)
    x = torch.rand(5, 3, dtype=torch.float64) * max(1, levels - 1)
    found = LinearElbo(program, guide).elbo(x).detach()
    np.testing.assert_allclose(found, by_quadrature(program, guide, x), rtol=1e-10)


def test_it_is_the_mean_of_pyros_elbo() -> None:
    program, guide = pair()
    x = torch.randn(4, 3, dtype=torch.float64)
    objective = LinearElbo(program, guide)
    pyros = TraceMeanField_ELBO(num_particles=20_000, vectorize_particles=True, max_plate_nesting=1)
    with torch.no_grad():
        draws = torch.stack([torch.tensor(pyros.loss(program, guide, x)) / len(x) for _ in range(5)])
    assert abs(draws.mean() - objective(x)) < 4 * draws.std() / math.sqrt(5) + 1e-3
    assert objective(x).shape == ()


def test_at_the_exact_posterior_it_is_the_evidence() -> None:
    """With orthogonal columns the posterior is diagonal, and the bound is tight."""
    program, guide = pair(latent_dim=2, scale=0.7)
    with torch.no_grad():
        program.decoder.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]]))
        lengths = program.decoder.weight.square().sum(0)
        scale = (0.49 / (lengths + 0.49)).sqrt()
        linear = next(m for m in guide.modules() if isinstance(m, torch.nn.Linear))
        gain = program.decoder.weight.T / (lengths + 0.49)[:, None]
        linear.weight.copy_(torch.cat([gain, torch.zeros(2, 3)]))
        # softplus(raw + log(e - 1)) + 1e-5 = scale
        raw = torch.log(torch.expm1(scale - 1e-5)) - math.log(math.e - 1)
        linear.bias.copy_(torch.cat([-gain @ program.decoder.bias, raw]))
    x = torch.randn(6, 3, dtype=torch.float64)
    torch.testing.assert_close(LinearElbo(program, guide).elbo(x), program.log_prob(x))


def test_a_posterior_may_be_given_in_place_of_the_guides() -> None:
    program, guide = pair()
    x, y = torch.randn(2, 6, 3, dtype=torch.float64)
    objective = LinearElbo(program, guide)
    torch.testing.assert_close(objective.elbo(x, guide.posterior(x)), objective.elbo(x))
    assert not torch.allclose(objective.elbo(x, guide.posterior(y)), objective.elbo(x))


def test_what_it_refuses() -> None:
    program, guide = pair()
    with pytest.raises(InvalidInput, match="VAE has no ELBO in closed form"):
        LinearElbo(VAE(3, 2, levels=0), guide)
    with pytest.raises(InvalidInput, match="no diagonal normal"):
        LinearElbo(program, FullRankNormal(3, 2, hidden=()).double())
    with pytest.raises(InvalidInput, match="no guide"):
        LinearElbo(program, None)
    with pytest.raises(NotADensityError):
        LinearElbo(NotADensity(Autoencoder(3, 2)), None)
