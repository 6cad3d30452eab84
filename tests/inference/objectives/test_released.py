"""Free bits that are taken back: against the closed forms of a linear-Gaussian pair, update by update."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from inference.objectives import NegativeElbo, ReleasedFreeBits
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import VAE
from tests.inference.objectives.pairs import divergence_term, gradients, linear_pair


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 3, dtype=torch.float64)


def seeded(objective: NegativeElbo, x: Tensor) -> Tensor:
    torch.manual_seed(5)
    return objective(x)


def truth(guide: torch.nn.Module, x: Tensor, nats: float, per: str) -> Tensor:
    """sum_g max(nats, KL_g) in the mean over images, the divergences in closed form."""
    mean = divergence_term(guide, x).mean(0)
    return mean.clamp(min=nats).sum() if per == "dim" else mean.sum().clamp(min=nats)


# By hand: 3 nats for 2 updates, then 3 - 3/4 per update, and nothing from the sixth on.
ALLOWANCES = (3.0, 3.0, 3.0, 2.25, 1.5, 0.75, 0.0, 0.0)


@pytest.mark.parametrize("per", ["group", "dim"])
def test_every_update_pays_for_what_is_above_the_allowance_of_its_count(per: str, x: Tensor) -> None:
    program, guide = linear_pair(latent_dim=3)
    objective = ReleasedFreeBits(program, guide, 3.0, hold=2, release=4, free_bits_per=per)
    bare = NegativeElbo(program, guide, beta=0.0)
    for count, nats in enumerate(ALLOWANCES):
        difference = seeded(objective, x) - seeded(bare, x)
        expected = truth(guide, x, nats, per)
        torch.testing.assert_close(difference, expected)
        torch.testing.assert_close(gradients(difference, guide), gradients(expected, guide), atol=1e-12, rtol=1e-9)
        assert int(objective.state_dict()["release.count"]) == count + 1


def test_the_allowances_of_the_test_lie_on_both_sides_of_the_divergence(x: Tensor) -> None:
    _, guide = linear_pair(latent_dim=3)
    total = divergence_term(guide, x).sum(-1).mean()
    assert 0 < total < 3.0, "the first update costs the allowance, the last the divergence"
    assert divergence_term(guide, x).mean(0).max() < 3.0


@pytest.mark.parametrize("kl", ["sampled", "analytic"])
def test_after_the_release_it_is_the_negative_elbo(kl: str, x: Tensor) -> None:
    """Also for a sampled divergence that comes out below 0, which an allowance of 0 would cut off."""
    program, guide = linear_pair()
    with torch.no_grad():
        guide.weight.zero_(), guide.bias.zero_(), guide.log_scale.fill_(0.01)
    objective, plain = ReleasedFreeBits(program, guide, 4.0, release=1, kl=kl), NegativeElbo(program, guide, kl=kl)
    assert seeded(objective, x) > seeded(plain, x) + 3
    for seed in range(20):
        torch.manual_seed(seed)
        released = objective(x)
        torch.manual_seed(seed)
        expected = plain(x)
        torch.testing.assert_close(released, expected)
        torch.testing.assert_close(gradients(released, objective), gradients(expected, plain))


def test_only_updates_are_counted_and_the_count_is_saved(x: Tensor) -> None:
    program, guide = linear_pair()
    objective = ReleasedFreeBits(program, guide, 4.0, release=10)
    for _ in range(3):
        objective(x)
    objective.eval()
    objective(x)
    assert int(objective.release.count) == 3
    other = ReleasedFreeBits(copy.deepcopy(program), copy.deepcopy(guide), 4.0, release=10)
    other.load_state_dict(objective.state_dict())
    torch.testing.assert_close(seeded(other.train(), x), seeded(objective.train(), x))


REFUSALS = [
    ({"free_bits": 0.0}, "--objective.free_bits 0.0.*nats above 0"),
    ({"free_bits": float("inf")}, "--objective.free_bits inf"),
    ({"free_bits": float("nan")}, "--objective.free_bits nan"),
    ({"hold": -1}, "--objective.hold -1"),
    ({"release": 0}, "--objective.release 0"),
    ({"free_bits_per": "latent"}, "--objective.free_bits_per 'latent'"),
    ({"num_particles": 0}, "--objective.num_particles 0"),
]


@pytest.mark.parametrize(("options", "message"), REFUSALS)
def test_options_that_release_nothing_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        ReleasedFreeBits(VAE(3, 2), DiagonalNormal(3, 2), **options)
