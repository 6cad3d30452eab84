from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import VAE


@pytest.mark.parametrize("shape", [(2,), (5, 2), (3, 5, 2), (4, 1, 1, 2)])
@pytest.mark.parametrize("levels", [2, 5])
def test_the_likelihood_takes_any_leading_dimensions(shape: tuple[int, ...], levels: int) -> None:
    program = VAE(6, 2, (8,), levels=levels)
    z = torch.randn(shape)
    likelihood = program.likelihood(z)
    assert likelihood.batch_shape == shape[:-1]
    assert likelihood.event_shape == (6,)
    x = torch.randint(0, levels, (6,)).float()
    assert likelihood.log_prob(x).shape == shape[:-1]
    draw = likelihood.sample()
    assert draw.dtype == torch.float32
    assert draw.min() >= 0
    assert draw.max() <= levels - 1


@pytest.mark.parametrize("levels", [2, 3])
def test_given_z_the_mass_over_all_images_is_one(levels: int, all_images: Callable) -> None:
    program = VAE(4, 2, (8,), levels=levels).double()
    z = torch.randn(3, 1, 2, dtype=torch.float64)
    mass = program.likelihood(z).log_prob(all_images(4, levels)).exp().sum(-1)
    torch.testing.assert_close(mass, torch.ones(3, dtype=torch.float64))


def test_generated_images_have_the_marginals_that_the_prior_implies(all_images: Callable) -> None:
    program = VAE(4, 1, (8,))
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, 1.0)
    grid = torch.linspace(-6, 6, 2001)[:, None]
    weights = torch.softmax(-(grid[:, 0] ** 2) / 2, 0)
    truth = (weights[:, None] * torch.sigmoid(program.decoder(grid))).sum(0)
    assert (program(size=5000).mean(0) - truth).abs().max() < 4 * (0.25 / 5000) ** 0.5


def test_a_gradient_reaches_every_parameter_of_program_and_guide() -> None:
    program, guide = VAE(6, 2, (8,)), DiagonalNormal(6, 2, (8,))
    x = torch.randint(0, 2, (20, 6)).float()
    posterior = guide.posterior(x)
    z = posterior.rsample()
    (program.likelihood(z).log_prob(x) - posterior.log_prob(z)).sum().backward()
    for module in (program, guide):
        assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_family_is_the_normal_its_parameters_say() -> None:
    guide = DiagonalNormal(6, 2)
    parameters = torch.zeros(3, 4)
    parameters[:, 0] = 7.0
    posterior = guide.family(parameters)
    assert posterior.base_dist.loc[0].tolist() == [7, 0]
    assert posterior.base_dist.scale[0].tolist() == pytest.approx([1, 1], abs=1e-4)
    assert posterior.batch_shape == (3,)
    assert posterior.event_shape == (2,)


def test_half_precision_parameters_give_a_float32_posterior() -> None:
    posterior = DiagonalNormal(6, 2).family(torch.zeros(3, 4, dtype=torch.bfloat16))
    assert posterior.base_dist.scale.dtype == posterior.base_dist.loc.dtype == torch.float32


def test_permuting_images_permutes_posteriors() -> None:
    guide = DiagonalNormal(6, 2)
    x, order = torch.rand(5, 6), torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(guide.posterior(x[order]).mean, guide.posterior(x).mean[order])


def test_binding_keeps_the_program_out_of_the_guides_parameters() -> None:
    program, guide = VAE(6, 2), DiagonalNormal(6, 2)
    before = set(guide.state_dict())
    with pytest.raises(InvalidInput, match="bind"):
        _ = guide.program
    guide.bind(program)
    assert guide.program is program
    assert set(guide.state_dict()) == before
    assert list(guide.children()) == [guide.encoder]


def test_a_guide_without_images_and_sizes_below_one_are_refused() -> None:
    with pytest.raises(InvalidInput, match="images"):
        DiagonalNormal(6, 2)()
    with pytest.raises(InvalidInput, match="latent_dim"):
        VAE(6, 0)
    with pytest.raises(InvalidInput, match="data_dim"):
        VAE(0)


def test_the_prior_follows_the_program_to_another_precision() -> None:
    program = VAE(6, 2).double()
    z: Tensor = program.prior().sample()
    assert z.dtype == torch.float64
    assert not [key for key in program.state_dict() if "prior" in key], "a constant is not saved"
