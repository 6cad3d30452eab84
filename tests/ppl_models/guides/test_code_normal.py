from __future__ import annotations

import math

import pytest
import torch

from ppl_models import InvalidInput
from ppl_models.autoencoder import Autoencoder
from ppl_models.guides.code_normal import CodeNormal
from ppl_models.priors import VampPrior
from ppl_models.programs import VAE
from ppl_models.programs.autoencoder_density import AutoencoderDensity


def pair(scales: str = "image", **options: object) -> tuple[AutoencoderDensity, CodeNormal]:
    program = AutoencoderDensity(Autoencoder(6, 2, (8,), **options))
    program.standardize(program.autoencoder.encode(torch.rand(30, 6)))
    guide = CodeNormal(6, 2, (5,), scales=scales)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.normal_()
    guide.bind(program)
    return program, guide


@pytest.mark.parametrize("scales", ["image", "latent"])
def test_it_is_the_normal_around_the_programs_code(scales: str) -> None:
    program, guide = pair(scales)
    x = torch.randint(0, 2, (5, 6)).float()
    posterior = guide.posterior(x)
    assert (posterior.batch_shape, posterior.event_shape) == ((5,), (2,))
    code = program.code(x)
    if scales == "image":
        (w1, b1), (w2, b2) = ((layer.weight, layer.bias) for layer in guide.net[::2])
        raw = torch.tanh(code @ w1.T + b1) @ w2.T + b2
    else:
        raw = guide.raw_scale.expand(5, 2)
    scale = torch.log(1 + torch.exp(raw + math.log(math.e - 1))) + 1e-5
    z = torch.randn(5, 2)
    expected = -0.5 * ((z - code) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(posterior.log_prob(z), expected.sum(-1))
    torch.testing.assert_close(guide.family(guide.encode(x)).log_prob(z), expected.sum(-1))


@pytest.mark.parametrize("scales", ["image", "latent"])
def test_before_training_scales_are_a_fifth_of_the_spread_of_the_codes(scales: str) -> None:
    program = AutoencoderDensity(Autoencoder(6, 2, (8,)))
    guide = CodeNormal(6, 2, scales=scales)
    guide.bind(program)
    scale = guide.posterior(torch.zeros(3, 6)).base_dist.scale
    assert ((scale - 0.2).abs() < 0.03).all()


def test_scales_are_of_each_image_or_of_each_latent() -> None:
    x = torch.randint(0, 2, (5, 6)).float()
    for scales, equal in (("image", False), ("latent", True)):
        found = pair(scales)[1].posterior(x).base_dist.scale
        assert torch.equal(found[0].expand(5, 2), found) == equal
        assert found[0, 0] != found[0, 1]


def test_the_encoder_belongs_to_the_program_alone() -> None:
    program, guide = pair()
    assert list(guide.children()) == [guide.net]
    assert all(name.startswith("net.") for name in guide.state_dict())
    assert guide.program is program


@pytest.mark.parametrize("scales", ["image", "latent"])
def test_a_gradient_reaches_every_parameter_of_guide_and_program(scales: str) -> None:
    program, guide = pair(scales)
    x = torch.randint(0, 2, (20, 6)).float()
    posterior = guide.posterior(x)
    z = posterior.rsample()
    (program.likelihood(z).log_prob(x) + program.prior().log_prob(z) - posterior.log_prob(z)).sum().backward()
    for module in (program, guide):
        assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_permuting_images_permutes_posteriors_and_training_corrupts_none() -> None:
    program, guide = pair(corruption=0.5)
    assert program.training
    x, order = torch.rand(5, 6), torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(guide.posterior(x[order]).mean, guide.posterior(x).mean[order])


def test_it_expands_to_particles_and_follows_to_double_precision() -> None:
    program, guide = pair()
    program.double()
    guide.double()
    x = torch.rand(5, 6, dtype=torch.float64)
    expanded = guide.posterior(x).expand((7, 5))
    draw = expanded.rsample()
    assert (draw.shape, draw.dtype) == ((7, 5, 2), torch.float64)
    torch.testing.assert_close(expanded.log_prob(draw), guide.posterior(x).log_prob(draw))


def test_the_vamp_prior_is_made_from_it() -> None:
    program = AutoencoderDensity(Autoencoder(6, 2, (8,)), VampPrior(2, 6, components=3))
    guide = CodeNormal(6, 2)
    guide.bind(program)
    u = program.latent_prior.pseudo_inputs
    parts = torch.stack([guide.posterior(u[k : k + 1]).log_prob(torch.zeros(2)) for k in range(3)])
    torch.testing.assert_close(program.prior().log_prob(torch.zeros(2)), parts.exp().mean().log())
    program.prior().log_prob(torch.zeros(2)).backward()
    assert program.latent_prior.free.grad.abs().sum() > 0


def test_what_it_cannot_be_paired_with_or_made_of_is_refused() -> None:
    with pytest.raises(InvalidInput, match="VAE has none; use it with recipe autoencoder_gmm"):
        CodeNormal(6, 2).bind(VAE(6, 2))
    with pytest.raises(InvalidInput, match="has 3 latents, and the codes of AutoencoderDensity 2"):
        CodeNormal(6, 3).bind(pair()[0])
    with pytest.raises(InvalidInput, match="bind"):
        CodeNormal(6, 2).posterior(torch.zeros(1, 6))
    with pytest.raises(InvalidInput, match=r"scales .*did you mean latent"):
        CodeNormal(6, 2, scales="latents")
    with pytest.raises(InvalidInput, match="hidden"):
        CodeNormal(6, 2, (0,))
