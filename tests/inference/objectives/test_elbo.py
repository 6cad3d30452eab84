"""beta, free bits and schedules: against closed forms of a linear-Gaussian pair and an enumerated discrete one."""

from __future__ import annotations

from collections.abc import Callable

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from inference.objectives import NegativeElbo
from inference.objectives.elbo import has_analytic_kl
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal, Guide, LadderNormal
from ppl_models.guides.full_rank_normal import FullRankNormal
from ppl_models.priors import MixtureOfNormals
from ppl_models.programs import VAE, LadderVAE
from tests.inference.objectives.pairs import (
    Scored,
    Switches,
    SwitchGuide,
    agree,
    all_images,
    divergence_term,
    gradients,
    likelihood_term,
    linear_pair,
    replicates,
    switches,
    tables,
)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 3, dtype=torch.float64)


def seeded(objective: NegativeElbo, x: Tensor, seed: int = 5) -> Tensor:
    torch.manual_seed(seed)
    return objective(x)


def ladder() -> tuple[LadderVAE, LadderNormal]:
    torch.manual_seed(0)
    program, guide = LadderVAE(3, (2, 1), (4, 4)), LadderNormal(3, (2, 1), (4,))
    guide.bind(program)
    return program.double(), guide.double()


@pytest.mark.parametrize(("kl", "elbo"), [("sampled", Trace_ELBO), ("analytic", TraceMeanField_ELBO)])
@pytest.mark.parametrize("particles", [1, 3])
def test_the_defaults_are_pyros_own_elbo_to_the_last_bit(kl: str, elbo: type, particles: int, x: Tensor) -> None:
    program, guide = linear_pair()
    objective = NegativeElbo(program, guide, particles, kl)
    pyros = elbo(num_particles=particles, max_plate_nesting=1, vectorize_particles=particles > 1)
    torch.manual_seed(5)
    expected = pyros.differentiable_loss(program, guide, x) / len(x)
    found = seeded(objective, x)
    assert torch.equal(found, expected)
    assert torch.equal(gradients(found, objective), gradients(expected, objective))
    names = {
        f"{part}.{name}" for part in ("program", "guide") for name, _ in getattr(objective, part).named_parameters()
    }
    assert set(objective.state_dict()) == names, "a checkpoint from before there were schedules can be resumed"


@pytest.mark.parametrize("kl", ["sampled", "analytic"])
@pytest.mark.parametrize("make", [linear_pair, lambda: linear_pair(guide=Scored), ladder, switches])
def test_the_terms_add_up_to_pyros_loss_and_gradient(kl: str, make: Callable, x: Tensor) -> None:
    program, guide = make()
    if kl == "analytic" and make is not linear_pair:
        return
    objective = NegativeElbo(program, guide, kl=kl)
    images = x if program.levels == 0 else (x > 0).double()
    plain = seeded(objective, images)
    torch.manual_seed(5)
    weighted = objective.weighted(images)
    torch.testing.assert_close(weighted, plain)
    torch.testing.assert_close(gradients(weighted, objective), gradients(plain, objective))


@pytest.mark.parametrize("beta", [0.0, 0.3, 4.0])
def test_beta_weighs_the_divergence_and_never_the_likelihood(beta: float, x: Tensor) -> None:
    program, guide = linear_pair()
    objective = NegativeElbo(program, guide, beta=beta)
    plain = NegativeElbo(program, guide)
    kl = divergence_term(guide, x).sum(-1).mean()
    # The same draws: the likelihood's terms cancel, and what is left is the closed form, in value and gradient.
    difference = seeded(objective, x) - seeded(plain, x)
    torch.testing.assert_close(difference, (beta - 1) * kl)
    expected = gradients((beta - 1) * kl, program, guide)
    torch.testing.assert_close(gradients(difference, program, guide), expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("guide_class", [None, Scored])
@pytest.mark.parametrize("kl", ["auto", "sampled"])
def test_the_weighted_bound_has_the_closed_forms_value_and_gradient(
    guide_class: type | None, kl: str, x: Tensor
) -> None:
    program, guide = linear_pair() if guide_class is None else linear_pair(guide=guide_class)
    objective = NegativeElbo(program, guide, 2000, kl, beta=2.5)
    truth = 2.5 * divergence_term(guide, x).sum(-1).mean() - likelihood_term(program, guide, x).mean()

    def draw() -> Tensor:
        loss = objective(x)
        return torch.cat([loss.detach()[None], gradients(loss, objective)])

    assert agree(replicates(draw, 60), torch.cat([truth.detach()[None], gradients(truth, objective)]))


def test_a_warm_up_weighs_the_divergence_by_the_count_of_updates(x: Tensor) -> None:
    program, guide = linear_pair()
    objective, plain = (
        NegativeElbo(program, guide, schedule="linear", updates=4, beta=2.0),
        NegativeElbo(program, guide),
    )
    kl = divergence_term(guide, x).sum(-1).mean().item()
    for count in range(6):
        difference = (seeded(objective, x) - seeded(plain, x)).item()
        assert difference == pytest.approx((2 * min(count / 4, 1) - 1) * kl)
    assert int(objective.state_dict()["schedule.count"]) == 6
    objective.eval()(x)
    assert int(objective.schedule.count) == 6


def free_bits_truth(guide: torch.nn.Module, x: Tensor, nats: float, per: str) -> Tensor:
    mean = divergence_term(guide, x).mean(0)
    return mean.clamp(min=nats).sum() if per == "dim" else mean.sum().clamp(min=nats)


@pytest.mark.parametrize("per", ["group", "dim"])
@pytest.mark.parametrize("nats", [0.05, 0.22, 3.0])
def test_free_bits_hold_the_mean_divergence_of_the_batch(per: str, nats: float, x: Tensor) -> None:
    program, guide = linear_pair(latent_dim=3)
    objective = NegativeElbo(program, guide, beta=1.5, free_bits=nats, free_bits_per=per)
    bare = NegativeElbo(program, guide, beta=0.0)
    truth = 1.5 * free_bits_truth(guide, x, nats, per)
    difference = seeded(objective, x) - seeded(bare, x)
    torch.testing.assert_close(difference, truth)
    torch.testing.assert_close(gradients(difference, guide), gradients(truth, guide), atol=1e-12, rtol=1e-9)
    assert gradients(difference, program).abs().max() < 1e-12


def test_the_free_bits_of_the_test_lie_between_the_dimensions(x: Tensor) -> None:
    """0.22 nats separate the dimensions of the pair above, and images from the mean of their batch."""
    _, guide = linear_pair(latent_dim=3)
    kl = divergence_term(guide, x)
    above = kl.mean(0) > 0.22
    assert above.any()
    assert not above.all()
    assert not torch.allclose(kl.mean(0).clamp(min=0.22), kl.clamp(min=0.22).mean(0))


def test_without_free_bits_a_sampled_divergence_may_be_negative(x: Tensor) -> None:
    program, guide = linear_pair()
    with torch.no_grad():
        guide.weight.zero_(), guide.bias.zero_(), guide.log_scale.fill_(0.01)
    losses = [NegativeElbo(program, guide, kl="sampled", beta=b) for b in (1e-9, 1.0)]
    differences = torch.stack([seeded(losses[1], x, s) - seeded(losses[0], x, s) for s in range(200)])
    assert (differences < 0).any()


def enumerated(program: Switches, guide: SwitchGuide, x: Tensor, beta: float, nats: float) -> Tensor:
    """-E[log p(x | z)] + beta (max(nats, KL_2) + max(nats, KL_1)), every expectation a sum over states."""
    t = tables(program, guide, x)
    q = (t["log_q1"] + t["log_q2"]).exp()
    terms = [(q * (t[f"log_q{i}"] - t[f"log_p{i}"])).sum((0, 1)).mean() for i in (1, 2)]
    return beta * sum(term.clamp(min=nats) for term in terms) - (q * t["log_x"]).sum((0, 1)).mean()


@pytest.mark.parametrize(("beta", "nats"), [(1.0, 0.0), (0.4, 0.0), (1.0, 0.56), (2.0, 0.56)])
def test_score_functions_of_a_discrete_ladder_have_the_enumerated_gradient(beta: float, nats: float) -> None:
    program, guide = switches()
    x = all_images(3)[[0, 3, 6]]
    objective = NegativeElbo(program, guide, 4000, beta=beta, free_bits=nats)
    truth = enumerated(program, guide, x, beta, nats)

    def draw() -> Tensor:
        loss = objective(x)
        return torch.cat([loss.detach()[None], gradients(loss, objective)])

    assert agree(replicates(draw, 60), torch.cat([truth.detach()[None], gradients(truth, objective)]))


def test_the_free_bits_of_the_discrete_test_lie_between_its_sites() -> None:
    program, guide = switches()
    t = tables(program, guide, all_images(3)[[0, 3, 6]])
    q = (t["log_q1"] + t["log_q2"]).exp()
    kls = [(q * (t[f"log_q{i}"] - t[f"log_p{i}"])).sum((0, 1)).mean().item() for i in (1, 2)]
    # Far enough from both that 4000 draws of an image do not change sides.
    assert min(kls) < 0.52
    assert max(kls) > 0.6


def test_free_bits_per_dimension_of_a_ladder_sum_over_its_sites() -> None:
    program, guide = ladder()
    x = all_images(3)
    low, high = (NegativeElbo(program, guide, free_bits=nats, free_bits_per="dim") for nats in (1e-9, 50.0))
    bare = NegativeElbo(program, guide, beta=0.0)
    assert (seeded(high, x) - seeded(bare, x)).item() == pytest.approx(3 * 50)
    assert not gradients(seeded(high, x) - seeded(bare, x), guide).any()
    assert (seeded(low, x) - seeded(bare, x)).item() < 50


REFUSALS = [
    ({"beta": -0.1}, "--objective.beta -0.1"),
    ({"beta": float("nan")}, "--objective.beta nan"),
    ({"beta": float("inf")}, "--objective.beta inf"),
    ({"free_bits": -1.0}, "--objective.free_bits -1.0"),
    ({"free_bits_per": "latent"}, "--objective.free_bits_per 'latent'.*use group or dim"),
    ({"schedule": "linea"}, "--objective.schedule 'linea'"),
    ({"schedule": "linear", "updates": 0}, "--objective.updates 0"),
    ({"num_particles": 0}, "--objective.num_particles 0"),
    ({"kl": "guess"}, "--objective.kl 'guess'.*use auto, sampled or analytic"),
]


@pytest.mark.parametrize(("options", "message"), REFUSALS)
def test_options_that_are_none_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        NegativeElbo(VAE(3, 2), DiagonalNormal(3, 2), **options)


def test_free_bits_per_dimension_need_a_latent_that_factorizes() -> None:
    options = {"free_bits": 0.1, "free_bits_per": "dim"}
    with pytest.raises(InvalidInput, match=r"free_bits_per.*site 'z' has a .*Normal, which does not.*use group"):
        NegativeElbo(VAE(3, 2), FullRankNormal(3, 2), **options)
    with pytest.raises(InvalidInput, match=r"free_bits_per.*does not factorize"):
        NegativeElbo(VAE(3, 2, prior=MixtureOfNormals(2)), DiagonalNormal(3, 2), **options)
    NegativeElbo(VAE(3, 2), FullRankNormal(3, 2), free_bits=0.1)


class Upwards(LadderNormal):
    """Draws z1 before z2."""

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        import pyro

        evidence = self.evidence(x)
        with pyro.plate("image", len(x)):
            for number in (0, 1):
                z = pyro.sample(f"z{number + 1}", self.conditional(number, evidence[number], None))
            return z


def test_an_integrated_divergence_needs_a_reparameterized_guide_in_the_programs_order() -> None:
    program, guide = linear_pair(guide=Scored)
    with pytest.raises(InvalidInput, match=r"--objective.kl 'analytic': Scored is not reparameterized at site 'z'"):
        NegativeElbo(program, guide, kl="analytic")
    program = LadderVAE(3, (2, 1), (4, 4))
    guide = Upwards(3, (2, 1), (4,))
    guide.bind(program)
    with pytest.raises(InvalidInput, match="draws z2, z1 in this order, the guide z1, z2"):
        NegativeElbo(program, guide, kl="analytic")
    NegativeElbo(program, guide, kl="sampled")


class Fixed(Guide):
    """A guide that has nothing to learn, in double precision."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.register_buffer("gains", torch.eye(3, dtype=torch.float64)[:2])

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Normal(x @ self.gains.T, 1.0).to_event(1)


def test_a_guide_without_parameters_is_asked_in_the_precision_of_its_program() -> None:
    program, guide = VAE(3, 2).double(), Fixed()
    assert not list(guide.parameters())
    assert has_analytic_kl(program, guide)
