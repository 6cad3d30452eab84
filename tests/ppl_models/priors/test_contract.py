"""What holds for every prior of continuous latents."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pyro
import pytest
import torch
from torch import Tensor, nn

from inference.objectives.elbo import has_analytic_kl
from inference.weights import log_weights
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.priors import FlowPrior, MixtureOfNormals, Prior, StandardNormal, VampPrior
from ppl_models.programs import VAE

Build = Callable[..., Prior]
Grid = Callable[[int], tuple[Tensor, float]]


def modules(prior: Prior) -> list[nn.Module]:
    return [prior, prior.guide()] if isinstance(prior, VampPrior) else [prior]


@pytest.mark.parametrize("latent_dim", [1, 2])
@torch.no_grad()
def test_the_density_integrates_to_one(build: Build, grid: Grid, latent_dim: int) -> None:
    points, volume = grid(latent_dim)
    mass = build(latent_dim)().log_prob(points).exp().sum() * volume
    assert float(mass) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("latent_dim", [1, 2])
@torch.no_grad()
def test_draws_have_the_moments_of_the_density(build: Build, grid: Grid, latent_dim: int) -> None:
    """Also of log p: a density of the right moments and the wrong shape has another entropy."""
    prior, (points, volume), count = build(latent_dim)(), grid(latent_dim), 20_000
    draws = prior.sample((count,))

    def statistics(z: Tensor) -> Tensor:
        products = (z.unsqueeze(-1) * z.unsqueeze(-2)).flatten(1)
        return torch.cat([z, products, torch.sin(2 * z), torch.cos(2 * z), prior.log_prob(z).unsqueeze(-1)], -1)

    weights = prior.log_prob(points).exp() * volume
    truth, found = weights @ statistics(points), statistics(draws)
    error = found.std(0) / math.sqrt(count)
    assert ((found.mean(0) - truth).abs() < 4.5 * error).all()


@torch.no_grad()
def test_draws_of_one_latent_fit_the_distribution_function(build: Build, grid: Grid) -> None:
    """Kolmogorov-Smirnov: beyond 2 / sqrt(n) lies one sample in 1500."""
    prior, (points, volume), count = build(1)(), grid(1), 4000
    cumulative = (prior.log_prob(points).exp() * volume).cumsum(0)
    draws = prior.sample((count,))[:, 0].sort().values
    at = cumulative[torch.searchsorted(points[:, 0], draws).clamp(max=len(points) - 1)]
    empirical = torch.arange(1, count + 1) / count
    assert (at - empirical).abs().max() < 2 / math.sqrt(count)


@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (5, 1, 4)])
def test_shapes_under_leading_dimensions_and_expansion(build: Build, shape: tuple[int, ...]) -> None:
    prior = build(3)()
    assert (prior.batch_shape, prior.event_shape) == ((), (3,))
    z = prior.sample(shape)
    assert z.shape == (*shape, 3)
    assert z.dtype == torch.float64
    log_prob = prior.log_prob(z)
    assert log_prob.shape == shape
    assert log_prob.dtype == torch.float64
    expanded = prior.expand(shape)
    assert (expanded.batch_shape, expanded.event_shape) == (shape, (3,))
    assert expanded.sample().shape == (*shape, 3)
    assert expanded.sample((2,)).shape == (2, *shape, 3)
    torch.testing.assert_close(expanded.log_prob(z), log_prob)
    assert expanded.log_prob(z[..., :1, :] if shape else z).shape == shape
    assert expanded.expand((2, *shape)).log_prob(z).shape == (2, *shape)
    assert prior.has_rsample == expanded.has_rsample


def test_draws_of_an_expanded_prior_are_independent(build: Build) -> None:
    z = build(2)().expand((50, 40)).sample().flatten(0, 1)
    assert len(z.unique(dim=0)) == 2000


def test_a_leading_dimension_scores_row_by_row(build: Build) -> None:
    prior = build(3)()
    z = torch.randn(6, 3, dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(z), torch.stack([prior.log_prob(row) for row in z]))


def test_a_draw_has_a_gradient_exactly_if_the_prior_says_so(build: Build) -> None:
    prior = build(2)
    z = prior()((5,))
    learnable = any(p.requires_grad for p in prior.parameters())
    assert z.requires_grad == (prior().has_rsample and learnable)
    if not prior().has_rsample:
        with pytest.raises(NotImplementedError):
            prior().rsample((5,))


def test_the_log_density_has_the_gradient_of_its_differences(build: Build) -> None:
    """At draws of the prior itself too, and in its tails."""
    prior = build(3)()
    z = torch.cat([prior.sample((3,)), 6 * torch.randn(3, 3, dtype=torch.float64)])
    for points in (z, prior.sample((2,))):
        points = points.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(prior.log_prob(points).sum(), points)
        step = 1e-5 * torch.eye(3, dtype=torch.float64).unsqueeze(1)
        with torch.no_grad():
            truth = (prior.log_prob(points + step) - prior.log_prob(points - step)).T / 2e-5
        torch.testing.assert_close(gradient, truth, rtol=1e-4, atol=1e-5)


def test_a_draw_can_be_moved_by_gradients(build: Build) -> None:
    """A chain that starts at the prior asks for the gradient at what was just drawn, without copying it."""
    prior = build(3)()
    z = prior.sample((4,)).requires_grad_()
    (gradient,) = torch.autograd.grad(prior.log_prob(z).sum(), z)
    assert (gradient.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("shaken", [False, True])
def test_a_gradient_reaches_every_parameter(build: Build, shaken: bool) -> None:
    prior = build(3, shaken)
    z = torch.randn(30, 3, dtype=torch.float64)
    parameters = {name: p for module in modules(prior) for name, p in module.named_parameters() if p.requires_grad}
    if not parameters:
        assert isinstance(prior, StandardNormal)
        return
    prior().log_prob(z).sum().backward()
    assert [n for n, p in parameters.items() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_scoring_follows_the_weights_and_the_gradient_mode(build: Build) -> None:
    """The same tensor z again after an update, and after a pass without gradients."""
    prior = build(2)
    z = torch.randn(4, 2, dtype=torch.float64)
    p = prior()
    with torch.no_grad():
        before = p.log_prob(z)
    again = p.log_prob(z)
    torch.testing.assert_close(again, before)
    if not list(prior.parameters()):
        return
    assert again.requires_grad
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert not torch.allclose(prior().log_prob(z), before)


def test_the_state_goes_into_another_instance(build: Build) -> None:
    saved, fresh = build(3), build(3)
    z = torch.randn(5, 3, dtype=torch.float64)
    for source, target in zip(modules(saved), modules(fresh), strict=True):
        target.load_state_dict(source.state_dict())
    torch.testing.assert_close(fresh().log_prob(z), saved().log_prob(z), rtol=0, atol=0)


def test_a_prior_can_be_copied_after_use(build: Build) -> None:
    prior = build(2)
    z = torch.randn(5, 2, dtype=torch.float64)
    prior().log_prob(z)  # with its graph
    twin = copy.deepcopy(prior)
    torch.testing.assert_close(twin().log_prob(z), prior().log_prob(z), rtol=0, atol=0)


def test_under_autocast_densities_are_float32(build: Build) -> None:
    prior = build(2)
    for module in modules(prior):
        module.float()
    z = torch.randn(5, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert prior().log_prob(z).dtype == torch.float32


def test_on_another_device_nothing_is_left_behind(build: Build) -> None:
    """The meta device computes shapes only, and refuses tensors of another device."""
    prior = build(2)
    for module in modules(prior):
        module.to("meta")
    z = torch.randn(5, 3, 2, dtype=torch.float64, device="meta")
    with pyro.validation_enabled(False):  # it would read values
        log_prob = prior().expand((5, 3)).log_prob(z)
        assert (log_prob.device.type, log_prob.shape) == ("meta", (5, 3))
        assert prior().sample((7,)).device.type == "meta"


def pair(build: Build, latent_dim: int = 1) -> tuple[VAE, DiagonalNormal]:
    """A program with this prior, bound to a guide of its own."""
    program = VAE(6, latent_dim, (5,), prior=build(latent_dim)).double()
    guide = DiagonalNormal(6, latent_dim, (5,)).double()
    program.bind_guide(guide) if not isinstance(program.latent_prior, VampPrior) else program.latent_prior.hold()
    return program, guide


@torch.no_grad()
def test_importance_weights_reach_the_evidence_by_quadrature(build: Build, grid: Grid) -> None:
    program, guide = pair(build)
    x = torch.randint(0, 2, (3, 6)).double()
    points, volume = grid(1)
    given = program.likelihood(points.unsqueeze(1)).log_prob(x)
    truth = (given + program.prior().log_prob(points).unsqueeze(1)).logsumexp(0) + math.log(volume)
    log_w = log_weights(program, guide, x, 4000)
    assert log_w.shape == (4000, 3)
    weights = (log_w - truth).exp()
    error = weights.std(0) / math.sqrt(4000)
    assert error.max() < 0.1
    assert ((weights.mean(0) - 1).abs() < 4.5 * error).all()


def test_only_the_standard_normal_has_a_divergence_in_closed_form(build: Build) -> None:
    program, guide = pair(build)
    assert has_analytic_kl(program, guide) == isinstance(program.latent_prior, StandardNormal)


def test_the_program_generates_inside_its_plate(build: Build) -> None:
    program, _ = pair(build, 2)
    assert program(size=7).shape == (7, 6)
    with pyro.plate("particles", 3, dim=-2), pyro.plate("image", 4):
        assert pyro.sample("z", program.prior()).shape == (3, 4, 2)


@pytest.mark.parametrize("kind", [StandardNormal, MixtureOfNormals, FlowPrior])
def test_a_prior_without_latents_is_refused(kind: Callable[[int], Prior]) -> None:
    with pytest.raises(InvalidInput, match="latent_dim 0"):
        kind(0)
