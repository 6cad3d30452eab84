from __future__ import annotations

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from scipy import stats
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from inference.objectives import NegativeElbo
from inference.weights import log_weights
from ppl_models import InvalidInput, LatentProgram
from ppl_models.guides.laplace import Laplace
from ppl_models.nets.encoders import make_decoder
from ppl_models.programs import MADE, VAE


class Linear(LatentProgram):
    """z ~ prior, x ~ N(W z + b, s^2): with a normal prior everything is known."""

    measure = "density"

    def __init__(self, prior: dist.TorchDistribution, data_dim: int = 5, scale: float = 0.7) -> None:
        latent_dim = prior.event_shape[0]
        super().__init__(data_dim, latent_dim, levels=0)
        self.p_z, self.scale = prior, scale
        self.weight = nn.Parameter(torch.randn(data_dim, latent_dim))
        self.bias = nn.Parameter(torch.randn(data_dim))

    def prior(self) -> dist.TorchDistribution:
        return self.p_z

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Normal(z @ self.weight.mT + self.bias, self.scale).to_event(1)

    def truth(self, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Posterior means (N, L), covariance (L, L) and log p(x) (N,), in numpy."""
        weight, bias = (p.detach().double().numpy() for p in (self.weight, self.bias))
        mean, spread = (p.double().numpy() for p in (self.p_z.base_dist.loc, self.p_z.base_dist.scale))
        x, variance = x.double().numpy(), self.scale**2
        covariance = np.linalg.inv(np.diag(spread**-2) + weight.T @ weight / variance)
        means = (mean / spread**2 + (x - bias) @ weight / variance) @ covariance
        marginal = (weight * spread**2) @ weight.T + variance * np.eye(len(bias))
        return means, covariance, stats.multivariate_normal(weight @ mean + bias, marginal).logpdf(x)


def lively(program: nn.Module, scale: float = 1.0) -> nn.Module:
    [nn.init.normal_(parameter, 0, scale) for parameter in program.parameters()]
    return program


def pair(latent_dim: int = 2, double: bool = False, **options: object) -> tuple[VAE, Laplace]:
    program, guide = lively(VAE(6, latent_dim, (8,))), Laplace(6, latent_dim, hidden=(8,), **options)
    guide.bind(program)
    return (program.double(), guide.double()) if double else (program, guide)


def binary(images: int = 7, data_dim: int = 6, **kind: object) -> Tensor:
    return torch.randint(0, 2, (images, data_dim)).to(torch.get_default_dtype()).to(**kind)


def joint(program: LatentProgram, x: Tensor, z: Tensor) -> Tensor:
    return program.prior().log_prob(z) + program.likelihood(z).log_prob(x)


def test_one_step_on_a_linear_gaussian_program_gives_the_exact_posterior_and_evidence() -> None:
    program = Linear(dist.Normal(torch.linspace(-1, 1, 3), torch.linspace(0.5, 2, 3)).to_event(1))
    guide, x = Laplace(5, 3, hidden=(8,), levels=0, steps=1), 3 * torch.randn(6, 5)
    guide.bind(program)
    means, covariance, evidence = program.truth(x)
    with torch.no_grad():
        posterior = guide.posterior(x)
        weights = log_weights(program, guide, x, 4)
    np.testing.assert_allclose(posterior.mean, means, atol=1e-4)
    np.testing.assert_allclose(posterior.covariance_matrix, covariance[None].repeat(6, 0), atol=1e-4)
    np.testing.assert_allclose(posterior.variance, covariance.diagonal()[None].repeat(6, 0), atol=1e-4)
    np.testing.assert_allclose(weights, evidence[None].repeat(4, 0), atol=1e-3)


@pytest.mark.parametrize("decoder", ["mlp", "conv", "recurrent"])
def test_mode_and_curvature_agree_with_finite_differences(decoder: str) -> None:
    program = VAE(16, 2, (8,))
    program.decoder = make_decoder(decoder, 2, (8,), 16, 1, "tanh", (1, 4, 4))
    lively(program, 0.6).double()
    guide, x = Laplace(16, 2, hidden=(8,), steps=12).double(), binary(5, 16, dtype=torch.float64)
    guide.bind(program)
    with torch.no_grad():
        posterior = guide.posterior(x)
        h, eye = 2e-5, torch.eye(2, dtype=torch.float64)
        z = posterior.mean
        for axis in range(2):
            up, down = (joint(program, x, z + sign * h * eye[axis]) for sign in (1, -1))
            assert ((up - down) / (2 * h)).abs().max() < 1e-4
        signs = [(s, t) for s in (1, -1) for t in (1, -1)]
        corners = [
            sum(s * t * joint(program, x, z + h * (s * one + t * other)) for s, t in signs)
            for one in eye
            for other in eye
        ]
    hessian = torch.stack(corners, -1).view(5, 2, 2) / (4 * h * h)
    torch.testing.assert_close(posterior.covariance_matrix, torch.linalg.inv(-hessian), rtol=1e-3, atol=1e-5)


def test_its_weights_average_to_the_evidence_by_quadrature() -> None:
    program, guide = pair(1)
    lively(program, 0.5)  # one mode per image: a normal distribution in one of two would have heavy weights
    x = binary(4)
    nodes = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        weights = log_weights(program, guide, x, 20_000).double()
        step = nodes[1, 0] - nodes[0, 0]
        density = guide.posterior(x).log_prob(nodes[:, None].float()).double()
        program.double()
        truth = joint(program, x.double(), nodes[:, None]).logsumexp(0) + step.log()
    torch.testing.assert_close(density.exp().sum(0) * step, torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-4)
    ratio = (weights - truth).exp()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 20_000**0.5).all()


def test_from_anywhere_a_step_climbs_and_the_last_one_stands_on_a_mode() -> None:
    """The log joint of a mixture prior is not concave: full Newton steps would go to saddles and minima."""
    centres = dist.Normal(torch.tensor([[-4.0, 0.0], [4.0, 1.0], [0.0, -5.0]]), 0.8).to_event(1)
    prior = dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), centres)
    program, guide = Linear(prior, scale=4.0), Laplace(5, 2, levels=0)
    x, z = torch.randn(60, 5), 4 * torch.randn(60, 2)
    guide.bind(program)
    with torch.no_grad():
        for _ in range(20):
            before, z = joint(program, x, z), guide.newton_step(prior, x, z)
            assert (joint(program, x, z) >= before - 1e-4).all()
        _, gradient, eigenvalues, _ = guide.expand_at(prior, x, z)
    assert gradient.abs().max() < 1e-3
    assert eigenvalues.min() > 0


def test_a_flat_direction_gets_the_widest_scale_allowed() -> None:
    program = Linear(dist.Normal(torch.zeros(2), 1000.0).to_event(1))
    program.weight.data[:, 1] = 0
    guide = Laplace(5, 2, levels=0, smallest_curvature=0.04)
    guide.bind(program)
    deviation = guide.posterior(torch.randn(3, 5)).variance.sqrt()
    torch.testing.assert_close(deviation[:, 1], torch.full((3,), 5.0))
    assert (deviation[:, 0] < 1).all()


def test_an_image_has_its_posterior_whatever_else_is_in_the_batch() -> None:
    _, guide = pair()
    x, order = binary(9), torch.randperm(9)
    with torch.no_grad():
        together, permuted, z = guide.posterior(x), guide.posterior(x[order]), torch.randn(9, 2)
        alone = torch.cat([guide.posterior(x[i : i + 1]).log_prob(z[i : i + 1]) for i in range(9)])
        torch.testing.assert_close(alone, together.log_prob(z), rtol=0, atol=1e-3)
        torch.testing.assert_close(permuted.mean, together.mean[order], rtol=0, atol=1e-4)


def test_it_draws_no_random_numbers_leaves_no_trace_and_needs_no_gradients_around_it() -> None:
    program, guide = pair()
    x, state = binary(), torch.get_rng_state()
    assert list(poutine.trace(guide.posterior).get_trace(x).stochastic_nodes) == []
    with torch.no_grad():
        quiet = guide.posterior(x)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(quiet.covariance_matrix, guide.posterior(x).covariance_matrix)
    assert not quiet.log_prob(quiet.rsample()).requires_grad
    assert all(p.grad is None for p in program.parameters())


def test_the_program_is_scored_in_evaluation_mode_and_given_back_as_it_was() -> None:
    program, guide = pair()
    program.decoder = nn.Sequential(nn.Dropout(0.5), program.decoder)
    program.train()
    program.decoder[1].eval()
    x = binary()
    first = guide.posterior(x).mean
    assert torch.equal(first, guide.posterior(x).mean)
    assert [m.training for m in (program, *program.decoder)] == [True, True, False]


def test_an_elbo_teaches_the_encoder_the_result_and_the_program_as_if_q_were_fixed() -> None:
    program, guide = pair(double=True)
    x = binary(dtype=torch.float64)
    torch.manual_seed(1)
    Trace_ELBO().differentiable_loss(program, guide, x).backward()
    found = {id(p): p.grad.clone() for m in (program, guide) for p in m.parameters()}
    assert all(gradient.abs().sum() > 0 for gradient in found.values())
    with torch.no_grad():
        fixed, start = guide.posterior(x), guide.family(guide.encode(x))
        torch.manual_seed(1)
        z = fixed.rsample()
        truth = MultivariateNormal(fixed.mean, fixed.covariance_matrix)
    start = guide.family(guide.encode(x)).base_dist
    lesson = kl_divergence(truth, MultivariateNormal(start.loc, torch.diag_embed(start.scale**2))).sum()
    loss = lesson - joint(program, x, z).sum()
    parameters = [*program.parameters(), *guide.parameters()]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(found[id(parameter)], gradient)


def test_at_values_that_it_did_not_draw_q_is_a_constant_of_the_encoder() -> None:
    _, guide = pair()
    posterior = guide.posterior(binary()).expand((3, 7))
    z = posterior.rsample()
    assert not z.requires_grad
    assert posterior.log_prob(z).requires_grad
    assert not posterior.log_prob(z.clone()).requires_grad
    torch.testing.assert_close(posterior.log_prob(z), posterior.log_prob(z.clone()))


def test_training_brings_the_start_to_the_mode() -> None:
    program, guide = pair()
    x, objective = binary(30), NegativeElbo(program, guide)
    adam = torch.optim.Adam(guide.parameters(), 0.02)

    def distance() -> Tensor:
        return (guide.family(guide.encode(x)).mean - guide.posterior(x).mean).square().mean()

    before = distance()
    for _ in range(60):
        adam.zero_grad()
        objective(x).backward()
        adam.step()
    assert distance() < 0.3 * before


def test_shapes_expansion_and_a_saved_copy() -> None:
    program, guide = pair(double=True)
    x = binary(4, dtype=torch.float64)
    posterior = guide.posterior(x)
    wide_one, z = posterior.expand((5, 4)), torch.randn(3, 5, 4, 2, dtype=torch.float64)
    assert (posterior.batch_shape, posterior.event_shape) == ((4,), (2,))
    assert wide_one.rsample((3,)).shape == (3, 5, 4, 2)
    assert wide_one.log_prob(z).shape == (3, 5, 4)
    assert posterior.log_prob(z).dtype == torch.float64
    exact = MultivariateNormal(posterior.mean, posterior.covariance_matrix)
    torch.testing.assert_close(wide_one.log_prob(z), exact.log_prob(z))
    torch.testing.assert_close(posterior.entropy(), exact.entropy())
    error = posterior.rsample((40_000,)).mean(0) - posterior.mean
    assert (error.abs() < 5 * (posterior.variance / 40_000).sqrt()).all()
    copy = Laplace(6, 2, hidden=(8,)).double()
    copy.load_state_dict(guide.state_dict())
    copy.bind(program)
    assert torch.equal(copy.posterior(x).mean, posterior.mean)


def test_what_it_cannot_serve_is_refused() -> None:
    ones = torch.ones(2)
    for kind, prior in {"discrete": dist.OneHotCategorical(ones), "bounded": dist.Beta(ones, ones).to_event(1)}.items():
        with pytest.raises(InvalidInput, match=rf"Laplace.*latents of Linear are {kind}"):
            Laplace(5, 2).bind(Linear(prior))
    with pytest.raises(InvalidInput, match=r"MADE is no LatentProgram; pair it"):
        Laplace(5, 2).bind(MADE(5, (8,)))
    with pytest.raises(InvalidInput, match=r"latent_dim 3: the latents of Linear have length 2"):
        Laplace(5, 3).bind(Linear(dist.Normal(torch.zeros(2), 1).to_event(1)))
    with pytest.raises(InvalidInput, match=r"paired with no program"):
        Laplace(6, 2).posterior(binary())
    for option in ("steps", "smallest_curvature"):
        with pytest.raises(InvalidInput, match=rf"{option} 0"):
            Laplace(6, 2, **{option: 0})
