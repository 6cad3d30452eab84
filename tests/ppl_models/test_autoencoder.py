from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity


@pytest.fixture
def baseline() -> NotADensity:
    return NotADensity(Autoencoder(6, 2, (8,))).double()


@pytest.mark.parametrize("question", [lambda b, x: b(x), lambda b, x: b(size=3), lambda b, x: b.log_prob(x)])
def test_every_question_about_probability_is_answered_by_the_reason(question: Callable, baseline: NotADensity) -> None:
    with pytest.raises(NotADensityError, match=r"does not sum to one.*codes have no prior") as caught:
        question(baseline, torch.zeros(2, 6, dtype=torch.float64))
    assert "\n" not in str(caught.value)


def test_the_pseudo_likelihood_has_a_mass_that_is_not_one_and_moves_with_sigma(
    baseline: NotADensity, all_images: Callable
) -> None:
    x = all_images(6)
    masses = [baseline.pseudo_log_prob(x, sigma).exp().sum().item() for sigma in (0.3, 0.5, 1.0)]
    assert all(abs(mass - 1) > 0.05 for mass in masses)
    assert max(masses) / min(masses) > 2


def test_the_pseudo_likelihood_is_the_gaussian_formula(baseline: NotADensity) -> None:
    x = torch.rand(4, 6, dtype=torch.float64)
    normal = torch.distributions.Normal(baseline.reconstruct(x), 0.7)
    torch.testing.assert_close(baseline.pseudo_log_prob(x, 0.7), normal.log_prob(x).sum(-1))
    with pytest.raises(InvalidInput, match="sigma"):
        baseline.pseudo_log_prob(x, 0.0)


def test_grey_images_are_reconstructed_on_their_own_scale() -> None:
    net = Autoencoder(6, 2, (8,), levels=17)
    assert net(torch.full((3, 6), 16.0)).shape == (3, 6)
    assert 0 <= net(torch.full((3, 6), 16.0)).min() <= net(torch.full((3, 6), 16.0)).max() <= 16
