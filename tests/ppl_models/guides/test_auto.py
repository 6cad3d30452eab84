from __future__ import annotations

import copy

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from scipy import stats
from torch import Tensor, nn

from inference.weights import log_weights
from ppl_models import InvalidInput, LatentProgram
from ppl_models.guides.auto import KINDS, PyroAuto
from ppl_models.programs import MADE, VAE


class Linear(LatentProgram):
    """z ~ prior, x ~ N(W z, 0.7^2): with a standard normal prior everything is known."""

    measure = "density"

    def __init__(self, prior: dist.TorchDistribution) -> None:
        super().__init__(5, prior.event_shape[0], levels=0)
        self.p_z = prior
        self.weight = nn.Parameter(torch.randn(5, self.latent_dim))

    def prior(self) -> dist.TorchDistribution:
        return self.p_z

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Normal(z @ self.weight.mT, 0.7).to_event(1)

    def truth(self, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior means (N, L), precision (L, L) and log p(x) (N,), in numpy."""
        weight, x = self.weight.detach().double().numpy(), x.double().numpy()
        precision = np.eye(self.latent_dim) + weight.T @ weight / 0.49
        marginal = stats.multivariate_normal(np.zeros(5), weight @ weight.T + 0.49 * np.eye(5))
        return np.linalg.solve(precision, weight.T @ x.T / 0.49).T, precision, marginal.logpdf(x)


def linear(kind: str, **options: object) -> tuple[Linear, PyroAuto]:
    program, guide = Linear(dist.Normal(torch.zeros(3), 1.0).to_event(1)), PyroAuto(5, 3, kind, **options)
    guide.bind(program)
    return program, guide


def pair(latent_dim: int = 2, **options: object) -> tuple[VAE, PyroAuto]:
    program = VAE(6, latent_dim, (8,))
    for parameter in program.parameters():
        nn.init.normal_(parameter, 0, 0.7)
    guide = PyroAuto(6, latent_dim, **{"steps": 30, **options})
    guide.bind(program)
    return program, guide


def binary(images: int = 4) -> Tensor:
    return torch.randint(0, 2, (images, 6)).float()


def joint(program: LatentProgram, x: Tensor, z: Tensor) -> Tensor:
    return program.prior().log_prob(z) + program.likelihood(z).log_prob(x)


@pytest.mark.parametrize("kind", ["AutoMultivariateNormal", "AutoLowRankMultivariateNormal"])
def test_normals_with_correlations_find_the_exact_posterior(kind: str) -> None:
    program, guide = linear(kind)
    x = 2 * torch.randn(4, 5)
    means, _, evidence = program.truth(x)
    with torch.no_grad():
        posterior = guide.posterior(x)
        weights = log_weights(program, guide, x, 200)
    np.testing.assert_allclose(posterior.mean, means, atol=0.02)
    gap = evidence - weights.double().mean(0).numpy()
    assert (np.abs(gap) < 0.01).all()


@pytest.mark.parametrize("kind", ["AutoNormal", "AutoDiagonalNormal"])
def test_diagonal_normals_find_the_best_of_their_family(kind: str) -> None:
    program, guide = linear(kind, steps=400, num_particles=32)
    x = 2 * torch.randn(4, 5)
    means, precision, _ = program.truth(x)
    posterior = guide.posterior(x)
    np.testing.assert_allclose(posterior.mean, means, atol=0.05)
    np.testing.assert_allclose(posterior.variance, (1 / precision.diagonal())[None].repeat(4, 0), rtol=0.1)


def test_the_flow_comes_near() -> None:
    program, guide = linear("AutoIAFNormal")
    x = 2 * torch.randn(4, 5)
    with torch.no_grad():
        gap = program.truth(x)[2] - log_weights(program, guide, x, 500).double().mean(0).numpy()
    assert (gap < 0.15).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one_and_is_that_of_the_draws(kind: str) -> None:
    program, guide = pair(kind=kind)
    program.double()
    x, axis = binary(3).double(), torch.linspace(-8, 8, 400).double()
    grid = torch.cartesian_prod(axis, axis)[:, None]
    with torch.no_grad():
        posterior = guide.posterior(x)
        mass = posterior.log_prob(grid).exp() * (axis[1] - axis[0]) ** 2
        draws = posterior.rsample((4000,))
    torch.testing.assert_close(mass.sum(0), torch.ones(3).double(), rtol=0, atol=1e-3)
    assert draws.dtype == torch.float64
    for value in (grid, grid.square(), grid.prod(-1, keepdim=True)):
        truth = (mass[..., None] * value).sum(0)
        found = {1: draws.prod(-1, keepdim=True), 2: draws if value is grid else draws.square()}[value.shape[-1]]
        assert ((found.mean(0) - truth).abs() < 5 * found.std(0) / 4000**0.5 + 1e-3).all()


@pytest.mark.parametrize("kind", ["AutoNormal", "AutoIAFNormal"])
def test_its_weights_average_to_the_evidence_by_quadrature(kind: str) -> None:
    program, guide = pair(kind=kind, steps=100)
    x, axis = binary(), torch.linspace(-8, 8, 401)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    with torch.no_grad():
        truth = joint(program, x, grid).double().logsumexp(0) + 2 * (axis[1] - axis[0]).log()
        ratio = (log_weights(program, guide, x, 5000).double() - truth).exp()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 5000**0.5 + 1e-3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_its_posterior_whatever_else_is_in_the_batch(kind: str) -> None:
    _, guide = pair(kind=kind)
    x, order, z = binary(6), torch.randperm(6), torch.randn(6, 2)
    with torch.no_grad():
        together, permuted = guide.posterior(x).log_prob(z), guide.posterior(x[order]).log_prob(z[order])
        torch.manual_seed(99)
        alone = torch.cat([guide.posterior(x[i : i + 1]).log_prob(z[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-3)
    torch.testing.assert_close(permuted, together[order], rtol=0, atol=1e-3)


def test_it_is_fitted_again_when_images_or_program_change_and_not_before() -> None:
    program, guide = pair()
    x = binary()
    first = guide.posterior(x)
    assert guide.posterior(x.clone()) is first
    with torch.no_grad():
        program.decoder[0].weight.add_(0.3)
    second = guide.posterior(x)
    assert not torch.allclose(second.mean, first.mean, atol=1e-3)
    other = guide.posterior(1 - x)
    assert not torch.allclose(other.mean, second.mean, atol=1e-3)
    torch.testing.assert_close(guide.posterior(x).mean, second.mean)
    other_seed = PyroAuto(6, 2, steps=30, seed=1)
    other_seed.bind(program)
    assert not torch.equal(other_seed.posterior(x).mean, second.mean)


def test_nothing_of_it_is_trained_saved_or_seen() -> None:
    program, guide = pair(kind="AutoIAFNormal")
    program.decoder = nn.Sequential(nn.Dropout(0.5), program.decoder)
    x, state = binary(), torch.get_rng_state()
    with pyro.plate("particles", 3, dim=-2):
        trace = poutine.trace(guide.posterior).get_trace(x)
    assert len(trace.nodes) == 2  # the trace's own: arguments and result
    assert torch.equal(torch.get_rng_state(), state)
    assert program.decoder[0].training
    assert list(guide.parameters()) == []
    assert guide.state_dict() == {}
    assert not pyro.get_param_store().keys()
    assert all(p.grad is None for p in program.parameters())
    posterior = guide.posterior(x)
    assert not posterior.rsample().requires_grad
    assert not posterior.log_prob(torch.zeros(4, 2)).requires_grad
    restored = copy.deepcopy(guide)
    assert restored.posterior(x) is not posterior
    torch.testing.assert_close(restored.posterior(x).log_prob(torch.zeros(4, 2)), posterior.log_prob(torch.zeros(4, 2)))


def test_a_program_learns_from_the_samples_of_each_batch() -> None:
    program, guide = pair()
    x = binary(20)
    torch.manual_seed(1)
    Trace_ELBO().differentiable_loss(program, guide, x).backward()
    torch.manual_seed(1)
    z = guide.posterior(x).rsample()
    expected = torch.autograd.grad(-joint(program, x, z).sum(), list(program.parameters()))
    for parameter, gradient in zip(program.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    adam, losses = torch.optim.Adam(program.parameters(), 0.05), []
    for _ in range(12):
        adam.zero_grad()
        loss = Trace_ELBO(num_particles=16, vectorize_particles=True).differentiable_loss(program, guide, x)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 5


def test_shapes_under_leading_dimensions() -> None:
    _, guide = pair(kind="AutoMultivariateNormal")
    posterior = guide.posterior(binary())
    wide = posterior.expand((5, 4))
    assert (wide.batch_shape, wide.event_shape) == ((5, 4), (2,))
    assert wide.rsample((3,)).shape == (3, 5, 4, 2)
    z = torch.randn(3, 5, 4, 2)
    torch.testing.assert_close(wide.log_prob(z)[1, 2], posterior.log_prob(z[1, 2]))
    one = guide.posterior(binary(1)).expand((3, 4))
    assert one.rsample().shape == (3, 4, 2)
    twins = guide.posterior(binary(1).expand(2, 6)).rsample()
    assert not torch.equal(twins[0], twins[1])


def test_what_it_cannot_serve_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"kind 'AutoNormel'.*did you mean AutoNormal"):
        PyroAuto(6, 2, "AutoNormel")
    with pytest.raises(InvalidInput, match=r"kind 'AutoDelta': is no AutoGuide with a density"):
        PyroAuto(6, 2, "AutoDelta")
    with pytest.raises(InvalidInput, match=r"kind 'AutoIAFNormal'.*use AutoNormal"):
        PyroAuto(6, 1, "AutoIAFNormal")
    with pytest.raises(InvalidInput, match=r"PyroAuto.*latents of Linear are discrete"):
        PyroAuto(5, 2).bind(Linear(dist.OneHotCategorical(torch.ones(2))))
    with pytest.raises(InvalidInput, match=r"MADE is no LatentProgram; pair it"):
        PyroAuto(5, 2).bind(MADE(5, (8,)))
    with pytest.raises(InvalidInput, match=r"paired with no program; call guide.bind"):
        PyroAuto(6, 2).posterior(binary())
    for option in ("steps", "learning_rate", "num_particles"):
        with pytest.raises(InvalidInput, match=rf"{option} 0"):
            PyroAuto(6, 2, **{option: 0})
