"""Priors over codes: all codes are enumerated here, by itertools."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pyro
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor, nn

from ppl_models import InvalidInput
from ppl_models.priors import AutoregressivePrior, Bits, OneHot, Prior

L = 4
BUILD: dict[str, Callable[[], Prior]] = {
    "bits": lambda: Bits(L),
    "uniform bits": lambda: Bits(L, uniform=True),
    "one-hot": lambda: OneHot(L),
    "uniform one-hot": lambda: OneHot(L, uniform=True),
    "autoregressive": lambda: AutoregressivePrior(L, (6,)),
    "logistic regressions": lambda: AutoregressivePrior(L, (), direct=False),
    "deep autoregressive": lambda: AutoregressivePrior(L, (7, 5), nonlinearity="tanh"),
}


@pytest.fixture(params=sorted(BUILD))
def prior(request: pytest.FixtureRequest) -> Prior:
    """With shaken weights, in float64."""
    made = BUILD[request.param]().double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter))
    return made


def codes(prior: Prior) -> Tensor:
    """Every value: 2^L bit strings, or L unit vectors."""
    if prior.kind == "one-hot":
        return torch.eye(L, dtype=torch.float64)
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=L)), dtype=torch.float64)


@torch.no_grad()
def test_the_masses_of_all_codes_sum_to_one(prior: Prior) -> None:
    assert float(prior().log_prob(codes(prior)).exp().sum()) == pytest.approx(1, abs=1e-12)


@torch.no_grad()
def test_draws_come_as_often_as_the_masses_say(prior: Prior) -> None:
    values, count = codes(prior), 40_000
    draws = prior().sample((count,))
    assert draws.shape == (count, L)
    assert draws.dtype == torch.float64
    matches = (draws[:, None] == values).all(-1)
    assert (matches.sum(1) == 1).all()
    mass = prior().log_prob(values).exp()
    error = (mass * (1 - mass) / count).sqrt()
    assert ((matches.double().mean(0) - mass).abs() < 4.5 * error + 1 / count).all()


@torch.no_grad()
def test_bits_and_categories_are_their_formulas() -> None:
    bits, one_hot = Bits(L).double(), OneHot(L).double()
    logits = torch.randn(L, dtype=torch.float64)
    bits.logits.copy_(logits)
    one_hot.logits.copy_(logits)
    values = codes(bits)
    truth = scipy.stats.bernoulli(scipy.special.expit(logits.numpy())).logpmf(values.numpy().astype(int)).sum(-1)
    np.testing.assert_allclose(bits().log_prob(values).numpy(), truth, rtol=1e-10)
    truth = scipy.special.log_softmax(logits.numpy())
    np.testing.assert_allclose(one_hot().log_prob(codes(one_hot)).numpy(), truth, rtol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("build", [Bits, OneHot])
def test_before_training_they_are_uniform(build: type[Prior]) -> None:
    for made in (build(L), build(L, uniform=True)):
        values = codes(made).float()
        truth = torch.full((len(values),), 1 / len(values)).log()
        torch.testing.assert_close(made().log_prob(values), truth)
    assert list(build(L, uniform=True).parameters()) == []
    assert build(L, uniform=True).state_dict() == {}


@torch.no_grad()
def test_conditionals_see_earlier_bits_only_and_all_of_them() -> None:
    """By the masses of all codes: p(z_l | z_<l) is a ratio of sums, and depends on each earlier bit."""
    prior = AutoregressivePrior(L, (8,)).double()
    for parameter in prior.parameters():
        parameter.add_(torch.randn_like(parameter))
    table = prior().log_prob(codes(prior)).exp().view([2] * L)
    for position in range(L):
        joint = table.sum(tuple(range(position + 1, L))) if position < L - 1 else table
        on = (joint / joint.sum(-1, keepdim=True))[..., 1]
        net = torch.sigmoid(prior.net(codes(prior))[:, position, 0]).view([2] * L)
        later = tuple(range(position, L))
        torch.testing.assert_close(net.mean(later), on)
        torch.testing.assert_close(net.std(later), torch.zeros_like(on), rtol=0, atol=1e-12)
        for earlier in range(position):
            assert on.diff(dim=earlier).abs().min() > 1e-6


def test_shapes_under_leading_dimensions_and_plates(prior: Prior) -> None:
    assert (prior().batch_shape, prior().event_shape) == ((), (L,))
    values = codes(prior)
    scored = prior().expand((3, 5)).log_prob(values[:, None, None])
    torch.testing.assert_close(scored, prior().log_prob(values)[:, None, None].expand(-1, 3, 5))
    with pyro.plate("particles", 3, dim=-2), pyro.plate("image", 5):
        z = pyro.sample("z", prior())
    assert z.shape == (3, 5, L)
    assert prior().support.is_discrete
    assert not prior().has_rsample


def test_a_gradient_reaches_every_parameter(prior: Prior) -> None:
    weights = torch.randn(len(codes(prior)), dtype=torch.float64)
    parameters = dict(prior.named_parameters())
    if not parameters:
        return
    (prior().log_prob(codes(prior)) * weights).sum().backward()
    assert [n for n, p in parameters.items() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_state_goes_into_another_instance(prior: Prior) -> None:
    fresh = next(build() for build in BUILD.values() if _fits(build(), prior)).double()
    fresh.load_state_dict(prior.state_dict())
    torch.testing.assert_close(fresh().log_prob(codes(prior)), prior().log_prob(codes(prior)), rtol=0, atol=0)


def _fits(made: nn.Module, prior: nn.Module) -> bool:
    shapes = [{key: value.shape for key, value in module.state_dict().items()} for module in (made, prior)]
    return type(made) is type(prior) and shapes[0] == shapes[1]


@pytest.mark.parametrize("build", [Bits, OneHot, AutoregressivePrior])
def test_no_latents_are_refused(build: Callable[[int], Prior]) -> None:
    with pytest.raises(InvalidInput, match="latent_dim 0"):
        build(0)


@torch.no_grad()
def test_one_bit_and_one_category_work() -> None:
    for made in (Bits(1), AutoregressivePrior(1)):
        mass = made().log_prob(torch.tensor([[0.0], [1.0]])).exp().sum()
        assert float(mass) == pytest.approx(1)
        assert made().sample((5,)).shape == (5, 1)
    assert OneHot(1)().log_prob(torch.ones(1)) == 0
