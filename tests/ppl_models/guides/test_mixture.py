"""The gradient of a mixture's draws where it is hard, and its components."""

from __future__ import annotations

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import optimize, special, stats

from ppl_models.guides.mixture import Mixture, PathwiseMixture, path_of_logits


def test_a_mixture_of_one_component_is_a_diagonal_normal() -> None:
    guide = Mixture(4, 2, components=1).double()
    parameters = torch.randn(3, 5, dtype=torch.float64)
    loc, scale = parameters[:, 1:3], torch.log1p(torch.exp(parameters[:, 3:] + np.log(np.e - 1))) + 1e-5
    z = torch.randn(7, 3, 2, dtype=torch.float64)
    truth = torch.distributions.Normal(loc, scale).log_prob(z).sum(-1)
    torch.testing.assert_close(guide.family(parameters).log_prob(z), truth)


def test_components_are_drawn_as_often_as_their_weights_say() -> None:
    logits, loc = torch.tensor([[0.0, 1.0, -1.0]]), torch.tensor([[-50.0, 0.0, 50.0]]).unsqueeze(-1).expand(1, 3, 2)
    mixture = PathwiseMixture(dist.Categorical(logits=logits), dist.Normal(loc, torch.ones(1, 3, 2)).to_event(1))
    for z in (mixture.sample((20_000,)), mixture.expand((2, 1)).rsample((10_000,))):
        found = torch.bucketize(z.flatten(0, -2)[:, 0].contiguous(), torch.tensor([-25.0, 25.0])).bincount() / 20_000
        truth = torch.softmax(logits[0], -1)
        assert ((found - truth).abs() < 4.5 * (truth * (1 - truth) / 20_000).sqrt()).all()


def by_quadrature(logits: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """dE[tanh(z_1) + sin(z_2) + tanh(z_1 z_2)] / dlogits = pi_j (E_j[f] - E[f]), by the trapezoidal rule."""
    t = np.linspace(-12, 12, 1201)
    first, second = np.meshgrid(t, t, indexing="ij")
    f = np.tanh(first) + np.sin(second) + np.tanh(first * second)
    given = [
        (np.outer(stats.norm(m[0], s[0]).pdf(t), stats.norm(m[1], s[1]).pdf(t)) * f).sum() * (t[1] - t[0]) ** 2
        for m, s in zip(loc, scale, strict=True)
    ]
    weights = special.softmax(logits)
    return weights * (given - weights @ given)


CASES = {
    "near": ([0.3, -0.2, 0.0], [[0.0, 0.5], [0.4, -0.3], [-0.6, 0.2]], [[1.0, 0.8], [0.6, 1.2], [1.0, 1.0]]),
    "three widths apart": ([0.3, -0.2, 0.0], [[-1.5, 0.5], [1.5, -0.3], [0.0, 2.0]], [[1, 0.8], [0.8, 1.0], [0.7, 1]]),
    "one within the other": ([0.0, 0.5, -1.0], [[0.0, 0.0], [0.2, 0.1], [1.0, 1.0]], [[2, 2], [0.3, 0.3], [1, 0.2]]),
    "far in one latent only": ([0.2, 0.0, 0.1], [[0.0, 4.0], [0.3, -4.0], [-0.2, 0.0]], [[1, 1], [1, 1], [1, 2.0]]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_the_weights_is_that_of_quadrature(case: str, dtype: torch.dtype) -> None:
    truth = by_quadrature(*(np.array(part) for part in CASES[case]))
    logits, loc, scale = (torch.tensor(part, dtype=dtype) for part in CASES[case])
    logits.requires_grad_()
    found = []
    for _ in range(60):
        mixture = PathwiseMixture(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))
        z = mixture.rsample((2000,))
        value = torch.tanh(z[:, 0]) + torch.sin(z[:, 1]) + torch.tanh(z[:, 0] * z[:, 1])
        found.append(torch.autograd.grad(value.mean(), logits)[0].numpy())
    error = np.std(found, axis=0) / 60**0.5
    assert (abs(np.mean(found, axis=0) - truth) < 4.5 * error).all()
    assert abs(truth).max() > 8 * error.max(), "the test can tell it from zero"


def test_a_draw_moves_as_its_uniforms_stay() -> None:
    """dz / dlogits against the inverse distribution function of one latent, by root finding."""
    logits, loc, scale = torch.tensor([0.4, -0.3]), torch.tensor([[-1.0], [0.8]]), torch.tensor([[0.7], [1.1]])

    def quantile(level: float, first: float) -> float:
        weights = special.softmax([first, -0.3])
        both = [stats.norm(-1.0, 0.7), stats.norm(0.8, 1.1)]
        return optimize.brentq(lambda z: weights @ [n.cdf(z) for n in both] - level, -20, 20, xtol=1e-13)

    logits, loc, scale = (t.double() for t in (logits, loc, scale))
    logits.requires_grad_()
    mixture = PathwiseMixture(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))
    for z in mixture.rsample((5,)):
        found = torch.autograd.grad(z[0], logits, retain_graph=True)[0][0].item()
        weights = special.softmax([0.4, -0.3])
        exact = [stats.norm(m.item(), s.item()).cdf(z.item()) for m, s in zip(loc, scale, strict=True)]
        level = weights @ exact
        truth = (quantile(level, 0.4 + 1e-4) - quantile(level, 0.4 - 1e-4)) / 2e-4
        assert found == pytest.approx(truth, rel=1e-4)


def test_equal_components_have_a_finite_gradient_and_none_in_their_weights() -> None:
    guide = Mixture(4, 3, components=4)
    parameters = torch.zeros(5, guide.num_parameters(), requires_grad=True)
    gradient = torch.autograd.grad(guide.family(parameters).rsample((10,)).sum(), parameters)[0]
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(gradient[:, :4], torch.zeros(5, 4))
    torch.testing.assert_close(gradient[:, 4:16].view(5, 4, 3).sum(1), torch.full((5, 3), 10.0))


def test_a_draw_moves_with_its_own_component_alone() -> None:
    loc = torch.tensor([[-1.0, 0.0], [0.8, 0.5], [0.1, -0.4]]).requires_grad_()
    scale = torch.tensor([[1.0, 0.5], [0.7, 1.2], [0.9, 0.9]]).requires_grad_()
    logits = torch.zeros(3, requires_grad=True)
    mixture = PathwiseMixture(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))
    for z in mixture.rsample((20,)):
        by_loc, by_scale = torch.autograd.grad(z.sum(), (loc, scale), retain_graph=True)
        own = by_loc[:, 0].argmax()
        torch.testing.assert_close(by_loc, torch.eye(3)[own][:, None].expand(3, 2))
        torch.testing.assert_close(by_scale[own], (z.detach() - loc[own].detach()) / scale[own].detach())
        assert by_scale.count_nonzero() == 2


@pytest.mark.parametrize("place", [-5.0, 5.0])
def test_single_precision_follows_double_into_the_tails(place: float) -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([0.3, -0.4], dtype=dtype, requires_grad=True)
        loc, scale = torch.tensor([[0.0], [0.2]], dtype=dtype), torch.tensor([[1.0], [0.9]], dtype=dtype)
        moved = path_of_logits(torch.tensor([place], dtype=dtype), torch.log_softmax(logits, -1), loc, scale)
        assert moved.item() == 0
        found.append(torch.autograd.grad(moved.sum(), logits)[0].double())
    torch.testing.assert_close(*found, rtol=1e-4, atol=0)
