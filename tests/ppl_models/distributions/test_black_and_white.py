"""Independent black or white pixels: the sums by products against Bernoulli's own, in double precision."""

from __future__ import annotations

import itertools

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from ppl_models.distributions import BernoulliPixels, IndependentBernoulli


def expected(logits: Tensor, x: Tensor) -> Tensor:
    return torch.distributions.Bernoulli(logits=logits.double()).log_prob(x.double()).sum(-1)


@pytest.mark.parametrize("pixels", [1, 3, 4, 6, 64, 784])
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("grad", [False, True])
def test_the_log_probability_is_bernoullis(pixels: int, spread: float, grad: bool) -> None:
    logits, x = spread * torch.randn(5, 3, pixels), (torch.rand(3, pixels) < 0.4).float()
    kept = logits.clone()
    with torch.set_grad_enabled(grad):
        found = IndependentBernoulli(logits).log_prob(x)
    torch.testing.assert_close(found.double(), expected(logits, x), rtol=1e-6, atol=3e-5)
    torch.testing.assert_close(logits, kept, rtol=0, atol=0)


@pytest.mark.parametrize("logit", [-19.0, -21.0, -60.0, -200.0])
def test_improbable_pixels_do_not_underflow(logit: float) -> None:
    """Four probabilities of exp(-60) have a product that float32 does not hold."""
    logits = torch.full((1, 8), logit)
    with torch.no_grad():
        found = IndependentBernoulli(logits).log_prob(torch.ones(8))
    torch.testing.assert_close(found.double(), expected(logits, torch.ones(8)), rtol=1e-6, atol=0)


def test_the_probabilities_of_all_images_sum_to_one() -> None:
    images = torch.tensor(list(itertools.product((0.0, 1.0), repeat=8)))
    with torch.no_grad():
        mass = IndependentBernoulli(2 * torch.randn(8)).log_prob(images).logsumexp(0)
    torch.testing.assert_close(mass, torch.zeros(()), rtol=0, atol=1e-5)


def test_the_gradient_is_pixel_minus_probability() -> None:
    logits, x = torch.randn(2, 4, requires_grad=True), torch.tensor([0.0, 1.0, 1.0, 0.0])
    IndependentBernoulli(logits).log_prob(x).sum().backward()
    torch.testing.assert_close(logits.grad, (x - torch.sigmoid(logits)).detach())


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("pixels", [4, 5])
def test_a_logit_that_is_no_number_shows(grad: bool, pixels: int) -> None:
    logits = torch.zeros(2, pixels)
    logits[0, 1] = torch.nan
    with torch.set_grad_enabled(grad):
        found = IndependentBernoulli(logits).log_prob(torch.zeros(pixels))
    assert found.isnan().tolist() == [True, False]


def test_it_is_what_to_event_makes() -> None:
    logits = torch.randn(3, 1, 4)
    ours, theirs = BernoulliPixels().image_distribution(logits[..., None]), dist.Bernoulli(logits=logits).to_event(1)
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    assert (ours.support.is_discrete, ours.support.event_dim) == (True, 1)
    torch.testing.assert_close(ours.mean, theirs.mean)
    wide = ours.expand((2, 3, 5))
    assert (type(wide), wide.batch_shape, wide.event_shape) == (IndependentBernoulli, (2, 3, 5), (4,))
    x = wide.sample()
    torch.testing.assert_close(wide.log_prob(x), theirs.expand((2, 3, 5)).log_prob(x))
    with pytest.raises(ValueError, match="support"):
        ours.log_prob(torch.full((4,), 0.5))
