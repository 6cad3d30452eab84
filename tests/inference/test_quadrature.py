"""Quadrature against closed forms and a trapezoidal rule of scipy's nodes, on programs with one and two latents."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from inference import Claim
from inference.estimators import Quadrature
from inference.estimators.quadrature import first_grid
from ppl_models import InvalidInput
from ppl_models.program import LatentProgram
from ppl_models.programs import MADE, VAE, LadderVAE, LinearVAE
from ppl_models.programs.discrete_vae import DiscreteVAE


def linear(latents: int, pixels: int = 5, scale: float = 1.0) -> LinearVAE:
    program = LinearVAE(pixels, latents, levels=0)
    with torch.no_grad():
        program.decoder.weight.copy_(torch.randn(pixels, latents))
        program.family.log_scale.fill_(math.log(scale))
    return program


def marginal(program: LinearVAE, x: Tensor) -> Tensor:
    """log N(x; b, W W^T + sigma^2 I) by numpy."""
    weight, bias = (p.detach().double().numpy() for p in (program.decoder.weight, program.decoder.bias))
    variance = math.exp(2 * program.family.log_scale.item())
    covariance = weight @ weight.T + variance * np.eye(len(bias))
    centred = x.double().numpy() - bias
    square = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    return torch.tensor(-0.5 * (square + np.linalg.slogdet(2 * math.pi * covariance)[1]))


@pytest.mark.parametrize("latents", [1, 2])
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_a_linear_program_gets_its_closed_form(latents: int, scale: float) -> None:
    program = linear(latents, scale=scale)
    x = program(size=6).detach()
    estimate = Quadrature()(program, x)
    torch.testing.assert_close(estimate.values, marginal(program, x), rtol=0, atol=1e-6)
    assert (estimate.claim, estimate.stderr, estimate.tolerance) == (Claim.NUMERICAL, None, 1e-4)
    assert (estimate.diagnostics["error"] <= 1e-4).all()


def test_a_bernoulli_vae_gets_what_the_trapezoidal_rule_says_and_its_images_have_mass_one(
    tiny_vae: VAE, quadrature: Callable[[VAE, Tensor], Tensor], four_pixel_images: Tensor
) -> None:
    values = Quadrature()(tiny_vae, four_pixel_images).values
    torch.testing.assert_close(values, quadrature(tiny_vae, four_pixel_images), rtol=0, atol=1e-6)
    assert values.exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_two_latents_have_mass_one(four_pixel_images: Tensor) -> None:
    program = VAE(4, 2, (8,))
    for parameter in program.parameters():
        nn.init.normal_(parameter)
    assert Quadrature()(program, four_pixel_images).values.exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_a_sharp_posterior_far_from_the_prior_is_found() -> None:
    """sigma = 1e-3 and x at 9 standard deviations of z: the first grid sees nothing of it."""
    program = linear(1, pixels=1, scale=1e-3)
    with torch.no_grad():
        program.decoder.weight.fill_(1.0)
        program.decoder.bias.fill_(0.0)
    x = torch.tensor([[9.0], [0.1234]])
    torch.testing.assert_close(Quadrature()(program, x).values, marginal(program, x), rtol=0, atol=1e-5)


class PositiveLatent(LatentProgram):
    """z ~ Gamma(3, 2), x | z ~ Poisson-like counts by an exponential of rate z: p(x) = 3 * 2^3 / (2 + x)^4."""

    measure = "density"

    def __init__(self) -> None:
        super().__init__(1, 1, levels=0)

    def prior(self) -> TorchDistribution:
        return dist.Gamma(torch.tensor([3.0]), torch.tensor([2.0])).to_event(1)

    def likelihood(self, z: Tensor) -> TorchDistribution:
        return dist.Exponential(z).to_event(1)


def test_a_confined_latent_is_integrated_with_its_jacobian() -> None:
    x = torch.tensor([[0.1], [1.0], [7.0]])
    expected = (3 * 8 / (2 + x[:, 0].double()) ** 4).log()
    torch.testing.assert_close(Quadrature()(PositiveLatent(), x).values, expected, rtol=0, atol=1e-4)


class Needle(LatentProgram):
    """z ~ N(0, 1), x | z ~ N(z, 1e-8): a posterior that lies between the nodes of the first grids."""

    measure = "density"

    def __init__(self) -> None:
        super().__init__(1, 1, levels=0)

    def prior(self) -> TorchDistribution:
        return dist.Normal(torch.zeros(1), torch.ones(1)).to_event(1)

    def likelihood(self, z: Tensor) -> TorchDistribution:
        return dist.Normal(z, 1e-4).to_event(1)


def test_the_values_do_not_depend_on_the_batch_or_the_chunk() -> None:
    program = linear(2)
    x = program(size=5).detach()
    together = Quadrature()(program, x).values
    alone = torch.cat([Quadrature(max_elements=3000)(program, image[None]).values for image in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_a_needle_is_resolved() -> None:
    x = torch.tensor([[0.03137]])
    expected = -0.5 * x[:, 0].double() ** 2 / (1 + 1e-8) - 0.5 * math.log(2 * math.pi * (1 + 1e-8))
    torch.testing.assert_close(Quadrature()(Needle(), x).values, expected, rtol=0, atol=1e-5)


class HillAndNeedle(Needle):
    """x | z ~ 1/2 N(z, 4) + 1/2 N(z, 1e-6): nodes on both sides of the needle see the hill alone."""

    def likelihood(self, z: Tensor) -> TorchDistribution:
        scales = torch.tensor([2.0, 0.001], dtype=z.dtype)
        hills = dist.Normal(z.unsqueeze(-1), scales)
        return dist.MixtureSameFamily(dist.Categorical(logits=torch.zeros_like(hills.loc)), hills).to_event(1)


def test_a_peak_beside_the_best_node_is_looked_for() -> None:
    """The needle stands near the mode and half a step, seven of its standard deviations, from any node."""
    program = HillAndNeedle()
    grid = first_grid(program, torch.device("cpu"))
    while grid.integrate(program, torch.zeros(1, 1).double(), 10_000).beyond > math.log(1e-4):
        grid = grid.grown()
    assert grid.step.item() / 2 > 0.006, "else the sums see it"
    x = (grid.low + ((-grid.low / grid.step).floor() + 0.5) * grid.step).float()[None]
    assert grid.integrate(program, x.double(), 10_000).error < 1e-4, "the sums agree, on the hill alone"
    expected = sum(0.5 * np.exp(-0.5 * x.numpy() ** 2 / v) / math.sqrt(2 * math.pi * v) for v in (5.0, 1 + 1e-6))
    expected = torch.tensor(np.log(expected[:, 0])).double()
    torch.testing.assert_close(Quadrature(max_elements=300)(program, x).values, expected, rtol=0, atol=1e-4)


class Endless(Needle):
    """A latent of Student's law with a fifth of a degree of freedom: mass at any distance."""

    def prior(self) -> TorchDistribution:
        return dist.StudentT(0.2 * torch.ones(1), torch.zeros(1), torch.ones(1)).to_event(1)

    def likelihood(self, z: Tensor) -> TorchDistribution:
        return dist.Normal(torch.tanh(z), 1.0).to_event(1)


def test_mass_at_any_distance_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"1 image\(s\), the first 0, are not resolved"):
        Quadrature()(Endless(), torch.zeros(1, 1))


def test_what_the_finest_grid_does_not_resolve_is_refused() -> None:
    program = linear(2, scale=1e-5)
    x = program(size=2).detach()
    with pytest.raises(InvalidInput, match=r"2 image\(s\), the first 0, are not resolved.*ais"):
        Quadrature()(program, x)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (VAE(4, 3, (8,)), "3 latents.*more than 2.*ais:1000"),
        (DiscreteVAE(4, 2, (8,)), "discrete latents.*use enumerate"),
        (DiscreteVAE(4, 3, (8,)), "discrete latents.*use enumerate"),
        (MADE(4), "no latents.*use exact"),
        (LadderVAE(4, (1, 1)), "not one vector z.*ais:1000"),
    ],
)
def test_programs_without_one_or_two_continuous_latents_are_refused(program: nn.Module, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Quadrature()(program, torch.zeros(2, 4))


@pytest.mark.parametrize("tolerance", [0.0, -1e-3, 1.5])
def test_a_tolerance_is_a_small_positive_number(tolerance: float) -> None:
    with pytest.raises(InvalidInput, match="tolerance"):
        Quadrature(tolerance)
