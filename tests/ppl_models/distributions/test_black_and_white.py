"""Independent black or white pixels: the sums by products against Bernoulli's own, in double precision."""

from __future__ import annotations

import itertools

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

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


PAIRS = [
    ((7, 1, 6), (5, 6)),
    ((7, 1, 6), (1, 5, 6)),
    ((1, 7, 6), (5, 1, 6)),
    ((3, 1, 2, 1, 6), (4, 1, 5, 6)),
    ((2, 1, 1, 6), (3, 1, 6)),
    ((7, 1, 1), (5, 6)),
]


@pytest.mark.parametrize(("logits", "x"), PAIRS)
@pytest.mark.parametrize("expanded", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_all_images_under_all_decodes_are_bernoullis(logits: tuple, x: tuple, expanded: bool, grad: bool) -> None:
    scores, images = (5 * torch.randn(logits)).requires_grad_(grad), (torch.rand(x) < 0.4).float()
    likelihood = IndependentBernoulli(scores.expand(*logits[:-1], 6))
    if expanded:  # as a plate does
        likelihood = likelihood.expand(torch.broadcast_shapes(logits[:-1], x[:-1]))
    found, wanted = likelihood.log_prob(images), expected(scores, images)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=3e-5)
    if grad:
        weight = torch.randn(found.shape)
        gradients = [torch.autograd.grad((weight * value).sum(), scores)[0] for value in (found, wanted)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("logits", [(6,), (1, 6), (2, 1, 6)])
def test_an_expanded_distribution_scores_one_image_once_per_copy(logits: tuple) -> None:
    likelihood = IndependentBernoulli(torch.randn(logits)).expand((2, 4))
    assert likelihood.log_prob(torch.ones(6)).shape == (2, 4)


def test_each_copy_of_an_expanded_logit_has_a_gradient_of_its_own() -> None:
    """Copies share their memory: to see so and to score one for all would put the others' gradient on the first."""
    logits, x = torch.randn(7, 1, 6).requires_grad_().expand(7, 5, 6), (torch.rand(5, 6) < 0.4).float()
    (found,) = torch.autograd.grad(IndependentBernoulli(logits).log_prob(x).sum(), logits)
    torch.testing.assert_close(found, (x - torch.sigmoid(logits)).detach())


def test_all_pairs_are_scored_in_full_precision_under_autocast() -> None:
    """Under it, matrix products keep 8 bits: 64 logits of 5 would be wrong by tenths of a nat."""
    logits, x = 5 * torch.randn(7, 1, 64), (torch.rand(5, 64) < 0.4).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = IndependentBernoulli(logits).log_prob(x)
    torch.testing.assert_close(found.double(), expected(logits, x), rtol=1e-6, atol=3e-5)


def test_all_pairs_make_no_tensor_of_all_their_pixels() -> None:
    """2^14 codes x 2^10 images x 64 pixels would be 4 GiB; the machine would show it, a count of elements does so."""
    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            largest = max(largest, made.numel() if isinstance(made, Tensor) and made.is_contiguous() else 0)
            return made

    likelihood = IndependentBernoulli(torch.randn(128, 1, 64)).expand((128, 100))
    with Sizes():
        likelihood.log_prob(torch.ones(100, 64))
    assert largest == 128 * 100


@pytest.mark.parametrize("logit", [torch.inf, -torch.inf])
def test_certain_pixels_stay_certain_among_all_pairs(logit: float) -> None:
    logits, x = torch.full((3, 1, 2), logit), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    possible, impossible = (0, 1) if logit > 0 else (1, 0)
    found = IndependentBernoulli(logits).log_prob(x)
    assert found[:, possible].tolist() == [0.0] * 3
    assert found[:, impossible].tolist() == [-torch.inf] * 3


def test_a_logit_that_is_no_number_shows_among_all_pairs() -> None:
    logits = torch.zeros(2, 1, 4)
    logits[0, 0, 1] = torch.nan
    assert IndependentBernoulli(logits).log_prob(torch.zeros(3, 4)).isnan().all(-1).tolist() == [True, False]
