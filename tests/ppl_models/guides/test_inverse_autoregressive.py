"""The flow guide: its formula, what its memory may answer, what a density costs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from inference.weights import log_weights
from ppl_models.guides.inverse_autoregressive import InverseAutoregressive
from ppl_models.programs import VAE
from tests.ppl_models.guides.amortized_families import flow_forward, lively, some_parameters


@pytest.fixture
def guide() -> InverseAutoregressive:
    """Three latents, lively flows."""
    return lively("flow", 3)


def jacobian(guide: InverseAutoregressive, p: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Of the whole flow at one noise (L,), by central differences."""
    moves = 1e-5 * np.eye(len(noise))
    up, down = flow_forward(guide, p, noise + moves), flow_forward(guide, p, noise - moves)
    return ((up - down) / 2e-5).T


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
@pytest.mark.parametrize("flows", [1, 2, 3])
def test_the_density_is_that_of_the_change_of_variables(latent_dim: int, flows: int) -> None:
    guide = lively("flow", latent_dim, flows=flows)
    parameters = some_parameters(guide, 3)
    for image, row in enumerate(parameters.numpy()):
        noise = np.random.default_rng(image).normal(size=(6, latent_dim))
        z = flow_forward(guide, row, noise)
        truth = [stats.norm.logpdf(e).sum() - np.log(abs(np.linalg.det(jacobian(guide, row, e)))) for e in noise]
        found = guide.family(parameters).log_prob(torch.from_numpy(z)[:, None])[:, image]
        np.testing.assert_allclose(found.detach(), truth, rtol=1e-6)


def test_a_draw_is_the_flow_of_its_noise(guide: InverseAutoregressive) -> None:
    parameters = some_parameters(guide, 4)
    torch.manual_seed(5)
    z = guide.family(parameters).rsample()
    torch.manual_seed(5)
    noise = torch.randn(4, 3, dtype=torch.float64).numpy()
    for image, row in enumerate(parameters.numpy()):
        np.testing.assert_allclose(z[image].detach(), flow_forward(guide, row, noise[image : image + 1])[0], rtol=1e-9)


def test_the_order_of_the_latents_is_reversed_between_flows() -> None:
    """One flow's Jacobian is lower-triangular, the next one's upper-triangular; the whole one's is neither."""
    guide = lively("flow", 4, flows=3)
    context = torch.randn(3, dtype=torch.float64)
    x = torch.randn(4, dtype=torch.float64)
    for number, flow in enumerate(guide.flows):
        matrix = torch.autograd.functional.jacobian(flow.condition(context), x)
        upper = torch.triu(matrix, 1).abs()[torch.triu(torch.ones(4, 4), 1) > 0]
        lower = torch.tril(matrix, -1).abs()[torch.tril(torch.ones(4, 4), -1) > 0]
        assert (lower.max() == 0) if number % 2 else (upper.max() == 0)
        assert (upper if number % 2 else lower).min() > 0
    whole = jacobian(guide, some_parameters(guide, 1)[0].numpy(), np.zeros(4))
    assert (abs(whole) > 1e-6).all()


def passes(guide: InverseAutoregressive) -> list[int]:
    """A count of the passes of the flows' nets, which goes on by itself."""
    count = [0]
    for flow in guide.flows:
        flow.nn.layers[0].register_forward_hook(lambda *_: count.__setitem__(0, count[0] + 1))
    return count


@pytest.mark.parametrize("gradients", [True, False])
def test_a_draw_and_its_density_cost_one_pass(guide: InverseAutoregressive, gradients: bool) -> None:
    count = passes(guide)
    with torch.set_grad_enabled(gradients):
        posterior = guide.family(some_parameters(guide, 5))
        for q in (posterior, posterior.expand((4, 5))):
            count[0] = 0
            z = q.rsample()
            found = q.log_prob(z)
            assert count[0] == 2
            again = q.log_prob(z.clone())
            assert count[0] == 2 + 2 * 3
            torch.testing.assert_close(found, again)


def test_importance_weights_cost_one_pass(guide: InverseAutoregressive) -> None:
    program, count = VAE(4, 3, (5,)).double(), passes(guide)
    guide.bind(program)
    with torch.no_grad():
        log_weights(program, guide, torch.zeros(2, 4).double(), 50)
    assert count[0] == 2


def test_what_was_drawn_before_the_last_draw_or_elsewhere_is_scored_afresh(guide: InverseAutoregressive) -> None:
    parameters = some_parameters(guide, 5)
    posterior, twin = guide.family(parameters), guide.family(parameters)
    first, second = posterior.rsample(), posterior.rsample((2,))
    truth = [twin.log_prob(z.clone()) for z in (first, second)]
    torch.testing.assert_close(posterior.log_prob(first), truth[0])
    torch.testing.assert_close(posterior.log_prob(second), truth[1])
    torch.testing.assert_close(posterior.log_prob(first), truth[0])
    other = guide.family(parameters.flip(0))  # other images: nothing of the memory may be shared
    z = other.rsample()
    torch.testing.assert_close(posterior.log_prob(z), twin.log_prob(z.clone()))
    assert not torch.allclose(posterior.log_prob(z), other.log_prob(z))


def gradients(guide: InverseAutoregressive, value: Tensor, parameters: Tensor) -> list[Tensor]:
    wanted = [parameters, *guide.flows.parameters()]
    found = torch.autograd.grad(value, wanted, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]


def test_the_gradient_at_a_fixed_value_is_not_taken_from_the_memory(guide: InverseAutoregressive) -> None:
    parameters = some_parameters(guide, 5).requires_grad_()
    posterior = guide.family(parameters)
    for z in (posterior.sample(), posterior.sample((2,)), posterior.rsample().detach()):
        found = gradients(guide, posterior.log_prob(z).sum(), parameters)
        fresh = gradients(guide, guide.family(parameters).log_prob(z.clone()).sum(), parameters)
        for one, other in zip(found, fresh, strict=True):
            torch.testing.assert_close(one, other)
    step, index = 1e-5, (2, 4)
    moved = [parameters.detach().clone() for _ in range(2)]
    moved[0][index] += step
    moved[1][index] -= step
    up, down = (guide.family(p).log_prob(z).sum() for p in moved)
    assert found[0][index].item() == pytest.approx(((up - down) / (2 * step)).item(), rel=1e-5)


def test_the_gradient_by_a_leaf_that_was_drawn_is_the_score(guide: InverseAutoregressive) -> None:
    posterior = guide.family(some_parameters(guide, 5))
    z = posterior.sample().requires_grad_()
    found = torch.autograd.grad(posterior.log_prob(z).sum(), z)[0]
    moves = 1e-6 * torch.eye(3, dtype=torch.float64)
    with torch.no_grad():
        for index, move in enumerate(moves):
            slope = (posterior.log_prob(z + move) - posterior.log_prob(z - move)) / 2e-6
            torch.testing.assert_close(found[:, index], slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("expanded", [False, True])
def test_the_total_gradient_is_the_same_with_and_without_memory(guide: InverseAutoregressive, expanded: bool) -> None:
    """d/dtheta log q_theta(z_theta): by the memory, and by inverting the same draw."""
    parameters = some_parameters(guide, 5).requires_grad_()
    posterior = guide.family(parameters)
    posterior = posterior.expand((4, 5)) if expanded else posterior
    z = posterior.rsample()
    remembered = gradients(guide, posterior.log_prob(z).sum(), parameters)
    inverted = gradients(guide, posterior.log_prob(z.clone()).sum(), parameters)
    for one, other in zip(remembered, inverted, strict=True):
        torch.testing.assert_close(one, other)


def test_before_training_the_flows_are_nearly_the_identity() -> None:
    guide = InverseAutoregressive(4, 5).double()
    parameters, z = some_parameters(guide, 20), torch.randn(20, 5, dtype=torch.float64)
    base = guide.family(parameters).base_dist
    with torch.no_grad():
        assert (guide.family(parameters).log_prob(z) - base.log_prob(z)).abs().max() < 0.5
        torch.manual_seed(1)
        drawn = guide.family(parameters).rsample()
        torch.manual_seed(1)
        assert (drawn - base.rsample()).abs().max() < 0.1
        assert not torch.equal(drawn, base.rsample())


def test_one_latent_needs_no_autoregression_and_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guide = InverseAutoregressive(4, 1)
    x = torch.rand(3, 4)
    z = guide.posterior(x).rsample((5,))
    assert guide.posterior(x).log_prob(z).shape == (5, 3)


def test_the_family_is_the_whole_flow_and_depends_on_the_context(guide: InverseAutoregressive) -> None:
    x, z = torch.rand(5, 4, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    parameters = guide.encode(x)
    assert parameters.shape == (5, 2 * 3 + 3)
    torch.testing.assert_close(guide.family(parameters).log_prob(z), guide.posterior(x).log_prob(z))
    changed = torch.cat([parameters[:, :6], parameters[:, 6:] + 1], -1)
    assert (guide.family(changed).log_prob(z) - guide.posterior(x).log_prob(z)).abs().min() > 1e-3


def test_a_bent_posterior_is_fitted_better_than_by_any_normal() -> None:
    """Target: z_1 ~ N(0, 1), z_2 | z_1 ~ N(z_1^2, 0.25).

    For a normal q with Var(z_1) = u the residual of z_1^2 after a linear function of z_1 has variance 2 u^2, so that KL
    = u / 2 + 4 u^2 - log(u) / 2 - 1/2 + const, least where u + 16 u^2 = 1: 0.56 nats.
    """
    torch.manual_seed(0)
    u = (65**0.5 - 1) / 32
    best_normal = u / 2 + 4 * u**2 - np.log(u) / 2 - 0.5
    guide = InverseAutoregressive(1, 2, (4,), flows=2, flow_hidden=(16,), context_dim=1)
    optimizer = torch.optim.Adam(guide.parameters(), 2e-2)
    x = torch.zeros(1, 1)

    def divergence(count: int) -> Tensor:
        posterior = guide.posterior(x)
        z = posterior.rsample((count,))
        first, second = z[:, 0, 0], z[:, 0, 1]
        target = torch.distributions.Normal(0.0, 1.0).log_prob(first)
        target = target + torch.distributions.Normal(first.square(), 0.5).log_prob(second)
        return (posterior.log_prob(z)[:, 0] - target).mean()

    for _ in range(250):
        optimizer.zero_grad()
        divergence(100).backward()
        optimizer.step()
    with torch.no_grad():
        assert divergence(20_000) < best_normal - 0.1
