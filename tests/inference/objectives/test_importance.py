"""The importance-weighted objective: its value in closed form, its gradients against quadrature and enumeration."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from scipy.stats import multivariate_normal, norm
from torch import Tensor, nn

from inference.objectives import NegativeElbo, NegativeImportanceWeighted
from inference.objectives.importance import learning_signal
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal, LadderNormal
from ppl_models.guides.inverse_autoregressive import InverseAutoregressive
from ppl_models.priors import VampPrior
from ppl_models.programs import VAE, LadderVAE
from tests.inference.objectives.pairs import (
    Affine,
    Linear,
    Scored,
    SwitchGuide,
    agree,
    all_images,
    gradients,
    linear_pair,
    replicates,
    switches,
    tables,
)

GRADIENTS = ["standard", "stl", "dreg"]


def seeded(objective: nn.Module, x: Tensor, seed: int = 3) -> Tensor:
    torch.manual_seed(seed)
    return objective(x)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("particles", [1, 7])
def test_with_the_exact_posterior_the_loss_is_minus_the_evidence(gradient: str, particles: int) -> None:
    program, guide = linear_pair()
    guide.become_exact(program)
    x = torch.randn(5, 3, dtype=torch.float64)
    weight, variance = program.weight.detach().numpy(), math.exp(2 * program.log_scale.item())
    marginal = multivariate_normal(program.bias.detach().numpy(), weight @ weight.T + variance * np.eye(3))
    found = NegativeImportanceWeighted(program, guide, particles, gradient)(x)
    assert found.item() == pytest.approx(-marginal.logpdf(x.numpy()).mean())


def one_dimensional(guide: type[Affine] = Affine) -> tuple[Linear, Affine, Tensor]:
    """One latent, one image, and a guide that is off."""
    program, own = linear_pair(3, 1, guide)
    return program, own, torch.tensor([[0.7, -1.1, 0.4]], dtype=torch.float64)


def log_weight(program: Linear, guide: Affine, x: Tensor, noise: Tensor) -> Tensor:
    """log w at z = m + s e for noise e (...), in plain algebra: (N, ...)."""
    shape = (-1,) + (1,) * noise.ndim
    mean, scale = (x @ guide.weight.T + guide.bias).reshape(shape), guide.log_scale.exp()
    z = mean + scale * noise
    log_q = -0.5 * noise**2 - guide.log_scale
    error = x.reshape(*shape, 3) - program.bias - z[..., None] * program.weight[:, 0]
    log_x = -0.5 * (error**2).sum(-1) / (2 * program.log_scale).exp() - 3 * program.log_scale
    return log_x - 1.5 * math.log(2 * math.pi) - 0.5 * z**2 - log_q


def expected_bound(program: Linear, guide: Affine, x: Tensor, particles: int) -> Tensor:
    """E[log 1/K sum_k w_k] over K standard normals by a product of Gauss-Hermite rules; differentiable: ()."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = torch.tensor(list(product(nodes, repeat=particles)))
    mass = torch.tensor([np.prod(w) for w in product(weights / weights.sum(), repeat=particles)])
    log_w = log_weight(program, guide, x, grid)
    return (mass * (log_w.logsumexp(-1) - math.log(particles))).sum(-1).mean()


def estimated(objective: nn.Module, x: Tensor, images: int = 2000, count: int = 40) -> tuple[Tensor, Tensor]:
    """Gradient over guide and then program, its mean over replicates: each is a batch of copies of the image."""
    batch = x.repeat(images, 1)
    return replicates(lambda: gradients(objective(batch), objective.guide, objective.program), count)


@pytest.mark.parametrize(
    ("gradient", "particles"), [("standard", 2), ("dreg", 2), ("dreg", 1), ("stl", 1), ("standard", 1)]
)
def test_gradients_have_the_mean_of_quadrature(gradient: str, particles: int) -> None:
    program, guide, x = one_dimensional()
    truth = gradients(-expected_bound(program, guide, x, particles), guide, program)
    found = estimated(NegativeImportanceWeighted(program, guide, particles, gradient), x)
    assert agree(found, truth)
    assert (truth.abs() > 10 * found[1]).sum() >= len(truth) - 2, "the test could tell them from zero"


def test_dropping_the_score_is_biased_for_two_particles_in_the_guide_alone() -> None:
    """Tucker et al. 2019, section 3: E[sum_k v_k d log q] is not zero."""
    program, guide, x = one_dimensional()
    truth = gradients(-expected_bound(program, guide, x, 2), guide, program)
    mean, error = estimated(NegativeImportanceWeighted(program, guide, 2, "stl"), x)
    count = sum(p.numel() for p in guide.parameters())
    assert ((mean - truth).abs() > 8 * error)[:count].any()
    assert agree((mean[count:], error[count:]), truth[count:])


@pytest.mark.parametrize(("gradient", "particles"), [("stl", 1), ("dreg", 1), ("dreg", 6), ("stl", 6)])
def test_at_the_posterior_the_guides_gradient_has_no_variance(gradient: str, particles: int) -> None:
    program, guide = linear_pair()
    guide.become_exact(program)
    x = torch.randn(5, 3, dtype=torch.float64)
    assert gradients(NegativeImportanceWeighted(program, guide, particles, gradient)(x), guide).abs().max() < 1e-12
    standard = gradients(NegativeImportanceWeighted(program, guide, particles)(x), guide)
    assert standard.abs().max() > 0.01
    assert gradients(NegativeImportanceWeighted(program, guide, particles, gradient)(x), program).abs().max() > 0.01


def test_near_the_posterior_doubly_reparameterized_gradients_vary_less() -> None:
    program, guide = linear_pair()
    guide.become_exact(program)
    with torch.no_grad():
        guide.bias.add_(0.1)
    x = torch.randn(5, 3, dtype=torch.float64)
    spread = {}
    for gradient in GRADIENTS:
        objective = NegativeImportanceWeighted(program, guide, 16, gradient)
        rows = torch.stack([gradients(objective(x), guide) for _ in range(60)])
        spread[gradient] = rows.var(0).sum().item()
    assert spread["dreg"] < 0.1 * spread["standard"]
    assert spread["stl"] < spread["standard"]


def test_one_particle_has_the_elbos_loss_and_gradient() -> None:
    program, guide = linear_pair()
    x = torch.randn(5, 3, dtype=torch.float64)
    found, expected = NegativeImportanceWeighted(program, guide, 1), NegativeElbo(program, guide, kl="sampled")
    torch.testing.assert_close(seeded(found, x), seeded(expected, x))
    mine, pyros = (gradients(seeded(objective, x), program, guide) for objective in (found, expected))
    torch.testing.assert_close(mine, pyros)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_weights_are_averaged_per_image_before_the_mean_over_images(gradient: str) -> None:
    program, guide = linear_pair(3, 1)
    x, particles = torch.randn(4, 3, dtype=torch.float64), 5
    torch.manual_seed(3)
    noise = torch.randn(particles, 4, dtype=torch.float64).numpy()  # drawn as the objective draws its own
    mean, scale = (x @ guide.weight.T + guide.bias)[:, 0].detach().numpy(), guide.log_scale.exp().item()
    total = 0.0
    for n in range(4):
        weights = []
        for z in mean[n] + scale * noise[:, n]:
            located = (program.weight[:, 0] * z + program.bias).detach().numpy()
            log_x = norm(located, program.log_scale.exp().item()).logpdf(x[n].numpy()).sum()
            weights.append(math.exp(log_x + norm.logpdf(z) - norm.logpdf(z, mean[n], scale)))
        total += math.log(sum(weights) / particles) / 4
    found = seeded(NegativeImportanceWeighted(program, guide, particles, gradient), x)
    assert found.item() == pytest.approx(-total)


class Dropped(DiagonalNormal):
    """Its encoder drops pixels in training."""

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(nn.functional.dropout(x, 0.5, self.training))


class DroppedLadder(LadderNormal):
    """Draws noise of its own between the sites."""

    def conditional(self, number: int, evidence: Tensor, above: Tensor | None) -> dist.TorchDistribution:
        return super().conditional(number, nn.functional.dropout(evidence, 0.5, self.training), above)


def made(program: nn.Module, guide: nn.Module) -> tuple[nn.Module, nn.Module]:
    for parameter in [*program.parameters(), *guide.parameters()]:
        nn.init.normal_(parameter, 0, 0.6)
    guide.bind(program)
    return program.double(), guide.double()


PAIRS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "dropout": lambda: made(VAE(3, 1, (3,)), Dropped(3, 1, (3,))),
    "ladder that shares the program's parameters": lambda: made(
        LadderVAE(3, (1, 1), (2, 2)), LadderNormal(3, (1, 1), (2,))
    ),
    "ladder with noise between its sites": lambda: made(LadderVAE(3, (1, 1), (2, 2)), DroppedLadder(3, (1, 1), (2,))),
    "flow": lambda: made(VAE(3, 2, (3,)), InverseAutoregressive(3, 2, (3,), flow_hidden=(4,), context_dim=2)),
    "prior made from the guide": lambda: made(
        VAE(3, 1, (3,), prior=VampPrior(1, 3, components=2)), DiagonalNormal(3, 1, (3,))
    ),
}


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
@pytest.mark.parametrize("name", PAIRS)
def test_the_second_run_of_the_guide_scores_its_own_draw(name: str, gradient: str) -> None:
    program, guide = PAIRS[name]()
    x = all_images(3)
    standard = seeded(NegativeImportanceWeighted(program, guide, 4), x)
    torch.testing.assert_close(seeded(NegativeImportanceWeighted(program, guide, 4, gradient), x), standard)
    # What is drawn next does not depend on the second run.
    after = torch.rand(())
    seeded(NegativeImportanceWeighted(program, guide, 4), x)
    assert torch.rand(()) == after
    assert all(p.requires_grad for p in [*program.parameters(), *guide.parameters()])


@pytest.mark.parametrize(("gradient", "particles"), [("stl", 1), ("dreg", 3)])
@pytest.mark.parametrize("name", PAIRS)
def test_every_kind_of_guide_has_the_standard_gradient_in_mean(name: str, gradient: str, particles: int) -> None:
    """The standard gradient is autograd's own, and its truth is tested above."""
    program, guide = PAIRS[name]()
    x = all_images(3)[[2, 5]]
    standard, path = (
        estimated(NegativeImportanceWeighted(program, guide, particles, kind), x, 300, 40)
        for kind in ("standard", gradient)
    )
    error = (standard[1] ** 2 + path[1] ** 2).sqrt()
    assert ((standard[0] - path[0]).abs() < 4.5 * error).all()
    assert (standard[0].abs() > 5 * error).sum() > len(error) / 3


def enumerated_bound(program: nn.Module, guide: SwitchGuide, x: Tensor, particles: int) -> Tensor:
    """E[log 1/K sum_k w_k] as a sum over all K-tuples of states; differentiable: ()."""
    t = tables(program, guide, x)
    log_q = (t["log_q1"] + t["log_q2"]).flatten(0, 1)
    log_w = (t["log_x"] + t["log_p1"] + t["log_p2"]).flatten(0, 1) - log_q
    total = 0.0
    for states in product(range(len(log_q)), repeat=particles):
        chosen = list(states)
        mass = log_q[chosen].sum(0).exp()
        total = total + (mass * (log_w[chosen].logsumexp(0) - math.log(particles))).mean()
    return total


@pytest.mark.parametrize("particles", [1, 2, 3])
def test_discrete_guides_have_the_enumerated_gradient(particles: int) -> None:
    program, guide = switches()
    x = all_images(3)[[0, 3, 6]]
    truth = gradients(-enumerated_bound(program, guide, x, particles), guide, program)
    found = estimated(NegativeImportanceWeighted(program, guide, particles), x, 1500, 40)
    assert agree(found, truth)
    assert (truth.abs() > 8 * found[1]).sum() > len(truth) / 2


def test_draws_without_gradient_have_the_mean_of_quadrature() -> None:
    program, guide, x = one_dimensional(Scored)
    truth = gradients(-expected_bound(program, guide, x, 2), guide, program)
    assert agree(estimated(NegativeImportanceWeighted(program, guide, 2), x), truth)


def test_without_reparameterization_one_particle_has_pyros_mean_gradient() -> None:
    program, guide = switches()
    x = all_images(3)
    mine = estimated(NegativeImportanceWeighted(program, guide, 1), x, 200, 40)
    pyros = replicates(
        lambda: gradients(
            Trace_ELBO(max_plate_nesting=1).differentiable_loss(program, guide, x.repeat(200, 1)) / 1600, guide, program
        ),
        40,
    )
    assert ((mine[0] - pyros[0]).abs() < 4 * (mine[1] ** 2 + pyros[1] ** 2).sqrt()).all()


def test_the_learning_signal_leaves_one_weight_out() -> None:
    log_w = torch.tensor([[0.3, -900.0], [1.7, -901.0], [-2.0, -903.5]], dtype=torch.float64)
    expected = np.zeros((3, 2))
    for k, n in product(range(3), range(2)):
        own = log_w[:, n].numpy() - log_w[0, n].item()
        others = np.delete(own, k)
        replaced = np.append(others, others.mean())
        expected[k, n] = math.log(np.exp(own).mean()) - math.log(np.exp(replaced).mean())
    torch.testing.assert_close(learning_signal(log_w), torch.tensor(expected))
    assert torch.equal(learning_signal(log_w[:1]), log_w[:1])


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_the_path_gradients_refuse_a_guide_without_a_path(gradient: str) -> None:
    for pair, name, site in ((switches(), "SwitchGuide", "z2"), (linear_pair(guide=Scored), "Scored", "z")):
        with pytest.raises(
            InvalidInput, match=rf"--objective.gradient '{gradient}': {name} is not .* at site '{site}'"
        ):
            NegativeImportanceWeighted(*pair, gradient=gradient)
        NegativeImportanceWeighted(*pair)


def test_options_that_are_none_are_refused() -> None:
    program, guide = linear_pair()
    with pytest.raises(InvalidInput, match=r"--objective.num_particles 0"):
        NegativeImportanceWeighted(program, guide, 0)
    with pytest.raises(InvalidInput, match=r"--objective.gradient 'vimco'.*use standard, stl or dreg"):
        NegativeImportanceWeighted(program, guide, gradient="vimco")
    with pytest.raises(InvalidInput, match="does not fit"):
        NegativeImportanceWeighted(VAE(3, 2), DiagonalNormal(3, 4), gradient="dreg")


def test_a_loss_can_be_evaluated_without_gradients() -> None:
    program, guide = linear_pair()
    x = torch.randn(5, 3, dtype=torch.float64)
    objective = NegativeImportanceWeighted(program, guide, 3, "dreg")
    expected = seeded(objective, x).item()
    with torch.no_grad():
        assert seeded(objective, x).item() == pytest.approx(expected)
