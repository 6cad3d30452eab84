"""Maximum likelihood of a program with latents: the program goes its own way, the guide is trained beside it."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor

from inference import fit
from inference.objectives import NegativeLogLikelihood
from ppl_models.program import HasLogProb
from tests.inference.objectives.pairs import Affine, Linear, divergence_term, gradients, likelihood_term, linear_pair

Adam = partial(torch.optim.Adam, lr=0.02)


class ExactLinear(Linear, HasLogProb):
    """Knows its marginal: x ~ N(b, W W^T + s^2 I)."""

    def log_prob(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + (2 * self.log_scale).exp() * torch.eye(self.data_dim).to(x)
        return torch.distributions.MultivariateNormal(self.bias, covariance).log_prob(x)


def pair() -> tuple[ExactLinear, Affine]:
    program, guide = linear_pair()
    exact = ExactLinear(3, 2).double()
    exact.load_state_dict(program.state_dict())
    return exact, guide


@pytest.fixture
def x() -> Tensor:
    return torch.randn(200, 3, dtype=torch.float64) * torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)


def test_the_guide_changes_neither_the_value_nor_the_programs_gradient(x: Tensor) -> None:
    program, guide = pair()
    with_guide, alone = NegativeLogLikelihood(program, guide)(x), NegativeLogLikelihood(program)(x)
    assert with_guide.item() == alone.item()
    assert torch.equal(gradients(with_guide, program), gradients(alone, program))
    assert all(p.requires_grad for p in program.parameters())


def test_the_guides_gradient_is_that_of_the_negative_elbo(x: Tensor) -> None:
    program, guide = pair()
    elbo = (likelihood_term(program, guide, x) - divergence_term(guide, x).sum(-1)).mean()
    rows = torch.stack([gradients(NegativeLogLikelihood(program, guide)(x), guide) for _ in range(150)])
    assert ((rows.mean(0) + gradients(elbo, guide)).abs() < 4 * rows.std(0) / 150**0.5 + 1e-9).all()


def test_training_saves_a_guide_that_fits_and_is_judged_by_the_exact_likelihood(x: Tensor) -> None:
    program, guide = pair()
    start = copy.deepcopy(guide)
    history = fit(NegativeLogLikelihood(program, guide), x, Adam, valid=x, epochs=60, batch_size=50, progress=False)
    assert history.records[-1]["valid_claim"] == "EXACT"
    assert history.best_value == pytest.approx(program.log_prob(x).mean().item())
    elbo, untrained = (
        (likelihood_term(program, q, x) - divergence_term(q, x).sum(-1)).mean().item() for q in (guide, start)
    )
    evidence = program.log_prob(x).mean().item()
    assert 0 < evidence - elbo < 0.2 * (evidence - untrained)
