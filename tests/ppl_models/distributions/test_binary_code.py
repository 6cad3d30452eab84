from __future__ import annotations

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from torch import Tensor
from torch.distributions import kl_divergence

from ppl_models import InvalidInput
from ppl_models.distributions import Autoregressive, BernoulliPixels
from ppl_models.distributions.binary_code import BinaryCode, all_codes, free_levels, is_one_hot
from ppl_models.ordering import Ordering

LOGITS = [0.3, -1.2, 2.0]


def mass_by_hand(code: tuple[int, ...], logits: list[float]) -> float:
    mass = 1.0
    for bit, logit in zip(code, logits, strict=True):
        one = 1 / (1 + math.exp(-logit))
        mass *= one if bit else 1 - one
    return mass


def codes_by_hand(length: int) -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=length))


def test_the_log_prob_of_every_code_is_the_product_of_its_bits() -> None:
    code = BinaryCode(torch.tensor(LOGITS, dtype=torch.float64))
    for z in codes_by_hand(3):
        found = code.log_prob(torch.tensor(z, dtype=torch.float64))
        assert found.item() == pytest.approx(math.log(mass_by_hand(z, LOGITS)), rel=1e-12)
    assert code.log_prob(code.enumerate_support()).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_the_support_is_all_codes_in_order_with_and_without_the_batch() -> None:
    truth = torch.tensor(codes_by_hand(3)).float()
    code = BinaryCode(torch.randn(4, 5, 3))
    assert (code.batch_shape, code.event_shape) == ((4, 5), (3,))
    assert torch.equal(code.enumerate_support(expand=False), truth.view(8, 1, 1, 3))
    assert torch.equal(code.enumerate_support(), truth.view(8, 1, 1, 3).expand(8, 4, 5, 3))
    assert torch.equal(BinaryCode(torch.zeros(3)).enumerate_support(), truth)
    assert torch.equal(all_codes(2, 3), torch.tensor(list(itertools.product(range(3), repeat=2))))
    assert all_codes(12).shape == (4096, 12)


def test_log_probs_and_their_gradients_are_right_in_the_tails() -> None:
    logits = torch.tensor([[20.0], [-20.0], [1e4], [-1e4]], requires_grad=True)
    likely, unlikely = torch.tensor([[1.0], [0.0], [1.0], [0.0]]), torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    found = BinaryCode(logits).log_prob(torch.stack([likely, unlikely]))
    small = -math.log1p(math.exp(-20))
    assert found[0].tolist() == pytest.approx([small, small, 0, 0], rel=1e-5)
    assert found[1].tolist() == pytest.approx([-20, -20, -1e4, -1e4], rel=1e-5)
    (gradient,) = torch.autograd.grad(found[1].sum(), logits)
    assert gradient[:, 0].tolist() == pytest.approx([-1, 1, -1, 1], rel=1e-5)


def test_an_infinite_logit_fixes_its_bit() -> None:
    code = BinaryCode(torch.tensor([math.inf, -math.inf]))
    assert code.log_prob(torch.tensor([[1.0, 0.0], [0.0, 0.0]])).tolist() == [0, -math.inf]
    assert code.sample().tolist() == [1, 0]


def test_the_frequencies_of_samples_are_the_masses() -> None:
    code = BinaryCode(torch.tensor(LOGITS))
    draws = code.sample(torch.Size([4000]))
    assert draws.shape == (4000, 3)
    assert draws.dtype == torch.float32
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    for z in codes_by_hand(3):
        mass = mass_by_hand(z, LOGITS)
        seen = (draws == torch.tensor(z)).all(-1).float().mean().item()
        assert abs(seen - mass) < 4 * math.sqrt(mass * (1 - mass) / 4000)


def test_moments_entropy_and_divergence_are_those_of_the_enumeration() -> None:
    others = [-0.5, 0.1, 4.0]
    p, q = (BinaryCode(torch.tensor(logits, dtype=torch.float64)) for logits in (LOGITS, others))
    masses = [mass_by_hand(z, LOGITS) for z in codes_by_hand(3)]
    mean = [sum(m * z[i] for m, z in zip(masses, codes_by_hand(3), strict=True)) for i in range(3)]
    assert p.mean.tolist() == pytest.approx(mean)
    assert p.variance.tolist() == pytest.approx([m - m * m for m in mean])
    assert p.entropy().item() == pytest.approx(-sum(m * math.log(m) for m in masses))
    divergence = sum(m * math.log(m / mass_by_hand(z, others)) for m, z in zip(masses, codes_by_hand(3), strict=True))
    assert kl_divergence(p, q).item() == pytest.approx(divergence)
    far = kl_divergence(BinaryCode(torch.tensor([500.0])), BinaryCode(torch.tensor([-500.0])))
    assert far.item() == pytest.approx(500)


def test_expanding_broadcasts_the_logits_and_keeps_validation() -> None:
    code = BinaryCode(torch.randn(4, 3), validate_args=False)
    wide = code.expand(torch.Size([7, 4]))
    assert (wide.batch_shape, wide.event_shape) == ((7, 4), (3,))
    assert wide.sample().shape == (7, 4, 3)
    assert wide.sample(torch.Size([2])).shape == (2, 7, 4, 3)
    z = torch.randint(0, 2, (7, 4, 3)).float()
    assert torch.equal(wide.log_prob(z), code.log_prob(z))
    assert wide.log_prob(z[:, :1]).shape == (7, 4)
    assert wide._validate_args is False
    assert BinaryCode(torch.zeros(3), validate_args=True).expand(torch.Size([2]))._validate_args is True


def test_precision_follows_the_logits_but_never_falls_below_float32() -> None:
    half = BinaryCode(torch.zeros(3, dtype=torch.bfloat16))
    assert half.sample().dtype == half.log_prob(torch.ones(3)).dtype == torch.float32
    double = BinaryCode(torch.zeros(3, dtype=torch.float64))
    assert double.sample().dtype == double.enumerate_support().dtype == torch.float64
    assert double.log_prob(torch.ones(3)).dtype == torch.float64


def test_draws_have_no_gradient_and_say_so() -> None:
    code = BinaryCode(torch.zeros(3, requires_grad=True))
    assert not code.has_rsample
    assert not code.sample().requires_grad
    assert code.support.is_discrete
    with pytest.raises(NotImplementedError):
        code.rsample()


def test_pyro_enumerates_it_in_parallel_where_it_cannot_a_product_of_bernoullis() -> None:
    def model(prior: dist.TorchDistribution) -> Tensor:
        with pyro.plate("image", 5):
            return pyro.sample("z", prior)

    def enumerated(prior: dist.TorchDistribution) -> Tensor:
        handler = poutine.enum(config_enumerate(model), first_available_dim=-2)
        return poutine.trace(handler).get_trace(prior).nodes["z"]["value"]

    logits = torch.randn(5, 3)
    assert torch.equal(enumerated(BinaryCode(logits))[:, 0], torch.tensor(codes_by_hand(3)).float())
    assert enumerated(dist.Bernoulli(logits=logits).to_event(1)).shape == (5, 3), "drawn, not enumerated"


def test_supports_of_free_entries_are_told_from_others() -> None:
    bits = Autoregressive(lambda x: torch.zeros(*x.shape, 1), BernoulliPixels(), Ordering(range(3)))
    mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(4)), BinaryCode(torch.randn(4, 3)))
    for support in (BinaryCode(torch.zeros(3)).support, dist.Bernoulli(torch.ones(3) / 2).to_event(1).support):
        assert free_levels(support) == 2
    assert free_levels(bits.support) == free_levels(mixture.support) == 2
    assert free_levels(dist.Categorical(torch.ones(3, 5)).to_event(1).support) == 5
    one_hot = dist.OneHotCategorical(torch.ones(3)).support
    others = [one_hot, dist.Normal(torch.zeros(3), 1).to_event(1).support, dist.Bernoulli(torch.ones(3)).support]
    others += [dist.Bernoulli(torch.ones(2, 3) / 2).to_event(2).support]
    others += [dist.constraints.independent(dist.constraints.integer_interval(1, 3), 1)]
    assert [free_levels(support) for support in others] == [None] * 5
    assert is_one_hot(one_hot)
    assert not is_one_hot(bits.support)


def test_wrong_logits_values_and_too_many_bits_are_refused() -> None:
    for shape in ((), (3, 0)):
        with pytest.raises(InvalidInput, match="a code has bits"):
            BinaryCode(torch.zeros(shape))
    with pytest.raises(ValueError, match="logits"):
        BinaryCode(torch.tensor([math.nan]), validate_args=True)
    with pytest.raises(ValueError, match="support"):
        BinaryCode(torch.zeros(3), validate_args=True).log_prob(torch.tensor([0.0, 0.5, 1.0]))
    with pytest.raises(InvalidInput, match=r"2\^13 values.*at most 12 bits"):
        BinaryCode(torch.zeros(13)).enumerate_support()
    assert BinaryCode(torch.zeros(12)).enumerate_support().shape == (4096, 12)
    assert BinaryCode(torch.zeros(100)).sample().shape == (100,)
