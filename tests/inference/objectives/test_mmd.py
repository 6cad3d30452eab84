"""InfoVAE: the discrepancy against double sums and its closed form, the objective against its three known parts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inference.objectives import MmdRegularized, NegativeElbo
from inference.objectives.mmd import squared_mmd
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal, LadderNormal
from ppl_models.priors import MixtureOfNormals, VampPrior
from ppl_models.programs import VAE, LadderVAE
from tests.inference.objectives.pairs import (
    Scored,
    agree,
    divergence_term,
    gradients,
    linear_pair,
    replicates,
)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, 3, dtype=torch.float64)


def seeded(objective: torch.nn.Module, x: Tensor, seed: int = 3) -> Tensor:
    torch.manual_seed(seed)
    return objective(x)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_discrepancy_is_its_double_sum(kernel: str, scale: float) -> None:
    z, y = torch.randn(4, 2).tolist(), torch.randn(3, 2).tolist()

    def similar(a: list[float], b: list[float]) -> float:
        ratio = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / (2 * 2 * scale**2)
        return math.exp(-ratio) if kernel == "rbf" else 1 / (1 + ratio)

    within = [
        sum(similar(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j) / (len(a) * (len(a) - 1))
        for a in (z, y)
    ]
    across = sum(similar(a, b) for a in z for b in y) / 12
    found = squared_mmd(torch.tensor(z), torch.tensor(y), kernel, scale)
    assert found.item() == pytest.approx(sum(within) - 2 * across, rel=1e-4)


def expected_kernel(shift: Tensor, covariance: Tensor, scale: float) -> Tensor:
    """E exp(-|d|^2 / c), d ~ N(shift, covariance), c = 2 L s^2: det(I + 2 C / c)^-1/2 exp(-shift^T (c I + 2 C)^-1
    shift)."""
    c, eye = 2 * len(shift) * scale**2, torch.eye(len(shift)).to(shift)
    exponent = shift @ torch.linalg.solve(c * eye + 2 * covariance, shift)
    return torch.linalg.det(eye + 2 * covariance / c).rsqrt() * torch.exp(-exponent)


def expected_discrepancy(shift: Tensor, covariance: Tensor, scale: float) -> Tensor:
    """MMD^2 of N(shift, covariance) and N(0, I)."""
    zero, eye = torch.zeros_like(shift), torch.eye(len(shift)).to(shift)
    within = expected_kernel(zero, 2 * covariance, scale) + expected_kernel(zero, 2 * eye, scale)
    return within - 2 * expected_kernel(shift, covariance + eye, scale)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_it_is_unbiased_however_few_the_draws(shift: float) -> None:
    mean, spread = torch.full((2,), shift), torch.tensor([1.0, 1.6])
    truth = expected_discrepancy(mean, torch.diag(spread**2), 0.8)
    z, y = mean + spread * torch.randn(20000, 3, 2), torch.randn(20000, 4, 2)
    values = squared_mmd(z, y, "rbf", 0.8)
    assert abs(values.mean() - truth) < 4 * values.std() / 20000**0.5
    assert (values < 0).any(), "an unbiased estimate of a small number"


@pytest.mark.parametrize("particles", [1, 3])
def test_alpha_zero_and_weight_one_is_the_elbo(particles: int, x: Tensor) -> None:
    program, guide = linear_pair()
    found = MmdRegularized(program, guide, alpha=0.0, weight=1.0, num_particles=particles)
    elbo = NegativeElbo(program, guide, particles)
    torch.testing.assert_close(seeded(found, x), seeded(elbo, x))


@pytest.mark.parametrize("alpha", [-0.5, 0.25, 1.0])
def test_alpha_takes_from_the_divergence_and_gives_to_the_discrepancy(alpha: float, x: Tensor) -> None:
    program, guide = linear_pair()
    kl = divergence_term(guide, x).sum(-1).mean()
    loss = seeded(MmdRegularized(program, guide, alpha=alpha, weight=3.0), x)
    elbo, more = (seeded(MmdRegularized(program, guide, weight=weight), x) for weight in (1.0, 2.0))
    discrepancy = more - elbo  # the same draws
    expected = elbo - alpha * kl + (alpha + 2) * discrepancy
    torch.testing.assert_close(loss, expected)
    mine, theirs = gradients(loss, program, guide), gradients(expected, program, guide)
    torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-7)


@pytest.mark.parametrize("particles", [1, 2])
def test_the_discrepancy_of_the_objective_is_that_of_its_aggregate_posterior(particles: int) -> None:
    """x ~ N(0, I) and q affine make q(z) = N(c, A A^T + diag v)."""
    program, guide = linear_pair()
    with torch.no_grad():
        guide.bias.copy_(torch.tensor([0.8, -0.5]))
    truth = expected_discrepancy(
        guide.bias, guide.weight @ guide.weight.T + torch.diag((2 * guide.log_scale).exp()), 1.0
    )
    expected = torch.cat([truth.detach()[None], gradients(truth, guide)])
    objectives = [MmdRegularized(program, guide, weight=w, num_particles=particles) for w in (1.0, 2.0)]

    def draw() -> Tensor:
        seed, x = int(torch.randint(2**31, ())), torch.randn(60, 3, dtype=torch.float64)
        state = torch.get_rng_state()
        value = seeded(objectives[1], x, seed) - seeded(objectives[0], x, seed)
        torch.set_rng_state(state)
        return torch.cat([value.detach()[None], gradients(value, guide)])

    found = replicates(draw, 80)
    assert agree(found, expected)
    assert abs(truth.item()) > 6 * found[1][0].item()


def test_a_learned_prior_is_moved_where_its_draws_have_a_gradient(x: Tensor) -> None:
    images = (x > 0).float()
    for prior, moves in ((MixtureOfNormals(2), False), (VampPrior(2, 3, components=2), False)):
        program, guide = VAE(3, 2, (4,), prior=prior), DiagonalNormal(3, 2, (4,))
        guide.bind(program)
        losses = [seeded(MmdRegularized(program, guide, weight=w), images) for w in (1.0, 2.0)]
        moved = bool(gradients(losses[1] - losses[0], prior).abs().max() > 1e-7)
        assert moved == (moves or program.prior().has_rsample)
        assert gradients(losses[0], prior).any()


def test_a_batch_of_one_image_has_no_discrepancy(x: Tensor) -> None:
    program, guide = linear_pair()
    found = seeded(MmdRegularized(program, guide, weight=50.0), x[:1])
    torch.testing.assert_close(found, seeded(NegativeElbo(program, guide), x[:1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "--objective.alpha 1.5"),
        ({"alpha": float("nan")}, "--objective.alpha nan"),
        ({"weight": -1.0}, "--objective.weight -1.0"),
        ({"alpha": 0.25, "weight": 0.5}, "--objective.weight 0.5.*give at least 0.75"),
        ({"kernel": "linear"}, "--objective.kernel 'linear'.*use rbf or imq"),
        ({"scale": 0.0}, "--objective.scale 0.0"),
        ({"num_particles": 0}, "--objective.num_particles 0"),
    ],
)
def test_options_that_are_none_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        MmdRegularized(*linear_pair(), **options)


def test_pairs_without_one_reparameterized_latent_vector_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"--objective 'mmd': Scored is not reparameterized at site 'z'.*use elbo"):
        MmdRegularized(*linear_pair(guide=Scored))
    program, guide = LadderVAE(3, (2, 1), (4, 4)), LadderNormal(3, (2, 1), (4,))
    guide.bind(program)
    with pytest.raises(InvalidInput, match=r"--objective 'mmd': LadderVAE has no single latent vector.*use elbo"):
        MmdRegularized(program, guide)
