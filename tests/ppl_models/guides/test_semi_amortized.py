from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from inference.weights import log_weights
from ppl_models import InvalidInput, LatentProgram
from ppl_models.guides import DiagonalNormal
from ppl_models.guides.semi_amortized import SemiAmortized, base_draws
from ppl_models.nets.encoders import make_decoder
from ppl_models.programs import VAE


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

    def truth(self, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Of the exact posterior given x: means (N, L) and precision (L, L), in numpy."""
        weight = self.weight.detach().double().numpy()
        precision = np.eye(self.latent_dim) + weight.T @ weight / 0.49
        return np.linalg.solve(precision, weight.T @ x.double().numpy().T / 0.49).T, precision


def linear(**options: object) -> tuple[Linear, SemiAmortized]:
    program = Linear(dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1)).double()
    guide = SemiAmortized(5, 3, hidden=(8,), levels=0, **options).double()
    guide.bind(program)
    return program, guide


def lively(program: nn.Module, scale: float = 0.7) -> nn.Module:
    [nn.init.normal_(parameter, 0, scale) for parameter in program.parameters()]
    return program


def pair(latent_dim: int = 2, **options: object) -> tuple[VAE, SemiAmortized]:
    program, guide = lively(VAE(6, latent_dim, (8,))), SemiAmortized(6, latent_dim, hidden=(8,), **options)
    guide.bind(program)
    return program.double(), guide.double()


def binary(images: int = 7, data_dim: int = 6) -> Tensor:
    return torch.randint(0, 2, (images, data_dim)).double()


def joint(program: LatentProgram, x: Tensor, z: Tensor) -> Tensor:
    return program.prior().log_prob(z) + program.likelihood(z).log_prob(x)


def test_the_draws_come_in_pairs_and_have_the_moments_of_a_standard_normal() -> None:
    for num_draws, latent_dim in ((8, 3), (6, 3), (64, 32)):
        draws = base_draws(num_draws, latent_dim)
        torch.testing.assert_close(draws.T @ draws / num_draws, torch.eye(latent_dim), rtol=0, atol=1e-5)
        assert torch.equal(draws[: num_draws // 2], -draws[num_draws // 2 :])
    few = base_draws(4, 16)
    torch.testing.assert_close(few.square().mean(0), torch.ones(16))
    torch.testing.assert_close(few.sum(0), torch.zeros(16))


def test_with_enough_draws_its_elbo_is_the_one_of_a_linear_gaussian_program() -> None:
    program, guide = linear(num_draws=6)
    x, parameters = torch.randn(4, 5).double(), torch.randn(4, 2, 3).double()
    loc, scale = parameters[:, 0], parameters[:, 1].exp()
    weight = program.weight
    misfit = (x - loc @ weight.mT).square().sum(-1) + (scale.square() * weight.square().sum(0)).sum(-1)
    likelihood = -misfit / (2 * 0.49) - 5 * math.log(0.7 * math.sqrt(2 * math.pi))
    divergence = (scale.square() + loc.square() - 1 - 2 * scale.log()).sum(-1) / 2
    torch.testing.assert_close(guide.elbo(program.prior(), x, parameters), likelihood - divergence, rtol=1e-5, atol=0)


def test_many_steps_lead_to_the_best_diagonal_normal_of_a_linear_gaussian_program() -> None:
    """Its means are the posterior's, its variances the inverses of the precision's diagonal."""
    program, guide = linear(num_draws=6, steps=300, step_size=0.3)
    x = 2 * torch.randn(4, 5).double()
    means, precision = program.truth(x)
    with torch.no_grad():
        posterior = guide.posterior(x)
    np.testing.assert_allclose(posterior.mean, means, atol=1e-5)
    np.testing.assert_allclose(posterior.variance, (1 / precision.diagonal())[None].repeat(4, 0), atol=1e-5)


def test_refined_posteriors_have_higher_elbos_by_quadrature() -> None:
    program, guide = pair(1)
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 6)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    nodes, weights = torch.tensor(nodes), torch.tensor(weights / math.sqrt(2 * math.pi))

    def elbo(posterior: dist.TorchDistribution) -> Tensor:
        z = posterior.mean + posterior.stddev * nodes[:, None, None]
        return (weights[:, None] * (joint(program, x, z) - posterior.log_prob(z))).sum(0)

    with torch.no_grad():
        start, refined = elbo(guide.family(guide.encode(x))), elbo(guide.posterior(x))
        guide.steps = 30
        longer = elbo(guide.posterior(x))
    assert (refined > start).double().mean() > 0.95
    assert (refined - start).mean() > 0.1
    assert longer.mean() > refined.mean()


def test_its_weights_average_to_the_evidence_by_quadrature() -> None:
    program, guide = pair(1)
    x, nodes = binary(4), torch.linspace(-9, 9, 4001).double()[:, None, None]
    with torch.no_grad():
        truth = (joint(program, x, nodes).logsumexp(0) + (nodes[1] - nodes[0]).log()).flatten()
        ratio = (log_weights(program, guide, x, 20_000) - truth).exp()
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / 20_000**0.5).all()


@pytest.mark.parametrize("decoder", ["mlp", "conv", "recurrent"])
def test_the_gradient_through_the_steps_agrees_with_finite_differences(decoder: str) -> None:
    program = VAE(16, 2, (8,))
    program.decoder = make_decoder(decoder, 2, (8,), 16, 1, "tanh", (1, 4, 4))
    guide = SemiAmortized(16, 2, hidden=(8,), steps=3).double()
    guide.bind(lively(program, 0.5).double())
    x, noise = binary(5, 16), torch.randn(5, 2).double()

    def loss() -> Tensor:
        posterior = guide.posterior(x)
        z = posterior.mean + posterior.stddev * noise
        return (posterior.log_prob(z) - joint(program, x, z)).sum()

    parameters = [*guide.parameters(), *program.parameters()]
    gradients = torch.autograd.grad(loss(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn_like(parameter)
        values = []
        for sign in (1, -1):
            parameter.data += sign * 1e-5 * direction
            values.append(loss().item())  # the steps are taken anew, gradients on
            parameter.data -= sign * 1e-5 * direction
        slope = (values[0] - values[1]) / 2e-5
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=1e-4, abs=1e-5)


def test_no_step_is_longer_than_the_radius() -> None:
    program, guide = pair(3, radius=0.25, step_size=50.0)
    x = binary()
    with torch.no_grad():
        before = torch.stack([torch.randn(7, 3), torch.zeros(7, 3) - 0.5], -2).double()
        step = guide.step(program.prior(), x, before, False)
    squares = (step[:, 0] / before[:, 1].exp()).square() + 2 * step[:, 1].square()
    torch.testing.assert_close(squares.mean(-1).sqrt(), torch.full((7,), 0.25).double())


def test_an_elbo_trains_encoder_program_and_step_sizes() -> None:
    program, guide = pair()
    modules, x = nn.ModuleList([program, guide]), binary(20)
    before = {name: p.detach().clone() for name, p in modules.named_parameters()}
    adam = torch.optim.Adam(modules.parameters(), 0.01)
    losses = []
    for _ in range(40):
        adam.zero_grad()
        loss = Trace_ELBO(num_particles=8, vectorize_particles=True).differentiable_loss(program, guide, x)
        loss.backward()
        assert all(p.grad.abs().sum() > 0 for p in modules.parameters())
        adam.step()
        losses.append(loss.item())
    assert all(not torch.equal(p, before[name]) for name, p in modules.named_parameters())
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1


def test_encode_and_family_are_the_unrefined_ones_and_a_frozen_encoder_is_refined_too() -> None:
    _, guide = pair()
    plain = DiagonalNormal(6, 2, (8,)).double()
    plain.encoder.load_state_dict(guide.encoder.state_dict())
    x = binary()
    assert torch.equal(guide.family(guide.encode(x)).mean, plain.posterior(x).mean)
    refined = guide.posterior(x).mean
    assert not torch.allclose(refined, plain.posterior(x).mean)
    guide.encoder.requires_grad_(False)
    torch.testing.assert_close(guide.posterior(x).mean, refined)


def test_an_image_has_its_posterior_whatever_else_is_in_the_batch() -> None:
    program, guide = pair()
    program.float(), guide.float()
    x, order, z = binary(9).float(), torch.randperm(9), torch.randn(9, 2)
    with torch.no_grad():
        together, permuted = guide.posterior(x), guide.posterior(x[order])
        alone = torch.cat([guide.posterior(x[i : i + 1]).log_prob(z[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(alone, together.log_prob(z), rtol=0, atol=1e-3)
    torch.testing.assert_close(permuted.mean, together.mean[order], rtol=0, atol=1e-4)


def test_it_draws_no_random_numbers_leaves_no_trace_and_needs_no_gradients_around_it() -> None:
    program, guide = pair()
    program.decoder = nn.Sequential(nn.Dropout(0.5), program.decoder)
    x, state = binary(), torch.get_rng_state()
    assert list(poutine.trace(guide.posterior).get_trace(x).stochastic_nodes) == []
    with torch.no_grad():
        quiet = guide.posterior(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert program.decoder[0].training
    torch.testing.assert_close(quiet.stddev, guide.posterior(x).stddev)
    assert not quiet.mean.requires_grad
    assert all(p.grad is None for p in program.parameters())
    assert (quiet.batch_shape, quiet.event_shape) == ((7,), (2,))


def test_a_saved_guide_brings_its_noise_along() -> None:
    program, guide = pair()
    copy = SemiAmortized(6, 2, hidden=(8,)).double()
    copy.bind(program)
    x = binary()
    assert not torch.equal(copy.noise, guide.noise)
    copy.load_state_dict(guide.state_dict())
    assert torch.equal(copy.posterior(x).mean, guide.posterior(x).mean)


def test_what_it_cannot_serve_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"SemiAmortized.*latents of Linear are discrete"):
        SemiAmortized(5, 2).bind(Linear(dist.OneHotCategorical(torch.ones(2))))
    with pytest.raises(InvalidInput, match=r"paired with no program"):
        SemiAmortized(6, 2).posterior(binary().float())
    for option, value in {"steps": 0, "num_draws": 3, "step_size": 0.0, "radius": -1.0}.items():
        with pytest.raises(InvalidInput, match=rf"{option} {value}"):
            SemiAmortized(6, 2, **{option: value})
