"""The linear program: closed forms against other closed forms, and trained pairs against them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import multivariate_normal

from inference.studies import linear
from inference.studies.linear import WhitenedPair
from ppl_models.programs import LinearVAE


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    rng = np.random.default_rng(5)
    directions, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    return torch.from_numpy((rng.normal(size=(400, 6)) * [2.0, 1.4, 1.0, 0.6, 0.4, 0.3]) @ directions + 0.5)


@pytest.fixture(scope="module")
def found(images) -> xr.Dataset:
    return linear.measure_linear(images, 0, 2, 3, [0.5, 1.2, 1.7, 2.5])


def spectrum(images: torch.Tensor) -> np.ndarray:
    """By numpy, falling."""
    return np.linalg.eigvalsh(np.cov(images.numpy().T, bias=True))[::-1]


@pytest.mark.parametrize("sigma", [0.5, 1.2, 1.7, 2.5])
def test_the_best_elbo_is_the_likelihood_of_the_best_linear_program(images, sigma: float) -> None:
    """By scipy's normal density at W W^T + sigma^2 I, W built here from numpy's eigenvectors."""
    values, vectors = np.linalg.eigh(np.cov(images.numpy().T, bias=True))
    top = vectors[:, ::-1][:, :3] * np.sqrt(np.maximum(values[::-1][:3] - sigma**2, 0))
    normal = multivariate_normal(images.numpy().mean(0), top @ top.T + sigma**2 * np.eye(6))
    expected = normal.logpdf(images.numpy()).mean()
    assert linear.best_elbo(torch.from_numpy(values[::-1].copy()), 3, sigma**2) == pytest.approx(expected, rel=1e-10)


def test_predicted_variance_by_the_posterior_mean_itself(images) -> None:
    """M^-1 W^T (x - b) of the fitted program over the images, M = W^T W + sigma^2 I."""
    program = LinearVAE(6, 3, 0, 0.9).double().fit_closed_form(images)
    weight = program.weight.detach().numpy()
    gain = np.linalg.solve(weight.T @ weight + 0.81 * np.eye(3), weight.T)
    means = (images.numpy() - images.numpy().mean(0)) @ gain.T
    expected = means.var(0)
    predicted = linear.predicted_variance(torch.from_numpy(spectrum(images)[:3].copy()), 0.81).numpy()
    np.testing.assert_allclose(predicted, expected, atol=1e-6)  # sigma is held in single precision
    assert linear.predicted_variance(torch.tensor([0.5, 0.4]), 0.5).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("variance", [0.2, 1.0, 3.9, 4.0, 4.1, 9.0])
def test_the_curvature_is_that_of_the_two_directions_together(variance: float) -> None:
    block = np.array([[-1 / variance, 2 / variance], [2 / variance, -1]])  # sqrt(lambda) = 2
    top = np.linalg.eigvalsh(block)[-1]
    predicted = linear.predicted_curvature(torch.tensor([4.0, 1.0], dtype=torch.float64), variance)
    assert predicted == pytest.approx(top, abs=1e-12)


def test_the_points_it_is_trained_on_have_the_moments_of_the_images(images) -> None:
    pair = WhitenedPair(images, 3, 0, 0.9)
    torch.testing.assert_close(pair.points.mean(0), images.mean(0))
    found = np.cov(pair.points.numpy().T, bias=True)
    np.testing.assert_allclose(found, np.cov(images.numpy().T, bias=True), atol=1e-12)


@pytest.mark.parametrize("levels", [0, 17])
def test_the_guide_it_gives_back_answers_as_the_net_it_trained(levels: int) -> None:
    torch.manual_seed(0)
    x = torch.randint(0, max(levels, 3), (50, 5)).double()
    pair = WhitenedPair(x, 2, levels, max(levels, 1) * 0.3)
    trained = pair.posterior.family(pair.net(pair.white)).base_dist
    given = pair.guide().posterior(pair.points).base_dist
    torch.testing.assert_close(given.loc, trained.loc)
    torch.testing.assert_close(given.scale, trained.scale)


def test_measured_and_predicted_agree_for_every_latent_and_sigma(found) -> None:
    error = abs(found.measured - found.predicted)
    assert float(error.max()) < 1e-3
    dead = (found.measured < 0.01).all("restart").sum("latent").values.tolist()
    assert dead == [0, 1, 2, 3]  # eigenvalues near 4, 2, 1 against sigma^2 = .25, 1.44, 2.89, 6.25


def test_all_restarts_reach_the_best_elbo(found) -> None:
    assert float(abs(found.elbo - found.best_elbo).max()) < 1e-4
    assert abs(found.learned_elbo - found.attrs["learned_best_elbo"]).max() < 1e-4


def test_with_sigma_learned_none_dies(found, images) -> None:
    assert (found.learned_measured > 0.01).all()
    expected = math.sqrt(spectrum(images)[3:].mean())
    np.testing.assert_allclose(found.learned_sigma, expected, rtol=1e-3)
    np.testing.assert_allclose(found.learned_measured[0], found.learned_predicted, atol=1e-3)


def test_the_collapsed_point_becomes_stable_where_sigma_passes_the_largest_eigenvalue(found, images) -> None:
    stable = found.curvature.values < 0
    assert stable.tolist() == [sigma**2 > spectrum(images)[0] for sigma in found.sigma.values] == [False] * 3 + [True]
    np.testing.assert_allclose(found.curvature, found.predicted_curvature, rtol=1e-3)


def test_restarts_begin_at_different_points_and_leave_the_generator_alone(images) -> None:
    before = torch.get_rng_state()
    a, b = (linear.fit(images, 3, 0, 0.9, seed) for seed in (0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert a.elbo != b.elbo


def test_the_grid_goes_from_all_alive_to_none() -> None:
    eigenvalues = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
    grid = linear.sigma_grid(eigenvalues, 2)
    assert len(grid) == 12
    assert grid[0] ** 2 < 1.0 < 4.0 < grid[-1] ** 2
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(grid[1] / grid[0]))


def test_the_synthetic_images_have_the_spectrum_they_say() -> None:
    eigenvalues = spectrum(linear.synthetic_images())
    expected = (2 / 3) ** np.arange(20)
    np.testing.assert_allclose(eigenvalues[:8], expected[:8], rtol=0.15)  # 2,000 images: s.e. of 3%, sorted


def test_make_writes_the_file_whole(tmp_path, monkeypatch, images) -> None:
    monkeypatch.setattr(linear, "synthetic_images", lambda: images)
    monkeypatch.setattr(linear, "LATENTS", {"quick": 2})
    monkeypatch.setattr(linear, "RESTARTS", {"quick": 1})
    linear.make("synthetic", "digits", None, tmp_path, "quick")
    folder = tmp_path / "linear" / "synthetic"
    assert [path.name for path in folder.iterdir()] == ["linear.nc"]
    dataset = xr.load_dataset(folder / "linear.nc", engine="h5netcdf")
    assert dataset.sizes == {"sigma": 12, "latent": 2, "restart": 1}
    assert dataset.attrs["data"] == "synthetic"
