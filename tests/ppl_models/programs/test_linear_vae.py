"""The linear program against multivariate normals written out, and against principal component analysis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from inference import fit
from inference.objectives import NegativeElbo
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.program import HasLogProb
from ppl_models.programs import VAE, LinearVAE


def random_program(data_dim: int = 5, latent_dim: int = 2, levels: int = 0) -> LinearVAE:
    program = LinearVAE(data_dim, latent_dim, levels=levels).double()
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, 0.7)
    return program


def by_hand(program: LinearVAE) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """W, b, and the covariance of x, and sigma^2, from the parameters as they are saved."""
    unit = max(1, program.levels - 1)
    weight = program.decoder.weight.detach().numpy() * unit
    variance = (program.family.log_scale.exp().item() * unit) ** 2
    covariance = weight @ weight.T + variance * np.eye(program.data_dim)
    return weight, program.decoder.bias.detach().numpy() * unit, covariance, variance


@pytest.mark.parametrize("levels", [0, 17])
def test_log_prob_is_that_of_the_marginal_normal(levels: int) -> None:
    program = random_program(levels=levels)
    _, mean, covariance, _ = by_hand(program)
    x = torch.randn(7, 5, dtype=torch.float64) * 3
    truth = multivariate_normal(mean, covariance).logpdf(x.numpy())
    np.testing.assert_allclose(program.log_prob(x).detach().numpy(), truth, rtol=1e-10)
    assert isinstance(program, HasLogProb)
    assert program.measure == "density"


def test_the_posterior_is_the_joint_normal_conditioned_on_x() -> None:
    program = random_program(levels=17)
    weight, mean, covariance, _ = by_hand(program)
    x = torch.randn(3, 5, dtype=torch.float64) * 4
    gain = weight.T @ np.linalg.inv(covariance)
    posterior = program.posterior(x)
    np.testing.assert_allclose(posterior.mean.detach(), (x.numpy() - mean) @ gain.T, rtol=1e-8)
    expected = np.broadcast_to(np.eye(2) - gain @ weight, (3, 2, 2))
    np.testing.assert_allclose(posterior.covariance_matrix.detach(), expected, atol=1e-10)


def test_bayes_rule_holds_at_every_z() -> None:
    program = random_program()
    x, z = torch.randn(4, 5).double(), torch.randn(6, 4, 2).double()
    joint = program.prior().log_prob(z) + program.likelihood(z).log_prob(x)
    torch.testing.assert_close(joint - program.posterior(x).log_prob(z), program.log_prob(x).expand(6, 4))


def some_images(count: int = 200, data_dim: int = 8) -> torch.Tensor:
    mixing = torch.randn(data_dim, data_dim) * torch.linspace(2, 0.3, data_dim)
    return torch.randn(count, data_dim) @ mixing.T + 3


def test_the_closed_form_is_principal_component_analysis() -> None:
    """scikit-learn divides the covariance by N - 1, maximum likelihood by N: with that mended they agree."""
    x = some_images()
    program = LinearVAE(8, 3, levels=0).double().fit_closed_form(x.double())
    covariance = PCA(3).fit(x.numpy().astype(np.float64)).get_covariance() * (len(x) - 1) / len(x)
    truth = multivariate_normal(x.double().mean(0).numpy(), covariance).logpdf(x.numpy())
    np.testing.assert_allclose(program.log_prob(x.double()).detach().numpy(), truth, rtol=1e-6)


def test_the_closed_form_is_a_maximum() -> None:
    x = some_images().double()
    program = LinearVAE(8, 3, levels=9).double().fit_closed_form(x)
    program.log_prob(x).mean().backward()
    for name, parameter in program.named_parameters():
        assert parameter.grad.abs().max() < 1e-8, name
    best = program.log_prob(x).mean().item()
    for parameter in program.parameters():
        with torch.no_grad():
            step = 0.05 * torch.randn_like(parameter)
            parameter.add_(step)
            assert program.log_prob(x).mean() < best
            parameter.sub_(step)


def test_stochastic_variational_inference_climbs_towards_it() -> None:
    x = some_images(400)
    truth = LinearVAE(8, 2, levels=0).fit_closed_form(x).log_prob(x).mean().item()
    program, guide = LinearVAE(8, 2, levels=0), DiagonalNormal(8, 2, ())
    guide.bind(program)
    start = program.log_prob(x).mean().item()
    settings = {"epochs": 60, "batch_size": 20, "progress": False}
    fit(NegativeElbo(program, guide), x, lambda p: torch.optim.Adam(p, lr=0.03), **settings)
    reached = program.log_prob(x).mean().item()
    assert start < truth - 5
    assert truth - 0.2 < reached < truth + 1e-3


def test_what_it_does_not_admit() -> None:
    with pytest.raises(InvalidInput, match="fewer latents"):
        LinearVAE(4, 4, levels=0).fit_closed_form(torch.randn(20, 4))
    with pytest.raises(InvalidInput, match="subspace"):
        LinearVAE(4, 2, levels=0).fit_closed_form(torch.randn(20, 2) @ torch.randn(2, 4))
    with pytest.raises(InvalidInput, match="finite"):
        LinearVAE(4, 2).check(torch.full((3, 4), float("nan")))
    LinearVAE(4, 2).check(torch.randn(3, 4))
    with pytest.raises(InvalidInput, match="pixel values"):
        VAE(4, 2).check(torch.randn(3, 4))


def test_gaussian_pixels_of_any_decoder_are_a_density() -> None:
    program = VAE(1, 1, (4,), levels=0).double()
    grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)[:, None]
    mass = program.likelihood(torch.randn(1, dtype=torch.float64)).log_prob(grid).exp().sum() * 0.01
    assert mass.item() == pytest.approx(1, abs=1e-6)
    with pytest.raises(InvalidInput, match="gaussian"):
        VAE(4, 2, levels=0, likelihood="bernoulli")


@pytest.mark.parametrize("levels", [0, 17])
def test_a_fixed_sigma_stays_and_decides_which_columns_live(levels: int) -> None:
    """Given sigma, maximum likelihood shrinks each eigenvalue by sigma^2 and drops those below (scikit-learn's PCA)."""
    x = some_images().double()
    eigenvalues = PCA().fit(x.numpy()).explained_variance_ * (len(x) - 1) / len(x)
    sigma = float(np.sqrt(eigenvalues[1] * eigenvalues[2]) ** 0.5)
    program = LinearVAE(8, 4, levels=levels, scale=sigma).double().fit_closed_form(x)
    assert program.scale.item() == pytest.approx(sigma)
    assert [name for name, _ in program.named_parameters()] == ["decoder.weight", "decoder.bias"]
    lengths = program.weight.square().sum(0).detach().numpy()
    np.testing.assert_allclose(lengths, np.maximum(eigenvalues[:4] - sigma**2, 0), rtol=1e-5, atol=1e-10)
    gain = torch.autograd.grad(program.log_prob(x).mean(), program.decoder.weight)[0]
    assert gain.abs().max() < 1e-7


def test_a_fixed_sigma_lets_every_pixel_have_a_latent() -> None:
    x = some_images(data_dim=4)
    program = LinearVAE(4, 4, levels=0, scale=0.1).fit_closed_form(x)
    covariance = np.cov(x.numpy().T, bias=True)
    truth = multivariate_normal(x.mean(0).numpy(), covariance).logpdf(x.numpy()).mean()
    assert program.log_prob(x).mean().item() == pytest.approx(truth, abs=1e-3)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-4, float("inf"), float("nan")])
def test_a_fixed_sigma_must_be_one(scale: float) -> None:
    with pytest.raises(InvalidInput, match="standard deviation"):
        LinearVAE(4, 2, scale=scale)


def test_a_fixed_sigma_is_saved_under_the_name_of_a_learned_one() -> None:
    fixed = LinearVAE(4, 2, scale=0.3)
    assert fixed.state_dict().keys() == LinearVAE(4, 2).state_dict().keys()
    other = LinearVAE(4, 2, scale=0.9)
    other.load_state_dict(fixed.state_dict())
    assert other.scale.item() == pytest.approx(0.3)
