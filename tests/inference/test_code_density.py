from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from inference import Claim, log_weights
from inference.code_density import LEAST_VARIANCE, copy_mixture, fit_by_em, fit_code_density
from inference.estimators import Elbo, ImportanceWeighted
from ppl_models import InvalidInput
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.priors import FlowPrior, MixtureOfNormals, StandardNormal, VampPrior
from ppl_models.programs.autoencoder_density import AutoencoderDensity


@pytest.fixture
def images() -> Tensor:
    """Four pixels that copy their left neighbour nine times in ten."""
    first = torch.randint(0, 2, (300, 1))
    flips = torch.cumsum((torch.rand(300, 3) < 0.1).long(), -1)
    return torch.cat([first, (first + flips) % 2], -1).float()


def lively(latent_dim: int, data_dim: int = 4, **options: object) -> Autoencoder:
    """An autoencoder with large weights, which stands for a trained one."""
    net = Autoencoder(data_dim, latent_dim, (8,), **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    return net


def quadrature(program: AutoencoderDensity, x: Tensor, log_prior: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """p(x) of a Bernoulli program with one or two codes: the trapezoidal rule in numpy, from the decoder's weights."""
    nodes = np.linspace(-12, 12, 4801) if program.latent_dim == 1 else np.linspace(-9, 9, 601)
    z = np.stack(np.meshgrid(*[nodes] * program.latent_dim, indexing="ij"), -1).reshape(-1, program.latent_dim)
    layers = [
        (m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in program.autoencoder.decoder[::2]
    ]
    (w1, b1), (w2, b2) = layers
    code = program.center.double().numpy() + program.spread.double().numpy() * z
    r = np.tanh(code @ w1.T + b1) @ w2.T + b2
    slope, offset = (
        p.detach().double().numpy() for p in (program.calibration.log_slope.exp(), program.calibration.offset)
    )
    logits = slope * r + offset
    log_joint = x.double().numpy() @ logits.T - np.logaddexp(0, logits).sum(-1) + log_prior(z)
    return torch.tensor(np.exp(log_joint).sum(-1) * (nodes[1] - nodes[0]) ** program.latent_dim)


def log_mixture(prior: MixtureOfNormals) -> Callable[[np.ndarray], np.ndarray]:
    """log p(z) of a mixture at (M, L), by numpy from its parameters."""
    logits, loc, scale = (p.detach().double().numpy() for p in (prior.logits, prior.loc, prior.log_scale.exp()))

    def log_prob(z: np.ndarray) -> np.ndarray:
        parts = (
            np.exp(logits)
            / np.exp(logits).sum()
            * np.exp(
                -0.5 * (((z[:, None] - loc) / scale) ** 2).sum(-1) - np.log(scale * math.sqrt(2 * math.pi)).sum(-1)
            )
        )
        return np.log(parts.sum(-1) + 1e-300)

    return log_prob


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_the_importance_weights_have_the_integral_over_codes_as_their_mean(
    latent_dim: int, images: Tensor, four_pixel_images: Tensor
) -> None:
    program, guide = fit_code_density(lively(latent_dim), images, "mixture:3", epochs=5)
    x = four_pixel_images
    truth = quadrature(program, x, log_mixture(program.latent_prior))
    assert truth.sum().item() == pytest.approx(1, abs=1e-4), "the total mass over all images"
    with torch.no_grad():
        # Wider than is best for the bound, so that all of z is reached and the standard errors hold.
        guide.net[-1].weight.zero_()
        guide.net[-1].bias.fill_(2.5)
        weights = log_weights(program, guide, x, 50_000).double().exp()
    stderr = weights.std(0) / math.sqrt(len(weights))
    assert ((weights.mean(0) - truth).abs() < 5 * stderr).all()  # 16 images
    assert (stderr < 0.05 * truth).all(), "the comparison means something"


@pytest.mark.parametrize("density", ["mixture:3", "flow:2", "vamp:4", "standard-normal"])
def test_evidence_of_any_density_is_a_lower_bound(density: str, images: Tensor, four_pixel_images: Tensor) -> None:
    program, guide = fit_code_density(lively(1), images, density, epochs=3)
    x = four_pixel_images

    def log_prior(z: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return program.prior().log_prob(torch.as_tensor(z).float()).double().numpy()

    truth = quadrature(program, x, log_prior)
    assert truth.sum().item() == pytest.approx(1, abs=1e-3)
    for estimator in (Elbo(guide, 500), ImportanceWeighted(guide, 500)):
        estimate = estimator(program, x)
        assert estimate.claim is Claim.LOWER_BOUND
        assert (estimate.values <= truth.log() + 4 * estimate.stderr + 1e-4).all()


def test_a_mixture_of_scikit_learn_is_the_same_density_as_a_prior() -> None:
    z = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 0.2, 3.0] + [0.0, 5.0, -1.0]
    mixture = GaussianMixture(4, covariance_type="diag", random_state=1).fit(z)
    prior = MixtureOfNormals(3, 4).double()
    copy_mixture(prior, *(torch.as_tensor(a) for a in (mixture.weights_, mixture.means_, mixture.covariances_)))
    np.testing.assert_allclose(prior().log_prob(torch.as_tensor(z)).detach().numpy(), mixture.score_samples(z))


def test_a_component_that_em_emptied_leaves_no_infinity() -> None:
    prior = MixtureOfNormals(2, 2)
    copy_mixture(prior, torch.tensor([1.0, 0.0]), torch.zeros(2, 2), torch.ones(2, 2))
    assert all(p.isfinite().all() for p in prior.parameters())
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor([0.3, 0.7])).sum()
    torch.testing.assert_close(prior().log_prob(torch.tensor([0.3, 0.7])), expected)


def test_em_is_that_of_scikit_learn_with_a_floor_under_the_variances() -> None:
    codes = torch.cat([torch.randn(100, 2), torch.zeros(100, 2) + 4])
    prior = MixtureOfNormals(2, 2).double()
    fit_by_em(prior, codes, seed=3)
    own = GaussianMixture(2, covariance_type="diag", reg_covar=0.01, max_iter=500, random_state=3)
    own.fit(codes.double().numpy())
    found = prior().log_prob(codes.double()).detach().numpy()
    np.testing.assert_allclose(found, own.score_samples(codes.double().numpy()))
    assert LEAST_VARIANCE == 0.01
    assert prior.log_scale.exp().square().min().item() == pytest.approx(0.01), "a hundred codes in one point"


def test_before_it_is_refined_the_prior_is_the_mixture_of_the_codes(images: Tensor) -> None:
    net = lively(2)
    prior = MixtureOfNormals(2, 3)
    program, _ = fit_code_density(net, images, prior, epochs=1, learning_rate=1e-12, seed=4)
    codes = net.encode(images).detach()
    z = ((codes - codes.mean(0)) / codes.std(0, correction=0)).double().numpy()
    own = GaussianMixture(3, covariance_type="diag", reg_covar=0.01, max_iter=500, random_state=4).fit(z)
    assert program.latent_prior is prior
    np.testing.assert_allclose(
        prior().log_prob(torch.as_tensor(z).float()).detach().numpy(), own.score_samples(z), atol=1e-3
    )


def test_the_vamp_prior_starts_from_training_images(images: Tensor) -> None:
    program, _ = fit_code_density(lively(2), images[:20], "vamp:20", epochs=1, learning_rate=1e-12)
    pseudo = program.latent_prior.pseudo_inputs.round()
    assert sorted(pseudo.tolist()) == sorted(images[:20].tolist())


def test_the_autoencoder_stays_as_it_was_and_everything_else_moves(images: Tensor) -> None:
    net = lively(2, corruption=0.3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    short, _ = fit_code_density(net, images, "mixture:3", epochs=1, learning_rate=1e-12)
    program, guide = fit_code_density(net, images, "mixture:3", epochs=3)
    for name, value in before.items():
        assert torch.equal(net.state_dict()[name], value), name
        assert torch.equal(program.autoencoder.state_dict()[name], value), name
    assert net.training
    assert all(p.requires_grad for p in net.parameters()), "the autoencoder that was given can still be trained"
    assert program.autoencoder is not net
    assert not any(p.requires_grad for p in program.autoencoder.parameters())
    assert not (program.training or guide.training)
    for name, value in program.named_parameters():
        if not name.startswith("autoencoder."):
            assert not torch.allclose(value, short.get_parameter(name), atol=1e-6), name


def test_fitting_raises_the_bound_of_images_it_has_not_seen(images: Tensor) -> None:
    net = lively(2)
    bounds = []
    for epochs, rate in ((1, 1e-12), (12, 0.03)):
        program, guide = fit_code_density(
            net, images[:200], "mixture:4", valid=images[200:], epochs=epochs, learning_rate=rate
        )
        bounds.append(Elbo(guide, 200)(program, images[200:]).values.mean().item())
    assert bounds[1] > bounds[0] + 0.5


def test_validation_images_choose_the_epoch(images: Tensor) -> None:
    blank = torch.zeros(50, 4)
    found = [fit_code_density(lively(2), images, valid=v, epochs=4, density="mixture:2")[0] for v in (None, blank)]
    torch.manual_seed(0)
    assert any(not torch.equal(a, b) for a, b in zip(*(p.calibration.parameters() for p in found), strict=True))


def test_the_same_seed_gives_the_same_density_and_the_global_noise_is_left_alone(images: Tensor) -> None:
    net, state = lively(2), torch.get_rng_state()
    found = [fit_code_density(net, images, "flow:1", epochs=1, seed=seed)[0].state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    moved = [name for name in found[0] if "latent_prior" in name or "calibration" in name]
    assert all(torch.equal(found[0][name], found[1][name]) for name in moved)
    assert not all(torch.equal(found[0][name], found[2][name]) for name in moved)


@pytest.mark.parametrize(
    ("levels", "likelihood", "measure"),
    [(2, "auto", "mass"), (5, "auto", "mass"), (5, "gaussian", "density"), (0, "auto", "density")],
)
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_every_kind_of_image_gets_a_density(levels: int, likelihood: str, measure: str, architecture: str) -> None:
    net = lively(2, 6, levels=levels, architecture=architecture, shape=(1, 2, 3)).double()
    x = torch.randint(0, levels, (40, 6)).float() if levels else torch.randn(40, 6)
    program, guide = fit_code_density(
        NotADensity(net), x, "mixture:2", likelihood=likelihood, scales="latent", epochs=1
    )
    assert program.measure == measure
    estimate = ImportanceWeighted(guide, 10)(program, x[:3].double())
    assert estimate.values.isfinite().all()
    assert {p.dtype for p in (*program.parameters(), *guide.parameters())} == {torch.float64}


@pytest.mark.parametrize(
    ("density", "kind"),
    [("mixture", MixtureOfNormals), ("flow", FlowPrior), ("vamp:5", VampPrior), ("standard-normal", StandardNormal)],
)
def test_the_density_is_named_as_priors_are(density: str, kind: type, images: Tensor) -> None:
    assert type(fit_code_density(lively(2), images, density, epochs=1)[0].latent_prior) is kind


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"autoencoder": torch.nn.Linear(4, 4)}, "autoencoder 'Linear'"),
        ({"images": torch.zeros(30, 5)}, "x .*4 pixels"),
        ({"images": torch.full((30, 4), 0.5)}, "x 0.5.*binarize"),
        ({"valid": torch.full((30, 4), 2.0)}, "x 2.0"),
        ({"density": "mixtures"}, "prior 'mixtures'.*did you mean mixture"),
        ({"density": "bits"}, "prior 'bits'"),
        ({"density": "mixture:31"}, "31 components, and there are 30 images; take fewer"),
        ({"density": StandardNormal(3)}, "prior 'StandardNormal'.*over 3"),
        ({"likelihood": "categorical"}, "likelihood"),
        ({"scales": "pixel"}, "scales"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 0}, "--batch-size"),
        ({"learning_rate": 0.0}, "--learning-rate"),
    ],
)
def test_what_cannot_be_made_a_density_is_refused(change: dict, named: str) -> None:
    arguments = {"autoencoder": lively(2), "images": torch.zeros(30, 4), "density": "mixture:2"} | change
    with pytest.raises(InvalidInput, match=named):
        fit_code_density(**arguments)
