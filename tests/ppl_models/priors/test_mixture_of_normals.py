from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.priors import ComponentMixture, MixtureOfNormals, component_mixture

K, L = 5, 3


def shaken() -> MixtureOfNormals:
    prior = MixtureOfNormals(L, K).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter))
    return prior


@torch.no_grad()
def by_scipy(prior: MixtureOfNormals, z: Tensor) -> np.ndarray:
    """log sum_k softmax(logits)_k prod_l N(z_l; mu_kl, sigma_kl^2)."""
    loc, scale = prior.loc.numpy(), np.exp(prior.log_scale.numpy())
    each = scipy.stats.norm(loc, scale).logpdf(z.numpy()[:, None, :]).sum(-1)
    return scipy.special.logsumexp(each + scipy.special.log_softmax(prior.logits.numpy()), axis=-1)


@torch.no_grad()
def test_the_density_is_the_formula() -> None:
    prior, z = shaken(), 3 * torch.randn(20, L, dtype=torch.float64)
    np.testing.assert_allclose(prior().log_prob(z).numpy(), by_scipy(prior, z), rtol=1e-12)


@torch.no_grad()
def test_the_components_come_with_their_weights() -> None:
    """Narrow and far apart: the component of a draw can be read off."""
    prior = MixtureOfNormals(1, 3)
    prior.logits.copy_(torch.tensor([0.2, 0.5, 0.3]).log() + 7)
    prior.loc.copy_(torch.tensor([[-10.0], [0.0], [10.0]]))
    prior.log_scale.fill_(-2)
    draws = prior().sample((3000,))[:, 0]
    counts = [int((draws < -5).sum()), int((draws.abs() < 5).sum()), int((draws > 5).sum())]
    assert scipy.stats.chisquare(counts, [600, 1500, 900]).pvalue > 1e-4


@torch.no_grad()
def test_before_training_the_components_differ_and_are_together_about_a_standard_normal() -> None:
    prior = MixtureOfNormals(4, 2000)
    assert len(prior.loc.unique(dim=0)) == 2000
    variance = (prior.loc**2 + (2 * prior.log_scale).exp()).mean(0)
    torch.testing.assert_close(variance, torch.ones(4), rtol=0, atol=0.1)
    z = torch.randn(10, 2)
    truth = dist.Normal(0, 1).expand((2,)).to_event(1).log_prob(z)
    torch.testing.assert_close(MixtureOfNormals(2, 1)().log_prob(z), truth)


@pytest.fixture
def sharp() -> tuple[ComponentMixture, Tensor, Tensor]:
    """A float32 mixture of narrow components in many dimensions, points near them, and log p in float64."""
    count, length = 40, 50
    logits, loc = torch.randn(count), 4 * torch.randn(count, length)
    scale = torch.logspace(-3, 0, count)[:, None].expand(count, length).contiguous()
    mixture = ComponentMixture(logits, lambda chosen: dist.Normal(loc[chosen], scale[chosen]).to_event(1))
    z = loc + scale * torch.randn(count, length)
    residual = (z.double()[:, None] - loc.double()) / scale.double()
    each = -0.5 * (residual**2).sum(-1) - scale.double().log().sum(-1) - length / 2 * math.log(2 * math.pi)
    truth = torch.logsumexp(each + torch.log_softmax(logits.double(), 0), -1)
    return mixture, z, truth


def test_matrix_products_are_exact_where_their_terms_cancel(sharp: tuple) -> None:
    mixture, z, truth = sharp
    assert mixture.by_products
    torch.testing.assert_close(mixture.log_prob(z), truth.float(), rtol=0, atol=1e-4)


def test_both_forms_have_the_same_gradients(sharp: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, z = shaken(), torch.randn(6, L, dtype=torch.float64)
    found = []
    for by_products in (True, False):
        monkeypatch.setattr(ComponentMixture, "by_products", by_products)
        log_prob = prior().log_prob(z)
        found.append([log_prob, *torch.autograd.grad(log_prob.sum(), list(prior.parameters()))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_family_that_is_no_diagonal_normal_is_scored_pair_by_pair() -> None:
    class Shifted(dist.Normal):
        def log_prob(self, value: Tensor) -> Tensor:
            return super().log_prob(value - 1)

    z = torch.randn(4, 2)
    for base in (dist.StudentT(3.0, torch.zeros(2, 2), 1.0), Shifted(torch.zeros(2, 2), 1.0)):
        mixture = ComponentMixture(torch.zeros(2), lambda chosen, base=base: base.to_event(1))
        assert not mixture.by_products
        torch.testing.assert_close(mixture.log_prob(z), base.log_prob(z[:, None]).sum(-1)[:, 0])


@pytest.mark.parametrize("by_products", [True, False])
@torch.no_grad()
def test_rows_are_scored_in_turns_within_the_bound(by_products: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, z = shaken(), torch.randn(4, 7, L, dtype=torch.float64)
    whole = prior().log_prob(z)
    bound, numbers, rows = 100, 4 if by_products else L, []
    monkeypatch.setattr(component_mixture, "MAX_NUMBERS", bound)
    monkeypatch.setattr(ComponentMixture, "by_products", by_products)
    name = "_products" if by_products else "_pairs"
    score = getattr(ComponentMixture, name)
    monkeypatch.setattr(ComponentMixture, name, lambda self, z: rows.append(len(z)) or score(self, z))
    torch.testing.assert_close(prior().log_prob(z), whole)
    assert sum(rows) == 28
    assert max(rows) == bound // (K * numbers)
    monkeypatch.setattr(component_mixture, "MAX_NUMBERS", 1)
    torch.testing.assert_close(prior().log_prob(z), whole)


def test_no_draws_have_a_shape_too() -> None:
    assert shaken()().sample((0,)).shape == (0, L)


def test_values_outside_the_support_are_refused_when_validated() -> None:
    prior = shaken()()
    with pytest.raises(ValueError, match="support"):
        prior.log_prob(torch.full((2, L), math.nan, dtype=torch.float64))
    with pytest.raises(ValueError, match="right-most size"):
        prior.log_prob(torch.zeros(2, L + 1, dtype=torch.float64))


def test_wrong_components_are_refused() -> None:
    with pytest.raises(InvalidInput, match="components 0"):
        MixtureOfNormals(2, 0)
    with pytest.raises(InvalidInput, match="to_event"):
        ComponentMixture(torch.zeros(4), lambda chosen: dist.Normal(torch.zeros(4, 2), 1.0))
    with pytest.raises(InvalidInput, match=r"batch shape \(3,\)"):
        ComponentMixture(torch.zeros(4), lambda chosen: dist.Normal(torch.zeros(3, 2), 1.0).to_event(1))
