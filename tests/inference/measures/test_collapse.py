"""The measures of a pair: closed forms of linear programs, sums over discrete codes, planted dead and live latents."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

from inference.measures import measure_collapse
from inference.randomness import keyed_noise
from inference.weights import log_weights
from ppl_models import InvalidInput
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.guides import (
    DiagonalNormal,
    FullRankNormal,
    Guide,
    IndependentBernoulli,
    InverseAutoregressive,
    LadderNormal,
    Laplace,
    OneHotCategorical,
)
from ppl_models.priors import AutoregressivePrior, FlowPrior, MixtureOfNormals, VampPrior
from ppl_models.programs import MADE, VAE, DiscreteVAE, LadderVAE, LinearVAE, PixelVAE
from tests.inference.measures.channels import GaussianChannel, WithoutMean, linear_program


def value(found: xr.Dataset, name: str, column: str = "value") -> float:
    return float(found[column].sel(measure=name))


def vae(prior: nn.Module | None = None) -> tuple[VAE, Guide]:
    return VAE(6, 2, (8,), prior=prior), DiagonalNormal(6, 2, (8,))


PAIRS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "vae": vae,
    "mixture": lambda: vae(MixtureOfNormals(2, 3)),
    "vamp": lambda: vae(VampPrior(2, 6, 3)),
    "flow prior": lambda: vae(FlowPrior(2)),
    "full rank": lambda: (VAE(6, 2, (8,)), FullRankNormal(6, 2, (8,))),
    "flow guide": lambda: (VAE(6, 2, (8,)), InverseAutoregressive(6, 2, (8,))),
    "laplace": lambda: (VAE(6, 2, (8,)), Laplace(6, 2, steps=2)),
    "bits": lambda: (DiscreteVAE(6, 3, (8,)), IndependentBernoulli(6, 3, (8,))),
    "dependent bits": lambda: (DiscreteVAE(6, 3, (8,), prior=AutoregressivePrior(3)), IndependentBernoulli(6, 3, (8,))),
    "category": lambda: (DiscreteVAE(6, 3, (8,), code="one-hot"), OneHotCategorical(6, 3, (8,))),
    "pixels": lambda: (PixelVAE(6, 2, (8,), channels=4), DiagonalNormal(6, 2, (8,))),
    "ladder": lambda: (LadderVAE(6, (3, 2), (8, 8)), LadderNormal(6, (3, 2), (8,))),
}


def lively(name: str) -> tuple[nn.Module, nn.Module]:
    """A pair whose latents matter."""
    torch.manual_seed(1)
    program, guide = PAIRS[name]()
    with torch.no_grad():
        for parameter in itertools.chain(program.parameters(), guide.parameters()):
            parameter.mul_(1.5)
    guide.bind(program)
    return program, guide


@pytest.fixture
def images() -> Tensor:
    return (torch.rand(12, 6) < 0.5).float()


@pytest.mark.parametrize("name", PAIRS)
def test_the_split_adds_up_to_the_elbo_of_the_estimators(name: str, images: Tensor) -> None:
    program, guide = lively(name)
    found = measure_collapse(program, guide, images, range(3, 15), seed=5, num_draws=4)
    with torch.no_grad():
        elbos = []
        for number in range(12):
            with keyed_noise(5, "collapse", number + 3):
                elbos.append(log_weights(program, guide, images[number : number + 1], 4).mean())
    elbo = float(torch.stack(elbos).double().mean())
    parts = [value(found, f"split_{part}") for part in ("log_likelihood", "information", "marginal_kl")]
    assert parts[0] - parts[1] - parts[2] == pytest.approx(elbo, abs=1e-5)
    assert value(found, "split_elbo") == pytest.approx(elbo, abs=1e-5)
    assert value(found, "elbo") == pytest.approx(elbo, abs=1e-5)
    assert np.allclose(found["elbo"], torch.stack(elbos), atol=1e-4)


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_said_of_an_image_does_not_depend_on_the_batch(name: str, images: Tensor) -> None:
    program, guide = lively(name)
    whole = measure_collapse(program, guide, images, num_draws=3)
    for elements in (1, 200):
        chunked = measure_collapse(program, guide, images, num_draws=3, max_elements=elements)
        for key in whole:
            if whole[key].dtype.kind == "f":
                assert np.allclose(whole[key], chunked[key], atol=2e-5, equal_nan=True), key
    order = torch.tensor([7, 2, 5])
    some = measure_collapse(program, guide, images[order], order.tolist(), num_draws=3)
    same = whole.isel(image=order.tolist())
    for key in ("rate", "log_likelihood", "elbo", "log_likelihood_prior", "kl", "accuracy", "reconstruction_error"):
        assert np.allclose(some[key], same[key], atol=2e-5, equal_nan=True), key
    assert some["image"].values.tolist() == [7, 2, 5]
    # Where images stand in the split does not matter for what is about all of them; which partner has whose z does.
    order = torch.randperm(12)
    again = measure_collapse(program, guide, images[order], order.tolist(), num_draws=3)
    for key in whole["measure"].values:
        if key != "lost_shuffled":
            assert value(again, key) == pytest.approx(value(whole, key), abs=2e-5, nan_ok=True), key


def exact_pair(scale: float = 0.5) -> tuple[LinearVAE, FullRankNormal]:
    """A linear program with the exact posterior as its guide."""

    class ExactPosterior(Guide):
        def posterior(self, x: Tensor) -> dist.TorchDistribution:
            return self.program.posterior(x)

    program = LinearVAE(4, 2, levels=0).double()
    with torch.no_grad():
        program.decoder.weight.copy_(torch.tensor([[1.0, 0.0], [0.5, 0.3], [-0.2, 0.8], [0.0, 0.1]]))
        program.decoder.bias.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
        program.family.log_scale.fill_(math.log(scale))
    guide = ExactPosterior(4, 2)
    guide.bind(program)
    return program, guide


def test_a_linear_program_with_its_exact_posterior_is_its_closed_form() -> None:
    program, guide = exact_pair()
    x = torch.randn(60, 4).double() * 1.5
    found = measure_collapse(program, guide, x, num_draws=200)
    with torch.no_grad():
        weight, bias = program.weight.numpy(), program.bias.numpy()
    inner = np.linalg.inv(weight.T @ weight + 0.25 * np.eye(2))
    covariance = 0.25 * inner
    means = (x.numpy() - bias) @ weight @ inner
    rate = 0.5 * (np.trace(covariance) - 2 - np.log(np.linalg.det(covariance)) + (means**2).sum(1))
    marginal = weight @ weight.T + 0.25 * np.eye(4)
    centred = x.numpy() - bias
    log_p = -0.5 * (np.einsum("ni,ij,nj->n", centred, np.linalg.inv(marginal), centred))
    log_p -= 0.5 * np.log(np.linalg.det(2 * np.pi * marginal))
    # The bound is tight at every draw; the others have the noise of 200 draws.
    assert np.allclose(found["elbo"], log_p, atol=1e-9)
    assert abs(value(found, "rate") - rate.mean()) < 4 * value(found, "rate", "stderr_monte_carlo")
    error = value(found, "distortion", "stderr_monte_carlo")
    assert abs(value(found, "distortion") + log_p.mean() + rate.mean()) < 4 * error
    assert np.allclose(found["mean_variance"], means.var(0, ddof=1))
    assert found["latent"].values.tolist() == ["z[0]", "z[1]"]


def test_another_images_z_and_the_priors_cost_what_the_closed_form_says() -> None:
    """Of two images each gets the other's z: E[log p(x | z)] is quadratic in the mean and covariance of z."""
    program, guide = exact_pair()
    x = torch.tensor([[1.0, 0.5, -1.0, 0.0], [-1.5, 0.3, 0.8, 0.2]]).double()
    found = measure_collapse(program, guide, x, num_draws=20_000)
    with torch.no_grad():
        weight, bias = program.weight.numpy(), program.bias.numpy()
    inner = np.linalg.inv(weight.T @ weight + 0.25 * np.eye(2))
    means = (x.numpy() - bias) @ weight @ inner

    def expected(image: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
        squares = ((image - bias - weight @ mean) ** 2).sum() + np.trace(weight @ covariance @ weight.T)
        return -0.5 * squares / 0.25 - 2 * np.log(2 * np.pi * 0.25)

    own = np.array([expected(x[n].numpy(), means[n], 0.25 * inner) for n in range(2)])
    others = np.array([expected(x[n].numpy(), means[1 - n], 0.25 * inner) for n in range(2)])
    prior = np.array([expected(x[n].numpy(), np.zeros(2), np.eye(2)) for n in range(2)])
    # Over 20,000 draws the standard errors are 0.007, 0.036 and 0.057 nats; the tolerances are four of them.
    assert np.allclose(found["log_likelihood"], own, atol=0.03, rtol=0)
    assert np.allclose(found["log_likelihood_shuffled"], others, atol=0.15, rtol=0)
    assert np.allclose(found["log_likelihood_prior"], prior, atol=0.23, rtol=0)
    for name, truth in (("lost_shuffled", own - others), ("lost_prior", own - prior)):
        assert abs(value(found, name) - truth.mean()) < 4 * value(found, name, "stderr_monte_carlo")
    rate = value(found, "rate")
    assert value(found, "elbo_lost_prior") == pytest.approx(value(found, "lost_prior") - rate, abs=1e-9)


def test_every_image_gets_another_images_z() -> None:
    from inference.measures.sensitivity import cycle

    for count in (2, 3, 50):
        partner = cycle(count, 0)
        assert sorted(partner.tolist()) == list(range(count))
        assert (partner != torch.arange(count)).all()


def test_a_decoder_that_ignores_z_loses_nothing_and_one_that_needs_it_does(images: Tensor) -> None:
    program, guide = vae()
    guide.bind(program)
    with torch.no_grad():
        program.decoder[0].weight.zero_()
    deaf = measure_collapse(program, guide, images)
    assert value(deaf, "lost_shuffled") == pytest.approx(0, abs=1e-6)
    assert value(deaf, "lost_prior") == pytest.approx(0, abs=1e-6)
    assert value(deaf, "elbo_lost_prior") == pytest.approx(-value(deaf, "rate"), abs=1e-6)
    program, guide = lively("vae")
    assert abs(value(measure_collapse(program, guide, images), "lost_shuffled")) > 0.01


@pytest.mark.parametrize("kind", [GaussianChannel, WithoutMean])
def test_a_planted_dead_dimension_is_found_and_a_live_one_is_not(kind: type[GaussianChannel]) -> None:
    """Gains 0.8, 0, 0.02, 0.2: variances .64, 0, .0004, .04 of posterior means over standard normal pixels."""
    guide = kind([0.8, 0.0, 0.02, 0.2], 0.6)
    x = torch.randn(300, 5)
    found = measure_collapse(linear_program(guide), guide, x, num_draws=2)
    assert found["active"].values.tolist() == [1, 0, 0, 1]
    assert value(found, "active_units") == 2
    assert value(found, "num_latents") == 4
    exact = (x[:, :4] * guide.gains).double().var(0).numpy()
    assert np.allclose(found["mean_variance"], exact, atol=1e-6 if kind is GaussianChannel else 0.01)
    claim = "EXACT" if kind is GaussianChannel else "ESTIMATE"
    assert found.sel(measure="active_units")["claim"].item() == claim
    errors = found["mean_variance_stderr"].values
    assert errors[0] == pytest.approx(0.64 * math.sqrt(2 / 300), rel=0.25)
    if kind is GaussianChannel:
        kl = 0.5 * (0.36 - 1 - math.log(0.36) + (x[:, :4].double() * guide.gains) ** 2)
        assert np.allclose(found["kl"], kl, atol=1e-5)
        assert np.allclose(found["rate"], kl.sum(1), atol=1e-5)
        assert value(found, "rate", "stderr_monte_carlo") == 0


def test_without_a_formula_the_noise_of_sampled_means_is_taken_off() -> None:
    """512 draws of sd 5 add .049 to the variance of means of a dead dimension: five times the threshold."""
    guide = WithoutMean([0.0], 5.0)
    found = measure_collapse(linear_program(guide), guide, torch.randn(400, 2), num_draws=2)
    assert abs(float(found["mean_variance"][0])) < 0.015
    assert abs(float(found["mean_variance"][0])) < 4 * float(found["mean_variance_stderr"][0])


def test_the_scale_of_the_prior_is_told_and_the_threshold_taken_on_it() -> None:
    """The same code in units ten times as large is as dead or alive as before."""

    class Wide(LinearVAE):
        def prior(self) -> dist.TorchDistribution:
            return dist.Normal(torch.zeros(2), torch.tensor([10.0, 1.0])).to_event(1)

    guide = GaussianChannel([0.5, 0.5], 1.0)
    program = Wide(3, 2, levels=0)
    guide.bind(program)
    found = measure_collapse(program, guide, torch.randn(200, 3))
    assert np.allclose(found["prior_scale"], [10, 1])
    assert found["active"].values.tolist() == [1, 1]
    assert found["active_scaled"].values.tolist() == [0, 1]


def test_the_scale_of_a_prior_without_a_formula_is_that_of_draws() -> None:
    prior = MixtureOfNormals(2, 2)
    with torch.no_grad():
        prior.loc.copy_(torch.tensor([[-3.0, 0.0], [3.0, 0.0]]))
        prior.log_scale.fill_(math.log(0.5))
        prior.logits.zero_()
    program, guide = VAE(6, 2, (8,), prior=prior), DiagonalNormal(6, 2, (8,))
    guide.bind(program)
    found = measure_collapse(program, guide, torch.zeros(3, 6))
    assert np.allclose(found["prior_scale"], [math.sqrt(9.25), 0.5], rtol=0.05)
    assert found["kl"].isnull().all()
    assert found.attrs["kl_reason"] == "site 'z': the prior (ComponentMixture) does not factorize over dimensions"
    assert "the prior does not factorize" in found.sel(measure="marginal_kl_per_latent")["reason"].item()


def test_bits_are_held_against_the_sum_over_all_codes(images: Tensor) -> None:
    program, guide = lively("bits")
    found = measure_collapse(program, guide, images, num_draws=4000)
    codes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))
    with torch.no_grad():
        q = torch.sigmoid(guide.encode(images)).double().numpy()
        p = torch.sigmoid(program.latent_prior.logits).double().numpy()
        likelihood = torch.stack([program.likelihood(code.expand(12, -1)).log_prob(images) for code in codes], 1)
    bits = codes.numpy()
    own = np.prod(np.where(bits[None] == 1, q[:, None], 1 - q[:, None]), -1)
    prior = np.prod(np.where(bits == 1, p, 1 - p), -1)
    aggregate, mean = own.mean(0), q.mean(0)
    product = np.prod(np.where(bits == 1, mean, 1 - mean), -1)
    truths = {
        "information_empirical": (own * np.log(own / aggregate)).sum(1).mean(),
        "marginal_kl": (aggregate * np.log(aggregate / prior)).sum(),
        "total_correlation": (aggregate * np.log(aggregate / product)).sum(),
        "marginal_kl_per_latent": (mean * np.log(mean / p) + (1 - mean) * np.log((1 - mean) / (1 - p))).sum(),
        "distortion": -(own * likelihood.double().numpy()).sum(1).mean(),
    }
    for name, truth in truths.items():
        error = value(found, name, "stderr_monte_carlo")
        assert 0 < error < 0.02
        assert abs(value(found, name) - truth) < 4 * error, name
    rate = (own * np.log(own / prior)).sum(1)
    assert np.allclose(found["rate"], rate, atol=1e-5)
    kl = q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))
    assert np.allclose(found["kl"], kl, atol=1e-5)
    each = np.stack([q, 1 - q], -1) * np.log(np.stack([q / mean, (1 - q) / (1 - mean)], -1))
    assert np.allclose(found["information_latent"], each.sum(-1).mean(0), atol=0.01)


def test_accuracy_is_the_expected_share_of_pixels_that_a_draw_repeats(images: Tensor) -> None:
    program, guide = lively("vae")
    found = measure_collapse(program, guide, images, seed=2, num_draws=3)
    for number in range(12):
        with torch.no_grad(), keyed_noise(2, "collapse", number):
            z = guide.posterior(images[number : number + 1]).sample((3,))[:1, 0]
            one = torch.sigmoid(program.decoder(z))[0]
        agreement = torch.where(images[number] == 1, one, 1 - one).mean()
        assert float(found["accuracy"][number]) == pytest.approx(float(agreement), abs=1e-6)
        error = (images[number] - one).square().mean().sqrt()
        assert float(found["reconstruction_error"][number]) == pytest.approx(float(error), abs=1e-6)


def test_autoregressive_pixels_are_decoded_and_densities_have_no_accuracy(images: Tensor) -> None:
    program, guide = lively("pixels")
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.zero_()
        program.net.head[-1].bias.fill_(30.0)  # all pixels are 1
    found = measure_collapse(program, guide, images)
    assert np.allclose(found["accuracy"], images.mean(1))
    assert found["reconstruction_error"].isnull().all()
    guide = GaussianChannel([1.0])
    found = measure_collapse(linear_program(guide), guide, torch.randn(5, 2))
    assert "no draw repeats" in found.sel(measure="accuracy")["reason"].item()


def test_few_pairs_leave_out_draws_first_and_then_images(images: Tensor) -> None:
    program, guide = lively("vae")
    whole = measure_collapse(program, guide, images, num_draws=4)
    fewer_draws = measure_collapse(program, guide, images, num_draws=4, max_pairs=12 * 12 * 2)
    fewer_images = measure_collapse(program, guide, images, num_draws=4, max_pairs=12 * 5)
    assert not fewer_draws["information_lower"].isnull().any()
    assert int(fewer_images["information_lower"].notnull().sum()) == 5
    for found in (fewer_draws, fewer_images):
        assert np.array_equal(found["elbo"], whole["elbo"])
        parts = [value(found, f"split_{part}") for part in ("log_likelihood", "information", "marginal_kl")]
        assert parts[0] - parts[1] - parts[2] == pytest.approx(value(found, "split_elbo"), abs=1e-5)
    assert math.isnan(value(fewer_images, "information_lower", "stderr_monte_carlo"))
    measured = measure_collapse(program, guide, images, num_draws=4, max_images=4)
    assert measured["image"].values.tolist() == [0, 3, 6, 9]
    assert np.allclose(measured["information_lower"], whole["information_lower"].isel(image=[0, 3, 6, 9]), atol=1e-6)
    assert np.allclose(measured["mean_variance"], whole["mean_variance"])
    assert measured.attrs["num_images"] == 12


def test_a_ladder_has_a_rate_for_each_site(images: Tensor) -> None:
    program, guide = lively("ladder")
    found = measure_collapse(program, guide, images, num_draws=5)
    assert value(found, "rate[z1]") + value(found, "rate[z2]") == pytest.approx(value(found, "rate"), abs=1e-6)
    assert found["site"].values.tolist() == ["z1"] * 3 + ["z2"] * 2
    assert np.allclose(found["kl"].sum("latent"), found["rate"], atol=1e-5)
    assert "2 latent sites depend on each other" in found.sel(measure="total_correlation")["reason"].item()
    assert value(found, "active_units") <= value(found, "num_latents") == 5


@pytest.mark.parametrize(
    ("program", "guide", "words"),
    [
        (MADE(6, (8,)), None, "the program has no latents, so that nothing can collapse; leave --collapse out"),
        (NotADensity(Autoencoder(6, 2, (8,))), None, "no distribution that could collapse; leave --collapse out"),
        (VAE(6, 2, (8,)), None, "there is no guide"),
    ],
)
def test_what_has_no_latents_is_refused_with_the_remedy(program: nn.Module, guide: None, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        measure_collapse(program, guide, torch.zeros(3, 6))


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        (torch.zeros(1, 6), {}, "information needs other images; give at least 2"),
        (torch.zeros(3, 6), {"num_draws": 0}, "num_draws 0"),
        (torch.zeros(3, 6), {"max_images": 0}, "max_images 0"),
        (torch.zeros(3, 6), {"index": [1]}, "index '1 entries'"),
        (torch.full((3, 6), 0.5), {}, "binarize"),
    ],
)
def test_input_that_cannot_be_measured_is_named(images: Tensor, options: dict, words: str) -> None:
    program, guide = vae()
    guide.bind(program)
    with pytest.raises(InvalidInput, match=words):
        measure_collapse(program, guide, images, **options)


def test_nothing_outside_is_touched(images: Tensor) -> None:
    program, guide = lively("vae")
    program.train()
    state = torch.get_rng_state()
    first = measure_collapse(program, guide, images)
    assert torch.equal(torch.get_rng_state(), state)
    assert program.training
    assert guide.training
    xr.testing.assert_identical(first, measure_collapse(program, guide, images))
    assert value(measure_collapse(program, guide, images, seed=1), "elbo") != value(first, "elbo")
