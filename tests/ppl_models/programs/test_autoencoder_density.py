from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pyro import poutine
from torch import Tensor

from ppl_models import HasLogProb, InvalidInput, LatentProgram
from ppl_models.autoencoder import Autoencoder
from ppl_models.priors import Bits, MixtureOfNormals
from ppl_models.programs.autoencoder_density import AutoencoderDensity


def lively(data_dim: int = 4, latent_dim: int = 1, levels: int = 2, likelihood: str = "auto", **options: object):
    """A density in double precision all of whose parts are at work: prior, location, spread, calibration."""
    net = Autoencoder(data_dim, latent_dim, (8,), levels=levels, **options)
    program = AutoencoderDensity(net, MixtureOfNormals(latent_dim, 3), likelihood).double()
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.normal_()
        program.latent_prior.log_scale.uniform_(-1, 0.3)  # neither slips between the nodes nor leaves the grid
        program.center.normal_()
        program.spread.uniform_(0.5, 2.0)
    return program


def layers_of(program: AutoencoderDensity) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in program.autoencoder.decoder[::2]]


def outputs_at(program: AutoencoderDensity, z: np.ndarray) -> np.ndarray:
    """The decoder's outputs (M, D) at standardized codes (M, L), by numpy from its weights."""
    (w1, b1), (w2, b2) = layers_of(program)
    code = program.center.numpy() + program.spread.numpy() * z
    return np.tanh(code @ w1.T + b1) @ w2.T + b2


def log_prior_at(program: AutoencoderDensity, z: np.ndarray) -> np.ndarray:
    """log of the mixture at (M, L), by numpy from its parameters."""
    prior = program.latent_prior
    logits, loc, scale = (p.detach().numpy() for p in (prior.logits, prior.loc, prior.log_scale.exp()))
    weights = np.exp(logits) / np.exp(logits).sum()
    density = np.exp(-0.5 * ((z[:, None] - loc) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
    return np.log((weights * density.prod(-1)).sum(-1))


def grid(latent_dim: int) -> tuple[np.ndarray, float]:
    """Nodes (M, L) and the volume each stands for."""
    nodes = np.linspace(-16, 16, 6401) if latent_dim == 1 else np.linspace(-16, 16, 401)
    return np.array(list(itertools.product(nodes, repeat=latent_dim))), (nodes[1] - nodes[0]) ** latent_dim


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_the_joint_is_prior_times_calibrated_bernoulli_around_the_decoders_output(latent_dim: int) -> None:
    program = lively(latent_dim=latent_dim)
    z, x = torch.randn(7, latent_dim, dtype=torch.float64), torch.randint(0, 2, (7, 4)).double()
    trace = poutine.trace(poutine.condition(program, {"z": z})).get_trace(x)
    r = outputs_at(program, z.numpy())
    logits = np.exp(program.calibration.log_slope.detach().numpy()) * r + program.calibration.offset.detach().numpy()
    log_likelihood = (x.numpy() * logits - np.logaddexp(0, logits)).sum(-1)
    expected = log_prior_at(program, z.numpy()) + log_likelihood
    assert trace.log_prob_sum().item() == pytest.approx(expected.sum())


@pytest.mark.parametrize(("latent_dim", "levels"), [(1, 2), (2, 2), (1, 3)])
def test_the_total_mass_over_images_and_codes_is_one(latent_dim: int, levels: int, all_images: Callable) -> None:
    program = lively(latent_dim=latent_dim, levels=levels)
    z, volume = grid(latent_dim)
    with torch.no_grad():
        inside = program.likelihood(torch.as_tensor(z[::37]).unsqueeze(1)).log_prob(all_images(4, levels)).exp().sum(-1)
        prior = program.prior().log_prob(torch.as_tensor(z)).exp()
    torch.testing.assert_close(inside, torch.ones_like(inside))
    assert prior.sum().item() * volume == pytest.approx(1, abs=1e-6)


def test_grey_levels_are_discretized_logistics_around_the_reconstruction() -> None:
    program = lively(levels=17)
    z = torch.randn(5, 1, dtype=torch.float64)
    mean = 16 / (1 + np.exp(-outputs_at(program, z.numpy())))
    # One level is 1/8 on the scale from -1 to 1, on which the family's scale is exp(s) / 2.
    scale = np.exp(program.calibration.log_scale.detach().numpy()) / 2 * 8
    for level in (0, 1, 9, 16):
        upper = 1.0 if level == 16 else 1 / (1 + np.exp(-(level + 0.5 - mean) / scale))
        lower = 0.0 if level == 0 else 1 / (1 + np.exp(-(level - 0.5 - mean) / scale))
        found = program.likelihood(z).log_prob(torch.full((5, 4), float(level), dtype=torch.float64))
        np.testing.assert_allclose(found.detach().numpy(), np.log(upper - lower).sum(-1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("levels", "unit"), [(0, 1.0), (17, 16.0)])
def test_the_gaussian_has_the_reconstruction_as_its_mean_and_one_sigma(levels: int, unit: float) -> None:
    program = lively(levels=levels, likelihood="gaussian")
    z, x = torch.randn(5, 1, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    r = outputs_at(program, z.numpy())
    mean = 16 / (1 + np.exp(-r)) if levels else r
    sigma = unit * program.family.log_scale.exp().item()
    expected = -0.5 * ((x.numpy() - mean) / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(program.likelihood(z).log_prob(x).detach().numpy(), expected.sum(-1))
    assert program.measure == "density"


@pytest.mark.parametrize(
    ("levels", "measure", "family"),
    [(2, "mass", "BernoulliPixels"), (17, "mass", "LogisticPixels"), (0, "density", "GaussianPixels")],
)
def test_auto_takes_the_family_that_suits_the_levels(levels: int, measure: str, family: str) -> None:
    program = AutoencoderDensity(Autoencoder(4, 2, (8,), levels=levels))
    assert (program.measure, type(program.family).__name__, program.levels) == (measure, family, levels)
    assert isinstance(program, LatentProgram)
    assert not isinstance(program, HasLogProb), "p(x) has bounds only"


@pytest.mark.parametrize("levels", [2, 17, 0])
def test_before_it_is_fitted_the_likelihood_is_centred_on_the_reconstruction(levels: int) -> None:
    program = AutoencoderDensity(Autoencoder(4, 2, (8,), levels=levels)).double()
    x = torch.randint(0, max(levels, 2), (6, 4)).double()
    program.standardize(program.autoencoder.encode(x))
    middle = program.likelihood(program.code(x))
    reconstruction = program.reconstruct(x)
    if levels == 17:  # the mean of a discretized logistic is pulled inwards at the edges, its median is not
        below = torch.stack([middle.base_dist.cdf(torch.full_like(x, v)) for v in range(17)])
        median = (below < 0.5).sum(0)
        assert ((median - reconstruction).abs() <= 0.5 + 1e-9).all()
    else:
        torch.testing.assert_close(middle.mean, reconstruction)


def test_a_decoder_that_is_sure_and_wrong_costs_a_finite_number_of_nats() -> None:
    net = Autoencoder(4, 2, (8,))
    with torch.no_grad():
        net.decoder[-1].bias.fill_(1e4)
    program = AutoencoderDensity(net)
    with torch.no_grad():
        program.calibration.log_slope.fill_(math.log(1e-3))
    value = program.likelihood(torch.zeros(1, 2)).log_prob(torch.zeros(1, 4))
    assert value.item() == pytest.approx(-40, abs=0.1)


def test_standardized_codes_have_mean_zero_and_variance_one() -> None:
    program = lively(latent_dim=2)
    x = torch.randn(50, 4, dtype=torch.float64)
    program.standardize(program.autoencoder.encode(x))
    z = program.code(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(z.square().mean(0), torch.ones(2, dtype=torch.float64))


def test_what_is_kept_of_old_mean_and_variance_is_what_was_asked_for() -> None:
    program = AutoencoderDensity(Autoencoder(4, 1))
    program.center.fill_(2.0)
    program.spread.fill_(3.0)
    program.standardize(torch.tensor([[5.0], [7.0]]), kept=0.75)
    assert program.center.item() == pytest.approx(0.75 * 2 + 0.25 * 6)
    assert program.spread.item() == pytest.approx(math.sqrt(0.75 * 9 + 0.25 * 1))
    program.standardize(torch.full((2, 1), 4.0))
    assert program.spread.item() == pytest.approx(1e-4), "a code that never moves"
    assert program.code(torch.zeros(3, 4)).isfinite().all()


def test_standardization_moves_no_image() -> None:
    program = lively(latent_dim=2)
    x = torch.randint(0, 2, (6, 4)).double()
    before = program.likelihood(program.code(x)).log_prob(x)
    program.standardize(torch.randn(9, 2, dtype=torch.float64))
    torch.testing.assert_close(program.likelihood(program.code(x)).log_prob(x), before)
    assert {"center", "spread"} <= set(program.state_dict()), "a loaded program is the saved one"


def test_a_code_is_never_that_of_a_corrupted_image() -> None:
    program, x = lively(corruption=0.5), torch.ones(20, 4, dtype=torch.float64)
    assert program.training
    assert torch.equal(program.code(x), program.code(x))
    assert not torch.equal(program.reconstruct(x), program.reconstruct(x)), "but its reconstruction is, in training"


@pytest.mark.parametrize("shape", [(2,), (5, 2), (3, 5, 2), (4, 1, 1, 2)])
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_the_likelihood_takes_any_leading_dimensions(shape: tuple[int, ...], architecture: str) -> None:
    net = Autoencoder(6, 2, (4,), levels=5, architecture=architecture, shape=(1, 2, 3))
    likelihood = AutoencoderDensity(net).likelihood(torch.randn(shape))
    assert (likelihood.batch_shape, likelihood.event_shape) == (shape[:-1], (6,))
    draw = likelihood.sample()
    assert 0 <= draw.min() <= draw.max() <= 4


def test_half_precision_nets_give_log_probabilities_in_single_precision() -> None:
    program = AutoencoderDensity(Autoencoder(6, 2, (4,)))
    program.autoencoder.bfloat16()
    program.autoencoder.decoder.register_forward_pre_hook(lambda m, inputs: (inputs[0].bfloat16(),))
    assert program.code(torch.zeros(3, 6, dtype=torch.bfloat16)).dtype == torch.float32
    assert program.likelihood(torch.zeros(3, 2)).log_prob(torch.zeros(3, 6)).dtype == torch.float32


def test_images_of_the_program_have_the_marginals_that_prior_and_decoder_imply() -> None:
    program = lively()
    z, volume = grid(1)
    logits = torch.as_tensor(outputs_at(program, z)) * program.calibration.log_slope.exp() + program.calibration.offset
    truth = (torch.sigmoid(logits) * torch.as_tensor(np.exp(log_prior_at(program, z)))[:, None]).sum(0) * volume
    draws: Tensor = program(size=5000)
    assert (draws.mean(0) - truth).abs().max() < 4 * (0.25 / 5000) ** 0.5


@pytest.mark.parametrize(
    ("levels", "arguments", "named"),
    [
        (2, {"likelihood": "categorical"}, "likelihood .*one number per pixel.*known: auto, bernoulli"),
        (2, {"likelihood": "logistic:5"}, "likelihood .*did you mean logistic"),
        (17, {"likelihood": "bernoulli"}, "likelihood .*17 values"),
        (0, {"likelihood": "logistic"}, "likelihood .*real values"),
        (2, {"prior": MixtureOfNormals(3, 2)}, "prior .*over 3 continuous latents"),
        (2, {"prior": Bits(2)}, "prior .*over 2 binary latents"),
    ],
)
def test_what_is_no_density_over_the_codes_is_refused(levels: int, arguments: dict, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        AutoencoderDensity(Autoencoder(6, 2, (4,), levels=levels), **arguments)
