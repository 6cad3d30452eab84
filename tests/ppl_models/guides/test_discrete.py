from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import poutine

from ppl_models import InvalidInput
from ppl_models.guides import AmortizedGuide
from ppl_models.guides.discrete import IndependentBernoulli, OneHotCategorical

GUIDES = [IndependentBernoulli, OneHotCategorical]


def test_independent_bits_have_the_probabilities_their_logits_say() -> None:
    posterior = IndependentBernoulli(6, 3).family(torch.tensor([[0.0, math.log(3), -1.0]]))
    assert posterior.mean[0].tolist() == pytest.approx([0.5, 0.75, 1 / (1 + math.e)])
    mass = 0.5 * 0.75 * (1 - 1 / (1 + math.e))
    assert posterior.log_prob(torch.tensor([[1.0, 1.0, 0.0]])).item() == pytest.approx(math.log(mass))


def test_categories_have_the_probabilities_their_logits_say() -> None:
    posterior = OneHotCategorical(6, 3).family(torch.tensor([[0.0, math.log(3), math.log(6)]]))
    assert posterior.log_prob(torch.eye(3)[:, None]).exp()[:, 0].tolist() == pytest.approx([0.1, 0.3, 0.6])


@pytest.mark.parametrize("kind", GUIDES)
def test_the_posterior_is_the_family_of_the_encoding(kind: type[AmortizedGuide]) -> None:
    guide = kind(6, 3, (8,), levels=3)
    x = torch.randint(0, 3, (5, 6)).float()
    posterior, parameters = guide.posterior(x), guide.encoder(x / 2)
    assert (posterior.batch_shape, posterior.event_shape) == ((5,), (3,))
    assert parameters.shape == (5, 3)
    one = torch.sigmoid if kind is IndependentBernoulli else lambda logits: torch.softmax(logits, -1)
    torch.testing.assert_close(posterior.mean, one(parameters))


@pytest.mark.parametrize("kind", GUIDES)
def test_draws_are_codes_without_gradient_in_a_plate_of_particles_too(kind: type[AmortizedGuide]) -> None:
    guide = kind(6, 3, (8,))
    with pyro.plate("particles", 4, dim=-2):
        trace = poutine.trace(guide).get_trace(torch.rand(5, 6))
    site = trace.nodes["z"]
    assert site["fn"].batch_shape == (4, 5)
    assert not site["fn"].has_rsample
    assert site["fn"].support.is_discrete
    assert not site["value"].requires_grad
    assert site["fn"].support.check(site["value"]).all()
    assert site["value"].dtype == torch.float32
    assert site["fn"].log_prob(site["value"]).shape == (4, 5)


@pytest.mark.parametrize("kind", GUIDES)
def test_permuting_images_permutes_posteriors(kind: type[AmortizedGuide]) -> None:
    guide, x, order = kind(6, 3), torch.rand(5, 6), torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(guide.posterior(x[order]).mean, guide.posterior(x).mean[order])


@pytest.mark.parametrize("kind", GUIDES)
def test_a_gradient_of_the_score_reaches_every_parameter(kind: type[AmortizedGuide]) -> None:
    guide = kind(6, 3, (8,))
    posterior = guide.posterior(torch.rand(5, 6))
    posterior.log_prob(posterior.sample()).sum().backward()
    assert [n for n, p in guide.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("kind", GUIDES)
def test_half_precision_parameters_are_scored_in_float32_and_doubles_in_float64(kind: type[AmortizedGuide]) -> None:
    guide = kind(6, 3, (8,))
    posterior = guide.family(torch.zeros(2, 3, dtype=torch.bfloat16))
    assert posterior.log_prob(posterior.sample()).dtype == torch.float32
    assert guide.double().posterior(torch.rand(5, 6).double()).sample().dtype == torch.float64


@pytest.mark.parametrize("kind", GUIDES)
def test_wrong_options_are_refused(kind: type[AmortizedGuide]) -> None:
    with pytest.raises(InvalidInput, match="encoder 'perceptron'"):
        kind(6, 3, encoder="perceptron")
    with pytest.raises(InvalidInput, match="images"):
        kind(6, 3)()
